internal import Linux
internal import Wire

extension Forwarder where Link: ~Copyable, Sockets: ~Copyable {
    /// Takes one frame of the batch apart and hands it on. Everything is checked against the frame's own end.
    mutating func dispatch(_ frame: Frame, now: Int64) {
        port.counters.add(.framesFromGuest)
        port.counters.add(.bytesFromGuest, frame.length)
        guard let ethernet = parseEthernet(frame) else { return }
        if !dispatch(frame, of: ethernet.type, ethernet, now: now) { dispatchTagged(frame, ethernet, now: now) }
    }

    /// False for a type that is nobody's here.
    private mutating func dispatch(_ frame: Frame, of type: EtherType, _ ethernet: EthernetHeader, now: Int64) -> Bool {
        switch type {
        case .ipv4: dispatchIPv4(frame, ethernet, now: now)
        case .ipv6: dispatchIPv6(frame, ethernet, now: now)
        case .arp: dispatchARP(frame, ethernet, now: now)
        default: return false
        }
        return true
    }

    /// A tag of VLAN 0 is no VLAN's: it tells the frame's priority, as Windows' driver does, and the frame is as any other (IEEE 802.1Q). All else is for nobody here.
    private mutating func dispatchTagged(_ frame: Frame, _ ethernet: EthernetHeader, now: Int64) {
        let tag = 4
        let place = frame.offset + EthernetHeader.length
        guard ethernet.type == .tagged, frame.length >= EthernetHeader.length + tag, inbound.arena.bytes.uint16(at: place) & 0xfff == 0 else {
            return port.counters.add(.droppedProtocol)
        }
        let type = EtherType(inbound.arena.bytes.uint16(at: place + 2))
        // Both addresses, to before the type.
        inbound.arena.move(from: frame.offset, to: frame.offset + tag, count: 12)
        var frame = frame
        frame.offset += tag
        frame.length -= tag
        if frame.offload.flags.contains(.needsChecksum) { frame.offload.checksumStart &-= UInt16(tag) }
        if !dispatch(frame, of: type, ethernet, now: now) { port.counters.add(.droppedProtocol) }
    }

    private mutating func dispatchARP(_ frame: Frame, _ ethernet: EthernetHeader, now: Int64) {
        guard let packet = frame.parseARP(inbound.arena.bytes) else { return port.counters.add(.droppedMalformed) }
        learn(packet, ethernet, now: now)
        if !isForAnother(packet, ethernet, now: now) { answer(.arp, frame) }
    }

    /// nil for what is not for us.
    private mutating func parseEthernet(_ frame: Frame) -> EthernetHeader? {
        guard let ethernet = EthernetHeader(inbound.arena.bytes, at: frame.offset) else {
            port.counters.add(.droppedMalformed)
            return nil
        }
        if ethernet.source == port.gatewayMAC { makeWay() }
        // Our own address as a source would make us answer ourselves.
        let isForUs = !ethernet.source.isMulticast && ethernet.source != port.gatewayMAC && ethernet.source != .zero && ethernet.destination != ethernet.source
        if !isForUs { port.counters.add(.droppedNotForUs) }
        return isForUs ? ethernet : nil
    }

    private mutating func dispatchIPv4(_ frame: Frame, _ ethernet: EthernetHeader, now: Int64) {
        guard let header = frame.parseIPv4(inbound.arena.bytes) else {
            port.counters.add(.droppedMalformed)
            return
        }
        guard guest.hasIPv4 else { return port.counters.add(.droppedDisabled) }
        guard learn(header, ethernet, now: now) else { return port.counters.add(.droppedAddress) }
        if header.isFragment { return takeFragment(header, in: frame, now: now) }
        let payload = L4Payload(
            proto: header.proto, source: IPAddress(header.source), destination: IPAddress(header.destination),
            offset: header.payloadOffset, end: header.payloadOffset + header.payloadLength,
            hopLimit: header.timeToLive, typeOfService: header.typeOfService)
        dispatch(payload, in: frame, now: now)
    }

    private mutating func dispatchIPv6(_ frame: Frame, _ ethernet: EthernetHeader, now: Int64) {
        guard let (header, upper) = frame.parseIPv6(inbound.arena.bytes) else {
            port.counters.add(.droppedMalformed)
            return
        }
        guard guest.hasIPv6 else { return port.counters.add(.droppedDisabled) }
        // From here on, such a destination would be one of IPv4 (`IPAddress`). On the wire, it means nothing.
        guard !header.destination.isIPv4Mapped, learn(header.source, ethernet, now: now) else { return port.counters.add(.droppedAddress) }
        if upper.isFragment { return takeFragment(header, upper, in: frame, now: now) }
        let payload = L4Payload(
            proto: upper.proto, source: IPAddress(header.source), destination: IPAddress(header.destination),
            offset: upper.offset, end: upper.offset + upper.length, hopLimit: header.hopLimit, typeOfService: header.trafficClass)
        dispatch(payload, in: frame, now: now)
    }

