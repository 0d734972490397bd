internal import Linux
internal import Wire

/// Where on the guest's side a listener leads.
struct ListenerTarget: BitwiseCopyable, Equatable {
    var port: UInt16
    /// nil: the guest, whatever its address.
    var address: IPAddress?
}

/// There may be a hundred thousand of them: large fields come first, so that no room is lost between.
struct ListenerEntry: BitwiseCopyable {
    /// What it is bound to.
    let address: IPAddress
    /// `::` for none.
    private var targetAddress: IPAddress
    let socket: Descriptor
    /// Index + 1 of the next paused one; 0 ends the list. For a free entry: of the next free one.
    fileprivate var next: UInt32 = 0
    /// Index of the only interface to hear; 0: any.
    let interface: Int32
    let port: UInt16
    private var targetPort: UInt16
    fileprivate(set) var generation: UInt16 = 0
    let isTCP: Bool
    /// In the guest's namespace, leading to the host.
    let isOutbound: Bool
    /// Clients of IPv4 come by it.
    let hasIPv4: Bool
    /// Follows who listens on the other side.
    let isAutomatic: Bool
    /// Not watched for now.
    fileprivate(set) var isPaused = false
    fileprivate(set) var isUsed = true

    init(
        _ socket: Descriptor, isTCP: Bool, isOutbound: Bool, address: IPAddress, port: UInt16, _ target: ListenerTarget, interface: Int32 = 0,
        hasIPv4: Bool? = nil, isAutomatic: Bool = false
    ) {
        self.socket = socket
        self.interface = interface
        self.hasIPv4 = hasIPv4 ?? address.isIPv4
        self.isAutomatic = isAutomatic
        self.isTCP = isTCP
        self.isOutbound = isOutbound
        self.address = address
        self.port = port
        targetAddress = target.address ?? IPAddress(IPv6Address.any)
        targetPort = target.port
    }

    /// Clients of IPv6 come by it.
    var hasIPv6: Bool { !address.isIPv4 }

    var target: ListenerTarget {
        get { ListenerTarget(port: targetPort, address: targetAddress == IPAddress(IPv6Address.any) ? nil : targetAddress) }
        set {
            targetPort = newValue.port
            targetAddress = newValue.address ?? IPAddress(IPv6Address.any)
        }
    }
}

/// The sockets of forwarded ports.
///
/// A listener that cannot accept, for lack of descriptors or memory, would wake us for ever: it is taken out of what is watched, and put
/// back after a while. What waits in its queue is not lost.
struct ListenerTable: ~Copyable {
    /// Upstream's limit: all ports five times.
    static var capacity: Int { 5 << 16 }

    private var entries: FixedTable<ListenerEntry>
    /// Entries from here on were never used.
    private(set) var untouched = 0
    private var firstFree: UInt32 = 0
    private var firstPaused: UInt32 = 0
    private(set) var count = 0
    private(set) var automaticCount = 0
    /// The ports of those on the host, and of those in the namespace.
    private(set) var ownOnHost: OwnPorts
    private(set) var ownInNamespace: OwnPorts

    init() throws(Errno) {
        let entries = try FixedTable<ListenerEntry>(count: ListenerTable.capacity)
        let ownOnHost = try OwnPorts()
        let ownInNamespace = try OwnPorts()
        self.entries = entries
        self.ownOnHost = ownOnHost
        self.ownInNamespace = ownInNamespace
    }

    subscript(index: Int) -> ListenerEntry { entries[index] }

    func isCurrent(_ index: Int, generation: UInt16) -> Bool {
        index < untouched && entries[index].isUsed && entries[index].generation == generation
    }

    private func tag(_ index: Int) -> UInt64 { EventTag(.listener, index: index, generation: entries[index].generation).bits }

    /// The entry's index, which is its own until `remove`. The socket is ours from here on, unless this throws. ENOSPC: too many.
    mutating func add(_ entry: ListenerEntry, to epoll: Epoll) throws(Errno) -> Int {
        let index = firstFree != 0 ? Int(firstFree) - 1 : untouched
        guard index < ListenerTable.capacity else { throw Errno(28) }  // ENOSPC
        let free = entries[index].next
        var entry = entry
        entry.generation = entries[index].generation &+ 1
        try epoll.add(entry.socket, .input, tag: EventTag(.listener, index: index, generation: entry.generation).bits)
        if firstFree != 0 { firstFree = free } else { untouched += 1 }
        entries[index] = entry
        count += 1
        if entry.isAutomatic { automaticCount += 1 }
        if entry.isOutbound { ownInNamespace.add(entry.port, isTCP: entry.isTCP) } else { ownOnHost.add(entry.port, isTCP: entry.isTCP) }
        return index
    }

    /// Leads those who come from now on elsewhere.
    mutating func redirect(_ index: Int, to target: ListenerTarget) { entries[index].target = target }

    /// Closes a listener. What waits in its queue is refused by the kernel; connections that were accepted stay.
    mutating func remove(_ index: Int) {
        guard index >= 0, index < untouched, entries[index].isUsed else { return }
        if entries[index].isPaused { unpause(index) }
        let entry = entries[index]
        entry.socket.close()
        if entry.isOutbound { ownInNamespace.remove(entry.port, isTCP: entry.isTCP) } else { ownOnHost.remove(entry.port, isTCP: entry.isTCP) }
        entries[index].isUsed = false
        entries[index].next = firstFree
        firstFree = UInt32(truncatingIfNeeded: index + 1)
        count -= 1
        if entry.isAutomatic { automaticCount -= 1 }
    }

    mutating func pause(_ index: Int, in epoll: Epoll) {
        if entries[index].isPaused { return }
        try? epoll.modify(entries[index].socket, [], tag: tag(index))
        entries[index].isPaused = true
        entries[index].next = firstPaused
        firstPaused = UInt32(truncatingIfNeeded: index + 1)
    }

    /// Watched no more, as there is nothing to come: an end is told whatever one asks for. The socket stays until `remove`.
    mutating func retire(_ index: Int, in epoll: Epoll) {
        if entries[index].isPaused { unpause(index) }
        try? epoll.remove(entries[index].socket)
    }

    mutating func resumeAll(in epoll: Epoll) {
        while firstPaused != 0 {
            let index = Int(firstPaused) - 1
            firstPaused = entries[index].next
            entries[index].isPaused = false
            // This allocates nothing in the kernel, so it cannot fail for lack of anything.
            try? epoll.modify(entries[index].socket, .input, tag: tag(index))
        }
    }

    /// Takes one out of the list of the paused, which is short and rarely there.
    private mutating func unpause(_ index: Int) {
        entries[index].isPaused = false
        let entry = UInt32(truncatingIfNeeded: index + 1)
        if firstPaused == entry {
            firstPaused = entries[index].next
            return
        }
        var before = firstPaused
        while before != 0, entries[Int(before) - 1].next != entry { before = entries[Int(before) - 1].next }
        if before != 0 { entries[Int(before) - 1].next = entries[index].next }
    }
}
