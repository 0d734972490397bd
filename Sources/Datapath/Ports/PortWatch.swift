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
    /// The side whose scan is being worked off, and those that follow; nothing between two rounds.
    private var looked: PortSides = []
    private var toLook: PortSides = []
    /// All sides could be looked at in this round.
    private var isComplete = true
    private var lackDescriptors: PortSides = []
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
        startOver()
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

    // A round looks at one side after the other, and may be interrupted after any change: it goes on where it stood, by what was seen when it began.
    //
    //      begin --> next, next, ... nil --> (the other side) next, next, ... nil --> wasRead
    //                      wait --> (later) next, ...

    /// Begins a round, unless one is under way.
    mutating func begin(_ sides: PortSides) {
        guard looked.isEmpty else { return }
        toLook = sides
        isComplete = true
        lackDescriptors = []
        advance()
    }

    /// Reads who listens on the next side.
    private mutating func advance() {
        looked = []
        if toLook.remove(.namespace) != nil, read(namespaceSockets, groups: inbound.groupCount) {
            inbound.begin()
            looked = .namespace
        } else if toLook.remove(.host) != nil, read(hostSockets, groups: outbound.groupCount) {
            outbound.begin()
            looked = .host
        }
    }

    /// The next thing to do, and whether it is one of `inbound`; nil at the end of the round. `own`: our listeners on the host, and in the namespace.
    mutating func next(ownOnHost: borrowing OwnPorts, ownInNamespace: borrowing OwnPorts) -> (PortChange, isInbound: Bool)? {
        while !looked.isEmpty {
            let isInbound = looked == .namespace
            let change = isInbound ? inbound.next(scan, own: ownInNamespace) : outbound.next(scan, own: ownOnHost)
            switch change {
            case .open? where lackDescriptors.contains(looked): continue
            case let change?: return (change, isInbound)
            case nil: advance()
            }
        }
        return nil
    }

    /// Nothing more can be opened in this direction for now: what is left to close is closed, and the rest tried with the next round.
    mutating func lackDescriptor() { lackDescriptors.formUnion(looked) }

    /// The round goes on a moment later, when others have had their turn.
    mutating func wait(at now: Int64) { due = now + 1 }

    /// With a complete round and no rules, nothing is open any more, and nobody needs to look again.
    mutating func wasRead(at now: Int64) {
        let hasRules = inbound.hasRules && namespaceSockets != nil || outbound.hasRules && hostSockets != nil
        due = hasRules || !isComplete ? now + PortWatch.interval : .max
    }

    /// False: there is nothing to do, or the side could not be looked at, and then the round is not complete.
    private mutating func read(_ sockets: BoundSockets?, groups: Int) -> Bool {
        guard let sockets, groups > 0 else { return false }
        let isRead = scan.read(sockets, buffer: &buffer)
        if !isRead { isComplete = false }
        return isRead
    }

    /// What has become of the last `.open`: a listener, or nothing, and then whether for the first time in a row.
    mutating func opened(_ listener: Int) { if looked == .namespace { inbound.opened(listener: listener) } else { outbound.opened(listener: listener) } }
    mutating func failed() -> Bool { looked == .namespace ? inbound.failed() : outbound.failed() }

    /// An automatic listener is gone by itself.
    mutating func forget(listener: Int, port: UInt16, isInbound: Bool) {
        if isInbound { inbound.forget(listener: listener, port: port) } else { outbound.forget(listener: listener, port: port) }
    }

    /// What comes next begins with a look: rules or listeners have changed.
    mutating func startOver() { looked = [] }
}
