internal import Linux

/// How many of our own sockets are bound to each port of a family. A port that is ours may be shared among our connected sockets, since the
/// kernel gives each what its remote sends; one of another program may not, or we would take what is meant for it.
struct PortClaims: ~Copyable {
    private var counts: FixedTable<UInt32>

    /// Listeners that lead to the guest's port of the same number.
    private var listened: FixedTable<UInt16>

    init() throws(Errno) {
        let counts = try FixedTable<UInt32>(count: 2 << 16)
        let listened = try FixedTable<UInt16>(count: 2 << 16)
        self.counts = counts
        self.listened = listened
    }

    func isOurs(_ port: UInt16, isIPv4: Bool) -> Bool { counts[PortClaims.index(port, isIPv4)] > 0 }

    /// Whether flows are bound to it, and not listeners alone.
    func hasFlows(_ port: UInt16, isIPv4: Bool) -> Bool {
        counts[PortClaims.index(port, isIPv4)] > UInt32(listened[PortClaims.index(port, isIPv4)])
    }

    func isListened(_ port: UInt16, isIPv4: Bool) -> Bool { listened[PortClaims.index(port, isIPv4)] > 0 }

    mutating func listen(_ port: UInt16, isIPv4: Bool) {
        claim(port, isIPv4: isIPv4)
        listened[PortClaims.index(port, isIPv4)] += 1
    }

    mutating func stopListening(_ port: UInt16, isIPv4: Bool) {
        let index = PortClaims.index(port, isIPv4)
        guard listened[index] > 0 else { return }
        listened[index] -= 1
        release(port, isIPv4: isIPv4)
    }

    mutating func claim(_ port: UInt16, isIPv4: Bool) { counts[PortClaims.index(port, isIPv4)] += 1 }

    mutating func release(_ port: UInt16, isIPv4: Bool) {
        let index = PortClaims.index(port, isIPv4)
        if counts[index] > 0 { counts[index] -= 1 }
    }

    private static func index(_ port: UInt16, _ isIPv4: Bool) -> Int { Int(port) << 1 | (isIPv4 ? 1 : 0) }
}
