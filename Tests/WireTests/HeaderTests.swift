import Testing
import Wire

@Suite struct EthernetTests {
    let bytes = hex("9a559a559a55 525400123456 86dd")

    @Test func golden() throws {
        let header = try #require(bytes.parse { EthernetHeader($0) })
        #expect(header.destination == MACAddress(0x9a55_9a55_9a55))
        #expect(header.source == MACAddress(0x5254_0012_3456))
        #expect(header.type == .ipv6)
        #expect([UInt8].written(14) { header.write(to: &$0) } == bytes)
    }

    @Test func truncated() {
        for count in 0..<14 { #expect(Array(bytes[..<count]).parse { EthernetHeader($0) } == nil) }
    }
}

@Suite struct IPv4Tests {
    /// The example header that every text on checksums uses, with 95 bytes of payload.
    let header = hex("""
        45 00 0073  # version 4, 20 bytes; TOS; total length 115
        0000 4000   # identification, don't fragment
        40 11 b861  # TTL 64, UDP, checksum
        c0a80001 c0a800c7
        """)

    @Test func golden() throws {
        let packet = header + [UInt8](repeating: 0, count: 95)
        let parsed = try #require(packet.parse { IPv4Header($0, at: 0) })
        #expect(parsed.proto == .udp)
        #expect(parsed.timeToLive == 64)
        #expect(parsed.dontFragment && !parsed.isFragment)
        #expect(parsed.source == IPv4Address(0xc0a8_0001))
        #expect(parsed.destination == IPv4Address(0xc0a8_00c7))
        #expect(parsed.payload == 20..<115)
        #expect([UInt8].written(20) { parsed.write(to: &$0, at: 0) } == header)
        var made = IPv4Header(source: parsed.source, destination: parsed.destination, proto: .udp, payloadLength: 95)
        made.payloadOffset = 20
        #expect(made == parsed)
    }

    @Test func lesson42_paddingIsNotPayload() throws {
        // 28 bytes of packet in the 46 bytes that Ethernet pads to, behind an Ethernet header.
        var frame = [UInt8](repeating: 0xaa, count: 60)
        frame.replaceSubrange(14..<34, with: hex("4500001c 00000000 40110000 c0000201 c0000202"))
        let parsed = try #require(frame.parse { IPv4Header($0, at: 14) })
        #expect(parsed.payload == 34..<42)
        frame.replaceSubrange(34..<42, with: hex("0043 0044 0008 0000"))
        #expect(frame.parse { UDPHeader($0, at: 34, end: parsed.payload.upperBound) }?.payloadLength == 0)
    }

    @Test func optionsAndFragments() throws {
        var packet = hex("46b8 0020 1234 2003 01 06 0000 c0000201 c0000202 01010100") + [UInt8](repeating: 7, count: 8)
        let parsed = try #require(packet.parse { IPv4Header($0, at: 0) })
        #expect(parsed.payload == 24..<32)
        #expect(parsed.typeOfService == 0xb8)
        #expect(parsed.moreFragments && parsed.isFragment && parsed.fragmentOffset == 24)
        packet[6] = 0
        #expect(packet.parse { IPv4Header($0, at: 0) }?.isFragment == true)
        packet[7] = 0
        #expect(packet.parse { IPv4Header($0, at: 0) }?.isFragment == false)
    }

    @Test(arguments: [
        ("version 6", 0, 0x65), ("header shorter than itself", 0, 0x44), ("header beyond total length", 0, 0x4f),
        ("total length below the header", 3, 0x13), ("total length beyond the bytes", 3, 0x1d),
    ] as [(String, Int, UInt8)])
    func refused(_ what: String, _ index: Int, _ value: UInt8) {
        var packet = hex("4500001c 00000000 40110000 c0000201 c0000202 0000000000000000")
        #expect(packet.parse { IPv4Header($0, at: 0) } != nil)
        packet[index] = value
        #expect(packet.parse { IPv4Header($0, at: 0) } == nil)
    }
}

@Suite struct IPv6Tests {
    let header = hex("""
        6a0 bcdef   # version, traffic class a0, flow label
        0010 3a ff  # payload length, ICMPv6, hop limit
        fe80 0000 0000 0000 0000 0000 0000 0001
        ff02 0000 0000 0000 0000 0000 0000 0002
        """)

    @Test func golden() throws {
        let packet = header + [UInt8](repeating: 0, count: 20)  // 4 of them are padding.
        let parsed = try #require(packet.parse { IPv6Header($0, at: 0) })
        #expect(parsed.trafficClass == 0xa0)
        #expect(parsed.flowLabel == 0xbcdef)
        #expect(parsed.nextHeader == .icmpv6)
        #expect(parsed.hopLimit == 255)
        #expect(parsed.source == IPv6Address("fe80::1"))
        #expect(parsed.destination == .allRouters)
        #expect(parsed.payload == 40..<56)
        #expect([UInt8].written(40) { parsed.write(to: &$0, at: 0) } == header)
        #expect(packet.parse { parsed.upperLayer($0) }
            == IPv6UpperLayer(proto: .icmpv6, offset: 40, length: 16, isFragment: false))
        for count in 0..<56 { #expect(Array(packet[..<count]).parse { IPv6Header($0, at: 0) } == nil) }
    }

