internal import Linux
internal import Wire

/// Datagrams to forwarded ports. The first one of a client is taken from the listener, and makes a flow whose socket is bound to the very
/// address that the client contacted (lesson 31) and connected to the client: from then on, the kernel gives that socket what the client sends.
///
///     listener  0.0.0.0:53                     first datagrams, and what was queued behind them
///     flow      198.51.100.1:53 > client:1234  the rest, and all answers
///
/// Where the port may not be bound a second time, as one below 1024 without the right to it, the listener speaks for the client: all comes and goes there.
///
/// Between its bind and its connect, a flow's socket may be given datagrams of other clients: those are treated as if they had come to
/// the listener (lesson 32).
extension UDPTranslator {
    /// Where a client's datagram came in: a listener's socket, if it was that one, and its index + 1.
    struct Origin {
        let socket: Descriptor
        let number: UInt32
    }

    private static var inboundBudget: Int { 4 }
    /// IPv4's limit; IPv6's is lower here, for it shares the frame with a longer header.
    private static var mostInbound: Int { 65507 }

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

    /// nil for what is nobody's in particular.
    private func arrived(_ number: Int, at offset: Int) -> ArrivedDatagram? {
        guard let source = incoming.source(number), source.port != 0, let contacted = incoming.destination(number), contacted.isOwn,
            contacted.address.isIPv4 == source.address.isIPv4
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
        let local = Endpoint(contacted.address, listener.port)
        let start = slot + SlotLayout.udpPayload(IPAddress(IPv6Address.any)) - SlotLayout.udpPayload(destination)
        let origin = Origin(socket: listener.socket, number: UInt32(truncatingIfNeeded: index + 1))
        enter(number, slot: start, key, from: source, to: local, origin, &port, now: now)
    }

    /// A datagram of another than the flow's remote, which a listener should have been given.
    mutating func reroute<Link: GuestLink & ~Copyable>(
        _ number: Int, slot: Int, from flow: UDPFlow, _ port: inout GuestPort<Link>, now: Int64
    ) {
        guard !flow.flags.isDisjoint(with: [.inbound, .besideListener]), let source = incoming.source(number), source.port != 0,
            let local = try? flow.socket.localAddress().endpoint, !local.address.isAny,
            let seen = translation.inboundSource(source.address, local: local.address)
        else {
            port.counters.add(.udpStrays)
            return
        }
        let key = FlowKey(guest: flow.key.guest, guestPort: flow.key.guestPort, remote: seen, remotePort: source.port)
        enter(number, slot: slot, key, from: source, to: local, Origin(socket: .none, number: flow.listener), &port, now: now)
    }

    /// Passes a datagram on through its flow, which is made if need be. One that leads elsewhere gives way: the client has contacted
    /// another of our addresses, from which it expects the answer.
    private mutating func enter<Link: GuestLink & ~Copyable>(
        _ number: Int, slot: Int, _ key: FlowKey, from source: Endpoint, to local: Endpoint, _ origin: Origin, _ port: inout GuestPort<Link>,
        now: Int64
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
        if let found = index, !leads(table[found], from: local, origin.socket) {
            close(found, &port)
            index = nil
        }
        if index == nil {
            index = openToGuest(key, from: source, to: local, origin, scope: incoming.sourceScope(number), &port, now: now)
        }
        guard let index else { return }
        use(index, now: now)
        pass(number, slot: slot, key, &port)
    }

    private func leads(_ flow: UDPFlow, from local: Endpoint, _ listener: Descriptor) -> Bool {
        if flow.flags.contains(.byListener) { return flow.socket == listener && flow.contacted == local.address }
        return (try? flow.socket.localAddress().endpoint) == local
    }

    // MARK: Opening

    private mutating func openToGuest<Link: GuestLink & ~Copyable>(
        _ key: FlowKey, from source: Endpoint, to local: Endpoint, _ origin: Origin, scope: Int32, _ port: inout GuestPort<Link>, now: Int64
    ) -> Int? {
        if !makeRoom(inbound: true, &port, now: now) {
            port.counters.add(.udpTableFull)
            return nil
        }
        let coalesces = port.offloads.contains(.udpSegmentation)
        do throws(Errno) {
            // A listener that comes back finds the port in the hands of flows that may share it.
            var opened = OpenSocket(socket: .none, flags: local.port == key.guestPort ? [.inbound, .claimsPort] : .inbound)
            do throws(Errno) {
                opened.socket = try openSocket(from: source, to: local, scope: scope, coalesces: coalesces)
            } catch {
                if error.code == 13, origin.socket.isOpen {  // EACCES
                    opened = OpenSocket(socket: origin.socket, flags: [.inbound, .byListener], contacted: local.address)
                } else {
                    // Another flow may hold what is missing.
                    guard error.isLackOfDescriptors else { throw error }
                    lacksDescriptors = true
                    guard endOldest(&port, now: now) else { throw error }
                    opened.socket = try openSocket(from: source, to: local, scope: scope, coalesces: coalesces)
                }
            }
            opened.listener = origin.number
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
            if table.isUsed(index), table[index].listener == number { close(index, &port) }
            index += 1
        }
    }

    private func openSocket(from source: Endpoint, to local: Endpoint, scope: Int32, coalesces: Bool) throws(Errno) -> Descriptor {
        let socket = try Descriptor.socket(.datagram, for: source.address)
        do throws(Errno) {
            let isIPv4 = source.address.isIPv4
            if !isIPv4 { try socket.setIPv6Only() }
            try socket.setReportErrors(isIPv4: isIPv4)
            try socket.setMayFragment(isIPv4: isIPv4)
            if coalesces { try? socket.setCoalescing() }
            if translation.freebind { try socket.setFreebind(isIPv4: isIPv4) }
            try socket.setReuseAddress()
            try socket.bind(SocketAddress(local, scope: scope))
            _ = try socket.connect(SocketAddress(source, scope: scope))
            return socket
        } catch {
            socket.close()
            throw error
        }
    }
}
