internal import Datapath
internal import Linux
internal import Setup

/// The counters of `--stats`, on standard output: at most once in an interval, and only when one has changed.
struct Statistics {
    private let interval: Int64
    /// When it is time to look again, in nanoseconds of the monotonic clock.
    private(set) var due: Int64
    private var lastActivity: UInt64 = 0

    /// nil: not asked for.
    init?(seconds: Int?) {
        guard let seconds else { return nil }
        interval = Int64(seconds) * 1_000_000_000
        due = monotonicNanoseconds() + interval
    }

    mutating func printIfDue<Work: Worker & ~Copyable>(_ worker: borrowing Work) {
        guard monotonicNanoseconds() >= due else { return }
        due = monotonicNanoseconds() + interval
        let activity = worker.activity
        guard activity != lastActivity else { return }
        lastActivity = activity
        let output = Descriptor(1)
        worker.forEachCounter { label, value in Log.print(label, Int(truncatingIfNeeded: value), to: output) }
        Log.print("", nil, to: output)
    }
}
