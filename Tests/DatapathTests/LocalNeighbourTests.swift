import Linux
import Settings
import Testing
import Wire

@testable import Datapath

@Suite struct LocalARPTests {
    let services = LocalServices(LocalTest.network())

    func request(_ target: String, from sender: String = "c0000202", operation: String = "0001") -> [UInt8] {
        LocalTest.bytes("ffffffffffff 525400123456 0806 0001 0800 0604 \(operation) 525400123456 \(sender) 000000000000 \(target)")
    }

    @Test func golden() {
        let expected = LocalTest.bytes("""
            525400123456 9a559a559a55 0806
            0001 0800 0604 0002
            9a559a559a55 c0000201
            525400123456 c0000202
            """) + [UInt8](repeating: 0, count: 18)  // Lesson 42: padded to 60.
        #expect(LocalTest.ask(services, LocalTest.arp, request("c0000201")) == expected)
    }

    @Test(arguments: [
        ("any other address", "c00002aa", "c0000202", true), ("the one that the guest is offered, from another", "c0000202", "c0000203", true),
        ("the same, by who claims to be the gateway", "c0000202", "c0000201", false),
        ("an announcement", "c00002aa", "c00002aa", false), ("a probe for its own address", "c0000202", "00000000", false),
        ("a probe for a free address", "c00002aa", "00000000", false), ("a probe for the gateway's", "c0000201", "00000000", true),
        ("a probe for a mapped one", "c000024d", "00000000", true), ("multicast", "e0000001", "c0000202", false),
        ("broadcast", "ffffffff", "c0000202", false), ("nothing", "00000000", "c0000202", false),
    ])
    func who(_ what: String, _ target: String, _ sender: String, _ answered: Bool) {
        #expect((LocalTest.ask(services, LocalTest.arp, request(target, from: sender)) != nil) == answered)
    }

    /// Before the guest has it, the address that it is offered is the host's; afterwards, its own. Who probes for it never hears of it.
    @Test func theOfferedAddressIsTheGuestsOnceItHasIt() {
        var services = services
        func isAnswered(from sender: String) -> Bool { LocalTest.ask(services, LocalTest.arp, request("c0000202", from: sender)) != nil }
        services.note(IPv4Address("192.0.2.3")!)
        #expect(isAnswered(from: "c0000203") && !isAnswered(from: "00000000") && !isAnswered(from: "c0000202"))
        services.note(IPv4Address("192.0.2.2")!)
        services.note(IPv4Address("192.0.2.3")!)
        #expect(!isAnswered(from: "c0000203") && !isAnswered(from: "00000000"))
        services.forgetGuest()
        #expect(isAnswered(from: "c0000203"))
    }

    @Test func notAsked() {
        #expect(LocalTest.ask(services, LocalTest.arp, request("c0000201", operation: "0002")) == nil)
        var network = LocalTest.network()
        network.ipv4 = nil
        #expect(LocalTest.ask(LocalServices(network), LocalTest.arp, request("c0000201")) == nil)
    }

    @Test func neighboursKeepTheirAddress() {
        var services = services
        services.neighbours.update(IPAddress("192.0.2.9")!, MACAddress("02:00:00:00:00:09")!)
        services.neighbours.update(IPAddress("192.0.2.1")!, MACAddress("02:00:00:00:00:01")!)
        services.neighbours.update(IPAddress("192.0.2.10")!, LocalTest.guestMAC)
        func sender(_ target: String, from sender: String = "c0000202") -> ArraySlice<UInt8>? {
            LocalTest.ask(services, LocalTest.arp, request(target, from: sender))?[22..<28]
        }
        #expect(sender("c0000209") == LocalTest.bytes("020000000009")[...])
        // Known to be somebody's, so a probe is told.
        #expect(sender("c0000209", from: "00000000") == LocalTest.bytes("020000000009")[...])
        // The gateway is us, whoever it is outside; and nobody has the asker's own address.
        #expect(sender("c0000201") == LocalTest.bytes("9a559a559a55")[...])
        #expect(sender("c000020a") == LocalTest.bytes("9a559a559a55")[...])
        services.neighbours.remove(IPAddress("192.0.2.9")!)
        #expect(sender("c0000209") == LocalTest.bytes("9a559a559a55")[...])
    }

