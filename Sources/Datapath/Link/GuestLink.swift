// Datapath: a packet's way between the guest and the host's sockets. The folders are the way:
//
//            guest                                                     host
//              |                                                        ^
//     Link     |  frames with their offloads                            |  sockets
//              v                                                        |
//     Dispatch   Ethernet, IP, L4 into values --> Local   answered in place (ARP, NDP, DHCP ...)
//              |
//     Flow       which flow, which addresses, which timers
//              |
//     TCP | UDP | Ping    translate, each way in a file of its own: ...FromGuest, ...FromHost
//
// Nothing here allocates after start: tables and arenas are mapped once, with fixed capacities. One
// worker is one `Forwarder`, which owns everything below it and shares nothing.
//
// This folder is the guest's side. A link carries whole Ethernet frames, each with the offload work that
// is still to be done on it, in the words of virtio-net: "checksum from here, store it there", "cut into
// segments of this size". Links that cannot express that say so, and are given finished frames.

public import Linux
internal import Wire

/// One frame in an arena.
struct Frame: BitwiseCopyable {
    /// Where the Ethernet header starts.
    var offset: Int
    /// From the Ethernet header to the end.
    var length: Int
    var offload: VirtioNetHeader
    /// Bytes between the payloads of a super-frame's segments, with room for their headers; only in runs.
    var gap: UInt16 = 0
}

/// What can be left to the link.
struct LinkOffloads: OptionSet, BitwiseCopyable {
    let rawValue: UInt8
    /// Frames may be given with partial L4 checksums.
    static var checksum: LinkOffloads { LinkOffloads(rawValue: 1) }
    /// TCP super-segments may be given.
    static var tcpSegmentation: LinkOffloads { LinkOffloads(rawValue: 2) }
    /// UDP super-datagrams may be given.
    static var udpSegmentation: LinkOffloads { LinkOffloads(rawValue: 4) }
    /// Super-segments may lie in slots of `reserveRun`, with gaps between their segments as `SlotLayout.gap` says.
    static var runs: LinkOffloads { LinkOffloads(rawValue: 8) }
}

/// What a link says to one attempt to send.
enum LinkVerdict {
    case sent
    /// No room now; the frame is gone and counts as lost.
    case full
    /// The interface is down or the frame was refused; nothing is wrong with the link itself.
    case refused
    /// The guest is gone.
    case closed
}

/// What an event of a link came to.
struct LinkEvent: OptionSet, BitwiseCopyable {
    let rawValue: UInt8
    /// There are frames to receive, or the guest's end to be found.
    static var frames: LinkEvent { LinkEvent(rawValue: 1) }
    /// What was refused as `full` may be sent again.
    static var room: LinkEvent { LinkEvent(rawValue: 2) }
    /// A guest has come: nothing is known of it yet.
    static var arrived: LinkEvent { LinkEvent(rawValue: 4) }
    /// `takeTransfer` has one.
    static var transfer: LinkEvent { LinkEvent(rawValue: 8) }
    /// Whoever would be the guest has to wait, since descriptors or memory are lacking: `resume` in a moment.
    static var waits: LinkEvent { LinkEvent(rawValue: 16) }
}

/// What happened to the link itself, for who writes the log.
public enum GuestNotice: Sendable, Equatable, BitwiseCopyable {
    case arrived
    case left
    /// The guest's end was cut: it sent a frame of impossible length.
    case brokeFraming
    /// The same for a message of vhost-user that makes no sense: its request, or 0 where not even its header does.
    case brokeProtocol(UInt32)
    /// The guest's driver put something impossible into a ring, which is not looked at any more until the machine starts it anew.
    case brokeRing
    /// Somebody else wanted to be the guest while there was one.
    case turnedAway
    /// The guest's end was cut, or not let in: the kernel does not watch one more socket or ring, for this reason.
    case unwatched(Errno)
    /// The guest's end was cut: the kernel does not map its memory.
    case unmapped(Errno)
    /// Nothing more is written to the capture file, for this reason.
    case captureEnded(Errno)
    /// Frames are missing in it, and others will follow.
    case captureLacksFrames(Errno)
}

