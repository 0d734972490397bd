internal import Linux
internal import Wire

/// Parts of packets: what they make is dispatched when the last one has come.
extension Forwarder where Link: ~Copyable, Sockets: ~Copyable {
    mutating func takeFragment(_ header: IPv4Header, in frame: Frame, now: Int64) {
        let key = FragmentKey(
            source: IPAddress(header.source), destination: IPAddress(header.destination), identification: UInt32(header.identification), proto: header.proto)
        takeFragment(
            Fragment(
                key: key, position: header.fragmentOffset, hasMore: header.moreFragments, offset: frame.offset + header.payloadOffset,
                length: header.payloadLength, hopLimit: header.timeToLive, typeOfService: header.typeOfService,
                isForMany: frame.isForMany(inbound.arena.bytes)), now: now)
    }

    /// Precondition: `upper` is a fragment, so that its header stands right before it.
    mutating func takeFragment(_ header: IPv6Header, _ upper: IPv6UpperLayer, in frame: Frame, now: Int64) {
        let start = frame.offset + upper.offset
        guard let part = IPv6FragmentHeader(inbound.arena.bytes, at: start - IPv6FragmentHeader.length) else { return }
        let key = FragmentKey(
            source: IPAddress(header.source), destination: IPAddress(header.destination), identification: part.identification, proto: part.nextHeader)
        takeFragment(
            Fragment(
                key: key, position: part.fragmentOffset, hasMore: part.moreFragments, offset: start, length: upper.length,
                hopLimit: header.hopLimit, typeOfService: header.trafficClass, isForMany: frame.isForMany(inbound.arena.bytes)), now: now)
    }

    private mutating func takeFragment(_ fragment: Fragment, now: Int64) {
        // TCP cuts its own segments, and nothing else is forwarded.
        let proto = fragment.key.proto
        let isEcho = proto == (fragment.key.source.isIPv4 ? .icmp : .icmpv6)
        guard proto == .udp && enabled.udp || isEcho && enabled.icmp else { return port.counters.add(.droppedFragment) }
        let outcome = fragments.add(fragment, in: inbound.arena, now: now)
        if outcome == .refused { port.counters.add(.droppedFragment) }
        port.counters.add(.droppedFragment, fragments.takeLost())
        guard case .whole(let slot) = outcome else { return }
        let isSound = isEcho ? forwardEcho(slot, now: now) : forwardDatagram(slot, now: now)
        port.counters.add(isSound ? .reassembled : .droppedMalformed)
        if isSound { learnMTU(from: fragments[slot], now: now) }
        fragments.release(slot)
    }

    /// Packets of which something is missing for too long are nothing any more, and who has sent them hears of that (RFC 1122, section 3.3.2; RFC 8200, section 4.5).
    mutating func giveUpFragments(now: Int64) {
        while let slot = fragments.overdue(now: now) {
            tellOfMissingParts(slot)
            fragments.giveUp(slot)
            port.counters.add(.droppedFragment, fragments.takeLost())
        }
    }

    /// Only where the part is there that is quoted, and not of what was sent to many.
    private mutating func tellOfMissingParts(_ slot: Int) {
        let (packet, start) = (fragments[slot], fragments.start(of: slot))
        guard packet.first >= 8, !packet.isForMany, !packet.key.destination.isGroup, !packet.key.source.isAny else { return }
        // Ports, or what stands there in an echo request.
        let key = FlowKey(
            guest: packet.key.source, guestPort: fragments.arena.bytes.uint16(at: start), remote: packet.key.destination,
            remotePort: fragments.arena.bytes.uint16(at: start + 2))
        let kind = key.guest.isIPv4 ? ICMPv4Header.Kind.timeExceeded.number : ICMPv6Header.Kind.timeExceeded.number
        let quoted = QuotedPacket(key: key, proto: packet.key.proto, length: packet.first, word: fragments.arena.bytes.uint32(at: start + 4))
        port.sendICMPError(ICMPError(type: kind, code: 1), from: key.remote, quoting: quoted)
    }

    /// What the guest has cut its own packet to. Of a part that a router behind it has cut once more, only the largest piece says something.
    private mutating func learnMTU(from packet: FragmentedPacket, now: Int64) {
        let headers = packet.key.source.isIPv4 ? IPv4Header.length : IPv6Header.length + IPv6FragmentHeader.length
        port.mtu.learn(fromPart: packet.largest + headers, now: now)
    }

    /// False for what is no datagram for others. Its checksum is looked at: parts of two packets may have had the same identification.
    private mutating func forwardDatagram(_ slot: Int, now: Int64) -> Bool {
        let (packet, start) = (fragments[slot], fragments.start(of: slot))
        let (key, end) = (packet.key, start + packet.length)
        guard let header = UDPHeader(fragments.arena.bytes, at: start, end: end) else { return false }
        if header.checksum != 0 || !key.source.isIPv4 {
            let pseudo = Checksum.pseudoHeader(key.source, key.destination, .udp, length: header.datagramLength)
            var sum = Checksum(pseudo)
            sum.add(fragments.arena.bytes, at: start, count: header.datagramLength)
            guard sum.value == 0 else { return false }
        }
        // Questions to us, none of which is as long, stay here.
        if question(to: key.destination, port: header.destinationPort) != nil { return false }
        let flow = FlowKey(guest: key.source, guestPort: header.sourcePort, remote: key.destination, remotePort: header.destinationPort)
        let datagram = GuestDatagram(
            key: flow, payloadOffset: header.payloadOffset, payloadLength: header.payloadLength, hopLimit: packet.hopLimit,
            typeOfService: packet.typeOfService, segmentSize: 0, isForMany: packet.isForMany)
        if descriptorsAreScarce, udp.table.find(flow) == nil { admitFlow(now: now) }
        udp.fromGuest(datagram, in: fragments.arena, &port, now: now)
        // The slot is free again behind this.
        udp.flushPending(&port, now: now)
        return true
    }

    private mutating func forwardEcho(_ slot: Int, now: Int64) -> Bool {
        let (packet, start) = (fragments[slot], fragments.start(of: slot))
        // Type and code of an echo request.
        let request: UInt16 = packet.key.source.isIPv4 ? 8 << 8 : 128 << 8
        guard packet.length >= 8, fragments.arena.bytes.uint16(at: start) == request else { return false }
        var sum = Checksum(packet.key.source.isIPv4 ? 0 : Checksum.pseudoHeader(packet.key.source, packet.key.destination, .icmpv6, length: packet.length))
        sum.add(fragments.arena.bytes, at: start, count: packet.length)
        guard sum.value == 0 else { return false }
        let (identifier, sequence) = (fragments.arena.bytes.uint16(at: start + 4), fragments.arena.bytes.uint16(at: start + 6))
        let key = FlowKey(guest: packet.key.source, guestPort: identifier, remote: packet.key.destination, remotePort: 0)
        let echo = GuestEcho(
            key: key, sequence: sequence, messageOffset: start, messageLength: packet.length, hopLimit: packet.hopLimit,
            typeOfService: packet.typeOfService, isForMany: packet.isForMany)
        if descriptorsAreScarce, ping.table.find(key) == nil { admitFlow(now: now) }
        ping.fromGuest(echo, in: fragments.arena, &port, now: now)
        return true
    }
}
