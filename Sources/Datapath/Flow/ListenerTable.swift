internal import Linux
internal import Wire

/// Where on the guest's side a listener leads.
struct ListenerTarget: BitwiseCopyable {
    var port: UInt16
    /// nil: the guest, whatever its address.
    var address: IPAddress?
}

struct ListenerEntry: BitwiseCopyable {
    let socket: Descriptor
    let isTCP: Bool
    let port: UInt16
    let target: ListenerTarget
    /// Not watched for now.
    fileprivate(set) var isPaused = false
    /// Index + 1 of the next paused one; 0 ends the list.
    fileprivate var nextPaused: UInt32 = 0
}

/// The sockets of forwarded ports. Their number is fixed after start.
///
/// A listener that cannot accept, for lack of descriptors or memory, would wake us for ever: it is taken out of what is watched, and put
/// back after a while. What waits in its queue is not lost.
struct ListenerTable: ~Copyable {
    /// Upstream's limit: all ports five times.
    static var capacity: Int { 5 << 16 }

    private var entries: FixedTable<ListenerEntry>
    private(set) var count = 0
    private var firstPaused: UInt32 = 0

    init() throws(Errno) { entries = try FixedTable(count: ListenerTable.capacity) }

    subscript(index: Int) -> ListenerEntry { entries[index] }

    func isCurrent(_ index: Int, generation: UInt16) -> Bool { index < count && generation == 0 }

    private static func tag(_ index: Int) -> UInt64 { EventTag(.listener, index: index).bits }

    mutating func add(_ socket: Descriptor, isTCP: Bool, port: UInt16, _ target: ListenerTarget, to epoll: Epoll) throws(Errno) {
        guard count < ListenerTable.capacity else { throw Errno(28) }  // ENOSPC
        try epoll.add(socket, .input, tag: ListenerTable.tag(count))
        entries[count] = ListenerEntry(socket: socket, isTCP: isTCP, port: port, target: target)
        count += 1
    }

    mutating func pause(_ index: Int, in epoll: Epoll) {
        if entries[index].isPaused { return }
        try? epoll.modify(entries[index].socket, [], tag: ListenerTable.tag(index))
        entries[index].isPaused = true
        entries[index].nextPaused = firstPaused
        firstPaused = UInt32(truncatingIfNeeded: index + 1)
    }

    mutating func resumeAll(in epoll: Epoll) {
        while firstPaused != 0 {
            let index = Int(firstPaused) - 1
            firstPaused = entries[index].nextPaused
            entries[index].isPaused = false
            // This allocates nothing in the kernel, so it cannot fail for lack of anything.
            try? epoll.modify(entries[index].socket, .input, tag: ListenerTable.tag(index))
        }
    }
}
