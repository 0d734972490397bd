import Settings
import Testing
import Wire

@testable import Datapath

@Suite struct LocalDHCPTests {
    let services = LocalServices(LocalTest.network())

    static func request(_ options: String, client: String = "00000000", flags: String = "0000", relay: String = "00000000") -> [UInt8] {
        LocalTest.join(
            LocalTest.bytes("01010600 12345678 0000 \(flags) \(client) 00000000 00000000 \(relay) 525400123456"),
            [UInt8](repeating: 0, count: 202), LocalTest.bytes("63825363" + options))
    }

    /// What an answer says: addresses, and options by code.
    struct Answer {
        var frame: [UInt8]
        var options: [UInt8: [UInt8]] = [:]
        var order: [UInt8] = []
        var destinationMAC: ArraySlice<UInt8> { frame[0..<6] }
        var destination: ArraySlice<UInt8> { frame[30..<34] }
        var client: ArraySlice<UInt8> { frame[54..<58] }
        var yours: ArraySlice<UInt8> { frame[58..<62] }
        var kind: [UInt8]? { options[53] }

        init(_ frame: [UInt8]) {
            self.frame = frame
            var rest = frame[282...]
            while let code = rest.popFirst(), code != 255 {
                if code == 0 { continue }
                let length = Int(rest.popFirst() ?? 0)
                options[code, default: []] += rest.prefix(length)
                order.append(code)
                rest = rest.dropFirst(length)
            }
            // All that follows the end is padding.
            #expect(rest.allSatisfy { $0 == 0 })
            #expect(frame.count >= 42 + 300)
            #expect(frame[36..<38].elementsEqual([0, 68]))
            #expect(frame[86..<278].allSatisfy { $0 == 0 })  // No server name, no boot file.
        }
    }

    func ask(_ options: String, client: String = "00000000", flags: String = "0000", network: Network? = nil, frame: [UInt8]? = nil) -> Answer? {
        let services = network.map { LocalServices($0) } ?? services
        let frame = frame ?? LocalTest.udp4(Self.request(options, client: client, flags: flags))
        return LocalTest.ask(services, LocalTest.dhcp, frame).map { Answer($0) }
    }

    @Test func goldenOffer() throws {
        let reply = try #require(LocalTest.ask(services, LocalTest.dhcp, LocalTest.udp4(Self.request("35 01 01 ff"))))
        let head = LocalTest.bytes("""
            525400123456 9a559a559a55 0800
            4500 0165 0000 4000 4011 0000 c0000201 c0000202  # 357 bytes from the gateway to the address offered
            0043 0044 0151
            """)
        #expect(reply[..<24] == head[..<24])
        #expect(reply[26..<40] == head[26..<40])
        let message = LocalTest.join(
            LocalTest.bytes("02010600 12345678 0000 0000 00000000 c0000202 00000000 00000000 525400123456"),
            [UInt8](repeating: 0, count: 202),
            LocalTest.bytes("""
                63825363
                35 01 02
                36 04 c0000201
                33 04 ffffffff
                01 04 ffffff00
                03 04 c0000201
                1a 02 fff0
                06 08 c0000235 c6336435
                0c 03 626f78
                1c 04 c00002ff
                0f 0b 6578616d706c65 2e 6f7267
                77 15 07 6578616d706c65 03 6f7267 00 01 61 04 74657374 00
                ff
                """))
        #expect(Array(reply[42...]) == message)
    }

    @Test func acknowledgment() throws {
        let answer = try #require(ask("35 01 03 32 04 c0000202 36 04 c0000201 3d 07 01525400123456 ff"))
        #expect(answer.kind == [5])
        #expect(answer.yours.elementsEqual([192, 0, 2, 2]))
        #expect(answer.options[61] == LocalTest.bytes("01525400123456"))
        #expect(answer.options[51] == [255, 255, 255, 255])
        // Renewing: unicast to the address that it has.
        let renewed = try #require(ask("35 01 03 ff", client: "c0000202", flags: "8000"))
        #expect(renewed.kind == [5] && renewed.client.elementsEqual([192, 0, 2, 2]))
        #expect(renewed.destination.elementsEqual([192, 0, 2, 2]))
    }

    @Test func broadcastIfWanted() throws {
        let answer = try #require(ask("35 01 01 ff", flags: "8000"))
        #expect(answer.destination.elementsEqual([255, 255, 255, 255]))
        #expect(answer.destinationMAC.elementsEqual([255, 255, 255, 255, 255, 255]))
    }

