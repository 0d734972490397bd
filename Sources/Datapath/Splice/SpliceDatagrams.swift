internal import Linux
internal import Wire

/// A client of a listener for datagrams, and the socket that speaks for it on the other side.
struct SpliceClient: FlowEntry {
    /// "Guest" is what the client has contacted, "remote" is the client.
    let key: FlowKey
    let far: Descriptor
    /// Answers leave by the listener, as long as it is there.
    let listener: UInt32
    let listenerGeneration: UInt16
    var isAnswered = false
    /// Sent more than once: with answers, this is a conversation.
    var hasRepeated = false
    /// Milliseconds, when either side sent last.
    var usedAt: Int64
}

/// A datagram of a client, where it lies, and what it was sent to. `segmentSize`: 0, or it is several of this size, the last of which may be shorter.
struct ArrivedDatagram: BitwiseCopyable {
    var source: Endpoint
    var contacted: IPAddress
    var offset: Int
    var length: Int
    var segmentSize: Int
}

/// Datagrams of one direction that take no detour over the guest's interface.
///
///     client ──> listener ══recvmmsg, sendmmsg══> far ──> server        one far socket for each client and address that it contacted
///     client <── listener <══recvmmsg, sendmmsg══ far <── server        answers leave from the address that was contacted (lesson 31)
///
/// A far socket takes a port of its side's ephemeral ones, which everybody there shares, so there are not as many as the table could hold. Who has asked once, whether
/// answered or not, gives way to the next at once; a conversation only when it was idle for some time. Without room, datagrams go the usual way.
///
/// Nothing is kept: what the other side does not take is lost. Clients have no socket of their own on the near side, so that ports
/// below 1024 need no right here, and nobody's datagrams arrive at another's socket (lesson 32).
struct SpliceDatagrams: ~Copyable {
    private(set) var table: FlowTable<SpliceClient>
    private var timers: TimerWheel
    /// Those in conversation, and all others; the one that was idle the longest is first.
    private var conversations: UsageOrder
    private var passing: UsageOrder
    private let timeouts = UDPTimeouts()
    private let isOutbound: Bool
    private let epoll: Epoll
    private var incoming: ReceiveBatch
    private var outgoing: SendBatch
    private var arena: Mapping
    /// Clients of the namespace that may still be taken on: there are descriptors for no more.
    var openings = Int.max
    /// Whose datagrams `outgoing` holds: index + 1, 0 for none.
    private var pending = 0

    /// Clients of one direction.
    static var most: Int { 4096 }
    /// Datagrams per call.
    private static var batch: Int { 16 }
    private static var slot: Int { 1 << 16 }
    /// Calls before others have their turn.
    private static var budget: Int { 4 }

    init(isOutbound: Bool, epoll: Epoll, capacity: Int, seed: SipHash, now: Int64) throws(Errno) {
        let table = try FlowTable<SpliceClient>(capacity: capacity, seed: seed)
        let timers = try TimerWheel(capacity: capacity, now: now)
        let conversations = try UsageOrder(capacity: capacity)
        let passing = try UsageOrder(capacity: capacity)
        let incoming = try ReceiveBatch(capacity: SpliceDatagrams.batch)
        let outgoing = try SendBatch(payloads: SpliceDatagrams.batch, messages: SpliceDatagrams.batch)
        let arena = try Mapping(byteCount: SpliceDatagrams.batch * SpliceDatagrams.slot)
        self.table = table
        self.timers = timers
        self.conversations = conversations
        self.passing = passing
        self.incoming = incoming
        self.outgoing = outgoing
        self.arena = arena
        self.isOutbound = isOutbound
        self.epoll = epoll
    }

    // MARK: Towards the far side

    func find(_ key: FlowKey) -> Int? { table.find(key) }

    /// Begins a client's flow: `far` goes to `target`. False, and `far` is still the caller's, where that does not work.
    mutating func open(
        _ key: FlowKey, far: Descriptor, to target: Endpoint, listener: Int, generation: UInt16, _ counters: inout Counters, now: Int64
    ) -> Bool {
        if table.count == table.capacity, !makeRoom(&counters, now: now) { return false }
        let client = SpliceClient(
            key: key, far: far, listener: UInt32(truncatingIfNeeded: listener), listenerGeneration: generation, usedAt: now)
        guard (try? far.connect(SocketAddress(target))) != nil, let index = table.insert(client) else { return false }
        let tag = EventTag(.spliceDatagrams, index: index << 1 | (isOutbound ? 1 : 0), generation: table.generation(of: index))
        guard (try? epoll.add(far, .input, tag: tag.bits)) != nil else {
            table.remove(index)
            return false
        }
        passing.use(index)
        timers.set(index, at: now + timeouts.oneWay)
        counters.add(.spliceClients)
        return true
    }

