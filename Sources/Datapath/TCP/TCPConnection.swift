// TCP: a translator with bookkeeping, not a stack. The guest's kernel and the host's kernel run TCP; this
// part mirrors to each what it sees of the other.
//
//      guest  --segments-->  TCPFromGuest  --sendmsg-->  socket      (expected, acknowledged, window)
//      guest  <--segments--  TCPFromHost   <--peek-----  socket      (next, unacknowledged, queueStart)
//
// No payload is kept here, but for three exceptions (TCPBlocked, TCPMissing, TCPGathered). What the guest sent is in its own send queue until we acknowledge it, which we do
// when the far end has; what the host sent stays in the socket's receive queue until the guest acknowledged it:
// it is peeked at, and discarded later.
//
//   TCPConnection     one connection's numbers
//   TCPHandshake      opening in both directions
//   TCPFromGuest      segments from the guest: acknowledgements, data, FIN, RST
//   TCPFromHost       data and end of stream towards the guest, retransmission
//   GuestPath         how much goes to the guest at once, and when it goes again
//   TCPAcknowledge    what is acknowledged to the guest, when, and with which window
//   TCPSendRoom       how much more a socket's send buffer holds
//   TCPBlocked        a socket that has no room for the guest's data, and how the guest goes on
//   TCPMissing        a frame of the guest's is missing, and how it sends that again
//   TCPGathered       queues of the host's sockets that are too costly to look at
//   LatePieces, KeptData  bytes of these three
//   TCPSlowStart      whose slow start counts
//   TCPKeepAlive      the guest asks whether the far end is still there
//   TCPOutage         how soon a path that was gone is used again
//   TCPTimers         all deadlines
//   TCPPostponed      what is done when there is nothing else to do
//   ClosedConnections what the guest's late segments are told by
//   TCPLimits         who gives way where there is no room
//   TCPOutput         building segments
//   HostSockets       what is asked of the host's kernel; tests put a script in its place
//   TCPTranslator     the owner of it all, its entry points, and the end of a connection

internal import Linux
internal import Wire

/// What has happened on a connection.
struct TCPEvents: OptionSet, BitwiseCopyable {
    let rawValue: UInt32
    /// The host's peer opened it (accept); else the guest did.
    static var opensToGuest: TCPEvents { TCPEvents(rawValue: 1 << 0) }
    /// Our SYN or SYN-ACK was sent and waits for its acknowledgement.
    static var synSent: TCPEvents { TCPEvents(rawValue: 1 << 1) }
    static var established: TCPEvents { TCPEvents(rawValue: 1 << 2) }
    /// The guest's FIN was taken in order, and the socket's sending side closed.
    static var finFromGuest: TCPEvents { TCPEvents(rawValue: 1 << 3) }
    /// The socket's stream has ended: behind `next` there is only our FIN.
    static var endOfStream: TCPEvents { TCPEvents(rawValue: 1 << 4) }
    /// Our FIN was sent; it is the last number before `highest`.
    static var finSent: TCPEvents { TCPEvents(rawValue: 1 << 5) }
    static var finAcknowledged: TCPEvents { TCPEvents(rawValue: 1 << 6) }
    /// The socket has, or may have, something to read.
    static var hasInput: TCPEvents { TCPEvents(rawValue: 1 << 7) }
    /// The peer of the socket will send no more than is queued already.
    static var inputEnds: TCPEvents { TCPEvents(rawValue: 1 << 8) }
    /// The socket did not take all of the guest's data; an output event tells when it will.
    static var outputBlocked: TCPEvents { TCPEvents(rawValue: 1 << 9) }
    /// An acknowledgement must go out in this round.
    static var mustAcknowledge: TCPEvents { TCPEvents(rawValue: 1 << 10) }
    /// SO_PEEK_OFF is on: the kernel keeps the position to peek at.
    static var peekOffset: TCPEvents { TCPEvents(rawValue: 1 << 11) }
    /// Data went to the guest that may be lost: a third duplicate acknowledgement was answered, until `recover` is acknowledged.
    static var recovering: TCPEvents { TCPEvents(rawValue: 1 << 12) }
    /// The first unacknowledged segment has to be sent again.
    static var resendsFirst: TCPEvents { TCPEvents(rawValue: 1 << 17) }
    /// A part of what lay in the socket's queue was taken from it, and the rest still lies there.
    static var leftInQueue: TCPEvents { TCPEvents(rawValue: 1 << 18) }
    /// The socket has an error, which is read behind what is queued.
    static var hasFailed: TCPEvents { TCPEvents(rawValue: 1 << 20) }
    /// One turn was not enough to send what could be sent.
    static var hasMore: TCPEvents { TCPEvents(rawValue: 1 << 19) }
    /// Came from a listener, whatever was sent since; see `TCPLimits`.
    static var isInbound: TCPEvents { TCPEvents(rawValue: 1 << 24) }
    /// A byte was sent into a closed window.
    static var probing: TCPEvents { TCPEvents(rawValue: 1 << 13) }
    /// Is in the list of connections to finish in this round.
    static var isTouched: TCPEvents { TCPEvents(rawValue: 1 << 14) }
    /// The kernel was asked to tell when the socket has room.
    static var awaitsRoom: TCPEvents { TCPEvents(rawValue: 1 << 16) }
    /// Is in the list of connections that wait for the link.
    static var waitsForLink: TCPEvents { TCPEvents(rawValue: 1 << 21) }
    /// The connection is gone, its socket closed, and the guest still has to hear of it.
    static var mustReset: TCPEvents { TCPEvents(rawValue: 1 << 25) }
    /// The socket did not take the guest's data for a reason that no event tells the end of: a timer tries again.
    static var triesAgain: TCPEvents { TCPEvents(rawValue: 1 << 22) }
    /// What was sent to a far end that owed nothing before is still without any answer: none can come before a round trip is over.
    static var awaitsFirst: TCPEvents { TCPEvents(rawValue: 1 << 23) }
    /// The link had no room for a segment in this round.
    static var wasRefused: TCPEvents { TCPEvents(rawValue: 1 << 26) }
    /// The queue had much at once when it was last looked at.
    static var bulk: TCPEvents { TCPEvents(rawValue: 1 << 27) }
    /// The socket's congestion control leaves it to the guest's when slow start ends; see `TCPSlowStart`.
    static var guestDecidesSlowStart: TCPEvents { TCPEvents(rawValue: 1 << 28) }
    /// It is not changed any more.
    static var keepsCongestionControl: TCPEvents { TCPEvents(rawValue: 1 << 29) }
    /// The socket gets what lies in `Leftovers` before anything else.
    static var hasLeftover: TCPEvents { TCPEvents(rawValue: 1 << 31) }
    /// Belongs to a machine that is being moved: nothing is done with it until that has ended well or badly; see `Migration`.
    static var standsStill: TCPEvents { TCPEvents(rawValue: 1 << 30) }
    /// Request and response alternate: acknowledgements wait for data to travel with.
    static var interactive: TCPEvents { TCPEvents(rawValue: 1 << 15) }
}

