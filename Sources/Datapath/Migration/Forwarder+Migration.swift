internal import Linux
internal import Wire

extension Forwarder where Link: ~Copyable, Sockets: ~Copyable {
    /// Connections move with the guest, by the leave of helpers that connect to `listener`.
    mutating func allowMigration(_ listener: Descriptor, _ after: AfterMigration) throws(Errno) {
        try migration.begin(listener, after)
        tcp.leftovers = try Leftovers(byteCount: 64 << 20, connections: 1024)
    }

    /// Does what the link's front-end asked for, and tells it how that went.
    mutating func transferState(now: Int64) {
        guard let transfer = port.link.takeTransfer() else { return }
        let pipe = StatePipe(transfer.pipe)
        let isDone: Bool
        if transfer.isSaving {
            isDone = saveState(pipe)
            migration.phase = .saved
            if !isDone { guestIsHere(now: now) }
        } else {
            // What stands still of another machine, or of this one when it was here before; and what it has here while it is set back to what it was.
            tcp.closeStill(&port)
            tcp.abortEarlier(&port)
            isDone = loadState(pipe, now: now)
            migration.phase = .loaded
        }
        transfer.pipe.close()
        migration.buffer.discardPages()
        port.link.endTransfer(isDone)
    }

    // MARK: Head

    private mutating func writeHead(_ pipe: StatePipe, connections: Int) -> Bool {
        migration.write(SavedHead(guest, mac: port.guestMAC, connections: connections))
        return pipe.write(migration.buffer, 0..<SavedHead.byteCount)
    }

    /// Connections that follow; nil for a state of another program or version.
    private mutating func readHead(_ pipe: StatePipe) -> Int? {
        guard pipe.read(into: &migration.buffer, 0..<SavedHead.byteCount), let head = SavedHead(migration.buffer.bytes) else { return nil }
        if !head.mac.isMulticast, head.mac != .zero, head.mac != port.gatewayMAC { port.guestMAC = head.mac }
        head.restricted { services.mayBeGuest($0) }.tell(&guest)
        return head.connections
    }

    // MARK: Saving

    /// True when the state is in the pipe, or as much of it as can be. Of what does not move, at least the guest's end does: somebody has to tell the guest.
    private mutating func saveState(_ pipe: StatePipe) -> Bool {
        tcp.flushPending(&port, now: monotonicNanoseconds() / 1_000_000)
        if migration.helper.isThere() { tcp.standStill(&migration) }
        if migration.takesConnections, tcp.hasMovable, tcp.movable == 0 { notices.note(.movesWithoutConnections) }
        guard writeHead(pipe, connections: tcp.known) else { return false }
        for index in 0..<tcp.table.highWater where tcp.isKnown(index) {
            // A monitor that takes so little gets the machine without the rest of its connections.
            let saved = tcp.isMovable(index) && !pipe.isSlow ? tcp.save(index, &migration) : nil
            guard write(saved ?? SavedConnection(leavingBehind: tcp.table[index]), pipe) else { return false }
            if saved != nil { port.counters.add(.tcpMovedAway) }
        }
        return true
    }

    private mutating func write(_ saved: SavedConnection, _ pipe: StatePipe) -> Bool {
        migration.write(saved)
        return pipe.write(migration.buffer, 0..<SavedConnection.byteCount) && pipe.write(migration.buffer, saved.receivedRange)
            && pipe.write(migration.buffer, saved.unsentRange)
    }

    // MARK: Loading

    /// False only where the front-end must not go on: never for a connection's sake.
    private mutating func loadState(_ pipe: StatePipe, now: Int64) -> Bool {
        defer { pipe.drain(&migration.buffer) }
        guard let count = readHead(pipe) else {
            port.counters.add(.unknownStates)
            notices.note(.unknownState)
            return true
        }
        let canMove = count > 0 && migration.helper.isThere()
        var left = count
        defer {
            port.counters.add(.tcpLostOnTheWay, left)
            if left > 0 { notices.note(.connectionsLost) }
        }
        for _ in 0..<min(count, tcp.table.capacity) {
            guard pipe.read(into: &migration.buffer, 0..<SavedConnection.byteCount), let saved = SavedConnection(migration.buffer.bytes) else { break }
            let fits = migration.takesConnections && saved.fits
            guard fits ? readQueues(of: saved, pipe) : pipe.skip(saved.received + saved.unsent, &migration.buffer) else { break }
            let isBack = canMove && fits && saved.isSound && isAllowed(saved) && hasRoomForLoaded() && tcp.load(saved, &migration, &port, now: now)
            if isBack || saved.isLeftBehind { left -= 1 }
            if isBack {
                port.counters.add(.tcpMovedHere)
            } else if services.mayBeGuest(saved.key.guest) {
                // Lesson 24: what has ended on one side ends on the other.
                tcp.loadLost(saved, &port, now: now)
            }
        }
        return true
    }

    private mutating func readQueues(of saved: SavedConnection, _ pipe: StatePipe) -> Bool {
        pipe.read(into: &migration.buffer, saved.receivedRange) && pipe.read(into: &migration.buffer, saved.unsentRange)
    }

    private func isAllowed(_ saved: SavedConnection) -> Bool {
        enabled.tcp && services.mayBeGuest(saved.key.guest) && saved.isAllowed(tcp.translation)
    }

    /// The front-end still has descriptors to send.
    private mutating func hasRoomForLoaded() -> Bool { tcp.table.count < tcp.table.capacity && roomOfGuest > 0 }

    // MARK: What becomes of the sockets

    /// The machine's end has come. True when connections of it stand still here on purpose: it was moved, and its peers are not told that anything is over.
    mutating func leavesConnections() -> Bool {
        switch migration.phase {
        case .idle: return false
        case .left: return tcp.hasStill
        case .loaded:
            // It has never run here, and goes on where it came from.
            migration.phase = .idle
            tcp.closeStill(&port)
        case .saved:
            migration.phase = .left
            tcp.closeStill(&port, butMoved: migration.after == .linger)
        }
        migration.helper.letGo()
        return tcp.hasStill
    }

    /// A machine has something to say, or is ready to hear: the one that was saved goes on here, the one that was loaded begins to, or another one has come, and
    /// what stands still of the last one ends in silence. Either of a machine's rings may be the first to run.
    mutating func guestIsHere(now: Int64) {
        switch migration.phase {
        case .idle: return
        case .saved: tcp.goOn(.offWithoutProbe, &migration, &port, now: now)
        case .loaded: tcp.goOn(.off, &migration, &port, now: now)
        case .left: tcp.closeStill(&port)
        }
        migration.phase = .idle
        // Helpers are started for one move each, and waited for (KubeVirt).
        migration.helper.letGo()
    }
}
