internal import Wire

/// The packet that an ICMP error of the guest's is about: one that came to it from us.
struct RefusedPacket: BitwiseCopyable {
    /// As for its flow. Of an echo reply, the identifier stands for the guest's port, and 0 for the remote's.
    let key: FlowKey
    let proto: IPProtocol
    /// Of the packet with its IP header, as that said.
    let length: Int
    /// Bytes 4 to 7 of the L4 header: TCP's sequence number.
    let word: UInt32

    private static var echoReply4: UInt8 { 0 }
    private static var echoReply6: UInt8 { 129 }

    /// Its IP header begins at `start`, and `end` is where the error ends. nil where that is less than eight bytes of L4, and for a part of a packet that does not begin it.
    init?(ipv4 bytes: borrowing RawSpan, at start: Int, end: Int) {
        guard start + 28 <= end, bytes.uint8(at: start) >> 4 == 4 else { return nil }
        let l4 = start + Int(bytes.uint8(at: start) & 15) * 4
        guard l4 >= start + IPv4Header.length, l4 + 8 <= end, bytes.uint16(at: start + 6) & 0x1fff == 0 else { return nil }
        proto = IPProtocol(bytes.uint8(at: start + 9))
        let (source, destination) = (IPv4Address(bytes.uint32(at: start + 12)), IPv4Address(bytes.uint32(at: start + 16)))
        key = RefusedPacket.flowKey(bytes, at: l4, isEcho: proto == .icmp, from: IPAddress(source), to: IPAddress(destination))
        if proto == .icmp, bytes.uint8(at: l4) != RefusedPacket.echoReply4 { return nil }
        length = Int(bytes.uint16(at: start + 2))
        word = bytes.uint32(at: l4 + 4)
    }

    /// The same. Of extension headers, we write none but that of a part.
    init?(ipv6 bytes: borrowing RawSpan, at start: Int, end: Int) {
        guard start + 48 <= end, bytes.uint8(at: start) >> 4 == 6 else { return nil }
        var l4 = start + IPv6Header.length
        var next = IPProtocol(bytes.uint8(at: start + 6))
        if next == .fragment {
            guard l4 + 16 <= end, let part = IPv6FragmentHeader(bytes, at: l4), part.fragmentOffset == 0 else { return nil }
            next = part.nextHeader
            l4 += IPv6FragmentHeader.length
        }
        proto = next
        let (source, destination) = (IPv6Address(bytes, at: start + 8), IPv6Address(bytes, at: start + 24))
        key = RefusedPacket.flowKey(bytes, at: l4, isEcho: proto == .icmpv6, from: IPAddress(source), to: IPAddress(destination))
        if proto == .icmpv6, bytes.uint8(at: l4) != RefusedPacket.echoReply6 { return nil }
        length = IPv6Header.length + Int(bytes.uint16(at: start + 4))
        word = bytes.uint32(at: l4 + 4)
    }

    private static func flowKey(_ bytes: borrowing RawSpan, at l4: Int, isEcho: Bool, from source: IPAddress, to destination: IPAddress) -> FlowKey {
        if isEcho { return FlowKey(guest: destination, guestPort: bytes.uint16(at: l4 + 4), remote: source, remotePort: 0) }
        return FlowKey(guest: destination, guestPort: bytes.uint16(at: l4 + 2), remote: source, remotePort: bytes.uint16(at: l4))
    }
}

extension Frame {
    /// What an ICMP error quotes: an IP header and, behind it, eight bytes at least (RFC 792, RFC 4443 section 3).
    func parseQuote(_ arena: borrowing RawSpan, _ payload: L4Payload) -> RefusedPacket? {
        guard payload.end <= length else { return nil }
        let bytes = arena.extracting(offset..<(offset + length))
        let start = payload.offset + ICMPv4Header.length
        if payload.source.isIPv4 { return RefusedPacket(ipv4: bytes, at: start, end: payload.end) }
        return RefusedPacket(ipv6: bytes, at: start, end: payload.end)
    }
}
