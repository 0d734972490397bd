internal import Linux
internal import Wire

extension UDPTranslator {
    /// Calls for one flow before others have their turn. The socket is watched level-triggered, so that what is left wakes us again.
    private static var budget: Int { 4 }

    /// Takes what the socket has, straight into frames. What the guest does not take is lost, and never left in the queue (lesson 33).
    mutating func receive<Link: GuestLink & ~Copyable>(_ index: Int, _ port: inout GuestPort<Link>, now: Int64) {
        let flow = table[index]
        let generation = table.generation(of: index)
        let start = SlotLayout.udpPayload(flow.key.guest)
        let most = SlotLayout.mostUDPPayload(flow.key.guest)
        for _ in 0..<UDPTranslator.budget {
            let asked = Int(table[index].burst)
            let slot = port.reserve(asked)
            incoming.removeAll()
            for number in 0..<asked { incoming.append(port.arena, offset: slot + number * SlotLayout.size + start, length: most) }
            let outcome = incoming.receive(on: flow.socket)
            if outcome.wouldBlock { return }
            if outcome.error != nil {
                // That of an earlier datagram: there may be something to read behind it.
                takeErrors(index, &port)
                continue
            }
            var number = 0
            while number < outcome.count {
                let run = join(number, of: outcome.count, slot: slot, flow, &port)
                deliver(number, run, slot: slot + number * SlotLayout.size, flow, index, &port, now: now)
                // Another flow may have taken its place.
                if !table.isCurrent(index, generation: generation) { return }
                number += run.count
            }
            table[index].burst = UDPTranslator.nextBurst(asked: asked, got: outcome.count)
            if outcome.count < asked { return }
        }
    }

    /// One more than came, so that a single answer costs a single call, and soon many when many come.
    static func nextBurst(asked: Int, got: Int) -> UInt8 {
        UInt8(truncatingIfNeeded: max(2, min(got >= asked ? asked * 2 : got + 1, SlotLayout.count)))
    }

    /// Puts datagrams of one size that follow the first one behind its payload, where the guest takes several as one: copying a datagram costs a tenth of
    /// what a frame of its own does.
    private func join<Link: GuestLink & ~Copyable>(
        _ first: Int, of count: Int, slot: Int, _ flow: UDPFlow, _ port: inout GuestPort<Link>
    ) -> DatagramRun {
        var run = DatagramRun(size: incoming.length(first))
        guard first + 1 < count, port.offloads.contains(.udpSegmentation), isPlain(first, flow) else { return run }
        let start = slot + SlotLayout.udpPayload(flow.key.guest)
        let most = SlotLayout.mostUDPInFrame(flow.key.guest)
        while first + run.count < count, run.mayGrow {
            let next = first + run.count
            let length = incoming.length(next)
            guard length > 0, length <= run.size, run.length + length <= most, isPlain(next, flow) else { break }
            port.arena.move(from: start + next * SlotLayout.size, to: start + first * SlotLayout.size + run.length, count: length)
            run.append(length)
        }
        return run
    }

    /// One whole datagram of the flow's remote.
    private func isPlain(_ number: Int, _ flow: UDPFlow) -> Bool {
        flow.isConnected && incoming.source(number) == flow.remote && !incoming.isTruncated(number) && incoming.segmentSize(number) == 0
    }

    private mutating func deliver<Link: GuestLink & ~Copyable>(
        _ number: Int, _ run: DatagramRun, slot: Int, _ flow: UDPFlow, _ index: Int, _ port: inout GuestPort<Link>, now: Int64
    ) {
        guard let key = senderKey(number, flow) else {
            reroute(number, slot: slot, from: flow, &port, now: now)
            return
        }
        if flow.flags.contains(.inbound) { use(index, now: now) } else { noteAnswer(index, now: now) }
        guard run.count > 1 else { return pass(number, slot: slot, key, &port) }
        if port.sendUDP(key: key, slot: slot, payload: run.length, segmentSize: run.size) {
            port.counters.add(.udpDatagramsToGuest, run.count)
        }
    }

    /// Sends a received datagram on to the guest.
    func pass<Link: GuestLink & ~Copyable>(_ number: Int, slot: Int, _ key: FlowKey, _ port: inout GuestPort<Link>) {
        var length = incoming.length(number)
        let segmentSize = incoming.segmentSize(number)
        // Several go as one frame, which may hold less than the slot.
        let most = segmentSize > 0 ? max(SlotLayout.mostUDPInFrame(key.guest), segmentSize) : length
        if incoming.isTruncated(number) || length > most {
            // Whole datagrams only.
            guard segmentSize > 0, length >= segmentSize else {
                port.counters.add(.udpTooLong)
                return
            }
            length = min(length, most)
            length -= length % segmentSize
        }
        if port.sendUDP(key: key, slot: slot, payload: length, segmentSize: segmentSize) { port.counters.add(.udpDatagramsToGuest) }
    }

    /// The flow's key, with the sender in place of who was asked where others may answer; nil for who was not asked.
    private func senderKey(_ number: Int, _ flow: UDPFlow) -> FlowKey? {
        guard let source = incoming.source(number) else { return nil }
        // What came between bind and connect may be from anyone (lesson 32).
        if flow.isConnected { return source == flow.remote ? flow.key : nil }
        guard let destination = incoming.destination(number), destination.isOwn, source.port != 0 else { return nil }
        if flow.flags.contains(.transfer) { return transferKey(from: source, flow) }
        // Bound to a forwarded port, it is given what is for the listener there, and answers to the group are no different.
        if let contacted = contacted(number, flow), sharing.listener(at: contacted) != nil { return nil }
        guard let seen = translation.toGuest(source.address) else { return nil }
        var key = flow.key
        key.remote = seen
        key.remotePort = source.port
        return key
    }
}

/// Datagrams that go to the guest as one frame: all of one size, but for the last, which may be shorter.
private struct DatagramRun: BitwiseCopyable {
    let size: Int
    private(set) var count = 1
    private(set) var length: Int

    init(size: Int) {
        self.size = size
        length = size
    }

    /// Nothing comes behind a shorter one.
    var mayGrow: Bool { length == count * size && size > 0 }

    mutating func append(_ length: Int) {
        self.length += length
        count += 1
    }
}
