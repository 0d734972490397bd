internal import Linux
internal import Wire

// Packets that the guest has cut to its own link's MTU: datagrams beyond 1472 bytes of a guest that stays at 1500. Sockets take whole datagrams only, so the
// parts are put together here (RFC 791, section 3.2; RFC 8200, section 4.5):
//
//      fragment ──> its packet, by addresses, identification and protocol ──> the part's place in that packet's slot
//                   none: a free slot, or that of the packet that is the oldest
//      all there ──> UDP and echo requests go on as any other does (`Forwarder+Fragments`)
//
// There are few slots, since parts follow each other closely, and a guest that leaves holes only gives away its own.

/// What all parts of a packet have in common.
struct FragmentKey: Equatable, BitwiseCopyable {
    var source: IPAddress
    var destination: IPAddress
    var identification: UInt32
    var proto: IPProtocol
}

/// One part; offsets and lengths in bytes.
struct Fragment: BitwiseCopyable {
    var key: FragmentKey
    /// Where it belongs in the packet's payload, and whether anything follows it there.
    var position: Int
    var hasMore: Bool
    /// Where it lies.
    var offset: Int
    var length: Int
    var hopLimit: UInt8
    var typeOfService: UInt8
    /// Its frame was for more than one station.
    var isForMany = false
}

/// A packet that is being put together.
struct FragmentedPacket: BitwiseCopyable {
    var key: FragmentKey
    var hopLimit: UInt8
    var typeOfService: UInt8
    /// Some part's frame was for more than one station.
    fileprivate(set) var isForMany = false
    fileprivate(set) var isUsed = true
    /// Parts that are there, and their bytes.
    fileprivate(set) var parts = 0
    fileprivate(set) var byteCount = 0
    /// Bytes of the largest of them, and of the one that begins the packet; 0: that is not there.
    fileprivate(set) var largest = 0
    fileprivate(set) var first = 0
    /// Behind the last byte that is there, and how many there will be; 0: not known yet.
    fileprivate(set) var end = 0
    fileprivate(set) var length = 0
    /// When its first part came, in milliseconds.
    fileprivate(set) var since: Int64

    fileprivate init(_ fragment: Fragment, now: Int64) {
        key = fragment.key
        (hopLimit, typeOfService) = (fragment.hopLimit, fragment.typeOfService)
        since = now
    }

    fileprivate var isWhole: Bool { length > 0 && byteCount == length }
}

struct FragmentTable: ~Copyable {
    enum Outcome: Equatable {
        case waits
        /// The slot of a packet that is whole: `arena` holds it from `start(of:)` on, until `release`.
        case whole(Int)
        /// No part of anything that makes sense.
        case refused
    }

    static var slots: Int { 16 }
    /// The most that IP can carry.
    private static var most: Int { 65535 }
    private static var slotSize: Int { 1 << 16 }
    /// Milliseconds that the first part waits for the others, as in Linux.
    private static var patience: Int64 { 30_000 }
    /// A bit for each eight bytes.
    private static var words: Int { slotSize / 8 / 64 }

    private(set) var arena: Mapping
    private var packets: FixedTable<FragmentedPacket>
    private var present: FixedTable<UInt64>
    /// Packets that are not whole yet.
    private var count = 0
    /// Parts of packets that were given up since this was last taken.
    private var lost = 0

    init() throws(Errno) {
        let arena = try Mapping(byteCount: FragmentTable.slots * FragmentTable.slotSize)
        let packets = try FixedTable<FragmentedPacket>(count: FragmentTable.slots)
        let present = try FixedTable<UInt64>(count: FragmentTable.slots * FragmentTable.words)
        self.arena = arena
        self.packets = packets
        self.present = present
    }

    subscript(slot: Int) -> FragmentedPacket { packets[slot] }
    func start(of slot: Int) -> Int { slot * FragmentTable.slotSize }

    mutating func takeLost() -> Int {
        defer { lost = 0 }
        return lost
    }

