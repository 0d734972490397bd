import Linux
import Settings
import Testing
import Wire

@testable import Setup

@Suite struct HostTests {
    @Test func defaultRouteDecides() throws {
        let host = try Host(plainHost(), options: options())
        #expect(host.template4?.link.name == "eth0" && host.template6?.link.name == "eth0")
        #expect(host.template4?.address?.address == ip("198.51.100.7"))
        #expect(host.template4?.gateway == ip("198.51.100.1"))
        #expect(host.template6?.address?.address == ip("2001:db8:1::7"))
        #expect(host.template6?.gateway == ip("fe80::1"))
        #expect(host.linkLocal == ip("fe80::7").ipv6)
    }

    /// An interface may have more names than one, which a list of interfaces does not tell.
    @Test func anInterfaceIsFoundByItsOtherNames() throws {
        var facts = plainHost()
        facts.addresses.append(own(3, "203.0.113.7/24"))
        let asked = options { $0.interface = "enp3s0"; $0.outboundInterface4 = "lan" }
        #expect(throws: SetupError(.discovery, "Invalid interface name enp3s0 for option --interface, the host has no such interface")) { try Host(facts, options: asked) }
        facts.otherNames = ["enp3s0": 3, "lan": 2]
        let host = try Host(facts, options: asked)
        #expect(host.template4?.link.name == "eth1" && host.outbound4?.index == 2)
        #expect(try HostFacts.read(names: ["lo", "no-such-name"]).otherNames.isEmpty)
    }

    @Test func lowestMetricWins() throws {
        var facts = plainHost()
        facts.addresses.append(own(3, "203.0.113.7/24"))
        facts.routes[0].metric = 200
        facts.routes.append(route("default", dev: 3, via: "203.0.113.1", metric: 100))
        #expect(try Host(facts, options: options()).template4?.link.name == "eth1")
        // Unless it is dead.
        facts.routes[facts.routes.count - 1].hops[0].flags = 1
        #expect(try Host(facts, options: options()).template4?.link.name == "eth0")
    }

    @Test func routerPreferenceBreaksTies() throws {
        var facts = plainHost()
        facts.routes.append(route("default", .ipv6, dev: 3, via: "fe80::2", metric: 1024) { $0.preference = 1 })
        facts.addresses.append(own(3, "2001:db8:3::7/64"))
        #expect(try Host(facts, options: options()).template6?.gateway == ip("fe80::2"))
        facts.routes[facts.routes.count - 1].preference = 3
        #expect(try Host(facts, options: options()).template6?.gateway == ip("fe80::1"))
    }

    @Test func lesson48_loopbackIsNeverTheTemplate() throws {
        var facts = plainHost()
        facts.routes.insert(route("default", dev: 1), at: 0)
        facts.routes.insert(route("10.0.0.0/8", dev: 1), at: 0)
        #expect(try Host(facts, options: options()).template4?.link.name == "eth0")
        #expect(try Host(emptyHost(), options: options()).template4 == nil)
        #expect(try Host(emptyHost(), options: options { $0.interface = "lo" }).template4 == nil)
    }

    @Test func lesson48_multipathGateway() throws {
        var facts = plainHost()
        facts.addresses.append(own(3, "203.0.113.7/24"))
        facts.routes[0].hops = [
            NextHop(index: 2, gateway: ip("198.51.100.1"), weight: 1), NextHop(index: 3, gateway: ip("203.0.113.1"), weight: 5),
        ]
        #expect(try Host(facts, options: options()).template4?.gateway == ip("203.0.113.1"))
        let named = try Host(facts, options: options { $0.interface = "eth0" })
        #expect(named.template4?.gateway == ip("198.51.100.1"))
        #expect(named.template4?.routes.first?.hops == [NextHop(index: 2, gateway: ip("198.51.100.1"))])
    }

