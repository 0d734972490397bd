internal import Linux
internal import Wire

extension TCPTranslator where Sockets: ~Copyable {
    /// Calls for one connection, and bytes, in one round: about as much as a batch of frames from the guest. See `DownloadTurns`.
    private static var budget: Int { 2 }
    private static var share: Int { 128 << 10 }
    /// Milliseconds that what the guest has acknowledged may stay in the queue of a connection that stands still.
    private static var longestRest: Int64 { 200 }
    /// The same of a transfer that has something in flight, whose answer the guest may delay for longer.
    private static var longestRestInFlight: Int64 { 3 }
    /// Bytes in one look at the queue from which on a connection counts as a bulk transfer.
    private static var bulk: Int { 16 << 10 }

    enum Step {
        /// There may be more.
        case again
        /// Nothing more can be sent now.
        case done
        /// The connection has ended.
        case gone
    }

    /// Sends to the guest what its window and the socket allow. False when the connection is gone.
    mutating func pump<Link: GuestLink & ~Copyable>(_ index: Int, _ port: inout GuestPort<Link>, now: Int64) -> Bool {
        table[index].events.remove(.hasMore)
        if isLate, table[index].events.contains(.hasInput) { attendPieces(index) }
        // What was acknowledged makes room for more.
        if table[index].gatheredPlace != 0 || table[index].looksBriefly {
            // Each takes something, or is the last: urgent data ends one early.
            while takeAcknowledged(index) {}
        }
        if table[index].events.contains(.resendsFirst), !resendFirst(index, &port, now: now) { return false }
        if table[index].events.contains(.bulk), table[index].events.contains(.hasInput), !turns.begin(index, now: now) {
            discardAcknowledged(index, now: now)
            table[index].events.insert(.hasMore)
            return true
        }
        let start = table[index].next
        guard sendShare(index, &port, now: now) else { return false }
        turns.sent(table[index].next - start, by: index, hasMore: table[index].events.contains(.hasMore), now: now)
        discardAcknowledged(index, now: now)
        return true
    }

    /// What one connection may send in a round. False when it is gone.
    private mutating func sendShare<Link: GuestLink & ~Copyable>(_ index: Int, _ port: inout GuestPort<Link>, now: Int64) -> Bool {
        var rounds = 0
        let start = table[index].next
        while rounds < TCPTranslator.budget, table[index].next - start < TCPTranslator.share {
            rounds += 1
            switch pumpOnce(index, &port, now: now) {
            case .again: continue
            case .gone: return false
            case .done: return true
            }
        }
        // There is more in the next round, which a timer starts at once.
        table[index].events.insert(.hasMore)
        return true
    }

    /// The socket has failed, and with this round the connection ends: all that is in its queue goes to the guest, or as much as there is room for. False when it is gone already.
    mutating func sendLastWords<Link: GuestLink & ~Copyable>(_ index: Int, _ port: inout GuestPort<Link>, now: Int64) -> Bool {
        guard table[index].events.contains(.established), !table[index].events.contains(.finSent), !table[index].events.contains(.endOfStream) else { return true }
        table[index].events.formUnion([.hasInput, .hasFailed])
        table[index].isBroken = true
        for _ in 0..<TCPTranslator.lastRounds {
            switch pumpOnce(index, &port, now: now) {
            case .again: continue
            case .gone: return false
            case .done: return true
            }
        }
        return true
    }

    /// As much as the largest window of a guest, in looks of the smallest kind.
    private static var lastRounds: Int { 256 }

