internal import Linux
internal import Wire

/// Connections that stand still, are taken apart, and are put together again.
extension TCPTranslator where Sockets: ~Copyable {
    // MARK: Standing still

    /// Connections that are open in both directions can move. Whichever is about to end anyway stays.
    func canMove(_ index: Int) -> Bool {
        let connection = table[index]
        return connection.events.contains(.established) && connection.socket.isOpen
            && connection.events.isDisjoint(with: [.finFromGuest, .endOfStream, .finSent, .inputEnds, .hasFailed, .mustReset, .hasLeftover])
            && connection.gatheredPlace == 0 && connection.acknowledged <= connection.expected && !connection.key.remote.isLinkLocal
    }

    var hasStill: Bool {
        for index in 0..<table.highWater where isStill(index) { return true }
        return false
    }

    func isStill(_ index: Int) -> Bool { table.isUsed(index) && table[index].events.contains(.standsStill) }

    /// Milliseconds in which peers may acknowledge what is under way to them. The machine says nothing new, and what has arrived need not move.
    private static var settling: Int64 { 100 }

    private func letSettle() {
        let end = monotonicNanoseconds() + TCPTranslator.settling * 1_000_000
        for index in 0..<table.highWater where table.isUsed(index) && canMove(index) {
            while monotonicNanoseconds() < end, let path = table[index].socket.tcpPath(), path.isConnected, path.unacknowledged > 0 {
                // Nobody else has anything to do here.
                _ = table[index].socket.awaitPriorityInput(milliseconds: 1)
            }
        }
    }

    /// Of those that stand still, it is in repair mode: the helper has done that, whatever became of the others.
    func isMovable(_ index: Int) -> Bool { isStill(index) && canMove(index) && table[index].socket.isInRepairMode }

    /// The guest has heard of it from us. One that it merely asks for, it asks for again, wherever it is by then.
    func isKnown(_ index: Int) -> Bool { table.isUsed(index) && !table[index].events.isDisjoint(with: [.synSent, .established]) }

    var known: Int {
        var count = 0
        for index in 0..<table.highWater where isKnown(index) { count += 1 }
        return count
    }

    /// Whether there are any that would be, with a helper.
    var hasMovable: Bool {
        for index in 0..<table.highWater where table.isUsed(index) && canMove(index) && !staysHere(table[index].socket) { return true }
        return false
    }

    /// How many of them there are.
    var movable: Int {
        var count = 0
        for index in 0..<table.highWater where isMovable(index) { count += 1 }
        return count
    }

    /// It leads to this host itself, which does not move.
    private func staysHere(_ socket: Descriptor) -> Bool {
        guard let local = try? socket.localAddress().endpoint, let peer = try? socket.peerAddress().endpoint else { return true }
        return peer.address.isLoopback || peer.address == local.address
    }

    /// All that can move stand still from here on, in repair mode as far as the helper does its part (`isMovable`).
    mutating func standStill(_ migration: inout Migration) {
        finishPostponed()
        letSettle()
        var count = 0
        for index in 0..<table.highWater where table.isUsed(index) && canMove(index) {
            guard !staysHere(table[index].socket), (try? table[index].socket.dropInput()) != nil else { continue }
            // Repair mode does not stop the kernel's own questions, to which no answer arrives any more: it would reset the connection that has moved.
            if table[index].keepAliveTime > 0 { try? table[index].socket.setKeepAlive(false) }
            table[index].events.insert(.standsStill)
            forgetPostponed(index)
            migration.numbers[count] = table[index].socket.number
            count += 1
            guard count == DescriptorPassing.most else { continue }
            guard migration.helper.apply(.on, to: migration.numbers, count: count) else { return }
            count = 0
        }
        if count > 0 { _ = migration.helper.apply(.on, to: migration.numbers, count: count) }
    }

    /// Its queues lie in the buffer behind that. Nil where it cannot move after all.
    mutating func save(_ index: Int, _ migration: inout Migration) -> SavedConnection? {
        let socket = table[index].socket
        do throws(Errno) {
            guard let local = try socket.localAddress().endpoint, let peer = try socket.peerAddress().endpoint else { return nil }
            // Interfaces have other numbers elsewhere, if they are there at all.
            if local.address.needsScope || peer.address.needsScope { return nil }
            // Set back where the connection goes on here.
            if table[index].hasUrgent {
                // Behind it the queue is seen by another look only.
                guard sockets.setPeekOffset(0, on: socket) else { return nil }
                table[index].events.insert(.peekOffset)
            } else if table[index].events.contains(.peekOffset) {
                _ = sockets.setPeekOffset(0, on: socket)
            }
            let received = try socket.peekQueue(
                .receive, into: &migration.buffer, offset: Migration.received, length: Migration.mostQueued, inPieces: table[index].hasUrgent)
            guard let state = try socket.repairState() else { return nil }
            var saved = SavedConnection(table[index], state, local: local, peer: peer)
            saved.received = received
            saved.unsent = try socket.peekQueue(.send, into: &migration.buffer, offset: Migration.unsent, length: Migration.mostQueued)
            return saved.isSound ? saved : nil
        } catch {
            return nil
        }
    }

    /// The connections are the machine's from here on, or again. `mode` says how repair mode ends.
    mutating func goOn<Link: GuestLink & ~Copyable>(_ mode: RepairMode, _ migration: inout Migration, _ port: inout GuestPort<Link>, now: Int64) {
        var first = 0
        while first < table.highWater {
            var (count, next) = (0, first)
            while next < table.highWater, count < DescriptorPassing.most {
                if isStill(next), table[next].socket.isOpen {
                    migration.numbers[count] = table[next].socket.number
                    count += 1
                }
                next += 1
            }
            let isOff = count == 0 || migration.helper.isThere() && migration.helper.apply(mode, to: migration.numbers, count: count)
            for index in first..<next where isStill(index) {
                table[index].events.remove(.standsStill)
                // One that stays in repair mode is of no use any more. Where the helper had failed before, it never was in it.
                guard isOff || !table[index].socket.isInRepairMode, (try? table[index].socket.takeInputAgain()) != nil else {
                    endByReset(index, &port, now: now)
                    continue
                }
                resume(index, &port, now: now)
            }
            first = next
        }
    }

