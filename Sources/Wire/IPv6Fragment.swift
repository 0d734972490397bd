/// What stands before each part of an IPv6 packet that its sender has cut (RFC 8200, section 4.5).
public struct IPv6FragmentHeader: Equatable, Sendable, BitwiseCopyable {
    /// Of the packet, behind this header.
    public var nextHeader: IPProtocol
    /// Where the part belongs, in bytes, a multiple of eight.
    public var fragmentOffset: Int
    public var moreFragments: Bool
    /// The same in all parts of a packet.
    public var identification: UInt32

    @inlinable public static var length: Int { 8 }

    @inlinable @_noAllocation @_noLocks
    public init(nextHeader: IPProtocol, fragmentOffset: Int, moreFragments: Bool, identification: UInt32) {
        self.nextHeader = nextHeader
        self.fragmentOffset = fragmentOffset
        self.moreFragments = moreFragments
        self.identification = identification
    }

    /// Nil when the bytes end before it does.
    @inlinable @_noAllocation @_noLocks
    public init?(_ bytes: borrowing RawSpan, at offset: Int) {
        guard bytes.has(IPv6FragmentHeader.length, at: offset) else { return nil }
        let place = bytes.uint16(at: offset + 2)
        nextHeader = IPProtocol(bytes.uint8(at: offset))
        fragmentOffset = Int(place & 0xfff8)
        moreFragments = place & 1 != 0
        identification = bytes.uint32(at: offset + 4)
    }

    /// Writes eight bytes. An offset beyond 16 bits is cut, so check it before.
    @inlinable @_noAllocation @_noLocks
    public func write(to bytes: inout MutableRawSpan, at offset: Int) {
        var place = UInt16(truncatingIfNeeded: fragmentOffset) & 0xfff8
        if moreFragments { place |= 1 }
        let kind = UInt16(nextHeader.number) << 8
        bytes.store(kind, at: offset)
        bytes.store(place, at: offset + 2)
        bytes.store(identification, at: offset + 4)
    }
}
