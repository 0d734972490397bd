import Testing
import Wire

@Suite struct ARPTests {
    let bytes = hex("""
        0001 0800 06 04       # Ethernet, IPv4, their lengths
        0001                  # request
        525400123456 c0000202 # from
        000000000000 c0000201 # for
        """)

    @Test func golden() throws {
        let packet = try #require(bytes.parse { ARPPacket($0, at: 0) })
        #expect(packet.operation == .request)
        #expect(packet.senderMAC == MACAddress("52:54:00:12:34:56"))
        #expect(packet.sender == IPv4Address("192.0.2.2"))
        #expect(packet.targetMAC == .zero)
        #expect(packet.target == IPv4Address("192.0.2.1"))
        #expect([UInt8].written(28) { packet.write(to: &$0, at: 0) } == bytes)
    }

    @Test func refused() {
        for count in 0..<28 { #expect(Array(bytes[..<count]).parse { ARPPacket($0, at: 0) } == nil) }
        for index in 0..<6 {
            var other = bytes
            other[index] ^= 0x10
            #expect(other.parse { ARPPacket($0, at: 0) } == nil)
        }
    }
}

@Suite struct NDPTests {
    let target = "20010db8 00000000 00000000 00000001 "

    @Test func solicitation() throws {
        // Type, code, checksum, reserved, target, source link-layer address.
        let bytes = hex("87 00 0000 00000000" + target + "01 01 525400123456")
        let message = try #require(bytes.parse { NeighbourSolicitation($0, at: 0, end: 32) })
        #expect(message.target == IPv6Address("2001:db8::1"))
        #expect(message.sourceLinkLayer == MACAddress("52:54:00:12:34:56"))
        #expect([UInt8].written(32) { message.write(to: &$0, at: 0) } == bytes)
        #expect(bytes.parse { NeighbourSolicitation($0, at: 0, end: 24) }?.sourceLinkLayer == nil)
        for end in (0..<24) { #expect(bytes.parse { NeighbourSolicitation($0, at: 0, end: end) } == nil) }
        for end in (25..<32) { #expect(bytes.parse { NeighbourSolicitation($0, at: 0, end: end) } == nil) }
    }

    @Test func brokenSolicitations() {
        let good = hex("87 00 0000 00000000" + target + "0e 01 000000000000 01 01 525400123456")
        #expect(good.parse { NeighbourSolicitation($0, at: 0, end: 40) }?.sourceLinkLayer == MACAddress("52:54:00:12:34:56"))
        for (index, value) in [(0, 0x88), (1, 1), (8, 0xff), (25, 0), (25, 3), (33, 0), (33, 2)] as [(Int, UInt8)] {
            var bad = good
            bad[index] = value
            #expect(bad.parse { NeighbourSolicitation($0, at: 0, end: 40) } == nil, "\(index)")
        }
    }

    @Test func advertisement() throws {
        let bytes = hex("88 00 0000 e0000000" + target + "02 01 9a559a559a55")
        let message = try #require(bytes.parse { NeighbourAdvertisement($0, at: 0, end: 32) })
        #expect(message.isRouter && message.isSolicited && message.overrides)
        #expect(message.targetLinkLayer == MACAddress("9a:55:9a:55:9a:55"))
        #expect([UInt8].written(32) { message.write(to: &$0, at: 0) } == bytes)
        var solicited = bytes
        solicited[4] = 0x40
        let other = try #require(solicited.parse { NeighbourAdvertisement($0, at: 0, end: 32) })
        #expect(!other.isRouter && other.isSolicited && !other.overrides)
    }

    @Test func routerSolicitation() throws {
        let bytes = hex("85 00 0000 00000000 01 01 525400123456")
        #expect(bytes.parse { RouterSolicitation($0, at: 0, end: 16) }?.sourceLinkLayer == MACAddress("52:54:00:12:34:56"))
        #expect(bytes.parse { RouterSolicitation($0, at: 0, end: 8) } != nil)
        for end in [0, 7, 9, 15] { #expect(bytes.parse { RouterSolicitation($0, at: 0, end: end) } == nil) }
    }

    @Test func routerAdvertisement() throws {
        let message = RouterAdvertisement(hopLimit: 64, isManaged: true, hasOtherConfiguration: false, lifetime: 0x1234)
        #expect(message.wire == hex("86 00 0000 40 80 1234 00000000 00000000"))
        #expect(message.wire.parse { RouterAdvertisement($0, at: 0, end: 16) } == message)
        #expect(message.wire.parse { RouterAdvertisement($0, at: 0, end: 15) } == nil)
    }

    @Test func routerOptions() throws {
        #expect(NDPOption.prefixInformation(IPv6Address("2001:db8:0:1:2:3:4:5")!, length: 64) == hex("""
            03 04 40 c0           # 32 bytes, /64, on-link and autonomous
            ffffffff ffffffff     # valid and preferred for ever
            00000000
            20010db8 00000001 00000000 00000000
            """))
        #expect(NDPOption.prefixInformation(IPv6Address("2001:db8:ffff:ffff:ffff::")!, length: 72)[16...]
            == hex("20010db8 ffffffff ff000000 00000000")[...])
        #expect(NDPOption.mtu(65520) == hex("05 01 0000 0000fff0"))
        #expect(NDPOption.sourceLinkLayer(MACAddress(0x9a55_9a55_9a55)) == hex("01 01 9a559a559a55"))
        #expect(NDPOption.resolvers([IPv6Address("2001:db8::1")!, IPv6Address("fe80::1")!]) == hex(
            "19 05 0000 ffffffff" + target + "fe800000 00000000 00000000 00000001"))
        // "a.example" takes 11 bytes, so 5 of padding.
        #expect(NDPOption.searchList([DomainName("a.example")!]) == hex("1f 03 0000 ffffffff 0161 07 6578616d706c65 00 0000000000"))
        // Whole names only, and none behind the first that has no room.
        let names = ["a.example", "a-rather-long-name.example", "b"].map { DomainName($0)! }
        #expect(NDPOption.searchList(names, limit: 31) == NDPOption.searchList([names[0]]))
        #expect(NDPOption.searchList(names, limit: 24) == NDPOption.searchList([names[0]]) && NDPOption.searchList(names, limit: 23).isEmpty)
        #expect(NDPOption.searchList(names, limit: 56) == NDPOption.searchList(names) && NDPOption.searchList(names, limit: -1).isEmpty)
        #expect(NDPOption.resolvers([]).isEmpty && NDPOption.searchList([]).isEmpty)
        #expect(NDPOption.resolvers(Array(repeating: .loopback, count: 300)).count == 127 * 16 + 8)
    }
}

@Suite struct DomainNameTests {
    @Test(arguments: [
        ("example", "07 6578616d706c65 00"), ("a.B-1.", "01 61 03 422d31 00"), ("_x.y", "02 5f78 01 79 00"),
    ])
    func encoded(_ text: String, _ wire: String) throws {
        #expect(try #require(DomainName(text)).wire == hex(wire))
    }

    @Test(arguments: ["", ".", "..", ".a", "a..b", "a b", "a\n", "-a", "a-", "ä", "a/b", "a\0b", String(repeating: "a", count: 64)])
    func refused(_ text: String) { #expect(DomainName(text) == nil) }

    @Test func lengths() {
        let label = String(repeating: "a", count: 63)
        #expect(DomainName(label)?.wire.count == 65)
        // Three labels of 64 bytes and one of 62 with the root make 255.
        let longest = [label, label, label, String(label.dropLast(2))].joined(separator: ".")
        #expect(DomainName(longest)?.wire.count == 255)
        #expect(DomainName(longest.dropLast() + "bb") == nil)
    }

    @Test func searchOptions() throws {
        #expect(DomainName.dhcpSearchOptions([]) == [])
        #expect(DomainName.dhcpSearchOptions([DomainName("a")!, DomainName("b.c")!]) == hex("77 08 0161 00 0162 0163 00"))
        // 300 bytes of names are cut at 255, wherever that is.
        let names = Array(repeating: DomainName("abcdefgh.ij")!, count: 23)
        let list = DomainName.list(names)
        #expect(list.count == 299)
        let options = DomainName.dhcpSearchOptions(names)
        var expected: [UInt8] = [119, 255]
        expected += list[..<255]
        expected += [119, 44]
        expected += list[255...]
        #expect(options == expected)
    }
}
