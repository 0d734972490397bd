internal import Linux
internal import Wire

extension PingTranslator {
    /// Calls for one flow, and entries of its error queue, before others have their turn.
    private static var budget: Int { 4 }
    private static var mostErrors: Int { 64 }

    /// Takes the replies, straight into frames.
    mutating func receive<Link: GuestLink & ~Copyable>(_ index: Int, _ port: inout GuestPort<Link>, now: Int64) {
        let flow = table[index]
        let start = SlotLayout.ip + SlotLayout.ipHeaderLength(flow.key.guest)
        let most = SlotLayout.mostPayload(flow.key.guest)
        for _ in 0..<PingTranslator.budget {
            let slot = port.reserve(PingTranslator.burst)
            incoming.removeAll()
            for number in 0..<PingTranslator.burst { incoming.append(port.arena, offset: slot + number * SlotLayout.size + start, length: most) }
            let outcome = incoming.receive(on: flow.socket)
            if outcome.wouldBlock { return }
            if outcome.error != nil {
                takeErrors(index, &port)
                continue
            }
            for number in 0..<outcome.count {
                guard let source = sender(number, flow), !incoming.isTruncated(number) else { continue }
                noteAnswer(index, now: now)
                var key = flow.key
                key.remote = source
                if port.sendEchoReply(key, slot: slot + number * SlotLayout.size, length: incoming.length(number)) {
                    port.counters.add(.pingReplies)
                }
            }
            if outcome.count < PingTranslator.burst { return }
        }
    }

    /// The replying address as the guest sees it; nil for who was not asked. The kernel looks at the identifier only.
    private func sender(_ number: Int, _ flow: PingFlow) -> IPAddress? {
        guard let source = incoming.source(number)?.address else { return nil }
        if flow.isGroup { return translation.toGuest(source) }
        return source == flow.remote ? flow.key.remote : nil
    }

    /// Tells the guest what the socket's error queue tells, and empties it.
    mutating func takeErrors<Link: GuestLink & ~Copyable>(_ index: Int, _ port: inout GuestPort<Link>) {
        let flow = table[index]
        let remote = Endpoint(flow.remote, 0)
        var count = 0
        while count < PingTranslator.mostErrors, let queued = flow.socket.nextQueuedError() {
            count += 1
            guard !flow.isGroup, let error = ICMPError(queued, isIPv4: flow.key.guest.isIPv4) else { continue }
            // The request comes back with the error, from its ICMP header on.
            let sequence = queued.quotedLength == 8 ? UInt16(truncatingIfNeeded: queued.quotedStart) : flow.sequence
            let offender = translation.offender(of: queued, towards: remote, as: flow.key.remote)
            port.sendICMPError(error, from: offender, quoting: .echo(flow.key, sequence: sequence))
        }
        if count == 0 { _ = flow.socket.takeSocketError() }
    }
}

extension GuestPort where Link: ~Copyable {
    /// Sends an echo reply of `length` bytes that lies in the slot already, from its ICMP header on, with the guest's identifier, which is the
    /// key's port; in parts if the guest's interface takes no frame as large. False for what is no echo reply.
    mutating func sendEchoReply(_ key: FlowKey, slot: Int, length: Int) -> Bool {
        let isIPv4 = key.guest.isIPv4
        guard length >= ICMPv4Header.length else { return false }
        let proto: IPProtocol = isIPv4 ? .icmp : .icmpv6
        let start = slot + SlotLayout.ip + SlotLayout.ipHeaderLength(key.guest)
        var bytes = arena.mutableBytes
        guard bytes.uint8(at: start) == (isIPv4 ? 0 : 129) else { return false }
        let sequence = bytes.uint16(at: start + 6)
        if isIPv4 {
            ICMPv4Header.echo(.echoReply, identifier: key.guestPort, sequence: sequence)
                .writeWithChecksum(to: &bytes, at: start, messageLength: length)
        } else {
            ICMPv6Header.echo(.echoReply, identifier: key.guestPort, sequence: sequence).writeWithChecksum(
                to: &bytes, at: start, messageLength: length, source: key.remote.ipv6, destination: key.guest.ipv6)
        }
        if length > mtu.payload(to: key.guest) {
            return sendParts(WholePacket(source: key.remote, destination: key.guest, proto: proto, start: start, length: length))
        }
        _ = writeHeaders(slot: slot, source: key.remote, destination: key.guest, proto: proto, payloadLength: length)
        return send(slot: slot, end: start + length, offload: VirtioNetHeader())
    }
}
