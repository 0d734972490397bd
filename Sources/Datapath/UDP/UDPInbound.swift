internal import Linux
internal import Wire

/// Datagrams to forwarded ports. What a client sends first is taken from the listener, which speaks for it until the two are in conversation
/// (`UDPSeparation`).
extension UDPTranslator {
    private static var inboundBudget: Int { 4 }
    /// IPv6's limit; IPv4's is lower.
    private static var mostInbound: Int { 65527 }

    mutating func receiveInbound<Link: GuestLink & ~Copyable>(
        on listener: ListenerEntry, _ index: Int, _ guest: GuestIdentity, _ bypass: inout Bypass, _ port: inout GuestPort<Link>, now: Int64
    ) {
        // Which family comes is not known before: the payload lies where it fits both.
        let start = SlotLayout.udpPayload(IPAddress(IPv6Address.any))
        let asked = SlotLayout.count
        for _ in 0..<UDPTranslator.inboundBudget {
            let slot = port.reserve(asked)
            incoming.removeAll()
            for number in 0..<asked {
                incoming.append(port.arena, offset: slot + number * SlotLayout.size + start, length: UDPTranslator.mostInbound)
            }
            let outcome = incoming.receive(on: listener.socket)
            if outcome.wouldBlock { return }
            for number in 0..<outcome.count {
                let slot = slot + number * SlotLayout.size
                if let datagram = arrived(number, at: slot + start), bypass.takes(datagram.source.address, listener) {
                    if bypass.passInbound(datagram, in: port.arena, listener, index, guest, &port.counters, now: now) { continue }
                    if bypass.isOnlyWay { continue }
                }
                acceptDatagram(number, slot: slot, listener, index, guest, &port, now: now)
            }
            bypass.flushInbound(&port.counters)
            // An error was that of an earlier datagram.
            if outcome.error == nil, outcome.count < asked { return }
        }
    }

    /// nil for what is nobody's in particular, and for what has not come whole.
    private func arrived(_ number: Int, at offset: Int) -> ArrivedDatagram? {
        guard let source = incoming.source(number), source.port != 0, let contacted = incoming.destination(number), contacted.isOwn,
            contacted.address.isIPv4 == source.address.isIPv4, !incoming.isTruncated(number)
        else { return nil }
        return ArrivedDatagram(
            source: source, contacted: contacted.address, offset: offset, length: incoming.length(number),
            segmentSize: incoming.segmentSize(number))
    }

    private mutating func acceptDatagram<Link: GuestLink & ~Copyable>(
        _ number: Int, slot: Int, _ listener: ListenerEntry, _ index: Int, _ guest: GuestIdentity, _ port: inout GuestPort<Link>, now: Int64
    ) {
        // What was sent to a group or to all is not the guest's (lesson 36).
        guard let source = incoming.source(number), let contacted = incoming.destination(number), contacted.isOwn, source.port != 0,
            contacted.address.isIPv4 == source.address.isIPv4
        else {
            port.counters.add(.udpStrays)
            return
        }
        guard let seen = translation.inboundSource(source.address, local: contacted.address),
            let destination = guest.destination(for: seen, target: listener.target.address, mac: port.guestMAC)
        else {
            port.counters.add(.inboundUnanswerable)
            return
        }
        if incoming.length(number) > SlotLayout.mostUDPPayload(destination) { return port.counters.add(.udpTooLong) }
        let key = FlowKey(guest: destination, guestPort: listener.target.port, remote: seen, remotePort: source.port)
        let start = slot + SlotLayout.udpPayload(IPAddress(IPv6Address.any)) - SlotLayout.udpPayload(destination)
        let origin = UDPOrigin(
            socket: listener.socket, number: UInt32(truncatingIfNeeded: index + 1), interface: listener.interface,
            scope: incoming.sourceScope(number), local: Endpoint(contacted.address, listener.port))
        enter(number, slot: start, key, from: source, origin, &port, now: now)
    }

