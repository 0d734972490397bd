internal import Linux
internal import Settings
internal import Wire

/// What clients of `--conf-path` may change, and what it takes to do that.
public struct PortControlSetup: Sendable {
    /// What the guest has.
    public var hasIPv4, hasIPv6: Bool
    public var tcp, udp: Bool
    /// Ports that the kernel gives to whoever does not ask for a certain one: on the host, and in the namespace.
    public var hostEphemeral, namespaceEphemeral: ClosedRange<UInt16>
    /// There is a namespace whose loopback can lead to the host.
    public var hasNamespace: Bool
    /// What comes from the host's loopback arrives at the namespace's loopback.
    public var endsAtLoopback: Bool

    public init(
        hasIPv4: Bool, hasIPv6: Bool, tcp: Bool, udp: Bool, hostEphemeral: ClosedRange<UInt16>, namespaceEphemeral: ClosedRange<UInt16>,
        hasNamespace: Bool, endsAtLoopback: Bool
    ) {
        self.hasIPv4 = hasIPv4
        self.hasIPv6 = hasIPv6
        self.tcp = tcp
        self.udp = udp
        self.hostEphemeral = hostEphemeral
        self.namespaceEphemeral = namespaceEphemeral
        self.hasNamespace = hasNamespace
        self.endsAtLoopback = endsAtLoopback
    }

    static var nothing: PortControlSetup {
        PortControlSetup(
            hasIPv4: false, hasIPv6: false, tcp: false, udp: false, hostEphemeral: 1...1, namespaceEphemeral: 1...1, hasNamespace: false,
            endsAtLoopback: false)
    }
}

/// The rules of every table.
struct PortRuleSet: ~Copyable {
    private var rules: FixedTable<PortControlRule>
    private var counts = InlineArray<2, Int>(repeating: 0)

    init(most: Int) throws(Errno) { rules = try FixedTable(count: 2 * most) }

    private static func place(_ table: PortTableName) -> Int { table == .host ? 0 : 1 }

    func count(_ table: PortTableName) -> Int { counts[PortRuleSet.place(table)] }
    subscript(table: PortTableName, index: Int) -> PortControlRule { rules[PortRuleSet.place(table) * rules.count / 2 + index] }

    /// False: there is no room.
    mutating func append(_ rule: PortControlRule, to table: PortTableName) -> Bool {
        let place = PortRuleSet.place(table)
        guard counts[place] < rules.count / 2 else { return false }
        rules[place * rules.count / 2 + counts[place]] = rule
        counts[place] += 1
        return true
    }

    mutating func removeAll(_ table: PortTableName) { counts[PortRuleSet.place(table)] = 0 }

    mutating func copy(_ other: borrowing PortRuleSet) {
        for index in 0..<rules.count { rules[index] = other.rules[index] }
        counts = other.counts
    }
}

/// What is forwarded by which rule, and how that becomes what a client wants: without sockets, which are the forwarder's (`Forwarder+PortUpdate`).
///
///     begin > claim what is open and wanted > open what is missing > let automatic ports follow > close what is not claimed > finish
///                      ^                            | a port cannot be opened
///                      '---- the rules from before <'
///
/// A socket that both the old and the new rules want stays open all the while. What no rule wants is closed last, or when it is in the way (`EADDRINUSE`), and so is what an
/// automatic port has: until then everything can come back, also what could not be opened once more, such as a low port.
struct PortTables: ~Copyable {
    enum Step: Equatable, BitwiseCopyable {
        case idle
        /// An index of the listener table.
        case claim(Int)
        case open
        case follow
        /// Likewise.
        case close(Int)
    }

    /// A socket that is to be opened.
    struct Candidate {
        var table: PortTableName
        var index: Int
        var rule: PortControlRule
        var port: UInt16
        /// nil: nobody has this family.
        var place: ListeningPlaces.Place?
        fileprivate var number: Int
        /// For the host's sockets.
        var interface: Int32
        /// Whether the other family's socket of this port is open.
        var isSecond: Bool { number == 1 }
    }

