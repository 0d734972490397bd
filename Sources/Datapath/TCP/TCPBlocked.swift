internal import Linux
internal import Wire

// A socket that has no room for what the guest has sent. The window should keep the guest from that, but what the kernel counts are buffers and not bytes, and
// it may lack memory. The rest then stays with the guest, which is told so, and has to send it again once there is room:
//
//      guest ──seg 1, 2, 3──> we ──1──> socket: full                 2 is kept in KeptData, and 3 if there is place
//      guest <──ack of 1───── we                                     whatever it sends now is answered by that
//                                       socket: room                 what was kept goes out
//      guest <──ack of that, four times, with a window── we
//
// A guest that has not lost patience takes the last three for a loss and sends what follows at once (lesson 15). One whose retransmission timeout has run out
// heeds no equal acknowledgements any more, and would go on at its next timeout, which has doubled each time: only progress wakes it, by a whole segment of its
// own. That is what some is kept for (lesson 52).

extension TCPTranslator where Sockets: ~Copyable {
    /// Equal acknowledgements in one round.
    static var mostRepeats: UInt16 { 4096 }

    /// The kernel lacks memory, or was interrupted: nothing is wrong with the connection.
    @_noAllocation @_noLocks
    static func isPassing(_ error: Errno) -> Bool {
        error.code == 105 || error.code == 12 || error.code == 4  // ENOBUFS, ENOMEM, EINTR
    }

    /// A socket has refused the guest's data with an error that is none of EAGAIN. Whether the connection is still there: then it is tried again in a moment.
    mutating func survives<Link: GuestLink & ~Copyable>(_ error: Errno, _ index: Int, _ port: inout GuestPort<Link>, now: Int64) -> Bool {
        guard TCPTranslator.isPassing(error) else {
            // EPIPE and ECONNRESET: the peer takes no more. What it sent before can still be read, as an answer that says why; the guest has it before the reset, as
            // far as its window and the link have room now.
            if sendLastWords(index, &port, now: now) { endByReset(index, &port, now: now) }
            return false
        }
        table[index].events.formUnion([.triesAgain, .mustAcknowledge])
        return true
    }

    /// The socket has not taken `pending` but for its first `taken` bytes.
    mutating func socketIsFull(_ index: Int, rest taken: Int, now: Int64) {
        table[index].refusedPlace = kept.takePlace()
        table[index].refusedEnds = false
        if table[index].refusedPlace != 0 { kept.append(pending, skipping: taken, to: table[index].refusedPlace) }
        let end = table[index].expected + (pending.byteCount - taken)
        if end > endOfRefused(index) { noteDropped(until: end, segments: 0, index, now: now) }
        awaitRoom(index)
    }

    /// Nothing more goes to the socket before it says that it can take that.
    mutating func awaitRoom(_ index: Int) {
        table[index].sendSpace = 0
        table[index].events.formUnion([.outputBlocked, .awaitsRoom, .mustAcknowledge])
        sockets.awaitRoom(table[index].socket)
    }

    /// A segment that comes while the socket is full: what follows what is kept is kept as well.
    mutating func keepRefused(_ header: TCPHeader, _ index: Int, in arena: borrowing Mapping, now: Int64) {
        table[index].events.insert(.mustAcknowledge)
        let place = table[index].refusedPlace
        if place != 0, !table[index].refusedEnds {
            keep(header, from: endOfRefused(index), in: arena, place)
            if header.flags.contains(.fin) { keepRefusedEnd(header, index) }
        }
        let end = header.sequence + header.sequenceLength
        if end > endOfRefused(index) { noteDropped(until: end, segments: segmentCount(header, table[index]), index, now: now) }
    }

    /// Keeps what the segment has of the stream from `end` on, which is where that what lies in this place ends.
    mutating func keep(_ header: TCPHeader, from end: SequenceNumber, in arena: borrowing Mapping, _ place: UInt8) {
        let skip = end - header.sequence
        guard skip >= 0, skip <= header.payloadLength else { return }
        slots.removeAll()
        if slots.append(arena, offset: header.payloadOffset + skip, length: header.payloadLength - skip) {
            kept.append(slots, skipping: 0, to: place)
        }
    }

    /// The FIN of what is kept is kept with it: the guest would say it again with its next timeout only.
    mutating func keepRefusedEnd(_ header: TCPHeader, _ index: Int) {
        guard table[index].refusedPlace != 0, header.sequence + header.payloadLength == endOfRefused(index) else { return }
        table[index].refusedEnds = true
    }

    /// Behind what the guest has sent and a full socket has refused, and behind a FIN that came with that.
    func endOfRefused(_ index: Int) -> SequenceNumber {
        let connection = table[index]
        guard connection.refusedPlace != 0 else { return connection.expected }
        return connection.expected + kept.range(connection.refusedPlace).count + (connection.refusedEnds ? 1 : 0)
    }

    /// The socket says that it can take more. False when the connection is gone.
    mutating func roomAgain<Link: GuestLink & ~Copyable>(_ index: Int, _ port: inout GuestPort<Link>, now: Int64) -> Bool {
        guard table[index].events.contains(.awaitsRoom) else { return true }
        do throws(Errno) {
            if table[index].events.contains(.hasLeftover), try !sendLeftover(index) { return true }
            if table[index].refusedPlace != 0, try !sendRefused(index, now: now) { return true }
        } catch {
            return survives(error, index, &port, now: now)
        }
        if table[index].latePlace != 0 {
            guard joinLate(index, &port, now: now) else { return false }
            if table[index].refusedPlace != 0 { return true }
        }
        table[index].events.remove(.awaitsRoom)
        table[index].vainLooks = 0
        table[index].isHeldBack = false
        lookAtSendSpace(index, now: now)
        guard table[index].events.contains(.outputBlocked) else { return true }
        if table[index].sawHole { attendHole(index, end: table[index].expected, now: now) }
        table[index].events.remove(.outputBlocked)
        table[index].events.insert(.mustAcknowledge)
        // A guest that has ended waits for this one answer; and on a far path, they would come too late to tell of anything but a hole.
        let isEnough = table[index].events.contains(.finFromGuest) || !table[index].isNear && !table[index].hasHole
        table[index].repeats = isEnough ? 0 : 3
        return true
    }

    /// Sends what was refused before. True when nothing is left of it; an error is none of EAGAIN.
    mutating func sendRefused(_ index: Int, now: Int64) throws(Errno) -> Bool {
        let place = table[index].refusedPlace
        let range = kept.range(place)
        if !range.isEmpty {
            slots.removeAll()
            _ = slots.append(kept.bytes, offset: range.lowerBound, length: range.count)
            let outcome = sockets.send(&slots, on: table[index].socket)
            if let error = outcome.error, !outcome.wouldBlock { throw error }
            if outcome.count > 0 {
                socketTakes(outcome.count, index, now: now)
                table[index].events.insert(.mustAcknowledge)
                kept.remove(outcome.count, from: place)
            }
            guard outcome.count == range.count else { return false }
        }
        let ends = table[index].refusedEnds
        forgetRefused(index)
        if ends { guestEnds(index, now: now) }
        return true
    }

    mutating func forgetRefused(_ index: Int) {
        guard table[index].refusedPlace != 0 else { return }
        kept.forget(table[index].refusedPlace)
        table[index].refusedPlace = 0
        table[index].refusedEnds = false
    }
}
