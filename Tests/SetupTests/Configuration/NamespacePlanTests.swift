import Linux
import Settings
import Testing
import Wire

@testable import Setup

@Suite struct NamespacePlanTests {
    func plan(_ facts: HostFacts = plainHost(), _ change: (inout Options) -> Void = { _ in }) throws -> NamespacePlan {
        let options = options { $0.configureNetwork = true; change(&$0) }
        let host = try Host(facts, options: options)
        let resolved = Network.resolve(options: options, host: host, nameservers: [], searchDomains: [])
        return NamespacePlan(options: options, host: host, network: resolved.network, interface: resolved.namespaceInterface)
    }

    /// `10.0.0.0/8 via 192.0.2.1`, as short as ip-route(8) writes it.
    func lines(_ plan: NamespacePlan) -> [String] {
        plan.routes.map { route in
            let destination = route.destination.map { "\($0)/\(route.prefixLength)" } ?? "default"
            return destination + (route.hops[0].gateway.map { " via \($0)" } ?? "")
        }
    }

    @Test func hostIsCopied() throws {
        let plan = try plan()
        #expect(plan.interface == "eth0" && plan.mtu == 65520 && plan.hasIPv6)
        #expect(plan.addresses.map { "\($0.address)/\($0.prefixLength)" } == ["198.51.100.7/24", "2001:db8:1::7/64"])
        #expect(plan.addresses[0].broadcast == ip("198.51.100.255"))
        #expect(lines(plan) == ["default via 198.51.100.1", "default via fe80::1"])
    }

    @Test func withoutConfigNetOnlyTheLinkIsPrepared() throws {
        let plan = try plan { $0.configureNetwork = false; $0.namespaceMAC = MACAddress(0x0200_5e10_0009) }
        #expect(!plan.configures && plan.addresses.isEmpty && plan.routes.isEmpty)
        #expect(plan.mac == MACAddress(0x0200_5e10_0009) && plan.transmitQueueLength == 10000)
    }

    @Test func lesson48_routesLeaveTheHostBehind() throws {
        var facts = plainHost()
        facts.routes[0].preferredSource = ip("198.51.100.7")
        facts.routes[0].hops[0].flags = 0x15
        facts.routes[0].flags = 0x15
        let copied = try #require(plan(facts).routes.first)
        #expect(copied.preferredSource == nil && copied.flags == 0)
        #expect(copied.hops == [NextHop(index: 0, gateway: ip("198.51.100.1"))])
    }

    @Test func lesson48_nothingExpires() throws {
        var facts = plainHost()
        facts.addresses[3].validLifetime = 100
        facts.addresses[3].preferredLifetime = 50
        let plan = try plan(facts)
        #expect(plan.addresses.allSatisfy { $0.validLifetime == nil && $0.preferredLifetime == nil })
        #expect(plan.routes.allSatisfy { $0.expires == 0 })
        // What is over already is not copied.
        facts.routes[5].expires = -100
        #expect(try self.plan(facts).routes.allSatisfy { $0.family == .ipv4 })
    }

    @Test func lesson48_multipathKeepsOwnHop() throws {
        var facts = plainHost()
        facts.routes.append(route("10.0.0.0/8", dev: 2) {
            $0.hops = [NextHop(index: 3, gateway: ip("203.0.113.1"), weight: 9), NextHop(index: 2, gateway: ip("198.51.100.2"))]
        })
        facts.routes.append(route("172.16.0.0/12", dev: 3, via: "203.0.113.1"))
        #expect(try lines(plan(facts)) == ["default via 198.51.100.1", "10.0.0.0/8 via 198.51.100.2", "default via fe80::1"])
    }

    @Test func lesson49_duplicateDetectionIsOff() throws {
        for address in try plan().addresses {
            #expect(address.flags == (address.family == .ipv6 ? .noDuplicateDetection : []))
        }
    }

    @Test func routesWithoutGatewayComeFirst() throws {
        var facts = plainHost()
        facts.routes.append(route("198.18.0.1/32", dev: 2) { $0.scope = 253 })
        facts.routes[0].hops[0].gateway = ip("198.18.0.1")
        #expect(try lines(plan(facts)).prefix(2) == ["198.18.0.1/32", "default via 198.18.0.1"])
    }

    /// It is the guest's way out as it is the host's: the router that stands in for one is DHCP's matter.
    @Test func aDefaultRouteWithoutGatewayStaysOne() throws {
        var facts = plainHost()
        facts.routes[0] = route("default", dev: 2)
        #expect(try lines(plan(facts)) == ["default", "default via fe80::1"])
        let uncopied = try plan(facts) { $0.noCopyRoutes = true }
        #expect(lines(uncopied) == ["default", "default via fe80::1"] && uncopied.routes[0].scope == Route.linkScope)
    }

    @Test func whatIsNotCopied() throws {
        var facts = plainHost()
        facts.routes += [
            route("198.18.0.0/16", dev: 2) { $0.type = 6 },  // blackhole
            route("198.19.0.0/16", dev: 2) { $0.type = 3 },  // broadcast
            route("224.0.0.0/4", dev: 2), route("ff00::/8", dev: 2), route("127.0.0.0/8", dev: 2),
            route("203.0.113.0/24", dev: 2) { $0.flags = 0x200 },  // cloned
        ]
        #expect(try lines(plan(facts)) == ["default via 198.51.100.1", "default via fe80::1"])
        // A subnet that the kernel will not make a route to by itself is.
        facts.routes.append(route("203.0.113.0/24", dev: 2, proto: 2))
        let extended = try plan(facts)
        #expect(lines(extended).contains("203.0.113.0/24"))
        #expect(extended.routes.allSatisfy { $0.proto != 2 })
    }

