import Linux
import Testing
import Wire

@testable import Datapath

/// Checksums and segments that the stream link makes because nobody else does. `SentFrame` sums byte by byte, as a second opinion.
@Suite struct SegmentCutterTests {
    enum Kind: CaseIterable {
        case tcp4, tcp6, udp4, udp6
        var isTCP: Bool { self == .tcp4 || self == .tcp6 }
        var isIPv4: Bool { self == .tcp4 || self == .udp4 }
    }

    /// A frame as the translators make it: a partial checksum, and for large payloads a segment size.
    func make(_ kind: Kind, payload: [UInt8], size: Int = 0, flags: TCPFlags = [.ack, .psh, .fin], options: Int = 0) -> ([UInt8], VirtioNetHeader) {
        let source4 = IPv4Address("198.51.100.1")!, destination4 = IPv4Address("198.51.100.7")!
        let source6 = IPv6Address("2001:db8::1")!, destination6 = IPv6Address("2001:db8::77")!
        let source = kind.isIPv4 ? IPAddress(source4) : IPAddress(source6)
        let destination = kind.isIPv4 ? IPAddress(destination4) : IPAddress(destination6)
        let ip = kind.isIPv4 ? 20 : 40
        let l4Header = kind.isTCP ? 20 + options : 8
        let proto: IPProtocol = kind.isTCP ? .tcp : .udp
        let length = l4Header + payload.count
        var frame = [UInt8](repeating: 0, count: 14 + ip) + [UInt8](repeating: 1, count: l4Header) + payload
        let partial = Checksum.pseudoHeader(source, destination, proto, length: length)
        unsafe frame.withUnsafeMutableBytes { buffer in
            // SAFETY: the span lives inside the closure only.
            var bytes = unsafe MutableRawSpan(_unsafeBytes: buffer)
            EthernetHeader(destination: MACAddress(0x5254_0000_0001), source: Network.gateway, type: kind.isIPv4 ? .ipv4 : .ipv6).write(to: &bytes)
            if kind.isIPv4 {
                IPv4Header(source: source4, destination: destination4, proto: proto, payloadLength: length, identification: 0xfffe).write(to: &bytes, at: 14)
            } else {
                IPv6Header(source: source6, destination: destination6, nextHeader: proto, payloadLength: length).write(to: &bytes, at: 14)
            }
            if kind.isTCP {
                var header = TCPHeader(
                    sourcePort: 80, destinationPort: 4711, sequence: SequenceNumber(0xffff_ff00), acknowledgment: SequenceNumber(7), flags: flags, window: 99)
                header.checksum = partial
                header.write(to: &bytes, at: 14 + ip)
                bytes.store(UInt8(truncatingIfNeeded: ((20 + options) / 4) << 4), at: 14 + ip + 12)
            } else {
                UDPHeader(sourcePort: 53, destinationPort: 4711, payloadLength: payload.count, checksum: partial).write(to: &bytes, at: 14 + ip)
            }
        }
        var offload = VirtioNetHeader(checksumStart: 14 + ip, checksumOffset: kind.isTCP ? 16 : 6)
        if size > 0 {
            offload.segmentation = kind == .tcp4 ? .tcp4 : kind == .tcp6 ? .tcp6 : .udp
            offload.segmentSize = UInt16(size)
        }
        return (frame, offload)
    }

    private enum Network { static let gateway = MACAddress(0x9a55_9a55_9a55) }

    @Test(arguments: Kind.allCases)
    func lesson40_checksumsAreRightAtEveryAlignmentAndLength(_ kind: Kind) throws {
        let pair = try MachinePair()
        for length in Array(0...70) + [1447, 1448, 1449, 65000] {
            let (frame, offload) = make(kind, payload: patterned(length, seed: length))
            for shift in 0..<(length < 100 ? 16 : 3) {
                #expect(pair.send(frame, offload, shift: shift) == .sent)
                pair.flush()
                let got = frames(of: pair.read())
                #expect(got.count == 1)
                let seen = SentFrame(bytes: got[0], offload: VirtioNetHeader())
                #expect(seen.l4Sum == 0xffff, "\(length) bytes, shifted by \(shift)")
                #expect(got[0].dropFirst(seen.l4 + 20) == frame.dropFirst(seen.l4 + 20))
            }
        }
    }

