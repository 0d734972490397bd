// Splice: what needs no detour over the guest's interface. A connection whose two ends are on this machine, one in the
// host's network and one in the guest's namespace, is two sockets, and what one has received the other sends:
//
//      client ──> near ══splice══> pipe ══splice══> far ──> server         the same pages all the way: nothing is copied
//      client <── near <══splice══ pipe <══splice══ far <── server
//
//      inbound:   near is accepted on the host's loopback, far is a socket of the namespace
//      outbound:  near is accepted on the namespace's loopback, far is a socket of the host
//
//   SocketSupply     sockets of the namespace, where only a helper can make them
//   PipePool         pipes: a direction holds one only while its receiver takes nothing
//   SpliceFlow       one connection, and all of them
//   SpliceTransfer   the two directions: data, half-close, the end
//   SpliceDatagrams  UDP: batches between a listener and one socket per client
//   Bypass           who goes this way, and where to
//
// Both sockets are watched edge-triggered in all directions for their whole life: no call changes what is watched, and a socket that
// has data for a receiver that takes none, or room for a sender that has none, wakes nobody (lesson 29). What an edge has told is kept
// in the flow until a call says EAGAIN, or has provably taken everything.

internal import Linux
internal import Wire

/// One direction: from one socket to the other.
struct SpliceDirection: BitwiseCopyable {
    struct Flags: OptionSet, BitwiseCopyable {
        let rawValue: UInt8
        /// The source may have something to read.
        static var readable: Flags { Flags(rawValue: 1 << 0) }
        /// The receiver takes nothing until the next edge.
        static var blocked: Flags { Flags(rawValue: 1 << 1) }
        /// The kernel has said that the source's peer sends no more: what is there is all.
        static var ending: Flags { Flags(rawValue: 1 << 2) }
        /// All of it has been read.
        static var ended: Flags { Flags(rawValue: 1 << 3) }
        /// The receiver knows.
        static var told: Flags { Flags(rawValue: 1 << 4) }
        /// The source's peer has sent urgent data: a call that moves less than it could, or nothing, need not have met the end of what is there.
        static var urgent: Flags { Flags(rawValue: 1 << 5) }
    }

    var flags: Flags = []
    /// Its pipe's number + 1; 0: none.
    var pipe: UInt32 = 0
    /// Bytes in the pipe.
    var held: UInt32 = 0
}

struct SpliceFlow: BitwiseCopyable {
    let near: Descriptor
    let far: Descriptor
    /// The client is in the namespace.
    let isOutbound: Bool
    /// The far socket has its connection.
    var isConnected = false
    /// From near to far.
    var forth = SpliceDirection()
    /// From far to near.
    var back = SpliceDirection()
    /// Waits in the list of flows that have more to do.
    var isQueued = false
    /// Index + 1 of the next in that list, or of the next free entry.
    fileprivate(set) var next: UInt32 = 0
    fileprivate(set) var generation: UInt16 = 0
    fileprivate(set) var isUsed = true

    init(near: Descriptor, far: Descriptor, isOutbound: Bool = false) {
        self.near = near
        self.far = far
        self.isOutbound = isOutbound
    }
}

/// All spliced connections, by index, and those of them that have more to do than their turn allowed.
struct SpliceTable: ~Copyable {
    private var flows: FixedTable<SpliceFlow>
    private var firstFree: UInt32 = 0
    private var untouched = 0
    private(set) var count = 0
    /// Those of clients in the namespace.
    private(set) var outboundCount = 0
    let capacity: Int
    private var firstQueued: UInt32 = 0
    private var lastQueued: UInt32 = 0

    init(capacity: Int) throws(Errno) {
        flows = try FixedTable(count: capacity)
        self.capacity = capacity
    }

    /// A flow that `isCurrent`; anything else traps.
    subscript(index: Int) -> SpliceFlow {
        @inline(__always) _read {
            precondition(flows[index].isUsed)
            yield flows[index]
        }
        @inline(__always) _modify {
            precondition(flows[index].isUsed)
            yield &flows[index]
        }
    }

    func isCurrent(_ index: Int, generation: UInt16) -> Bool {
        index < untouched && flows[index].isUsed && flows[index].generation == generation
    }

    var isFull: Bool { firstFree == 0 && untouched == capacity }

    /// nil when the table is full.
    mutating func insert(_ flow: SpliceFlow) -> Int? {
        var flow = flow
        let index: Int
        if firstFree != 0 {
            index = Int(firstFree) - 1
            firstFree = flows[index].next
        } else {
            guard untouched < capacity else { return nil }
            index = untouched
            untouched += 1
        }
        flow.generation = flows[index].generation &+ 1
        flows[index] = flow
        count += 1
        if flow.isOutbound { outboundCount += 1 }
        return index
    }

    mutating func remove(_ index: Int) {
        if flows[index].isQueued { unqueue(index) }
        flows[index].isUsed = false
        flows[index].next = firstFree
        firstFree = UInt32(truncatingIfNeeded: index + 1)
        count -= 1
        if flows[index].isOutbound { outboundCount -= 1 }
    }

    // MARK: More to do

    var hasQueued: Bool { firstQueued != 0 }

    mutating func queue(_ index: Int) {
        if flows[index].isQueued { return }
        flows[index].isQueued = true
        flows[index].next = 0
        let entry = UInt32(truncatingIfNeeded: index + 1)
        if lastQueued == 0 { firstQueued = entry } else { flows[Int(lastQueued) - 1].next = entry }
        lastQueued = entry
    }

    /// The last of those that wait now.
    var lastQueuedIndex: Int? { lastQueued == 0 ? nil : Int(lastQueued) - 1 }

    mutating func nextQueued() -> Int? {
        guard firstQueued != 0 else { return nil }
        let index = Int(firstQueued) - 1
        unqueue(index)
        return index
    }

    /// Usually the first one; the list is short.
    private mutating func unqueue(_ index: Int) {
        let entry = UInt32(truncatingIfNeeded: index + 1)
        let following = flows[index].next
        flows[index].isQueued = false
        var before: UInt32 = 0
        if firstQueued == entry {
            firstQueued = following
        } else {
            before = firstQueued
            while before != 0, flows[Int(before) - 1].next != entry { before = flows[Int(before) - 1].next }
            if before == 0 { return }
            flows[Int(before) - 1].next = following
        }
        if lastQueued == entry { lastQueued = before }
    }
}
