/// What a worker's owner should know, and tell the user: each once, however often it happens.
public enum WorkerNotice: UInt8, Sendable, Equatable {
    /// The kernel has refused a ping socket.
    case pingForbidden
    /// The helper in the namespace is gone: nothing there is reached but by the tap.
    case helperGone
    /// The guest itself has the link-layer address that was ours, and we have taken another one.
    case addressTaken
    /// The kernel gives no more descriptors, or the limit is near: new flows are refused, or wait.
    case descriptorsUsedUp
    /// The machine leaves without its TCP connections: nobody has switched them to repair mode.
    case movesWithoutConnections
    /// It has come with a state that is not understood.
    case unknownState
    /// Not all of its TCP connections could be taken up here.
    case connectionsLost
}

/// Listeners that somebody else has ended, and who are not opened again: the last one, and how many there were.
public struct EndedListeners: Sendable, Equatable, BitwiseCopyable {
    public var isTCP = false
    public var port: UInt16 = 0
    public var count = 0
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
