/// An IPv4 header (RFC 791). Options are skipped when parsing and never written.
public struct IPv4Header: Equatable, Sendable, BitwiseCopyable {
    /// DSCP and ECN.
    public var typeOfService: UInt8
    /// Header and payload in bytes.
    public var totalLength: Int
    public var identification: UInt16
    public var dontFragment: Bool
    public var moreFragments: Bool
    /// In bytes, a multiple of eight.
    public var fragmentOffset: Int
    public var timeToLive: UInt8
    public var proto: IPProtocol
    public var source: IPv4Address
    public var destination: IPv4Address
    /// 20 to 60 bytes where parsed; 20 where written.
    public var headerLength: Int
    /// Where the payload begins in the bytes that were parsed; 0 in a header made for writing.
    public var payloadOffset: Int

    /// The length of a header without options.
    @inlinable public static var length: Int { 20 }

    /// A header for writing, for a payload of `payloadLength` bytes.
    @inlinable @_noAllocation @_noLocks
    public init(
        source: IPv4Address, destination: IPv4Address, proto: IPProtocol, payloadLength: Int,
        timeToLive: UInt8 = 64, typeOfService: UInt8 = 0, identification: UInt16 = 0, dontFragment: Bool = true
    ) {
        self.typeOfService = typeOfService
        totalLength = IPv4Header.length &+ payloadLength
        self.identification = identification
        self.dontFragment = dontFragment
        moreFragments = false
        fragmentOffset = 0
        self.timeToLive = timeToLive
        self.proto = proto
        self.source = source
        self.destination = destination
        headerLength = IPv4Header.length
        payloadOffset = 0
    }

    /// Nil unless version, header length and total length make sense and the bytes hold all of the packet.
    /// More bytes than the total length are padding (RFC 894) and not part of the payload.
    @inlinable @_noAllocation @_noLocks
    public init?(_ bytes: borrowing RawSpan, at offset: Int) {
        guard bytes.has(IPv4Header.length, at: offset) else { return nil }
        let first = bytes.uint8(at: offset)
        let header = Int(first & 0xf) &* 4
        let total = Int(bytes.uint16(at: offset + 2))
        guard first >> 4 == 4, header >= IPv4Header.length, total >= header, bytes.has(total, at: offset)
        else { return nil }
        let fragment = bytes.uint16(at: offset + 6)
        typeOfService = bytes.uint8(at: offset + 1)
        totalLength = total
        identification = bytes.uint16(at: offset + 4)
        dontFragment = fragment & 0x4000 != 0
        moreFragments = fragment & 0x2000 != 0
        fragmentOffset = Int(fragment & 0x1fff) &* 8
        timeToLive = bytes.uint8(at: offset + 8)
        proto = IPProtocol(bytes.uint8(at: offset + 9))
        source = IPv4Address(bytes.uint32(at: offset + 12))
        destination = IPv4Address(bytes.uint32(at: offset + 16))
        headerLength = header
        payloadOffset = offset + header
    }

    @inlinable
    public var payloadLength: Int { totalLength &- headerLength }

    /// Where the payload stands in the bytes that were parsed, without padding behind it.
    @inlinable
    public var payload: Range<Int> { payloadOffset..<(payloadOffset + payloadLength) }

    /// Any part but a whole packet.
    @inlinable
    public var isFragment: Bool { moreFragments || fragmentOffset != 0 }

    /// Writes 20 bytes with their checksum. Lengths beyond 16 bits are cut, so check them before.
    @inlinable @_noAllocation @_noLocks
    public func write(to bytes: inout MutableRawSpan, at offset: Int) {
        var fragment = UInt16(truncatingIfNeeded: fragmentOffset >> 3) & 0x1fff
        if dontFragment { fragment |= 0x4000 }
        if moreFragments { fragment |= 0x2000 }
        let first = 0x4500 | UInt16(typeOfService)
        let length = UInt16(truncatingIfNeeded: totalLength)
        let hops = UInt16(timeToLive) << 8 | UInt16(proto.number)
        // Summed from the values, which is quicker than from the bytes just written.
        var checksum = Checksum(first)
        checksum.add(length)
        checksum.add(identification)
        checksum.add(fragment)
        checksum.add(hops)
        checksum.add(source)
        checksum.add(destination)
        bytes.store(first, at: offset)
        bytes.store(length, at: offset + 2)
        bytes.store(identification, at: offset + 4)
        bytes.store(fragment, at: offset + 6)
        bytes.store(hops, at: offset + 8)
        bytes.store(checksum.value, at: offset + 10)
        bytes.store(source.bits, at: offset + 12)
        bytes.store(destination.bits, at: offset + 16)
    }
}
