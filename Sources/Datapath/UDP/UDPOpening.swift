internal import Linux
internal import Wire

extension UDPTranslator {
    /// A new flow for the first datagram of the guest; nil when there can be none, which the guest has been told.
    mutating func openToHost<Link: GuestLink & ~Copyable>(
        _ datagram: GuestDatagram, _ port: inout GuestPort<Link>, now: Int64
    ) -> Int? {
        let key = datagram.key
        guard key.guestPort != 0, key.remotePort != 0, key.guest.isSaneSource, key.guest.isIPv4 == key.remote.isIPv4 else {
            port.counters.add(.droppedAddress)
            return nil
        }
        guard let remote = translation.toHost(key.remoteEndpoint) else {
            port.counters.add(.droppedAddress)
            // RFC 1122, section 3.2.2.1.
            if translation.lacksResolver(key.remoteEndpoint) { report(.port, datagram, &port) }
            return nil
        }
        if !makeRoom(inbound: false, &port, now: now) {
            port.counters.add(.udpTableFull)
            report(.prohibited, datagram, &port)
            return nil
        }
        do throws(Errno) {
            let coalesces = port.offloads.contains(.udpSegmentation)
            let opened = try openMakingRoom(&port, now: now) { udp throws(Errno) in try udp.openSocket(datagram, remote, coalesces: coalesces) }
            openings -= 1
            return try insert(key, remote, opened, &port, now: now)
        } catch {
            port.counters.add(.udpSocketFailed)
            report(Unreachable(error) ?? .prohibited, datagram, &port)
            return nil
        }
    }

    /// What `open` makes: where it lacks a descriptor, once more with that of another flow.
    mutating func openMakingRoom<Link: GuestLink & ~Copyable>(
        _ port: inout GuestPort<Link>, now: Int64, _ open: (borrowing UDPTranslator) throws(Errno) -> OpenSocket
    ) throws(Errno) -> OpenSocket {
        do throws(Errno) {
            return try open(self)
        } catch {
            guard error.isLackOfDescriptors else { throw error }
            lacksDescriptors = true
            guard endOldest(&port, now: now) else { throw error }
            return try open(self)
        }
    }

    /// Enters a flow into the table and its socket into epoll, or closes the socket.
    mutating func insert<Link: GuestLink & ~Copyable>(
        _ key: FlowKey, _ remote: Endpoint, _ opened: OpenSocket, _ port: inout GuestPort<Link>, now: Int64
    ) throws(Errno) -> Int {
        let isIPv4 = remote.address.isIPv4
        let isOwn = !opened.flags.contains(.byListener)
        let flow = UDPFlow(
            key: key, remote: remote, socket: opened.socket, origin: opened.origin, flags: opened.flags,
            hopLimit: remote.address.isMulticast ? 1 : isIPv4 ? defaultHopLimit.ipv4 : defaultHopLimit.ipv6, usedAt: now)
        guard let index = table.insert(flow) else {
            if isOwn { opened.socket.close() }
            throw Errno(12)  // ENOMEM
        }
        do throws(Errno) {
            let tag = EventTag(.udp, index: index, generation: table.generation(of: index))
            if isOwn { try epoll.add(opened.socket, .input, tag: tag.bits) }
        } catch {
            table.remove(index)
            opened.socket.close()
            throw error
        }
        if opened.flags.contains(.claimsPort) { ports.claim(key.guestPort, isIPv4: isIPv4) }
        if opened.substitute != 0, substitutes.note(key.guest, key.guestPort, isIPv4: isIPv4, port: opened.substitute) {
            table[index].flags.insert(.hasSubstitute)
        }
        if opened.origin.isListener {
            listenerFlows[Int(opened.origin.number)] += 1
            if isOwn { separated[Int(opened.origin.number)] += 1 }
        }
        timers.set(index, at: now + timeouts.oneWay)
        if opened.flags.contains(.inbound) { inboundCount += 1 }
        noteUse(index)
        port.counters.add(.udpOpened)
        return index
    }

