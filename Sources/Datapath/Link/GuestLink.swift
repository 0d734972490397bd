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

internal import Linux
internal import Wire

/// One frame in an arena.
struct Frame: BitwiseCopyable {
    /// Where the Ethernet header starts.
    var offset: Int
    /// From the Ethernet header to the end.
    var length: Int
    var offload: VirtioNetHeader
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

/// The guest's side of a worker.
protocol GuestLink: ~Copyable {
    /// What becomes readable when the guest has sent something.
    var descriptor: Descriptor { get }
    var offloads: LinkOffloads { get }

    /// Reads frames behind those that the batch holds, until it is full or there are no more. False when the guest is gone.
    mutating func receive(into batch: inout FrameBatch) -> Bool

    /// Sends `frame`, which lies in `arena` with at least `linkHeadroom` bytes before it that the link may overwrite.
    /// The bytes may be used until `flush`.
    mutating func send(_ frame: Frame, in arena: inout Mapping) -> LinkVerdict

    /// Ends a round: everything sent so far is on its way afterwards.
    mutating func flush(_ arena: inout Mapping)
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
    private let byteLimit: Int

    /// `byteLimit` is what a batch may hold before it counts as full; one more frame still fits behind it.
    init(capacity: Int, byteLimit: Int) throws(Errno) {
        let frames = try FixedTable<Frame>(count: capacity)
        let arena = try Mapping(byteCount: byteLimit + FrameBatch.room)
        self.frames = frames
        self.arena = arena
        self.capacity = capacity
        limit = capacity
        self.byteLimit = byteLimit
    }

    /// What the link may fill at a time: headroom and the largest frame.
    static var room: Int { linkHeadroom + largestFrame + 64 }

    var isFull: Bool { count >= min(limit, capacity) || end > byteLimit }

    /// Where the next frame's Ethernet header goes; `largestFrame` bytes fit.
    var nextOffset: Int { end + linkHeadroom }

    mutating func removeAll() {
        count = 0
        end = 0
    }

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
