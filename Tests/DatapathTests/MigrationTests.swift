import Settings
import Testing
import Wire

@testable import Datapath
@testable import Linux

/// What moves with a machine, as bytes, and what is made of bytes that are none of it.
@Suite struct MigrationTests {
    private func connection(_ change: (inout TCPConnection) -> Void = { _ in }) -> SavedConnection {
        let guest = IPAddress(IPv4Address("192.0.2.1")!)
        let remote = IPAddress(IPv4Address("203.0.113.2")!)
        var connection = TCPConnection(key: FlowKey(guest: guest, guestPort: 40000, remote: remote, remotePort: 443), socket: .none)
        connection.events.formUnion([.established, .isInbound])
        connection.initialFromGuest = SequenceNumber(999)
        connection.expected = SequenceNumber(5000)
        connection.acknowledged = SequenceNumber(4000)
        connection.windowEdge = SequenceNumber(70_000)
        connection.initialToGuest = SequenceNumber(UInt32.max)
        connection.queueStart = SequenceNumber(100)
        connection.unacknowledged = SequenceNumber(200)
        connection.next = SequenceNumber(900)
        connection.highest = SequenceNumber(900)
        connection.guestWindow = 123_456
        connection.roundTrip = 777
        connection.segmentSize = 1460
        connection.guestSegmentSize = 1440
        connection.guestWindowScale = 7
        connection.windowScale = 8
        change(&connection)
        var state = TCPRepairState()
        (state.sendEnd, state.receiveEnd, state.notSent, state.segmentSize) = (10, 20, 300, 1448)
        (state.options, state.sendScale, state.receiveScale, state.timestamp) = (7, 9, 10, 0xdead_beef)
        (state.window.updatedAt, state.window.send, state.window.largestSend) = (1, 2, 3)
        (state.window.receive, state.window.receiveFrom) = (4, 5)
        var saved = SavedConnection(
            connection, state, local: Endpoint(IPAddress(IPv4Address("198.51.100.1")!), 50000), peer: Endpoint(remote, 443))
        (saved.received, saved.unsent) = (2000, 1200)
        return saved
    }

    /// One that stays behind is nothing to go on with, for earlier versions either, and enough to tell the guest.
    @Test func aConnectionThatStaysBehind() throws {
        var connection = connection().connection(.none, now: 5)
        connection.events.insert(.finFromGuest)
        let memory = try bytes(SavedConnection(leavingBehind: connection))
        let read = SavedConnection(memory.bytes)
        let back = try #require(read)
        #expect(back.isLeftBehind && !back.isSound && back.canBeLost && back.fits)
        let lost = back.lostConnection(now: 5)
        #expect(lost.key == connection.key && lost.next == connection.unacknowledged && lost.expected == connection.expected && !lost.socket.isOpen)
        #expect(!self.connection().isLeftBehind)
    }

    private func bytes(_ saved: SavedConnection) throws -> Mapping {
        var memory = try Mapping(byteCount: SavedConnection.byteCount)
        var bytes = memory.mutableBytes
        saved.write(to: &bytes)
        return memory
    }

    @Test func aConnectionComesBackAsItWas() throws {
        let saved = connection()
        let memory = try bytes(saved)
        let back = SavedConnection(memory.bytes)
        #expect(back == saved && saved.isSound)
        let other = saved.connection(Descriptor(7), now: 5)
        #expect(other.key == saved.key && other.expected == saved.expected && other.queueStart == saved.queueStart && other.roundTrip == 777)
        // What was under way to the guest is sent once more, and the far end has what does not wait in the socket.
        #expect(other.next == saved.unacknowledged && other.highest == saved.highest)
        #expect(other.farAcknowledged == SequenceNumber(3800) && other.initialFromGuest + 1 == other.farAcknowledged)
        // A socket in repair mode counts what it is given as received, so that the queue begins where its count does.
        #expect(other.initialToGuest + 1 == other.queueStart)
        #expect(other.events.isSuperset(of: [.established, .synSent, .isInbound, .opensToGuest, .hasInput]))
        #expect(saved.sentRange.count == 900 && saved.notSentRange.count == 300 && saved.sentRange.upperBound == saved.notSentRange.lowerBound)
    }

