import Testing
import Wire

@Suite struct ICMPTests {
    @Test func echo4() throws {
        // Type, code, checksum, identifier 0x1234, sequence 0 (lesson 37), "ab".
        let bytes = hex("08 00 8469 1234 0000 6162")
        let header = try #require(bytes.parse { ICMPv4Header($0, at: 0, end: 10) })
        #expect(header.kind == .echoRequest && header.identifier == 0x1234 && header.sequence == 0)
        #expect(bytes.parse { Checksum.full($0, at: 0, count: 10) } == 0)
        let made = ICMPv4Header.echo(.echoRequest, identifier: 0x1234, sequence: 0)
        let written = [UInt8].written(10) {
            $0.store(UInt16(0x6162), at: 8)
            made.writeWithChecksum(to: &$0, at: 0, messageLength: 10)
        }
        #expect(written == bytes)
        for end in 0..<8 { #expect(bytes.parse { ICMPv4Header($0, at: 0, end: end) } == nil) }
    }

    @Test func errors4() throws {
        let header = ICMPv4Header.fragmentationNeeded(mtu: 1400)
        #expect([UInt8].written(8) { header.write(to: &$0, at: 0) } == hex("03 04 0000 0000 0578"))
        #expect(hex("03 04 0000 0000 0578").parse { ICMPv4Header($0, at: 0, end: 8) }?.mtu == 1400)
        #expect([UInt8].written(8) { ICMPv4Header(.timeExceeded).write(to: &$0, at: 0) } == hex("0b 00 0000 0000 0000"))
    }

    @Test func echo6() throws {
        let source = IPv6Address("2001:db8::1")!, destination = IPv6Address("2001:db8::2")!
        let made = ICMPv6Header.echo(.echoReply, identifier: 7, sequence: 1)
        let written = [UInt8].written(9) {
            $0.store(UInt8(0x61), at: 8)
            made.writeWithChecksum(to: &$0, at: 0, messageLength: 9, source: source, destination: destination)
        }
        // 2001+0db8+1 + 2001+0db8+2 + 0009 + 003a + 8100 + 0007 + 0001 + 6100 = 13dc0, so ~3dc1 = c23e.
        #expect(written == hex("81 00 c23e 0007 0001 61"))
        #expect(written.parse { ICMPv6Header($0, at: 0, end: 9) }?.sequence == 1)
        for end in 0..<8 { #expect(written.parse { ICMPv6Header($0, at: 0, end: end) } == nil) }
    }

    @Test func errors6() {
        let bytes = [UInt8].written(8) { ICMPv6Header.packetTooBig(mtu: 1280).write(to: &$0, at: 0) }
        #expect(bytes == hex("02 00 0000 00000500"))
        #expect(bytes.parse { ICMPv6Header($0, at: 0, end: 8) }?.mtu == 1280)
        #expect(ICMPv6Header.Kind.packetTooBig.isError && !ICMPv6Header.Kind.echoRequest.isError)
    }
}
