internal import Wire

/// A super-frame on its way to a guest that takes plain frames only: how it is cut, and the headers of each segment. What a network card does
/// with the same offload description (virtio 1.2, section 5.1.6.2), done here.
///
///     super-frame   | Ethernet, IP, TCP | payload ....................... |
///     segment 0     | copy, patched     | size bytes |
///     segment 1     | copy, patched                  | size bytes |
///
/// Payload stays where it is; headers are written to where the caller has room, with lengths, identification, sequence number, flags and complete
/// checksums of their own. In a frame with a gap, that is right before the payload: the segments lie ready, one behind the other.
///
///     with a gap    | Ethernet, IP, TCP | size bytes | gap | size bytes | gap | rest |
struct SegmentCutter: BitwiseCopyable {
    /// From the Ethernet header to the payload.
    let headerLength: Int
    /// Segments that it makes, at least one.
    let count: Int
    private let payloadStart: Int
    private let payloadEnd: Int
    private let size: Int
    /// From one segment's payload to the next one's.
    private let stride: Int
    private let isIPv4: Bool
    private let isTCP: Bool
    /// From the Ethernet header.
    private let l4: Int
    /// The super-frame's headers, eight bytes in each.
    private var words: InlineArray<15, UInt64>
    /// Sums of the IPv4 header, and of the L4 header with its pseudo-header, without what differs between segments.
    private let ipSum: Checksum
    private let l4Sum: Checksum
    private let sequence: UInt32
    private let identification: UInt16
    private let flags: UInt8
    private let isECN: Bool

    /// Ethernet, IPv6 and the longest TCP header.
    static var longestHeader: Int { 14 + 40 + 60 }
    /// A frame of smaller pieces than this makes is not cut at all.
    static var mostSegments: Int { 1024 }

    private static var fin: UInt8 { 0x01 }
    private static var push: UInt8 { 0x08 }
    private static var windowReduced: UInt8 { 0x80 }

    /// nil for what cannot be cut. The frame's own headers are those that we wrote: without IPv4 options or IPv6 extension headers.
    @_noAllocation @_noLocks
    init?(_ whole: Frame, _ bytes: borrowing RawSpan) {
        let frame = whole.offset
        let kind = whole.offload.segmentation
        let isTCP = kind == .tcp4 || kind == .tcp6
        guard isTCP || kind == .udp, bytes.has(whole.length, at: frame), whole.length >= 42 else { return nil }
        let isIPv4 = bytes.uint16(at: frame &+ 12) == 0x0800
        let l4 = isIPv4 ? 34 : 54
        guard whole.length >= l4 &+ (isTCP ? 20 : 8) else { return nil }
        let start = frame &+ l4
        let l4Header = isTCP ? Int(bytes.uint8(at: start &+ 12) >> 4) &* 4 : 8
        let payload = whole.length &- l4 &- l4Header
        let size = Int(whole.offload.segmentSize), gap = Int(whole.gap)
        guard l4Header >= (isTCP ? 20 : 8), payload > 0, size > 0 else { return nil }
        let count = (payload &+ gap &+ size &+ gap &- 1) / (size &+ gap)
        // What remains for the last one is more than a gap.
        guard count <= SegmentCutter.mostSegments, gap == 0 || gap >= l4 &+ l4Header, payload > (count &- 1) &* (size &+ gap) else { return nil }
        self.isTCP = isTCP
        self.isIPv4 = isIPv4
        self.l4 = l4
        self.size = size
        self.count = count
        stride = size &+ gap
        headerLength = l4 &+ l4Header
        payloadStart = start &+ l4Header
        payloadEnd = frame &+ whole.length
        sequence = isTCP ? bytes.uint32(at: start &+ 4) : 0
        flags = isTCP ? bytes.uint8(at: start &+ 13) : 0
        isECN = whole.offload.isECN
        words = SegmentCutter.copy(bytes, at: frame, count: l4 &+ l4Header)
        // Taking a word away from a sum is adding its complement.
        var sum = Checksum(Checksum.sum(bytes, at: start, count: l4Header))
        sum.add(~bytes.uint16(at: start &+ (isTCP ? 16 : 6)))
        sum.add(~bytes.uint16(at: start &+ 4))
        if isTCP {
            sum.add(~bytes.uint16(at: start &+ 6))
            sum.add(~UInt16(flags))
        }
        let proto: IPProtocol = isTCP ? .tcp : .udp
        var ipSum = Checksum()
        if isIPv4 {
            identification = bytes.uint16(at: frame &+ 18)
            ipSum.add(bytes, at: frame &+ 14, count: 20)
            ipSum.add(~bytes.uint16(at: frame &+ 16))
            ipSum.add(~identification)
            ipSum.add(~bytes.uint16(at: frame &+ 24))
            sum.add(Checksum.pseudoHeader(IPv4Address(bytes.uint32(at: frame &+ 26)), IPv4Address(bytes.uint32(at: frame &+ 30)), proto, length: 0))
        } else {
            identification = 0
            let source = IPv6Address(high: bytes.uint64(at: frame &+ 22), low: bytes.uint64(at: frame &+ 30))
            let destination = IPv6Address(high: bytes.uint64(at: frame &+ 38), low: bytes.uint64(at: frame &+ 46))
            sum.add(Checksum.pseudoHeader(source, destination, proto, length: 0))
        }
        self.ipSum = ipSum
        l4Sum = sum
    }

