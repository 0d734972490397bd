internal import Linux
internal import Wire

/// A datagram of the guest, or several as one, that waits for the end of the round; its number is that of its payload.
struct PendingDatagram: BitwiseCopyable {
    var length: Int
    var segmentSize: Int
    /// The next one of the same flow: number + 1, 0 for none.
    var next: UInt16 = 0

    /// Bytes of the datagram that begins at `offset`.
    func datagramLength(at offset: Int) -> Int { min(segmentSize > 0 ? segmentSize : length, length - offset) }
}

/// A place among a flow's pending datagrams.
struct PendingPosition: BitwiseCopyable {
    /// Number + 1; 0 behind the last.
    var entry: UInt16
    /// Bytes of it that were dealt with.
    var offset = 0
}

/// What is to be done about a message that was not sent.
enum UDPSendFailure: Equatable {
    /// The error may be that of an earlier datagram.
    case retry
    /// No room in the socket; nothing else will go out now.
    case noRoom
    /// The kernel will not cut it.
    case sendSingly
    case unreachable(Unreachable)
    case lost

    @_noAllocation @_noLocks
    init(_ error: Errno, isSegmented: Bool, wasRetried: Bool) {
        switch error.code {
        case 11, 105: self = .noRoom  // EAGAIN, ENOBUFS
        case _ where !wasRetried: self = .retry
        case 22, 90, 5: self = isSegmented ? .sendSingly : .lost  // EINVAL, EMSGSIZE, EIO
        case 100, 101: self = .unreachable(.network)  // ENETDOWN, ENETUNREACH
        case 112, 113: self = .unreachable(.host)  // EHOSTDOWN, EHOSTUNREACH
        case 1, 13: self = .unreachable(.prohibited)  // EPERM, EACCES
        default: self = .lost
        }
    }
}

extension UDPTranslator {
    /// More datagrams than this in one frame are not believed.
    private static var mostSegments: Int { 512 }

    /// Gives the socket the hop limit and type of service of a datagram that is about to be pending. False when it cannot be sent.
    mutating func adopt<Link: GuestLink & ~Copyable>(
        _ datagram: GuestDatagram, _ index: Int, _ port: inout GuestPort<Link>, now: Int64
    ) -> Bool {
        if datagram.segmentSize > 0, datagram.payloadLength / datagram.segmentSize > UDPTranslator.mostSegments {
            port.counters.add(.droppedMalformed)
            return false
        }
        let flow = table[index]
        // What is set on a listener is set for all.
        if flow.flags.contains(.byListener) { return true }
        let isIPv4 = flow.remote.address.isIPv4
        if datagram.hopLimit != flow.hopLimit, datagram.hopLimit > 0 {
            flushPending(&port, now: now)
            table[index].hopLimit = datagram.hopLimit
            if flow.remote.address.isMulticast {
                try? flow.socket.setMulticastHopLimit(datagram.hopLimit, isIPv4: isIPv4)
            } else {
                try? flow.socket.setHopLimit(datagram.hopLimit, isIPv4: isIPv4)
            }
        }
        if datagram.typeOfService != flow.typeOfService {
            flushPending(&port, now: now)
            table[index].typeOfService = datagram.typeOfService
            try? flow.socket.setTypeOfService(datagram.typeOfService, isIPv4: isIPv4)
        }
        return true
    }

    /// Sends what is pending of one flow.
    mutating func flush<Link: GuestLink & ~Copyable>(_ index: Int, _ port: inout GuestPort<Link>) {
        var position = PendingPosition(entry: table[index].firstPending)
        table[index].firstPending = 0
        table[index].lastPending = 0
        while position.entry != 0 {
            let behind = fillMessages(index, from: position)
            position = sendMessages(index, behind: behind, &port)
        }
    }