    @Test(arguments: Kind.allCases, [88, 536, 1447, 1448, 8948])
    func superFramesAreCutToSegments(_ kind: Kind, _ size: Int) throws {
        let pair = try MachinePair()
        for length in [size + 1, 2 * size - 1, 2 * size, 3 * size + 7, 65000] where length < 65100 {
            let payload = patterned(length, seed: size)
            let (frame, offload) = make(kind, payload: payload, size: size)
            #expect(pair.send(frame, offload) == .sent)
            pair.flush()
            let got = frames(of: pair.read()).map { SentFrame(bytes: $0, offload: VirtioNetHeader()) }
            #expect(got.count == (length + size - 1) / size)
            var seen: [UInt8] = []
            for (index, segment) in got.enumerated() {
                let isLast = index == got.count - 1
                #expect(segment.bytes.count == max(segment.end, 60))
                #expect(segment.l4Sum == 0xffff)
                #expect(Array(segment.bytes[0..<12]) == Array(frame[0..<12]))
                if kind.isIPv4 {
                    #expect(SentFrame.sum(Array(segment.bytes[14..<34])) == 0xffff)
                    #expect(segment.word(18) == 0xfffe &+ UInt16(index))
                }
                let data = segment.l4 + (kind.isTCP ? 20 : 8)
                if kind.isTCP {
                    #expect(UInt32(segment.word(segment.l4 + 4)) << 16 | UInt32(segment.word(segment.l4 + 6)) == 0xffff_ff00 &+ UInt32(index * size))
                    #expect(segment.bytes[segment.l4 + 13] == (isLast ? 0x19 : 0x10))
                } else {
                    #expect(Int(segment.word(segment.l4 + 4)) == segment.end - segment.l4)
                }
                #expect(segment.end - data == (isLast ? length - index * size : size))
                seen += segment.bytes[data..<segment.end]
            }
            let isWhole = seen == payload
            #expect(isWhole)
        }
    }

    @Test func tcpOptionsAreInEverySegment() throws {
        let pair = try MachinePair()
        let (frame, offload) = make(.tcp4, payload: patterned(3000), size: 1000, options: 12)
        #expect(pair.send(frame, offload) == .sent)
        pair.flush()
        let got = frames(of: pair.read()).map { SentFrame(bytes: $0, offload: VirtioNetHeader()) }
        #expect(got.map { $0.bytes.count } == [1066, 1066, 1066])
        for segment in got {
            #expect(segment.l4Sum == 0xffff)
            #expect(Array(segment.bytes[54..<66]) == Array(frame[54..<66]))
        }
    }

    /// RFC 3168, section 6.1.2: the sender says once that it has reduced its window.
    @Test func theFirstSegmentAloneSaysThatTheWindowWasReduced() throws {
        let pair = try MachinePair()
        for isECN in [true, false] {
            var (frame, offload) = make(.tcp6, payload: patterned(300), size: 100, flags: .ack)
            frame[54 + 13] |= 0x80
            offload.isECN = isECN
            #expect(pair.send(frame, offload) == .sent)
            pair.flush()
            let flags = frames(of: pair.read()).map { $0[54 + 13] }
            #expect(flags == (isECN ? [0x90, 0x10, 0x10] : [0x90, 0x90, 0x90]))
        }
    }

    @Test func whatCannotBeCutIsRefused() throws {
        let pair = try MachinePair()
        for (change, size) in [(46, 0), (46, 1)] {
            var (frame, offload) = make(.tcp4, payload: patterned(3000), size: 1000)
            frame[change] = 0x50
            offload.segmentSize = UInt16(size)
            #expect(pair.send(frame, offload) == .refused)
        }
        var (frame, offload) = make(.tcp4, payload: patterned(3000), size: 1000)
        frame[46] = 0x10  // a header of four bytes
        #expect(pair.send(frame, offload) == .refused)
        offload.segmentation = .udpFragments
        #expect(pair.send(frame, offload) == .refused)
    }

    /// More pieces than one call takes.
    @Test func theSmallestSegmentsPass() throws {
        let pair = try MachinePair()
        for _ in 0..<3 {
            let payload = patterned(65000)
            let (frame, offload) = make(.tcp4, payload: payload, size: 88)
            #expect(pair.send(frame, offload) == .sent)
            pair.flush()
            var stream = pair.read()
            while !pair.hasRoom {
                _ = pair.attend(.output)
                stream += pair.read()
            }
            let got = frames(of: stream)
            #expect(got.count == 739)
            let isWhole = got.flatMap { $0.dropFirst(54) } == payload
            #expect(isWhole)
        }
    }
}