    private mutating func resume<Link: GuestLink & ~Copyable>(_ index: Int, _ port: inout GuestPort<Link>, now: Int64) {
        let connection = table[index]
        // Repair mode takes the permission to share a port with it (SK_NO_REUSE), which a listener that is opened anew needs.
        try? connection.socket.setReuseAddress()
        if connection.keepAliveTime > 0 { try? connection.socket.setKeepAlive(true) }
        if connection.events.contains(.peekOffset) { _ = sockets.setPeekOffset(Int(connection.peekPosition), on: connection.socket) }
        table[index].events.insert(.mustAcknowledge)
        look(index, now: now)
        // Events that came meanwhile were not looked at, and come once only.
        fromHost(index, [.input, .output], &port, now: now)
        if table.isUsed(index) { touch(index) }
    }

    /// Whatever stands still is closed, which a socket in repair mode does without a word. Any other's peer sees a reset. `butMoved`: only those others are.
    mutating func closeStill<Link: GuestLink & ~Copyable>(_ port: inout GuestPort<Link>, butMoved: Bool = false) {
        for index in 0..<table.highWater where isStill(index) && !(butMoved && table[index].socket.isInRepairMode) {
            abort(index, &port)
        }
    }

    // MARK: Going on

    /// Makes a socket that will go on with the connection, whose queues lie in the buffer; it stands still until the machine runs here. False where that does
    /// not work out, and nothing is left of it.
    mutating func load<Link: GuestLink & ~Copyable>(_ saved: SavedConnection, _ migration: inout Migration, _ port: inout GuestPort<Link>, now: Int64) -> Bool {
        guard table.find(saved.key) == nil, let socket = try? Descriptor.socket(.stream, for: saved.local.address) else { return false }
        guard (try? takeUp(saved, socket, &migration)) != nil, let index = table.insert(saved.connection(socket, now: now)) else {
            // In repair mode, or never connected: without a word.
            socket.close()
            return false
        }
        guard (try? sockets.adopt(socket, tag: TCPTranslator.tag(index, generation: table.generation(of: index)))) != nil,
            saved.notSentRange.isEmpty || leftovers.keep(saved.notSentRange, of: migration.buffer, for: index)
        else {
            table.remove(index)
            socket.close()
            return false
        }
        // What was never sent leaves in the usual way, once it may.
        if !saved.notSentRange.isEmpty { table[index].events.formUnion([.hasLeftover, .outputBlocked, .awaitsRoom]) }
        table[index].events.insert(.standsStill)
        port.counters.add(.tcpOpened)
        if saved.isInbound { inboundCount += 1 }
        return true
    }

    /// The guest hears of the end of a connection that has not come along, once it runs here.
    mutating func loadLost<Link: GuestLink & ~Copyable>(_ saved: SavedConnection, _ port: inout GuestPort<Link>, now: Int64) {
        guard saved.canBeLost, table.find(saved.key) == nil, table.insert(saved.lostConnection(now: now)) != nil else { return }
        port.counters.add(.tcpOpened)
    }

    /// Ends what the machine has here that is loaded anew. Clients that wait for a machine to answer are not of its past.
    mutating func abortEarlier<Link: GuestLink & ~Copyable>(_ port: inout GuestPort<Link>) {
        for index in 0..<table.highWater where table.isUsed(index) {
            let events = table[index].events
            if events.contains(.established) || !events.contains(.opensToGuest) { abort(index, &port) }
        }
    }

    private func takeUp(_ saved: SavedConnection, _ socket: Descriptor, _ migration: inout Migration) throws(Errno) {
        migration.numbers[0] = socket.number
        guard migration.helper.apply(.on, to: migration.numbers, count: 1) else { throw Errno(1) }  // EPERM
        socket.prepareStream()
        // What already comes this way is not ours to acknowledge: the machine may still stay where it is.
        try socket.dropInput()
        if !saved.isInbound, let index = translation.family(of: saved.peer.address).outboundInterface { try socket.bindToInterface(index: index) }
        try socket.takeUp(
            saved.socket, from: SocketAddress(saved.local), to: SocketAddress(saved.peer),
            sendStart: saved.socket.sendEnd &- UInt32(truncatingIfNeeded: saved.unsent),
            receiveStart: saved.socket.receiveEnd &- UInt32(truncatingIfNeeded: saved.received))
        // Both queues must hold at once what the peer may acknowledge or has had acknowledged: there is room for as much as the kernel allows.
        try? socket.enlargeSendBuffer(max(saved.unsent, 256 << 10))
        try socket.fillQueue(.receive, migration.buffer.bytes.extracting(saved.receivedRange))
        try socket.fillQueue(.send, migration.buffer.bytes.extracting(saved.sentRange))
        try socket.setRepairWindow(saved.socket.window)
    }

    /// The socket has room again. True when nothing is left over; an error is none of EAGAIN.
    mutating func sendLeftover(_ index: Int) throws(Errno) -> Bool {
        // The window that the guest is told must not say otherwise.
        table[index].sendSpace = 0
        guard try leftovers.send(index, on: table[index].socket) else { return false }
        table[index].events.remove(.hasLeftover)
        return true
    }
}