    private mutating func pumpOnce<Link: GuestLink & ~Copyable>(_ index: Int, _ port: inout GuestPort<Link>, now: Int64) -> Step {
        let connection = table[index]
        if connection.events.contains(.finSent) {
            if connection.next == connection.highest { return .done }
            if connection.next == connection.highest + -1 {
                _ = sendFin(index, &port, now: now)
                return .done
            }
        } else if !connection.events.contains(.hasInput), connection.next == connection.highest {
            return .done
        }
        // What is missing comes first. A guest that keeps nothing behind it would drop what is new, and tell nobody of it.
        if connection.events.contains(.recovering), connection.next == connection.highest { return .done }
        var room = roomOfGuest(connection)
        if connection.retransmissions > 0 {
            // After a timeout, one segment at a time until the guest answers.
            room = min(room, Int(connection.segmentSize) - (connection.next - connection.unacknowledged))
        }
        if connection.looksBriefly { room = min(room, TCPTranslator.briefFlight - (connection.next - connection.queueStart)) }
        if room <= 0 {
            if connection.retransmitAt == 0 { startRetransmitTimer(index, now: now) }
            return .done
        }
        // Nothing is peeked at that could not be sent.
        if !port.link.hasRoom {
            waitForLink(index)
            return .done
        }
        return transfer(index, limit: room, &port, now: now)
    }

    /// Bytes that may go to the guest now: whole segments, as long as there is room for one or something will be answered soon anyway (RFC 9293, section 3.8.6.2.1).
    private func roomOfGuest(_ connection: TCPConnection) -> Int {
        let inFlight = connection.next - connection.unacknowledged
        let room = min(Int(connection.guestWindow), Int(connection.guestPath.limit)) - inFlight
        let segment = Int(connection.segmentSize)
        // A segment that does not fit twice into the window would be alone in it, and its answer delayed.
        let unit = min(segment, Int(connection.guestWindow) / 2)
        if unit > 0, room >= unit { return room - room % unit }
        return inFlight >= 2 * segment ? 0 : room
    }

    /// Slots for at most `limit` bytes, and for how many they are. Where the guest still reads from all that could be lent to it, what comes next is copied.
    private func reserve<Link: GuestLink & ~Copyable>(
        _ connection: TCPConnection, _ limit: Int, _ port: inout GuestPort<Link>
    ) -> (layout: SegmentLayout, slot: Int, byteCount: Int) {
        var layout = SegmentLayout(connection, port.offloads)
        if layout.isRun {
            if let slot = port.reserveRun(layout.slotCount(limit)) { return (layout, slot, layout.byteCount(limit)) }
            layout = SegmentLayout(connection, port.offloads.subtracting(.runs))
        }
        return (layout, port.reserve(layout.slotCount(limit)), layout.byteCount(limit))
    }

    /// Peeks at what comes next, straight into frames, and sends them.
    mutating func transfer<Link: GuestLink & ~Copyable>(
        _ index: Int, limit: Int, _ port: inout GuestPort<Link>, now: Int64
    ) -> Step {
        let connection = table[index]
        let (layout, slot, most) = reserve(connection, limit, &port)
        let asked = connection.looksBriefly ? min(most, TCPTranslator.briefLook) : most
        guard let (outcome, ignored) = show(index, at: connection.next - connection.queueStart, asked, layout, slot: slot, &port) else {
            endByReset(index, &port, now: now)
            return .gone
        }
        let count = max(outcome.count - ignored, 0)
        if outcome.wouldBlock {
            // What is in flight is still in the queue and can only be asked for again.
            table[index].events.subtract([.hasInput, .hasFailed])
            return .done
        }
        if awaitsAcknowledgement(index, outcome) { return .done }
        if outcome.error != nil {
            endByReset(index, &port, now: now)
            return .gone
        }
        if count == 0 {
            // Where the kernel keeps no offset, nothing behind urgent data is seen until all that comes before has been taken.
            if ignored > 0, connection.hasUrgent { return takeAcknowledged(index) ? .again : .done }
            // More to be ignored than the list can hold: it will be less once the guest has acknowledged some.
            if ignored > outcome.count { return .done }
            // Behind bytes that are ignored, the kernel shows neither an error nor an end; and behind an end, it never shows a reset that came after it.
            if connection.events.contains(.hasFailed), ignored > 0 || connection.isBroken || sockets.connectionError(connection.socket) != nil {
                endByReset(index, &port, now: now)
                return .gone
            }
            if ignored > 0, !connection.events.contains(.inputEnds) {
                table[index].events.remove(.hasInput)
                return .done
            }
            return endOfStream(index, &port, now: now)
        }
        countLook(index)
        if connection.looksBriefly, count < asked { table[index].looksBriefly = false }
        if count >= TCPTranslator.bulk { table[index].events.insert(.bulk) } else { table[index].events.remove(.bulk) }
        return emit(index, slot: slot, count: count, layout, isAll: count < asked && !connection.hasUrgent && table[index].gatheredPlace == 0, &port, now: now)
    }

