/// The control bits of a segment (RFC 9293, section 3.1).
public struct TCPFlags: OptionSet, Equatable, Hashable, Sendable, BitwiseCopyable {
    public var rawValue: UInt8

    @inlinable @_noAllocation @_noLocks
    public init(rawValue: UInt8) { self.rawValue = rawValue }

    @inlinable public static var fin: TCPFlags { TCPFlags(rawValue: 0x01) }
    @inlinable public static var syn: TCPFlags { TCPFlags(rawValue: 0x02) }
    @inlinable public static var rst: TCPFlags { TCPFlags(rawValue: 0x04) }
    @inlinable public static var psh: TCPFlags { TCPFlags(rawValue: 0x08) }
    @inlinable public static var ack: TCPFlags { TCPFlags(rawValue: 0x10) }
    @inlinable public static var urg: TCPFlags { TCPFlags(rawValue: 0x20) }
    @inlinable public static var ece: TCPFlags { TCPFlags(rawValue: 0x40) }
    @inlinable public static var cwr: TCPFlags { TCPFlags(rawValue: 0x80) }

    /// `.syn | .ack`: unlike the literal `[.syn, .ack]` it makes no array, so the data path may use it.
    @inlinable @_noAllocation @_noLocks
    public static func | (a: TCPFlags, b: TCPFlags) -> TCPFlags { TCPFlags(rawValue: a.rawValue | b.rawValue) }
}

/// A segment's header (RFC 9293, section 3.1) with the two options that only a SYN carries.
public struct TCPHeader: Equatable, Sendable, BitwiseCopyable {
    public var sourcePort: UInt16
    public var destinationPort: UInt16
    public var sequence: SequenceNumber
    public var acknowledgment: SequenceNumber
    public var flags: TCPFlags
    /// As on the wire, not yet scaled.
    public var window: UInt16
    public var checksum: UInt16
    public var urgentPointer: UInt16
    /// Read from, and written to, segments with SYN only.
    public var maximumSegmentSize: UInt16?
    /// A shift of 0 to 14, larger ones are brought down to 14 (RFC 7323, section 2.3). With SYN only.
    public var windowScale: UInt8?
    /// Where parsed: the data offset in bytes, 20 to 60. Where made for writing: what `write` will write.
    public var headerLength: Int
    /// Where the payload stands in the bytes that were parsed; 0 in a header made for writing.
    public var payloadOffset: Int
    public var payloadLength: Int

    /// The length of a header without options.
    @inlinable public static var length: Int { 20 }
    @inlinable public static var checksumOffset: Int { 16 }
    @inlinable public static var maximumWindowScale: UInt8 { 14 }

    @inlinable @_noAllocation @_noLocks
    public init(
        sourcePort: UInt16, destinationPort: UInt16, sequence: SequenceNumber, acknowledgment: SequenceNumber,
        flags: TCPFlags, window: UInt16, maximumSegmentSize: UInt16? = nil, windowScale: UInt8? = nil
    ) {
        self.sourcePort = sourcePort
        self.destinationPort = destinationPort
        self.sequence = sequence
        self.acknowledgment = acknowledgment
        self.flags = flags
        self.window = window
        checksum = 0
        urgentPointer = 0
        self.maximumSegmentSize = maximumSegmentSize
        self.windowScale = windowScale
        headerLength = TCPHeader.length + (maximumSegmentSize == nil ? 0 : 4) + (windowScale == nil ? 0 : 4)
        payloadOffset = 0
        payloadLength = 0
    }

    /// `end` is where the IP payload ends. Nil when the data offset does not fit in it. Options that make
    /// no sense end the list of options, not the segment.
    @inlinable @_noAllocation @_noLocks
    public init?(_ bytes: borrowing RawSpan, at offset: Int, end: Int) {
        guard end <= bytes.byteCount, offset >= 0, end &- offset >= TCPHeader.length else { return nil }
        let header = Int(bytes.uint8(at: offset + 12) >> 4) &* 4
        guard header >= TCPHeader.length, header <= end &- offset else { return nil }
        sourcePort = bytes.uint16(at: offset)
        destinationPort = bytes.uint16(at: offset + 2)
        sequence = SequenceNumber(bytes.uint32(at: offset + 4))
        acknowledgment = SequenceNumber(bytes.uint32(at: offset + 8))
        flags = TCPFlags(rawValue: bytes.uint8(at: offset + 13))
        window = bytes.uint16(at: offset + 14)
        checksum = bytes.uint16(at: offset + 16)
        urgentPointer = bytes.uint16(at: offset + 18)
        maximumSegmentSize = nil
        windowScale = nil
        headerLength = header
        payloadOffset = offset + header
        payloadLength = end &- offset &- header
        if flags.contains(.syn) && header > TCPHeader.length {
            parseOptions(bytes, from: offset + TCPHeader.length, to: offset + header)
        }
    }

    @inlinable @_noAllocation @_noLocks
    mutating func parseOptions(_ bytes: borrowing RawSpan, from start: Int, to end: Int) {
        var position = start
        while position < end {
            let kind = bytes.uint8(at: position)
            if kind == 0 { return }
            if kind == 1 {
                position += 1
                continue
            }
            guard end - position >= 2 else { return }
            let length = Int(bytes.uint8(at: position + 1))
            guard length >= 2, length <= end - position else { return }
            if kind == 2 && length == 4 { maximumSegmentSize = bytes.uint16(at: position + 2) }
            if kind == 3 && length == 3 { windowScale = min(bytes.uint8(at: position + 2), TCPHeader.maximumWindowScale) }
            position += length
        }
    }

    /// Where the payload stands in the bytes that were parsed.
    @inlinable
    public var payload: Range<Int> { payloadOffset..<(payloadOffset + payloadLength) }

    /// The length that the segment takes in sequence space: SYN and FIN count as one byte each.
    @inlinable
    public var sequenceLength: Int {
        payloadLength + Int(flags.rawValue & 1) + Int((flags.rawValue >> 1) & 1)
    }

    /// The bytes that `write` writes: 20, and 4 for each option that is set.
    @inlinable
    public var encodedLength: Int {
        TCPHeader.length + (maximumSegmentSize == nil ? 0 : 4) + (windowScale == nil ? 0 : 4)
    }

    /// Writes `encodedLength` bytes, with `checksum` as it is.
    @inlinable @_noAllocation @_noLocks
    public func write(to bytes: inout MutableRawSpan, at offset: Int) {
        bytes.store(sourcePort, at: offset)
        bytes.store(destinationPort, at: offset + 2)
        bytes.store(sequence.value, at: offset + 4)
        bytes.store(acknowledgment.value, at: offset + 8)
        bytes.store(UInt8(truncatingIfNeeded: encodedLength / 4) << 4, at: offset + 12)
        bytes.store(flags.rawValue, at: offset + 13)
        bytes.store(window, at: offset + 14)
        bytes.store(checksum, at: offset + 16)
        bytes.store(urgentPointer, at: offset + 18)
        var position = offset + TCPHeader.length
        if let maximumSegmentSize {
            bytes.store(0x0204_0000 | UInt32(maximumSegmentSize), at: position)
            position += 4
        }
        if let windowScale {
            // A no-op in front keeps the header a multiple of four.
            bytes.store(0x0103_0300 | UInt32(windowScale), at: position)
        }
    }
}
