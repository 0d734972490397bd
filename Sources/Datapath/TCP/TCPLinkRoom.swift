internal import Linux

/// Connections in the order in which they began to wait. One that has ended since is still in it, and recognised when its turn comes.
struct WaitingList: ~Copyable {
    private var indices: FixedTable<UInt32>
    private var first = 0
    private(set) var count = 0

    init(capacity: Int) throws(Errno) { indices = try FixedTable(count: max(capacity, 1)) }

    /// False when it is full.
    mutating func append(_ index: Int) -> Bool {
        guard count < indices.count else { return false }
        indices[(first + count) % indices.count] = UInt32(truncatingIfNeeded: index)
        count += 1
        return true
    }

    mutating func removeFirst() -> Int {
        let index = Int(indices[first])
        first = (first + 1) % indices.count
        count -= 1
        return index
    }
}

extension TCPTranslator where Sockets: ~Copyable {
    /// `index` has data for the guest, and the link no room. Where nothing tells when it has some again, timers and the guest's
    /// acknowledgements do.
    mutating func waitForLink(_ index: Int) {
        guard !table[index].events.contains(.waitsForLink), waiting.append(index) else { return }
        table[index].events.insert(.waitsForLink)
    }

    /// The link has room again: each that waited has its turn.
    mutating func linkHasRoom<Link: GuestLink & ~Copyable>(_ port: inout GuestPort<Link>, now: Int64) {
        for _ in 0..<waiting.count {
            let index = waiting.removeFirst()
            guard table.isUsed(index), table[index].events.contains(.waitsForLink) else { continue }
            table[index].events.remove(.waitsForLink)
            touch(index)
        }
    }
}
