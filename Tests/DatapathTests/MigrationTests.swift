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
        #expect(other.events.isSuperset(of: [.established, .synSent, .isInbound, .opensToGuest, .hasInput]))
        #expect(saved.sentRange.count == 900 && saved.notSentRange.count == 300 && saved.sentRange.upperBound == saved.notSentRange.lowerBound)
    }

    @Test(arguments: [
        { $0.received = Migration.mostQueued }, { $0.unsent = Migration.mostQueued }, { $0.socket.notSent = 1201 },
        // More is under way to the guest than has come for it.
        { $0.received = 799 }, { $0.unacknowledged = SequenceNumber(901) }, { $0.queueStart = SequenceNumber(201) },
        { $0.acknowledged = SequenceNumber(5001) }, { $0.windowEdge = SequenceNumber(3999) },
        { $0.segmentSize = 87 }, { $0.segmentSize = 65496 }, { $0.guestSegmentSize = .max }, { $0.guestSegmentSize = 0 }, { $0.windowScale = 15 }, { $0.guestWindowScale = 15 }, { $0.socket.sendScale = 15 },
        { $0.socket.receiveScale = 200 }, { $0.guestWindow = 65536 << 14 }, { $0.key.guestPort = 0 }, { $0.peer.port = 0 }, { $0.local.port = 0 },
        { $0.local.address = IPAddress(IPv6Address.loopback) }, { $0.key.guest = IPAddress(IPv6Address.loopback) },
    ] as [@Sendable (inout SavedConnection) -> Void])
    func numbersThatDoNotFit(_ change: @Sendable (inout SavedConnection) -> Void) throws {
        var saved = connection()
        change(&saved)
        #expect(!saved.isSound)
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
        let listener = try Descriptor.socket(.stream, for: LiveForwarder.loopback)
        try listener.bind(SocketAddress(Endpoint(LiveForwarder.loopback, 0)))
        try listener.listen()
        let near = try Descriptor.socket(.stream, for: LiveForwarder.loopback)
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
