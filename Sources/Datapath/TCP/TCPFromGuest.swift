internal import Linux
internal import Wire

extension TCPTranslator where Sockets: ~Copyable {
    /// One segment of a known connection.
    mutating func process<Link: GuestLink & ~Copyable>(
        _ segment: GuestSegment, _ index: Int, in arena: borrowing Mapping, _ port: inout GuestPort<Link>, now: Int64
    ) {
        let header = segment.header
        if header.flags.contains(.rst) {
            takeReset(header, index, &port, now: now)
            return
        }
        if header.flags.contains(.syn) {
            flushPending(&port, now: now)
            if isAlive(index) { takeSyn(segment, index, &port, now: now) } else { fromGuest(segment, in: arena, &port, now: now) }
            return
        }
        // Nothing but SYN may come without an acknowledgement, and nothing before we have answered.
        guard header.flags.contains(.ack), table[index].events.contains(.synSent) else { return }
        if !table[index].events.contains(.established) {
            guard header.acknowledgment == table[index].initialToGuest + 1, !table[index].events.contains(.opensToGuest) else {
                resetUnknown(segment, &port)
                repeatSyn(index, &port, now: now)
                return
            }
            establish(index, now: now)
            completeLater(index, now: now)
        }
        let isKeepAlive = isKeepAlive(header, index)
        if isKeepAlive { askFarEnd(index, now: now) }
        table[index].heardAt = UInt32(truncatingIfNeeded: now)
        guard takeAcknowledgement(header, isKeepAlive: isKeepAlive, index, &port, now: now) else { return }
        takePayload(header, index, in: arena, &port, now: now)
        if table.isUsed(index) { touch(index) }
    }

    // MARK: Reset

    /// RFC 5961, section 3: only a reset with exactly the expected number ends the connection; one that is merely in the window is
    /// asked about.
    private mutating func takeReset<Link: GuestLink & ~Copyable>(
        _ header: TCPHeader, _ index: Int, _ port: inout GuestPort<Link>, now: Int64
    ) {
        let connection = table[index]
        if connection.events.contains(.opensToGuest), !connection.events.contains(.established) {
            if header.flags.contains(.ack), header.acknowledgment == connection.initialToGuest + 1 { abort(index, &port) }
            return
        }
        let expected = connection.expected + (pendingIndex == index ? pending.byteCount : 0)
        // What it has from us may lie behind that, where the far end has not acknowledged all, and what a full socket has refused before it.
        let isExpected = header.sequence == expected || header.sequence == connection.expected || header.sequence == connection.acknowledged
        if isExpected || header.sequence == endOfRefused(index) {
            flushPending(&port, now: now)
            if table.isUsed(index) { abort(index, &port) }
        } else if header.sequence > connection.expected,
            header.sequence <= connection.windowEdge || connection.hasHole && isInAnyWindow(header.sequence, connection)
        {
            table[index].events.insert(.mustAcknowledge)
            touch(index)
        }
    }

    // MARK: Acknowledgement and window

    /// False when the segment must not be looked at any further.
    private mutating func takeAcknowledgement<Link: GuestLink & ~Copyable>(
        _ header: TCPHeader, isKeepAlive: Bool, _ index: Int, _ port: inout GuestPort<Link>, now: Int64
    ) -> Bool {
        let acknowledgment = header.acknowledgment
        if acknowledgment > table[index].highest {
            // Something never sent: say where we are and drop it (RFC 9293, section 3.10.7.4).
            table[index].events.insert(.mustAcknowledge)
            touch(index)
            return false
        }
        // Old segments carry old windows. One older than any window that the guest has had is made up (RFC 5961, section 5.2).
        guard acknowledgment >= table[index].unacknowledged else {
            if table[index].unacknowledged - acknowledgment <= 65535 << Int(min(table[index].guestWindowScale, 14)) { return true }
            table[index].events.insert(.mustAcknowledge)
            touch(index)
            return false
        }
        let window = UInt32(header.window) << UInt32(min(table[index].guestWindowScale, 14))
        let advanced = acknowledgment - table[index].unacknowledged
        if advanced > 0 {
            acknowledgedByGuest(acknowledgment, index, now: now)
        } else if header.payloadLength == 0, !header.flags.contains(.fin), !isKeepAlive, window == table[index].guestWindow, window > 0,
            table[index].flight > 0
        {
            duplicateAcknowledgement(index, &port, now: now)
        }
        if window < table[index].guestWindow, advanced == 0, !isKeepAlive, header.sequence < newestFromGuest(index) {
            // It was overtaken on its way by what has told of the larger one (RFC 9293, section 3.10.7.4). A larger one is taken from whatever
            // comes, since what told of it may be lost.
            return true
        }
        if table[index].events.contains(.probing), window > 0 {
            // The probe was not taken: it is sent again with what follows it.
            table[index].events.remove(.probing)
            table[index].next = table[index].unacknowledged
        }
        if table[index].guestWindow == 0 || window == 0 { windowOpenedOrClosed(index, window, now: now) }
        table[index].guestWindow = window
        return true
    }

