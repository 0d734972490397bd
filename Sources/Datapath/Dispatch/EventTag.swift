/// What an event of epoll belongs to: kind, the flow's generation, its index. A tag of a flow that has gone is told by its generation,
/// so that an event of a descriptor number that was used again does nothing.
struct EventTag: BitwiseCopyable {
    enum Kind: UInt8 {
        case link
        case tcp
        case udp
        case ping
        /// A socket on which others open connections to the guest, or send it datagrams.
        case listener
        /// One side of a TCP connection that takes no detour over the guest's interface: the flow's index, doubled, and 1 for the far side.
        case splice
        /// The far side of datagrams that take none: the flow's index, doubled, and 1 where it is the host's.
        case spliceDatagrams
        /// Sockets of the guest's namespace have arrived.
        case supply
        /// Anything that the daemon watches and the data path does not know: the index says which.
        case external
    }

    let bits: UInt64

    init(_ kind: Kind, index: Int = 0, generation: UInt16 = 0) {
        bits = UInt64(kind.rawValue) << 56 | UInt64(generation) << 32 | UInt64(UInt32(truncatingIfNeeded: index))
    }

    init(bits: UInt64) { self.bits = bits }

    var kind: Kind? { Kind(rawValue: UInt8(truncatingIfNeeded: bits >> 56)) }
    var generation: UInt16 { UInt16(truncatingIfNeeded: bits >> 32) }
    var index: Int { Int(UInt32(truncatingIfNeeded: bits)) }
}