    @Test(arguments: [
        { $0.received = Migration.mostQueued }, { $0.unsent = Migration.mostQueued }, { $0.socket.notSent = 1201 },
        // More is under way to the guest than has come for it.
        { $0.received = 799 }, { $0.unacknowledged = SequenceNumber(901) }, { $0.queueStart = SequenceNumber(201) },
        { $0.acknowledged = SequenceNumber(5001) }, { $0.windowEdge = SequenceNumber(3999) },
        { $0.segmentSize = 87 }, { $0.segmentSize = 65496 }, { $0.guestSegmentSize = .max }, { $0.guestSegmentSize = 0 }, { $0.windowScale = 15 }, { $0.guestWindowScale = 15 }, { $0.socket.sendScale = 15 },
        { $0.socket.receiveScale = 200 }, { $0.guestWindow = 65536 << 14 }, { $0.socket.segmentSize = 0 }, { $0.socket.segmentSize = 65536 }, { $0.key.guestPort = 0 }, { $0.peer.port = 0 }, { $0.local.port = 0 },
        { $0.local.address = IPAddress(IPv6Address.loopback) }, { $0.key.guest = IPAddress(IPv6Address.loopback) },
    ] as [@Sendable (inout SavedConnection) -> Void])
    func numbersThatDoNotFit(_ change: @Sendable (inout SavedConnection) -> Void) throws {
        var saved = connection()
        change(&saved)
        #expect(!saved.isSound)
    }

    /// A state from elsewhere opens no way that a machine's own connections would not have here.
    @Test func addressesThatOptionsExclude() throws {
        var network = TestHost.network()
        network.ipv6 = nil
        let translation = AddressTranslation(network)
        let inbound = connection()
        let outbound = connection { $0.events.remove(.isInbound) }
        #expect(inbound.isAllowed(translation) && outbound.isAllowed(translation))
        let other = IPAddress(IPv4Address("203.0.113.9")!)
        let loopback = IPAddress(IPv4Address.loopback)
        let changes: [@Sendable (inout SavedConnection) -> Void] = [
            { $0.peer.address = other },  // Not whom the guest talks to.
            { ($0.peer.address, $0.key.remote) = (loopback, loopback) }, { $0.peer.address = loopback },
            { ($0.peer.address, $0.key.remote) = ($0.local.address, $0.local.address) },
            { $0.local.address = IPAddress(IPv4Address.any) },
            { ($0.peer.address, $0.key.remote) = (IPAddress(IPv4Address("224.0.0.1")!), IPAddress(IPv4Address("224.0.0.1")!)) },
            // A family that is off.
            {
                let (guest, remote) = (IPAddress(IPv6Address("2001:db8::2")!), IPAddress(IPv6Address("2001:db8:9::2")!))
                ($0.key.guest, $0.key.remote, $0.peer.address, $0.local.address) = (guest, remote, remote, guest)
            },
        ]
        for (number, change) in changes.enumerated() {
            for saved in [inbound, outbound] {
                var saved = saved
                change(&saved)
                #expect(!saved.isAllowed(translation), "\(number), \(saved.isInbound ? "in" : "out")")
            }
        }
        var port = outbound
        port.peer.port += 1
        #expect(!port.isAllowed(translation))
        network.ipv4?.outboundAddress = IPv4Address("198.51.100.1")!
        #expect(outbound.isAllowed(AddressTranslation(network)))
        network.ipv4?.outboundAddress = IPv4Address("198.51.100.2")!
        #expect(!outbound.isAllowed(AddressTranslation(network)) && inbound.isAllowed(AddressTranslation(network)))
    }

    /// Older kernels leave in the lowest bit what their clock shows; since Linux 6.7 it says that the clock ticks in microseconds.
    @Test func aClocksUnitIsKept() {
        var state = TCPRepairState()
        for (options, timestamp, marked) in [(7, 6, 6), (7, 7, 8), (7, UInt32.max, 0), (71, 6, 7), (71, 7, 7)] as [(UInt8, UInt32, UInt32)] {
            (state.options, state.timestamp) = (options, timestamp)
            #expect(state.markedTimestamp == marked)
        }
    }