    /// Makes messages of the pending datagrams from `position` on: where the first one is that did not fit.
    private mutating func fillMessages(_ index: Int, from position: PendingPosition) -> PendingPosition {
        // A message that is cut takes no source address.
        let limit = canSegment && !table[index].flags.contains(.byListener) ? Int(table[index].segmentLimit) : 0
        var position = position
        outgoing.removeMessages()
        while position.entry != 0, !outgoing.isFull {
            starts[outgoing.count] = position
            outgoing.beginMessage()
            var run = SegmentRun(limit: limit)
            while position.entry != 0 {
                let number = Int(position.entry) - 1
                let whole = pending[number]
                let left = whole.length - position.offset
                guard let taken = run.take(length: left, segmentSize: whole.segmentSize) else { break }
                // There is a piece for each payload, and one more for each message: this cannot fail.
                _ = outgoing.append(number, from: position.offset, length: taken)
                position.offset += taken
                if position.offset >= whole.length { position = PendingPosition(entry: whole.next) }
            }
            if run.count > 1 { outgoing.segmentMessage(size: run.size) }
        }
        return position
    }

    /// Sends the messages: where to go on, which is `behind` them, or earlier where a message has to be made anew.
    private mutating func sendMessages<Link: GuestLink & ~Copyable>(
        _ index: Int, behind: PendingPosition, _ port: inout GuestPort<Link>
    ) -> PendingPosition {
        let flow = table[index]
        let scope = flow.origin.scope != 0 ? flow.origin.scope : translation.scope(of: flow.remote.address)
        let isConnected = flow.isConnected && !flow.flags.contains(.byListener)
        let destination = isConnected ? nil : SocketAddress(flow.remote, scope: scope)
        let source = flow.flags.contains(.byListener) ? flow.origin.local.address : nil
        var sent = 0
        var retried = -1
        while sent < outgoing.count {
            let outcome = outgoing.send(on: flow.socket, from: sent, to: destination, source: source)
            guard let error = outcome.error else {
                sent += max(outcome.count, 1)
                continue
            }
            let isSegmented = outgoing.segmentSize(sent) > 0
            switch UDPSendFailure(error, isSegmented: isSegmented, wasRetried: retried == sent) {
            case .retry:
                retried = sent
                takeErrors(index, &port)
                // EINVAL may also mean that the message is not to be cut: that is tried first.
                if error.mayBeLostSource, !isSegmented || error.code != 22, choosesSource(flow) { reconnect(index) }
            case .sendSingly:
                // EIO: on this flow's way, as where IPsec encrypts, the kernel cuts nothing at all (udp_send_skb). Others may have another way.
                table[index].segmentLimit = error.code == 5 ? 0 : UInt16(clamping: outgoing.segmentSize(sent) - 1)
                return starts[sent]
            case .noRoom:
                port.counters.add(.udpSendFailed, outgoing.count - sent)
                return PendingPosition(entry: 0)
            case .unreachable(let problem):
                port.counters.add(.udpSendFailed)
                // Not about what was sent to many, as in `report`.
                if !flow.flags.contains(.group) {
                    let length = pending[Int(starts[sent].entry) - 1].datagramLength(at: starts[sent].offset)
                    port.sendICMPError(
                        problem.error(isIPv4: flow.key.guest.isIPv4), from: flow.key.remote, quoting: QuotedPacket(flow.key, udpPayload: length))
                }
                sent += 1
            case .lost:
                port.counters.add(.udpSendFailed)
                sent += 1
            }
        }
        return behind
    }
}

extension IPAddress {
    /// Whether the address means nothing without an interface.
    var needsScope: Bool { @_noAllocation @_noLocks get { !isIPv4 && (ipv6.isLinkLocal || ipv6.isLinkLocalMulticast) } }
}

extension QuotedPacket {
    /// A datagram of the guest, `quoted` bytes of whose payload are quoted; its checksum is not known any more.
    init(_ key: FlowKey, udpPayload: Int, quoted: Int = 0) {
        let length = UDPHeader.length &+ udpPayload
        self.init(key: key, proto: .udp, length: length, word: UInt32(truncatingIfNeeded: length) << 16, payload: quoted)
    }
}
