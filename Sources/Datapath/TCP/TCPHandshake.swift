internal import Linux
internal import Wire

extension TCPTranslator where Sockets: ~Copyable {
    /// The window scale we offer: windows of up to 16 MiB.
    static var offeredWindowScale: UInt8 { 8 }
    /// Retransmissions of a SYN to the guest before it counts as unreachable.
    static var synRetries: UInt8 { 6 }

    // MARK: The guest opens

    /// A SYN of an unknown flow: connect, and answer when the host's peer has.
    mutating func openToHost<Link: GuestLink & ~Copyable>(_ segment: GuestSegment, _ port: inout GuestPort<Link>, now: Int64) {
        let header = segment.header
        let key = segment.key
        guard key.guestPort != 0, key.remotePort != 0, key.guest.isSaneSource, !key.remote.isMulticast, key.remote != IPAddress(IPv4Address.broadcast) else {
            port.counters.add(.droppedAddress)
            return
        }
        guard let remote = translation.toHost(key.remoteEndpoint) else {
            port.counters.add(.droppedAddress)
            if translation.lacksResolver(key.remoteEndpoint) { resetUnknown(segment, &port) }
            return
        }
        var connection = TCPConnection(key: key, socket: .none)
        connection.initialFromGuest = header.sequence
        connection.expected = header.sequence + 1
        connection.acknowledged = header.sequence + 1
        connection.windowEdge = header.sequence + 1
        connection.farAcknowledged = header.sequence + 1
        connection.heardAt = UInt32(truncatingIfNeeded: now)
        TCPTranslator.takeOptions(header, &connection)
        port.mtu.learn(fromSyn: header, of: key.guest, now: now)
        connection.initialToGuest = initialSequence(key, now: now)
        guard makeRoom(inbound: false, &port), let index = table.insert(connection) else {
            port.counters.add(.tcpTableFull)
            refuse(connection, &port)
            return
        }
        do throws(Errno) {
            // The last two bits are ECN's, which is the kernel's matter on each side.
            table[index].socket = try connect(index, to: remote, typeOfService: segment.typeOfService & ~3, &port)
            openings -= 1
            halfOpenOut.use(index)
            port.counters.add(.tcpOpened)
        } catch {
            table.remove(index)
            port.counters.add(.tcpSocketFailed)
            reportFailure(error, connection, &port)
            return
        }
        // A peer on this machine has answered within the call.
        if look(index, now: now) { answerSyn(index, &port, now: now) }
    }

    /// What fits into an IP packet behind its headers.
    static func largestSegment(isIPv4: Bool) -> UInt16 { isIPv4 ? 65495 : 65475 }

    private static func takeOptions(_ header: TCPHeader, _ connection: inout TCPConnection) {
        let limit = largestSegment(isIPv4: connection.key.guest.isIPv4)
        connection.segmentSize = min(max(header.maximumSegmentSize ?? 536, 88), limit)
        // What the guest is told is at least what it uses: its own interface may carry less.
        connection.guestSegmentSize = connection.segmentSize
        if let scale = header.windowScale {
            connection.guestWindowScale = scale
            connection.windowScale = TCPTranslator.offeredWindowScale
        } else {
            connection.guestWindowScale = 0
            connection.windowScale = 0
        }
        // A window in a segment with SYN is never scaled (RFC 7323, section 2.2).
        connection.guestWindow = UInt32(header.window)
    }

    /// The socket has connected, or has failed to.
    mutating func connectionDecided<Link: GuestLink & ~Copyable>(
        _ index: Int, _ events: Epoll.Events, _ port: inout GuestPort<Link>, now: Int64
    ) {
        if events.contains(.error) || events.contains(.hangUp) {
            let connection = table[index]
            // A connection that was made and lost at once has no error left: the guest sees a reset either way.
            let error = sockets.connectionError(connection.socket) ?? Errno(104)
            abort(index, &port)
            reportFailure(error, connection, &port)
            return
        }
        guard events.contains(.output) else { return }
        if events.contains(.input) || events.contains(.readHangUp) { table[index].events.insert(.hasInput) }
        if events.contains(.readHangUp) { table[index].events.insert(.inputEnds) }
        look(index, now: now)
        answerSyn(index, &port, now: now)
    }

