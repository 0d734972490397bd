internal import Linux
internal import Settings
internal import Wire

/// A segment of the guest, checked: lengths and offsets are those of the batch that it came in.
struct GuestSegment: BitwiseCopyable {
    var key: FlowKey
    var header: TCPHeader
    var typeOfService: UInt8 = 0
}

/// All TCP connections of a worker.
struct TCPTranslator<Sockets: HostSockets & ~Copyable>: ~Copyable {
    var sockets: Sockets
    var table: FlowTable<TCPConnection>
    var timers: TimerWheel
    var translation: AddressTranslation
    /// Largest payload of a segment from the guest, by family, told in SYNs.
    let segmentSize4: UInt16
    let segmentSize6: UInt16
    let seed: SipHash

    /// Data of one connection, still in the guest's frames, that goes out with one call.
    var pending: ScatterList
    var pendingIndex = -1
    /// Where in the batch the last piece of it ends.
    var pendingEnd = -1
    /// Where pieces for the kernel to fill are collected.
    var slots: ScatterList
    /// Takes what is peeked at a second time where the kernel keeps no peek offset.
    var scrap: Mapping
    var hasPeekOffset = true
    var closed: ClosedConnections
    /// Of connections that have come from another host.
    var leftovers: Leftovers
    var kept: KeptData
    var late: LatePieces
    var gathered: KeptData
    /// The last round took so long that queues may have grown unseen; see `TCPGathered`.
    var isLate = false
    var postponed: Postponed
    /// Connections that are not open yet, the oldest first: those of the guest, and those of others.
    var halfOpenOut: UsageOrder
    var halfOpenIn: UsageOrder
    /// Connections that others have opened.
    var inboundCount = 0
    /// Which of those with much for the guest may send it.
    var turns: DownloadTurns
    /// Connections that the guest may still open in this batch: there are descriptors for no more.
    var openings = Int.max
    /// The kernel has refused a descriptor since this was last looked at.
    var lacksDescriptors = false
    /// Connections to finish at the end of the round.
    private var touched: FixedTable<UInt32>
    private var touchedCount = 0
    private var isListIncomplete = false
    /// Somebody opens a connection to this address of a guest that has not been heard yet, or does not answer: its link address may be unknown, or have changed.
    var sought: IPAddress?
    /// When the guest may have been started anew, in milliseconds of the worker's clock.
    var restartedAt: UInt32?
    /// Connections that the link had no room for.
    var waiting: WaitingList

    init(sockets: consuming Sockets, translation: AddressTranslation, mtu: Int, capacity: Int, seed: SipHash, now: Int64) throws(Errno) {
        let table = try FlowTable<TCPConnection>(capacity: capacity, seed: seed)
        let timers = try TimerWheel(capacity: capacity, now: now)
        let pending = try ScatterList(capacity: 256)
        let slots = try ScatterList(capacity: 1024)
        let scrap = try Mapping(byteCount: 65536)
        let halfOpenOut = try UsageOrder(capacity: capacity)
        let halfOpenIn = try UsageOrder(capacity: capacity)
        let turns = try DownloadTurns(capacity: capacity)
        let touched = try FixedTable<UInt32>(count: TCPTranslator.touchedCapacity)
        let waiting = try WaitingList(capacity: capacity)
        let closed = try ClosedConnections(seed: seed)
        let leftovers = try Leftovers()
        let kept = try KeptData()
        let late = try LatePieces()
        let gathered = try KeptData()
        let postponed = try Postponed(capacity: capacity)
        self.table = table
        self.turns = turns
        self.timers = timers
        self.pending = pending
        self.slots = slots
        self.scrap = scrap
        self.halfOpenOut = halfOpenOut
        self.halfOpenIn = halfOpenIn
        self.touched = touched
        self.closed = closed
        self.leftovers = leftovers
        self.kept = kept
        self.late = late
        self.gathered = gathered
        self.postponed = postponed
        self.waiting = waiting
        self.sockets = sockets
        self.translation = translation
        self.seed = seed
        let mtu = mtu == 0 ? Network.defaultMTU : mtu
        segmentSize4 = UInt16(clamping: max(mtu - 40, 88))
        segmentSize6 = UInt16(clamping: max(mtu - 60, 88))
    }

