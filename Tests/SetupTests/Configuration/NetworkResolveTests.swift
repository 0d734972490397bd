import Linux
import Settings
import Testing
import Wire

@testable import Setup

@Suite struct NetworkResolveTests {
    func resolve(
        _ facts: HostFacts = plainHost(), _ change: (inout Options) -> Void = { _ in }, nameservers: [String] = [], search: [String] = []
    ) throws -> ResolvedNetwork {
        let options = options(change)
        let host = try Host(facts, options: options)
        return Network.resolve(options: options, host: host, nameservers: nameservers.map(ip), searchDomains: search)
    }

    func v4(_ text: String) -> IPv4Address { ip(text).ipv4 ?? .any }
    func v6(_ text: String) -> IPv6Address { ip(text).ipv6 }

    @Test func hostIsCopied() throws {
        let result = try resolve()
        let network = result.network
        #expect(network.ipv4?.address == v4("198.51.100.7") && network.ipv4?.prefixLength == 24)
        #expect(network.ipv4?.gateway == v4("198.51.100.1") && network.ipv4?.mapHostLoopback == v4("198.51.100.1"))
        #expect(network.ipv6?.address == v6("2001:db8:1::7") && network.ipv6?.prefixLength == 64)
        #expect(network.ipv6?.gateway == v6("fe80::1") && network.ipv6?.mapHostLoopback == v6("fe80::1"))
        #expect(network.routerLinkLocal == v6("fe80::1"))
        #expect(network.mtu == 65520 && network.gatewayMAC == MACAddress(0x9a55_9a55_9a55))
        #expect(network.ipv4?.templateInterfaceIndex == 2 && network.ipv6?.templateInterfaceIndex == 2 && result.namespaceInterface == "eth0")
        #expect(network.ipv4?.mapGuestAddress == nil && network.ipv4?.dnsForward == nil)
        #expect(result.warnings.isEmpty)
    }

    @Test func localMode() throws {
        let result = try resolve(emptyHost())
        let network = result.network
        #expect(network.ipv4?.address == v4("169.254.2.1") && network.ipv4?.prefixLength == 16)
        #expect(network.ipv4?.gateway == v4("169.254.2.2") && network.ipv4?.mapHostLoopback == v4("169.254.2.2"))
        #expect(network.ipv6 != nil && network.ipv6?.address == nil)
        #expect(network.ipv6?.gateway == v6("fe80::1") && network.routerLinkLocal == v6("fe80::1"))
        #expect(network.dhcp && network.ndp && !network.dhcpv6)
        #expect(result.namespaceInterface == "tap0" && network.ipv4?.templateInterfaceIndex == nil)
    }

    /// Nobody asks for an interface to get a link of one's own.
    @Test func localModeOfANamedInterfaceIsWarnedOf() throws {
        let start = "--interface eth1 has no address and no route yet: the guest gets "
        #expect(try resolve { $0.interface = "eth1" }.warnings == [start + "address 169.254.2.1, router 169.254.2.2, router fe80::1"])
        let given = try resolve { $0.interface = "eth1"; $0.ipv4Only = true; $0.address4 = v4("10.0.2.100"); $0.gateway4 = v4("10.0.2.2") }
        #expect(given.warnings == [start + "address 10.0.2.100, router 10.0.2.2"])
        #expect(try resolve { $0.interface = "eth1"; $0.spliceOnly = true }.warnings.isEmpty)
        // One family is enough, and a host without any network is no surprise.
        var facts = plainHost()
        facts.addresses.append(own(3, "203.0.113.7/24"))
        #expect(try resolve(facts) { $0.interface = "eth1" }.warnings.isEmpty)
        #expect(try resolve(emptyHost()).warnings.isEmpty)
    }

    @Test func localModeIsPerFamily() throws {
        var facts = plainHost()
        facts.addresses.removeAll { $0.family == .ipv6 }
        facts.routes.removeAll { $0.family == .ipv6 }
        let network = try resolve(facts).network
        #expect(network.ipv4?.address == v4("198.51.100.7"))
        #expect(network.ipv6 != nil && network.ipv6?.address == nil && network.ipv6?.gateway == v6("fe80::1"))
    }

