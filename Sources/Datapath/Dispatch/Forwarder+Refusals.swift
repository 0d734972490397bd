internal import Linux
internal import Wire

/// What the guest's kernel answers where nobody wants a forwarded datagram: "port unreachable", which cannot be handed on without a raw socket. But the
/// client's flow ends, and if the port has closed by then, this kernel itself tells the client with its next datagram.
extension Forwarder where Link: ~Copyable, Sockets: ~Copyable {
    mutating func takeRefusal(_ payload: L4Payload, in frame: Frame, now: Int64) {
        guard let packet = frame.parseQuote(inbound.arena.bytes, payload), packet.proto == .udp else { return port.counters.add(.droppedProtocol) }
        udp.endInbound(packet.key, &port, now: now)
    }

    /// What a router behind the guest answers that has a smaller link there than ours: a packet that may not be cut on its way was dropped, and `mtu` bytes would have
    /// passed (RFC 1191, section 4; RFC 4443, section 3.2). TCP goes on in smaller segments. Datagrams and echo replies of IPv4 are cut by routers, so only errors of
    /// IPv6 make those smaller that go to the guest, all of them. Who says so must know of a flow, though nobody but the guest can say anything here.
    mutating func takeTooBig(_ mtu: Int, _ payload: L4Payload, in frame: Frame, now: Int64) {
        guard let packet = frame.parseQuote(inbound.arena.bytes, payload) else { return port.counters.add(.droppedProtocol) }
        if packet.proto == .tcp { return tcp.segmentWasTooBig(packet, mtu: mtu, now: now) }
        guard !packet.key.guest.isIPv4, hasFlow(of: packet) else { return port.counters.add(.droppedProtocol) }
        port.mtu.learn(fromRouter: mtu, now: now)
    }

    /// `mutating`: see `Forwarder+Limits`.
    private mutating func hasFlow(of packet: RefusedPacket) -> Bool {
        switch packet.proto {
        case .udp: udp.table.find(packet.key) != nil
        case .icmpv6: ping.table.find(packet.key) != nil
        default: false
        }
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