    @Test func lesson48_noDefaultRouteIsFine() throws {
        var facts = plainHost()
        facts.routes.removeAll { $0.prefixLength == 0 }
        let host = try Host(facts, options: options())
        #expect(host.template4?.link.name == "eth0" && host.template4?.gateway == nil)
        #expect(host.template6?.link.name == "eth0" && host.template6?.gateway == nil)
        facts.routes = []
        let addressed = try Host(facts, options: options())
        #expect(addressed.template4?.link.name == "eth0" && addressed.template6?.link.name == "eth0")
    }

    /// The network comes up later, and the bridge of containers that do not run is no model for what will be: everything goes where the host leads by then.
    @Test func lesson48_aBridgeWithoutCarrierIsNoTemplate() throws {
        var facts = plainHost()
        facts.addresses = [own(1, "127.0.0.1/8", scope: 254), own(3, "172.17.0.1/16")]
        facts.routes = [route("172.17.0.0/16", dev: 3, proto: 2) { $0.hops[0].flags = 16; $0.scope = 253 }]  // RTNH_F_LINKDOWN
        facts.links[2].flags = 1
        #expect(try Host(facts, options: options()).template4 == nil)
        // Asked for, it is.
        #expect(try Host(facts, options: options { $0.interface = "eth1" }).template4?.address?.address == ip("172.17.0.1"))
        facts.routes = []
        #expect(try Host(facts, options: options()).template4 == nil)
        facts.links[2].flags = 0x41
        #expect(try Host(facts, options: options()).template4?.link.name == "eth1")
        // A default route says where the way out will be, even while nothing is plugged in.
        facts.routes = [route("default", dev: 2, via: "198.51.100.1") { $0.hops[0].flags = 17 }]
        facts.addresses.append(own(2, "198.51.100.7/24"))
        #expect(try Host(facts, options: options()).template4?.link.name == "eth0")
    }

    @Test func linkLocalAloneIsNoTemplate() throws {
        var facts = plainHost()
        facts.addresses.removeAll { $0.address == ip("2001:db8:1::7") }
        facts.routes.removeAll { $0.family == .ipv6 && $0.destination?.isLinkLocal != true }
        let host = try Host(facts, options: options())
        #expect(host.hasIPv6 && host.template6 == nil && host.template4 != nil)
    }

    @Test func linkWithoutAddressBorrowsOne() throws {
        var facts = plainHost()
        facts.routes[0] = route("default", dev: 3)
        let host = try Host(facts, options: options())
        #expect(host.template4?.link.name == "eth1")
        #expect(host.template4?.addresses.map(\.address) == [ip("198.51.100.7")])
        #expect(host.template4?.address?.prefixLength == 32)
    }

    @Test func ipv4AddressPreference() throws {
        let cases: [([InterfaceAddress], String?, String)] = [
            ([own(2, "203.0.113.7/24"), own(2, "198.51.100.9/24")], nil, "198.51.100.9"),  // the gateway's subnet
            ([own(2, "198.51.100.7/24"), own(2, "198.51.100.9/24", .secondary)], "198.51.100.9", "198.51.100.9"),  // the route's source
            ([own(2, "198.51.100.9/24", .secondary), own(2, "198.51.100.7/24")], nil, "198.51.100.7"),
            ([own(2, "198.51.100.7/24", .deprecated), own(2, "203.0.113.7/24")], "198.51.100.7", "203.0.113.7"),
            ([own(2, "169.254.8.8/16", scope: 253), own(2, "203.0.113.7/24")], nil, "203.0.113.7"),
            ([own(2, "169.254.8.8/16", scope: 253)], nil, "169.254.8.8"),
            ([own(2, "127.5.5.5/8"), own(2, "203.0.113.7/24", scope: 254), own(2, "203.0.113.8/24")], nil, "203.0.113.8"),
        ]
        for (addresses, source, expected) in cases {
            var facts = plainHost()
            facts.addresses = addresses
            facts.routes[0].preferredSource = source.map(ip)
            #expect(try Host(facts, options: options()).template4?.address?.address == ip(expected), "\(addresses.map(\.address))")
        }
    }

