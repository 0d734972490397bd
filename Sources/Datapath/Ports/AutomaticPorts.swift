internal import Linux
internal import Wire

/// What one `auto` of an option asks for: where to listen, on ports that somebody else listens on.
struct AutomaticGroup: BitwiseCopyable {
    var isTCP: Bool
    /// nil: any address, or the namespace's loopback.
    var address: IPAddress?
    /// Index of the only interface to hear; 0: any.
    var interface: Int32 = 0
    var hasIPv4, hasIPv6: Bool

    func serves(isIPv4: Bool) -> Bool {
        guard isIPv4 ? hasIPv4 : hasIPv6 else { return false }
        guard let address else { return true }
        return address.isIPv4 == isIPv4
    }
}

/// One thing to do so that listeners follow a scan.
enum PortChange: Equatable {
    case open(group: Int, port: UInt16, isIPv4: Bool)
    /// An index of the listener table.
    case close(listener: Int)
}

/// The automatic ports of one direction: what is open, and what is to be opened or closed. Each family has sockets of its own, since a port may come
/// and go in one of them only.
///
/// A round is `begin`, then `next` until nil; an `.open` is answered by `opened` or `failed`, or comes again in the next round.
struct AutomaticPorts: ~Copyable {
    /// Upstream's limit of rules is not far above.
    static var mostGroups: Int { 128 }

    private(set) var groupCount = 0
    /// Whether any port is asked for.
    private(set) var hasRules = false
    private var groups: FixedTable<AutomaticGroup>
    /// Per group, the ports that its option names.
    private var allowed: FixedTable<UInt64>
    /// Per slot, which is a group's half of one family.
    private var isOpen: FixedTable<UInt64>
    private var hasFailed: FixedTable<UInt64>
    /// Index + 1 of the listener, per slot and port.
    private var listeners: FixedTable<UInt32>
    /// Ports that senders of datagrams are given: a socket bound to one of them is a client more likely than a server.
    private var ephemeral: PortSet
    /// Who listens at any of these is reached.
    private let reaches: InlineArray<2, Reach>

    // Where the round is, and what is left to do there.
    private var slot = 0
    private var word = -1
    private var toClose: UInt64 = 0
    private var toOpen: UInt64 = 0
    private var current: (slot: Int, port: UInt16) = (0, 0)

    init(groupLimit: Int, ephemeral range: ClosedRange<UInt16>, reaches: Reach, or other: Reach? = nil) throws(Errno) {
        let limit = min(groupLimit, AutomaticPorts.mostGroups)
        let groups = try FixedTable<AutomaticGroup>(count: limit)
        let allowed = try FixedTable<UInt64>(count: limit * PortSet.wordCount)
        let isOpen = try FixedTable<UInt64>(count: limit * 2 * PortSet.wordCount)
        let hasFailed = try FixedTable<UInt64>(count: limit * 2 * PortSet.wordCount)
        let listeners = try FixedTable<UInt32>(count: limit * 2 << 16)
        var ephemeral = try PortSet()
        ephemeral.insert(range)
        self.groups = groups
        self.allowed = allowed
        self.isOpen = isOpen
        self.hasFailed = hasFailed
        self.listeners = listeners
        self.ephemeral = ephemeral
        self.reaches = [reaches, other ?? reaches]
        slot = limit * 2
    }

    subscript(group: Int) -> AutomaticGroup { groups[group] }

    /// Adds ports to the group that is like this one, or makes it. False: there are too many.
    mutating func allow(_ ports: ClosedRange<UInt16>, in group: AutomaticGroup) -> Bool {
        guard let index = place(of: group) else { return false }
        groups[index] = group
        groupCount = max(groupCount, index + 1)
        hasRules = true
        for port in ports { allowed[index * PortSet.wordCount + Int(port >> 6)] |= PortSet.bit(port) }
        return true
    }

    /// Its own, or the first that nothing belongs to any more.
    private func place(of group: AutomaticGroup) -> Int? {
        for index in 0..<groupCount where groups[index].isLike(group) { return index }
        for index in 0..<groupCount where isEmpty(index) { return index }
        return groupCount < groups.count ? groupCount : nil
    }

    private func isEmpty(_ group: Int) -> Bool {
        for word in 0..<PortSet.wordCount {
            let (ipv4, ipv6) = (2 * group * PortSet.wordCount + word, (2 * group + 1) * PortSet.wordCount + word)
            if allowed[group * PortSet.wordCount + word] | isOpen[ipv4] | isOpen[ipv6] != 0 { return false }
        }
        return true
    }

    /// Nothing is asked for any more: the next round closes what is not allowed anew until then.
    mutating func forgetRules() {
        for index in 0..<groupCount * PortSet.wordCount where allowed[index] != 0 { allowed[index] = 0 }
        hasRules = false
    }

