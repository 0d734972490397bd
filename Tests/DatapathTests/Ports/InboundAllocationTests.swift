import Linux
import Testing
import Wire

@testable import Datapath

/// What others send to forwarded ports takes nothing from the heap, as what the guest sends takes nothing (`AllocationTests`).
@Suite struct InboundAllocationTests {
    /// The guest's.
    private static let tcpPort: UInt16 = 8080, udpPort: UInt16 = 5353

    @Test(arguments: [LiveForwarder.loopback4, LiveForwarder.loopback6])
    func framesOfForwardedPorts(_ loopback: IPAddress) throws {
        var forwarder = try LiveForwarder(echoPort: 41_235, over: loopback, flows: 128)
        // The guest is there, with an address of this family.
        try forwarder.run([forwarder.guest.ping(7)])
        let place = try forwarder.openPort(isTCP: true, leadingTo: Self.tcpPort)
        var round = 0
        // In order and late, to every kind of end.
        for _ in 0..<(2 * LiveConnection.Ending.allCases.count) { try Self.everything(&forwarder, &round, place.port) }
        // The runtime makes the records of generic types on first use.
        forwarder.allocations = 0
        let start = forwarder.frames + forwarder.sent
        while forwarder.frames + forwarder.sent - start < AllocationLimit.frames { try Self.everything(&forwarder, &round, place.port) }
        AllocationLimit.check(forwarder.allocations, of: forwarder.frames + forwarder.sent - start)
        forwarder.closePort(place.number)
        // And all of it was work.
        for counter in [.tcpAccepted, .tcpClosed, .tcpOutOfOrder, .udpAccepted, .udpClosed, .udpDatagramsToGuest] as [Counter] {
            let count = forwarder.count(counter)
            #expect(count > 40, "\(counter)")
        }
    }

    private static func everything(_ forwarder: inout LiveForwarder, _ round: inout Int, _ place: UInt16) throws {
        round += 1
        let endings = LiveConnection.Ending.allCases
        var connection = try LiveConnection.take(&forwarder, at: place, for: tcpPort)
        try connection.exchange(&forwarder, isLate: round / endings.count % 2 == 0)
        try connection.end(&forwarder, endings[round % endings.count])
        try datagrams(&forwarder)
    }

    /// A port opens, its clients talk, at first by the listener and then by sockets of their own; and it closes with all that it has brought.
    private static func datagrams(_ forwarder: inout LiveForwarder) throws {
        let place = try forwarder.openPort(isTCP: false, leadingTo: udpPort)
        var clients: [(socket: Descriptor, port: UInt16)] = []
        defer { for client in clients { client.socket.close() } }
        for _ in 0..<4 {
            let socket = try forwarder.client(.datagram, of: place.port)
            let own = try #require(try socket.localAddress().endpoint)
            clients.append((socket, own.port))
        }
        let question = [UInt8](repeating: 7, count: 300)
        for _ in 0..<4 {
            let before = forwarder.count(.udpDatagramsToGuest)
            for client in clients {
                for _ in 0..<5 { _ = client.socket.sendSome(question[...]) }
            }
            try forwarder.run { $0.count(.udpDatagramsToGuest) >= before + 20 }
            var answers: [[UInt8]] = []
            for client in clients {
                for _ in 0..<5 { answers.append(forwarder.guest.udp(udpPort, client.port, 100)) }
            }
            try forwarder.run(answers)
            var received = 0
            for client in clients { received += client.socket.receiveSome().bytes.count }
            #expect(received == 4 * 5 * 100)
        }
        try refuse(&forwarder, place.port)
        forwarder.closePort(place.number)
    }

    /// One more client sends several datagrams at once, which may come as one, and the guest wants none of them.
    private static func refuse(_ forwarder: inout LiveForwarder, _ place: UInt16) throws {
        let client = try FarEnd(forwarder.loopback)
        let arrived = forwarder.count(.udpDatagramsToGuest)
        try client.send([UInt8](repeating: 1, count: 300), to: Endpoint(forwarder.loopback, place), segmentSize: 100)
        try forwarder.run { $0.count(.udpDatagramsToGuest) > arrived }
        let before = forwarder.count(.udpClosed)
        try forwarder.run([forwarder.guest.refusal(of: client.endpoint.port, at: udpPort)])
        let ended = forwarder.count(.udpClosed) - before
        #expect(ended == 1)
    }
}
