/// Decides whether to go on asking for events for a moment before sleeping.
///
/// Waking a thread that sleeps on an idle processor costs tens of microseconds, more than all the work that a request and its answer
/// are here. Where short messages follow each other closely, the worker therefore keeps asking for a while, as the kernel does for the
/// processors of virtual machines (`halt_poll_ns`). The time grows while it would have been enough and goes to nothing once it is not, so
/// that who says little costs nothing. Bulk transfers gain nothing by it: they always have work, or wait for memory to be read. Rounds in
/// between that moved nothing are theirs, too. Asking in those costs whoever fills or empties that memory: `sched_yield` lets others of the
/// same control group (or session) go first, but a client, a container and its relay are usually in groups of their own.
///
///     wait --> events within `span`? --yes--> go on
///                 no: sleep --> woken within `longest`? --yes--> span doubles
///                                                       --no---> span halves, in the end to 0
struct EagerWait: BitwiseCopyable {
    /// Longest time spent asking, in nanoseconds: two wake-ups of a peer.
    private static var longest: Int64 { 100_000 }
    private static var shortest: Int64 { 10_000 }
    /// Recent bytes that no conversation of short messages has: 16 KiB in every round.
    private static var bulk: UInt64 { 32 << 10 }

    private var grown: Int64 = 0
    private var lastBytes: UInt64 = 0
    /// Bytes since the last call, half of those of the time before, and so on.
    private var recent: UInt64 = 0

    /// Nanoseconds to go on asking for; 0 to sleep at once. `bytes`: all that was forwarded so far.
    @_noAllocation @_noLocks
    mutating func span(bytes: UInt64) -> Int64 {
        recent = recent / 2 &+ (bytes &- lastBytes)
        lastBytes = bytes
        return recent > EagerWait.bulk ? 0 : grown
    }

    /// Asking was not enough, or was not tried: the wait took `nanoseconds` altogether.
    @_noAllocation @_noLocks
    mutating func slept(_ nanoseconds: Int64) {
        if nanoseconds <= EagerWait.longest {
            grown = min(max(grown * 2, EagerWait.shortest), EagerWait.longest)
        } else {
            grown = grown / 2 < EagerWait.shortest ? 0 : grown / 2
        }
    }
}
