import Testing
import Wire

@Suite struct ChecksumTests {
    /// RFC 1071 written down as it is told: two bytes at a time.
    static func reference(_ bytes: ArraySlice<UInt8>, start: UInt32 = 0) -> UInt16 {
        var sum = start
        var high = true
        for byte in bytes {
            sum += high ? UInt32(byte) << 8 : UInt32(byte)
            high.toggle()
        }
        while sum > 0xffff { sum = sum >> 16 + sum & 0xffff }
        return ~UInt16(sum)
    }

    @Test func exampleOfRFC1071() {
        // Section 3: the words 0001 f203 f4f5 f6f7 sum up to ddf2.
        let sum = hex("0001 f203 f4f5 f6f7").parse { Checksum.full($0, at: 0, count: 8) }
        #expect(sum == ~0xddf2)
    }

    @Test func lesson40_everyAlignmentAndLength() {
        var random = Seeded(state: 40)
        let bytes = (0..<200).map { _ in UInt8.random(in: 0...255, using: &random) }
        for offset in 0..<17 {
            for count in 0...(bytes.count - offset) {
                let sum = bytes.parse { Checksum.full($0, at: offset, count: count) }
                #expect(sum == Self.reference(bytes[offset..<(offset + count)]), "\(offset), \(count)")
            }
        }
    }

    @Test func longRunsOfOnesDoNotOverflow() {
        let bytes = [UInt8](repeating: 0xff, count: 65535)
        #expect(bytes.parse { Checksum.full($0, at: 0, count: 65535) } == Self.reference(bytes[...]))
        #expect(bytes.parse { Checksum.full($0, at: 1, count: 65534) } == 0)
    }

    @Test func piecesOfOddLength() {
        var random = Seeded(state: 7)
        let bytes = (0..<97).map { _ in UInt8.random(in: 0...255, using: &random) }
        for cut in 0...97 {
            let value = bytes.parse { bytes in
                var checksum = Checksum()
                checksum.add(bytes, at: 0, count: cut)
                checksum.add(bytes, at: cut, count: 97 - cut)
                return checksum.value
            }
            #expect(value == Self.reference(bytes[...]))
        }
    }

    @Test func pseudoHeaders() {
        let a = IPv4Address("192.0.2.1")!, b = IPv4Address("198.51.100.255")!
        let header4 = hex("c0000201 c63364ff 00 06 ffdc")
        #expect(Checksum.pseudoHeader(a, b, .tcp, length: 0xffdc) == ~Self.reference(header4[...]))
        #expect(Checksum.pseudoHeader(IPAddress(a), IPAddress(b), .tcp, length: 0xffdc) == ~Self.reference(header4[...]))
        let c = IPv6Address("2001:db8::ffff")!, d = IPv6Address("fe80::9855:9aff:fe55:9a55")!
        let header6 = hex("20010db8 00000000 00000000 0000ffff fe800000 00000000 98559aff fe559a55 00010000 000000 11")
        #expect(Checksum.pseudoHeader(c, d, .udp, length: 65536) == ~Self.reference(header6[...]))
        #expect(Checksum.pseudoHeader(IPAddress(c), IPAddress(d), .udp, length: 65536) == ~Self.reference(header6[...]))
    }

    @Test func completingAPartialChecksum() {
        // A UDP datagram of 13 bytes behind 3 bytes of something else; its field holds the pseudo-header's sum.
        let a = IPv4Address("192.0.2.1")!, b = IPv4Address("192.0.2.2")!
        let partial = Checksum.pseudoHeader(a, b, .udp, length: 13)
        var frame = hex("aabbcc 1234 0035 000d 0000 68656c6c6f")
        let expected = Self.reference(frame[3...], start: UInt32(partial))
        frame.change { bytes in
            bytes.store(partial, at: 9)
            let done = Checksum.complete(in: &bytes, start: 3, fieldOffset: 6, end: 16)
            #expect(done)
        }
        #expect(frame == hex("aabbcc 1234 0035 000d") + [UInt8(expected >> 8), UInt8(expected & 0xff)] + hex("68656c6c6f"))
        for (start, field, end) in [(3, 12, 16), (3, 6, 17), (-1, 6, 16), (15, 0, 16), (17, 0, 16), (3, -2, 16), (0, .max, 16)] {
            frame.change { bytes in
                let done = Checksum.complete(in: &bytes, start: start, fieldOffset: field, end: end)
                #expect(!done, "\(start) \(field) \(end)")
            }
        }
    }

    @Test func zeroIsNotNoneInUDP() {
        var checksum = Checksum()
        checksum.add(UInt16(0xffff))
        #expect(checksum.value == 0)
        #expect(checksum.nonZeroValue == 0xffff)
    }
}