    private func report<Link: GuestLink & ~Copyable>(
        _ problem: Unreachable, _ datagram: GuestDatagram, _ port: inout GuestPort<Link>
    ) {
        // Nobody reports errors about what was sent to many (RFC 1122, section 3.2.2; RFC 4443, section 2.4 (e.3) to (e.5)). That an address is the broadcast
        // address of a network, only the frame says so far.
        if datagram.isForMany || datagram.key.remote.isGroup { return }
        let error = problem.error(isIPv4: datagram.key.guest.isIPv4)
        port.sendICMPError(error, from: datagram.key.remote, quoting: QuotedPacket(datagram.key, udpPayload: datagram.datagramLength))
    }

    // MARK: Sockets

    struct OpenSocket {
        var socket: Descriptor
        var flags: UDPFlow.Flags
        var origin = UDPOrigin()
        /// The port that it has instead of the guest's; 0: it has that, or is not to be like others.
        var substitute: UInt16 = 0
    }

    private func openSocket(_ datagram: GuestDatagram, _ remote: Endpoint, coalesces: Bool) throws(Errno) -> OpenSocket {
        let opened = try openSocket(datagram, remote, keepsPort: true, coalesces: coalesces)
        // On the host itself, the guest's port may be the very one that it talks to: such a socket would hear itself.
        let mayBeSelf = remote.address.isLoopback || remote.port == datagram.key.guestPort || remote.port == opened.substitute
        guard mayBeSelf, !opened.flags.contains(.group), (try? opened.socket.localAddress().endpoint) == remote else { return opened }
        opened.socket.close()
        return try openSocket(datagram, remote, keepsPort: false, coalesces: coalesces)
    }

    private func openSocket(_ datagram: GuestDatagram, _ remote: Endpoint, keepsPort: Bool, coalesces: Bool) throws(Errno) -> OpenSocket {
        let key = datagram.key
        let socket = try Descriptor.socket(.datagram, for: remote.address)
        do throws(Errno) {
            var opened = OpenSocket(socket: socket, flags: [])
            let isIPv4 = remote.address.isIPv4
            if !isIPv4 { try socket.setIPv6Only() }
            try socket.setReportErrors(isIPv4: isIPv4)
            // What the guest has cut is put together before it gets here: what is too large for the way is cut here or on it.
            try socket.setMayFragment(isIPv4: isIPv4)
            if coalesces { try? socket.setCoalescing() }
            let place = try prepareBinding(socket, towards: remote.address)
            if keepsPort { try bind(&opened, key, place, isIPv4: isIPv4) } else { try socket.bind(place.at(0)) }
            if remote.address.isGroup {
                try prepareGroup(socket, remote.address)
                opened.flags.insert(.group)
                return opened
            }
            if beginsTransfer(datagram) {
                try prepareUnconnected(socket, isIPv4: isIPv4)
                opened.flags.insert(.transfer)
                return opened
            }
            do throws(Errno) {
                _ = try socket.connect(peer(remote))
            } catch {
                // EACCES: the broadcast address of a network that the host is in, or a way that is forbidden.
                guard error.code == 13, isIPv4 else { throw error }
                try checkBroadcast(socket, remote)
                try prepareGroup(socket, remote.address)
                opened.flags.insert(.group)
            }
            return opened
        } catch {
            socket.close()
            throw error
        }
    }

    /// An address to bind to.
    private struct Place {
        var address: IPAddress
        var scope: Int32 = 0

        func at(_ port: UInt16) -> SocketAddress { SocketAddress(Endpoint(address, port), scope: scope) }
    }

