import Linux
import Testing
import Wire

@testable import Datapath

/// TFTP: answers come from another port than the one that was asked (RFC 1350, section 4). Nobody listens at port 69 here, so that the guest hears of that, too.
@Suite struct UDPTransferTests {
    private static let request: [UInt8] = [0, 1]
    private static func data(_ number: UInt8) -> [UInt8] { [0, 3, 0, number] }
    private static func acknowledgment(_ number: UInt8) -> [UInt8] { [0, 4, 0, number] }

    /// What has come by UDP, as far as there is anything.
    private static func datagrams(_ host: inout TestHost) throws -> [SentFrame] {
        try host.run(limit: 100)
        return host.frames.filter { $0.proto == 17 }
    }

    @Test(arguments: [IPAddress(IPv4Address.loopback), IPAddress(IPv6Address.loopback)])
    func theGuestGoesOnWithTheServersPort(_ loopback: IPAddress) throws {
        var host = try TestHost()
        let server = try FarEnd(loopback)
        let seen = server.seen
        let place = Endpoint(loopback, 40270)
        host.send(Self.request, from: 40270, to: Endpoint(seen.address, 69))
        // A block that is there before the guest has answered, and one that the first socket still holds when the second one is there.
        try server.send(Self.data(1), to: place)
        let first = try Self.datagrams(&host)
        #expect(first.map(\.udpPayload) == [Self.data(1)])
        try server.send(Self.data(1), to: place)
        host.send(Self.acknowledgment(1), from: 40270, to: seen)
        host.endRound()
        let answers = try server.receive(1)
        #expect(answers.map(\.payload) == [Self.acknowledgment(1)] && answers.map(\.source) == [place])
        let both = try Self.datagrams(&host)
        #expect(both.map(\.udpPayload) == [Self.data(1), Self.data(1)])
        // From here on, the second one has them.
        try server.send(Self.data(2), to: place)
        let all = try Self.datagrams(&host)
        #expect(all.map(\.udpPayload) == [Self.data(1), Self.data(1), Self.data(2)])
        #expect(all.allSatisfy { $0.source == seen.address && $0.sourcePort == seen.port && $0.destinationPort == 40270 })
        let guest = loopback.isIPv4 ? TestHost.guest4 : TestHost.guest6
        let found = host.udp.table.find(FlowKey(guest: guest, guestPort: 40270, remote: seen.address, remotePort: seen.port))
        let index = try #require(found)
        let flow = host.udp.table[index]
        #expect(flow.isConnected && flow.flags.contains(.answered) && host.port.counters[.udpStrays] == 0)
    }

    @Test func othersAreNotHeard() throws {
        var host = try TestHost()
        let stranger = try FarEnd(IPAddress(IPv4Address("127.0.0.9")!))
        host.send(Self.request, from: 40271, to: Endpoint(TestHost.mapped4, 69))
        try stranger.send(Self.data(1), to: Endpoint(IPAddress(IPv4Address.loopback), 40271))
        let heard = try Self.datagrams(&host)
        #expect(heard.isEmpty && host.port.counters[.udpStrays] == 1)
        // That nobody listens there is told as of any other port.
        #expect(host.frames.map { Array($0.icmp[0..<2]) } == [[3, 3]])
    }

    /// The guest's port is another program's: both sockets have one other port.
    @Test func bothSocketsHaveOnePort() throws {
        var host = try TestHost()
        let server = try FarEnd()
        let other = try FarEnd()
        let (port, seen) = (other.endpoint.port, server.seen)
        host.send(Self.request, from: port, to: Endpoint(TestHost.mapped4, 69))
        let socket = host.udp.table[0].socket
        let place = Endpoint(server.endpoint.address, try #require(try socket.localAddress().endpoint).port)
        try #require(place.port != port)
        try server.send(Self.data(1), to: place)
        let first = try Self.datagrams(&host)
        #expect(first.map(\.destinationPort) == [port])
        host.send(Self.acknowledgment(1), from: port, to: seen)
        host.endRound()
        #expect(try server.receive(1).map(\.source) == [place])
        try server.send(Self.data(2), to: place)
        let all = try Self.datagrams(&host)
        #expect(all.map(\.udpPayload) == [Self.data(1), Self.data(2)] && all.allSatisfy { $0.destinationPort == port && $0.sourcePort == seen.port })
    }

    /// The guest's port is forwarded, too: clients of it are not the server's, and are answered by whom they have contacted.
    @Test func besideAListener() throws {
        var host = try TestHost()
        let (socket, port) = try host.listenEverywhere()
        defer { socket.close() }
        let server = try FarEnd()
        let client = try FarEnd(IPAddress(IPv4Address("127.0.0.9")!))
        let place = Endpoint(server.endpoint.address, port)
        host.send(Self.request, from: port, to: Endpoint(TestHost.mapped4, 69))
        try client.send([7], to: place)
        try server.send(Self.data(1), to: place)
        let frames = try Self.datagrams(&host)
        let ports = [client.endpoint.port, server.endpoint.port]
        #expect(frames.map(\.udpPayload) == [[7], Self.data(1)] && frames.map(\.sourcePort) == ports)
        host.send([8], from: port, to: client.seen)
        host.endRound()
        let answers = try client.receive(1)
        #expect(answers.map(\.payload) == [[8]] && answers.map(\.source) == [place])
    }
}