    /// Whatever numbers a state has, if they are sound: what follows on the connection traps nowhere, and does nothing that sockets do not allow.
    @Test(arguments: 0..<400 as Range<UInt64>)
    func whateverIsSoundGoesOn(_ seed: UInt64) throws {
        var random = SeededRandom(seed)
        var saved = connection { if seed % 2 == 0 { $0.events.remove(.isInbound) } }
        for _ in 0..<(1 + random.below(4)) { mutate(&saved, &random) }
        guard saved.isSound else { return }
        var script = try TCPScript()
        let socket = script.tcp.sockets.accept()
        let number = script.tcp.sockets.all.count - 1
        script.tcp.sockets.all[number].arrived = [UInt8](repeating: 1, count: saved.received)
        // Nothing was measured yet, so the state's own time counts.
        script.tcp.sockets.all[number].roundTrip = 0
        guard let index = script.tcp.table.insert(saved.connection(socket, now: script.now)) else {
            Issue.record("a full table")
            return
        }
        let tag = TCPTranslator<ScriptedSockets>.tag(index, generation: script.tcp.table.generation(of: index))
        try script.tcp.sockets.adopt(socket, tag: tag)
        if saved.isInbound { script.tcp.inboundCount += 1 }
        script.tcp.look(index, now: script.now)
        script.tcp.fromHost(index, [.input, .output], &script.port, now: script.now)
        let places = [saved.acknowledged, saved.expected, saved.windowEdge]
        let heard = [saved.unacknowledged, saved.highest, saved.queueStart]
        for _ in 0..<60 {
            switch random.below(5) {
            case 0:
                let near = { (numbers: [SequenceNumber], random: inout SeededRandom) in numbers[random.below(3)] + (random.below(3) - 1) * random.below(3000) }
                let count = random.below(2) * random.below(1400)
                var header = TCPHeader(
                    sourcePort: saved.key.guestPort, destinationPort: saved.key.remotePort, sequence: near(places, &random),
                    acknowledgment: near(heard, &random), flags: [.ack], window: UInt16(truncatingIfNeeded: random.next()),
                    maximumSegmentSize: nil, windowScale: nil)
                header.payloadLength = count
                script.deliver(header, Stream.fromGuest[0..<count], saved.key)
            case 1: script.tcp.sockets.drain(number)
            case 2: script.tcp.sockets.arrive([UInt8](repeating: 2, count: random.below(5000))[...], number)
            case 3: _ = script.pass(Int64(random.below(200_000)))
            default: script.runRound()
            }
        }
    }

    private func mutate(_ saved: inout SavedConnection, _ random: inout SeededRandom) {
        func changed(_ value: UInt32, _ random: inout SeededRandom) -> UInt32 {
            switch random.below(6) {
            case 0: 0
            case 1: 1
            case 2: .max
            case 3: 1 << 31
            case 4: value &+ 1
            default: value &- 1
            }
        }
        switch random.below(14) {
        case 0: saved.expected = SequenceNumber(changed(saved.expected.value, &random))
        case 1: saved.acknowledged = SequenceNumber(changed(saved.acknowledged.value, &random))
        case 2: saved.windowEdge = SequenceNumber(changed(saved.windowEdge.value, &random))
        case 3: saved.initialToGuest = SequenceNumber(changed(saved.initialToGuest.value, &random))
        case 4: saved.highest = SequenceNumber(changed(saved.highest.value, &random))
        case 5: saved.unacknowledged = SequenceNumber(changed(saved.unacknowledged.value, &random))
        case 6: saved.queueStart = SequenceNumber(changed(saved.queueStart.value, &random))
        case 7: saved.guestWindow = changed(saved.guestWindow, &random)
        case 8: saved.roundTrip = changed(saved.roundTrip, &random)
        case 9: saved.segmentSize = UInt16(truncatingIfNeeded: changed(UInt32(saved.segmentSize), &random))
        case 10: saved.guestSegmentSize = UInt16(truncatingIfNeeded: changed(UInt32(saved.guestSegmentSize), &random))
        case 11: saved.guestWindowScale = UInt8(truncatingIfNeeded: changed(UInt32(saved.guestWindowScale), &random))
        case 12: saved.windowScale = UInt8(truncatingIfNeeded: changed(UInt32(saved.windowScale), &random))
        default: saved.unsent = Int(changed(UInt32(saved.unsent), &random))
        }
    }