    let setup: PortControlSetup
    private(set) var inForce: PortRuleSet
    private var wanted: PortRuleSet
    /// Of the host's rules in `wanted`: the only interface to hear; -1 for one that is gone, whose ports wait for it.
    private var interfaces: FixedTable<Int32>
    /// Ports of `wanted` that are open: for each table, rule and place.
    private var isOpen: FixedTable<UInt64>
    /// Listeners that no rule wants, by their index.
    private var unclaimed: FixedTable<UInt64>
    /// Sockets of rules that leave out what cannot be opened: per table and protocol.
    private var bestEfforts = InlineArray<4, Int>(repeating: 0)
    var step = Step.idle
    /// What went wrong, while the rules from before come back.
    private var failure: PortControlAnswer?
    // Where opening is.
    private var table = PortTableName.host
    private var index = 0
    private var port = 0
    private var number = 0

    /// Without `setup`, there is room for nothing.
    init(_ setup: PortControlSetup? = nil) throws(Errno) {
        let most = setup == nil ? 0 : PortControl.mostRules
        let inForce = try PortRuleSet(most: most)
        let wanted = try PortRuleSet(most: most)
        let interfaces = try FixedTable<Int32>(count: most)
        let isOpen = try FixedTable<UInt64>(count: 2 * most * 2 * PortSet.wordCount)
        let unclaimed = try FixedTable<UInt64>(count: most == 0 ? 0 : ListenerTable.capacity / 64)
        self.setup = setup ?? .nothing
        self.unclaimed = unclaimed
        self.inForce = inForce
        self.wanted = wanted
        self.interfaces = interfaces
        self.isOpen = isOpen
    }

    /// A rule that is in force from the start. False: there is no room.
    mutating func adopt(_ rule: PortControlRule, in table: PortTableName) -> Bool { inForce.append(rule, to: table) }

    // MARK: Beginning

    /// Takes in a complete request. nil: all that follows from it can begin.
    mutating func begin(_ request: borrowing RawSpan, count: Int) -> PortControlAnswer? {
        wanted.copy(inForce)
        var offset = 0
        while offset < count, request.uint8(at: offset) != 0 {
            guard let table = PortTableName(rawValue: request.uint8(at: offset)), table == .host || setup.hasNamespace else {
                return PortControlAnswer(.unreadable)
            }
            let rules = Int(request.uint32(at: offset + 1))
            offset += 5
            guard take(rules, request, at: offset, into: table) else { return PortControlAnswer(.unreadable, table: table) }
            offset += rules * PortControlRule.byteCount
        }
        failure = nil
        return prepare()
    }

    /// What must be opened comes before what may be left out: it has the first choice among the ports.
    private mutating func take(_ count: Int, _ request: borrowing RawSpan, at start: Int, into table: PortTableName) -> Bool {
        wanted.removeAll(table)
        for round in 0..<2 {
            for index in 0..<count {
                guard let rule = PortControlRule(request, at: start + index * PortControlRule.byteCount) else { return false }
                guard rule.isBestEffort == (round == 1) else { continue }
                guard rule.isTCP ? setup.tcp : setup.udp, wanted.append(rule, to: table) else { return false }
            }
        }
        return true
    }

    private mutating func prepare() -> PortControlAnswer? {
        for index in 0..<wanted.count(.host) {
            let name = wanted[.host, index].interface
            interfaces[index] = 0
            if name.isEmpty { continue }
            do throws(Errno) {
                let found = try InterfaceNames.index(of: name)
                // One that is gone since is no hindrance for other rules.
                if found == nil && failure == nil && !isInForce(wanted[.host, index]) {
                    return PortControlAnswer(.noInterface, table: .host, rule: index)
                }
                interfaces[index] = found ?? -1
            } catch {
                if failure == nil { return PortControlAnswer(.failed, table: .host, port: wanted[.host, index].first, code: error.code, rule: index) }
                interfaces[index] = -1
            }
        }
        for table in PortTableName.allCases {
            for index in 0..<wanted.count(table) { unmark(table, index) }
        }
        bestEfforts = InlineArray(repeating: 0)
        for word in 0..<unclaimed.count where unclaimed[word] != 0 { unclaimed[word] = 0 }
        (table, index, port, number) = (.host, 0, 0, 0)
        step = .claim(0)
        return nil
    }

