internal import Linux
internal import Wire

/// One TCP connection as it lies in a saved state, without the bytes in its queues. All numbers are in network byte order.
struct SavedConnection: BitwiseCopyable, Equatable {
    /// What the guest calls both ends, and what the host does.
    var key: FlowKey
    var local: Endpoint
    var peer: Endpoint
    var isInbound: Bool

    // The translator's numbers; see `TCPConnection`.
    var expected, acknowledged, windowEdge: SequenceNumber
    var initialToGuest, highest, unacknowledged, queueStart: SequenceNumber
    var guestWindow, roundTrip: UInt32
    var segmentSize, guestSegmentSize: UInt16
    var guestWindowScale, windowScale: UInt8

    // The socket's.
    var socket: TCPRepairState
    /// Bytes in the queues, which follow: those that have come first.
    var received = 0
    var unsent = 0

    static var byteCount: Int { 256 }

    /// Of a connection that is open in both directions.
    init(_ connection: TCPConnection, _ socket: TCPRepairState, local: Endpoint, peer: Endpoint) {
        key = connection.key
        self.local = local
        self.peer = peer
        isInbound = connection.events.contains(.isInbound)
        expected = connection.expected
        acknowledged = connection.acknowledged
        windowEdge = connection.windowEdge
        initialToGuest = connection.initialToGuest
        highest = connection.highest
        unacknowledged = connection.unacknowledged
        queueStart = connection.queueStart
        guestWindow = connection.guestWindow
        roundTrip = connection.roundTrip
        segmentSize = connection.segmentSize
        guestSegmentSize = connection.guestSegmentSize
        guestWindowScale = connection.guestWindowScale
        windowScale = connection.windowScale
        self.socket = socket
    }

    /// Of one that does not move, what is needed to tell the guest. No state of a socket is all zeros: whoever reads this does not go on with it.
    init(leavingBehind connection: TCPConnection) {
        let nobody = Endpoint(connection.key.guest.isIPv4 ? IPAddress(IPv4Address.any) : IPAddress(IPv6Address.any), 0)
        self.init(connection, TCPRepairState(), local: nobody, peer: nobody)
    }

    var isLeftBehind: Bool { socket.segmentSize == 0 }

    /// The guest's end of a connection that is lost, without a socket.
    func lostConnection(now: Int64) -> TCPConnection {
        var connection = connection(.none, now: now)
        connection.events = [.synSent, .established, .mustReset, .standsStill]
        return connection
    }

    /// The connection as the translator goes on with it, over the socket that was made for it.
    func connection(_ socket: Descriptor, now: Int64) -> TCPConnection {
        var connection = TCPConnection(key: key, socket: socket)
        connection.events.formUnion([.synSent, .established, .hasInput, .mustAcknowledge])
        if isInbound { connection.events.formUnion([.isInbound, .opensToGuest]) }
        connection.expected = expected
        connection.acknowledged = acknowledged
        connection.windowEdge = windowEdge
        // The far end's acknowledgements are counted from here on, by a socket that counts from zero.
        connection.farAcknowledged = expected + -unsent
        connection.initialFromGuest = connection.farAcknowledged + -1
        // And what it has received, from the queue that it was given: what lies there is told by that (`TCPGathered`).
        connection.initialToGuest = queueStart + -1
        // What was under way is sent once more: whether the guest has it, only the guest knows.
        connection.next = unacknowledged
        connection.highest = highest
        connection.unacknowledged = unacknowledged
        connection.queueStart = queueStart
        connection.guestWindow = guestWindow
        connection.roundTrip = roundTrip
        connection.segmentSize = segmentSize
        connection.guestSegmentSize = guestSegmentSize
        connection.guestWindowScale = guestWindowScale
        connection.windowScale = windowScale
        connection.heardAt = UInt32(truncatingIfNeeded: now)
        connection.waitsSince = UInt32(truncatingIfNeeded: now)
        return connection
    }

    // MARK: Bytes

    func write(to bytes: inout MutableRawSpan) {
        SavedConnection.write(key.guestEndpoint, to: &bytes, at: 0)
        SavedConnection.write(key.remoteEndpoint, to: &bytes, at: 24)
        SavedConnection.write(local, to: &bytes, at: 48)
        SavedConnection.write(peer, to: &bytes, at: 72)
        let numbers: InlineArray<9, UInt32> = [
            expected.value, acknowledged.value, windowEdge.value, initialToGuest.value, highest.value, unacknowledged.value, queueStart.value, guestWindow,
            roundTrip,
        ]
        for index in 0..<9 { bytes.store(numbers[index], at: 96 + 4 * index) }
        bytes.store(segmentSize, at: 132)
        bytes.store(guestSegmentSize, at: 134)
        bytes.store(guestWindowScale, at: 136)
        bytes.store(windowScale, at: 137)
        bytes.store(isInbound ? 1 : 0 as UInt8, at: 138)
        bytes.store(socket.options, at: 139)
        bytes.store(socket.sendScale, at: 140)
        bytes.store(socket.receiveScale, at: 141)
        bytes.store(0 as UInt16, at: 142)
        let window = socket.window
        let kernels: InlineArray<12, UInt32> = [
            socket.sendEnd, socket.receiveEnd, socket.notSent, socket.segmentSize, socket.timestamp, window.updatedAt, window.send, window.largestSend,
            window.receive, window.receiveFrom, UInt32(truncatingIfNeeded: received), UInt32(truncatingIfNeeded: unsent),
        ]
        for index in 0..<12 { bytes.store(kernels[index], at: 144 + 4 * index) }
        for index in 192..<SavedConnection.byteCount { bytes.store(0 as UInt8, at: index) }
    }

