// Flow: what is known of each conversation, and where to find it.
//
//   FlowTable           from (guest endpoint, remote endpoint) to an entry with a steady index
//   TimerWheel          when to look at an entry again
//   AddressTranslation  which address means what on the other side, decided when a flow is created
//   GuestPort           the one way out to the guest, and the counters of everything
//   GuestIdentity       what the guest is called; GuestStations: who else is there, and where; GuestMTU: how much it takes
//   ErrorLimit          how many ICMP errors take it
//
// A table has a fixed capacity and lies in anonymous memory, so that entries never used cost nothing. The
// hash is keyed at start (SipHash-2-4), since the guest chooses what is hashed.

internal import Linux
internal import Wire

/// What a flow is known by: both endpoints as the guest sees them.
struct FlowKey: BitwiseCopyable, Equatable {
    var guest: IPAddress
    var remote: IPAddress
    var guestPort: UInt16
    var remotePort: UInt16

    @_noAllocation @_noLocks
    init(guest: IPAddress, guestPort: UInt16, remote: IPAddress, remotePort: UInt16) {
        self.guest = guest
        self.remote = remote
        self.guestPort = guestPort
        self.remotePort = remotePort
    }

    var guestEndpoint: Endpoint { Endpoint(guest, guestPort) }
    var remoteEndpoint: Endpoint { Endpoint(remote, remotePort) }

    @_noAllocation @_noLocks
    func hash(_ seed: SipHash) -> UInt64 {
        var hash = seed
        hash.combine(guest)
        hash.combine(remote)
        hash.combine(UInt64(guestPort) << 16 | UInt64(remotePort))
        return hash.finalize()
    }
}

protocol FlowEntry: BitwiseCopyable {
    var key: FlowKey { get }
}

/// Flows of one protocol. An index stays valid until `remove`; its generation tells a later user of the same index apart.
struct FlowTable<Flow: FlowEntry>: ~Copyable {
    private struct Slot: BitwiseCopyable {
        var hash: UInt32
        /// Index + 1 of the next free slot while this one is free.
        var nextFree: UInt32
        var generation: UInt16
        var isUsed: Bool
    }

    let capacity: Int
    private(set) var count = 0
    private var flows: FixedTable<Flow>
    private var slots: FixedTable<Slot>
    /// Index + 1 of a flow, 0 when empty; linear probing, at most half full.
    private var buckets: FixedTable<UInt32>
    private let mask: Int
    /// Index + 1 of a free slot that was used before.
    private var firstFree: UInt32 = 0
    /// Slots from here on were never used.
    private var untouched = 0
    private let seed: SipHash
    private var lastFound = 0

    init(capacity: Int, seed: SipHash) throws(Errno) {
        var size = 2
        while size < capacity * 2 { size *= 2 }
        let flows = try FixedTable<Flow>(count: capacity)
        let slots = try FixedTable<Slot>(count: capacity)
        let buckets = try FixedTable<UInt32>(count: size)
        self.flows = flows
        self.slots = slots
        self.buckets = buckets
        self.capacity = capacity
        self.seed = seed
        mask = size - 1
    }

    /// A flow that `isCurrent`; anything else traps.
    subscript(index: Int) -> Flow {
        @inline(__always) _read {
            precondition(slots[index].isUsed)
            yield flows[index]
        }
        @inline(__always) _modify {
            precondition(slots[index].isUsed)
            yield &flows[index]
        }
    }

    func generation(of index: Int) -> UInt16 { slots[index].generation }

    /// Whether `index` holds the flow that it held when it had this generation.
    func isCurrent(_ index: Int, generation: UInt16) -> Bool {
        index >= 0 && index < capacity && slots[index].isUsed && slots[index].generation == generation
    }

    /// Every index below this may be in use.
    var highWater: Int { untouched }
    func isUsed(_ index: Int) -> Bool { slots[index].isUsed }

    func find(_ key: FlowKey) -> Int? {
        let hash = key.hash(seed)
        var bucket = Int(truncatingIfNeeded: hash) & mask
        while true {
            let entry = buckets[bucket]
            if entry == 0 { return nil }
            let index = Int(entry) - 1
            if slots[index].hash == UInt32(truncatingIfNeeded: hash), flows[index].key == key { return index }
            bucket = (bucket + 1) & mask
        }
    }

    /// As `find`, and quicker for the flow that was found last: frames come in runs.
    mutating func findInRun(_ key: FlowKey) -> Int? {
        if slots[lastFound].isUsed, flows[lastFound].key == key { return lastFound }
        guard let index = find(key) else { return nil }
        lastFound = index
        return index
    }

    /// nil when the table is full. The key must not be in the table.
    mutating func insert(_ flow: Flow) -> Int? {
        let index: Int
        if firstFree != 0 {
            index = Int(firstFree) - 1
            firstFree = slots[index].nextFree
        } else {
            guard untouched < capacity else { return nil }
            index = untouched
            untouched += 1
        }
        let hash = flow.key.hash(seed)
        slots[index].hash = UInt32(truncatingIfNeeded: hash)
        slots[index].generation &+= 1
        slots[index].isUsed = true
        flows[index] = flow
        var bucket = Int(truncatingIfNeeded: hash) & mask
        while buckets[bucket] != 0 { bucket = (bucket + 1) & mask }
        buckets[bucket] = UInt32(index + 1)
        count += 1
        return index
    }

    mutating func remove(_ index: Int) {
        precondition(slots[index].isUsed)
        var hole = Int(slots[index].hash) & mask
        while buckets[hole] != UInt32(index + 1) { hole = (hole + 1) & mask }
        // Close the gap, so that no probe stops early: move back each later entry that may stand in the hole.
        var next = (hole + 1) & mask
        while buckets[next] != 0 {
            let home = Int(slots[Int(buckets[next]) - 1].hash) & mask
            if (next &- home) & mask >= (next &- hole) & mask {
                buckets[hole] = buckets[next]
                hole = next
            }
            next = (next + 1) & mask
        }
        buckets[hole] = 0
        slots[index].isUsed = false
        slots[index].nextFree = firstFree
        firstFree = UInt32(index + 1)
        count -= 1
    }
}