    /// Copies what lies at `offset` of the queue into frames: what the kernel says, and how many of its bytes are to be ignored. nil: it does not show what was asked for.
    private mutating func show<Link: GuestLink & ~Copyable>(
        _ index: Int, at offset: Int, _ asked: Int, _ layout: SegmentLayout, slot: Int, _ port: inout GuestPort<Link>
    ) -> (Outcome, ignored: Int)? {
        if table[index].gatheredPlace != 0 {
            let outcome = gather(index, beyond: offset)
            guard outcome.succeeded, outcome.count > 0 else { return (outcome, 0) }
            slots.removeAll()
            layout.list(min(asked, outcome.count), from: slot, of: port.arena, in: &slots)
            return (Outcome(showGathered(index, at: offset)), 0)
        }
        slots.removeAll()
        guard let ignored = preparePeek(index, at: offset) else { return nil }
        layout.list(asked, from: slot, of: port.arena, in: &slots)
        let outcome = sockets.peek(&slots, on: table[index].socket)
        if table[index].events.contains(.peekOffset) { table[index].peekPosition &+= UInt32(truncatingIfNeeded: outcome.count) }
        return (outcome, ignored)
    }

    /// Sends `count` bytes that lie in slots from `slot` on, as `layout` says. `isAll`: the queue holds no more.
    private mutating func emit<Link: GuestLink & ~Copyable>(
        _ index: Int, slot: Int, count: Int, _ layout: SegmentLayout, isAll: Bool, _ port: inout GuestPort<Link>, now: Int64
    ) -> Step {
        let ends = isAll && table[index].events.contains(.inputEnds) && !table[index].events.contains(.hasFailed) && table[index].next + count >= table[index].highest
        var sent = 0
        var frame = 0
        while sent < count {
            let length = min(count - sent, layout.payload)
            let isLast = sent + length == count
            var flags: TCPFlags = isLast ? [.ack, .psh] : .ack
            if isLast && ends { flags.insert(.fin) }
            guard sendData(index, slot: slot + frame * layout.slotSize, length: length, gap: layout.gap, flags: flags, &port, now: now) else {
                // Sequence and peek position stand behind what was sent (lesson 17).
                waitForLink(index)
                if table[index].retransmitAt == 0 { startRetransmitTimer(index, now: now) }
                return .done
            }
            sent += length
            frame += 1
        }
        if ends { finWasSent(index) }
        if table[index].retransmitAt == 0 { startRetransmitTimer(index, now: now) }
        if isAll, table[index].next == table[index].highest, !table[index].events.contains(.hasFailed) {
            table[index].events.remove(.hasInput)
            return .done
        }
        return .again
    }

    /// One segment of `length` bytes from `slot` at `next`, which moves on. False when the link refused it.
    private mutating func sendData<Link: GuestLink & ~Copyable>(
        _ index: Int, slot: Int, length: Int, gap: Int, flags: TCPFlags, _ port: inout GuestPort<Link>, now: Int64
    ) -> Bool {
        let next = table[index].next
        if next < table[index].highest { port.counters.add(.tcpRetransmissionsToGuest) }
        guard sendSegment(index, sequence: next, flags: flags, slot: slot, payload: length, gap: gap, &port) else { return false }
        table[index].next = next + length
        if table[index].highest < table[index].next {
            table[index].highest = table[index].next
            table[index].guestPath.sent(table[index].next, now: now)
        }
        return true
    }