/// What a link counts for itself.
struct LinkFigures: BitwiseCopyable {
    /// System calls that brought frames, and that took them away.
    var batchesFromGuest = 0
    var batchesToGuest = 0
    /// Frames from and to the guest that were segments of larger ones.
    var segmentsToGuest = 0
    /// Times that the guest did not take all at once.
    var stops = 0
    var guests = 0
    var turnedAway = 0
    /// Guests that sent a frame of impossible length, or a message that makes no sense.
    var brokeFraming = 0
    var brokeProtocol = 0
    /// Rings in which there was something impossible.
    var brokeRing = 0
    /// What came and is no frame, or one too long for any IP packet, and what a tap could not give.
    var unusableFrames = 0
}

/// The guest's side of a worker.
protocol GuestLink: ~Copyable {
    /// What becomes readable when the guest has sent something.
    var descriptor: Descriptor { get }
    var offloads: LinkOffloads { get }
    /// Whether a large frame would be taken now. If not, `room` is told once it is so.
    var hasRoom: Bool { mutating get }
    /// Frames and bytes of a batch.
    var batchSize: LinkBatch { get }
    var figures: LinkFigures { get }

    /// How many it may have open besides.
    var moreDescriptors: Int { get }

    /// Begins to be watched, by tags of kind `link`, whose index is the link's own matter.
    mutating func watch(by epoll: Epoll) throws(Errno)

    /// Does what an event asks of the link itself. `part` is the index in the event's tag.
    mutating func attend(_ part: Int, _ events: Epoll.Events) -> LinkEvent

    /// Lets in again who had to wait.
    mutating func resume()

    /// Whether something has come that no event tells of: memory that is shared with the guest can be looked at for nothing.
    var hasNews: Bool { get }

    /// What has come in that way.
    mutating func takeNews() -> LinkEvent

    /// From now on, events tell of all that comes: nobody will look for some time. False when something has come already.
    mutating func prepareToWait() -> Bool

    /// There is one now, whether it listens or not.
    var hasGuest: Bool { get }

    /// Whether frames longer than the guest's MTU arrive all the same: a namespace's kernel takes any, a machine's network card does not.
    var takesAnyLength: Bool { get }

    /// Set when sending has found that there is no guest any more.
    var hasLostGuest: Bool { get }

    /// The guest has gone. Whether another one may come.
    mutating func awaitAnother() -> Bool

    /// What moves with the guest is wanted, or given. It must be answered by `endTransfer`, before which the guest waits.
    mutating func takeTransfer() -> StateTransfer?

    mutating func endTransfer(_ isDone: Bool)

    /// What is to be told, oldest first.
    mutating func takeNotice() -> GuestNotice?

    /// Reads frames behind those that the batch holds, until it is full or there are no more. False when the guest is gone.
    mutating func receive(into batch: inout FrameBatch) -> Bool

    /// The first of `count` slots for runs of segments, all behind one another; nil when there are none now, so that other slots must do.
    mutating func reserveRun(_ count: Int, _ arena: inout Mapping) -> Int?

    /// Sends `frame`, which lies in `arena` with at least `linkHeadroom` bytes before it that the link may overwrite.
    /// The bytes may be used until `flush`.
    mutating func send(_ frame: Frame, in arena: inout Mapping) -> LinkVerdict

    /// Ends a round: everything sent so far is on its way afterwards.
    mutating func flush(_ arena: inout Mapping)
}

/// What a link may bring at once.
struct LinkBatch: BitwiseCopyable {
    let frames: Int
    /// As a rule, and where nobody else has anything to do.
    let bytes, mostBytes: Int
}

