internal import Wire

/// A super-frame on its way to a guest that takes plain frames only: how it is cut, and the headers of each segment. What a network card does
/// with the same offload description (virtio 1.2, section 5.1.6.2), done here.
///
///     super-frame   | Ethernet, IP, TCP | payload ....................... |
///     segment 0     | copy, patched     | size bytes |
///     segment 1     | copy, patched                  | size bytes |
///
/// Payload stays where it is; headers are copied to where the caller has room, with lengths, identification, sequence number, flags and complete
/// checksums of their own.
struct SegmentCutter: BitwiseCopyable {
    /// From the Ethernet header to the payload.
    let headerLength: Int
    /// Segments that it makes, at least one.
    let count: Int
    private let frame: Int
    private let payloadStart: Int
    private let payloadEnd: Int
    private let size: Int
    private let isIPv4: Bool
    private let isTCP: Bool
    /// From the Ethernet header.
    private let l4: Int
    /// The pseudo-header's sum, but for the length.
    private let pseudo: UInt16
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
        frame = whole.offset
        let kind = whole.offload.segmentation
        let isTCP = kind == .tcp4 || kind == .tcp6
        guard isTCP || kind == .udp, bytes.has(whole.length, at: whole.offset), whole.length >= 42 else { return nil }
        let isIPv4 = bytes.uint16(at: frame &+ 12) == 0x0800
        let l4 = isIPv4 ? 34 : 54
        guard whole.length >= l4 &+ (isTCP ? 20 : 8) else { return nil }
        let start = frame &+ l4
        let l4Header = isTCP ? Int(bytes.uint8(at: start &+ 12) >> 4) &* 4 : 8
        let payload = whole.length &- l4 &- l4Header
        let size = Int(whole.offload.segmentSize)
        guard l4Header >= (isTCP ? 20 : 8), payload > 0, size > 0, payload <= size &* SegmentCutter.mostSegments else { return nil }
        self.isTCP = isTCP
        self.isIPv4 = isIPv4
        self.l4 = l4
        self.size = size
        headerLength = l4 &+ l4Header
        payloadStart = start &+ l4Header
        payloadEnd = frame &+ whole.length
        count = (payload &+ size &- 1) / size
        sequence = isTCP ? bytes.uint32(at: start &+ 4) : 0
        flags = isTCP ? bytes.uint8(at: start &+ 13) : 0
        isECN = whole.offload.isECN
        let proto: IPProtocol = isTCP ? .tcp : .udp
        if isIPv4 {
            identification = bytes.uint16(at: frame &+ 18)
            pseudo = Checksum.pseudoHeader(
                IPv4Address(bytes.uint32(at: frame &+ 26)), IPv4Address(bytes.uint32(at: frame &+ 30)), proto, length: 0)
        } else {
            identification = 0
            let source = IPv6Address(high: bytes.uint64(at: frame &+ 22), low: bytes.uint64(at: frame &+ 30))
            let destination = IPv6Address(high: bytes.uint64(at: frame &+ 38), low: bytes.uint64(at: frame &+ 46))
            pseudo = Checksum.pseudoHeader(source, destination, proto, length: 0)
        }
    }

    /// Where the payload of segment `index` lies in the super-frame's arena.
    @_noAllocation @_noLocks
    func payload(_ index: Int) -> (offset: Int, length: Int) {
        let offset = payloadStart &+ index &* size
        return (offset, min(size, payloadEnd &- offset))
    }

    /// Writes the headers of segment `index` to `offset` of `headers`: `headerLength` bytes.
    @_noAllocation @_noLocks
    func writeHeader(_ index: Int, _ arena: borrowing RawSpan, to headers: inout MutableRawSpan, at offset: Int) {
        var copied = 0
        while headerLength &- copied >= 8 {
            headers.store(arena.uint64(at: frame &+ copied), at: offset &+ copied)
            copied &+= 8
        }
        while copied < headerLength {
            headers.store(arena.uint8(at: frame &+ copied), at: offset &+ copied)
            copied &+= 1
        }
        let (start, length) = payload(index)
        let l4Length = headerLength &- l4 &+ length
        let ip = offset &+ 14
        if isIPv4 {
            headers.store(UInt16(truncatingIfNeeded: l4Length &+ 20), at: ip &+ 2)
            headers.store(identification &+ UInt16(truncatingIfNeeded: index), at: ip &+ 4)
            headers.store(UInt16(0), at: ip &+ 10)
            headers.store(Checksum.full(headers, at: ip, count: 20), at: ip &+ 10)
        } else {
            headers.store(UInt16(truncatingIfNeeded: l4Length), at: ip &+ 4)
        }
        let header = offset &+ l4
        if isTCP { patchTCP(index, &headers, at: header) } else { headers.store(UInt16(truncatingIfNeeded: l4Length), at: header &+ 4) }
        let field = header &+ (isTCP ? 16 : 6)
        headers.store(UInt16(0), at: field)
        var checksum = Checksum(pseudo)
        checksum.add(UInt16(truncatingIfNeeded: l4Length))
        checksum.add(headers.checksumSum(at: header, count: headerLength &- l4))
        checksum.add(arena, at: start, count: length)
        headers.store(checksum.nonZeroValue, at: field)
    }

    /// The first segment alone says that the window was reduced, the last alone pushes and ends.
    @_noAllocation @_noLocks
    private func patchTCP(_ index: Int, _ headers: inout MutableRawSpan, at header: Int) {
        headers.store(sequence &+ UInt32(truncatingIfNeeded: index &* size), at: header &+ 4)
        var flags = flags
        if index < count &- 1 { flags &= ~(SegmentCutter.fin | SegmentCutter.push) }
        if index > 0, isECN { flags &= ~SegmentCutter.windowReduced }
        headers.store(flags, at: header &+ 13)
    }
}
