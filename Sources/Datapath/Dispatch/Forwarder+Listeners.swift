internal import Linux
internal import Wire

/// Forwarded ports: what others open towards the guest.
extension Forwarder where Link: ~Copyable, Sockets: ~Copyable {
    /// Connections of one listener before others have their turn.
    private static var budget: Int { 16 }
    /// Milliseconds that a listener which could not accept is left alone.
    private static var pause: Int64 { 100 }

    mutating func listen(on port: ForwardedPort) throws(Errno) -> Int {
        let entry = ListenerEntry(
            port.socket, isTCP: port.isTCP, isOutbound: port.isOutbound, address: port.address, port: port.port,
            ListenerTarget(port: port.targetPort, address: port.targetAddress), interface: port.interface, hasIPv4: port.hasIPv4)
        return try listen(entry)
    }

    /// Returns the listener's index, for `stopListening`.
    mutating func listen(_ entry: ListenerEntry) throws(Errno) -> Int {
        if !entry.isTCP, !entry.isOutbound, port.offloads.contains(.udpSegmentation) { try? entry.socket.setCoalescing() }
        let index = try listeners.add(entry, to: epoll)
        if !entry.isTCP, !entry.isOutbound { udp.sharing.add(index, entry) }
        if sharesGuestPort(entry) {
            if entry.hasIPv4 { udp.ports.listen(entry.port, isIPv4: true) }
            if entry.hasIPv6 { udp.ports.listen(entry.port, isIPv4: false) }
        }
        return index
    }

    /// Takes the socket over, or closes it.
    mutating func listenOrClose(_ entry: ListenerEntry) throws(Errno) -> Int {
        do throws(Errno) {
            return try listen(entry)
        } catch {
            entry.socket.close()
            throw error
        }
    }

    /// Closes a listener. Connections that came by it go on; those of datagrams end.
    mutating func stopListening(_ index: Int) {
        let entry = listeners[index]
        if !entry.isTCP { udp.endFlows(of: index, &port) }
        if !entry.isTCP, !entry.isOutbound { udp.sharing.remove(index, port: entry.port) }
        listeners.remove(index)
        if sharesGuestPort(entry) {
            if entry.hasIPv4 { udp.ports.stopListening(entry.port, isIPv4: true) }
            if entry.hasIPv6 { udp.ports.stopListening(entry.port, isIPv4: false) }
        }
    }

    /// The guest's own socket behind this port sends from the port that we listen on.
    private func sharesGuestPort(_ entry: ListenerEntry) -> Bool {
        !entry.isTCP && !entry.isOutbound && entry.port == entry.target.port && entry.target.address == nil
    }

    mutating func acceptInbound(_ index: Int, _ mask: Epoll.Events, now: Int64) {
        let listener = listeners[index]
        // That it is none any more is told whatever else goes wrong.
        if listener.isTCP, mask.contains(.hangUp) { return retire(index) }
        if !listener.isTCP {
            if listener.isOutbound {
                bypass.outboundDatagrams.openings = guestRoom(now: now)
                bypass.outboundDatagrams.receive(on: listener, index, &port.counters, now: now)
            } else {
                udp.receiveInbound(on: listener, index, guest, &bypass, &port, now: now)
            }
            return
        }
        // Level-triggered: whoever waits beyond the limit wakes us again, and one who comes alone costs no second look.
        let limit = acceptLimit
        for count in 0..<limit {
            do throws(Errno) {
                // Two descriptors by the bypass.
                let hasRoom = listener.isOutbound ? guestRoom(now: now) >= 2 : hasRoomForClient(now: now)
                if !hasRoom { throw Errno(24) }  // EMFILE
                try bypass.reserve(listener)
            } catch {
                return pause(index, now: now)
            }
            do throws(Errno) {
                guard let (socket, source) = try listener.socket.accept() else {
                    acceptLimit = max(count, 1)
                    fullAccepts = 0
                    return
                }
                openInbound(socket, source, listener, now: now)
            } catch {
                if error.isNoListener { return retire(index) }
                // What else went wrong with one connection says nothing of the next (accept(2)).
                if error.isLackOfDescriptors { tcp.lacksDescriptors = true }
                if error.isLackOfResources || error.isForbidden { return pause(index, now: now) }
            }
        }
        fullAccepts += 1
        if fullAccepts >= 8 { acceptLimit = min(limit * 2, Forwarder.budget) }
    }

    private mutating func pause(_ index: Int, now: Int64) {
        listeners.pause(index, in: epoll)
        pauseListening(now: now)
    }

    /// Somebody with the right to it has ended our listener (`ss -K`): it would wake us for ever, and nobody comes by it again.
    private mutating func retire(_ index: Int) {
        let entry = listeners[index]
        if entry.isAutomatic {
            // The next look opens it again.
            portWatch.forget(listener: index, port: entry.port, isInbound: !entry.isOutbound)
            stopListening(index)
        } else {
            listeners.retire(index, in: epoll)
            endedListeners = EndedListeners(isTCP: entry.isTCP, port: entry.port, count: endedListeners.count + 1)
        }
        port.counters.add(.listenersEnded)
    }

    mutating func takeEndedListeners() -> EndedListeners {
        defer { endedListeners = EndedListeners() }
        return endedListeners
    }

    /// A listener was told to wait, and must be told to go on.
    mutating func pauseListening(now: Int64) {
        port.counters.add(.listenersPaused)
        listenersResumeAt = min(listenersResumeAt, now + Forwarder.pause)
    }

    mutating func resumeListeners() {
        listenersResumeAt = .max
        listeners.resumeAll(in: epoll)
        port.link.resume()
    }

    private mutating func openInbound(_ socket: Descriptor, _ source: SocketAddress, _ listener: ListenerEntry, now: Int64) {
        if let client = source.endpoint?.address, bypass.takes(client, listener) {
            if bypass.open(socket, from: client, listener, guest, &port.counters) { return }
            if listener.isOutbound || bypass.isOnlyWay {
                tcp.sockets.abort(socket)
                return
            }
        }
        port.counters.add(.tcpAccepted)
        // A machine that is off, or has moved away: the client hears it now, and not when all SYNs have gone nowhere.
        guard port.link.hasGuest else {
            port.counters.add(.inboundWithoutGuest)
            tcp.sockets.abort(socket)
            return
        }
        guard let key = inboundKey(socket, source, listener.target) else {
            port.counters.add(.inboundUnanswerable)
            tcp.sockets.abort(socket)
            return
        }
        tcp.openToGuest(socket, key: key, &port, now: now)
    }

    /// `mutating`: see `Forwarder+Limits`.
    private mutating func inboundKey(_ socket: Descriptor, _ source: SocketAddress, _ target: ListenerTarget) -> FlowKey? {
        guard let peer = source.endpoint, let local = try? socket.localAddress().endpoint,
            let seen = tcp.translation.inboundSource(peer.address, local: local.address),
            let destination = guest.destination(for: seen, target: target.address, mac: port.guestMAC)
        else { return nil }
        var key = FlowKey(guest: destination, guestPort: target.port, remote: seen, remotePort: peer.port)
        // Several addresses of the host may be one to the guest, where their ports must differ.
        if seen != peer.address {
            for _ in 0..<64 where tcp.table.find(key) != nil { key.remotePort = key.remotePort == .max ? 1024 : key.remotePort + 1 }
        }
        return key
    }
}
