/// How many ICMP errors the guest is sent, a bucket of tokens: RFC 4443, section 2.4 (f), demands a limit, RFC 1812, section 4.3.2.8, recommends one. A guest that
/// sends much to where nothing can be reached would be answered error by error. Those that others have reported count, too. What is held back is not lost for good:
/// who sends again asks again.
struct ErrorLimit: BitwiseCopyable {
    /// Errors in a row.
    private static var burst: Int64 { 100 }

    private var left = ErrorLimit.burst
    /// In milliseconds of the worker's clock.
    private var filledAt: Int64 = 0

    /// One more for each millisecond that has passed. The worker calls this whenever it wakes up.
    mutating func refill(now: Int64) {
        left = min(left + max(now - filledAt, 0), ErrorLimit.burst)
        filledAt = now
    }

    /// Whether one more may be sent now.
    mutating func take() -> Bool {
        if left == 0 { return false }
        left -= 1
        return true
    }
}