/// A link whose guest is there from the start, and the only one.
extension GuestLink where Self: ~Copyable {
    var hasRoom: Bool { true }
    var batchSize: LinkBatch { LinkBatch(frames: 64, bytes: 192 << 10, mostBytes: 64 * (64 << 10)) }
    var figures: LinkFigures { LinkFigures() }
    var moreDescriptors: Int { 0 }
    var hasNews: Bool { false }
    var hasGuest: Bool { true }
    var takesAnyLength: Bool { true }
    var hasLostGuest: Bool { false }
    mutating func takeNews() -> LinkEvent { [] }
    mutating func prepareToWait() -> Bool { true }
    mutating func watch(by epoll: Epoll) throws(Errno) { try epoll.add(descriptor, .input, tag: EventTag(.link).bits) }
    mutating func attend(_ part: Int, _ events: Epoll.Events) -> LinkEvent { .frames }
    mutating func awaitAnother() -> Bool { false }
    mutating func resume() {}
    mutating func takeTransfer() -> StateTransfer? { nil }
    mutating func endTransfer(_ isDone: Bool) {}
    mutating func takeNotice() -> GuestNotice? { nil }
    mutating func reserveRun(_ count: Int, _ arena: inout Mapping) -> Int? { nil }
}

/// Bytes before an Ethernet header that belong to the link. With 18, an IP header is aligned to 32 bytes in its slot.
let linkHeadroom = 18
/// An Ethernet header and the largest IP packet.
let largestFrame = 14 + 65535

/// Frames from the guest, packed one behind the other so that a small batch stays in the processor's cache.
struct FrameBatch: ~Copyable {
    var arena: Mapping
    private var frames: FixedTable<Frame>
    private(set) var count = 0
    /// Where the next frame's headroom starts.
    private(set) var end = 0
    /// No more than this many frames are taken before they are worked on.
    let capacity: Int
    /// The same for the next batch only, at most `capacity`.
    var limit: Int
    /// The next batch counts as full when it holds more than this.
    var byteLimit: Int
    /// What was read of a frame that goes on in the next batch, where it comes first.
    private var kept = 0..<0

    /// `mostBytes` is what a batch may hold before it counts as full; one more frame still fits behind it.
    init(capacity: Int, mostBytes: Int) throws(Errno) {
        let frames = try FixedTable<Frame>(count: capacity)
        let arena = try Mapping(byteCount: mostBytes + FrameBatch.room)
        self.frames = frames
        self.arena = arena
        self.capacity = capacity
        limit = capacity
        byteLimit = mostBytes
    }

    /// What the link may fill at a time: headroom and the largest frame.
    static var room: Int { linkHeadroom + largestFrame + 64 }

    var isFull: Bool { @_noAllocation @_noLocks get { count >= min(limit, capacity) || end > byteLimit } }

    /// Where the next frame's Ethernet header goes; `largestFrame` bytes fit.
    var nextOffset: Int { end + linkHeadroom }

    mutating func removeAll() {
        count = 0
        end = 0
        guard kept.lowerBound > 0 else { return }
        arena.move(from: kept.lowerBound, to: 0, count: kept.count)
        kept = 0..<kept.count
    }

    // MARK: Filled by one read

    /// Where the next read goes, behind what was kept; from there on, the arena is free. The batch must be empty.
    var fillOffset: Int { kept.upperBound }

    /// Takes in a frame wherever it lies in the arena.
    mutating func append(at offset: Int, length: Int) {
        precondition(count < capacity && length <= largestFrame)
        frames[count] = Frame(offset: offset, length: length, offload: VirtioNetHeader())
        count += 1
    }

    /// Leaves these bytes for the next batch.
    mutating func keep(_ range: Range<Int>) { kept = range.isEmpty ? 0..<0 : range }

    /// Takes in the frame that was put at `nextOffset`.
    mutating func append(length: Int, offload: VirtioNetHeader) {
        precondition(count < capacity && length <= largestFrame)
        frames[count] = Frame(offset: nextOffset, length: length, offload: offload)
        count += 1
        end = (nextOffset + length + 63) & ~63
    }

    subscript(index: Int) -> Frame {
        precondition(index < count)
        return frames[index]
    }
}