    @Test func ipv6AddressPreference() throws {
        let cases: [([InterfaceAddress], String, String)] = [
            ([own(2, "fd00::7/64"), own(2, "2001:db8::7/64")], "fe80::1", "2001:db8::7"),  // global over ULA
            ([own(2, "fd00::7/64"), own(2, "2001:db8::7/64")], "fd00::1", "2001:db8::7"),
            ([own(2, "2001:db8::7/64", .temporary), own(2, "2001:db8::8/64")], "fe80::1", "2001:db8::8"),
            ([own(2, "2001:db8::7/64", .tentative), own(2, "2001:db8::8/64")], "fe80::1", "2001:db8::8"),
            ([own(2, "2001:db8::7/64", .duplicate), own(2, "fd00::8/64")], "fe80::1", "fd00::8"),
            ([own(2, "2001:db8::7/64", .deprecated), own(2, "fd00::8/64")], "fe80::1", "fd00::8"),
            ([own(2, "2001:db8:5::7/64"), own(2, "2001:db8:6::7/64")], "2001:db8:6::1", "2001:db8:6::7"),  // the gateway's subnet
            ([own(2, "fe80::7/64", scope: 253), own(2, "fd00::8/64")], "fe80::1", "fd00::8"),
        ]
        for (addresses, gateway, expected) in cases {
            var facts = plainHost()
            facts.addresses = addresses
            facts.routes[5].hops[0].gateway = ip(gateway)
            #expect(try Host(facts, options: options()).template6?.address?.address == ip(expected), "\(addresses.map(\.address))")
        }
    }

    @Test func namedInterfaces() throws {
        var facts = plainHost()
        facts.addresses.append(own(3, "203.0.113.7/24"))
        let named = try Host(facts, options: options { $0.interface = "eth1" })
        #expect(named.template4?.address?.address == ip("203.0.113.7"))
        #expect(named.template6 == nil)
        let outbound = try Host(facts, options: options { $0.outboundInterface4 = "eth1" })
        #expect(outbound.template4?.link.name == "eth1" && outbound.template6?.link.name == "eth0")
        #expect(outbound.outbound4?.index == 3 && outbound.outbound6 == nil)
    }

    @Test func refusals() {
        let cases: [(Options, String)] = [
            (options { $0.interface = "nope" }, "Invalid interface name nope for option --interface, the host has no such interface"),
            (options { $0.outboundInterface6 = "nope" }, "Invalid interface name nope for option --outbound-if6, the host has no such interface"),
            (options { $0.outboundInterface6 = "eth1" }, "External interface not usable: eth1 has neither address nor route for IPv6, name another one with --outbound-if6 or none"),
        ]
        for (options, message) in cases {
            #expect(throws: SetupError(.discovery, message)) { try Host(plainHost(), options: options) }
        }
    }

    @Test func lesson49_kernelWithoutIPv6RunsIPv4Quietly() throws {
        var facts = plainHost()
        facts.supportsIPv6 = false
        let host = try Host(facts, options: options())
        #expect(host.hasIPv4 && !host.hasIPv6 && host.template6 == nil)
        let resolved = Network.resolve(options: options(), host: host, nameservers: [ip("2001:db8::53")], searchDomains: [])
        #expect(resolved.network.ipv6 == nil && resolved.warnings.isEmpty)
        #expect(!resolved.network.ndp && !resolved.network.dhcpv6 && !resolved.network.routerAdvertisements)
        #expect(throws: SetupError.self) { try Host(facts, options: options { $0.ipv6Only = true }) }
    }

    @Test func thisHostCanBeRead() throws {
        let facts = try HostFacts.read()
        #expect(facts.link(named: "lo")?.index == Link.loopbackIndex)
        let setting = try String(decoding: Descriptor.contents(of: "/proc/sys/net/ipv4/tcp_retries2"), as: UTF8.self)
        #expect("\(facts.retries)\n" == setting)
        _ = try Host(facts, options: options())
    }

    @Test func theSystemsPatienceIsKept() throws {
        var facts = plainHost()
        facts.retries = 8
        let resolved = Network.resolve(options: options(), host: try Host(facts, options: options()), nameservers: [], searchDomains: [])
        #expect(resolved.network.retries == 8)
    }
}
