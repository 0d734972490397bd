internal import Linux
internal import Wire

/// Link addresses behind the guest's link. Usually there is one, the guest's. Where others are bridged behind it (containers in a machine, macvlans), each has its own, and
/// what is sent to one by the link address of another is dropped: so addresses are remembered with where they were last heard from, as soon as there are two.
///
/// An address has a few places by its hash, and a later one takes an earlier one's. Who is not found is sent to where the guest is.
struct GuestStations: ~Copyable {
    private struct Entry: BitwiseCopyable {
        var address: IPAddress
        /// Zero where there is none.
        var mac: MACAddress
        /// Whose question was left to it last since then, when, and how many were in a row.
        var asker = MACAddress.zero
        var askedAt: Int64 = 0
        var askedCount: UInt8 = 0
    }

    static var capacity: Int { 1024 }
    private static var places: Int { 4 }

    /// Whether a second one was heard. Until then, nothing is noted and nothing is looked up.
    private(set) var areSeveral = false
    private var entries: FixedTable<Entry>
    private let seed: SipHash

    init(seed: SipHash) throws(Errno) {
        entries = try FixedTable<Entry>(count: GuestStations.capacity)
        self.seed = seed
    }

    /// Where `address` was last heard from.
    func find(_ address: IPAddress) -> MACAddress? {
        guard areSeveral else { return nil }
        let first = place(address)
        for place in first..<(first + GuestStations.places) where entries[place].address == address { return entries[place].mac }
        return nil
    }

    /// `address` was heard from `mac`. Returns where it was heard from before.
    @discardableResult
    mutating func note(_ address: IPAddress, at mac: MACAddress) -> MACAddress? {
        areSeveral = true
        var before: MACAddress?
        let first = place(address)
        var target = first
        for place in first..<(first + GuestStations.places) {
            if entries[place].address == address {
                (target, before) = (place, entries[place].mac)
                break
            }
            if entries[place].mac == .zero { target = place }
        }
        entries[target] = Entry(address: address, mac: mac)
        return before
    }

    /// Whether what `asker` wants to know of `address` is left to who was heard there. One who asks again at once has had no answer: nobody is there any more, and the address may be
    /// somebody's outside by now.
    mutating func leavesQuestion(for address: IPAddress, by asker: MACAddress, now: Int64) -> Bool {
        guard areSeveral else { return false }
        let first = place(address)
        for place in first..<(first + GuestStations.places) where entries[place].address == address && entries[place].mac != asker {
            if now &- entries[place].askedAt >= GuestStations.patience { entries[place].askedCount = 0 }
            // Several who ask in turn are not answered either.
            let isRepeated = entries[place].askedCount > 0 && entries[place].asker == asker || entries[place].askedCount >= 2
            (entries[place].asker, entries[place].askedAt) = (asker, now)
            entries[place].askedCount = min(entries[place].askedCount + 1, 2)
            return !isRepeated
        }
        return false
    }

    /// Milliseconds in which an unanswered question comes again. Hosts ask once a second.
    private static var patience: Int64 { 3000 }

    /// One of them has another link address now, and all its addresses with it.
    mutating func move(from old: MACAddress, to new: MACAddress) {
        guard areSeveral else { return }
        for place in 0..<entries.count where entries[place].mac == old { entries[place].mac = new }
    }

    mutating func forget() {
        guard areSeveral else { return }
        areSeveral = false
        for place in 0..<entries.count { entries[place] = Entry(address: IPAddress(IPv6Address.any), mac: .zero) }
    }

    private func place(_ address: IPAddress) -> Int {
        var hash = seed
        hash.combine(address)
        return Int(truncatingIfNeeded: hash.finalize() >> 32) & (GuestStations.capacity - 1) & ~(GuestStations.places - 1)
    }
}
