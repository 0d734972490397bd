import CLinux
import Linux
import Settings
import Testing
import Wire

@testable import Setup

/// Ports that cannot be had: the words that callers look for, and what can be done about it behind them.
@Suite struct ListenersTests {
    private static let host = BindRefusal(isTCP: true, isOutbound: false, freebind: false, firstFree: 1024)

    @Test(arguments: [
        (EACCES, 80, "ports below 1024 take root's rights, or a lower net.ipv4.ip_unprivileged_port_start (sysctl)"),
        (EACCES, 1024, "a security module forbids it"),
        (EADDRINUSE, 80, "something else listens there, 'ss -ltnp' shows what"),
        (EADDRNOTAVAIL, 80, "the host has no such address, --freebind listens on those that are still to come"),
        (ENODEV, 80, "the host has no such interface, 'ip link' shows those it has"),
        (EAFNOSUPPORT, 80, "the guest does not have this family"),
        (EINVAL, 80, nil),
    ] as [(Int32, UInt16, String?)])
    func remedies(_ code: Int32, _ port: UInt16, _ expected: String?) {
        #expect(Self.host.remedy(Errno(code), port) == expected)
    }

    @Test func remediesFitTheSide() {
        let inside = BindRefusal(isTCP: false, isOutbound: true, freebind: true, firstFree: 1024)
        #expect(inside.remedy(Errno(EADDRINUSE), 80) == "something else listens there, 'ss -lunp' in the namespace shows what")
        #expect(inside.remedy(Errno(EADDRNOTAVAIL), 80) == "the namespace has no such address")
    }

    /// What has given its rights away cannot get them back, and its options are its own matter.
    @Test(arguments: [
        (EACCES, 80, "ports below 1024 can only be opened when passt starts, or with a lower net.ipv4.ip_unprivileged_port_start"),
        (EACCES, 1024, "a security module forbids it"),
        (EADDRINUSE, 80, "something else listens there, 'ss -ltnp' shows what"),
        (EADDRNOTAVAIL, 80, "the host has no such address"),
    ] as [(Int32, UInt16, String)])
    func remediesForWhatRunsAlready(_ code: Int32, _ port: UInt16, _ expected: String) {
        let running = BindRefusal(isTCP: true, isOutbound: false, firstFree: 1024, running: "passt")
        #expect(running.remedy(Errno(code), port) == expected)
    }

    private func plan() -> ListenerPlan {
        var network = Network(gatewayMAC: Network.defaultGatewayMAC, routerLinkLocal: .any, mtu: 1500)
        network.ipv4 = Network.Family(address: IPv4Address.loopback, prefixLength: 8, gateway: nil)
        return ListenerPlan(network: network)
    }

    private func message(_ plan: ListenerPlan, _ rule: ForwardRule) -> String? {
        do throws(SetupError) {
            for listener in try plan.open([rule]) { listener.socket.close() }
            return nil
        } catch {
            return error.message
        }
    }

    /// A port of loopback that is taken.
    private func withTakenPort(_ body: (UInt16) throws -> Void) throws {
        let socket = try ListenerSocket(isTCP: true, address: IPAddress(IPv4Address.loopback), port: 0, servesIPv4: true).open()
        defer { socket.close() }
        try body(try #require(try socket.localAddress().endpoint).port)
    }

    @Test func aPortThatIsTaken() throws {
        try withTakenPort { port in
            let rule = ForwardRule(.tcpIn, port...port, address: IPAddress(IPv4Address.loopback), text: "127.0.0.1/\(port)")
            #expect(message(plan(), rule) == "Failed to bind port \(port) (Address already in use) for option '-t 127.0.0.1/\(port)', exiting: "
                + "something else listens there, 'ss -ltnp' shows what")
        }
    }

    @Test func noneOfManyPorts() throws {
        try withTakenPort { port in
            var plan = plan()
            plan.ephemeral = 1...2
            let rule = ForwardRule(.tcpIn, port...port, address: IPAddress(IPv4Address.loopback), isBestEffort: true, text: "all")
            let start = "Failed to bind any port for option '-t all', exiting: "
            #expect(message(plan, rule) == start + "port \(port) was the last one (Address already in use), something else listens there, 'ss -ltnp' shows what")
            plan.ephemeral = 1...65535
            #expect(message(plan, rule) == start + "1-65535 are left out, since net.ipv4.ip_local_port_range gives them to outgoing connections")
        }
    }
}
