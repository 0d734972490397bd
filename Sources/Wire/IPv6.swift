/// An IPv6 header (RFC 8200, section 3).
public struct IPv6Header: Equatable, Sendable, BitwiseCopyable {
    public var trafficClass: UInt8
    /// 20 bits.
    public var flowLabel: UInt32
    /// Everything behind the 40 bytes of the header, extension headers included.
    public var payloadLength: Int
    public var nextHeader: IPProtocol
    public var hopLimit: UInt8
    public var source: IPv6Address
    public var destination: IPv6Address
    /// Where the payload begins in the bytes that were parsed; 0 in a header made for writing.
    public var payloadOffset: Int

    @inlinable public static var length: Int { 40 }

    @inlinable @_noAllocation @_noLocks
    public init(
        source: IPv6Address, destination: IPv6Address, nextHeader: IPProtocol, payloadLength: Int,
        hopLimit: UInt8 = 64, trafficClass: UInt8 = 0, flowLabel: UInt32 = 0
    ) {
        self.trafficClass = trafficClass
        self.flowLabel = flowLabel
        self.payloadLength = payloadLength
        self.nextHeader = nextHeader
        self.hopLimit = hopLimit
        self.source = source
        self.destination = destination
        payloadOffset = 0
    }

    /// Nil unless the version is 6 and the bytes hold the whole packet. Jumbograms are not for this link.
    @inlinable @_noAllocation @_noLocks
    public init?(_ bytes: borrowing RawSpan, at offset: Int) {
        guard bytes.has(IPv6Header.length, at: offset) else { return nil }
        let first = bytes.uint32(at: offset)
        let payload = Int(bytes.uint16(at: offset + 4))
        guard first >> 28 == 6, bytes.has(IPv6Header.length + payload, at: offset) else { return nil }
        trafficClass = UInt8(truncatingIfNeeded: first >> 20)
        flowLabel = first & 0xf_ffff
        payloadLength = payload
        nextHeader = IPProtocol(bytes.uint8(at: offset + 6))
        hopLimit = bytes.uint8(at: offset + 7)
        source = IPv6Address(bytes, at: offset + 8)
        destination = IPv6Address(bytes, at: offset + 24)
        payloadOffset = offset + IPv6Header.length
    }

    /// Where the payload stands in the bytes that were parsed, without padding behind it.
    @inlinable
    public var payload: Range<Int> { payloadOffset..<(payloadOffset + payloadLength) }

    @inlinable @_noAllocation @_noLocks
    public func write(to bytes: inout MutableRawSpan, at offset: Int) {
        bytes.store(6 << 28 | UInt32(trafficClass) << 20 | flowLabel & 0xf_ffff, at: offset)
        bytes.store(UInt16(truncatingIfNeeded: payloadLength), at: offset + 4)
        bytes.store(nextHeader.number, at: offset + 6)
        bytes.store(hopLimit, at: offset + 7)
        source.write(to: &bytes, at: offset + 8)
        destination.write(to: &bytes, at: offset + 24)
    }
}

/// What stands behind the extension headers of an IPv6 packet.
public struct IPv6UpperLayer: Equatable, Sendable, BitwiseCopyable {
    public var proto: IPProtocol
    public var offset: Int
    public var length: Int
    /// A part of a packet: `proto` names the whole packet's next header and the bytes are not its beginning
    /// unless they happen to be the first fragment's.
    public var isFragment: Bool

    @inlinable @_noAllocation @_noLocks
    public init(proto: IPProtocol, offset: Int, length: Int, isFragment: Bool) {
        self.proto = proto
        self.offset = offset
        self.length = length
        self.isFragment = isFragment
    }

    @inlinable
    public var range: Range<Int> { offset..<(offset + length) }
}

extension IPv6Header {
    /// Longer chains than this have no use but to keep receivers busy.
    @inlinable public static var maximumExtensionHeaders: Int { 8 }

    /// Walks over hop-by-hop, routing and destination options to what they precede (RFC 8200, section 4).
    /// Nil for a chain that is too long or leaves the packet, and for a routing header that is not used up,
    /// since we are no router on anybody's path (RFC 5095). `bytes` are those that were parsed.
    @inlinable @_noAllocation @_noLocks
    public func upperLayer(_ bytes: borrowing RawSpan) -> IPv6UpperLayer? {
        var proto = nextHeader
        var offset = payloadOffset
        let end = payloadOffset + payloadLength
        var headers = 0
        while true {
            switch proto.number {
            case 0, 43, 60:  // Hop-by-hop, routing, destination options.
                guard end - offset >= 8 else { return nil }
                let length = (Int(bytes.uint8(at: offset + 1)) + 1) * 8
                guard end - offset >= length else { return nil }
                if proto == .routing && bytes.uint8(at: offset + 3) != 0 { return nil }
                proto = IPProtocol(bytes.uint8(at: offset))
                offset += length
            case 44:  // Fragment.
                guard end - offset >= 8 else { return nil }
                // Without offset and "more" it is a whole packet all the same (RFC 6946).
                let isFragment = bytes.uint16(at: offset + 2) & 0xfff9 != 0
                proto = IPProtocol(bytes.uint8(at: offset))
                offset += 8
                if isFragment {
                    return IPv6UpperLayer(proto: proto, offset: offset, length: end - offset, isFragment: true)
                }
            default:
                return IPv6UpperLayer(proto: proto, offset: offset, length: end - offset, isFragment: false)
            }
            headers += 1
            if headers > IPv6Header.maximumExtensionHeaders { return nil }
        }
    }
}
