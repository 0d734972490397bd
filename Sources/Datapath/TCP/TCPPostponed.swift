internal import Linux
internal import Wire

/// What a worker does once it has nothing else to do, so that nobody waits for it meanwhile.
///
///   closing      sockets whose connections are over in both directions: to empty and close one takes as long as everything else that a request costs
///   handshakes   connections that the guest has acknowledged and the host's peer has not heard of yet: our acknowledgement travels with the
///                guest's first data, so that the peer is woken once for both. A peer that speaks first hears it before the worker sleeps.
///   answer       the first answer on a connection, where such are followed at once by the end of their stream: both go to the guest as one
///                segment, and wake it once. See `EndExpectation`.
///
/// None waits for longer than a millisecond, however much else there is, and an answer no longer than `answerPatience`.
struct Postponed: ~Copyable {
    /// A socket, and what it may have in its queue that the guest has already.
    struct Closing: BitwiseCopyable {
        var socket: Descriptor
        var unread: Int32
    }

    static var mostClosing: Int { 64 }
    /// Nanoseconds that an answer waits for its end: about what it costs to wake the guest a second time.
    static var answerPatience: Int64 { 15_000 }

    var closing: FixedTable<Closing>
    var closingCount = 0
    var handshakes: UsageOrder
    /// Since when anything of the above waits, in milliseconds of the worker's clock.
    var since: Int64 = 0
    var answer = -1
    /// Since when, in nanoseconds; 0: not looked at yet.
    var answerSince: Int64 = 0
    var expectation = EndExpectation()

    init(capacity: Int) throws(Errno) {
        let closing = try FixedTable<Closing>(count: Postponed.mostClosing)
        let handshakes = try UsageOrder(capacity: capacity)
        self.closing = closing
        self.handshakes = handshakes
    }

    var isEmpty: Bool { closingCount == 0 && handshakes.count == 0 }
}

/// Whether the first answer of a connection is likely to be its last: it was for the last few, and one that was not counts for several that were.
struct EndExpectation: BitwiseCopyable {
    private var score: UInt8 = 0

    var isLikely: Bool { score >= 4 }

    @_noAllocation @_noLocks
    mutating func ended() { score = min(score + 1, 8) }

    @_noAllocation @_noLocks
    mutating func wentOn() { score -= min(score, 4) }
}

extension TCPTranslator where Sockets: ~Copyable {
    // MARK: Closing

    /// The connection of `index` is over; its socket is closed soon.
    mutating func closeLater(_ index: Int, now: Int64) {
        if postponed.closingCount == Postponed.mostClosing { closePostponed() }
        if postponed.isEmpty { postponed.since = now }
        postponed.closing[postponed.closingCount] = Postponed.Closing(
            socket: table[index].socket, unread: Int32(truncatingIfNeeded: unreadCount(index)))
        postponed.closingCount += 1
    }

    mutating func closePostponed() {
        for position in 0..<postponed.closingCount {
            let entry = postponed.closing[position]
            // The kernel resets a connection that is closed with something unread, which would take what is still on its way with it.
            var unread = Int(entry.unread)
            while unread > 0 {
                // Less at a time where there is urgent data.
                let count = sockets.discard(unread, on: entry.socket).count
                if count <= 0 { break }
                unread -= count
            }
            sockets.close(entry.socket)
        }
        postponed.closingCount = 0
    }

    // MARK: Handshakes

    /// The guest knows the connection now; its peer hears of it with what the guest sends next, or soon.
    mutating func completeLater(_ index: Int, now: Int64) {
        if table[index].events.contains(.isInbound) { return }
        if postponed.isEmpty { postponed.since = now }
        postponed.handshakes.use(index)
    }

    private mutating func completeHandshakes() {
        while let index = postponed.handshakes.oldest {
            postponed.handshakes.remove(index)
            sockets.completeHandshake(table[index].socket)
        }
    }

    // MARK: Answers

    var hasAnswer: Bool { postponed.answer >= 0 }

    /// The first answer of `index` has come. True when it waits for the end of its stream, which is another event.
    mutating func answerWaits(_ index: Int, _ events: Epoll.Events) -> Bool {
        let connection = table[index]
        guard connection.highest == connection.initialToGuest + 1, connection.events.contains(.established), events.contains(.input),
            events.isDisjoint(with: [.readHangUp, .hangUp, .error])
        else { return false }
        guard postponed.expectation.isLikely, postponed.answer < 0, connection.expected != connection.initialFromGuest + 1 else { return false }
        postponed.answer = index
        postponed.answerSince = 0
        return true
    }

    /// The stream of `index` ends. What an answer that waits has waited for, or a sign that waiting would have been worth it.
    mutating func answerEnds(_ index: Int, now: Int64) {
        let connection = table[index]
        let answered = connection.highest - connection.initialToGuest - 1
        let isFirst = answered == 0 || answered <= Int(connection.segmentSize) && UInt32(truncatingIfNeeded: now) &- connection.heardAt <= 1
        if isFirst { postponed.expectation.ended() }
        if postponed.answer == index { postponed.answer = -1 }
    }

    /// Whether an answer has waited for long enough, at `time` in nanoseconds.
    mutating func answerIsDue(_ time: Int64) -> Bool {
        guard postponed.answer >= 0 else { return false }
        if postponed.answerSince == 0 { postponed.answerSince = time }
        return time - postponed.answerSince >= Postponed.answerPatience
    }

    /// The answer that waits goes out in this round.
    mutating func giveAnswer<Link: GuestLink & ~Copyable>(_ port: inout GuestPort<Link>, now: Int64) {
        let index = postponed.answer
        guard index >= 0 else { return }
        postponed.answer = -1
        postponed.expectation.wentOn()
        touch(index)
    }

    // MARK: All of it

    /// Does what has waited for long enough although the worker has no rest.
    mutating func hurryPostponed(now: Int64) {
        if !postponed.isEmpty, now > postponed.since { finishPostponed() }
    }

    /// The worker is about to sleep. An answer is not part of it: it needs a round of its own.
    mutating func finishPostponed() {
        completeHandshakes()
        closePostponed()
    }

    /// `index` is gone.
    mutating func forgetPostponed(_ index: Int) {
        postponed.handshakes.remove(index)
        if postponed.answer == index { postponed.answer = -1 }
    }
}
