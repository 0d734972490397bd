internal import Linux
internal import Wire

/// What the guest, or a router behind it, answers to what others have opened.
extension Forwarder where Link: ~Copyable, Sockets: ~Copyable {
    /// "Unreachable" of any kind; `isOfPort`: nobody is at that port.
    ///
    /// Of UDP, that is what the guest's kernel answers where nobody wants a forwarded datagram. It cannot be handed on without a raw socket. But the client's flow ends, and if the
    /// port has closed by then, this kernel itself tells the client with its next datagram. Of TCP, it is what packet filters answer to a SYN, with the code that they like.
    mutating func takeRefusal(isOfPort: Bool, _ payload: L4Payload, in frame: Frame, now: Int64) {
        guard let packet = frame.parseQuote(inbound.arena.bytes, payload) else { return port.counters.add(.droppedProtocol) }
        switch packet.proto {
        case .tcp: tcp.synWasRefused(packet, &port)
        case .udp where isOfPort: udp.endInbound(packet.key, &port, now: now)
        default: port.counters.add(.droppedProtocol)
        }
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

extension TCPTranslator where Sockets: ~Copyable {
    /// Ends a connection that `packet` was to open to the guest: its client hears a reset. Once a connection is open, such an error ends nothing, whatever its code (RFC 5461, section 4.1);
    /// and it must quote the number that we have sent (RFC 5927, section 4.1).
    fileprivate mutating func synWasRefused<Link: GuestLink & ~Copyable>(_ packet: RefusedPacket, _ port: inout GuestPort<Link>) {
        guard let index = table.find(packet.key) else { return }
        let connection = table[index]
        guard connection.events.contains(.opensToGuest), connection.events.isDisjoint(with: [.established, .mustReset, .standsStill]),
            SequenceNumber(packet.word) == connection.initialToGuest
        else { return }
        abort(index, &port)
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
