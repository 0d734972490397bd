internal import Wire

/// The framing of QEMU's stream sockets (`-netdev stream`, and `-netdev socket` before it), which others have taken over: a length of four
/// bytes in network order, then the Ethernet frame. There is no mark to find the next frame by, so one wrong length ends it all.
public enum StreamFraming {
    public static var prefix: Int { 4 }
    /// An Ethernet header.
    public static var shortest: Int { 14 }
    /// QEMU's own limit, with which it reads what others send. What is longer than `largestFrame` carries nothing of use, but is no reason to
    /// take the network from a guest that has sent it by mistake (65535 bytes of payload in a VLAN are enough for that).
    public static var longest: Int { 4096 + 65536 }

    public enum Piece: Equatable, Sendable, BitwiseCopyable {
        /// A whole frame: where its Ethernet header is, and how long it is.
        case frame(offset: Int, length: Int)
        /// The frame, or even its length, goes on beyond the end.
        case incomplete
        /// No frame has this length.
        case broken
    }

    /// What stands at `offset` of `bytes`, of which those before `end` are there. `offset <= end <= bytes.byteCount`.
    @_noAllocation @_noLocks
    public static func piece(_ bytes: borrowing RawSpan, at offset: Int, end: Int) -> Piece {
        guard end &- offset >= prefix else { return .incomplete }
        let length = Int(bytes.uint32(at: offset))
        guard length >= shortest, length <= longest else { return .broken }
        guard end &- offset &- prefix >= length else { return .incomplete }
        return .frame(offset: offset &+ prefix, length: length)
    }
}
