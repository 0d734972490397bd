internal import Linux

/// One deadline for each of a fixed number of ids, in milliseconds; setting and expiring take constant time.
///
/// Four wheels of 64 slots: the first holds deadlines of the next 64 ms in slots of 1 ms, the second those of the next
/// 4 s in slots of 64 ms, and so on, up to 4.6 hours; a slot of a coarser wheel is dealt out to the finer one when its
/// time comes. Slots are doubly linked lists through the ids.
struct TimerWheel: ~Copyable {
    private struct Node: BitwiseCopyable {
        var due: Int64
        /// Id + 1; 0 ends the list.
        var next: UInt32
        var previous: UInt32
        /// Slot number + 1; 0 while the id has no deadline.
        var slot: UInt16
    }

    /// Of all that is due, this is done before others have their turn; what is left makes the next round begin at once.
    static var mostPerRound: Int { 256 }

    private static var levels: Int { 4 }
    private static var slotsPerLevel: Int { 64 }

    private var nodes: FixedTable<Node>
    private var heads: FixedTable<UInt32>
    private var occupied = InlineArray<4, UInt64>(repeating: 0)
    /// Everything before this millisecond has expired.
    private var current: Int64

    init(capacity: Int, now: Int64) throws(Errno) {
        let nodes = try FixedTable<Node>(count: capacity)
        let heads = try FixedTable<UInt32>(count: TimerWheel.levels * TimerWheel.slotsPerLevel)
        self.nodes = nodes
        self.heads = heads
        current = now
    }

    func deadline(_ id: Int) -> Int64? { nodes[id].slot == 0 ? nil : nodes[id].due }

    /// Sets the deadline of `id`, replacing any that it has.
    mutating func set(_ id: Int, at due: Int64) {
        if nodes[id].slot != 0 {
            if nodes[id].due == due { return }
            unlink(id)
        }
        nodes[id].due = due
        link(id)
    }

    /// Makes sure that `id` expires at `due` or before. Deadlines that only move back cost nothing this way: the owner looks
    /// at its own clock when it is called, and sets the timer again.
    mutating func setNoLater(_ id: Int, than due: Int64) {
        if nodes[id].slot != 0 {
            if nodes[id].due <= due { return }
            unlink(id)
        }
        nodes[id].due = due
        link(id)
    }

    mutating func cancel(_ id: Int) {
        if nodes[id].slot != 0 { unlink(id) }
    }

    /// The next id that is due at `now`, whose deadline is then gone; nil when there is none.
    mutating func expire(at now: Int64) -> Int? {
        while true {
            let slot = Int(truncatingIfNeeded: current & 63)
            if heads[slot] != 0 {
                if current > now { return nil }
                let id = Int(heads[slot]) - 1
                unlink(id)
                return id
            }
            if current >= now { return nil }
            advance(to: now)
        }
    }

    /// When `expire` must be called next at the latest; nil when no deadline is set. It may be earlier than any deadline: then a
    /// coarse slot has to be dealt out.
    var nextWakeUp: Int64? {
        var result: Int64?
        for level in 0..<TimerWheel.levels where occupied[level] != 0 {
            let shift = Int64(level * 6)
            let position = Int(truncatingIfNeeded: (current >> shift) & 63)
            // Rotate so that the current slot is bit 0. On the coarser wheels it was dealt out already, and holds what is a whole turn away.
            let from = level == 0 ? position : (position + 1) & 63
            let bits = occupied[level]
            let rotated = from == 0 ? bits : bits >> UInt64(from) | bits << UInt64(64 - from)
            let steps = Int64(rotated.trailingZeroBitCount) + (level == 0 ? 0 : 1)
            let due = ((current >> shift) + steps) << shift
            if result == nil || due < result! { result = due }
        }
        return result
    }

    /// Moves on to the next occupied millisecond, or to `now` if that comes first, dealing out the coarser slots on the way.
    private mutating func advance(to now: Int64) {
        guard let wake = nextWakeUp else {
            current = now
            return
        }
        current = max(current, min(wake, now))
        for level in 1..<TimerWheel.levels {
            let shift = Int64(level * 6)
            if current & ((1 << shift) - 1) != 0 { break }
            deal(level: level, position: Int(truncatingIfNeeded: (current >> shift) & 63))
        }
    }

    private mutating func deal(level: Int, position: Int) {
        let slot = level * TimerWheel.slotsPerLevel + position
        var entry = heads[slot]
        heads[slot] = 0
        occupied[level] &= ~(1 << UInt64(position))
        while entry != 0 {
            let id = Int(entry) - 1
            entry = nodes[id].next
            link(id)
        }
    }

    private mutating func link(_ id: Int) {
        let due = max(nodes[id].due, current)
        let distance = due - current
        var level = 0
        while level < TimerWheel.levels - 1 && distance >= 1 << Int64((level + 1) * 6) { level += 1 }
        let shift = Int64(level * 6)
        let limit = current + (1 << Int64(TimerWheel.levels * 6)) - (1 << shift)
        let position = Int(truncatingIfNeeded: (min(due, limit) >> shift) & 63)
        let slot = level * TimerWheel.slotsPerLevel + position
        let head = heads[slot]
        nodes[id].next = head
        nodes[id].previous = 0
        nodes[id].slot = UInt16(slot + 1)
        if head != 0 { nodes[Int(head) - 1].previous = UInt32(id + 1) }
        heads[slot] = UInt32(id + 1)
        occupied[level] |= 1 << UInt64(position)
    }

    private mutating func unlink(_ id: Int) {
        let node = nodes[id]
        let slot = Int(node.slot) - 1
        if node.previous != 0 { nodes[Int(node.previous) - 1].next = node.next } else { heads[slot] = node.next }
        if node.next != 0 { nodes[Int(node.next) - 1].previous = node.previous }
        nodes[id].slot = 0
        if heads[slot] == 0 {
            occupied[slot / TimerWheel.slotsPerLevel] &= ~(1 << UInt64(slot % TimerWheel.slotsPerLevel))
        }
    }
}