    /// A datagram of another than the flow's remote, which a listener should have been given. Where none is concerned, it is a stray.
    mutating func reroute<Link: GuestLink & ~Copyable>(
        _ number: Int, slot: Int, from flow: UDPFlow, _ port: inout GuestPort<Link>, now: Int64
    ) {
        guard !flow.isConnected || !flow.flags.isDisjoint(with: [.inbound, .besideListener]), let source = incoming.source(number), source.port != 0,
            let local = contacted(number, flow), let seen = translation.inboundSource(source.address, local: local.address)
        else {
            port.counters.add(.udpStrays)
            return
        }
        let key = FlowKey(guest: flow.key.guest, guestPort: flow.key.guestPort, remote: seen, remotePort: source.port)
        var origin = flow.origin
        (origin.local, origin.scope) = (local, incoming.sourceScope(number))
        if !flow.isConnected {
            guard let listener = sharing.listener(at: local) else { return port.counters.add(.udpStrays) }
            (origin.socket, origin.number, origin.interface) = (sharing[listener].socket, UInt32(truncatingIfNeeded: listener + 1), sharing[listener].interface)
        }
        enter(number, slot: slot, key, from: source, origin, &port, now: now)
    }

    /// The address and port that a datagram came to. Sockets that are not connected, but bound to all addresses, are told with each; nil for those that are not
    /// bound to the guest's port.
    func contacted(_ number: Int, _ flow: UDPFlow) -> Endpoint? {
        if !flow.isConnected {
            guard flow.flags.contains(.claimsPort), let destination = incoming.destination(number), destination.isOwn else { return nil }
            return Endpoint(destination.address, flow.key.guestPort)
        }
        guard let local = try? flow.socket.localAddress().endpoint, !local.address.isAny else { return nil }
        return local
    }

    /// Passes a datagram on through its flow, which is made if need be. One that leads elsewhere gives way: the client has contacted
    /// another of our addresses, from which it expects the answer.
    private mutating func enter<Link: GuestLink & ~Copyable>(
        _ number: Int, slot: Int, _ key: FlowKey, from source: Endpoint, _ origin: UDPOrigin, _ port: inout GuestPort<Link>, now: Int64
    ) {
        var key = key
        // Several addresses of the host may be one to the guest, where their ports must differ.
        if key.remote != source.address {
            for _ in 0..<64 {
                guard let other = table.find(key), table[other].remote != source else { break }
                key.remotePort = key.remotePort == .max ? 1024 : key.remotePort + 1
            }
        }
        var index = table.find(key)
        if let found = index, !leads(table[found], from: origin) {
            close(found, &port)
            index = nil
        }
        if index == nil {
            index = openToGuest(key, from: source, origin, &port, now: now)
        }
        guard let index else { return }
        noteArrival(index, &port)
        use(index, now: now)
        pass(number, slot: slot, key, &port)
    }

    private func leads(_ flow: UDPFlow, from origin: UDPOrigin) -> Bool {
        if flow.flags.contains(.byListener), flow.socket != origin.socket { return false }
        if flow.flags.contains(.inbound) { return flow.origin.local == origin.local }
        return (try? flow.socket.localAddress().endpoint) == origin.local
    }

    // MARK: Opening

    private mutating func openToGuest<Link: GuestLink & ~Copyable>(
        _ key: FlowKey, from source: Endpoint, _ origin: UDPOrigin, _ port: inout GuestPort<Link>, now: Int64
    ) -> Int? {
        if !makeRoom(inbound: true, &port, now: now) {
            port.counters.add(.udpTableFull)
            return nil
        }
        let coalesces = port.offloads.contains(.udpSegmentation)
        do throws(Errno) {
            var opened: OpenSocket
            if origin.isListener {
                opened = OpenSocket(socket: origin.socket, flags: [.inbound, .byListener])
            } else {
                // A socket of the guest's own has taken what is a listener's, between its bind and its connect.
                let flags: UDPFlow.Flags = origin.local.port == key.guestPort ? [.inbound, .claimsPort] : .inbound
                opened = try openMakingRoom(&port, now: now) { udp throws(Errno) in
                    OpenSocket(socket: try udp.openBeside(origin, source, coalesces: coalesces), flags: flags)
                }
            }
            opened.origin = origin
            let index = try insert(key, source, opened, &port, now: now)
            port.counters.add(.udpAccepted)
            return index
        } catch {
            port.counters.add(.udpSocketFailed)
            return nil
        }
    }

    /// Before a listener is closed: flows that came by it end with it. Their sockets are bound to its port, and would keep it.
    mutating func endFlows<Link: GuestLink & ~Copyable>(of listener: Int, _ port: inout GuestPort<Link>) {
        let number = UInt32(truncatingIfNeeded: listener + 1)
        var index = 0
        while listenerFlows[listener + 1] > 0, index < table.highWater {
            if table.isUsed(index), table[index].origin.number == number { close(index, &port) }
            index += 1
        }
    }
}