    mutating func add(_ fragment: Fragment, in batch: borrowing Mapping, now: Int64) -> Outcome {
        let end = fragment.position + fragment.length
        // All but the last are multiples of eight, so that the next one's position can be said.
        guard fragment.length > 0, end <= FragmentTable.most, !fragment.hasMore || fragment.length & 7 == 0 else { return .refused }
        let slot = find(fragment.key, now: now) ?? begin(fragment, now: now)
        guard fits(fragment, in: packets[slot]) else {
            giveUp(slot)
            return .refused
        }
        switch mark(fragment, slot) {
        case .none: break
        // It came twice.
        case .all: return packets[slot].isWhole ? .whole(slot) : .waits
        // Parts that overlap are nobody's by mistake (RFC 5722; RFC 1858 for IPv4).
        case .some:
            giveUp(slot)
            return .refused
        }
        let destination = start(of: slot) + fragment.position
        var place = arena.mutableBytes
        place.store(batch.bytes.extracting(fragment.offset..<fragment.offset + fragment.length), at: destination)
        packets[slot].parts += 1
        packets[slot].byteCount += fragment.length
        if fragment.isForMany { packets[slot].isForMany = true }
        packets[slot].largest = max(packets[slot].largest, fragment.length)
        packets[slot].end = max(packets[slot].end, end)
        if !fragment.hasMore { packets[slot].length = end }
        if fragment.position == 0 {
            packets[slot].first = fragment.length
            (packets[slot].hopLimit, packets[slot].typeOfService) = (fragment.hopLimit, fragment.typeOfService)
        }
        return packets[slot].isWhole ? .whole(slot) : .waits
    }

    mutating func release(_ slot: Int) {
        packets[slot].isUsed = false
        count -= 1
    }

    /// Nothing is kept for a guest that is gone.
    mutating func removeAll() {
        for slot in 0..<FragmentTable.slots where packets[slot].isUsed { giveUp(slot) }
    }

    // MARK: What does not become whole

    /// When the next packet has waited long enough; nil: none waits.
    var nextWakeUp: Int64? {
        guard count > 0 else { return nil }
        var since = Int64.max
        for slot in 0..<FragmentTable.slots where packets[slot].isUsed { since = min(since, packets[slot].since) }
        return since + FragmentTable.patience
    }

    /// The slot of a packet that has waited long enough, for `giveUp`.
    func overdue(now: Int64) -> Int? {
        guard count > 0 else { return nil }
        for slot in 0..<FragmentTable.slots where packets[slot].isUsed && now - packets[slot].since >= FragmentTable.patience { return slot }
        return nil
    }

    mutating func giveUp(_ slot: Int) {
        lost += packets[slot].parts
        release(slot)
    }

    private mutating func find(_ key: FragmentKey, now: Int64) -> Int? {
        for slot in 0..<FragmentTable.slots where packets[slot].isUsed && packets[slot].key == key {
            if now - packets[slot].since < FragmentTable.patience { return slot }
            giveUp(slot)
        }
        return nil
    }

    private mutating func begin(_ fragment: Fragment, now: Int64) -> Int {
        var chosen = 0
        for slot in 0..<FragmentTable.slots {
            if !packets[slot].isUsed {
                chosen = slot
                break
            }
            if packets[slot].since < packets[chosen].since { chosen = slot }
        }
        if packets[chosen].isUsed { giveUp(chosen) }
        packets[chosen] = FragmentedPacket(fragment, now: now)
        count += 1
        for word in 0..<FragmentTable.words { present[chosen * FragmentTable.words + word] = 0 }
        return chosen
    }

    /// Whether it agrees with what is there about where the packet ends.
    private func fits(_ fragment: Fragment, in packet: FragmentedPacket) -> Bool {
        let end = fragment.position + fragment.length
        if !fragment.hasMore { return packet.length == 0 ? end >= packet.end : end == packet.length }
        return packet.length == 0 || end <= packet.length
    }

    private enum Presence { case none, some, all }

    /// Notes the fragment's bytes as present, unless any of them is already.
    private mutating func mark(_ fragment: Fragment, _ slot: Int) -> Presence {
        let units = fragment.position / 8..<(fragment.position + fragment.length + 7) / 8
        var found = 0
        for unit in units where present[slot * FragmentTable.words + unit >> 6] & 1 << UInt64(unit & 63) != 0 { found += 1 }
        if found > 0 { return found == units.count ? .all : .some }
        for unit in units { present[slot * FragmentTable.words + unit >> 6] |= 1 << UInt64(unit & 63) }
        return .none
    }
}