    func packet(_ next: UInt8, _ payload: String) -> [UInt8] {
        var packet = header + hex(payload)
        packet[5] = UInt8(packet.count - 40)
        packet[6] = next
        return packet
    }

    func walk(_ packet: [UInt8]) -> IPv6UpperLayer? {
        packet.parse { bytes in IPv6Header(bytes, at: 0)?.upperLayer(bytes) }
    }

    @Test func extensionHeaders() {
        let chain = packet(0, """
            3c 00 0000 0000 0000                    # hop-by-hop, then destination options
            2b 01 0000 0000 0000 0000 0000 0000 0000  # 16 bytes of them, then routing
            11 00 0200 0000 0000                    # used up, then UDP
            aaaa bbbb 0008 0000
            """)
        #expect(walk(chain) == IPv6UpperLayer(proto: .udp, offset: 72, length: 8, isFragment: false))
        var unused = chain
        unused[40 + 24 + 3] = 1
        #expect(walk(unused) == nil)
    }

    @Test func fragments() {
        // Offset 0 and "more": the first part. Neither: a whole packet. Reserved bits do not count.
        #expect(walk(packet(44, "11 00 0001 00000001 aaaa bbbb 0008 0000"))
            == IPv6UpperLayer(proto: .udp, offset: 48, length: 8, isFragment: true))
        #expect(walk(packet(44, "11 00 00b8 00000001 aaaa bbbb 0008 0000"))?.isFragment == true)
        #expect(walk(packet(44, "11 00 0006 00000001 aaaa bbbb 0008 0000"))
            == IPv6UpperLayer(proto: .udp, offset: 48, length: 8, isFragment: false))
    }

    @Test func endlessChains() {
        let one = "3c 00 0000 0000 0000 "
        let last = "3b 00 0000 0000 0000 "
        #expect(walk(packet(60, String(repeating: one, count: 7) + last))?.proto == .noNextHeader)
        #expect(walk(packet(60, String(repeating: one, count: 8) + last)) == nil)
        // Lengths that leave the packet, and headers that are cut.
        #expect(walk(packet(60, "11 01 0000 0000 0000")) == nil)
        #expect(walk(packet(60, "11 00 0000 0000")) == nil)
        #expect(walk(packet(44, "11 00 0000 0000")) == nil)
        #expect(walk(packet(60, "")) == nil)
    }
}

@Suite struct IPv6FragmentTests {
    let header = hex("""
        11 00      # next header UDP, reserved
        05a9       # offset 1448, more follow
        cafe f00d  # identification
        """)

    @Test func golden() throws {
        let parsed = try #require(header.parse { IPv6FragmentHeader($0, at: 0) })
        #expect(parsed == IPv6FragmentHeader(nextHeader: .udp, fragmentOffset: 1448, moreFragments: true, identification: 0xcafe_f00d))
        #expect([UInt8].written(8) { parsed.write(to: &$0, at: 0) } == header)
    }

    /// The largest offset that there is, and reserved bits, which say nothing.
    @Test func limits() throws {
        let last = IPv6FragmentHeader(nextHeader: .icmpv6, fragmentOffset: 65_528, moreFragments: false, identification: 1)
        #expect([UInt8].written(8) { last.write(to: &$0, at: 0) } == hex("3a00 fff8 00000001"))
        #expect(hex("3aff fffe 00000001").parse { IPv6FragmentHeader($0, at: 0) } == last)
        for count in 0..<8 { #expect(Array(header[..<count]).parse { IPv6FragmentHeader($0, at: 0) } == nil) }
    }
}

@Suite struct UDPTests {
    let bytes = hex("3039 0035 000c beef 61626364")

    @Test func golden() throws {
        let header = try #require(bytes.parse { UDPHeader($0, at: 0, end: 12) })
        #expect(header.sourcePort == 12345)
        #expect(header.destinationPort == 53)
        #expect(header.checksum == 0xbeef)
        #expect(header.payload == 8..<12)
        let made = UDPHeader(sourcePort: 12345, destinationPort: 53, payloadLength: 4, checksum: 0xbeef)
        #expect([UInt8].written(8) { made.write(to: &$0, at: 0) } == Array(bytes[..<8]))
    }

    @Test func lengths() {
        #expect(bytes.parse { UDPHeader($0, at: 0, end: 11) } == nil)
        #expect(bytes.parse { UDPHeader($0, at: 0, end: 13) } == nil)
        #expect(bytes.parse { UDPHeader($0, at: 5, end: 12) } == nil)
        var short = bytes
        short[5] = 7
        #expect(short.parse { UDPHeader($0, at: 0, end: 12) } == nil)
        short[5] = 9
        #expect(short.parse { UDPHeader($0, at: 0, end: 12) }?.payload == 8..<9)
    }
}