    /// What the guest's newest segment began with, as far as it has not been sent again.
    private func newestFromGuest(_ index: Int) -> SequenceNumber {
        if table[index].hasHole { return table[index].furthest }
        return table[index].expected + (pendingIndex == index ? pending.byteCount : 0)
    }

    /// The guest answers, so it is not given up however long its window stays closed; once that opens, loss is repaired in the usual time.
    private mutating func windowOpenedOrClosed(_ index: Int, _ window: UInt32, now: Int64) {
        if window == 0 {
            table[index].retransmissions = min(table[index].retransmissions, TCPTranslator.slowestProbe)
        } else {
            table[index].retransmissions = 0
            table[index].retransmitAt = 0
            if table[index].flight > 0 {
                // What met a closed window was dropped there, and too little follows it now for three equal acknowledgements.
                table[index].next = table[index].unacknowledged
                startRetransmitTimer(index, now: now)
            }
            attendPieces(index)
        }
    }

    private mutating func acknowledgedByGuest(_ acknowledgment: SequenceNumber, _ index: Int, now: Int64) {
        let segment = Int(table[index].segmentSize)
        let advance = acknowledgment - table[index].unacknowledged
        if acknowledgment > table[index].next { table[index].guestPath.hasKept() }
        table[index].guestPath.answered(acknowledgment, now: now)
        table[index].guestPath.acknowledged(advance, segment: segment, isRepairing: table[index].next < table[index].highest)
        table[index].unacknowledged = acknowledgment
        if table[index].next < acknowledgment { table[index].next = acknowledgment }
        table[index].duplicateAcknowledgements = 0
        table[index].retransmissions = 0
        table[index].events.remove(.probing)
        if table[index].events.contains(.recovering) {
            if acknowledgment >= table[index].recover {
                table[index].events.remove(.recovering)
                table[index].guestPath.recovered(flight: table[index].flight, segment: segment)
            } else if advance <= segment {
                goBack(index)
            } else {
                table[index].guestPath.hasKept()
                // RFC 6582: the acknowledgement of a part tells of the next hole.
                table[index].events.insert(.resendsFirst)
            }
        }
        if acknowledgment == table[index].highest {
            table[index].retransmitAt = 0
            if table[index].events.contains(.finSent) { table[index].events.insert(.finAcknowledged) }
        } else {
            startRetransmitTimer(index, now: now)
        }
    }

    /// Fast retransmit on the third (RFC 5681, section 3.2), or where less is in flight on an earlier one.
    private mutating func duplicateAcknowledgement<Link: GuestLink & ~Copyable>(_ index: Int, _ port: inout GuestPort<Link>, now: Int64) {
        guard !table[index].events.contains(.recovering) else { return }
        table[index].duplicateAcknowledgements &+= 1
        // While all is sent again, as far as that has come: there may be losses in that too.
        let (flight, segment) = (table[index].next - table[index].unacknowledged, Int(table[index].segmentSize))
        guard Int(table[index].duplicateAcknowledgements) >= GuestPath.duplicates(flight: flight, segment: segment) else {
            if GuestPath.isTwo(flight: flight, segment: segment), table[index].retransmitAt != 0 {
                table[index].retransmitAt = min(table[index].retransmitAt, now + GuestPath.patienceWithTwo)
                touch(index)
            }
            return
        }
        table[index].duplicateAcknowledgements = 0
        table[index].guestPath.lostOne(flight: flight, segment: segment)
        if table[index].guestPath.keepsNothing {
            goBack(index)
            startRetransmitTimer(index, now: now)
            return
        }
        table[index].recover = table[index].highest
        table[index].events.formUnion([.recovering, .resendsFirst])
        startRetransmitTimer(index, now: now)
    }

    /// As to a guest that keeps nothing behind what is missing.
    private mutating func goBack(_ index: Int) {
        sendAllAgain(index)
        table[index].guestPath.goBack(segment: Int(table[index].segmentSize))
    }

    // MARK: Data and FIN

