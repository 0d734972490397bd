internal import Linux
internal import Settings
internal import Wire

/// Guests that come and go.
extension Forwarder where Link: ~Copyable, Sockets: ~Copyable {
    /// Whatever the guest had is gone with it: the hosts at the other ends see resets, and the next guest finds nothing (lesson 42).
    mutating func guestLeft() {
        let lingers = leavesConnections()
        tcp.abortAll(&port)
        udp.closeAll(&port)
        ping.closeAll(&port)
        port.forgetGuest()
        fragments.removeAll()
        guest = unknownGuest
        let mayCome = port.link.awaitAnother()
        // Even the only machine that was ever to come leaves behind what lingers.
        if migration.phase == .left && migration.after == .exit || !mayCome && !lingers { port.close() }
    }

    /// A guest that runs already knows nothing of a new connection, and may have nothing to say: it is asked for its address.
    mutating func guestArrived(now: Int64) {
        guestIsHere(now: now)
        services.forgetGuest()
        askForGuest(now: now)
        // One whose rings start anew has left no connection behind only if it was never here.
        tcp.guestMayHaveRestarted(now: now)
        advertisements = 0
        if nextAdvertisement != .max { nextAdvertisement = 0 }
    }

    /// A frame that nobody but us should have sent. libvirt 9.0 gave --mac-addr the guest's own address: where that was chosen, and a guest has not been heard yet,
    /// the guest keeps it. Later, it can only be one of ours that comes back to us.
    mutating func makeWay() {
        guard port.guestMAC == .broadcast, port.gatewayMAC != Network.defaultGatewayMAC else { return }
        port.gatewayMAC = Network.defaultGatewayMAC
        services.move(to: port.gatewayMAC)
        notices.note(.addressTaken)
    }

    // MARK: Where it is

    /// Learns from a packet where the guest is, and its address. False for a source that it cannot have.
    mutating func learn(_ header: IPv4Header, _ ethernet: EthernetHeader, now: Int64) -> Bool {
        let source = header.source
        services.note(source)
        let isOwn = guest.ipv4 == source
        // Only a client without an address speaks from nowhere, and only to everyone.
        if header.proto == .udp, header.destination == .broadcast {
            isGuest(ethernet, IPAddress(source), isOwn: isOwn, now: now)
            return true
        }
        guard !source.isThisNetwork, !source.isLoopback, !source.isMulticast, source != .broadcast,
            isOwn || services.mayBeGuest(IPAddress(source))
        else { return false }
        if isGuest(ethernet, IPAddress(source), isOwn: isOwn, now: now), !isOwn { guest.note(source) }
        return true
    }

    mutating func learn(_ source: IPv6Address, _ ethernet: EthernetHeader, now: Int64) -> Bool {
        guard !source.isMulticast, !source.isLoopback, !source.isIPv4Mapped else { return false }
        services.note(source)
        let isOwn = guest.ipv6 == source || guest.linkLocal == source
        guard isOwn || source.isAny || services.mayBeGuest(IPAddress(source)) else { return false }
        if isGuest(ethernet, IPAddress(source), isOwn: isOwn, now: now), !isOwn || !guest.hasShown6, !source.isAny { guest.note(source) }
        return true
    }

    /// The guest looks whether an address is taken. It is not the guest's if it is, nor if somebody else asks.
    mutating func learn(probe frame: Frame, _ payload: L4Payload) {
        guard payload.hopLimit == 255, let ethernet = EthernetHeader(inbound.arena.bytes, at: frame.offset), ethernet.source == port.guestMAC,
            let probe = frame.parseSolicitation(inbound.arena.bytes, payload), case .none = probe.sourceLinkLayer,
            payload.destination == IPAddress(probe.target.solicitedNode), !services.isTaken(IPAddress(probe.target), for: ethernet.source)
        else { return }
        guest.expect(probe.target)
    }

    mutating func learn(_ packet: ARPPacket, _ ethernet: EthernetHeader, now: Int64) {
        services.note(packet.sender)
        isGuest(ethernet, IPAddress(packet.sender), isOwn: guest.ipv4 == packet.sender, now: now)
    }

    /// Whether a question is for somebody else on the guest's link, who answers himself: unlike neighbour advertisements, the answers of ARP do not say which of two counts.
    mutating func isForAnother(_ packet: ARPPacket, _ ethernet: EthernetHeader, now: Int64) -> Bool {
        let target = IPAddress(packet.target)
        return packet.operation == .request && !services.own.contains(target) && port.stations.leavesQuestion(for: target, by: ethernet.source, now: now)
    }

    /// Whoever advertises an address has it, and may say so from any other one of his (RFC 4861, section 4.4). False for one that he cannot have.
    mutating func learn(_ advertisement: NeighbourAdvertisement, _ ethernet: EthernetHeader, now: Int64) -> Bool {
        let target = advertisement.target
        guard !target.isAny, !target.isMulticast, !target.isLoopback, !target.isIPv4Mapped else { return false }
        let isOwn = guest.ipv6 == target || guest.linkLocal == target
        guard isOwn || services.mayBeGuest(IPAddress(target)) else { return false }
        services.note(target)
        if isGuest(ethernet, IPAddress(target), isOwn: isOwn, now: now), isOwn { guest.note(target) }
        return true
    }