    @Test func addressesThatComeAndGoAreNotCopied() throws {
        var facts = plainHost()
        facts.addresses += [
            own(2, "198.51.100.8/24", .secondary), own(2, "169.254.3.3/16", scope: 253),
            own(2, "2001:db8:1::8/64", .deprecated), own(2, "2001:db8:1::9/64", .temporary),
            own(2, "2001:db8:1::a/64", .tentative), own(2, "2001:db8:1::b/64", .duplicate), own(2, "fd00::c/64"),
            own(2, "192.0.2.1/32", peer: "192.0.2.77"), own(3, "203.0.113.3/24"),
        ]
        let plan = try plan(facts)
        // The guest's own IPv6 address comes last, since the kernel prefers the youngest.
        let expected = ["198.51.100.7", "198.51.100.8", "192.0.2.1", "fd00::c", "2001:db8:1::7"]
        #expect(plan.addresses.map { "\($0.address)" } == expected)
        #expect(plan.addresses[2].peer == ip("192.0.2.77") && plan.addresses[2].broadcast == nil)
    }

    @Test func optionsLimitCopying() throws {
        var facts = plainHost()
        facts.addresses.append(own(2, "198.51.100.8/24", .secondary))
        facts.routes.append(route("10.0.0.0/8", dev: 2, via: "198.51.100.2"))
        facts.routes.append(route("2001:db8:9::/48", dev: 2, via: "fe80::2"))

        let gateway = try plan(facts) { $0.gateway4 = IPv4Address("198.51.100.99") }
        #expect(lines(gateway) == ["default via 198.51.100.99", "default via fe80::1", "2001:db8:9::/48 via fe80::2"])
        #expect(gateway.addresses.count == 3)

        let routes = try plan(facts) { $0.noCopyRoutes = true }
        #expect(lines(routes) == ["default via 198.51.100.1", "default via fe80::1"])

        let addresses = try plan(facts) { $0.noCopyAddresses = true }
        #expect(addresses.addresses.map { "\($0.address)/\($0.prefixLength)" } == ["198.51.100.7/24", "2001:db8:1::7/64"])

        let given = try plan(facts) { $0.address4 = IPv4Address("10.0.2.100"); $0.prefixLength4 = 24 }
        #expect(given.addresses.map { "\($0.address)/\($0.prefixLength)" } == ["10.0.2.100/24", "2001:db8:1::7/64"])
        // The host's subnet is what its gateway is reached by, now that no address brings it along.
        #expect(lines(given).contains("198.51.100.0/24"))
    }

    @Test func defaultRouteWithoutGateway() throws {
        var facts = plainHost()
        facts.routes[0] = route("default", dev: 2) { $0.scope = 253 }
        #expect(try lines(plan(facts)).first == "default")
        let alone = try plan(facts) { $0.noCopyRoutes = true }
        #expect(lines(alone).first == "default" && alone.routes[0].scope == 253)
        facts.routes.removeFirst()
        #expect(try lines(plan(facts)) == ["default via fe80::1"])
    }

    @Test func otherFamilysGatewayBecomesALinkRoute() throws {
        var facts = plainHost()
        facts.routes[0].hops[0].gateway = ip("fe80::1")
        let plan = try plan(facts)
        #expect(lines(plan).first == "default" && plan.routes[0].scope == 253)
    }

    @Test func metricsBeyondTheLinkAreLeftOut() throws {
        var facts = plainHost()
        facts.routes[0].metrics = [
            Route.Metric(kind: Route.Metric.mtu, value: 9000), Route.Metric(kind: Route.Metric.maximumSegment, value: 1400),
            Route.Metric(kind: 10, value: 64),
        ]
        #expect(try plan(facts) { $0.mtu = 1500 }.routes[0].metrics.map(\.kind) == [Route.Metric.maximumSegment, 10])
        #expect(try plan(facts).routes[0].metrics.count == 3)
        #expect(try plan(facts) { $0.mtu = 0 }.mtu == nil)
    }

    @Test func localMode() throws {
        let plan = try plan(emptyHost())
        #expect(plan.interface == "tap0")
        #expect(plan.addresses.map { "\($0.address)/\($0.prefixLength)" } == ["169.254.2.1/16"])
        #expect(lines(plan) == ["default via 169.254.2.2", "default via fe80::1"])
    }

    @Test func smallMTUDoesWithoutIPv6() throws {
        let small = try plan { $0.mtu = 1279 }
        #expect(!small.hasIPv6 && small.addresses.count == 1 && lines(small) == ["default via 198.51.100.1"])
        #expect(try plan { $0.mtu = 1280 }.hasIPv6)
    }

    @Test func oneFamily() throws {
        let plan = try plan { $0.ipv4Only = true }
        #expect(!plan.hasIPv6 && plan.addresses.count == 1 && lines(plan) == ["default via 198.51.100.1"])
    }
}
