internal import Linux
internal import Wire

extension SlotLayout {
    /// From a slot's start to the payload of a segment without options.
    static func tcpPayload(_ address: IPAddress) -> Int { ip + ipHeaderLength(address) + TCPHeader.length }
}

extension TCPTranslator where Sockets: ~Copyable {
    /// Sends a segment whose payload lies in `slot` already. False when the link refused it.
    mutating func sendSegment<Link: GuestLink & ~Copyable>(
        _ index: Int, sequence: SequenceNumber, flags: TCPFlags, slot: Int, payload: Int, gap: Int = 0, _ port: inout GuestPort<Link>
    ) -> Bool {
        let owed = table[index].expected != table[index].acknowledged
        let (acknowledged, windowEdge) = (table[index].acknowledged, table[index].windowEdge)
        let (acknowledgment, window) = takeAcknowledgement(index)
        if payload > 0, owed, !table[index].events.contains(.interactive) {
            // A response took the acknowledgement along: wait for the next one to do so, too.
            if table[index].quickAcknowledgements > 0 {
                table[index].quickAcknowledgements -= 1
            } else {
                table[index].events.insert(.interactive)
            }
        }
        let key = table[index].key
        let header = TCPHeader(
            sourcePort: key.remotePort, destinationPort: key.guestPort, sequence: sequence, acknowledgment: acknowledgment,
            flags: flags, window: window)
        if port.sendTCP(header, key: key, slot: slot, payload: payload, segmentSize: Int(table[index].segmentSize), gap: gap) {
            if table[index].refusals != 0 { table[index].refusals = 0 }
            let isNews = acknowledgment != acknowledged || table[index].windowEdge != windowEdge
            if isNews, mayNotBeHeeded(index, sequence, length: payload + (flags.contains(.fin) ? 1 : 0)) { table[index].events.insert(.mustAcknowledge) }
            return true
        }
        // The guest has not been told (lessons 1, 17).
        table[index].acknowledged = acknowledged
        table[index].windowEdge = windowEdge
        table[index].events.formUnion([.mustAcknowledge, .wasRefused])
        return false
    }

    /// The guest may have all of this segment already, or have no room for it. Then it drops it with all that it says (RFC 9293, section 3.10.7.4; Linux does so
    /// for a window probe from 6.17 on), and has to be told again by one that it takes. Asked before the segment counts as sent.
    private func mayNotBeHeeded(_ index: Int, _ sequence: SequenceNumber, length: Int) -> Bool {
        let connection = table[index]
        if length == 0 { return sequence < connection.unacknowledged }
        return sequence < connection.highest || sequence + length > connection.unacknowledged + Int(connection.guestWindow)
    }

    /// Sends a segment without data. False when the link refused it.
    ///
    /// Its number is the next one, unless something lies beyond the guest's window, such as a probe that was not taken: a number out there would have
    /// the guest drop it with all that it says (RFC 9293, section 3.10.7.4), and a guest that reads only once it has written would wait for ever.
    @discardableResult
    mutating func sendControl<Link: GuestLink & ~Copyable>(_ index: Int, _ flags: TCPFlags, _ port: inout GuestPort<Link>) -> Bool {
        let slot = port.reserve()
        return sendSegment(index, sequence: table[index].numberInWindow, flags: flags, slot: slot, payload: 0, &port)
    }

    /// One old byte that is not there: the guest answers with what it expects (RFC 9293, section 3.8.4).
    mutating func sendKeepAlive<Link: GuestLink & ~Copyable>(_ index: Int, _ port: inout GuestPort<Link>) {
        let slot = port.reserve()
        _ = sendSegment(index, sequence: table[index].unacknowledged + -1, flags: .ack, slot: slot, payload: 0, &port)
    }

