internal import Linux

/// Lets our own sockets of UDP bind beside our listeners, and nobody else's.
///
/// Two sockets share a port where both have SO_REUSEADDR at the time that the second one is bound, whoever they belong to, and the newer one
/// gets what comes: another user's program could take a forwarded port over, or one of the same user that sets the option out of habit. So a
/// listener has it only for as long as one of our own sockets is being bound beside it. One without it is enough to refuse others; flows keep
/// theirs.
struct PortSharing: ~Copyable {
    /// By port: index + 1 of its last listener; 0: none.
    private var last: FixedTable<UInt32>
    /// By a listener's index: the one before it of the same port, and its socket.
    private var before: FixedTable<UInt32>
    private var sockets: FixedTable<Descriptor>

    init() throws(Errno) {
        let last = try FixedTable<UInt32>(count: 1 << 16)
        let before = try FixedTable<UInt32>(count: ListenerTable.capacity)
        let sockets = try FixedTable<Descriptor>(count: ListenerTable.capacity)
        self.last = last
        self.before = before
        self.sockets = sockets
    }

    mutating func add(_ listener: Int, _ socket: Descriptor, port: UInt16) {
        sockets[listener] = socket
        before[listener] = last[Int(port)]
        last[Int(port)] = UInt32(truncatingIfNeeded: listener + 1)
    }

    mutating func remove(_ listener: Int, port: UInt16) {
        let entry = UInt32(truncatingIfNeeded: listener + 1)
        if last[Int(port)] == entry {
            last[Int(port)] = before[listener]
            return
        }
        var next = last[Int(port)]
        while next != 0, before[Int(next) - 1] != entry { next = before[Int(next) - 1] }
        if next != 0 { before[Int(next) - 1] = before[listener] }
    }

    /// Binds, while the listeners of this port share it. `bind` sets the option on its own socket.
    func share<Result>(_ port: UInt16, _ bind: () throws(Errno) -> Result) throws(Errno) -> Result {
        setSharing(port, true)
        defer { setSharing(port, false) }
        return try bind()
    }

    private func setSharing(_ port: UInt16, _ on: Bool) {
        var next = last[Int(port)]
        while next != 0 {
            // Of a socket of ours, this cannot fail.
            try? sockets[Int(next) - 1].setReuseAddress(on)
            next = before[Int(next) - 1]
        }
    }
}