    /// Leaves out what has a rule of its own, wherever both want the same socket.
    mutating func exclude(_ ports: ClosedRange<UInt16>, isTCP: Bool, address: IPAddress?) {
        for index in 0..<groupCount where groups[index].isTCP == isTCP {
            guard AutomaticPorts.meet(groups[index].address, address) else { continue }
            for port in ports { allowed[index * PortSet.wordCount + Int(port >> 6)] &= ~PortSet.bit(port) }
        }
    }

    /// Whether sockets at both addresses cannot have the same port; nil: at all addresses. Those of IPv6 may serve IPv4, too.
    private static func meet(_ a: IPAddress?, _ b: IPAddress?) -> Bool {
        guard let a, let b else { return true }
        return a == b || a.isAny && (a.isIPv4 == b.isIPv4 || !a.isIPv4) || b.isAny && (a.isIPv4 == b.isIPv4 || !b.isIPv4)
    }

    mutating func begin() {
        slot = 0
        word = -1
        toClose = 0
        toOpen = 0
    }

    /// The next thing to do. `own` is where we listen ourselves on the side that was scanned.
    mutating func next(_ scan: borrowing PortScan, own: borrowing OwnPorts) -> PortChange? {
        while true {
            if toClose != 0 {
                let bit = toClose & (~toClose &+ 1)
                toClose &= ~bit
                isOpen[slot * PortSet.wordCount + word] &= ~bit
                let place = slot << 16 + word << 6 + bit.trailingZeroBitCount
                let listener = Int(listeners[place]) - 1
                listeners[place] = 0
                if listener >= 0 { return .close(listener: listener) }
                continue
            }
            if toOpen != 0 {
                let bit = toOpen & (~toOpen &+ 1)
                toOpen &= ~bit
                current = (slot, UInt16(truncatingIfNeeded: word << 6 + bit.trailingZeroBitCount))
                return .open(group: slot >> 1, port: current.port, isIPv4: slot & 1 == 0)
            }
            word += 1
            if word == PortSet.wordCount {
                word = 0
                slot += 1
            }
            if slot >= groupCount * 2 { return nil }
            let wanted = wanted(scan, own)
            let index = slot * PortSet.wordCount + word
            toClose = isOpen[index] & ~wanted
            toOpen = wanted & ~isOpen[index]
            if hasFailed[index] & ~wanted != 0 { hasFailed[index] &= wanted }
        }
    }

    mutating func opened(listener: Int) {
        isOpen[currentIndex] |= PortSet.bit(current.port)
        hasFailed[currentIndex] &= ~PortSet.bit(current.port)
        listeners[current.slot << 16 + Int(current.port)] = UInt32(truncatingIfNeeded: listener + 1)
    }

    /// A listener is gone that was not closed because of a scan: the next one opens it again if it is still wanted.
    mutating func forget(listener: Int, port: UInt16) {
        for slot in 0..<(groupCount * 2) where listeners[slot << 16 + Int(port)] == UInt32(truncatingIfNeeded: listener + 1) {
            listeners[slot << 16 + Int(port)] = 0
            isOpen[slot * PortSet.wordCount + Int(port >> 6)] &= ~PortSet.bit(port)
        }
    }

    /// Whether this is the first time in a row.
    mutating func failed() -> Bool {
        let isNew = hasFailed[currentIndex] & PortSet.bit(current.port) == 0
        hasFailed[currentIndex] |= PortSet.bit(current.port)
        return isNew
    }

    private var currentIndex: Int { current.slot * PortSet.wordCount + Int(current.port >> 6) }

    /// One word of ports that should be open.
    private func wanted(_ scan: borrowing PortScan, _ own: borrowing OwnPorts) -> UInt64 {
        let group = groups[slot >> 1]
        let isIPv4 = slot & 1 == 0
        guard group.serves(isIPv4: isIPv4) else { return 0 }
        let allowed = allowed[(slot >> 1) * PortSet.wordCount + word]
        if allowed == 0 { return 0 }
        let tcp = listened(scan, isTCP: true, isIPv4: isIPv4) & ~own.word(word, isTCP: true)
        if group.isTCP { return tcp & allowed }
        // Programs such as iperf3 agree by TCP to use UDP on the same port, and bind it only then.
        let udp = listened(scan, isTCP: false, isIPv4: isIPv4) & ~ephemeral.word(word)
        return (udp | tcp) & ~own.word(word, isTCP: false) & allowed
    }

    private func listened(_ scan: borrowing PortScan, isTCP: Bool, isIPv4: Bool) -> UInt64 {
        scan.word(word, isTCP: isTCP, isIPv4: isIPv4, reaches[0]) | scan.word(word, isTCP: isTCP, isIPv4: isIPv4, reaches[1])
    }
}

extension AutomaticGroup {
    fileprivate func isLike(_ other: AutomaticGroup) -> Bool {
        isTCP == other.isTCP && address == other.address && interface == other.interface
    }
}