    /// Sends our SYN or SYN-ACK, and again later if it gets no answer.
    mutating func sendSyn<Link: GuestLink & ~Copyable>(_ index: Int, _ port: inout GuestPort<Link>, now: Int64) {
        if buildSyn(index, &port) {
            table[index].refusals = 0
            startRetransmitTimer(index, now: now)
        } else {
            table[index].retransmitAt = now + TCPTranslator.refusalInterval(table[index].refusals)
            if table[index].refusals < 7 { table[index].refusals += 1 }
        }
        armTimer(index, now: now)
    }

    private mutating func buildSyn<Link: GuestLink & ~Copyable>(_ index: Int, _ port: inout GuestPort<Link>) -> Bool {
        let connection = table[index]
        let isAnswer = !connection.events.contains(.opensToGuest)
        // A window here is not scaled.
        let space = min(max(connection.sendSpace, 1 << 12), 65535)
        table[index].windowEdge = connection.expected + Int(space)
        let offersScale = !isAnswer || connection.windowScale > 0
        let header = TCPHeader(
            sourcePort: connection.key.remotePort, destinationPort: connection.key.guestPort, sequence: connection.initialToGuest,
            acknowledgment: isAnswer ? connection.expected : SequenceNumber(0), flags: isAnswer ? [.syn, .ack] : .syn,
            window: UInt16(truncatingIfNeeded: space),
            maximumSegmentSize: connection.key.guest.isIPv4 ? segmentSize4 : segmentSize6,
            windowScale: offersScale ? TCPTranslator.offeredWindowScale : nil)
        return port.sendSegment(header, key: connection.key)
    }

    /// Tells the guest that its connection is gone. False when the link refused that.
    mutating func resetGuest<Link: GuestLink & ~Copyable>(_ index: Int, _ port: inout GuestPort<Link>) -> Bool {
        guard sendControl(index, [.rst, .ack], &port) else { return false }
        port.counters.add(.tcpResetsToGuest)
        return true
    }
}

extension GuestPort where Link: ~Copyable {
    /// A segment without payload. False when the link refused it.
    @discardableResult
    mutating func sendSegment(_ header: TCPHeader, key: FlowKey) -> Bool {
        let slot = reserve()
        return sendTCP(header, key: key, slot: slot, payload: 0, segmentSize: 0)
    }

    /// A segment with `payload` bytes that lie in the slot already, behind where the header goes; more than `segmentSize` bytes are
    /// left to the link to cut. `gap`: what lies between such segments.
    mutating func sendTCP(_ header: TCPHeader, key: FlowKey, slot: Int, payload: Int, segmentSize: Int, gap: Int = 0) -> Bool {
        let headerLength = header.encodedLength
        let length = headerLength + payload
        let start = writeHeaders(slot: slot, source: key.remote, destination: key.guest, proto: .tcp, payloadLength: length, flowLabel: key.flowLabel(seed))
        var header = header
        header.checksum = Checksum.pseudoHeader(key.remote, key.guest, .tcp, length: length)
        var bytes = arena.mutableBytes
        header.write(to: &bytes, at: start)
        var offload = VirtioNetHeader(checksumStart: start - slot - linkHeadroom, checksumOffset: TCPHeader.checksumOffset)
        var gaps = 0
        if payload > segmentSize, segmentSize > 0 {
            gaps = (payload - 1) / segmentSize * gap
            offload.segmentation = key.guest.isIPv4 ? .tcp4 : .tcp6
            offload.segmentSize = UInt16(truncatingIfNeeded: segmentSize)
        }
        offload.headerLength = UInt16(truncatingIfNeeded: start - slot - linkHeadroom + headerLength)
        return send(slot: slot, end: start + length + gaps, offload: offload, gap: gaps > 0 ? gap : 0)
    }
}

extension FlowKey {
    /// The same for all packets of a flow, told by who knows the key only, and never 0 (RFC 6437).
    func flowLabel(_ seed: SipHash) -> UInt32 {
        guest.isIPv4 ? 0 : UInt32(truncatingIfNeeded: hash(seed) >> 40) & 0xf_ffff | 1
    }
}