    // MARK: Peeking

    /// Makes the kernel peek at `offset`. Where it cannot, the first pieces of the list take what comes before: their bytes are returned.
    /// nil where the kernel could, and now cannot: it would go on from where it stands.
    private mutating func preparePeek(_ index: Int, at offset: Int) -> Int? {
        if table[index].events.contains(.peekOffset) {
            if Int(table[index].peekPosition) == offset { return 0 }
            guard sockets.setPeekOffset(offset, on: table[index].socket) else { return nil }
            table[index].peekPosition = UInt32(truncatingIfNeeded: offset)
            return 0
        }
        if offset <= 0 { return 0 }
        if hasPeekOffset {
            if sockets.setPeekOffset(offset, on: table[index].socket) {
                table[index].events.insert(.peekOffset)
                table[index].peekPosition = UInt32(truncatingIfNeeded: offset)
                return 0
            }
            hasPeekOffset = false
        }
        var left = offset
        while left > 0 {
            let piece = min(left, scrap.byteCount)
            guard slots.append(scrap, offset: 0, length: piece) else { break }
            left -= piece
        }
        return offset
    }

    /// Takes from the socket's queue what the guest has acknowledged: in large steps while data flows, and the rest once the queue has
    /// been emptied.
    ///
    /// What lies there takes room from the peer's window, and more than its bytes: a buffer of 64 KiB of which one byte is left counts as a
    /// whole, and so does one that never held more than a byte. A queue that looks almost empty can close the window for good. So a rest
    /// that a step left is always taken, and small answers are after some of them.
    ///
    /// Whether a large step left something is not known: what came since the queue was last looked at lies behind it, in the same buffer. So it counts as if
    /// it had. And whatever else lies there is taken after a moment, so that no connection can stand still for longer than that: a shorter one while something
    /// is in flight, whose answer the guest may delay (lesson 77).
    mutating func discardAcknowledged(_ index: Int, now: Int64) {
        let connection = table[index]
        let count = acknowledgedCount(index)
        guard count > 0 else { return }
        if connection.gatheredPlace != 0 || connection.looksBriefly {
            _ = takeAcknowledged(index)
            return
        }
        let isEmptied = !connection.events.contains(.hasInput)
        let isIdle = connection.flight == 0 && isEmptied
        let isWorthIt = count >= 16 << 10 || connection.events.contains(.leftInQueue) || connection.peeks >= 16
        guard count >= 64 << 10 || isEmptied && count >= 16 << 10 || isIdle && isWorthIt else {
            guard isEmptied else { return }
            let due = now + longestRest(connection)
            if connection.restAt == 0 || due < connection.restAt { table[index].restAt = due }
            return
        }
        _ = takeAcknowledged(index)
        if isIdle, count < 16 << 10 { table[index].events.remove(.leftInQueue) } else { table[index].events.insert(.leftInQueue) }
    }

    private func longestRest(_ connection: TCPConnection) -> Int64 {
        connection.flight > 0 && connection.events.contains(.leftInQueue) ? TCPTranslator.longestRestInFlight : TCPTranslator.longestRest
    }

    /// Takes from the socket's queue what the guest has. False where nothing of it lies there.
    mutating func takeAcknowledged(_ index: Int) -> Bool {
        let count = acknowledgedCount(index)
        guard count > 0 else { return false }
        let known = forgetGathered(count, index)
        table[index].restAt = 0
        if known == count { return true }
        let taken = sockets.discard(count - known, on: table[index].socket).count
        queueAdvanced(taken, index)
        table[index].queueStart += taken
        // A queue in small pieces is examined again after as many looks, whatever was taken.
        if !table[index].looksBriefly { table[index].peeks = 0 }
        return known + taken > 0
    }

