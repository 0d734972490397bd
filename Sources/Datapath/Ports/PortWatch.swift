internal import Linux
internal import Wire

/// Who listens on either side, looked up once a second, and what follows from it for both directions.
struct PortWatch: ~Copyable {
    /// Milliseconds from one look to the next: what has changed is to be followed within a second.
    private static var interval: Int64 { 900 }

    /// -t and -u: what listens in the namespace is opened on the host.
    private(set) var inbound: AutomaticPorts
    /// -T and -U: what listens on the host is opened on the namespace's loopback.
    private(set) var outbound: AutomaticPorts
    private var scan: PortScan
    private var buffer: Mapping
    private let namespaceSockets, hostSockets: BoundSockets?
    /// When to look next, in milliseconds of the monotonic clock; never, if nothing depends on it.
    private(set) var due = Int64.max

    /// Looks at nothing.
    init() throws(Errno) {
        let inbound = try AutomaticPorts(groupLimit: 0, ephemeral: 1...1, reaches: .outside)
        let outbound = try AutomaticPorts(groupLimit: 0, ephemeral: 1...1, reaches: .outside)
        try self.init(inbound, nil, outbound, nil)
    }

    init(
        _ inbound: consuming AutomaticPorts, _ namespaceSockets: BoundSockets?, _ outbound: consuming AutomaticPorts, _ hostSockets: BoundSockets?
    ) throws(Errno) {
        let scan = try PortScan()
        let buffer = try Mapping(byteCount: BoundSockets.bufferSize)
        self.scan = scan
        self.buffer = buffer
        self.namespaceSockets = namespaceSockets
        self.hostSockets = hostSockets
        self.inbound = inbound
        self.outbound = outbound
    }

    /// Whether rules with `auto` can be followed.
    func canFollow(isInbound: Bool) -> Bool { isInbound ? namespaceSockets != nil : hostSockets != nil }

    // MARK: Rules

    mutating func forgetRules() {
        inbound.forgetRules()
        outbound.forgetRules()
        due = .max
    }

    /// Takes in a rule that follows the other side's listeners; `interface` is the index of the one that it names. False: there are too many.
    mutating func allow(_ rule: PortControlRule, isInbound: Bool, interface: Int32, hasIPv4: Bool, hasIPv6: Bool) -> Bool {
        let group = AutomaticGroup(isTCP: rule.isTCP, address: rule.address, interface: interface, hasIPv4: hasIPv4, hasIPv6: hasIPv6)
        if isInbound ? namespaceSockets != nil : hostSockets != nil { due = 0 }
        return isInbound ? inbound.allow(rule.ports, in: group) : outbound.allow(rule.ports, in: group)
    }

    /// Leaves out the ports of a rule that opens them itself. To be called after all that is allowed.
    mutating func exclude(_ rule: PortControlRule, isInbound: Bool) {
        if isInbound {
            inbound.exclude(rule.ports, isTCP: rule.isTCP, address: rule.address)
        } else {
            outbound.exclude(rule.ports, isTCP: rule.isTCP, address: rule.address)
        }
    }

    // MARK: Rounds

    /// With `isComplete` and no rules, nothing is open any more, and nobody needs to look again. With `hasMore`, the next look goes on behind whatever else waits by now.
    mutating func wasRead(at now: Int64, _ isComplete: Bool, hasMore: Bool = false) {
        let hasRules = inbound.hasRules && namespaceSockets != nil || outbound.hasRules && hostSockets != nil
        due = hasRules || !isComplete ? now + (hasMore ? 1 : PortWatch.interval) : .max
    }

    /// Begins a round of `nextInbound`. False: there is nothing to do, or the namespace could not be looked at, and then it is not `isComplete`.
    mutating func readNamespace(_ isComplete: inout Bool) -> Bool {
        guard let namespaceSockets, inbound.groupCount > 0 else { return false }
        guard scan.read(namespaceSockets, buffer: &buffer) else {
            isComplete = false
            return false
        }
        inbound.begin()
        return true
    }

    /// Likewise of `nextOutbound`.
    mutating func readHost(_ isComplete: inout Bool) -> Bool {
        guard let hostSockets, outbound.groupCount > 0 else { return false }
        guard scan.read(hostSockets, buffer: &buffer) else {
            isComplete = false
            return false
        }
        outbound.begin()
        return true
    }

    /// `own`: our listeners in the namespace.
    mutating func nextInbound(own: borrowing OwnPorts) -> PortChange? { inbound.next(scan, own: own) }
    mutating func openedInbound(_ listener: Int) { inbound.opened(listener: listener) }
    mutating func failedInbound() -> Bool { inbound.failed() }

    /// `own`: our listeners on the host.
    mutating func nextOutbound(own: borrowing OwnPorts) -> PortChange? { outbound.next(scan, own: own) }
    mutating func openedOutbound(_ listener: Int) { outbound.opened(listener: listener) }
    mutating func failedOutbound() -> Bool { outbound.failed() }
}
