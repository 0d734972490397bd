internal import Linux
internal import Wire

/// All UDP flows of a worker.
struct UDPTranslator: ~Copyable {
    var table: FlowTable<UDPFlow>
    var timers: TimerWheel
    let epoll: Epoll
    var translation: AddressTranslation
    let timeouts: UDPTimeouts

    /// Flows that were answered, and those that were not: the guest's and those of others. The one that was idle the longest is first.
    var answered: UsageOrder
    var waitingOut: UsageOrder
    var waitingIn: UsageOrder
    /// The same of those without a socket of their own.
    var sharedAnswered: UsageOrder
    var sharedWaiting: UsageOrder
    /// Flows that others have opened.
    var inboundCount = 0
    /// How many of them there are of each listener, by its index + 1.
    var listenerFlows: FixedTable<UInt32>
    /// Those with a socket of their own.
    var separated: FixedTable<UInt32>
    /// Flows that the guest may still open in this batch: there are descriptors for no more.
    var openings = Int.max
    /// The kernel has refused a descriptor since this was last looked at.
    var lacksDescriptors = false
    var ports: PortClaims
    var substitutes: PortSubstitutes
    var sharing: PortSharing
    /// The guest's datagrams of this round, and the messages made of them.
    var outgoing: SendBatch
    var pending: FixedTable<PendingDatagram>
    /// Where each message in `outgoing` begins.
    var starts: FixedTable<PendingPosition>
    /// Flows with pending datagrams.
    private var touched: FixedTable<UInt32>
    private var touchedCount = 0
    var incoming: ReceiveBatch
    /// The kernel cuts messages into datagrams.
    var canSegment: Bool
    /// What sockets use unasked.
    let defaultHopLimit: (ipv4: UInt8, ipv6: UInt8)

    init(
        epoll: Epoll, translation: AddressTranslation, timeouts: UDPTimeouts = UDPTimeouts(), capacity: Int, seed: SipHash, now: Int64
    ) throws(Errno) {
        let table = try FlowTable<UDPFlow>(capacity: capacity, seed: seed)
        let timers = try TimerWheel(capacity: capacity, now: now)
        let listenerFlows = try FixedTable<UInt32>(count: ListenerTable.capacity + 1)
        let separated = try FixedTable<UInt32>(count: ListenerTable.capacity + 1)
        let answered = try UsageOrder(capacity: capacity)
        let waitingOut = try UsageOrder(capacity: capacity)
        let waitingIn = try UsageOrder(capacity: capacity)
        let sharedAnswered = try UsageOrder(capacity: capacity)
        let sharedWaiting = try UsageOrder(capacity: capacity)
        let ports = try PortClaims()
        let substitutes = try PortSubstitutes()
        let sharing = try PortSharing()
        let outgoing = try SendBatch(payloads: UDPTranslator.mostPending, messages: 64)
        let pending = try FixedTable<PendingDatagram>(count: UDPTranslator.mostPending)
        let starts = try FixedTable<PendingPosition>(count: 64)
        let touched = try FixedTable<UInt32>(count: UDPTranslator.mostPending)
        let incoming = try ReceiveBatch(capacity: SlotLayout.count)
        self.table = table
        self.timers = timers
        self.answered = answered
        self.waitingOut = waitingOut
        self.waitingIn = waitingIn
        self.sharedAnswered = sharedAnswered
        self.sharedWaiting = sharedWaiting
        self.ports = ports
        self.substitutes = substitutes
        self.sharing = sharing
        self.outgoing = outgoing
        self.pending = pending
        self.starts = starts
        self.touched = touched
        self.incoming = incoming
        self.listenerFlows = listenerFlows
        self.separated = separated
        self.epoll = epoll
        self.translation = translation
        self.timeouts = timeouts
        let ipv4 = UDPTranslator.probe(IPAddress(IPv4Address.any))
        let ipv6 = UDPTranslator.probe(IPAddress(IPv6Address.any))
        canSegment = ipv4.canSegment || ipv6.canSegment
        defaultHopLimit = (ipv4.hopLimit, ipv6.hopLimit)
    }

    /// Most datagrams of the guest that wait for the end of a round.
    static var mostPending: Int { 256 }

    private static func probe(_ address: IPAddress) -> (canSegment: Bool, hopLimit: UInt8) {
        guard let socket = try? Descriptor.socket(.datagram, for: address) else { return (false, 64) }
        let result = (socket.canSegment, (try? socket.hopLimit(isIPv4: address.isIPv4)) ?? 64)
        socket.close()
        return result
    }

    // MARK: Entry points