    @Test func netmasks() throws {
        let cases: [(String, Int?, Int)] = [
            ("198.51.100.99", nil, 24),  // in the host's subnet
            ("10.0.2.100", nil, 8), ("172.20.0.9", nil, 16), ("203.0.113.5", nil, 24), ("250.0.0.1", nil, 32),
            ("10.0.2.100", 24, 24),
        ]
        for (address, length, expected) in cases {
            let network = try resolve { $0.address4 = v4(address); $0.prefixLength4 = length }.network
            #expect(network.ipv4?.address == v4(address) && network.ipv4?.prefixLength == expected)
            #expect(network.ipv6?.address == v6("2001:db8:1::7"))
        }
    }

    @Test func routerLinkLocalWithoutOne() throws {
        var facts = plainHost()
        facts.routes[5].hops[0].gateway = ip("2001:db8:1::1")
        #expect(try resolve(facts).network.routerLinkLocal == v6("fe80::9855:9aff:fe55:9a55"))
        #expect(try resolve(facts) { $0.gateway6 = v6("fe80::42") }.network.routerLinkLocal == v6("fe80::42"))
    }

    @Test func mapping() throws {
        let none = try resolve { $0.noMapGateway = true }.network
        #expect(none.ipv4?.gateway != nil && none.ipv4?.mapHostLoopback == nil && none.ipv6?.mapHostLoopback == nil)
        let off = try resolve { $0.mapHostLoopback4 = .none }.network
        #expect(off.ipv4?.mapHostLoopback == nil && off.ipv6?.mapHostLoopback != nil)
        let given = try resolve {
            $0.noMapGateway = true
            $0.mapHostLoopback4 = .address(v4("169.254.1.2"))
            $0.mapGuestAddress4 = .address(v4("169.254.1.3"))
        }.network
        #expect(given.ipv4?.mapHostLoopback == v4("169.254.1.2") && given.ipv4?.mapGuestAddress == v4("169.254.1.3"))
    }

    /// `--map-guest-addr` is the host, which may not have what the guest has.
    @Test func theHostsOwnAddress() throws {
        #expect(try resolve().network.ipv4?.hostAddress == v4("198.51.100.7"))
        let others = try resolve { $0.address4 = v4("10.0.2.0"); $0.address6 = v6("fd00::2") }.network
        #expect(others.ipv4?.hostAddress == v4("198.51.100.7") && others.ipv6?.hostAddress == v6("2001:db8:1::7"))
        var facts = plainHost()
        facts.addresses.append(own(2, "192.0.2.9/24"))
        #expect(try resolve(facts) { $0.address4 = v4("192.0.2.9") }.network.ipv4?.hostAddress == v4("192.0.2.9"))
        let local = try resolve(emptyHost()).network
        #expect(local.ipv4?.address != nil && local.ipv4?.hostAddress == nil && local.ipv6?.hostAddress == nil)
    }

    /// What was asked for wins over a default.
    @Test func mapGuestAddrAtTheGatewayIsTheHost() throws {
        let asked = try resolve { $0.mapGuestAddress4 = .address(v4("198.51.100.1")); $0.mapGuestAddress6 = .address(v6("fe80::1")) }
        #expect(asked.network.ipv4?.mapHostLoopback == nil && asked.network.ipv4?.mapGuestAddress == v4("198.51.100.1"))
        #expect(asked.network.ipv6?.mapHostLoopback == nil && asked.network.ipv6?.mapGuestAddress == v6("fe80::1"))
        #expect(asked.warnings.isEmpty)
    }