    @_noAllocation @_noLocks
    private static func copy(_ bytes: borrowing RawSpan, at frame: Int, count: Int) -> InlineArray<15, UInt64> {
        var words = InlineArray<15, UInt64>(repeating: 0)
        var copied = 0
        while count &- copied >= 8 {
            words[copied / 8] = bytes.uint64(at: frame &+ copied)
            copied &+= 8
        }
        // All lengths are even. The last word holds what is left in its upper bytes.
        var left: UInt64 = 0, shift: UInt64 = 48
        while copied < count {
            left |= UInt64(bytes.uint16(at: frame &+ copied)) << shift
            copied &+= 2
            shift &-= 16
        }
        if count % 8 != 0 { words[count / 8] = left }
        return words
    }

    /// Where the payload of segment `index` lies in the super-frame's arena.
    @_noAllocation @_noLocks
    func payload(_ index: Int) -> (offset: Int, length: Int) {
        let offset = payloadStart &+ index &* stride
        return (offset, min(size, payloadEnd &- offset))
    }

    /// Writes the headers of segment `index` to `offset` of `headers`: `headerLength` bytes. `sum`: the folded sum of its payload.
    @_noAllocation @_noLocks
    func writeHeader(_ index: Int, sum: UInt16, to headers: inout MutableRawSpan, at offset: Int) {
        copyHeader(to: &headers, at: offset)
        let l4Length = UInt16(truncatingIfNeeded: headerLength &- l4 &+ payload(index).length)
        if isIPv4 {
            let (length, identification) = (l4Length &+ 20, identification &+ UInt16(truncatingIfNeeded: index))
            headers.store(length, at: offset &+ 16)
            headers.store(identification, at: offset &+ 18)
            var ipSum = ipSum
            ipSum.add(length)
            ipSum.add(identification)
            headers.store(ipSum.value, at: offset &+ 24)
        } else {
            headers.store(l4Length, at: offset &+ 18)
        }
        let header = offset &+ l4
        var l4Sum = l4Sum
        l4Sum.add(l4Length)
        l4Sum.add(sum)
        if isTCP {
            let sequence = sequence &+ UInt32(truncatingIfNeeded: index &* size)
            let flags = flags(index)
            headers.store(sequence, at: header &+ 4)
            headers.store(flags, at: header &+ 13)
            l4Sum.add(UInt16(truncatingIfNeeded: sequence >> 16))
            l4Sum.add(UInt16(truncatingIfNeeded: sequence))
            l4Sum.add(UInt16(flags))
        } else {
            headers.store(l4Length, at: header &+ 4)
            l4Sum.add(l4Length)
        }
        // For TCP, 0xffff is an equal spelling of zero.
        headers.store(l4Sum.nonZeroValue, at: header &+ (isTCP ? 16 : 6))
    }

    @_noAllocation @_noLocks
    private func copyHeader(to headers: inout MutableRawSpan, at offset: Int) {
        var copied = 0
        while headerLength &- copied >= 8 {
            headers.store(words[copied / 8], at: offset &+ copied)
            copied &+= 8
        }
        if copied == headerLength { return }
        var left = words[copied / 8]
        while copied < headerLength {
            headers.store(UInt16(truncatingIfNeeded: left >> 48), at: offset &+ copied)
            left <<= 16
            copied &+= 2
        }
    }

    /// The first segment alone says that the window was reduced, the last alone pushes and ends.
    @_noAllocation @_noLocks
    private func flags(_ index: Int) -> UInt8 {
        var flags = flags
        if index < count &- 1 { flags &= ~(SegmentCutter.fin | SegmentCutter.push) }
        if index > 0, isECN { flags &= ~SegmentCutter.windowReduced }
        return flags
    }
}
