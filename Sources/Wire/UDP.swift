/// A UDP header (RFC 768).
public struct UDPHeader: Equatable, Sendable, BitwiseCopyable {
    public var sourcePort: UInt16
    public var destinationPort: UInt16
    /// Header and payload in bytes.
    public var datagramLength: Int
    /// 0: none, which only IPv4 allows.
    public var checksum: UInt16
    /// Where the payload begins in the bytes that were parsed; 0 in a header made for writing.
    public var payloadOffset: Int

    @inlinable public static var length: Int { 8 }
    @inlinable public static var checksumOffset: Int { 6 }

    @inlinable @_noAllocation @_noLocks
    public init(sourcePort: UInt16, destinationPort: UInt16, payloadLength: Int, checksum: UInt16 = 0) {
        self.sourcePort = sourcePort
        self.destinationPort = destinationPort
        datagramLength = UDPHeader.length &+ payloadLength
        self.checksum = checksum
        payloadOffset = 0
    }

    /// `end` is where the IP payload ends. Nil when the datagram's own length does not fit in it.
    @inlinable @_noAllocation @_noLocks
    public init?(_ bytes: borrowing RawSpan, at offset: Int, end: Int) {
        guard end <= bytes.byteCount, offset >= 0, end &- offset >= UDPHeader.length else { return nil }
        let length = Int(bytes.uint16(at: offset + 4))
        guard length >= UDPHeader.length, length <= end &- offset else { return nil }
        sourcePort = bytes.uint16(at: offset)
        destinationPort = bytes.uint16(at: offset + 2)
        datagramLength = length
        checksum = bytes.uint16(at: offset + 6)
        payloadOffset = offset + UDPHeader.length
    }

    @inlinable
    public var payloadLength: Int { datagramLength &- UDPHeader.length }

    /// Where the payload stands in the bytes that were parsed.
    @inlinable
    public var payload: Range<Int> { payloadOffset..<(payloadOffset + payloadLength) }

    @inlinable @_noAllocation @_noLocks
    public func write(to bytes: inout MutableRawSpan, at offset: Int) {
        bytes.store(sourcePort, at: offset)
        bytes.store(destinationPort, at: offset + 2)
        bytes.store(UInt16(truncatingIfNeeded: datagramLength), at: offset + 4)
        bytes.store(checksum, at: offset + 6)
    }
}