    /// Whether a frame is the guest's, which then is where it comes from. Others may be bridged behind the guest, and what they say to everybody comes here, too. So who sends from
    /// another link address than before is the guest if the packet's source is the guest's own address, or if it talks to one and not to all. What goes to an address goes to where that was
    /// heard from (`GuestStations`), whoever is the guest.
    @discardableResult
    private mutating func isGuest(_ ethernet: EthernetHeader, _ source: IPAddress, isOwn: Bool, now: Int64) -> Bool {
        let known = port.guestMAC
        let isSame = ethernet.source == known
        if isSame, !port.stations.areSeveral { return true }
        if known != .broadcast, !source.isAny, !isOwn || port.stations.areSeveral {
            if !port.stations.areSeveral { noteGuest(at: known) }
            let before = port.stations.note(source, at: ethernet.source)
            // The guest's link address has changed, and whatever else it is called is there, too.
            if isOwn, let before, before != ethernet.source { port.stations.move(from: before, to: ethernet.source) }
        }
        guard isSame || known == .broadcast || isOwn || !ethernet.destination.isMulticast else { return false }
        port.guestMAC = ethernet.source
        if known == .broadcast { tcp.guestWasFound(&port, now: now) }
        return true
    }

    /// Before a second one is noted, the first one is.
    private mutating func noteGuest(at mac: MACAddress) {
        if let ipv4 = guest.ipv4 { port.stations.note(IPAddress(ipv4), at: mac) }
        if let ipv6 = guest.ipv6 { port.stations.note(IPAddress(ipv6), at: mac) }
        if let linkLocal = guest.linkLocal { port.stations.note(IPAddress(linkLocal), at: mac) }
    }

    // MARK: Asking for it

    /// Asks for the guest where somebody waits for it and it cannot be told whether it has heard of that: once a second at most. It may be another one on the guest's link that is waited for.
    mutating func seekGuest(now: Int64) {
        guard let address = tcp.sought else { return }
        tcp.sought = nil
        guard now - askedForGuestAt >= Forwarder.askInterval else { return }
        askForGuest(now: now)
        if let ipv4 = address.ipv4 {
            if ipv4 != guest.ipv4 { port.ask(forIPv4: ipv4, services) }
        } else if address.ipv6 != guest.ipv6, services.answersNDP {
            port.ask(forIPv6: address.ipv6, services)
        }
    }

    /// Milliseconds between two questions for the guest.
    private static var askInterval: Int64 { 1000 }

    /// Any answer tells the guest's link address.
    private mutating func askForGuest(now: Int64) {
        askedForGuestAt = now
        if let address = guest.ipv4 { port.ask(forIPv4: address, services) }
        if let address = guest.ipv6, services.answersNDP { port.ask(forIPv6: address, services) }
    }
}

extension GuestPort where Link: ~Copyable {
    /// Who has this address? Not asked from nowhere: that would be a probe by somebody who wants it, a conflict to who has it (RFC 5227, section 2.1.1).
    fileprivate mutating func ask(forIPv4 address: IPv4Address, _ services: borrowing LocalServices) {
        guard let sender = services.asker4 else { return }
        let slot = reserve()
        let start = slot + linkHeadroom
        let mac = gatewayMAC
        var bytes = arena.mutableBytes
        EthernetHeader(destination: .broadcast, source: mac, type: .arp).write(to: &bytes, at: start)
        ARPPacket(.request, senderMAC: mac, sender: sender, targetMAC: .zero, target: address)
            .write(to: &bytes, at: start + EthernetHeader.length)
        _ = send(slot: slot, end: start + EthernetHeader.length + ARPPacket.length, offload: VirtioNetHeader())
    }

    /// The same for IPv6, to the address's solicited-node group (RFC 4861, section 7.2.2; RFC 4291, section 2.7.1).
    fileprivate mutating func ask(forIPv6 address: IPv6Address, _ services: borrowing LocalServices) {
        let slot = reserve()
        let start = slot + linkHeadroom
        let mac = gatewayMAC
        let group = IPv6Address(high: 0xff02 << 48, low: 0x1_ff00_0000 | address.low & 0xff_ffff)
        var bytes = arena.mutableBytes
        var frame = bytes._mutatingExtracting(start..<(start + 128))
        let question = NeighbourSolicitation(target: address, sourceLinkLayer: mac)
        question.write(to: &frame, at: LocalFrame.icmpv6)
        let length = LocalFrame.finishICMPv6(
            &frame, to: .multicast(group), from: mac, source: services.routerLinkLocal, destination: group, length: question.length)
        _ = send(slot: slot, end: start + length, offload: VirtioNetHeader())
    }
}

extension TCPTranslator where Sockets: ~Copyable {
    mutating func abortAll<Link: GuestLink & ~Copyable>(_ port: inout GuestPort<Link>) {
        for index in 0..<table.highWater where table.isUsed(index) && !isStill(index) { abort(index, &port) }
    }
}

extension UDPTranslator {
    mutating func closeAll<Link: GuestLink & ~Copyable>(_ port: inout GuestPort<Link>) {
        for index in 0..<table.highWater where table.isUsed(index) { close(index, &port) }
    }
}