    private mutating func answerSyn<Link: GuestLink & ~Copyable>(_ index: Int, _ port: inout GuestPort<Link>, now: Int64) {
        let start = table[index].initialToGuest
        table[index].next = start + 1
        table[index].highest = start + 1
        table[index].unacknowledged = start
        table[index].queueStart = start + 1
        table[index].events.insert(.synSent)
        sendSyn(index, &port, now: now)
    }

    // MARK: The host's peer opens

    /// A connection that a listener has accepted, to be opened towards the guest. The socket is ours from here on.
    mutating func openToGuest<Link: GuestLink & ~Copyable>(
        _ socket: Descriptor, key: FlowKey, _ port: inout GuestPort<Link>, now: Int64
    ) {
        var connection = TCPConnection(key: key, socket: socket)
        connection.events.formUnion([.opensToGuest, .synSent, .isInbound])
        connection.heardAt = UInt32(truncatingIfNeeded: now)
        connection.initialToGuest = initialSequence(key, now: now)
        connection.next = connection.initialToGuest + 1
        connection.highest = connection.next
        connection.unacknowledged = connection.initialToGuest
        connection.queueStart = connection.next
        connection.windowScale = TCPTranslator.offeredWindowScale
        if let earlier = table.find(key), !givesWay(earlier, &port, now: now) {
            port.counters.add(.tcpAddressInUse)
            sockets.abort(socket)
            return
        }
        guard makeRoom(inbound: true, &port), let index = table.insert(connection) else {
            port.counters.add(.tcpTableFull)
            sockets.abort(socket)
            return
        }
        do throws(Errno) {
            try sockets.adopt(socket, tag: TCPTranslator.tag(index, generation: table.generation(of: index)))
        } catch {
            port.counters.add(.tcpSocketFailed)
            lacksDescriptors = lacksDescriptors || error.isLackOfDescriptors
            table.remove(index)
            sockets.abort(socket)
            return
        }
        port.counters.add(.tcpOpened)
        inboundCount += 1
        halfOpenIn.use(index)
        if port.guestMAC == .broadcast { sought = connection.key.guest }
        look(index, now: now)
        sendSyn(index, &port, now: now)
    }

    /// The guest's link address is known now. What went to everybody was heard by nobody: Linux takes TCP only from frames to itself.
    mutating func guestWasFound<Link: GuestLink & ~Copyable>(_ port: inout GuestPort<Link>, now: Int64) {
        for index in 0..<table.highWater where table.isUsed(index) && table[index].events.contains(.opensToGuest) && !table[index].events.contains(.established) {
            (table[index].retransmissions, table[index].refusals) = (0, 0)
            repeatSyn(index, &port, now: now)
        }
    }

    /// Ends `index`, whose client has opened another connection from the same address and port, if the kernel knows nothing more of it; we may not have heard of that yet,
    /// or the guest has not acknowledged its end. False where it goes on: it came by another address of the host, or the guest has not got all of it.
    private mutating func givesWay<Link: GuestLink & ~Copyable>(_ index: Int, _ port: inout GuestPort<Link>, now: Int64) -> Bool {
        let connection = table[index]
        if !connection.events.contains(.mustReset) {
            guard let path = sockets.path(connection.socket), path.isOver else { return false }
            let owesNothing = connection.events.contains([.finSent, .finFromGuest]) && connection.flight <= 1
            guard owesNothing || connection.events.contains(.hasFailed) || sockets.connectionError(connection.socket) != nil else { return false }
            if owesNothing {
                close(index, &port, now: now)
                return true
            }
            _ = resetGuest(index, &port)
        }
        abort(index, &port)
        return true
    }

    // MARK: SYNs and their acknowledgements