    private mutating func dispatch(_ payload: L4Payload, in frame: Frame, now: Int64) {
        // What is still to be cut tells nothing. Segments may be such, also where the link does not say so.
        if payload.proto != .tcp, frame.offload.segmentation == .none { port.mtu.learn(fromWhole: payload.end - EthernetHeader.length, now: now) }
        switch payload.proto {
        case .tcp: dispatchTCP(payload, in: frame, now: now)
        case .udp: dispatchUDP(payload, in: frame, now: now)
        case .icmp: dispatchICMPv4(payload, in: frame, now: now)
        case .icmpv6: dispatchICMPv6(payload, in: frame, now: now)
        default: refuseProtocol(payload, in: frame)
        }
    }

    private mutating func dispatchUDP(_ payload: L4Payload, in frame: Frame, now: Int64) {
        guard let header = frame.parseUDP(inbound.arena.bytes, payload) else {
            port.counters.add(.droppedMalformed)
            return
        }
        if let question = question(to: payload.destination, port: header.destinationPort) {
            answer(question, frame)
            if question == .dhcp { tcp.guestMayHaveRestarted(now: now) }
            return
        }
        guard enabled.udp else { return port.counters.add(.droppedDisabled) }
        let key = FlowKey(
            guest: payload.source, guestPort: header.sourcePort, remote: payload.destination, remotePort: header.destinationPort)
        let segmentSize = frame.offload.segmentation == .udp ? Int(frame.offload.segmentSize) : 0
        let datagram = GuestDatagram(
            key: key, payloadOffset: frame.offset + header.payloadOffset, payloadLength: header.payloadLength,
            hopLimit: payload.hopLimit, typeOfService: payload.typeOfService, segmentSize: segmentSize,
            isForMany: frame.isForMany(inbound.arena.bytes))
        if descriptorsAreScarce, udp.table.find(key) == nil { admitFlow(now: now) }
        udp.fromGuest(datagram, in: inbound.arena, &port, now: now)
    }

    private mutating func dispatchICMPv4(_ payload: L4Payload, in frame: Frame, now: Int64) {
        guard let header = frame.parseICMPv4(inbound.arena.bytes, payload) else {
            port.counters.add(.droppedMalformed)
            return
        }
        switch header.kind {
        case .echoRequest: forwardEcho(identifier: header.identifier, sequence: header.sequence, payload, in: frame, now: now)
        case .unreachable where header.code == ICMPv4Header.Unreachable.fragmentationNeeded:
            takeTooBig(Int(header.mtu), payload, in: frame, now: now)
        case .unreachable: takeRefusal(isOfPort: header.code == ICMPv4Header.Unreachable.port, payload, in: frame, now: now)
        default: port.counters.add(.droppedProtocol)
        }
    }

    private mutating func forwardEcho(identifier: UInt16, sequence: UInt16, _ payload: L4Payload, in frame: Frame, now: Int64) {
        guard enabled.icmp else { return port.counters.add(.droppedDisabled) }
        let echo = GuestEcho(
            key: FlowKey(guest: payload.source, guestPort: identifier, remote: payload.destination, remotePort: 0), sequence: sequence,
            messageOffset: frame.offset + payload.offset, messageLength: payload.end - payload.offset, hopLimit: payload.hopLimit,
            typeOfService: payload.typeOfService, isForMany: frame.isForMany(inbound.arena.bytes))
        if descriptorsAreScarce, ping.table.find(echo.key) == nil { admitFlow(now: now) }
        ping.fromGuest(echo, in: inbound.arena, &port, now: now)
    }

    private mutating func dispatchICMPv6(_ payload: L4Payload, in frame: Frame, now: Int64) {
        guard let header = frame.parseICMPv6(inbound.arena.bytes, payload) else {
            port.counters.add(.droppedMalformed)
            return
        }
        switch header.kind {
        case .neighbourSolicitation:
            answer(.neighbour, frame)
            // Whoever looks whether an address is taken is about to take it (RFC 4862, section 5.4.2).
            if payload.source.isAny {
                learn(probe: frame, payload)
                tcp.guestMayHaveRestarted(now: now)
            }
        case .routerSolicitation:
            answer(.router, frame)
            tcp.guestMayHaveRestarted(now: now)
        case .neighbourAdvertisement: takeAdvertisement(payload, in: frame, now: now)
        case .echoRequest:
            forwardEcho(identifier: header.identifier, sequence: header.sequence, payload, in: frame, now: now)
        case .unreachable: takeRefusal(isOfPort: header.code == ICMPv6Header.Unreachable.port, payload, in: frame, now: now)
        case .packetTooBig: takeTooBig(Int(header.mtu), payload, in: frame, now: now)
        default: port.counters.add(.droppedProtocol)
        }
    }

