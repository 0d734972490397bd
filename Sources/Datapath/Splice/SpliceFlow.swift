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
    enum Waits: UInt8, BitwiseCopyable { case not, ready, starved }

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
    /// Which list of those that wait it is in.
    fileprivate(set) var waits = Waits.not
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

/// Flows in the order in which they wait, linked by `next`: index + 1 of each; 0: none.
private struct SpliceQueue: BitwiseCopyable {
    var first: UInt32 = 0
    var last: UInt32 = 0
}

/// All spliced connections, by index, and those of them that wait: who had more to do than a turn allows, for the next one, and who found no pipe, for another try.
struct SpliceTable: ~Copyable {
    private var flows: FixedTable<SpliceFlow>
    private var firstFree: UInt32 = 0
    private var untouched = 0
    private(set) var count = 0
    /// Those of clients in the namespace.
    private(set) var outboundCount = 0
    let capacity: Int
    private var ready = SpliceQueue()
    private var starved = SpliceQueue()

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
        if flows[index].waits == .ready { SpliceTable.remove(index, from: &ready, &flows) }
        if flows[index].waits == .starved { SpliceTable.remove(index, from: &starved, &flows) }
        flows[index].isUsed = false
        flows[index].next = firstFree
        firstFree = UInt32(truncatingIfNeeded: index + 1)
        count -= 1
        if flows[index].isOutbound { outboundCount -= 1 }
    }

    // MARK: Who waits

    var hasReady: Bool { ready.first != 0 }
    /// The last of those that are ready now.
    var lastReady: Int? { ready.last == 0 ? nil : Int(ready.last) - 1 }

    /// Who is starved, but has something to do the other way, is ready.
    mutating func queueReady(_ index: Int) {
        if flows[index].waits == .starved { SpliceTable.remove(index, from: &starved, &flows) }
        if flows[index].waits == .not { SpliceTable.append(index, to: &ready, .ready, &flows) }
    }

    mutating func queueStarved(_ index: Int) {
        if flows[index].waits == .not { SpliceTable.append(index, to: &starved, .starved, &flows) }
    }

    mutating func nextReady() -> Int? { SpliceTable.takeFirst(of: &ready, &flows) }
    mutating func nextStarved() -> Int? { SpliceTable.takeFirst(of: &starved, &flows) }

    private static func append(_ index: Int, to queue: inout SpliceQueue, _ waits: SpliceFlow.Waits, _ flows: inout FixedTable<SpliceFlow>) {
        flows[index].waits = waits
        flows[index].next = 0
        let entry = UInt32(truncatingIfNeeded: index + 1)
        if queue.last == 0 { queue.first = entry } else { flows[Int(queue.last) - 1].next = entry }
        queue.last = entry
    }

    private static func takeFirst(of queue: inout SpliceQueue, _ flows: inout FixedTable<SpliceFlow>) -> Int? {
        guard queue.first != 0 else { return nil }
        let index = Int(queue.first) - 1
        remove(index, from: &queue, &flows)
        return index
    }

    /// Usually the first one. Others are looked for, in a list that is short unless pipes are lacking.
    private static func remove(_ index: Int, from queue: inout SpliceQueue, _ flows: inout FixedTable<SpliceFlow>) {
        let entry = UInt32(truncatingIfNeeded: index + 1)
        let following = flows[index].next
        flows[index].waits = .not
        var before: UInt32 = 0
        if queue.first == entry {
            queue.first = following
        } else {
            before = queue.first
            while before != 0, flows[Int(before) - 1].next != entry { before = flows[Int(before) - 1].next }
            if before == 0 { return }
            flows[Int(before) - 1].next = following
        }
        if queue.last == entry { queue.last = before }
    }
}