    /// A datagram of the guest, in order of arrival. `arena` holds its payload until `flushPending` or `endRound`.
    mutating func fromGuest<Link: GuestLink & ~Copyable>(
        _ datagram: GuestDatagram, in arena: borrowing Mapping, _ port: inout GuestPort<Link>, now: Int64
    ) {
        port.counters.add(.udpDatagramsFromGuest)
        guard let index = table.find(datagram.key) ?? openToHost(datagram, &port, now: now) else { return }
        if table[index].flags.contains(.byListener), table[index].flags.contains(.answered) { separate(index, &port) }
        if !adopt(datagram, index, &port, now: now) { return }
        if !outgoing.hasRoomForPayload { flushPending(&port, now: now) }
        let number = outgoing.note(arena, offset: datagram.payloadOffset, length: datagram.payloadLength)
        pending[number] = PendingDatagram(length: datagram.payloadLength, segmentSize: datagram.segmentSize)
        let entry = UInt16(truncatingIfNeeded: number + 1)
        if table[index].firstPending == 0 {
            table[index].firstPending = entry
            touched[touchedCount] = UInt32(truncatingIfNeeded: index)
            touchedCount += 1
        } else {
            pending[Int(table[index].lastPending) - 1].next = entry
        }
        table[index].lastPending = entry
        table[index].lastLength = UInt16(truncatingIfNeeded: datagram.datagramLength)
        if table[index].flags.contains(.inbound) { noteAnswer(index, now: now) } else { use(index, now: now) }
    }

    /// Something happened on the socket of `index`; the caller has checked that it is still the same flow.
    mutating func fromHost<Link: GuestLink & ~Copyable>(
        _ index: Int, _ events: Epoll.Events, _ port: inout GuestPort<Link>, now: Int64
    ) {
        if events.contains(.error) { takeErrors(index, &port) }
        if !events.isDisjoint(with: [.input, .hangUp]) { receive(index, &port, now: now) }
    }

    /// Hands the guest's datagrams to their sockets: the arena that they lie in may be used again.
    mutating func flushPending<Link: GuestLink & ~Copyable>(_ port: inout GuestPort<Link>, now: Int64) {
        for position in 0..<touchedCount {
            let index = Int(touched[position])
            if table.isUsed(index) { flush(index, &port) }
        }
        touchedCount = 0
        outgoing.forgetPayloads()
    }

    /// Ends a round: everything from the guest is with the sockets.
    mutating func endRound<Link: GuestLink & ~Copyable>(_ port: inout GuestPort<Link>, now: Int64) {
        if touchedCount > 0 { flushPending(&port, now: now) }
    }

    mutating func expireTimers<Link: GuestLink & ~Copyable>(_ port: inout GuestPort<Link>, now: Int64) {
        var budget = TimerWheel.mostPerRound
        while budget > 0, let index = timers.expire(at: now) {
            budget -= 1
            let due = table[index].usedAt + timeouts.timeout(of: table[index], isBusy: isBusy)
            if due <= now { close(index, &port) } else { timers.set(index, at: due) }
        }
    }

    // MARK: Use and the end

    /// Flows that have a descriptor.
    var socketCount: Int { table.count - sharedAnswered.count - sharedWaiting.count }

    private var isBusy: Bool { table.count > table.capacity / 2 }

    mutating func use(_ index: Int, now: Int64) {
        table[index].usedAt = now
        noteUse(index)
    }

    /// Something came back: the flow lasts longer from now on, or less long where it has done what it was for.
    mutating func noteAnswer(_ index: Int, now: Int64) {
        if table[index].flags.contains(.answered) { return use(index, now: now) }
        forgetUse(index)
        table[index].flags.insert(.answered)
        use(index, now: now)
        timers.setNoLater(index, than: now + timeouts.timeout(of: table[index], isBusy: isBusy))
    }

    /// The only way in which a flow ends (lessons 26 and 34). Closing takes the socket out of epoll, too.
    mutating func close<Link: GuestLink & ~Copyable>(_ index: Int, _ port: inout GuestPort<Link>) {
        let flow = table[index]
        let isOwn = !flow.flags.contains(.byListener)
        if isOwn { flow.socket.close() }
        if flow.origin.isListener {
            listenerFlows[Int(flow.origin.number)] -= 1
            if isOwn { separated[Int(flow.origin.number)] -= 1 }
        }
        if flow.flags.contains(.claimsPort) { ports.release(flow.key.guestPort, isIPv4: flow.remote.address.isIPv4) }
        if flow.flags.contains(.hasSubstitute) { substitutes.release(flow.key.guest, flow.key.guestPort, isIPv4: flow.remote.address.isIPv4) }
        timers.cancel(index)
        forgetUse(index)
        if flow.flags.contains(.inbound) { inboundCount -= 1 }
        table.remove(index)
        port.counters.add(.udpClosed)
    }
}
