internal import Linux
internal import Wire

/// What the guest's kernel answers where nobody wants a forwarded datagram: "port unreachable", which cannot be handed on without a raw socket. But the
/// client's flow ends, and if the port has closed by then, this kernel itself tells the client with its next datagram.
extension Forwarder where Link: ~Copyable, Sockets: ~Copyable {
    mutating func takeRefusal(_ payload: L4Payload, in frame: Frame, now: Int64) {
        guard let key = frame.parseRefusal(inbound.arena.bytes, payload) else { return port.counters.add(.droppedProtocol) }
        udp.endInbound(key, &port, now: now)
    }
}

extension Frame {
    /// The flow that a port-unreachable message is about. It quotes the datagram that came to the guest: its IP header and, behind it, eight bytes at least
    /// (RFC 792, RFC 4443 section 3.1).
    func parseRefusal(_ arena: borrowing RawSpan, _ payload: L4Payload) -> FlowKey? {
        let bytes = arena.extracting(offset..<(offset + length))
        let start = payload.offset + 8
        guard start + 28 <= payload.end, payload.end <= length else { return nil }
        if payload.source.isIPv4 {
            let header = Int(bytes.uint8(at: start) & 15) * 4
            guard header >= 20, start + header + 8 <= payload.end, bytes.uint8(at: start + 9) == 17 else { return nil }
            let source = IPAddress(IPv4Address(bytes.uint32(at: start + 12)))
            let destination = IPAddress(IPv4Address(bytes.uint32(at: start + 16)))
            return FlowKey(
                guest: destination, guestPort: bytes.uint16(at: start + header + 2), remote: source, remotePort: bytes.uint16(at: start + header))
        }
        guard start + 48 <= payload.end, bytes.uint8(at: start + 6) == 17 else { return nil }
        let source = IPAddress(IPv6Address(bytes, at: start + 8))
        let destination = IPAddress(IPv6Address(bytes, at: start + 24))
        return FlowKey(guest: destination, guestPort: bytes.uint16(at: start + 42), remote: source, remotePort: bytes.uint16(at: start + 40))
    }
}

extension UDPTranslator {
    /// Ends a flow that others have opened, if there is such a one.
    fileprivate mutating func endInbound<Link: GuestLink & ~Copyable>(_ key: FlowKey, _ port: inout GuestPort<Link>, now: Int64) {
        guard let index = table.find(key), table[index].flags.contains(.inbound) else { return }
        // What the guest has sent by it goes out first.
        if table[index].firstPending != 0 { flushPending(&port, now: now) }
        close(index, &port)
    }
}