    /// Passes a datagram on at the latest by `flush`, until which `arena` must keep it.
    mutating func pass(_ index: Int, _ datagram: ArrivedDatagram, in arena: borrowing Mapping, _ counters: inout Counters, now: Int64) {
        prepare(index, &counters)
        let payload = outgoing.note(arena, offset: datagram.offset, length: datagram.length)
        outgoing.beginMessage()
        _ = outgoing.append(payload, from: 0, length: datagram.length)
        // Several that the kernel has joined: it takes them apart again.
        if datagram.segmentSize > 0, datagram.segmentSize < datagram.length { outgoing.segmentMessage(size: datagram.segmentSize) }
        noteQuestion(index, now: now)
    }

    private mutating func prepare(_ index: Int, _ counters: inout Counters) {
        if pending != index + 1 || !outgoing.hasRoomForPayload || outgoing.isFull { flush(&counters) }
        pending = index + 1
    }

    mutating func flush(_ counters: inout Counters) {
        guard pending != 0 else { return }
        let index = pending - 1
        pending = 0
        if table.isUsed(index) { SpliceDatagrams.send(&outgoing, on: table[index].far, &counters) }
        outgoing.forgetPayloads()
    }

    /// Sends what it can. An error is often that of an earlier datagram, which this call has taken away.
    private static func send(
        _ batch: inout SendBatch, on socket: Descriptor, to client: SocketAddress? = nil, from source: IPAddress? = nil, _ counters: inout Counters
    ) {
        var first = 0
        var failures = 0
        while first < batch.count {
            let outcome = batch.send(on: socket, from: first, to: client, source: source)
            if outcome.raw > 0 {
                counters.add(.spliceDatagrams, outcome.raw)
                first += outcome.raw
                failures = 0
            } else if outcome.wouldBlock {
                break
            } else {
                failures += 1
                // Twice the same: it is this datagram.
                if failures == 2 {
                    first += 1
                    failures = 0
                    counters.add(.spliceDatagramsLost)
                }
            }
        }
        if first < batch.count { counters.add(.spliceDatagramsLost, batch.count - first) }
    }

    /// All that waits at a listener of the namespace.
    mutating func receive(on listener: ListenerEntry, _ index: Int, _ counters: inout Counters, now: Int64) {
        for _ in 0..<SpliceDatagrams.budget {
            let outcome = fill(from: listener.socket)
            if outcome.wouldBlock { return }
            for number in 0..<outcome.count { accept(number, listener, index, &counters, now: now) }
            flush(&counters)
            if outcome.error == nil, outcome.count < SpliceDatagrams.batch { return }
        }
    }

    private mutating func accept(_ number: Int, _ listener: ListenerEntry, _ index: Int, _ counters: inout Counters, now: Int64) {
        guard let source = incoming.source(number), source.port != 0, let contacted = incoming.destination(number), contacted.isOwn,
            contacted.address.isIPv4 == source.address.isIPv4
        else { return counters.add(.udpStrays) }
        let key = FlowKey(guest: contacted.address, guestPort: listener.port, remote: source.address, remotePort: source.port)
        var flow = table.find(key)
        if let found = flow, !belongs(found, index, listener.generation) {
            close(found, &counters)
            flow = nil
        }
        if flow == nil {
            let target = Endpoint(listener.target.address ?? Bypass.loopback(source.address.isIPv4), listener.target.port)
            guard openings > 0 || makeRoom(&counters, now: now), let far = openFar(target.address, &counters, now: now) else {
                return counters.add(.spliceFailed)
            }
            openings = max(openings - 1, 0)
            guard open(key, far: far, to: target, listener: index, generation: listener.generation, &counters, now: now) else {
                far.close()
                return counters.add(.spliceFailed)
            }
            flow = table.find(key)
        }
        guard let flow else { return }
        let length = incoming.length(number)
        prepare(flow, &counters)
        let payload = outgoing.note(arena, offset: number * SpliceDatagrams.slot, length: length)
        outgoing.beginMessage()
        _ = outgoing.append(payload, from: 0, length: length)
        noteQuestion(flow, now: now)
    }

