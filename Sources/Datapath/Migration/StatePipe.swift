internal import Linux
internal import Wire

/// One end of the pipe that a state goes through. It may be a pipe that waits, so each call is made when it need not.
struct StatePipe: BitwiseCopyable {
    private let descriptor: Descriptor
    /// When all must be over, in nanoseconds of the monotonic clock: nobody else is served meanwhile.
    private let deadline = monotonicNanoseconds() + StatePipe.limit

    init(_ descriptor: Descriptor) { self.descriptor = descriptor }

    private static var limit: Int64 { 60_000_000_000 }
    /// More than a third of the time is over.
    var isSlow: Bool { monotonicNanoseconds() > deadline - StatePipe.limit * 2 / 3 }

    /// Milliseconds without a byte that passes.
    private static var patience: Int32 { 10_000 }
    /// What a pipe takes at once that says it takes something (PIPE_BUF).
    private static var piece: Int { 4096 }

    /// False when the other end is gone, or takes nothing.
    func write(_ buffer: borrowing Mapping, _ range: Range<Int>) -> Bool {
        var position = range.lowerBound
        while position < range.upperBound {
            guard monotonicNanoseconds() < deadline, descriptor.awaitOutput(milliseconds: StatePipe.patience) else { return false }
            let outcome = descriptor.write(from: buffer, offset: position, length: min(range.upperBound - position, StatePipe.piece))
            if outcome.wouldBlock { continue }
            guard outcome.count > 0 else { return false }
            position += outcome.count
        }
        return true
    }

    /// Fills the range. False when there is less.
    func read(into buffer: inout Mapping, _ range: Range<Int>) -> Bool {
        var position = range.lowerBound
        while position < range.upperBound {
            guard monotonicNanoseconds() < deadline, descriptor.awaitInput(milliseconds: StatePipe.patience) else { return false }
            let outcome = descriptor.read(into: &buffer, offset: position, length: range.upperBound - position)
            if outcome.wouldBlock { continue }
            guard outcome.count > 0 else { return false }
            position += outcome.count
        }
        return true
    }

    /// Reads so many bytes, and forgets them. False when there are less.
    func skip(_ count: Int, _ buffer: inout Mapping) -> Bool {
        var left = count
        while left > 0 {
            let piece = min(left, buffer.byteCount)
            guard read(into: &buffer, 0..<piece) else { return false }
            left -= piece
        }
        return true
    }

    /// Takes what is left, so that nobody fails to write it; in a time of its own, since that is a machine's failure.
    func drain(_ buffer: inout Mapping) {
        let deadline = monotonicNanoseconds() + StatePipe.limit
        while monotonicNanoseconds() < deadline, descriptor.awaitInput(milliseconds: StatePipe.patience) {
            let outcome = descriptor.read(into: &buffer, offset: 0, length: min(buffer.byteCount, 1 << 16))
            if outcome.count == 0, !outcome.wouldBlock { return }
        }
    }
}
