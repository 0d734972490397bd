internal import Linux
internal import Wire

// Something of the guest's is missing: its own link has dropped a frame, or delivered it late, or a full socket has had no room for it. What follows is kept as far
// as there is room (`LatePieces`). Each segment behind the hole is answered by an acknowledgement of its own, without data (RFC 5681, section 4.2), so that the guest sends what is
// missing again; and what is kept goes out behind that:
//
//      guest  ──1, 3, ... 40──>  we      3 to 40 are kept, and answered by 38 acknowledgements of 1
//      guest  ──2──>             we      is sent with what was kept; the acknowledgement is that of 40
//
// What is not kept has to come again, and the difficulty is that the guest also sends what is new then: one whose retransmission timeout has run out does so
// to see whether anything was lost at all (F-RTO; RFC 5682, section 2.1), and one in fast recovery does so with each further acknowledgement. That would be
// dropped as well, and be the next hole as soon as the old one is closed. One lost frame led to one timeout after the other, each twice as long as the one before
// (lesson 60). So where anything was dropped, the window ends with that until all is there that was there before:
//
//      guest  ──2──>             we      3 to 40 were dropped: the acknowledgement is that of 2, and its window ends behind 40
//      guest  ──3, ... 40──>     we      the window opens again

extension TCPTranslator where Sockets: ~Copyable {
    /// Milliseconds after which a guest may have run into its retransmission timeout (Linux' own least one is 200).
    private static var leastTimeout: UInt32 { 150 }

    /// A segment that begins behind what is expected.
    mutating func takeLate(_ header: TCPHeader, _ index: Int, in arena: borrowing Mapping, now: Int64) {
        let segments = segmentCount(header, table[index])
        guard noteHole(until: header.sequence + header.sequenceLength, segments: segments, index, now: now) else {
            table[index].events.insert(.mustAcknowledge)
            return
        }
        // Each has an answer of its own, or the guest would not count three, and would take them to be still on their way.
        table[index].repeats = min(table[index].repeats + min(segments, TCPTranslator.mostRepeats), TCPTranslator.mostRepeats)
        if !keepLate(header, index, in: arena) { table[index].holeDropped = true }
    }

    func segmentCount(_ header: TCPHeader, _ connection: TCPConnection) -> UInt16 {
        let size = max(Int(connection.guestSegmentSize), 1)
        return UInt16(clamping: max((header.payloadLength + size - 1) / size, 1))
    }

    /// Ahead of what is expected, and in some window that there can have been: the one that it was sent into may have been confined since.
    func isInAnyWindow(_ number: SequenceNumber, _ connection: TCPConnection) -> Bool {
        (1...65535 << Int(connection.windowScale) + 1).contains(number - connection.expected)
    }

    /// What has come, or was dropped, ends at `end`, and not all before that is there. False where it lies outside of any window.
    private mutating func noteHole(until end: SequenceNumber, segments: UInt16, _ index: Int, now: Int64) -> Bool {
        let connection = table[index]
        guard isInAnyWindow(end, connection) else { return false }
        if !connection.hasHole {
            table[index].sawHole = true
            table[index].holeSince = UInt32(truncatingIfNeeded: now)
            table[index].holeAnswers = 0
            table[index].holeDropped = false
            table[index].furthest = end
        } else if end > connection.furthest {
            table[index].furthest = end
        }
        table[index].holeAnswers = UInt8(clamping: UInt16(table[index].holeAnswers) + min(segments, 3))
        return true
    }

    /// The same of what a full socket has refused and nothing has kept.
    mutating func noteDropped(until end: SequenceNumber, segments: UInt16, _ index: Int, now: Int64) {
        if noteHole(until: end, segments: segments, index, now: now) { table[index].holeDropped = true }
    }

    /// False when anything was dropped.
    private mutating func keepLate(_ header: TCPHeader, _ index: Int, in arena: borrowing Mapping) -> Bool {
        if table[index].latePlace == 0 {
            guard header.payloadLength > 0 else { return false }
            table[index].latePlace = late.takePlace()
            table[index].lateEnds = false
        }
        let place = table[index].latePlace
        guard place != 0 else { return false }
        slots.removeAll()
        let isKept = slots.append(arena, offset: header.payloadOffset, length: header.payloadLength) && late.insert(slots, at: header.sequence, place)
        guard header.flags.contains(.fin) else { return isKept }
        let end = header.sequence + header.payloadLength
        guard late.ends(at: end, place) else { return false }
        (table[index].lateEnds, table[index].lateEnd) = (true, end)
        return isKept
    }

