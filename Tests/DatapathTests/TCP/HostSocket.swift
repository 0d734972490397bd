import Wire

@testable import Datapath
@testable import Linux

/// When the far end acknowledges all at once, or nearly so.
enum Draining { case never, beforeAwaitRoom, beforePath }

/// One socket of the host, with its kernel and the far end behind it.
struct HostSocket {
    let number: Int
    var tag: UInt64 = 0
    var remote: Endpoint?
    var typeOfService: UInt8 = 0
    var isConnected = false
    var isAccepted = false

    // From the guest.
    /// All that was sent.
    var taken: [UInt8] = []
    /// So much of it has the far end acknowledged.
    var drained = 0
    /// What it has acknowledged before all of that: gigabytes that no script has to send.
    var acknowledgedBefore = 0
    var sendLimit = 70_000
    /// What a byte takes of that.
    var bookkeeping = 1
    /// The kernel knows that someone waits for room (SOCK_NOSPACE).
    var awaitsRoom = false
    /// The far end takes all that is queued between two calls.
    var drains = Draining.never
    /// shutdown(SHUT_WR) was called.
    var isFinished = false

    // To the guest.
    /// All that came from the far end.
    var arrived: [UInt8] = []
    /// What came, and was read, before all of that.
    var receivedBefore = 0
    /// So much of it was taken out of the queue.
    var consumed = 0
    var hasFin = false
    /// Bytes that the far end has sent, which have not arrived.
    var underWay = 0
    /// Where in `arrived` the last byte of urgent data is, if there was any.
    var mark: Int?
    /// The far end has reset the connection, or the attempt failed.
    var error: Errno?
    /// SO_PEEK_OFF; -1 is off.
    var peekOffset = -1

    var closes = 0
    var isAborted = false
    /// What the far end sees of an end: a close with unread data is a reset to it.
    var wasUnreadAtClose = false
    var isReady = false
    /// Microseconds.
    var roundTrip: UInt32 = 100
    /// Slow start ends by a loss once the far end has so many bytes, and the loss is repaired when it has so many.
    var slowStartEnds = Int.max
    var repairEnds = 0
    /// CUBIC, which may end slow start early.
    var hasHyStart = true
    /// Retransmissions without an answer, and what the far end takes.
    var timeouts: UInt8 = 0
    var farWindow: UInt32?
    /// Seconds that a timeout doubles up to; nil: the system's.
    var timeoutLimit: UInt8?
    var keepAlive: (time: UInt16, interval: UInt16)?
    var peeks = 0
    var discards = 0
    /// Bytes of the kernel's memory that a byte in the receive queue takes.
    var pieceCost = 1
    /// The most bytes that were looked at in one call while it took more than four times of what it held.
    var longestFineLook = 0
    /// An output event is due although nothing was taken out of the buffer since: memory has come free.
    var owesEvent = false
    /// `setPeekOffset` has failed here after it had worked.
    var hasLostPeekOffset = false
    /// Another connection between the same ends has followed.
    var isEarlier = false

    init(number: Int) { self.number = number }

    var isOpen: Bool { closes == 0 }
    var queued: Int { taken.count - drained }
    /// What the path carries at a time; a third of the buffer if nothing is said.
    var carried: Int?
    var notSent: Int { max(queued - (carried ?? sendLimit / 3), 0) }
    var unread: Int { arrived.count - consumed }
    /// As `sk_stream_is_writeable`: a third of the buffer is free.
    var isWritable: Bool { sendLimit - booked >= booked / 2 && sendLimit > booked }
    var booked: Int { queued * bookkeeping }

    var hasLeftSlowStart: Bool { drained >= slowStartEnds }
    var isRepairing: Bool { hasLeftSlowStart && drained < repairEnds }

    /// What epoll would say now.
    var readiness: Epoll.Events {
        if error != nil { return [.error, .hangUp, .input, .output, .readHangUp] }
        guard isConnected else { return [] }
        var events: Epoll.Events = []
        if unread > 0 || hasFin { events.insert(.input) }
        if hasFin { events.insert(.readHangUp) }
        if let mark, consumed <= mark { events.insert(.priority) }
        if hasFin && isFinished { events.insert(.hangUp) }
        if isWritable { events.insert(.output) }
        return events
    }
}