    @Test func refusals() throws {
        for (options, client) in [("35 01 03 32 04 c0000299 ff", "00000000"), ("35 01 03 ff", "c0000299")] {
            let answer = try #require(ask(options, client: client))
            #expect(answer.kind == [6])
            #expect(answer.order == [53, 54])
            #expect(answer.yours.elementsEqual([0, 0, 0, 0]) && answer.client.elementsEqual([0, 0, 0, 0]))
            #expect(answer.destination.elementsEqual([255, 255, 255, 255]))
        }
    }

    @Test(arguments: [
        ("release", "35 01 07 36 04 c0000201 ff"), ("decline", "35 01 04 36 04 c0000201 ff"), ("an offer", "35 01 02 ff"),
        ("for another server", "35 01 03 32 04 c0000202 36 04 c0000209 ff"), ("no such kind", "35 01 63 ff"),
    ])
    func silent(_ what: String, _ options: String) { #expect(ask(options) == nil) }

    @Test func inform() throws {
        let answer = try #require(ask("35 01 08 ff", client: "c0000202"))
        #expect(answer.kind == [5] && answer.yours.elementsEqual([0, 0, 0, 0]))
        #expect(answer.options[51] == nil && answer.options[6] != nil)
        #expect(answer.destination.elementsEqual([192, 0, 2, 2]))
    }

    @Test func rapidCommit() throws {
        let answer = try #require(ask("35 01 01 50 00 ff"))
        #expect(answer.kind == [5] && answer.options[80] == [])
        #expect(try #require(ask("35 01 01 ff")).options[80] == nil)
    }

    @Test func bootp() throws {
        let answer = try #require(ask("ff"))
        #expect(answer.yours.elementsEqual([192, 0, 2, 2]))
        #expect(answer.kind == nil && answer.options[51] == nil && answer.options[54] == nil)
        #expect(answer.options[1] == [255, 255, 255, 0])
    }

    @Test func lesson49_padding() throws {
        #expect(try #require(ask("00 00 00 35 01 01 00 ff 35 01 07")).kind == [2])
    }

    @Test func lesson42_bytesBehindThePacketDoNotCount() throws {
        // Options cut off by the IP length must not be read from the padding, and padding must not hurt.
        var frame = LocalTest.udp4(Self.request("35 01 01"), padding: 30)
        #expect(try #require(ask("", frame: frame)).kind == [2])
        frame = LocalTest.udp4(Self.request("")) + LocalTest.bytes("35 01 03 32 04 c0000299")
        #expect(try #require(ask("", frame: frame)).kind == nil)
    }

    @Test func fqdn() throws {
        let wire = LocalTest.bytes("03 626f78 07 6578616d706c65 03 6f7267 00")
        // Flags E and S: the answer says N and O, and E again. Without E, the name is text.
        #expect(try #require(ask("35 01 01 51 04 05 00 00 00 ff")).options[81] == LocalTest.join([0x0e, 255, 255], wire))
        #expect(try #require(ask("35 01 01 51 04 04 00 00 00 ff")).options[81] == LocalTest.join([0x0c, 255, 255], wire))
        #expect(try #require(ask("35 01 01 51 03 00 00 00 ff")).options[81] == LocalTest.join([0x08, 255, 255], Array("box.example.org".utf8)))
        #expect(try #require(ask("35 01 01 37 02 01 51 ff")).options[81] == LocalTest.join([0x0c, 255, 255], wire))
        #expect(try #require(ask("35 01 01 ff")).options[81] == nil)
    }

    @Test func gatewayOffLink() throws {
        var network = LocalTest.network()
        network.ipv4?.prefixLength = 32
        let answer = try #require(ask("35 01 01 ff", network: network))
        #expect(answer.options[121] == LocalTest.bytes("20 c0000201 00000000 00 c0000201"))
        #expect(answer.options[3] == [192, 0, 2, 1])
        #expect(answer.options[1] == [255, 255, 255, 255] && answer.options[28] == nil)
        #expect(try #require(ask("35 01 01 ff")).options[121] == nil)
    }

    /// For who knows no list: the first search domain that is one, as text, behind the name that was asked for, and left out as a whole where there is no room.
    @Test func domainName() throws {
        var network = LocalTest.network()
        network.searchDomains = ["not valid", "a.test.", "b.test"]
        let answer = try #require(ask("35 01 01 51 03 00 00 00 ff", network: network))
        #expect(answer.options[15] == Array("a.test".utf8) && Array(answer.order.suffix(3)) == [81, 15, 119])
        network.searchDomains = [Array(repeating: String(repeating: "a", count: 60), count: 4).joined(separator: ".")]
        #expect(try #require(ask("35 01 01 ff", network: network)).options[15]?.count == 243)
        #expect(try #require(ask("35 01 01 3d 14 \(String(repeating: "aa", count: 20)) ff", network: network)).options[15] == nil)
        network.searchDomains = ["not valid"]
        #expect(try #require(ask("35 01 01 ff", network: network)).options[15] == nil)
        network = LocalTest.network()
        network.advertiseSearch = false
        #expect(try #require(ask("35 01 01 ff", network: network)).options[15] == nil)
    }

    /// The host's way out names no router: one stands in for it, outside of the subnet, and is the server, too.
    @Test func aRouterThatStandsIn() throws {
        let (router, bytes) = (IPv4Address("169.254.2.2")!, [169, 254, 2, 2] as [UInt8])
        var network = LocalTest.network()
        network.ipv4?.gateway = nil
        network.ipv4?.standIn = router
        let answer = try #require(ask("35 01 01 ff", network: network))
        #expect(answer.options[3] == bytes && answer.options[54] == bytes && answer.frame[26..<30].elementsEqual(bytes))
        #expect(answer.options[121] == LocalTest.bytes("20 a9fe0202 00000000 00 a9fe0202"))
        let renewal = LocalTest.udp4(Self.request("35 01 03 ff", client: "c0000202"), from: "c0000202", to: "a9fe0202")
        #expect(try #require(ask("", network: network, frame: renewal)).kind == [5])
        // It is us, for who asks, who would like to have it, and who would like to be it, whomever the host knows there.
        var services = LocalServices(network)
        services.neighbours.update(IPAddress(router), MACAddress("02:00:00:00:00:09")!)
        for sender in ["c0000202", "00000000"] {
            let reply = try #require(LocalTest.ask(services, LocalTest.arp, LocalARPTests().request("a9fe0202", from: sender)))
            #expect(reply[22..<28] == LocalTest.bytes("9a559a559a55")[...])
        }
        #expect(!services.mayBeGuest(IPAddress(router)))
        // It leads to the host's loopback only if an option says so; being how the guest sees who comes from there opens nothing.
        let endpoint = Endpoint(IPAddress(router), 80)
        #expect(AddressTranslation(network).toHost(endpoint) == endpoint)
        // Nor does the port of names, for a resolver there, change anything else. In IPv6 it is the router itself.
        let resolver = IPAddress("127.0.0.53")!
        network.ipv4?.dnsForward = router
        network.ipv4?.dnsHost = resolver
        network.ipv6?.gateway = nil
        network.ipv6?.dnsForward = LocalTest.router
        network.ipv6?.dnsHost = resolver
        for address in [IPAddress(router), IPAddress(LocalTest.router)] {
            #expect(AddressTranslation(network).toHost(Endpoint(address, 53)) == Endpoint(resolver, 53))
            #expect(AddressTranslation(network).toHost(Endpoint(address, 80)) == Endpoint(address, 80))
        }
        let loopback = IPAddress(IPv4Address.loopback)
        #expect(AddressTranslation(network).toGuest(loopback) == nil)
        network.ipv4?.mapGuestAddress = nil
        #expect(AddressTranslation(network).inboundSource(loopback, local: loopback) == IPAddress(router))
        network.ipv4?.mapHostLoopback = router
        #expect(AddressTranslation(network).toHost(endpoint) == Endpoint(loopback, 80))
    }

    /// No way out, no router; but a server that the guest finds on its link.
    @Test(arguments: [
        ("192.0.2.2", 24, "192.0.2.3"), ("192.0.2.1", 24, "192.0.2.2"), ("192.0.2.254", 24, "192.0.2.253"), ("192.0.2.1", 30, "192.0.2.2"),
        ("192.0.2.2", 30, "192.0.2.1"), ("192.0.2.2", 31, "192.0.2.3"), ("192.0.2.2", 32, "192.0.2.3"),
    ])
    func noRouter(_ guest: String, _ length: Int, _ server: String) throws {
        func hexadecimal(_ address: String) -> String { String(0x1_0000_0000 + UInt64(IPv4Address(address)!.bits), radix: 16).dropFirst().description }
        var network = LocalTest.network()
        network.ipv4?.address = IPv4Address(guest)!
        network.ipv4?.prefixLength = length
        network.ipv4?.gateway = nil
        let answer = try #require(ask("35 01 01 ff", network: network))
        #expect(answer.kind == [2] && answer.yours.elementsEqual(LocalTest.bytes(hexadecimal(guest))))
        #expect(answer.options[3] == nil && answer.options[54] == LocalTest.bytes(hexadecimal(server)))
        // Outside of the subnet there is only what routes lead to.
        #expect(answer.options[121] == (length < 32 ? nil : LocalTest.bytes("20 \(hexadecimal(server)) 00000000")))
        let renewal = LocalTest.udp4(Self.request("35 01 03 ff", client: hexadecimal(guest)), from: hexadecimal(guest), to: hexadecimal(server))
        #expect(try #require(ask("", network: network, frame: renewal)).kind == [5])
        // Its address is somebody else's otherwise: who asks whether it is free is not told that it is taken, and the guest may have it.
        let services = LocalServices(network)
        #expect(LocalTest.ask(services, LocalTest.arp, LocalARPTests().request(hexadecimal(server), from: hexadecimal(guest))) != nil)
        #expect(LocalTest.ask(services, LocalTest.arp, LocalARPTests().request(hexadecimal(server), from: "00000000")) == nil)
        #expect(services.mayBeGuest(IPAddress(server)!))
    }

    @Test func longListsKeepToTheClientsLimit() throws {
        var network = LocalTest.network()
        network.searchDomains = (0..<60).map { "a\($0).example" }
        let names = network.searchDomains.map { DomainName($0)! }
        // Whole domains, from the first on, and one more of 13 bytes would not fit.
        let small = try #require(ask("35 01 01 ff", network: network))
        let part = try #require(small.options[119])
        #expect((1..<60).contains { part == DomainName.list(Array(names.prefix($0))) })
        #expect((14 + 576 - 13...14 + 576).contains(small.frame.count))
        let large = try #require(ask("35 01 01 39 02 05dc ff", network: network))
        #expect(large.order.filter { $0 == 119 }.count == 4)  // 770 bytes of names.
        #expect(large.options[119] == DomainName.list(names))
        // The name that was asked for is not crowded out.
        #expect(try #require(ask("35 01 01 51 03 00 00 00 ff", network: network)).options[81] != nil)
        #expect(try #require(ask("35 01 01 39 02 ffff ff", network: network)).frame.count <= LocalServices.maximumReply)
        // An echo as long as can be still leaves the end in its place.
        let identifier = String(repeating: "aa", count: 255)
        #expect(try #require(ask("35 01 01 3d ff \(identifier) ff", network: network)).options[61]?.count == 255)
        network.ipv4?.resolvers = Array(repeating: IPv4Address(0xc000_0201), count: 200)
        #expect(try #require(ask("35 01 01 39 02 05dc ff", network: network)).options[6]?.count == 252)
    }

    /// At every limit, so that each domain is once the last, also where one option ends and the next begins.
    @Test func searchListsAreCutAtWholeDomains() throws {
        var network = LocalTest.network()
        network.searchDomains = (0..<60).map { "a\($0).example" }
        let names = network.searchDomains.map { DomainName($0)! }
        let lists = (1...60).map { DomainName.list(Array(names.prefix($0))) }
        var seen: Set<Int> = []
        for limit in 576...1300 {
            let frame = LocalTest.udp4(Self.request("35 01 01 39 02") + LocalTest.word(limit) + [255])
            let answer = try #require(ask("", network: network, frame: frame))
            let part = try #require(answer.options[119])
            seen.insert(try #require(lists.firstIndex(of: part), "\(limit)"))
            #expect(answer.frame.count <= 14 + limit)
        }
        #expect(seen.contains(59) && seen.count > 30)
    }

    @Test func switches() throws {
        func served(_ change: (inout Network) -> Void) -> Answer? {
            var network = LocalTest.network()
            change(&network)
            return ask("35 01 01 51 03 00 00 00 ff", network: network)
        }
        #expect(served { $0.dhcp = false } == nil)
        #expect(served { $0.ipv4 = nil } == nil)
        #expect(served { $0.ipv4?.gateway = nil } != nil)
        #expect(served { $0.ipv4?.address = nil } == nil)
        let least = try #require(served {
            $0.advertiseResolvers = false
            $0.advertiseSearch = false
            $0.mtu = 0
            $0.hostname = nil
            $0.fqdn = nil
        })
        #expect(least.order == [53, 54, 51, 1, 3, 28])
    }

    @Test func notForUs() {
        let request = Self.request("35 01 01 ff")
        func asked(_ frame: [UInt8]) -> Bool { LocalTest.ask(services, LocalTest.dhcp, frame) != nil }
        #expect(asked(LocalTest.udp4(request, to: "c0000201")) && asked(LocalTest.udp4(request, to: "c00002ff")))
        #expect(!asked(LocalTest.udp4(request, to: "c6336401")))  // A server somewhere else.
        #expect(!asked(LocalTest.udp4(request, port: 68)))
        #expect(!asked(LocalTest.udp4(Self.request("35 01 01 ff", relay: "c0000209"))))
        for (index, value) in [(42, 2), (43, 6), (44, 5), (70, 0x53), (278, 0)] as [(Int, UInt8)] {
            var frame = LocalTest.udp4(request)
            frame[index] = value
            #expect(!asked(frame), "\(index)")
        }
        var fragment = LocalTest.udp4(request)
        fragment[20] = 0x20
        #expect(!asked(fragment))
    }
}
