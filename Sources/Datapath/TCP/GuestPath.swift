internal import Wire

/// What is known of the way to the guest: how much it takes at once, and how soon an answer comes.
///
/// Most guests are at the end of a tap or of rings that lose nothing: they get all that their window allows, and pay nothing for what follows. But network cards that
/// a machine's monitor plays have room for a handful of frames, drivers that poll miss what comes meanwhile, and behind a guest there may be a bridge. So
/// from the first loss on there is a congestion window, as in any sender (RFC 9293, section 3.8.2), and a timeout is as long as answers take (RFC 6298).
///
///     nothing was lost yet          limit: none
///     three equal answers           threshold = half of what is in flight = limit;   nothing new until all that was in flight has come (RFC 6582)
///     no answer in time             threshold as above, limit = one segment          (RFC 5681, section 3.1)
///     that segment is, and no more  limit = two segments;   all of it goes again, as to a guest that keeps nothing behind a hole
///     something is acknowledged     limit + that, from the threshold on a segment per window
struct GuestPath: BitwiseCopyable {
    /// Bytes that may be in flight. `.max`: nothing was lost yet.
    private(set) var limit: UInt32 = .max
    private var threshold: UInt32 = .max
    /// The guest keeps nothing of what comes behind something missing, as far as its answers tell.
    private(set) var keepsNothing = false
    /// Milliseconds until an answer is late, as long as none is delayed on purpose; none was measured yet.
    private var measured: UInt16 = 0
    /// Smoothed, in eighths of a millisecond, and how far answers are from that, in quarters.
    private var smoothed: UInt16 = 0
    private var variation: UInt16 = 0
    /// The answer that is waited for, since when, and whether one is: to something that was sent once only (Karn's rule).
    private var isTiming = false
    private var timed = SequenceNumber(0)
    private var timedSince: UInt32 = 0

    /// Milliseconds of a timeout: before anything was measured (RFC 6298, section 2.1), and at least. Guests delay answers, by a quarter of a second (lwIP), by
    /// half a second at most (RFC 1122, section 4.2.3.2), but not those to every second segment.
    private static var firstTimeout: Int64 { 1000 }
    private static var shortestTimeout: Int64 { 300 }
    private static var shortestForOne: Int64 { 600 }

    // MARK: Loss

    /// The guest has answered three times the same, or as often as it can: a segment is missing.
    @_noAllocation @_noLocks
    mutating func lostOne(flight: Int, segment: Int) {
        halve(flight, segment)
        limit = threshold
        isTiming = false
    }

    /// It has not answered in time. `isFirst`: not after another such time.
    @_noAllocation @_noLocks
    mutating func lostAll(flight: Int, segment: Int, isFirst: Bool) {
        if isFirst { halve(flight, segment) }
        limit = UInt32(truncatingIfNeeded: max(segment, 1))
        isTiming = false
    }

    private mutating func halve(_ flight: Int, _ segment: Int) {
        threshold = UInt32(truncatingIfNeeded: max(flight / 2, max(2 * segment, 1)))
    }

    /// After one segment was sent again, no more than that was acknowledged: the guest keeps nothing behind a hole, or all of that is missing too. Either way everything goes again, from
    /// two segments on: to one alone the answer may be delayed.
    @_noAllocation @_noLocks
    mutating func goBack(segment: Int) {
        keepsNothing = true
        limit = UInt32(truncatingIfNeeded: max(2 * segment, 1))
        isTiming = false
    }

    /// More was acknowledged than what was sent again.
    @_noAllocation @_noLocks
    mutating func hasKept() { keepsNothing = false }

    /// What was missing was too long for the way, which says nothing of how much that takes (RFC 1191, section 6.4).
    @_noAllocation @_noLocks
    mutating func lostForItsLength() {
        limit = .max
        isTiming = false
    }

    /// All has come that was in flight when something was found missing. Not everything goes at once then.
    @_noAllocation @_noLocks
    mutating func recovered(flight: Int, segment: Int) {
        limit = min(threshold, UInt32(truncatingIfNeeded: max(flight, max(segment, 1)) + segment))
    }

    /// The guest has `count` bytes more. `isRepairing`: it had much of that before, so it tells little of what the way takes.
    @_noAllocation @_noLocks
    mutating func acknowledged(_ count: Int, segment: Int, isRepairing: Bool) {
        if limit == .max || count <= 0 { return }
        if limit < threshold {
            let growth = isRepairing ? min(count, segment) : count
            limit = UInt32(truncatingIfNeeded: min(Int(limit) + growth, Int(threshold)))
        } else {
            let growth = max(min(count, segment * count / max(Int(limit), 1)), 1)
            limit = UInt32(truncatingIfNeeded: min(Int(limit) + growth, Int(UInt32.max) - 1))
        }
    }

    // MARK: Time

    /// What ends at `end` leaves for the first time.
    @_noAllocation @_noLocks
    mutating func sent(_ end: SequenceNumber, now: Int64) {
        if isTiming { return }
        isTiming = true
        timed = end
        timedSince = UInt32(truncatingIfNeeded: now)
    }

    @_noAllocation @_noLocks
    mutating func answered(_ acknowledgment: SequenceNumber, now: Int64) {
        guard isTiming, acknowledgment >= timed else { return }
        isTiming = false
        // No longer than what the variables hold.
        let sample = Int(min(UInt32(truncatingIfNeeded: now) &- timedSince, 4000))
        if measured == 0 {
            smoothed = UInt16(sample * 8)
            variation = UInt16(sample * 2)
        } else {
            let difference = abs(sample - Int(smoothed) / 8)
            variation = UInt16(min(Int(variation) - Int(variation) / 4 + difference, 16000))
            smoothed = UInt16(min(Int(smoothed) - Int(smoothed) / 8 + sample, 32000))
        }
        measured = UInt16(max(Int(smoothed) / 8 + Int(variation), 1))
    }

    /// Milliseconds until what is in flight is sent again.
    @_noAllocation @_noLocks
    func timeout(flight: Int, segment: Int) -> Int64 {
        if measured == 0 { return GuestPath.firstTimeout }
        return max(Int64(measured), flight < 2 * segment ? GuestPath.shortestForOne : GuestPath.shortestTimeout)
    }

    /// Of two segments in flight the second can lead to one equal answer only. What it tells of is waited for this long, in milliseconds: it may have been under way before.
    static var patienceWithTwo: Int64 { 10 }

    @_noAllocation @_noLocks
    static func isTwo(flight: Int, segment: Int) -> Bool { segments(flight, segment) == 2 }

    /// Equal answers that tell of a loss: three, or as many as there can be where little is in flight (RFC 5827).
    @_noAllocation @_noLocks
    static func duplicates(flight: Int, segment: Int) -> Int {
        segments(flight, segment) == 3 ? 2 : 3
    }

    private static func segments(_ flight: Int, _ segment: Int) -> Int { (flight + segment - 1) / max(segment, 1) }
}
