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

    /// Gives a socket of messages the frames that it takes now, each without the length before it. Precondition: not empty, and whole frames only.
    mutating func writeMessages(to socket: Descriptor, _ batch: inout SendBatch) -> Outcome {
        batch.forgetPayloads()
        var offset = start
        while offset < end, batch.hasRoomForPayload, !batch.isFull {
            let length = Int(mapping.bytes.uint32(at: offset))
            let payload = batch.note(mapping, offset: offset + StreamFraming.prefix, length: length)
            batch.beginMessage()
            _ = batch.append(payload, from: 0, length: length)
            offset += StreamFraming.prefix + length
        }
        let outcome = batch.send(on: socket)
        for _ in 0..<outcome.count { skipMessage() }
        return outcome
    }

    mutating func skipMessage() {
        start += StreamFraming.prefix + Int(mapping.bytes.uint32(at: start))
        if start == end { removeAll() }
    }

    /// Gives the socket what it takes now.
    mutating func write(to socket: Descriptor) -> Outcome {
        let outcome = socket.write(from: mapping, offset: start, length: byteCount)
        start += outcome.count
        if start == end { removeAll() }
        return outcome
    }
}
