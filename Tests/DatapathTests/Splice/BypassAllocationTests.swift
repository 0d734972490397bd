import Linux
import Testing
import Wire

@testable import Datapath

/// What takes no detour over the guest's interface takes nothing from the heap either. Both sides are loopback here, in one namespace.
@Suite struct BypassAllocationTests {
    /// Ports from which a way leads past the guest, and those of its clients that stay.
    private struct Way {
        let tcp, udp: UInt16
        let clients: [Descriptor]
    }

    /// What clients and servers send in one piece.
    private static let piece = [UInt8](repeating: 7, count: 300)
    private static let bulk = [UInt8](repeating: 8, count: 400_000)

    @Test(arguments: [LiveForwarder.loopback4, LiveForwarder.loopback6])
    func whatPassesByTheGuest(_ loopback: IPAddress) throws {
        let maker = try Maker()
        defer { maker.channel.close() }
        let server = try FarEnd(loopback)
        var forwarder = try LiveForwarder(echoPort: 41_236, over: loopback, flows: 64)
        try forwarder.connectHelper(maker.channel)
        let ways = [try Self.way(&forwarder, server, isOutbound: true), try Self.way(&forwarder, server, isOutbound: false)]
        defer {
            for way in ways {
                for client in way.clients { client.close() }
            }
        }
        var (round, pieces) = (0, 0)
        // The runtime makes the records of generic types on first use.
        for _ in 0..<8 { pieces += try Self.everything(&forwarder, &round, ways, server) }
        pieces = 0
        forwarder.allocations = 0
        while pieces < AllocationLimit.frames { pieces += try Self.everything(&forwarder, &round, ways, server) }
        AllocationLimit.check(forwarder.allocations, of: pieces, inDebug: 20)
        // And all of it was work, of which the guest saw nothing.
        for counter in [.spliceOpened, .spliceClosed, .spliceResets, .spliceClients, .spliceClientsEnded] as [Counter] {
            let count = forwarder.count(counter)
            #expect(count > 40, "\(counter)")
        }
        for counter in [.spliceFailed, .spliceDatagramsLost, .tcpAccepted, .udpAccepted] as [Counter] {
            let count = forwarder.count(counter)
            #expect(count == 0, "\(counter)")
        }
    }

    /// Sockets towards the far side are the forwarder's own, or those that a helper has made.
    private static func way(_ forwarder: inout LiveForwarder, _ server: borrowing FarEnd, isOutbound: Bool) throws -> Way {
        // What comes from the host goes to the namespace's loopback only where that is named.
        let target: IPAddress? = isOutbound ? nil : forwarder.loopback
        let service = forwarder.tcpPort
        let tcp = try forwarder.openPort(isTCP: true, isOutbound: isOutbound, leadingTo: service, at: target)
        let udp = try forwarder.openPort(isTCP: false, isOutbound: isOutbound, leadingTo: server.endpoint.port, at: target)
        var clients: [Descriptor] = []
        for _ in 0..<4 { clients.append(try forwarder.client(.datagram, of: udp.port)) }
        return Way(tcp: tcp.port, udp: udp.port, clients: clients)
    }

    /// Each way once. How many pieces were sent.
    private static func everything(
        _ forwarder: inout LiveForwarder, _ round: inout Int, _ ways: [Way], _ server: borrowing FarEnd
    ) throws -> Int {
        round += 1
        var pieces = 0
        for way in ways {
            pieces += try stream(&forwarder, way, round)
            pieces += try datagrams(&forwarder, way, server)
        }
        return pieces
    }

    // MARK: TCP

    /// A connection: a conversation in small pieces, then more than its receiver takes at once, and one of the ways to end.
    private static func stream(_ forwarder: inout LiveForwarder, _ way: Way, _ round: Int) throws -> Int {
        let closed = forwarder.count(.spliceClosed)
        let client = try forwarder.client(.stream, of: way.tcp)
        let server = try forwarder.accept()
        var (forth, back) = (0, 0)
        for number in 0..<20 {
            forth += max(client.sendSome(piece[...]), 0)
            back += max(server.sendSome(piece[...]), 0)
            if number % 4 == 3 { try forwarder.run(rounds: 2) }
        }
        for _ in 0..<2 {
            forth += max(client.sendSome(bulk[...]), 0)
            try forwarder.run(rounds: 3)
        }
        try drain(forth, at: server, &forwarder)
        try drain(back, at: client, &forwarder)
        switch round % 4 {
        case 0:
            try client.shutdown(1)
            try forwarder.run(rounds: 3)
            server.close()
            try forwarder.run { $0.count(.spliceClosed) > closed }
            client.close()
        case 1:
            client.close()
            try forwarder.run(rounds: 3)
            server.close()
            try forwarder.run { $0.count(.spliceClosed) > closed }
        case 2:
            try client.setAbortOnClose()
            client.close()
            try forwarder.run { $0.count(.spliceClosed) > closed }
            server.close()
        default:
            try server.setAbortOnClose()
            server.close()
            try forwarder.run { $0.count(.spliceClosed) > closed }
            client.close()
        }
        return 42
    }

    /// Lets `count` bytes arrive, and throws them away.
    private static func drain(_ count: Int, at receiver: Descriptor, _ forwarder: inout LiveForwarder) throws {
        let end = monotonicNanoseconds() + 10_000_000_000
        var left = count
        while left > 0 {
            try #require(monotonicNanoseconds() < end)
            left -= receiver.discard(left).count
            try forwarder.run()
        }
    }

    // MARK: UDP

    /// Those who stay ask and are answered; somebody else sends some datagrams at once, and is not seen again.
    private static func datagrams(_ forwarder: inout LiveForwarder, _ way: Way, _ server: borrowing FarEnd) throws -> Int {
        var before = forwarder.count(.spliceDatagrams)
        let passer = try FarEnd(forwarder.loopback)
        try passer.send([UInt8](repeating: 1, count: 300), to: Endpoint(forwarder.loopback, way.udp), segmentSize: 100)
        // As one or as three.
        try forwarder.run { $0.count(.spliceDatagrams) > before }
        try forwarder.run(rounds: 2)
        let passed = try server.receive(3)
        #expect(passed.map(\.payload.count) == [100, 100, 100])
        before = forwarder.count(.spliceDatagrams)
        for client in way.clients {
            for _ in 0..<10 { _ = client.sendSome(piece[...]) }
        }
        let asked = before + UInt64(10 * way.clients.count)
        try forwarder.run { $0.count(.spliceDatagrams) >= asked }
        let seen = try server.receive(10 * way.clients.count)
        let sources = Set(seen.map(\.source))
        #expect(sources.count == way.clients.count)
        let answer = [UInt8](repeating: 9, count: 1500)
        for source in sources { try server.send(answer, to: source, segmentSize: 300) }
        let answered = asked + UInt64(5 * way.clients.count)
        try forwarder.run { $0.count(.spliceDatagrams) >= answered }
        var received = 0
        for client in way.clients { received += client.receiveSome().bytes.count }
        #expect(received == way.clients.count * 1500)
        return 3 + 15 * way.clients.count
    }
}
