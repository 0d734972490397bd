import Linux
import Settings
import Testing
import Wire

@testable import Setup

/// The host's resolver on a loopback address of its own, in a command's namespace.
@Suite struct ResolverRulesTests {
    private static func rules(_ nameservers: [String], _ change: (inout Options) -> Void = { _ in }) -> [String] {
        let options = options {
            $0.target = .command(["true"])
            change(&$0)
        }
        return options.resolverRules(nameservers.map(ip)).map { "-\($0.kind.letter) \($0.text)" }
    }

    @Test func systemdResolved() {
        let expected = ["-T 127.0.0.53/53:127.0.0.53", "-U 127.0.0.53/53:127.0.0.53"]
        #expect(Self.rules(["127.0.0.53"]) == expected)
        #expect(Self.rules(["198.51.100.53", "127.0.0.53", "::1"]) == expected)
    }

    @Test func othersNeedNothing() {
        // What `auto` leads to anyway, what is reached by routes, and what the C library does not ask.
        #expect(Self.rules(["127.0.0.1", "::1", "198.51.100.53", "127.0.0.53"]).isEmpty)
        #expect(Self.rules([]).isEmpty)
        #expect(Self.rules(["127.0.0.53"]) { $0.ipv6Only = true }.isEmpty)
    }

    /// Only where the host's loopback services are shown to the namespace.
    @Test func nothingIsShownUnasked() {
        let none: [PortOption] = [.init(.tcpOut, "none"), .init(.udpOut, "none")]
        #expect(Self.rules(["127.0.0.53"]) { $0.portOptions = none }.isEmpty)
        #expect(Self.rules(["127.0.0.53"]) { $0.portOptions = [none[0]] } == ["-U 127.0.0.53/53:127.0.0.53"])
        #expect(Self.rules(["127.0.0.53"]) { $0.target = .process(4711) }.isEmpty)
        #expect(Self.rules(["127.0.0.53"]) { $0.target = .path("/run/netns/x") }.isEmpty)
    }

    /// Nobody asked for it, so nobody is told that it could not be had.
    @Test func whatCannotBeBoundIsLeftOut() throws {
        var network = Network(gatewayMAC: Network.defaultGatewayMAC, routerLinkLocal: .any, mtu: 1500)
        network.ipv4 = Network.Family(address: IPv4Address("192.0.2.2")!, prefixLength: 24, gateway: nil)
        let place = ip("192.0.2.77")
        var rule = ForwardRule(.tcpOut, 53...53, address: place, targetAddress: place, isBestEffort: true, text: "x")
        let plan = ListenerPlan(network: network, isOutbound: true)
        #expect(throws: SetupError.self) { try plan.open([rule]) }
        rule.isImplied = true
        #expect(try plan.open([rule]).isEmpty)
    }
}