    /// Where there is no descriptor, another client's.
    private mutating func openFar(_ address: IPAddress, _ counters: inout Counters, now: Int64) -> Descriptor? {
        do throws(Errno) {
            return try Descriptor.socket(.datagram, for: address)
        } catch {
            guard error.isLackOfDescriptors, makeRoom(&counters, now: now) else { return nil }
            return try? Descriptor.socket(.datagram, for: address)
        }
    }

    func belongs(_ index: Int, _ listener: Int, _ generation: UInt16) -> Bool {
        table[index].listener == UInt32(truncatingIfNeeded: listener) && table[index].listenerGeneration == generation
    }

    private mutating func fill(from socket: Descriptor) -> Outcome {
        incoming.removeAll()
        for number in 0..<SpliceDatagrams.batch {
            incoming.append(arena, offset: number * SpliceDatagrams.slot, length: SpliceDatagrams.slot)
        }
        return incoming.receive(on: socket)
    }

    // MARK: Back to the client

    func isCurrent(_ tag: EventTag) -> Bool { table.isCurrent(tag.index >> 1, generation: tag.generation) }

    /// Something happened at the far socket of a flow that `isCurrent`. Errors are taken, and go no further: nobody here can tell the client's kernel.
    mutating func answer(_ tag: EventTag, _ listeners: borrowing ListenerTable, _ counters: inout Counters, now: Int64) {
        let index = tag.index >> 1
        let client = table[index]
        guard listeners.isCurrent(Int(client.listener), generation: client.listenerGeneration) else { return close(index, &counters) }
        let listener = listeners[Int(client.listener)]
        for _ in 0..<SpliceDatagrams.budget {
            let outcome = fill(from: client.far)
            if outcome.wouldBlock { return }
            guard outcome.count > 0 else { continue }
            for number in 0..<outcome.count {
                let length = incoming.length(number)
                let payload = outgoing.note(arena, offset: number * SpliceDatagrams.slot, length: length)
                outgoing.beginMessage()
                _ = outgoing.append(payload, from: 0, length: length)
            }
            let destination = SocketAddress(client.key.remoteEndpoint)
            // A socket that is bound to one address sends from there.
            let source = listener.address.isAny ? client.key.guest : nil
            SpliceDatagrams.send(&outgoing, on: listener.socket, to: destination, from: source, &counters)
            outgoing.forgetPayloads()
            noteAnswer(index, now: now)
            if outcome.count < SpliceDatagrams.batch { return }
        }
    }

    // MARK: Use and the end

    private mutating func noteQuestion(_ index: Int, now: Int64) {
        // As many in one batch are one question.
        if table[index].isAnswered { table[index].hasRepeated = true }
        use(index, now: now)
    }

    private mutating func noteAnswer(_ index: Int, now: Int64) {
        table[index].isAnswered = true
        use(index, now: now)
    }

    private mutating func use(_ index: Int, now: Int64) {
        table[index].usedAt = now
        if table[index].hasRepeated {
            passing.remove(index)
            conversations.use(index)
        } else {
            passing.use(index)
        }
    }

    mutating func makeRoom(_ counters: inout Counters, now: Int64) -> Bool {
        if let oldest = passing.oldest {
            close(oldest, &counters)
            return true
        }
        guard let oldest = conversations.oldest, table[oldest].usedAt + timeouts.givesWay <= now else { return false }
        close(oldest, &counters)
        return true
    }

    mutating func expireTimers(_ counters: inout Counters, now: Int64) {
        while let index = timers.expire(at: now) {
            let due = table[index].usedAt + (table[index].hasRepeated ? timeouts.stream : timeouts.oneWay)
            if due <= now { close(index, &counters) } else { timers.set(index, at: due) }
        }
    }

    var nextWakeUp: Int64? { timers.nextWakeUp }

    /// The only way in which a flow ends.
    mutating func close(_ index: Int, _ counters: inout Counters) {
        if pending == index + 1 { flush(&counters) }
        table[index].far.close()
        timers.cancel(index)
        conversations.remove(index)
        passing.remove(index)
        table.remove(index)
        counters.add(.spliceClientsEnded)
    }
}