    static var touchedCapacity: Int { 512 }

    static func tag(_ index: Int, generation: UInt16) -> UInt64 {
        EventTag(.tcp, index: index, generation: generation).bits
    }

    // MARK: Entry points

    /// A segment of the guest, in order of arrival. `arena` holds its payload until `endRound`.
    mutating func fromGuest<Link: GuestLink & ~Copyable>(
        _ segment: GuestSegment, in arena: borrowing Mapping, _ port: inout GuestPort<Link>, now: Int64
    ) {
        guard let index = table.findInRun(segment.key) else {
            if answerForClosed(segment, &port, now: now) { return }
            if segment.header.flags.contains(.syn), segment.header.flags.isDisjoint(with: [.ack, .rst, .fin]) {
                openToHost(segment, &port, now: now)
            } else {
                resetUnknown(segment, &port)
            }
            return
        }
        if table[index].events.contains(.mustReset) {
            // It is gone, and this segment is the occasion to say so.
            remove(index, &port)
            fromGuest(segment, in: arena, &port, now: now)
            return
        }
        if pendingIndex != index { flushPending(&port, now: now) }
        process(segment, index, in: arena, &port, now: now)
    }

    /// Something happened on the socket of `index`; the caller has checked that it is still the same connection.
    mutating func fromHost<Link: GuestLink & ~Copyable>(
        _ index: Int, _ events: Epoll.Events, _ port: inout GuestPort<Link>, now: Int64
    ) {
        if table[index].events.contains(.mustReset) { return }
        if events.contains(.priority) { table[index].hasUrgent = true }
        if table[index].events.contains(.standsStill) {
            // For when it goes on: an edge comes once.
            if events.contains(.error) { table[index].events.insert(.hasFailed) } else if events.contains(.readHangUp) { table[index].events.insert(.inputEnds) }
            return
        }
        if !table[index].events.contains(.synSent) {
            connectionDecided(index, events, &port, now: now)
            return
        }
        if events.contains(.readHangUp) { answerEnds(index, now: now) }
        if events.contains(.input) || events.contains(.hangUp) || events.contains(.error) { table[index].events.insert(.hasInput) }
        if events.contains(.error) {
            if table[index].events.contains(.finSent), let _ = sockets.connectionError(table[index].socket) {
                // Nothing is read any more that would tell of it.
                endByReset(index, &port, now: now)
                return
            }
            table[index].events.insert(.hasFailed)
        } else if events.contains(.readHangUp) {
            // With an error it is no end of the stream: the guest must see a reset behind the data.
            table[index].events.formUnion([.hasInput, .inputEnds])
        }
        if events.contains(.input) { lookBehindInput(index, now: now) }
        if events.contains(.output), !roomAgain(index, &port, now: now) { return }
        if !answerWaits(index, events) { touch(index) }
    }

    /// Ends a round: everything from the guest is with the sockets, acknowledgements and data are on their way.
    mutating func endRound<Link: GuestLink & ~Copyable>(_ port: inout GuestPort<Link>, now: Int64) {
        flushPending(&port, now: now)
        hurryPostponed(now: now)
        settleListed(&port, now: now)
        while isListIncomplete {
            isListIncomplete = false
            for index in 0..<table.highWater { settleTouched(index, &port, now: now) }
            settleListed(&port, now: now)
        }
    }

    private mutating func settleListed<Link: GuestLink & ~Copyable>(_ port: inout GuestPort<Link>, now: Int64) {
        var position = 0
        while position < touchedCount {
            settleTouched(Int(touched[position]), &port, now: now)
            position += 1
        }
        touchedCount = 0
    }

    private mutating func settleTouched<Link: GuestLink & ~Copyable>(_ index: Int, _ port: inout GuestPort<Link>, now: Int64) {
        guard table.isUsed(index), table[index].events.contains(.isTouched) else { return }
        table[index].events.remove(.isTouched)
        settle(index, &port, now: now)
    }