struct TCPConnection: FlowEntry {
    let key: FlowKey
    var socket: Descriptor
    /// Requests and responses are what most connections begin with.
    var events: TCPEvents = .interactive

    // Guest to host.
    /// The number of the guest's SYN.
    var initialFromGuest = SequenceNumber(0)
    /// The first byte from the guest that the socket has not taken yet.
    var expected = SequenceNumber(0)
    /// The acknowledgement that the guest was told last.
    var acknowledged = SequenceNumber(0)
    /// The right edge of the window that the guest was told last.
    var windowEdge = SequenceNumber(0)
    /// Something of the guest's was missing; `hasHole` tells whether it still is. See `TCPMissing`.
    var sawHole = false
    /// The end of what has come behind that.
    var furthest = SequenceNumber(0)
    /// Since when it is missing, in milliseconds of the worker's clock, and how many segments have come since.
    var holeSince: UInt32 = 0
    var holeAnswers: UInt8 = 0
    /// Some of that was dropped, and has to come again.
    var holeDropped = false
    /// The place in `late` of what is kept of that; 0: none.
    var latePlace: UInt8 = 0
    /// The guest's FIN has come there, behind all data.
    var lateEnds = false
    var lateEnd = SequenceNumber(0)
    /// Bytes that the socket would still take, as last heard, less what was sent since.
    var sendSpace: UInt32 = 0
    /// Bytes that a far path would still carry soon, as last heard, less what was sent since; `.max` is no limit.
    var pathRoom: UInt32 = .max
    /// The largest that `sendSpace` has been.
    var largestSpace: UInt32 = 0
    /// What the far end has acknowledged, as last heard, in the guest's numbers.
    var farAcknowledged = SequenceNumber(0)
    /// Bytes sent since `sendSpace` was heard.
    var sentSinceLook: UInt32 = 0
    /// Added to what the kernel says the far end has acknowledged: 1 where our SYN was counted.
    var acknowledgedBase: UInt8 = 0

