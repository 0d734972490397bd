internal import Linux
internal import Wire

extension Forwarder where Link: ~Copyable, Sockets: ~Copyable {
    /// Takes one batch from the guest and works it off.
    mutating func receive(now: Int64) {
        if migration.phase != .idle { guestIsHere(now: now) }
        inbound.removeAll()
        inbound.limit = batchSize.frames
        inbound.byteLimit = batchSize.bytes
        let isOpen = port.link.receive(into: &inbound)
        let count = inbound.count
        batchSize.adapt(inbound, lastLength: count > 0 ? inbound[count - 1].length : 0, isAlone: events.count <= 1 && tcp.turns.areFree)
        limitFlows(by: count, now: now)
        for index in 0..<count where !takeTrain(index) { dispatch(inbound[index], now: now) }
        // The payloads lie in this batch.
        tcp.flushPending(&port, now: now)
        udp.flushPending(&port, now: now)
        if !isOpen { guestLeft() }
    }
}
