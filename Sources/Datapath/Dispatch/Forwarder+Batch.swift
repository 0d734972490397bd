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
        if count <= UInt64.bitWidth { workOffByFlow(count, now: now) } else { workOff(count, now: now) }
        // The payloads lie in this batch.
        tcp.flushPending(&port, now: now)
        udp.flushPending(&port, now: now)
        if !isOpen { guestLeft() }
    }

    private mutating func workOff(_ count: Int, now: Int64) {
        for index in 0..<count where !takeTrain(index) { dispatch(inbound[index], now: now) }
    }

    /// Long frames of one flow follow each other, so that they leave in one call: the guest's queue mixes those of several uploads.
    private mutating func workOffByFlow(_ count: Int, now: Int64) {
        var done: UInt64 = 0
        for index in 0..<count where done & 1 << UInt64(index) == 0 {
            if takeTrain(index) { continue }
            let frame = inbound[index]
            dispatch(frame, now: now)
            guard frame.length >= BatchSize.long else { continue }
            for next in index + 1..<max(count, index + 1) where done & 1 << UInt64(next) == 0 && isOneFlow(frame, inbound[next]) {
                done |= 1 << UInt64(next)
                dispatch(inbound[next], now: now)
            }
        }
    }

    /// Whether addresses and ports are the same, where they usually lie. All that is needed is that frames of a flow stay in order, whatever they are.
    private func isOneFlow(_ a: Frame, _ b: Frame) -> Bool {
        let bytes = inbound.arena.bytes
        func isSame(_ offset: Int) -> Bool { bytes.uint32(at: a.offset + offset) == bytes.uint32(at: b.offset + offset) }
        guard min(a.length, b.length) >= 38, bytes.uint16(at: a.offset + 12) == bytes.uint16(at: b.offset + 12), isSame(26), isSame(30), isSame(34)
        else { return false }
        if bytes.uint16(at: a.offset + 12) == EtherType.ipv4.number { return true }
        return min(a.length, b.length) >= 58 && isSame(38) && isSame(42) && isSame(46) && isSame(50) && isSame(54)
    }
}