    /// Remembers that `index` has to be settled at the end of this round, and does nothing else: the caller may be in the middle of anything. Where there are more
    /// than the list holds, the table is searched for them.
    mutating func touch(_ index: Int) {
        if table[index].events.contains(.isTouched) { return }
        table[index].events.insert(.isTouched)
        guard touchedCount < TCPTranslator.touchedCapacity else {
            isListIncomplete = true
            return
        }
        touched[touchedCount] = UInt32(truncatingIfNeeded: index)
        touchedCount += 1
    }

    /// Whether there is a connection, which may have ended since it was found: what is sent to its socket can fail.
    func isAlive(_ index: Int) -> Bool { table.isUsed(index) && !table[index].events.contains(.mustReset) }

    /// Sends what can be sent, acknowledges what has to be acknowledged, and ends what has ended.
    private mutating func settle<Link: GuestLink & ~Copyable>(_ index: Int, _ port: inout GuestPort<Link>, now: Int64) {
        guard table[index].events.contains(.established), table[index].events.isDisjoint(with: [.mustReset, .standsStill]) else { return }
        if !pump(index, &port, now: now) { return }
        acknowledgeIfDue(index, &port, now: now)
        let events = table[index].events
        if events.contains(.finFromGuest), events.contains(.finAcknowledged), table[index].acknowledged == table[index].expected {
            close(index, &port, now: now)
        } else {
            armTimer(index, now: now)
            if events.contains(.hasMore) { timers.setNoLater(index, than: now) }
            if events.contains(.wasRefused) { trySoon(index, now: now) }
        }
    }

    /// What the link had no room for was not sent, and is not lost either: no retransmission timeout, but another try once the link may
    /// have room (lesson 17).
    private mutating func trySoon(_ index: Int, now: Int64) {
        table[index].events.remove(.wasRefused)
        waitForLink(index)
        timers.setNoLater(index, than: now + TCPTranslator.refusalInterval(table[index].refusals))
        if table[index].refusals < 7 { table[index].refusals += 1 }
    }

    /// Milliseconds, by how often the link has refused in a row.
    @_noAllocation @_noLocks
    static func refusalInterval(_ refusals: UInt8) -> Int64 { 1 << Int64(min(refusals, 7)) }

    // MARK: The end

    /// Both directions are done.
    mutating func close<Link: GuestLink & ~Copyable>(_ index: Int, _ port: inout GuestPort<Link>, now: Int64) {
        endOutage(index)
        closeLater(index, now: now)
        closed.insert(table[index], now: now)
        remove(index, &port)
    }

    /// The guest has to hear that its connection is gone. A guest that only waits for data would never ask, so where the link has no room for
    /// the reset, it is sent a little later.
    mutating func endByReset<Link: GuestLink & ~Copyable>(_ index: Int, _ port: inout GuestPort<Link>, now: Int64) {
        if resetGuest(index, &port) {
            abort(index, &port)
            return
        }
        forgetPending(index)
        forgetPostponed(index)
        forgetRefused(index)
        forgetLate(index)
        sockets.abort(table[index].socket)
        table[index].socket = .none
        table[index].events.insert(.mustReset)
        table[index].retransmissions = 0
        timers.set(index, at: now + TCPTranslator.resetInterval)
    }

    /// The host's side has aborted, or the guest's has: the host's peer sees a reset.
    mutating func abort<Link: GuestLink & ~Copyable>(_ index: Int, _ port: inout GuestPort<Link>) {
        if table[index].socket.isOpen { sockets.abort(table[index].socket) }
        remove(index, &port)
    }

    mutating func remove<Link: GuestLink & ~Copyable>(_ index: Int, _ port: inout GuestPort<Link>) {
        turns.forget(index)
        forgetPending(index)
        forgetHalfOpen(index)
        forgetPostponed(index)
        if table[index].events.contains(.hasLeftover) { leftovers.forget(index) }
        forgetRefused(index)
        forgetLate(index)
        endGathering(index)
        if table[index].events.contains(.isInbound) { inboundCount -= 1 }
        timers.cancel(index)
        table.remove(index)
        port.counters.add(.tcpClosed)
    }

    private mutating func forgetPending(_ index: Int) {
        guard pendingIndex == index else { return }
        pending.removeAll()
        pendingIndex = -1
    }
}