    /// A machine that was on the host's network before: what is remembered of it there is no other's use (RFC 5227, section 2.1.1).
    @Test func aProbeMeetsNoMemoryOfItself() {
        var services = services
        services.neighbours.update(IPAddress("192.0.2.10")!, LocalTest.guestMAC)
        services.neighbours.update(IPAddress("192.0.2.1")!, LocalTest.guestMAC)
        let (own, other) = (LocalTest.bytes("525400123456"), LocalTest.bytes("020000000077"))
        /// A probe whose frame and packet name these as who sends it.
        func isAnswered(_ frame: [UInt8], _ packet: [UInt8], target: String = "c000020a") -> Bool {
            let probe = request(target, from: "00000000")
            let changed = LocalTest.join(Array(probe[..<6]), frame, Array(probe[12..<22]), packet, Array(probe[28...]))
            return LocalTest.ask(services, LocalTest.arp, changed) != nil
        }
        #expect(!isAnswered(own, own))
        // Sent on by something that has an address of its own.
        #expect(!isAnswered(other, own) && !isAnswered(own, other))
        #expect(isAnswered(other, other))
        // What is ours is taken, whoever is remembered there.
        #expect(isAnswered(own, own, target: "c0000201"))
    }

    /// The asker may have had another network card then. Who asks for somebody is told of him all the same.
    @Test(arguments: [(0x02, true), (0x04, false), (0x08, true), (0x10, true), (0x80, true), (0x20, false)] as [(UInt16, Bool)])
    func aProbeMeetsWhoIsThereAndNotWhoWas(_ state: UInt16, _ isTaken: Bool) {
        var services = services
        let mac = MACAddress("02:00:00:00:00:09")!
        services.learn(Neighbour(index: 2, address: IPAddress("192.0.2.9")!, mac: mac, state: 0x02))
        services.learn(Neighbour(index: 2, address: IPAddress("192.0.2.9")!, mac: mac, state: state))
        #expect((LocalTest.ask(services, LocalTest.arp, request("c0000209", from: "00000000")) != nil) == isTaken)
        let isKnown = LocalTest.ask(services, LocalTest.arp, request("c0000209"))?[22..<28] == LocalTest.bytes("020000000009")[...]
        #expect(isKnown == (state != 0x20))
    }
}

@Suite struct NeighbourTableTests {
    func address(_ number: Int) -> IPAddress { IPAddress(IPv4Address(0xc633_6400 + UInt32(number))) }

    @Test func holdsAndForgets() {
        var table = NeighbourTable()
        #expect(table[address(1)] == nil)
        table.update(address(1), MACAddress(1))
        table.update(address(2), MACAddress(2))
        table.update(address(1), MACAddress(3))
        #expect(table.count == 2 && table[address(1)] == MACAddress(3) && table[address(2)] == MACAddress(2))
        table.remove(address(1))
        table.remove(address(7))
        #expect(table.count == 1 && table[address(1)] == nil && table[address(2)] == MACAddress(2))
        for bad in [MACAddress.zero, .broadcast] { table.update(address(5), bad) }
        table.update(IPAddress(IPv6Address.any), MACAddress(4))
        #expect(table.count == 1)
    }

    @Test func fullTable() {
        var table = NeighbourTable()
        for number in 0..<1000 {
            table.update(address(number), MACAddress(UInt64(number + 1)))
            #expect(table[address(number)] == MACAddress(UInt64(number + 1)))
        }
        #expect(table.count == NeighbourTable.capacity)
        for number in 744..<1000 { #expect(table[address(number)] != nil) }
        for number in 0..<1000 { table.remove(address(number)) }
        #expect(table.count == 0)
    }
}

@Suite struct LocalNDPTests {
    let services = LocalServices(LocalTest.network())

    func solicitation(
        _ target: String, from source: IPv6Address = LocalTest.guest6, hops: UInt8 = 255, option: String = "01 01 525400123456",
        to destination: IPv6Address? = nil
    ) -> [UInt8] {
        let target = IPv6Address(target)!
        return LocalTest.ip6(
            LocalTest.join(LocalTest.bytes("87 00 0000 00000000"), LocalTest.address(target), LocalTest.bytes(option)),
            next: 58, hops: hops, from: source, to: destination ?? target.solicitedNode)
    }

