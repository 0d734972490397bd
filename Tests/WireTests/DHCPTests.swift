import Testing
import Wire

@Suite struct DHCPTests {
    let fixed = hex("""
        01 01 06 00            # request, Ethernet, 6 bytes, no hops
        12345678 0003 8000     # transaction, seconds, broadcast
        c0000202 00000000 00000000 00000000  # client's address; yours, next server, relay
        525400123456           # client's link-layer address
        """) + [UInt8](repeating: 0, count: 10 + 64 + 128) + hex("63825363")

    @Test func golden() throws {
        #expect(fixed.count == 240)
        let message = try #require(fixed.parse { DHCPMessage($0, at: 0, end: 240) })
        #expect(!message.isReply && message.wantsBroadcast)
        #expect(message.transaction == 0x1234_5678 && message.seconds == 3)
        #expect(message.clientAddress == IPv4Address("192.0.2.2"))
        #expect(message.clientMAC == MACAddress("52:54:00:12:34:56"))
        #expect(message.optionsOffset == 240)
        #expect([UInt8].written(240) { message.write(to: &$0, at: 0) } == fixed)
        let reply = DHCPMessage(replyTo: message, yourAddress: IPv4Address("192.0.2.3")!)
        let written = [UInt8].written(240) { reply.write(to: &$0, at: 0) }
        #expect(written[..<20] == hex("02 01 06 00 12345678 0000 8000 c0000202 c0000203")[...])
        for end in 0..<240 { #expect(fixed.parse { DHCPMessage($0, at: 0, end: end) } == nil) }
        for index in [0, 1, 2, 236, 239] {
            var bad = fixed
            bad[index] ^= 0x10
            #expect(bad.parse { DHCPMessage($0, at: 0, end: 240) } == nil)
        }
    }

    func options(_ bytes: [UInt8]) -> DHCPClientOptions {
        bytes.parse { DHCPClientOptions($0, at: 0, end: bytes.count) }
    }

    @Test func lesson49_padAndEndHaveNoLength() {
        // Padding between options, and bytes behind the end that look like options.
        let parsed = options(hex("00 00 35 01 03 00 32 04 c0000202 00 ff 36 04 01020304"))
        #expect(parsed.kind == .request)
        #expect(parsed.requestedAddress == IPv4Address("192.0.2.2"))
        #expect(parsed.serverIdentifier == nil)
    }

    @Test func whatServersLookAt() {
        let parsed = options(hex("""
            35 01 01 36 04 c0000201 39 02 05dc 3d 07 01525400123456 50 00
            51 06 05 00 00 610162   # FQDN flags S and E
            37 03 01 51 03 ff       # parameters, 81 among them
            """))
        #expect(parsed.kind == .discover)
        #expect(parsed.serverIdentifier == IPv4Address("192.0.2.1"))
        #expect(parsed.maximumSize == 1500)
        #expect(parsed.clientIdentifier?.offset == 15 && parsed.clientIdentifier?.length == 7)
        #expect(parsed.wantsRapidCommit && parsed.asksForFQDN)
        #expect(parsed.fqdnFlags == 5)
    }

    @Test func strangeOptions() {
        // Wrong lengths are skipped, the first of two counts, cut ones end the list, tiny limits are raised.
        #expect(options(hex("35 02 0101 35 01 03 35 01 01")).kind == .request)
        #expect(options(hex("35 01 03 32 04 c00002")).requestedAddress == nil)
        #expect(options(hex("35 01 03 32")).kind == .request)
        #expect(options(hex("35")).kind == nil)
        #expect(options([]).kind == nil)
        #expect(options(hex("39 02 0001")).maximumSize == 576)
        #expect(options([UInt8](repeating: 0, count: 300)).kind == nil)
    }
}

@Suite struct DHCPv6Tests {
    @Test func message() throws {
        let bytes = hex("01 abcdef")
        let message = try #require(bytes.parse { DHCPv6Message($0, at: 0, end: 4) })
        #expect(message.kind == .solicit && message.transaction == 0xabcdef)
        #expect([UInt8].written(4) { message.write(to: &$0, at: 0) } == bytes)
        #expect(bytes.parse { DHCPv6Message($0, at: 0, end: 3) } == nil)
    }

    func options(_ bytes: [UInt8]) -> DHCPv6ClientOptions? {
        bytes.parse { DHCPv6ClientOptions($0, at: 0, end: bytes.count) }
    }

    @Test func whatServersLookAt() throws {
        let parsed = try #require(options(hex("""
            0001 000a 00030001525400123456
            0002 000a 000300019a559a559a55
            0003 000c 00000001 00000000 00000000
            0006 0006 0017 0018 0027
            000e 0000
            0027 0003 01 0161
            """)))
        #expect(parsed.clientIdentifier?.offset == 4 && parsed.clientIdentifier?.length == 10)
        #expect(parsed.serverIdentifier?.offset == 18)
        #expect(parsed.hasAssociations && parsed.wantsRapidCommit && parsed.asksForFQDN)
        #expect(parsed.fqdnFlags == 1)
    }

    @Test func broken() {
        #expect(options([]) != nil)
        #expect(options(hex("0001 0002 0003")) == nil)  // An identifier of two bytes.
        #expect(options(hex("0001 0004 000300")) == nil)  // Cut.
        #expect(options(hex("0008 0000 00")) == nil)  // Rest.
        #expect(options(hex("0001 0083") + [UInt8](repeating: 1, count: 131)) == nil)
        #expect(options(hex("0001 0082") + [UInt8](repeating: 1, count: 130)) != nil)
        #expect(options(hex("0006 0003 002700"))?.asksForFQDN == true)
        #expect(options(hex("0006 0001 00"))?.asksForFQDN == false)
    }

    @Test func builtOption() {
        #expect(DHCPv6Option.wire(24, [1, 2, 3]) == hex("0018 0003 010203"))
    }
}
