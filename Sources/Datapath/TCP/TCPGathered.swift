internal import Linux
internal import Wire

// Queues in very small pieces.
//
// The kernel keeps what has come as a list of buffers, and looks for each buffer that it shows from the front of that list. A peer that writes a few bytes at a
// time while the guest's window is closed makes tens of thousands of them: to look at 64 KiB took one call of five seconds, in which no other connection moved.
// Taking instead of looking costs the same for each buffer, since it is always the first. So what such a queue holds is taken out of it, and kept until the
// guest has acknowledged it:
//
//      socket's queue  . . . . . . . . . . . ──take──> gathered ──copy──> frames            a place of 128 KiB
//                                                         ^ queueStart
//
// All that was in flight comes along, so nothing of the queue is looked at any more until all of it is empty. Where no place is free, little is looked at and
// in flight at a time, and what the guest has is taken from the queue at once.
//
// A queue is examined where it may have grown unseen: when the guest's window opens, after many looks that took nothing, and in a round behind one that took long,
// as it does where a single queue was looked at that should not have been: each that grew meanwhile would cost as much, and all stand still for seconds.

extension TCPTranslator where Sockets: ~Copyable {
    /// Bytes in one look at a queue in small pieces.
    static var briefLook: Int { 512 }
    /// Looks after which a queue that nothing was taken from is examined. A conversation of requests and answers takes something after sixteen.
    private static var looksBeforeDoubt: UInt8 { 32 }
    /// Nanoseconds from which on a round was so long that queues may have grown unseen meanwhile.
    static var longRound: Int64 { 3_000_000 }
    /// Bytes of such a queue that may be in flight.
    static var briefFlight: Int { 4 * briefLook }
    /// A queue that takes less of the kernel's memory than this, in bytes, is short; and pieces are small where they take so many times what they hold.
    private static var leastMemory: UInt32 { 256 << 10 }
    private static var leastRatio: Int { 4 }

    /// Something was looked at.
    mutating func countLook(_ index: Int) {
        guard table[index].gatheredPlace == 0 else { return }
        let (step, peeks) = (TCPTranslator.looksBeforeDoubt, table[index].peeks)
        table[index].peeks = peeks < 2 * step ? peeks + 1 : step + 1
        if table[index].peeks % step == 0 { attendPieces(index) }
    }

    /// Finds out whether the queue is in small pieces, where it may have become long unseen.
    mutating func attendPieces(_ index: Int) {
        let connection = table[index]
        guard connection.gatheredPlace == 0, !connection.events.contains(.standsStill) else { return }
        table[index].looksBriefly = false
        guard let memory = sockets.receiveMemory(connection.socket), memory >= TCPTranslator.leastMemory else { return }
        guard let received = sockets.path(connection.socket)?.bytesReceived else { return }
        let queued = UInt32(truncatingIfNeeded: received) &- UInt32(truncatingIfNeeded: connection.queueStart - connection.initialToGuest - 1)
        guard Int(memory) >= TCPTranslator.leastRatio * Int(queued) else { return }
        table[index].gatheredPlace = gathered.takePlace()
        table[index].looksBriefly = table[index].gatheredPlace == 0
        table[index].restAt = 0
    }

    /// Sees to it that something behind `offset` is gathered: how much there is, or what the kernel says instead, or that `awaitsAcknowledgement`.
    mutating func gather(_ index: Int, beyond offset: Int) -> Outcome {
        let place = table[index].gatheredPlace
        while gathered.range(place).count <= offset {
            let free = gathered.free(place)
            if free.isEmpty { return TCPTranslator.isFull }
            slots.removeAll()
            _ = slots.append(gathered.bytes, offset: free.lowerBound, length: free.count)
            let outcome = sockets.take(&slots, from: table[index].socket)
            guard outcome.succeeded, outcome.count > 0 else {
                if outcome.wouldBlock || outcome.raw == 0, gathered.range(place).isEmpty { endGathering(index) }
                return outcome
            }
            gathered.added(outcome.count, to: place)
            queueAdvanced(outcome.count, index)
        }
        return Outcome(gathered.range(place).count - offset)
    }

    /// As ENOBUFS, which receiving does not know.
    private static var isFull: Outcome { Outcome(-105) }

    /// The place is full: there is more, and room for it once the guest has acknowledged something.
    func awaitsAcknowledgement(_ index: Int, _ outcome: Outcome) -> Bool { table[index].gatheredPlace != 0 && outcome.raw == TCPTranslator.isFull.raw }

    /// Copies what was gathered, from `offset` on, to where `slots` says: how many bytes.
    mutating func showGathered(_ index: Int, at offset: Int) -> Int {
        let range = gathered.range(table[index].gatheredPlace)
        return slots.fill(from: gathered.bytes, offset: range.lowerBound + offset, length: range.count - offset)
    }

    /// Bytes that were gathered.
    func gatheredCount(_ index: Int) -> Int { table[index].gatheredPlace == 0 ? 0 : gathered.range(table[index].gatheredPlace).count }

    /// The guest has the first `count` bytes: how many of them were gathered.
    mutating func forgetGathered(_ count: Int, _ index: Int) -> Int {
        let known = min(count, gatheredCount(index))
        if known > 0 { gathered.remove(known, from: table[index].gatheredPlace) }
        table[index].queueStart += known
        if gatheredCount(index) == 0, !table[index].events.contains(.hasInput) { endGathering(index) }
        return known
    }

    mutating func endGathering(_ index: Int) {
        guard table[index].gatheredPlace != 0 else { return }
        gathered.forget(table[index].gatheredPlace)
        table[index].gatheredPlace = 0
        table[index].peeks = 0
    }
}
