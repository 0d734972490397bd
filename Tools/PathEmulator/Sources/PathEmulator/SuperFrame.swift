/// Where things lie in a frame with its virtio-net header, and how many packets of the wire it stands for.
public struct SuperFrame: Equatable, Sendable {
    /// Size of `struct virtio_net_hdr`, which precedes the Ethernet header.
    public static let virtioHeader = 10
    private static let ethernetHeader = 14
    private static let tcp4: UInt8 = 1, tcp6: UInt8 = 4, congestionBit: UInt8 = 0x80

    /// Bytes of the Ethernet frame.
    public let frameLength: Int
    /// Bytes from the Ethernet header to the end of the TCP header; all of the frame if it is one packet.
    public let headerLength: Int
    /// Payload bytes of each packet but the last.
    public let segmentSize: Int
    /// Packets on the wire.
    public let packets: Int
    private let isIPv6: Bool

    /// - Parameter bytes: virtio-net header and frame. A frame that is not TCP of this form counts as one packet.
    public init(_ bytes: borrowing RawSpan) {
        let length = max(0, bytes.byteCount - Self.virtioHeader)
        var header = length, segment = 0, count = 1, six = false
        if length >= Self.ethernetHeader + 20 {
            let kind = bytes.byte(1) & ~Self.congestionBit
            let size = Int(bytes.native16(4)), start = Int(bytes.native16(6))
            six = kind == Self.tcp6
            let least = Self.ethernetHeader + (six ? 40 : 20)
            if kind == Self.tcp4 || six, size > 0, start >= least, start + 20 <= length {
                let end = start + Int(bytes.byte(Self.virtioHeader + start + 12) >> 4) * 4
                if end >= start + 20, end < length {
                    (header, segment) = (end, size)
                    count = (length - end + size - 1) / size
                }
            }
        }
        (frameLength, headerLength, segmentSize, packets, isIPv6) = (length, header, segment, count, six)
    }

    /// Bytes of the packets `range` as separate Ethernet frames.
    public func wireBytes(of range: Range<Int>) -> Int {
        packets == 1 ? frameLength : range.count * headerLength + payload(of: range).count
    }

    /// Payload bytes of the packets `range`, counted from the end of the headers.
    public func payload(of range: Range<Int>) -> Range<Int> {
        (range.lowerBound * segmentSize)..<min(range.upperBound * segmentSize, frameLength - headerLength)
    }

    /// Turns a copy of the headers, placed before the payload of `range`, into the headers of a frame of just those packets.
    public func rewrite(_ bytes: inout MutableRawSpan, for range: Range<Int>) {
        guard packets > 1 else { return }
        let ip = Self.virtioHeader + Self.ethernetHeader
        let tcp = Self.virtioHeader + Int(bytes.native16(6))
        let length = headerLength - Self.ethernetHeader + payload(of: range).count  // of the IP packet
        if isIPv6 {
            bytes.set16(ip + 4, length - 40)
        } else {
            bytes.set16(ip + 2, length)
            bytes.set16(ip + 4, (bytes.get16(ip + 4) + range.lowerBound) & 0xffff)
            bytes.set16(ip + 10, 0)
            bytes.set16(ip + 10, ~bytes.sum(ip..<(ip + Int(bytes.byte(ip) & 15) * 4)) & 0xffff)
        }
        let sequence = bytes.get16(tcp + 4) << 16 | bytes.get16(tcp + 6)
        let moved = (sequence + range.lowerBound * segmentSize) & 0xffff_ffff
        bytes.set16(tcp + 4, moved >> 16)
        bytes.set16(tcp + 6, moved & 0xffff)
        var flags = bytes.byte(tcp + 13)
        if range.upperBound < packets { flags &= ~0x09 }  // FIN and PSH belong to the last packet,
        if range.lowerBound > 0 { flags &= ~0x80 }        // CWR to the first.
        bytes.set8(tcp + 13, flags)
        // The kernel completes the checksum; what it starts from is the sum over the pseudo header.
        let addresses = isIPv6 ? (ip + 8)..<(ip + 40) : (ip + 12)..<(ip + 20)
        let pseudo = bytes.sum(addresses) + 6 + (length - (tcp - ip))
        bytes.set16(tcp + 16, (pseudo & 0xffff) + (pseudo >> 16))
        if range.count == 1 {
            bytes.set8(1, 0)
            bytes.setNative16(4, 0)
        }
    }
}

extension RawSpan {
    func byte(_ offset: Int) -> UInt8 {
        // SAFETY: bounds-checked; every bit pattern is an integer.
        unsafe unsafeLoadUnaligned(fromByteOffset: offset, as: UInt8.self)
    }

    func native16(_ offset: Int) -> UInt16 {
        // SAFETY: as in `byte(_:)`.
        unsafe unsafeLoadUnaligned(fromByteOffset: offset, as: UInt16.self)
    }
}

extension MutableRawSpan {
    func byte(_ offset: Int) -> UInt8 { bytes.byte(offset) }
    func native16(_ offset: Int) -> UInt16 { bytes.native16(offset) }
    func get16(_ offset: Int) -> Int { Int(UInt16(bigEndian: bytes.native16(offset))) }

    mutating func set8(_ offset: Int, _ value: UInt8) {
        storeBytes(of: value, toByteOffset: offset, as: UInt8.self)
    }

    mutating func set16(_ offset: Int, _ value: Int) {
        storeBytes(of: UInt16(truncatingIfNeeded: value).bigEndian, toByteOffset: offset, as: UInt16.self)
    }

    mutating func setNative16(_ offset: Int, _ value: UInt16) {
        storeBytes(of: value, toByteOffset: offset, as: UInt16.self)
    }

    /// The folded one's complement sum of the 16-bit words in `range`, which has an even length.
    func sum(_ range: Range<Int>) -> Int {
        var total = 0
        for offset in stride(from: range.lowerBound, to: range.upperBound, by: 2) { total += get16(offset) }
        total = (total & 0xffff) + (total >> 16)
        return (total & 0xffff) + (total >> 16)
    }
}
