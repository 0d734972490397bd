internal import Linux
internal import Wire

/// Lets our own sockets of UDP bind beside our listeners, and nobody else's.
///
/// Two sockets share a port where both have SO_REUSEADDR at the time that the second one is bound, whoever they belong to, and the newer one
/// gets what comes: another user's program could take a forwarded port over, or one of the same user that sets the option out of habit. So a
/// listener has it only for as long as one of our own sockets is being bound beside it. One without it is enough to refuse others; flows keep
/// theirs.
struct PortSharing: ~Copyable {
    /// What is asked of a listener. There may be a hundred thousand: no more than that is kept twice.
    struct Listener: BitwiseCopyable {
        var address: IPAddress
        var socket: Descriptor
        /// Index of the only interface that it hears; 0: any.
        var interface: Int32
        var hasIPv4: Bool
        /// It leads to the guest's port of the same number.
        var keepsPort: Bool
    }

    /// By port: index + 1 of its last listener; 0: none.
    private var last: FixedTable<UInt32>
    /// By a listener's index: the one before it of the same port, and the listener.
    private var before: FixedTable<UInt32>
    private var listeners: FixedTable<Listener>

    init() throws(Errno) {
        let last = try FixedTable<UInt32>(count: 1 << 16)
        let before = try FixedTable<UInt32>(count: ListenerTable.capacity)
        let listeners = try FixedTable<Listener>(count: ListenerTable.capacity)
        self.last = last
        self.before = before
        self.listeners = listeners
    }

    mutating func add(_ index: Int, _ listener: ListenerEntry) {
        listeners[index] = Listener(
            address: listener.address, socket: listener.socket, interface: listener.interface, hasIPv4: listener.hasIPv4,
            keepsPort: listener.target == ListenerTarget(port: listener.port, address: nil))
        before[index] = last[Int(listener.port)]
        last[Int(listener.port)] = UInt32(truncatingIfNeeded: index + 1)
    }

    /// Who would have been given what came to one of our addresses, if another socket had not been: the index of a listener that leads to the guest's port of the
    /// same number. Nil: nobody.
    func listener(at place: Endpoint) -> Int? {
        var next = last[Int(place.port)]
        while next != 0 {
            let listener = listeners[Int(next) - 1]
            let hears = listener.address == place.address || listener.address.isAny && (place.address.isIPv4 ? listener.hasIPv4 : !listener.address.isIPv4)
            if hears, listener.keepsPort { return Int(next) - 1 }
            next = before[Int(next) - 1]
        }
        return nil
    }

    subscript(index: Int) -> Listener { listeners[index] }

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
            try? listeners[Int(next) - 1].socket.setReuseAddress(on)
            next = before[Int(next) - 1]
        }
    }
}
