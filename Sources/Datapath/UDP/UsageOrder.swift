internal import Linux

/// Ids in the order of their last use; every operation takes constant time.
struct UsageOrder: ~Copyable {
    /// Ids + 1; 0 ends the list.
    private struct Node: BitwiseCopyable {
        var older: UInt32
        var newer: UInt32
        var isIn: Bool
    }

    private var nodes: FixedTable<Node>
    private var first: UInt32 = 0
    private var last: UInt32 = 0
    private(set) var count = 0

    init(capacity: Int) throws(Errno) { nodes = try FixedTable(count: capacity) }

    func contains(_ id: Int) -> Bool { nodes[id].isIn }

    var oldest: Int? { first == 0 ? nil : Int(first) - 1 }

    /// Makes `id` the one that was used last.
    mutating func use(_ id: Int) {
        let entry = UInt32(truncatingIfNeeded: id + 1)
        if last == entry { return }
        remove(id)
        nodes[id] = Node(older: last, newer: 0, isIn: true)
        if last == 0 { first = entry } else { nodes[Int(last) - 1].newer = entry }
        last = entry
        count += 1
    }

    mutating func remove(_ id: Int) {
        let node = nodes[id]
        guard node.isIn else { return }
        if node.older == 0 { first = node.newer } else { nodes[Int(node.older) - 1].newer = node.newer }
        if node.newer == 0 { last = node.older } else { nodes[Int(node.newer) - 1].older = node.older }
        nodes[id].isIn = false
        count -= 1
    }
}