    private func isInForce(_ rule: PortControlRule) -> Bool {
        for index in 0..<inForce.count(.host) where inForce[.host, index] == rule { return true }
        return false
    }

    // MARK: What is open already

    private func mark(_ table: PortTableName, _ index: Int, _ number: Int, _ port: UInt16) -> Int {
        (((table == .host ? 0 : PortControl.mostRules) + index) * 2 + number) * PortSet.wordCount + Int(port >> 6)
    }

    private mutating func unmark(_ table: PortTableName, _ index: Int) {
        let rule = wanted[table, index]
        for number in 0..<2 {
            for word in mark(table, index, number, rule.first)...mark(table, index, number, rule.last) where isOpen[word] != 0 { isOpen[word] = 0 }
        }
    }

    private func isMarked(_ table: PortTableName, _ index: Int, _ number: Int, _ port: UInt16) -> Bool {
        isOpen[mark(table, index, number, port)] & PortSet.bit(port) != 0
    }

    private mutating func noteOpen(_ table: PortTableName, _ index: Int, _ number: Int, _ port: UInt16) {
        isOpen[mark(table, index, number, port)] |= PortSet.bit(port)
        let rule = wanted[table, index]
        if rule.isBestEffort { bestEfforts[PortTables.group(table, rule.isTCP)] += 1 }
    }

    private static func group(_ table: PortTableName, _ isTCP: Bool) -> Int { (table == .host ? 0 : 2) + (isTCP ? 1 : 0) }

    private func places(_ table: PortTableName, _ rule: PortControlRule) -> ListeningPlaces {
        ListeningPlaces(
            isOutbound: table == .splice, address: rule.address, target: rule.targetAddress, hasIPv4: setup.hasIPv4, hasIPv6: setup.hasIPv6)
    }

    /// Notes that no rule wants the listener of this index, or that it is gone.
    mutating func setUnclaimed(_ listener: Int, _ value: Bool = true) {
        let bit: UInt64 = 1 << UInt64(listener & 63)
        if value { unclaimed[listener >> 6] |= bit } else { unclaimed[listener >> 6] &= ~bit }
    }

    func isUnclaimed(_ listener: Int) -> Bool { unclaimed[listener >> 6] & 1 << UInt64(listener & 63) != 0 }

    /// Which of the places of a rule a listener of ours is at; nil: at none.
    private func place(of entry: ListenerEntry, _ table: PortTableName, _ index: Int) -> Int? {
        let rule = wanted[table, index]
        guard !rule.scans, rule.isTCP == entry.isTCP, rule.first <= entry.port, entry.port <= rule.last else { return nil }
        // Interfaces of the namespace have no numbers here.
        guard table == .splice || interfaces[index] == entry.interface else { return nil }
        let places = places(table, rule)
        return entry.isPlaced(at: places.first) ? 0 : entry.isPlaced(at: places.second) ? 1 : nil
    }

    /// Where a listener of ours leads by the new rules; nil: none of them wants it.
    mutating func claim(_ entry: ListenerEntry) -> ListenerTarget? {
        let table: PortTableName = entry.isOutbound ? .splice : .host
        for index in 0..<wanted.count(table) {
            let rule = wanted[table, index]
            guard let number = place(of: entry, table, index), !isMarked(table, index, number, entry.port) else { continue }
            let target = ListenerTarget(port: rule.target(of: entry.port), address: rule.targetAddress)
            // Flows of datagrams know where they lead.
            guard entry.isTCP || target == entry.target else { continue }
            noteOpen(table, index, number, entry.port)
            return target
        }
        return nil
    }

    /// Takes a listener from the rule that has claimed it, if that may leave ports out.
    mutating func leaveOut(_ entry: ListenerEntry) -> Bool {
        let table: PortTableName = entry.isOutbound ? .splice : .host
        for index in 0..<wanted.count(table) {
            let rule = wanted[table, index]
            guard rule.isBestEffort, let number = place(of: entry, table, index), isMarked(table, index, number, entry.port) else { continue }
            isOpen[mark(table, index, number, entry.port)] &= ~PortSet.bit(entry.port)
            bestEfforts[PortTables.group(table, rule.isTCP)] -= 1
            return true
        }
        return false
    }

