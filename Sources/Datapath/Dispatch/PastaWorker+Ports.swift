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
    /// Throws ENODEV for an interface that the host does not have, and ENOSPC for more rules than there is room for.
    public mutating func watchPorts(
        _ rules: [ForwardRule], network: Network, namespace: PortSide?, host: PortSide?, reachesNamespaceLoopback: Bool
    ) throws(Errno) {
        let count = rules.reduce(into: 0) { if $1.scans { $0 += 1 } }
        if count == 0 { return }
        var inbound = try AutomaticPorts(
            groupLimit: count, ephemeral: namespace?.ephemeral ?? 1...1, reaches: .outside, or: reachesNamespaceLoopback ? .loopback : nil)
        var outbound = try AutomaticPorts(groupLimit: count, ephemeral: host?.ephemeral ?? 1...1, reaches: .localhost)
        for rule in rules where rule.scans && (rule.kind.isTCP ? network.tcp : network.udp) {
            var group = AutomaticGroup(
                isTCP: rule.kind.isTCP, address: rule.address, hasIPv4: network.ipv4 != nil, hasIPv6: network.ipv6 != nil)
            if let name = rule.interface {
                guard let index = InterfaceNames.index(of: name) else { throw Errno(19) }  // ENODEV
                group.interface = index
            }
            guard rule.kind.isInbound ? inbound.allow(rule.ports, in: group) : outbound.allow(rule.ports, in: group) else { throw Errno(28) }
        }
        for rule in rules where !rule.scans && !rule.isBestEffort {
            if rule.kind.isInbound { inbound.exclude(rule) } else { outbound.exclude(rule) }
        }
        forwarder.portWatch = try PortWatch(inbound, namespace?.sockets, outbound, host?.sockets)
    }

    /// To be called when `run` says `.portsDue`, and once before. `tell` hears of each change. Allocates nothing.
    public mutating func followPorts(of sides: PortSides = [.namespace, .host], _ tell: (PortNews) -> Void) {
        forwarder.followPorts(of: sides, now: monotonicNanoseconds() / 1_000_000, tell)
    }

    /// What automatic ports need while the program runs.
    public static var portCalls: [SystemCall.Permission] { SystemCall.lookingForSockets + SystemCall.listening }
}

extension AutomaticPorts {
    /// A port with a rule of its own is that rule's, wherever both want the same socket.
    fileprivate mutating func exclude(_ rule: ForwardRule) {
        for index in 0..<groupCount where self[index].isTCP == rule.kind.isTCP {
            guard self[index].address == nil || rule.address == nil || self[index].address == rule.address else { continue }
            exclude(rule.ports, from: index)
        }
    }
}