    /// Whatever lies there, looking at it ends well.
    @Test func noise() throws {
        var random = SeededRandom(1)
        var memory = try Mapping(byteCount: SavedConnection.byteCount)
        for _ in 0..<20_000 {
            var bytes = memory.mutableBytes
            for index in 0..<(SavedConnection.byteCount / 8) { bytes.store(random.next(), at: 8 * index) }
            let (saved, head) = (SavedConnection(memory.bytes), SavedHead(memory.bytes))
            if let saved, saved.isSound { _ = saved.connection(.none, now: 1) }
            #expect(saved != nil && head == nil)
        }
    }

    @Test func theHead() throws {
        let network = TestHost.network()
        var guest = GuestIdentity(network)
        guest.linkLocal = IPv6Address("fe80::5")
        let head = SavedHead(guest, mac: MACAddress("02:00:00:00:00:05")!, connections: 3)
        var memory = try Mapping(byteCount: SavedHead.byteCount)
        var bytes = memory.mutableBytes
        head.write(to: &bytes)
        let back = SavedHead(memory.bytes)
        #expect(back == head)
        var other = GuestIdentity(network)
        (other.ipv4, other.ipv6) = (nil, nil)
        head.tell(&other)
        #expect(other.ipv4 == guest.ipv4 && other.ipv6 == guest.ipv6 && other.linkLocal == guest.linkLocal)
        // Another version.
        var changed = memory.mutableBytes
        changed.store(2 as UInt32, at: 8)
        let unknown = SavedHead(memory.bytes)
        #expect(unknown == nil)
    }

    // MARK: Leftovers

    @Test func leftoversGoOutInOrder() throws {
        var leftovers = try Leftovers(byteCount: 3 << 20, connections: 2)
        var buffer = try Mapping(byteCount: 2 << 20)
        var bytes = buffer.mutableBytes
        for index in 0..<(2 << 20) { bytes.store(UInt8(truncatingIfNeeded: index % 251), at: index) }
        let listener = try Descriptor.socket(.stream, for: LiveForwarder.loopback4)
        try listener.bind(SocketAddress(Endpoint(LiveForwarder.loopback4, 0)))
        try listener.listen()
        let near = try Descriptor.socket(.stream, for: LiveForwarder.loopback4)
        _ = try near.connect(try listener.localAddress())
        let (far, _) = try #require(try listener.accept())
        defer { for socket in [listener, near, far] { socket.close() } }
        let isKept = leftovers.keep(7..<(2 << 20), of: buffer, for: 5)
        let isTooMuch = leftovers.keep(0..<(2 << 20), of: buffer, for: 6)
        #expect(isKept && !isTooMuch)
        var (received, isDone, rounds) = (0, false, 0)
        var taken = try Mapping(byteCount: 1 << 16)
        while !isDone || received < (2 << 20) - 7, rounds < 100_000 {
            rounds += 1
            if !isDone { isDone = try leftovers.send(5, on: near) }
            let outcome = far.read(into: &taken, offset: 0, length: 1 << 16)
            for index in 0..<outcome.count where taken.bytes.uint8(at: index) != UInt8((received + 7 + index) % 251) { Issue.record("byte \(received + index)") }
            received += outcome.count
        }
        #expect(isDone && received == (2 << 20) - 7)
        // Room is there again, for as many as there are places.
        let isFree = leftovers.keep(0..<10, of: buffer, for: 6) && leftovers.keep(0..<10, of: buffer, for: 7)
        let isFull = !leftovers.keep(0..<10, of: buffer, for: 8)
        leftovers.forget(6)
        let hasPlace = leftovers.keep(0..<10, of: buffer, for: 8)
        #expect(isFree && isFull && hasPlace)
    }

    // MARK: The pipe

    @Test func aPipeThatEndsEarly() throws {
        var buffer = try Mapping(byteCount: 100_000)
        let pipe = try Descriptor.pipe()
        let (reading, writing) = (StatePipe(pipe.reading), StatePipe(pipe.writing))
        let isWritten = writing.write(buffer, 0..<50)
        let isRead = reading.read(into: &buffer, 0..<20)
        pipe.writing.close()
        let isRest = reading.read(into: &buffer, 0..<31)
        #expect(isWritten && isRead && !isRest)
        reading.drain(&buffer)
        pipe.reading.close()
        // Nobody reads: the end of a signal, were it not ignored.
        let other = try Descriptor.pipe()
        other.reading.close()
        Signals.ignore(13)  // SIGPIPE
        let isLost = !StatePipe(other.writing).write(buffer, 0..<50)
        #expect(isLost)
        other.writing.close()
    }
}