    private mutating func takePayload<Link: GuestLink & ~Copyable>(
        _ header: TCPHeader, _ index: Int, in arena: borrowing Mapping, _ port: inout GuestPort<Link>, now: Int64
    ) {
        let hasFin = header.flags.contains(.fin)
        if header.payloadLength == 0 && !hasFin {
            // A keep-alive probe is answered (lesson 8), and one of a closed window, which may stand behind what was kept (`isHeldBack`).
            if header.sequence < table[index].expected || header.sequence < table[index].acknowledged { table[index].events.insert(.mustAcknowledge) }
            return
        }
        if table[index].events.contains(.hasLeftover) {
            // Not even an end may come before that.
            table[index].events.insert(.mustAcknowledge)
            return
        }
        if table[index].events.contains(.outputBlocked) {
            keepRefused(header, index, in: arena, now: now)
            return
        }
        let expected = table[index].expected + (pendingIndex == index ? pending.byteCount : 0)
        let skip = expected - header.sequence
        if table[index].events.contains(.finFromGuest) || skip < 0 || skip > header.payloadLength {
            // After its FIN, ahead of what is missing, or all old: say what is expected (lessons 15, 22).
            if skip < 0, !table[index].events.contains(.finFromGuest) {
                port.counters.add(.tcpOutOfOrder)
                takeLate(header, index, in: arena, now: now)
            } else {
                table[index].events.insert(.mustAcknowledge)
            }
            return
        }
        let fresh = header.payloadLength - skip
        if fresh > 0 {
            if table[index].sawHole { attendHole(index, end: header.sequence + header.sequenceLength, now: now) }
            if pending.isFull { flushPending(&port, now: now) }
            guard isAlive(index) else { return }
            if table[index].events.contains(.outputBlocked) {
                keepRefused(header, index, in: arena, now: now)
                return
            }
            pendingIndex = index
            _ = pending.append(arena, offset: header.payloadOffset + skip, length: fresh)
            pendingEnd = header.payloadOffset + header.payloadLength
            if table[index].latePlace != 0, reachesLate(index) { flushPending(&port, now: now) }
        } else if header.payloadLength > 0 {
            table[index].events.insert(.mustAcknowledge)
        }
        if hasFin, isAlive(index) { takeFin(header, index, &port, now: now) }
    }

    /// Adds the payload of a segment that carries on the last one and says nothing else (`SegmentTrain`). False where there is no room.
    mutating func extendPending(_ payload: Range<Int>, in arena: borrowing Mapping) -> Bool {
        guard pending.append(arena, offset: payload.lowerBound, length: payload.count) else { return false }
        pendingEnd = payload.upperBound
        return true
    }

    private mutating func takeFin<Link: GuestLink & ~Copyable>(
        _ header: TCPHeader, _ index: Int, _ port: inout GuestPort<Link>, now: Int64
    ) {
        if pendingIndex == index { flushPending(&port, now: now) }
        guard isAlive(index) else { return }
        if header.sequence + header.payloadLength == table[index].expected {
            guestEnds(index, now: now)
        } else {
            keepRefusedEnd(header, index)
        }
    }

    /// All that the guest has sent was taken, and its FIN is next.
    mutating func guestEnds(_ index: Int, now: Int64) {
        farEndOwes(index, now: now)
        table[index].expected += 1
        table[index].events.formUnion([.finFromGuest, .mustAcknowledge])
        // With both directions done, closing says the same.
        if !table[index].events.contains(.finAcknowledged) || !table[index].isNear { sockets.finish(table[index].socket) }
    }

    /// Hands the collected data to its socket.
    mutating func flushPending<Link: GuestLink & ~Copyable>(_ port: inout GuestPort<Link>, now: Int64) {
        let index = pendingIndex
        if index < 0 { return }
        let count = pending.byteCount
        let outcome = sockets.send(&pending, on: table[index].socket)
        defer { pending.removeAll() }
        pendingIndex = -1
        if let error = outcome.error, !outcome.wouldBlock {
            guard survives(error, index, &port, now: now) else { return }
        }
        let taken = outcome.count
        if taken > 0 {
            socketTakes(taken, index, now: now)
            postponed.handshakes.remove(index)
        }
        if taken < count {
            port.counters.add(.tcpPartialSends)
            socketIsFull(index, rest: taken, now: now)
        } else if table[index].latePlace != 0, !joinLate(index, &port, now: now) {
            return
        }
        touch(index)
    }

    /// The socket has taken `count` bytes of the guest's.
    mutating func socketTakes(_ count: Int, _ index: Int, now: Int64) {
        farEndOwes(index, now: now)
        table[index].expected += count
        let taken = UInt32(truncatingIfNeeded: count)
        table[index].sendSpace -= min(table[index].sendSpace, taken)
        // A near path is not looked at while data flows: it has no limit that could be used up.
        if table[index].pathRoom != .max { table[index].pathRoom -= min(table[index].pathRoom, taken) }
        table[index].sentSinceLook &+= taken
    }
}