    /// Somebody's answer to a question of ours, or news of where he is.
    private mutating func takeAdvertisement(_ payload: L4Payload, in frame: Frame, now: Int64) {
        // Only what comes from this link has all of its hops left (RFC 4861, section 7.1.2).
        guard payload.hopLimit == 255, let ethernet = EthernetHeader(inbound.arena.bytes, at: frame.offset),
            let advertisement = frame.parseAdvertisement(inbound.arena.bytes, payload)
        else { return port.counters.add(.droppedMalformed) }
        if !learn(advertisement, ethernet, now: now) { port.counters.add(.droppedAddress) }
    }

    private mutating func dispatchTCP(_ payload: L4Payload, in frame: Frame, now: Int64) {
        guard var header = frame.parseTCP(inbound.arena.bytes, payload) else {
            port.counters.add(.droppedMalformed)
            return
        }
        guard enabled.tcp else { return port.counters.add(.droppedDisabled) }
        // From here on, offsets are those of the batch.
        header.payloadOffset += frame.offset
        let key = FlowKey(
            guest: payload.source, guestPort: header.sourcePort, remote: payload.destination, remotePort: header.destinationPort)
        if descriptorsAreScarce, header.flags.contains(.syn), tcp.table.find(key) == nil { admitFlow(now: now) }
        tcp.fromGuest(GuestSegment(key: key, header: header, typeOfService: payload.typeOfService), in: inbound.arena, &port, now: now)
    }
}

/// A frame's own bytes are all that its parsers see: offsets in and out are from its Ethernet header.
extension Frame {
    /// Sent to a group of stations, or to all: the lowest bit of an address's first byte (IEEE 802).
    func isForMany(_ arena: borrowing RawSpan) -> Bool { arena.uint8(at: offset) & 1 != 0 }

    func parseIPv4(_ arena: borrowing RawSpan) -> IPv4Header? {
        IPv4Header(arena.extracting(offset..<(offset + length)), at: EthernetHeader.length)
    }

    func parseIPv6(_ arena: borrowing RawSpan) -> (IPv6Header, IPv6UpperLayer)? {
        let bytes = arena.extracting(offset..<(offset + length))
        guard let header = IPv6Header(bytes, at: EthernetHeader.length), let upper = header.upperLayer(bytes) else { return nil }
        return (header, upper)
    }

    func parseARP(_ arena: borrowing RawSpan) -> ARPPacket? {
        ARPPacket(arena.extracting(offset..<(offset + length)), at: EthernetHeader.length)
    }

    func parseUDP(_ arena: borrowing RawSpan, _ payload: L4Payload) -> UDPHeader? {
        UDPHeader(arena.extracting(offset..<(offset + length)), at: payload.offset, end: payload.end)
    }

    func parseICMPv4(_ arena: borrowing RawSpan, _ payload: L4Payload) -> ICMPv4Header? {
        ICMPv4Header(arena.extracting(offset..<(offset + length)), at: payload.offset, end: payload.end)
    }

    func parseICMPv6(_ arena: borrowing RawSpan, _ payload: L4Payload) -> ICMPv6Header? {
        ICMPv6Header(arena.extracting(offset..<(offset + length)), at: payload.offset, end: payload.end)
    }

    func parseSolicitation(_ arena: borrowing RawSpan, _ payload: L4Payload) -> NeighbourSolicitation? {
        NeighbourSolicitation(arena.extracting(offset..<(offset + length)), at: payload.offset, end: payload.end)
    }

    func parseAdvertisement(_ arena: borrowing RawSpan, _ payload: L4Payload) -> NeighbourAdvertisement? {
        NeighbourAdvertisement(arena.extracting(offset..<(offset + length)), at: payload.offset, end: payload.end)
    }

    func parseTCP(_ arena: borrowing RawSpan, _ payload: L4Payload) -> TCPHeader? {
        TCPHeader(arena.extracting(offset..<(offset + length)), at: payload.offset, end: payload.end)
    }
}

/// What an IP header said of its payload; offsets from the frame's start.
struct L4Payload: BitwiseCopyable {
    var proto: IPProtocol
    var source: IPAddress
    var destination: IPAddress
    var offset: Int
    var end: Int
    var hopLimit: UInt8
    var typeOfService: UInt8
}
