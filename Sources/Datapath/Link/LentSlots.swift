/// Slots whose memory is lent to the guest's socket (`Mapping.isLendable`). They are used in turn, and each is free again once the guest has
/// read what was lent from it.
///
///     stream to the guest   ... read ...|... written, not read ...|
///     slots                     free    | 5 | 6 | 7 | 8 |         | next: 9
///
/// What was handed out and not lent, because it was little and copied or because there was no room, is handed out again in the next round.
struct LentSlots: BitwiseCopyable {
    /// In full slots, more than the socket can hold: the kernel doubles `MachineLink.sendBuffer`. Where there is little in each they may be used up before; what
    /// comes then is copied.
    static var count: Int { 48 }

    /// For each slot, the position in the stream behind what was last lent from it.
    private var ends = InlineArray<48, Int>(repeating: 0)
    /// Behind the slot that was lent last: where the next round begins.
    private var base = 0
    /// What is handed out next, and how many slots were passed by since the round began.
    private var cursor = 0
    private var passed = 0
    /// Bytes that the socket has taken, and of these, how many have been read at least.
    private(set) var written = 0
    private var read = 0

    /// The first of `count` slots, all behind one another. nil while the guest has not read what is there, or when the round has used all
    /// (`isExhausted`).
    @_noAllocation @_noLocks
    mutating func reserve(_ count: Int) -> Int? {
        let (start, passed) = place(count)
        guard passed <= LentSlots.count else { return nil }
        for slot in start..<(start &+ count) where ends[slot] > read { return nil }
        cursor = start &+ count
        self.passed = passed
        return start
    }

    /// Whether this round has used so many that `count` more cannot be had.
    @_noAllocation @_noLocks
    func isExhausted(_ count: Int) -> Bool { place(count).passed > LentSlots.count }

    /// Where `count` slots would be, and how many the round would have passed by behind them.
    @_noAllocation @_noLocks
    private func place(_ count: Int) -> (start: Int, passed: Int) {
        cursor &+ count <= LentSlots.count ? (cursor, passed &+ count) : (0, passed &+ LentSlots.count &- cursor &+ count)
    }

    /// The socket has taken so many bytes, of whatever memory.
    @_noAllocation @_noLocks
    mutating func wrote(_ count: Int) { written &+= count }

    /// What was just written was lent from `slot`.
    @_noAllocation @_noLocks
    mutating func lent(from slot: Int) {
        ends[slot] = written
        base = slot &+ 1 < LentSlots.count ? slot &+ 1 : 0
    }

    /// At most `count` bytes of what was written have not been read.
    @_noAllocation @_noLocks
    mutating func isUnread(_ count: Int) { read = max(read, written &- count) }

    /// Whatever was copied from slots is copied.
    @_noAllocation @_noLocks
    mutating func endRound() {
        cursor = base
        passed = 0
    }
}
