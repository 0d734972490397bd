/// What a worker's owner should know, and tell the user: each once, however often it happens.
public enum WorkerNotice: UInt8, Sendable, Equatable {
    /// The kernel has refused a ping socket.
    case pingForbidden
    /// The helper in the namespace is gone: nothing there is reached but by the tap.
    case helperGone
    /// The guest itself has the link-layer address that was ours, and we have taken another one.
    case addressTaken
    /// A listener of ours was ended by somebody else.
    case listenerEnded
}

/// Those that have come up, and those of them that were told.
struct WorkerNotices: BitwiseCopyable {
    private var noted: UInt8 = 0
    private var told: UInt8 = 0

    mutating func note(_ notice: WorkerNotice) { noted |= 1 << notice.rawValue }

    mutating func next() -> WorkerNotice? {
        let left = noted & ~told
        if left == 0 { return nil }
        let number = UInt8(truncatingIfNeeded: left.trailingZeroBitCount)
        told |= 1 << number
        return WorkerNotice(rawValue: number)
    }
}