    /// Does what the options ask for.
    private func prepareBinding(_ socket: Descriptor, towards remote: IPAddress) throws(Errno) -> Place {
        let family = translation.family(of: remote)
        let isIPv4 = remote.isIPv4
        if let index = family.outboundInterface(towards: remote) { try socket.bindToInterface(index: index) }
        if !remote.isLoopback {
            if translation.freebind { try socket.setFreebind(isIPv4: isIPv4) }
            if let outbound = family.outboundAddress { return Place(address: outbound, scope: translation.scope(of: outbound)) }
        }
        return Place(address: isIPv4 ? IPAddress(IPv4Address.any) : IPAddress(IPv6Address.any))
    }

    /// Binds to the guest's port if it is free or ours, else to the one that other flows have instead of it, or that the kernel chooses (`PortSubstitutes`). While there is such a
    /// one, all flows have it, although the guest's may be free again.
    private func bind(_ opened: inout OpenSocket, _ key: FlowKey, _ place: Place, isIPv4: Bool) throws(Errno) {
        let socket = opened.socket
        if let substitute = substitutes.find(key.guest, key.guestPort, isIPv4: isIPv4) {
            if try bind(socket, place, substitute, isOurs: true) {
                opened.substitute = substitute
                return
            }
        } else if try bind(socket, place, key.guestPort, isOurs: ports.isOurs(key.guestPort, isIPv4: isIPv4)) {
            opened.flags.insert(.claimsPort)
            if ports.isListened(key.guestPort, isIPv4: isIPv4) { opened.flags.insert(.besideListener) }
            return
        }
        // The kernel would choose one that others share, too.
        try socket.setReuseAddress(false)
        try socket.bind(place.at(0))
        // For those that follow.
        try socket.setReuseAddress()
        opened.substitute = try socket.localAddress().endpoint?.port ?? 0
    }

    /// False where `port` is not to be had.
    private func bind(_ socket: Descriptor, _ place: Place, _ port: UInt16, isOurs: Bool) throws(Errno) -> Bool {
        let place = place.at(port)
        if isOurs { try socket.setReuseAddress() }
        do throws(Errno) {
            if isOurs {
                try sharing.share(port) { () throws(Errno) in try socket.bind(place) }
            } else {
                try socket.bind(place)
                // Only now: who has the port before us keeps it for itself, while our own later sockets may share it.
                try socket.setReuseAddress()
            }
            return true
        } catch {
            // EADDRINUSE; EACCES below 1024 without privilege. Any other port will do.
            guard error.code == 98 || error.code == 13 || error.code == 1 else { throw error }
            return false
        }
    }

    /// Throws EACCES where what `socket` was refused is no broadcast address but forbidden, by a route of type prohibit: another may go to the former.
    private func checkBroadcast(_ socket: Descriptor, _ remote: Endpoint) throws(Errno) {
        let probe = try Descriptor.socket(.datagram, for: remote.address)
        defer { probe.close() }
        if let index = translation.family(of: remote.address).outboundInterface(towards: remote.address) { try probe.bindToInterface(index: index) }
        try probe.setBroadcast()
        _ = try probe.connect(peer(remote))
    }

    private func prepareGroup(_ socket: Descriptor, _ remote: IPAddress) throws(Errno) {
        let isIPv4 = remote.isIPv4
        let interface = translation.family(of: remote).linkInterface
        try prepareUnconnected(socket, isIPv4: isIPv4)
        if remote.isMulticast {
            if interface > 0 { try socket.setMulticastInterface(index: interface, isIPv4: isIPv4) }
        } else {
            try socket.setBroadcast()
            if interface > 0, remote == IPAddress(IPv4Address.broadcast) { try socket.bindToInterface(index: interface) }
        }
    }

    func prepareUnconnected(_ socket: Descriptor, isIPv4: Bool) throws(Errno) {
        // Nothing that comes for a group or for all may go back to the guest, which may have sent it itself (lesson 36).
        try socket.setOwnGroupsOnly(isIPv4: isIPv4)
        try socket.setPacketInformation(isIPv4: isIPv4)
    }
}