    @Test func golden() throws {
        let reply = try #require(LocalTest.ask(services, LocalTest.ns, solicitation("2001:db8::99")))
        #expect(reply[..<56] == LocalTest.bytes("""
            525400123456 9a559a559a55 86dd
            60000000 0020 3a ff
            20010db8 00000000 00000000 00000099
            fe800000 00000000 505400ff fe123456
            8800
            """)[...])
        #expect(reply[58...] == LocalTest.bytes("""
            40000000              # solicited
            20010db8 00000000 00000000 00000099
            02 01 9a559a559a55
            """)[...])
    }

    /// And only for our own addresses do we override what another host may have said (RFC 4861, section 7.2.8).
    @Test func routersSaySo() {
        var network = LocalTest.network()
        network.ipv6?.mapHostLoopback = IPv6Address("2001:db8::7")!
        var services = LocalServices(network)
        services.neighbours.update(IPAddress("2001:db8::9")!, MACAddress("02:00:00:00:00:09")!)
        for (target, flags) in [
            ("fe80::1", 0xe0), ("fe80::1234", 0xe0), ("fe80::2", 0x40), ("2001:db8::7", 0x60), ("2001:db8::9", 0x40), ("2001:db8::99", 0x40),
        ] as [(String, UInt8)] {
            #expect(LocalTest.ask(services, LocalTest.ns, solicitation(target))?[58] == flags, "\(target)")
        }
    }

    /// As `LocalARPTests.theOfferedAddressIsTheGuestsOnceItHasIt`.
    @Test func theOfferedAddressIsTheGuestsOnceItHasIt() {
        var services = services
        func isAnswered(from source: String, option: String = "01 01 525400123456") -> Bool {
            LocalTest.ask(services, LocalTest.ns, solicitation("2001:db8::2", from: IPv6Address(source)!, option: option)) != nil
        }
        services.note(IPv6Address("2001:db8::3")!)
        #expect(isAnswered(from: "2001:db8::3") && isAnswered(from: "fe80::5054:ff:fe12:3456"))
        #expect(!isAnswered(from: "::", option: "") && !isAnswered(from: "2001:db8::2") && !isAnswered(from: "fe80::1"))
        services.note(IPv6Address("2001:db8::2")!)
        #expect(!isAnswered(from: "2001:db8::3") && !isAnswered(from: "fe80::5054:ff:fe12:3456"))
        services.forgetGuest()
        #expect(isAnswered(from: "2001:db8::3"))
    }

    @Test(arguments: ["fe80::5054:ff:fe12:3456", "::", "::1", "::ffff:192.0.2.1"])
    func notAnswered(_ target: String) {
        #expect(LocalTest.ask(services, LocalTest.ns, solicitation(target)) == nil)
    }

    @Test func duplicateAddressDetection() throws {
        // For its own or a free address: nothing. For ours: a reply to all.
        for target in ["2001:db8::2", "fe80::5054:ff:fe12:3456", "2001:db8::99"] {
            #expect(LocalTest.ask(services, LocalTest.ns, solicitation(target, from: .any, option: "")) == nil)
        }
        let reply = try #require(LocalTest.ask(services, LocalTest.ns, solicitation("fe80::1", from: .any, option: "")))
        #expect(reply[..<6] == LocalTest.bytes("333300000001")[...])
        #expect(reply[38..<54] == LocalTest.address(.allNodes)[...])
        #expect(reply[58] == 0xa0)
        // Invalid as a probe: with a source option, or to another group.
        #expect(LocalTest.ask(services, LocalTest.ns, solicitation("fe80::1", from: .any)) == nil)
        #expect(LocalTest.ask(services, LocalTest.ns, solicitation("fe80::1", from: .any, option: "", to: .allNodes)) == nil)
    }

    /// RFC 4862, section 5.4.3: only another's use is a duplicate.
    @Test func duplicateAddressDetectionMeetsNoMemoryOfTheAsker() {
        var services = services
        services.neighbours.update(IPAddress("2001:db8::10")!, LocalTest.guestMAC)
        services.neighbours.update(IPAddress("2001:db8::9")!, MACAddress("02:00:00:00:00:09")!)
        #expect(LocalTest.ask(services, LocalTest.ns, solicitation("2001:db8::10", from: .any, option: "")) == nil)
        #expect(LocalTest.ask(services, LocalTest.ns, solicitation("2001:db8::9", from: .any, option: "")) != nil)
        services.neighbours.update(IPAddress("2001:db8::9")!, MACAddress("02:00:00:00:00:09")!, isInUse: false)
        #expect(LocalTest.ask(services, LocalTest.ns, solicitation("2001:db8::9", from: .any, option: "")) == nil)
    }

    @Test func invalid() {
        #expect(LocalTest.ask(services, LocalTest.ns, solicitation("2001:db8::99", hops: 64)) == nil)
        #expect(LocalTest.ask(services, LocalTest.ns, solicitation("2001:db8::99", option: "01 00 525400123456")) == nil)
        #expect(LocalTest.ask(services, LocalTest.ns, solicitation("2001:db8::99", from: .allNodes)) == nil)
        var network = LocalTest.network()
        network.ndp = false
        #expect(LocalTest.ask(LocalServices(network), LocalTest.ns, solicitation("2001:db8::99")) == nil)
        network = LocalTest.network()
        network.ipv6 = nil
        #expect(LocalTest.ask(LocalServices(network), LocalTest.ns, solicitation("2001:db8::99")) == nil)
    }

    @Test func neighboursKeepTheirAddress() {
        var services = services
        services.neighbours.update(IPAddress("2001:db8::99")!, MACAddress("02:00:00:00:00:09")!)
        let reply = LocalTest.ask(services, LocalTest.ns, solicitation("2001:db8::99"))
        #expect(reply?[80..<86] == LocalTest.bytes("020000000009")[...])
        #expect(reply?[6..<12] == LocalTest.bytes("020000000009")[...])
    }
}

@Suite struct LocalRouterTests {
    func solicitation(from source: IPv6Address = LocalTest.guest6, hops: UInt8 = 255, option: String = "01 01 525400123456") -> [UInt8] {
        LocalTest.ip6(
            LocalTest.bytes("85 00 0000 00000000") + LocalTest.bytes(option), next: 58, hops: hops, from: source, to: .allRouters)
    }

    let expected = LocalTest.bytes("""
        40 c0 ffff 00000000 00000000              # hop limit 64, managed and other, 65535 s
        03 04 40 c0 ffffffff ffffffff 00000000 20010db8 00000000 00000000 00000000
        05 01 0000 0000fff0
        01 01 9a559a559a55
        19 03 0000 ffffffff 20010db8 00000000 00000000 00000053
        1f 04 0000 ffffffff 07 6578616d706c65 03 6f7267 00 01 61 04 74657374 00 000000
        """)

    @Test func golden() throws {
        let services = LocalServices(LocalTest.network())
        let reply = try #require(LocalTest.ask(services, LocalTest.rs, solicitation()))
        #expect(reply[..<18] == LocalTest.bytes("525400123456 9a559a559a55 86dd 60000000")[...])
        #expect(reply[20..<56] == LocalTest.bytes(
            "3aff fe800000 00000000 00000000 00000001 fe800000 00000000 505400ff fe123456 8600")[...])
        #expect(reply[58...].elementsEqual(expected))
    }

    @Test func lesson49_unasked() throws {
        let services = LocalServices(LocalTest.network())
        let reply = try #require(LocalTest.ask(services, LocalTest.ra, []))
        #expect(reply[..<6] == LocalTest.bytes("333300000001")[...])
        #expect(reply[38..<54] == LocalTest.address(.allNodes)[...])
        #expect(reply[58...].elementsEqual(expected))
        // Who asks without an address gets the same.
        #expect(LocalTest.ask(services, LocalTest.rs, solicitation(from: .any, option: "")) == reply)
        #expect(LocalTest.ask(services, LocalTest.rs, solicitation(from: .any)) == nil)
        #expect(LocalTest.ask(services, LocalTest.rs, solicitation(hops: 254)) == nil)
    }

    /// Long before what was told runs out, and not before it is time.
    @Test func lesson49_again() throws {
        var host = try AbuseHost()
        for number in 1...6 {
            let due = host.forwarder.nextAdvertisement
            host.forwarder.advertiseRouter(now: due - 1)
            let before = host.count(.routerAdvertisements)
            host.forwarder.advertiseRouter(now: due)
            let after = host.count(.routerAdvertisements)
            let next = host.forwarder.nextAdvertisement
            #expect(before == number - 1 && after == number)
            #expect(next > due && next <= due + 600_000)
        }
    }

    @Test func switches() throws {
        func advertised(_ change: (inout Network) -> Void) -> ArraySlice<UInt8>? {
            var network = LocalTest.network()
            change(&network)
            return LocalTest.ask(LocalServices(network), LocalTest.ra, [])?[58...]
        }
        #expect(advertised { $0.ndp = false } == nil)
        #expect(advertised { $0.routerAdvertisements = false } == nil)
        #expect(advertised { $0.ipv6 = nil } == nil)
        #expect(advertised { $0.dhcpv6 = false }?.prefix(4).elementsEqual(LocalTest.bytes("40 00 ffff")) == true)
        #expect(advertised { $0.ipv6?.leadsOut = false }?.prefix(4).elementsEqual(LocalTest.bytes("40 c0 0000")) == true)
        // No address: no prefix, and nothing for DHCPv6 to give. No MTU, no names: only what is left.
        let least = advertised {
            $0.ipv6?.address = nil
            $0.mtu = 0
            $0.advertiseSearch = false
            $0.advertiseResolvers = false
        }
        #expect(try #require(least).elementsEqual(LocalTest.bytes("40 00 ffff 00000000 00000000 01 01 9a559a559a55")))
    }

    @Test func fitsTheSmallestMTU() throws {
        var network = LocalTest.network()
        network.ipv6?.resolvers = Array(repeating: .loopback, count: 500)
        network.searchDomains = (0..<500).map { "a\($0).example.org" }
        let reply = try #require(LocalTest.ask(LocalServices(network), LocalTest.ra, []))
        // With as many domains as fit; one takes 16 to 18 bytes, and the whole is filled up to eight.
        #expect((14 + 1280 - 24...14 + 1280).contains(reply.count))
    }
}
