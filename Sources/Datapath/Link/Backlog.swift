internal import Linux
internal import Wire

/// Bytes that a socket did not take. They go first, in their order, so that no frame is ever torn apart. Of fixed size.
struct Backlog: ~Copyable {
    private var mapping: Mapping
    private var start = 0
    private(set) var end = 0

    init(byteCount: Int) throws(Errno) { mapping = try Mapping(byteCount: byteCount) }

    var isEmpty: Bool { start == end }
    var byteCount: Int { end - start }
    var capacity: Int { mapping.byteCount }

    mutating func removeAll() {
        start = 0
        end = 0
    }

    /// Takes over what lies behind the first `skipped` bytes of `pieces`. Precondition: there is room.
    mutating func append(_ pieces: borrowing ScatterList, skipping skipped: Int) {
        if start > 0 {
            mapping.move(from: start, to: 0, count: byteCount)
            end -= start
            start = 0
        }
        end += pieces.copy(skipping: skipped, to: &mapping, at: end)
    }

    /// Gives the socket what it takes now.
    mutating func write(to socket: Descriptor) -> Outcome {
        let outcome = socket.write(from: mapping, offset: start, length: byteCount)
        start += outcome.count
        if start == end { removeAll() }
        return outcome
    }
}