    // Host to guest.
    /// The number of our SYN.
    var initialToGuest = SequenceNumber(0)
    /// The next number to send, and the highest that was ever sent; they differ while something is sent again.
    var next = SequenceNumber(0)
    var highest = SequenceNumber(0)
    /// The first number that the guest has not acknowledged.
    var unacknowledged = SequenceNumber(0)
    /// The number of the first byte in the socket's receive queue.
    var queueStart = SequenceNumber(0)
    /// Where the kernel will peek next, from `queueStart`.
    var peekPosition: UInt32 = 0
    /// Times that something was peeked at since anything was taken from the queue.
    var peeks: UInt8 = 0
    /// The host's peer has sent urgent data. A look at the queue ends where that does, whatever follows.
    var hasUrgent = false
    /// Bytes that the guest takes from `unacknowledged` on.
    var guestWindow: UInt32 = 0
    /// How much the way to it takes, and how soon it answers.
    var guestPath = GuestPath()
    /// While recovering: what was `highest` when it began.
    var recover = SequenceNumber(0)
    /// Largest payload of one segment to the guest.
    var segmentSize: UInt16 = 536
    /// Largest payload that the guest has sent in one segment as far as we told it.
    var guestSegmentSize: UInt16 = 536
    var guestWindowScale: UInt8 = 0
    var windowScale: UInt8 = 0
    var duplicateAcknowledgements: UInt8 = 0
    var retransmissions: UInt8 = 0
    /// Rounds in a row in which the link had no room.
    var refusals: UInt8 = 0
    /// Acknowledgements that say the same as the one before and still have to go out; see `TCPBlocked`.
    var repeats: UInt16 = 0
    /// The place in `kept` of what the socket had no room for; 0: none.
    var refusedPlace: UInt8 = 0
    /// The guest's FIN follows that.
    var refusedEnds = false
    /// The place in `gathered` that the socket's queue begins with; 0: none. See `TCPGathered`.
    var gatheredPlace: UInt8 = 0
    /// The queue is in so small pieces that little of it may be looked at, and there is no place to gather them.
    var looksBriefly = false
    /// The guest has been told of two segments' room once. Since then its stack sends less than one only where that is all that it has.
    var sendsWholeSegments = false
    /// Looks for room in the send buffer that have found none, in a row.
    var vainLooks: UInt8 = 0
    /// Seconds that a retransmission timeout of the socket doubles up to; 0: as many as the system says. See `TCPOutage`.
    var timeoutLimit: UInt8 = 0
    /// Seconds of silence after which the socket asks the far end whether it is still there; 0: it does not. See `TCPKeepAlive`.
    var keepAliveTime: UInt16 = 0
    /// Seconds of silence before the guest's last probe.
    var silence: UInt16 = 0
    /// Acknowledgements that still go out at once before the connection may be called interactive.
    var quickAcknowledgements: UInt8 = 16

    // Time, in milliseconds of the worker's clock; 0 is "not set".
    var retransmitAt: Int64 = 0
    var acknowledgeAt: Int64 = 0
    /// When room in the send buffer is looked for next (`vainLooks`).
    var roomLookAt: Int64 = 0
    /// When the socket is looked at, whatever happens: its path may be gone. See `TCPOutage`.
    var checkAt: Int64 = 0
    /// When what lies in the socket's queue although the guest has it is taken from there, whatever there is of it.
    var restAt: Int64 = 0
    /// The guest's last sign of life.
    var heardAt: UInt32 = 0
    /// When the guest was last asked whether it still knows the connection, in milliseconds of the worker's clock; see `guestMayHaveRestarted`.
    var askedAt: UInt32 = 0
    /// Round-trip time of the host's path, microseconds: the smaller of the smoothed and the least one.
    var roundTrip: UInt32 = 0
    /// Since when retransmissions have gone without an answer, while there is a `timeoutLimit`, in milliseconds of the worker's clock.
    var outageSince: UInt32 = 0
    /// The far end has had no window for so long that the guest must not be left to its retransmissions; see `attendClosure`.
    var isHeldBack = false
    /// A send has failed for good, and the error was told with that.
    var isBroken = false
    /// Since when the far end has acknowledged nothing although it owed that, in milliseconds of the worker's clock.
    var waitsSince: UInt32 = 0

    init(key: FlowKey, socket: Descriptor) {
        self.key = key
        self.socket = socket
    }

    var flight: Int { highest - unacknowledged }
    /// The guest has sent more than what is expected: something before that is missing.
    var hasHole: Bool { sawHole && furthest > expected }
    /// The guest sends again what it has sent before and was dropped, as far as can be told.
    var sendsAgain: Bool { hasHole && holeDropped && holeAnswers >= 3 }
    /// The next number to the guest, or the end of its window where that comes first.
    var numberInWindow: SequenceNumber { flight > Int(guestWindow) ? unacknowledged + Int(guestWindow) : highest }
    /// The far end is so near that its own acknowledgement says nothing more than the kernel's.
    var isNear: Bool { roundTrip < 1000 }
}