    /// Whether something that was kept follows what is collected for the socket, or lies in it.
    func reachesLate(_ index: Int) -> Bool {
        let next = table[index].expected + pending.byteCount
        return late.count(from: next, table[index].latePlace) > 0 || table[index].lateEnds && table[index].lateEnd == next
    }

    /// Sends what was kept, where what was missing before it has come. False when the connection is gone. Precondition: the socket is not full.
    mutating func joinLate<Link: GuestLink & ~Copyable>(_ index: Int, _ port: inout GuestPort<Link>, now: Int64) -> Bool {
        guard table[index].latePlace != 0, !table[index].events.contains(.finFromGuest) else { return true }
        takeFromLate(index)
        guard table[index].refusedPlace != 0 else { return true }
        do throws(Errno) {
            if try !sendRefused(index, now: now) { awaitRoom(index) }
            return true
        } catch {
            guard survives(error, index, &port, now: now) else { return false }
            awaitRoom(index)
            return true
        }
    }

    /// What was kept behind `expected`, without a hole, is now what the socket is to get next.
    private mutating func takeFromLate(_ index: Int) {
        let place = table[index].latePlace
        let expected = table[index].expected
        let count = late.count(from: expected, place)
        let next = expected + count
        let ends = table[index].lateEnds && table[index].lateEnd == next
        if count > 0 || ends {
            table[index].refusedPlace = kept.takePlace()
            table[index].refusedEnds = ends && table[index].refusedPlace != 0
            // Without a place it has to come again.
            if table[index].refusedPlace != 0 {
                slots.removeAll()
                late.add(count, from: expected, place, to: &slots)
                kept.append(slots, skipping: 0, to: table[index].refusedPlace)
            }
            if endOfRefused(index) < next + (ends ? 1 : 0) { table[index].holeDropped = true }
        }
        late.drop(before: next, place)
        if late.isEmpty(place), ends || !table[index].lateEnds || table[index].lateEnd <= next { forgetLate(index) }
    }

    /// Some of what is missing has come, up to `end`, and is acknowledged at once (RFC 5681, section 4.2). A guest that had to wait for it as long as its timer runs
    /// sends again what it has sent before.
    mutating func attendHole(_ index: Int, end: SequenceNumber, now: Int64) {
        table[index].events.insert(.mustAcknowledge)
        if table[index].hasHole, end > table[index].furthest { table[index].furthest = end }
        let age = UInt32(truncatingIfNeeded: now) &- table[index].holeSince
        if age >= TCPTranslator.leastTimeout { table[index].holeAnswers = max(table[index].holeAnswers, 3) }
    }

    /// Sends what the guest counts. On a far path, what is before the hole has to be acknowledged first: the guest would take that for what is missing.
    mutating func repeatAcknowledgement<Link: GuestLink & ~Copyable>(_ index: Int, _ port: inout GuestPort<Link>) {
        guard table[index].acknowledged == table[index].expected else { return }
        while table[index].repeats > 0, !table[index].events.contains(.mustAcknowledge), sendControl(index, .ack, &port) { table[index].repeats -= 1 }
    }

    /// Nothing is missing any more: one answer is enough for all that followed.
    mutating func closeHole(_ index: Int) {
        guard !table[index].hasHole else { return }
        table[index].sawHole = false
        guard table[index].repeats > 0 else { return }
        table[index].repeats = 0
        table[index].events.insert(.mustAcknowledge)
    }

    /// The right edge of a window that has room for what was dropped, and for nothing new. Of what the guest has sent, this takes nothing back.
    func confinedEdge(_ index: Int) -> SequenceNumber {
        let connection = table[index]
        let unit = 1 << Int(connection.windowScale)
        let end = max(connection.furthest - connection.acknowledged, endOfRefused(index) - connection.acknowledged)
        return connection.acknowledged + (end + unit - 1) / unit * unit
    }

    mutating func forgetLate(_ index: Int) {
        guard table[index].latePlace != 0 else { return }
        late.forget(table[index].latePlace)
        table[index].latePlace = 0
        table[index].lateEnds = false
    }
}
