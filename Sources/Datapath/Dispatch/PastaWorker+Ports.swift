public import Linux
public import Settings
internal import Wire

/// One side of automatic ports, opened before the process is closed in.
public struct PortSide: Sendable {
    public let sockets: BoundSockets
    /// Ports that its kernel gives to whoever does not ask for a certain one.
    public let ephemeral: ClosedRange<UInt16>

    public init(sockets: BoundSockets, ephemeral: ClosedRange<UInt16>) {
        self.sockets = sockets
        self.ephemeral = ephemeral
    }
}

extension PastaWorker {
    /// Takes over the rules with `scans`. `namespace` and `host` are whose listeners are looked for; rules that look at a side that is nil do nothing.
    /// With `isOpen`, there will be others later. Throws ENODEV for an interface that the host does not have, and ENOSPC for more rules than there is
    /// room for.
    public mutating func watchPorts(
        _ rules: [ForwardRule], network: Network, namespace: PortSide?, host: PortSide?, reachesNamespaceLoopback: Bool, isOpen: Bool = false
    ) throws(Errno) {
        let count = isOpen ? AutomaticPorts.mostGroups : rules.reduce(into: 0) { if $1.scans { $0 += 1 } }
        if count == 0 { return }
        let inbound = try AutomaticPorts(
            groupLimit: count, ephemeral: namespace?.ephemeral ?? 1...1, reaches: .outside, or: reachesNamespaceLoopback ? .loopback : nil)
        let outbound = try AutomaticPorts(groupLimit: count, ephemeral: host?.ephemeral ?? 1...1, reaches: .localhost)
        var watch = try PortWatch(inbound, namespace?.sockets, outbound, host?.sockets)
        for rule in rules where rule.scans && (rule.kind.isTCP ? network.tcp : network.udp) {
            var interface: Int32 = 0
            if let name = rule.interface {
                guard let index = InterfaceNames.index(of: name) else { throw Errno(19) }  // ENODEV
                interface = index
            }
            let hasRoom = watch.allow(
                PortControlRule(rule), isInbound: rule.kind.isInbound, interface: interface, hasIPv4: network.ipv4 != nil,
                hasIPv6: network.ipv6 != nil)
            guard hasRoom else { throw Errno(28) }  // ENOSPC
        }
        for rule in rules where !rule.scans && !rule.isBestEffort {
            watch.exclude(PortControlRule(rule), isInbound: rule.kind.isInbound)
        }
        forwarder.portWatch = watch
    }

    /// To be called once for each side, before `run`. `tell` hears of each change. Allocates nothing.
    public mutating func openPorts(of side: PortSides, _ tell: (PortNews) -> Void) {
        forwarder.followPorts(of: side, now: monotonicNanoseconds() / 1_000_000, tell)
    }

    /// To be called when `run` says `.portsDue`. Who opens very many ports at once does not hold up everybody's traffic.
    public mutating func followPorts(_ tell: (PortNews) -> Void) {
        forwarder.followPorts(
            of: [.namespace, .host], now: monotonicNanoseconds() / 1_000_000, limit: forwarder.portSlice, tell)
    }

    /// What automatic ports need while the program runs.
    public static var portCalls: [SystemCall.Permission] { SystemCall.lookingForSockets + SystemCall.listening }
}
