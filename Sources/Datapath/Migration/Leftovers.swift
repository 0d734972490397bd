internal import Linux
internal import Wire

/// What guests have sent and sockets that were made for their connections have no room for yet. The guest was told long ago that it has arrived, so
/// it is nobody else's; and it goes out before anything that the guest sends from now on.
struct Leftovers: ~Copyable {
    private struct Entry: BitwiseCopyable {
        /// Of the connection, and 1; 0 is none.
        var owner: UInt32
        var start: Int
        var end: Int
    }

    private var bytes: Mapping
    private var entries: FixedTable<Entry>
    private var count = 0
    private var end = 0

    /// No room for anything.
    init() throws(Errno) {
        let bytes = try Mapping(byteCount: 1)
        entries = try FixedTable(count: 1)
        self.bytes = bytes
    }

    /// Room for so many bytes of so many connections.
    init(byteCount: Int, connections: Int) throws(Errno) {
        let bytes = try Migration.memory(byteCount)
        entries = try FixedTable(count: connections)
        self.bytes = bytes
    }

    /// Keeps a range of `buffer` for a connection that has nothing here. False where there is no room.
    mutating func keep(_ range: Range<Int>, of buffer: borrowing Mapping, for index: Int) -> Bool {
        guard bytes.byteCount - end >= range.count else { return false }
        for place in 0..<entries.count where entries[place].owner == 0 {
            let start = end
            entries[place] = Entry(owner: UInt32(truncatingIfNeeded: index) + 1, start: start, end: start + range.count)
            end += range.count
            count += 1
            var room = bytes.mutableBytes
            room.store(buffer.bytes.extracting(range), at: start)
            return true
        }
        return false
    }

    /// Sends what the socket takes. True when there is nothing left; an error is none of EAGAIN.
    mutating func send(_ index: Int, on socket: Descriptor) throws(Errno) -> Bool {
        guard let place = place(index) else { return true }
        while entries[place].start < entries[place].end {
            let outcome = socket.send(bytes.bytes.extracting(entries[place].start..<entries[place].end))
            if outcome.wouldBlock { return false }
            if let error = outcome.error { throw error }
            entries[place].start += outcome.count
        }
        forget(index)
        return true
    }

    mutating func forget(_ index: Int) {
        guard let place = place(index) else { return }
        entries[place].owner = 0
        count -= 1
        guard count == 0 else { return }
        end = 0
        bytes.discardPages()
    }

    private func place(_ index: Int) -> Int? {
        for place in 0..<entries.count where entries[place].owner == UInt32(truncatingIfNeeded: index) + 1 { return place }
        return nil
    }
}