    /// Nil for what no connection of ours can be.
    init?(_ bytes: borrowing RawSpan) {
        guard bytes.has(SavedConnection.byteCount, at: 0) else { return nil }
        let (guest, remote) = (SavedConnection.endpoint(bytes, at: 0), SavedConnection.endpoint(bytes, at: 24))
        key = FlowKey(guest: guest.address, guestPort: guest.port, remote: remote.address, remotePort: remote.port)
        local = SavedConnection.endpoint(bytes, at: 48)
        peer = SavedConnection.endpoint(bytes, at: 72)
        expected = SequenceNumber(bytes.uint32(at: 96))
        acknowledged = SequenceNumber(bytes.uint32(at: 100))
        windowEdge = SequenceNumber(bytes.uint32(at: 104))
        initialToGuest = SequenceNumber(bytes.uint32(at: 108))
        highest = SequenceNumber(bytes.uint32(at: 112))
        unacknowledged = SequenceNumber(bytes.uint32(at: 116))
        queueStart = SequenceNumber(bytes.uint32(at: 120))
        guestWindow = bytes.uint32(at: 124)
        roundTrip = bytes.uint32(at: 128)
        segmentSize = bytes.uint16(at: 132)
        guestSegmentSize = bytes.uint16(at: 134)
        guestWindowScale = bytes.uint8(at: 136)
        windowScale = bytes.uint8(at: 137)
        isInbound = bytes.uint8(at: 138) == 1
        socket = TCPRepairState()
        socket.options = bytes.uint8(at: 139)
        socket.sendScale = bytes.uint8(at: 140)
        socket.receiveScale = bytes.uint8(at: 141)
        socket.sendEnd = bytes.uint32(at: 144)
        socket.receiveEnd = bytes.uint32(at: 148)
        socket.notSent = bytes.uint32(at: 152)
        socket.segmentSize = bytes.uint32(at: 156)
        socket.timestamp = bytes.uint32(at: 160)
        socket.window.updatedAt = bytes.uint32(at: 164)
        socket.window.send = bytes.uint32(at: 168)
        socket.window.largestSend = bytes.uint32(at: 172)
        socket.window.receive = bytes.uint32(at: 176)
        socket.window.receiveFrom = bytes.uint32(at: 180)
        received = Int(bytes.uint32(at: 184))
        unsent = Int(bytes.uint32(at: 188))
    }

    /// | port, 2 | zero, 6 | address, 16 |   an IPv4 address as a mapped one
    private static func write(_ endpoint: Endpoint, to bytes: inout MutableRawSpan, at offset: Int) {
        bytes.store(UInt64(endpoint.port) << 48, at: offset)
        bytes.store(endpoint.address.high, at: offset + 8)
        bytes.store(endpoint.address.low, at: offset + 16)
    }

    private static func endpoint(_ bytes: borrowing RawSpan, at offset: Int) -> Endpoint {
        let address = IPv6Address(high: bytes.uint64(at: offset + 8), low: bytes.uint64(at: offset + 16))
        return Endpoint(IPAddress(address), bytes.uint16(at: offset))
    }

    // MARK: Places in the buffer

    var receivedRange: Range<Int> { Migration.received..<(Migration.received + received) }
    /// What the guest has sent: what may have reached the peer, and the rest.
    var unsentRange: Range<Int> { Migration.unsent..<(Migration.unsent + unsent) }
    var sentRange: Range<Int> { unsentRange.dropLast(Int(socket.notSent)) }
    var notSentRange: Range<Int> { unsentRange.suffix(Int(socket.notSent)) }

    // MARK: Sense

    /// Its queues have room in the buffer.
    var fits: Bool { received < Migration.mostQueued && unsent < Migration.mostQueued }

    /// A guest may have such a connection. Of a lost one, nothing else counts: its numbers are the guest's own, or the reset does not fit.
    var canBeLost: Bool { key.guest.isIPv4 == key.remote.isIPv4 && key.guestPort != 0 && key.remotePort != 0 && !key.remote.isMulticast && !key.remote.isAny }

    /// Numbers that fit each other, so that no later arithmetic is surprised; a state is from another host, and may be anything.
    var isSound: Bool {
        let inFlight = highest - unacknowledged
        let inQueue = unacknowledged - queueStart
        let told = expected - acknowledged
        let most = TCPTranslator<KernelSockets>.largestSegment(isIPv4: key.guest.isIPv4)
        return key.guest.isIPv4 == key.remote.isIPv4 && local.address.isIPv4 == peer.address.isIPv4 && key.guestPort != 0 && key.remotePort != 0
            && peer.port != 0 && local.port != 0 && fits && Int(socket.notSent) <= unsent
            && inFlight >= 0 && inQueue >= 0 && inFlight + inQueue <= received && told >= 0 && windowEdge - acknowledged >= 0
            && (88...most).contains(segmentSize) && (88...most).contains(guestSegmentSize) && guestWindowScale <= 14 && windowScale <= 14 && socket.sendScale <= 14
            && socket.receiveScale <= 14 && guestWindow <= 65535 << 14 && (1...65535).contains(socket.segmentSize)
    }

    /// Both ends are what a connection of this kind would have here, by this program's own options: another host says who the guest talks to, but not to whom it may.
    func isAllowed(_ translation: AddressTranslation) -> Bool {
        guard !local.address.isAny, !peer.address.isLoopback, !peer.address.isMulticast, peer.address != local.address else { return false }
        if isInbound { return translation.inboundSource(peer.address, local: local.address) == key.remote }
        guard translation.toHost(key.remoteEndpoint) == peer else { return false }
        let outbound = translation.family(of: peer.address).outboundAddress
        return outbound == nil || outbound == local.address
    }
}