    /// `count` bytes were taken from the front of the socket's queue.
    mutating func queueAdvanced(_ count: Int, _ index: Int) {
        table[index].peekPosition -= min(table[index].peekPosition, UInt32(truncatingIfNeeded: count))
    }

    /// Bytes in the socket's queue that the guest has.
    func unreadCount(_ index: Int) -> Int { max(acknowledgedCount(index) - gatheredCount(index), 0) }

    /// Bytes that the guest has and that are still kept, in the socket's queue or here.
    private func acknowledgedCount(_ index: Int) -> Int {
        table[index].unacknowledged + (table[index].events.contains(.finAcknowledged) ? -1 : 0) - table[index].queueStart
    }

    // MARK: The end of the stream

    private mutating func endOfStream<Link: GuestLink & ~Copyable>(_ index: Int, _ port: inout GuestPort<Link>, now: Int64) -> Step {
        // `hasInput` stays until the FIN is sent: a link that has no room now is asked again.
        table[index].events.insert(.endOfStream)
        _ = sendFin(index, &port, now: now)
        return .done
    }

    /// Sends a FIN at `next`, which is behind all data (lesson 21).
    mutating func sendFin<Link: GuestLink & ~Copyable>(_ index: Int, _ port: inout GuestPort<Link>, now: Int64) -> Bool {
        let slot = port.reserve()
        let isSent = sendSegment(index, sequence: table[index].next, flags: [.fin, .ack], slot: slot, payload: 0, &port)
        if isSent { finWasSent(index) }
        if table[index].retransmitAt == 0 { startRetransmitTimer(index, now: now) }
        return isSent
    }

    private mutating func finWasSent(_ index: Int) {
        table[index].events.formUnion([.finSent, .endOfStream])
        table[index].events.remove(.hasInput)
        table[index].next += 1
        if table[index].highest < table[index].next { table[index].highest = table[index].next }
    }

    // MARK: Sending again

    /// Everything from the first missing byte on goes again, the first segment no more often than the rest.
    mutating func sendAllAgain(_ index: Int) {
        table[index].events.subtract([.recovering, .resendsFirst])
        table[index].next = table[index].unacknowledged
    }

    /// Sends the first unacknowledged segment again and nothing else; `next` stays. False when the connection is gone.
    private mutating func resendFirst<Link: GuestLink & ~Copyable>(_ index: Int, _ port: inout GuestPort<Link>, now: Int64) -> Bool {
        table[index].events.remove(.resendsFirst)
        let connection = table[index]
        let end = connection.events.contains(.finSent) ? connection.highest + -1 : connection.highest
        let length = min(end - connection.unacknowledged, Int(connection.segmentSize), Int(connection.guestWindow))
        guard connection.flight > 0, connection.guestWindow > 0 else { return true }
        startRetransmitTimer(index, now: now)
        port.counters.add(.tcpRetransmissionsToGuest)
        let slot = port.reserve()
        if length <= 0 {
            if connection.events.contains(.finSent), !sendSegment(index, sequence: end, flags: [.fin, .ack], slot: slot, payload: 0, &port) {
                table[index].events.insert(.resendsFirst)
            }
            return true
        }
        let layout = SegmentLayout(connection, port.offloads.subtracting(.runs))
        guard let (outcome, ignored) = show(index, at: connection.unacknowledged - connection.queueStart, length, layout, slot: slot, &port) else {
            endByReset(index, &port, now: now)
            return false
        }
        if outcome.error != nil, !outcome.wouldBlock, !awaitsAcknowledgement(index, outcome) {
            endByReset(index, &port, now: now)
            return false
        }
        let count = outcome.count - ignored
        if count > 0, !sendSegment(index, sequence: connection.unacknowledged, flags: [.ack, .psh], slot: slot, payload: count, &port) {
            table[index].events.insert(.resendsFirst)
        }
        return true
    }
}