    // MARK: What is missing

    /// The next socket to open, as long as there are `looks`, of which each place takes one; `step` is not `.open` any more behind the last.
    mutating func next(looks: inout Int) -> Candidate? {
        while looks > 0 {
            looks -= 1
            guard index < wanted.count(table) else {
                if table == .splice {
                    step = .follow
                    return nil
                }
                (table, index, port) = (.splice, 0, 0)
                continue
            }
            let rule = wanted[table, index]
            if rule.scans || port > Int(rule.last) {
                (index, port, number) = (index + 1, 0, 0)
                continue
            }
            port = max(port, Int(rule.first))
            let candidate = current(rule)
            advance()
            if let candidate { return candidate }
        }
        return nil
    }

    private func current(_ rule: PortControlRule) -> Candidate? {
        let ephemeral = table == .host ? setup.hostEphemeral : setup.namespaceEphemeral
        let port = UInt16(truncatingIfNeeded: port)
        if rule.isBestEffort && ephemeral.contains(port) || isMarked(table, index, number, port) { return nil }
        if table == .host && interfaces[index] < 0 { return nil }
        let places = places(table, rule)
        let place = number == 0 ? places.first : places.second
        if place == nil && (number == 1 || rule.isBestEffort) { return nil }
        return Candidate(
            table: table, index: index, rule: rule, port: port, place: place, number: number, interface: table == .host ? interfaces[index] : 0)
    }

    private mutating func advance() {
        number += 1
        if number < 2 { return }
        number = 0
        port += 1
    }

    mutating func opened(_ candidate: Candidate) { noteOpen(candidate.table, candidate.index, candidate.number, candidate.port) }

    // MARK: Automatic ports and the end

    /// Calls `allow` for what follows the other side's listeners. False where it returns false.
    func forEachScan(_ allow: (PortTableName, Int32, PortControlRule) -> Bool) -> Bool {
        for table in PortTableName.allCases {
            for index in 0..<wanted.count(table) where wanted[table, index].scans {
                guard allow(table, table == .host ? interfaces[index] : 0, wanted[table, index]) else { return false }
            }
        }
        return true
    }

    /// Calls `exclude` for what has a rule of its own.
    func forEachOwn(_ exclude: (PortTableName, PortControlRule) -> Void) {
        for table in PortTableName.allCases {
            for index in 0..<wanted.count(table) where !wanted[table, index].scans && !wanted[table, index].isBestEffort {
                exclude(table, wanted[table, index])
            }
        }
    }

    /// Brings back the rules from before. Where that is what happens already, something stays lost.
    mutating func fail(_ answer: PortControlAnswer) {
        if failure != nil {
            failure?.outcome = .lost
            return
        }
        failure = answer
        wanted.copy(inForce)
        _ = prepare()
    }

    /// Whether the rules from before are coming back.
    var isReturning: Bool { failure != nil }

    /// Where everything that may be left out was left out: the first table and protocol.
    func unbound() -> PortControlAnswer? {
        for table in PortTableName.allCases {
            for index in 0..<wanted.count(table) {
                let rule = wanted[table, index]
                if table == .host && interfaces[index] < 0 { continue }
                guard rule.isBestEffort, !rule.scans, bestEfforts[PortTables.group(table, rule.isTCP)] == 0 else { continue }
                return PortControlAnswer(.nothingBound, table: table, isTCP: rule.isTCP, rule: index)
            }
        }
        return nil
    }

    mutating func finish() -> PortControlAnswer {
        step = .idle
        inForce.copy(wanted)
        defer { failure = nil }
        return failure ?? PortControlAnswer(.done)
    }
}

extension ListenerEntry {
    fileprivate func isPlaced(at place: ListeningPlaces.Place?) -> Bool {
        guard let place else { return false }
        return place.address == address && place.hasIPv4 == hasIPv4
    }
}