    /// A segment with SYN on a known flow. True when it was dealt with for good.
    mutating func takeSyn<Link: GuestLink & ~Copyable>(
        _ segment: GuestSegment, _ index: Int, _ port: inout GuestPort<Link>, now: Int64
    ) {
        let header = segment.header
        let connection = table[index]
        if connection.events.contains(.established) {
            // Both sides had finished and only our FIN's acknowledgement was lost: the guest starts anew (lesson 25).
            // With that too, its new number may be any but the old one, of which this is a late copy.
            let isOver = connection.events.contains([.finSent, .finFromGuest]) && header.sequence != connection.initialFromGuest
            if isOver, !header.flags.contains(.ack), header.sequence > connection.expected || connection.events.contains(.finAcknowledged) {
                close(index, &port, now: now)
                openToHost(segment, &port, now: now)
                return
            }
            // RFC 5961, section 4: a guest that has forgotten the connection answers this with a reset.
            table[index].events.insert(.mustAcknowledge)
            touch(index)
            return
        }
        if !connection.events.contains(.opensToGuest) {
            if header.flags.contains(.ack) {
                // Both SYNs have crossed, and this answers ours.
                guard connection.events.contains(.synSent), header.sequence == connection.initialFromGuest,
                    header.acknowledgment == connection.initialToGuest + 1
                else { return }
                establish(index, now: now)
                sendControl(index, .ack, &port)
                touch(index)
                return
            }
            if header.sequence != connection.initialFromGuest {
                // Another connection attempt from the same port: the first one was given up.
                abort(index, &port)
                openToHost(segment, &port, now: now)
            } else if connection.events.contains(.synSent) {
                sendSyn(index, &port, now: now)
            }
            return
        }
        // The answer to our SYN, or a SYN that crossed it (simultaneous open).
        if header.flags.contains(.ack), header.acknowledgment != connection.initialToGuest + 1 {
            resetUnknown(segment, &port)
            return
        }
        TCPTranslator.takeOptions(header, &table[index])
        port.mtu.learn(fromSyn: header, of: segment.key.guest, now: now)
        table[index].initialFromGuest = header.sequence
        table[index].expected = header.sequence + 1
        table[index].acknowledged = header.sequence + 1
        table[index].windowEdge = header.sequence + 1
        table[index].farAcknowledged = header.sequence + 1
        if header.flags.contains(.ack) {
            establish(index, now: now)
            // On its own, before any data (lesson 18).
            sendControl(index, .ack, &port)
            touch(index)
        } else {
            table[index].events.remove(.opensToGuest)
            sendSyn(index, &port, now: now)
        }
    }

    /// The guest has acknowledged our SYN.
    mutating func establish(_ index: Int, now: Int64) {
        table[index].events.insert(.established)
        forgetHalfOpen(index)
        table[index].unacknowledged = table[index].initialToGuest + 1
        table[index].retransmissions = 0
        table[index].retransmitAt = 0
    }

    // MARK: Failure

    /// Tells the guest why its connection attempt failed: by an ICMP error where one fits, else by a reset.
    private mutating func reportFailure<Link: GuestLink & ~Copyable>(
        _ error: Errno, _ connection: TCPConnection, _ port: inout GuestPort<Link>
    ) {
        guard let problem = Unreachable(error) else {
            refuse(connection, &port)
            return
        }
        port.sendUnreachable(problem, to: connection.key, proto: .tcp, quoting: connection.initialFromGuest.value)
    }

    /// RFC 9293, section 3.5.2: a reset that answers a SYN acknowledges it (lesson 4).
    mutating func refuse<Link: GuestLink & ~Copyable>(_ connection: TCPConnection, _ port: inout GuestPort<Link>) {
        port.counters.add(.tcpResetsToGuest)
        port.sendSegment(
            TCPHeader(
                sourcePort: connection.key.remotePort, destinationPort: connection.key.guestPort, sequence: SequenceNumber(0),
                acknowledgment: connection.initialFromGuest + 1, flags: [.rst, .ack], window: 0),
            key: connection.key)
    }

    /// A segment that belongs to no connection (RFC 9293, section 3.10.7.1; lesson 24).
    mutating func resetUnknown<Link: GuestLink & ~Copyable>(_ segment: GuestSegment, _ port: inout GuestPort<Link>) {
        let header = segment.header
        if header.flags.contains(.rst) { return }
        port.counters.add(.tcpResetsToGuest)
        var answer = TCPHeader(
            sourcePort: segment.key.remotePort, destinationPort: segment.key.guestPort, sequence: SequenceNumber(0),
            acknowledgment: SequenceNumber(0), flags: .rst, window: 0)
        if header.flags.contains(.ack) {
            answer.sequence = header.acknowledgment
        } else {
            answer.flags = [.rst, .ack]
            answer.acknowledgment = header.sequence + header.sequenceLength
        }
        port.sendSegment(answer, key: segment.key)
    }

    /// RFC 6528: a clock of 4 us, and an offset that only who knows the key can tell.
    private func initialSequence(_ key: FlowKey, now: Int64) -> SequenceNumber {
        SequenceNumber(UInt32(truncatingIfNeeded: key.hash(seed)) &+ UInt32(truncatingIfNeeded: now &* 250))
    }
}