    @Test func addressesWithTwoMeaningsAreWarnedOf() throws {
        let own = try resolve {
            $0.gateway4 = v4("198.51.100.7")
            $0.mapHostLoopback6 = .address(v6("2001:db8:1::7"))
            $0.mapGuestAddress4 = .address(v4("198.51.100.7"))
            $0.dnsForward4 = v4("198.51.100.7")
            $0.dnsHost4 = v4("203.0.113.53")
        }
        #expect(own.warnings == [
            "--gateway 198.51.100.7 is the guest's own address: it reaches itself there and nothing else",
            "--map-guest-addr 198.51.100.7 is the guest's own address: it reaches itself there and nothing else",
            "--dns-forward 198.51.100.7 is the guest's own address: it reaches itself there and nothing else",
            "--map-host-loopback 2001:db8:1::7 is the guest's own address: it reaches itself there and nothing else",
        ])
        // Another address of the guest, and it can be reached.
        #expect(try resolve { $0.address4 = v4("10.0.0.2"); $0.mapGuestAddress4 = .address(v4("198.51.100.7")) }.warnings.isEmpty)
        // As podman has it where the user asks for neither.
        let both = try resolve { $0.mapHostLoopback4 = .address(v4("169.254.1.2")); $0.mapGuestAddress4 = .address(v4("169.254.1.2")) }
        #expect(both.network.ipv4?.mapHostLoopback == v4("169.254.1.2"))
        #expect(both.warnings.isEmpty)
    }

    /// What krunai reads, with the router last.
    @Test func theLeaseIsToldInLines() throws {
        #expect(try resolve { $0.gateway4 = v4("198.51.100.9") }.network.lease == ["DHCP:", "    assign: 198.51.100.7", "    mask: 255.255.255.0", "    router: 198.51.100.9"])
        #expect(try resolve { $0.noDHCP = true }.network.lease.isEmpty && resolve { $0.ipv6Only = true }.network.lease.isEmpty)
    }

    @Test func handlers() throws {
        let plain = try resolve().network
        #expect(plain.tcp && plain.udp && plain.icmp && plain.dhcp && plain.ndp && plain.routerAdvertisements && plain.dhcpv6)
        #expect(try !resolve { $0.configureNetwork = true }.network.routerAdvertisements)
        let quiet = try resolve { $0.noICMP = true }.network
        #expect(!quiet.icmp && !quiet.ndp && !quiet.routerAdvertisements)
        let only6 = try resolve { $0.ipv6Only = true }.network
        #expect(only6.ipv4 == nil && !only6.dhcp && only6.dhcpv6)
        var facts = plainHost()
        facts.routes.removeFirst()
        let isolated = try resolve(facts) { $0.program = .passt; $0.resolvers = .none }
        #expect(isolated.network.dhcp && isolated.network.ipv4?.gateway == nil && isolated.network.ipv4?.standIn == nil, "a lease without a router")
        #expect(isolated.warnings.isEmpty && isolated.network.ipv4?.leadsOut == false)
    }

    /// A tunnel has no gateway, and leads out all the same.
    @Test func aWayOutNeedsNoGateway() throws {
        var facts = plainHost()
        facts.routes = [route("default", dev: 2), route("default", .ipv6, dev: 2)]
        let resolved = try resolve(facts, { $0.program = .passt }, nameservers: ["2001:db8::53"])
        #expect(resolved.network.ipv6?.gateway == nil && resolved.network.ipv6?.leadsOut == true)
        #expect(resolved.warnings.isEmpty && resolved.network.dhcp)
        // DHCP names a router all the same, which is nothing but the way out.
        let ipv4 = try #require(resolved.network.ipv4)
        #expect(ipv4.gateway == nil && ipv4.standIn == v4("169.254.2.2") && ipv4.mapHostLoopback == nil)
        #expect(try resolve(facts) { $0.mapHostLoopback4 = .address(v4("169.254.2.2")) }.network.ipv4?.mapHostLoopback == v4("169.254.2.2"))
        #expect(try resolve(facts) { $0.address4 = v4("169.254.2.2") }.network.ipv4?.standIn == v4("169.254.2.1"))
        let named = try resolve(facts) { $0.gateway4 = v4("198.51.100.1") }.network.ipv4
        #expect(named?.gateway == v4("198.51.100.1") && named?.standIn == nil)
        #expect(try resolve().network.ipv4?.standIn == nil)
        #expect(try resolve(emptyHost()).network.ipv4?.standIn == nil)
        facts.routes = [route("198.51.100.0/24", dev: 2)]
        #expect(try resolve(facts).network.ipv6?.leadsOut == false)
    }

    /// Some networks beyond the host's own, and no default route: the guest has no other way to them than by a router.
    @Test(arguments: [
        (["10.0.0.0/8 198.51.100.1"], true), (["0.0.0.0/1 198.51.100.1", "128.0.0.0/1 198.51.100.1"], true), (["198.51.0.0/16"], true),
        (["198.51.100.0/24"], false), (["198.51.100.128/25 198.51.100.1"], false), (["169.254.0.0/16", "224.0.0.0/4"], false), ([], false),
        (["2001:db8:2::/48 fe80::1"], true), (["2001:db8:1::/56"], true), (["2001:db8:1::/64", "2001:db8:1::7/128", "fe80::/64"], false),
        (["fd00:7::/48 fe80::1"], false),
    ])
    func whatLiesBeyondTheSubnetIsAWayOut(_ routes: [String], _ leadsOut: Bool) throws {
        var facts = plainHost()
        facts.routes = routes.map { text in
            let parts = text.split(separator: " ").map(String.init)
            return route(parts[0], dev: 2, via: parts.count > 1 ? parts[1] : nil)
        }
        let network = try resolve(facts) { $0.program = .passt; $0.resolvers = .none }.network
        let isIPv6 = routes.first?.contains("::") == true
        #expect(network.ipv4?.leadsOut == (leadsOut && !isIPv6) && network.ipv6?.leadsOut == (leadsOut && isIPv6))
        #expect(network.ipv4?.gateway == nil && network.ipv4?.standIn == (leadsOut && !isIPv6 ? v4("169.254.2.2") : nil))
    }

    /// What is the host's own subnet is beyond that of a guest with another address.
    @Test func theWayOutIsSeenFromTheGuest() throws {
        var facts = plainHost()
        facts.routes = [route("198.51.100.0/24", dev: 2)]
        #expect(try resolve(facts) { $0.address4 = v4("10.0.2.15") }.network.ipv4?.leadsOut == true)
        #expect(try resolve(facts) { $0.address4 = v4("198.51.100.99") }.network.ipv4?.leadsOut == false)
    }

    @Test func passtAdvertisesTheHostsResolvers() throws {
        let names = ["127.0.0.53", "203.0.113.53", "2001:db8::53", "::1", "203.0.113.53"]
        let result = try resolve(plainHost(), { $0.program = .passt }, nameservers: names, search: ["example.org"])
        let network = result.network
        #expect(network.advertiseResolvers && network.advertiseSearch && network.searchDomains == ["example.org"])
        #expect(network.ipv4?.resolvers == [v4("198.51.100.1"), v4("203.0.113.53")])
        #expect(network.ipv4?.dnsForward == v4("198.51.100.1") && network.ipv4?.dnsHost == ip("127.0.0.53"))
        #expect(network.ipv6?.resolvers == [v6("2001:db8::53"), v6("fe80::1")])
        // The two are not one: where queries are forwarded, the local one is asked.
        #expect(network.ipv6?.dnsForward == v6("fe80::1") && network.ipv6?.dnsHost == ip("::1"))
        #expect(try resolve(plainHost(), { $0.program = .passt; $0.dnsHost6 = v6("2001:db8::5") }, nameservers: names).network.ipv6?.dnsHost == ip("2001:db8::5"))

        let named = try resolve(plainHost(), { $0.program = .passt; $0.dnsForward4 = v4("10.0.2.3") }, nameservers: ["127.0.0.53"]).network
        #expect(named.ipv4?.resolvers == [v4("10.0.2.3")] && named.ipv4?.dnsForward == v4("10.0.2.3"))
        let dropped = try resolve(plainHost(), { $0.program = .passt; $0.noMapGateway = true }, nameservers: ["127.0.0.53"])
        #expect(dropped.network.ipv4?.resolvers == [] && dropped.network.ipv4?.dnsForward == nil)
        #expect(dropped.warnings.count == 1)
    }

    /// Names have no family: a guest that has one only, or asks for the resolvers of one only, is told of one there.
    @Test func eachFamilyHasAResolverWhereThereIsAny() throws {
        func passt(_ nameservers: [String], _ change: (inout Options) -> Void = { _ in }) throws -> Network {
            try resolve(plainHost(), { $0.program = .passt; change(&$0) }, nameservers: nameservers).network
        }
        let only6 = try passt(["2001:db8::53"])
        #expect(only6.ipv4?.resolvers == [v4("198.51.100.1")] && only6.ipv4?.dnsForward == v4("198.51.100.1") && only6.ipv4?.dnsHost == ip("2001:db8::53"))
        #expect(only6.ipv6?.resolvers == [v6("2001:db8::53")] && only6.ipv6?.dnsForward == nil)
        for address in ["203.0.113.53", "127.0.0.53"] {
            let only4 = try passt([address])
            #expect(only4.ipv4?.resolvers.count == 1 && only4.ipv6?.resolvers == [] && only4.ipv6?.dnsForward == nil)
        }
        let local = try passt(["127.0.0.53"]) { $0.ipv6Only = true }
        #expect(local.ipv6?.resolvers == [v6("fe80::1")] && local.ipv6?.dnsForward == v6("fe80::1") && local.ipv6?.dnsHost == ip("127.0.0.53"))
        let named = try passt(["127.0.0.53"]) { $0.ipv6Only = true; $0.dnsForward6 = v6("2001:db8::53") }
        #expect(named.ipv6?.resolvers == [v6("2001:db8::53")] && named.ipv6?.dnsForward == v6("2001:db8::53"))
        let unmapped = try passt(["2001:db8::53"]) { $0.noMapGateway = true }
        #expect(unmapped.ipv4?.resolvers == [] && unmapped.ipv4?.dnsForward == nil)
    }

    /// Of either family, and before what the host has.
    @Test func theResolverThatIsNamedIsAskedByBothFamilies() throws {
        let forward: (inout Options) -> Void = { $0.dnsForward4 = v4("169.254.1.1"); $0.dnsForward6 = v6("2001:db8:9::53") }
        let names = ["203.0.113.53", "2001:db8::53"]
        let by6 = try resolve(plainHost(), { forward(&$0); $0.dnsHost6 = v6("2001:db8::5") }, nameservers: names).network
        #expect(by6.ipv4?.dnsHost == ip("2001:db8::5") && by6.ipv6?.dnsHost == ip("2001:db8::5"))
        let by4 = try resolve(plainHost(), { forward(&$0); $0.dnsHost4 = v4("203.0.113.5") }, nameservers: names).network
        #expect(by4.ipv4?.dnsHost == ip("203.0.113.5") && by4.ipv6?.dnsHost == ip("203.0.113.5"))
        let both = try resolve(plainHost(), { forward(&$0); $0.dnsHost4 = v4("203.0.113.5"); $0.dnsHost6 = v6("2001:db8::5") }, nameservers: names).network
        #expect(both.ipv4?.dnsHost == ip("203.0.113.5") && both.ipv6?.dnsHost == ip("2001:db8::5"))
    }

    /// The guest is told of the host's resolvers as they are, and nothing is forwarded.
    @Test func aResolverThatNobodyIsSentToIsWarnedOf() throws {
        let passt: (inout Options) -> Void = { $0.program = .passt; $0.dnsHost4 = v4("203.0.113.5") }
        let names = ["203.0.113.53", "2001:db8::53"]
        #expect(try resolve(plainHost(), passt, nameservers: names).warnings.map { $0.hasPrefix("--dns-host has no effect without --dns-forward") } == [true])
        #expect(try resolve(plainHost(), passt, nameservers: ["127.0.0.53"]).warnings.isEmpty)
        #expect(try resolve(plainHost(), { passt(&$0); $0.dnsForward4 = v4("10.0.2.3") }, nameservers: names).warnings.isEmpty)
        // Where it can be told of the options alone, the parser has.
        #expect(try resolve(plainHost(), { passt(&$0); $0.dhcpDNS = false }, nameservers: names).warnings.isEmpty)
        #expect(try resolve(plainHost(), { passt(&$0); $0.spliceOnly = true }, nameservers: names).warnings.isEmpty)
    }

    /// A home router at the gateway's address, and a cache on the host: the first one has the address.
    @Test func aResolverAtTheMappedAddressKeepsIt() throws {
        let passt: (inout Options) -> Void = { $0.program = .passt; $0.ipv4Only = true }
        let router = try resolve(plainHost(), passt, nameservers: ["198.51.100.1", "127.0.0.53"]).network.ipv4
        #expect(router?.resolvers == [v4("198.51.100.1")] && router?.dnsForward == nil && router?.mappedIsResolver == true)
        let cache = try resolve(plainHost(), passt, nameservers: ["127.0.0.53", "198.51.100.1"]).network.ipv4
        #expect(cache?.resolvers == [v4("198.51.100.1")] && cache?.dnsForward == v4("198.51.100.1") && cache?.dnsHost == ip("127.0.0.53"))
    }

    /// The router has an address all the same, at which nothing else of the host's is found.
    @Test func aLocalResolverNeedsNoGateway() throws {
        var facts = plainHost()
        facts.routes = [route("default", dev: 2), route("default", .ipv6, dev: 2)]
        let network = try resolve(facts, { $0.program = .passt }, nameservers: ["127.0.0.53", "::1"]).network
        #expect(network.ipv4?.resolvers == [v4("169.254.2.2")] && network.ipv4?.dnsForward == v4("169.254.2.2") && network.ipv4?.dnsHost == ip("127.0.0.53"))
        #expect(network.ipv6?.resolvers == [network.routerLinkLocal] && network.ipv6?.dnsForward == network.routerLinkLocal)
        #expect(network.ipv6?.dnsHost == ip("::1") && network.ipv4?.mapHostLoopback == nil && network.ipv6?.mapHostLoopback == nil)
        for off in [{ $0.noMapGateway = true }, { $0.mapHostLoopback4 = .none; $0.mapHostLoopback6 = .none }] as [(inout Options) -> Void] {
            let none = try resolve(facts, { $0.program = .passt; off(&$0) }, nameservers: ["127.0.0.53", "::1"])
            #expect(none.network.ipv4?.resolvers == [] && none.network.ipv6?.resolvers == [] && none.warnings.count == 1)
        }
        // Without a way out there is no router.
        facts.routes = []
        #expect(try resolve(facts, { $0.program = .passt }, nameservers: ["127.0.0.53", "::1"]).network.ipv6?.resolvers == [])
    }

    @Test func resolverAtTheGuestsOwnAddressIsTheHost() throws {
        let network = try resolve(plainHost(), { $0.program = .passt }, nameservers: ["198.51.100.7"]).network
        #expect(network.ipv4?.resolvers == [v4("198.51.100.1")] && network.ipv4?.dnsForward == v4("198.51.100.1"))
    }

    @Test func pastaAdvertisesNothingUnasked() throws {
        let network = try resolve(nameservers: ["127.0.0.53", "203.0.113.53"], search: ["example.org"]).network
        #expect(network.ipv4?.resolvers == [] && network.searchDomains.isEmpty && !network.advertiseResolvers)
        #expect(network.ipv4?.dnsHost == ip("127.0.0.53") && network.ipv4?.dnsForward == nil)
        let given = try resolve { $0.resolvers = .values([ip("203.0.113.99"), ip("2001:db8::99")]); $0.dhcpDNS = true }.network
        #expect(given.ipv4?.resolvers == [v4("203.0.113.99")] && given.ipv6?.resolvers == [v6("2001:db8::99")])
        #expect(try resolve(plainHost(), { $0.resolvers = .none; $0.program = .passt }, nameservers: ["203.0.113.53"]).warnings.isEmpty)
    }

    @Test func namesAreAskedOfTheOtherFamilyWhereThereIsNoResolverOfTheirOwn() throws {
        let forward: (inout Options) -> Void = { $0.dnsForward4 = v4("169.254.1.1"); $0.dnsForward6 = v6("2001:db8:9::53") }
        let only6 = try resolve(plainHost(), forward, nameservers: ["2001:db8::53"])
        #expect(only6.network.ipv4?.dnsHost == ip("2001:db8::53") && only6.network.ipv6?.dnsHost == ip("2001:db8::53"))
        let only4 = try resolve(plainHost(), forward, nameservers: ["127.0.0.53"])
        #expect(only4.network.ipv4?.dnsHost == ip("127.0.0.53") && only4.network.ipv6?.dnsHost == ip("127.0.0.53"))
        let given = try resolve(plainHost(), { forward(&$0); $0.dnsHost6 = v6("::1") }, nameservers: [])
        #expect(given.network.ipv4?.dnsHost == ip("::1") && given.warnings.isEmpty)
        #expect(try resolve(plainHost(), forward, nameservers: []).warnings.count == 1)
    }

    /// IPv4's default route is a tunnel's, IPv6's that of the local network: that is where link-local addresses are.
    @Test func eachFamilyHasItsOwnLink() throws {
        var facts = plainHost()
        facts.addresses.append(own(3, "192.0.2.7/24"))
        facts.routes[0] = route("default", dev: 3, via: "192.0.2.1")
        let network = try resolve(facts).network
        #expect(network.ipv4?.linkIndex == 3 && network.ipv6?.linkIndex == 2)
        let outbound = try resolve(facts) { $0.outboundInterface6 = "eth1"; $0.interface = "eth0" }.network
        #expect(outbound.ipv4?.linkIndex == 2 && outbound.ipv6?.linkIndex == 3)
    }

    @Test func lesson49_gatewayThatIsAResolverKeepsDNS() throws {
        let network = try resolve(nameservers: ["198.51.100.1"]).network
        #expect(network.ipv4?.mappedIsResolver == true && network.ipv6?.mappedIsResolver == false)
        #expect(try resolve(plainHost(), { $0.noMapGateway = true }, nameservers: ["198.51.100.1"]).network.ipv4?.mappedIsResolver == false)
    }

    @Test func forwardingWithoutResolverIsWarnedOf() throws {
        #expect(try resolve { $0.dnsForward4 = v4("169.254.1.1") }.warnings.count == 1)
        let options = options { $0.dnsForward4 = v4("169.254.1.1"); $0.dhcpDNS = true }
        let host = try Host(plainHost(), options: options)
        let unread = Network.resolve(options: options, host: host, nameservers: [], searchDomains: [], unread: Errno(13))
        #expect(unread.warnings.count == 2 && unread.warnings.allSatisfy { $0.hasSuffix(" (/etc/resolv.conf: Permission denied)") })
        let good = try resolve(plainHost(), { $0.dnsForward4 = v4("169.254.1.1") }, nameservers: ["203.0.113.53"])
        #expect(good.warnings.isEmpty && good.network.ipv4?.dnsForward == v4("169.254.1.1"))
    }

    @Test func smallMTUIsWarnedOf() throws {
        #expect(try resolve { $0.configureNetwork = true; $0.mtu = 1000 }.warnings.count == 1)
        #expect(try resolve { $0.configureNetwork = true; $0.mtu = 0 }.warnings.isEmpty)
        #expect(try resolve { $0.configureNetwork = true; $0.mtu = 1000; $0.ipv4Only = true }.warnings.isEmpty)
    }

    @Test func names() throws {
        #expect(try resolve { $0.namespaceInterface = "foo" }.namespaceInterface == "foo")
        var facts = plainHost()
        facts.addresses.append(own(3, "2001:db8:3::7/64"))
        #expect(try resolve(facts) { $0.ipv6Only = true; $0.outboundInterface6 = "eth1" }.namespaceInterface == "eth1")
    }
}
