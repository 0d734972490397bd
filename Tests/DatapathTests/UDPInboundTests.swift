import Glibc
import Linux
import Settings
import Testing
import Wire

@testable import Datapath

/// Datagrams of others to forwarded ports, with real sockets on loopback.
@Suite struct UDPInboundTests {
    static let v4 = IPAddress(IPv4Address.loopback)
    static let v6 = IPAddress(IPv6Address.loopback)

    /// A listener as Setup makes it, on every address of both families, and how it leads to the guest's port 53.
    private static func listener(_ host: inout TestHost, _ target: IPAddress? = nil) throws -> ListenerEntry {
        let any = IPAddress(IPv6Address.any)
        let socket = try ListenerSocket(isTCP: false, address: any, port: 0, servesIPv4: true).open()
        let port = try #require(try socket.localAddress().endpoint).port
        var table = try ListenerTable()
        let epoll = try Epoll()
        defer { epoll.descriptor.close() }
        let entry = ListenerEntry(socket, isTCP: false, isOutbound: false, address: any, port: port, ListenerTarget(port: 53, address: target))
        host.udp.sharing.add(0, entry)
        return table[try table.add(entry, to: epoll)]
    }

    private static let guest: GuestIdentity = GuestIdentity(TestHost.network())

    @Test("Lesson 31: answers leave from the address that the client contacted", arguments: [v4, v6])
    func lesson31_answersLeaveFromTheAddressContacted(_ loopback: IPAddress) throws {
        var host = try TestHost()
        let listener = try Self.listener(&host)
        defer { listener.socket.close() }
        let client = try FarEnd(loopback)
        let others = loopback.isIPv4 ? [loopback, IPAddress(IPv4Address("127.0.0.9")!), loopback] : [loopback]
        for (round, address) in others.enumerated() {
            try client.send([UInt8(round)], to: Endpoint(address, listener.port))
            host.udp.receiveInbound(on: listener, 0, Self.guest, &host.bypass, &host.port, now: host.now)
            let frame = try #require(host.frames.last)
            #expect(frame.udpPayload == [UInt8(round)])
            #expect(frame.source == client.seen.address && frame.sourcePort == client.endpoint.port)
            #expect(frame.destination == (loopback.isIPv4 ? TestHost.guest4 : TestHost.guest6) && frame.destinationPort == 53)
            #expect(frame.offload.flags.contains(.needsChecksum))
            host.send([99, UInt8(round)], from: 53, to: client.seen)
            host.endRound()
            let answers = try client.receive(1)
            #expect(answers.map(\.payload) == [[99, UInt8(round)]])
            #expect(answers.map(\.source) == [Endpoint(address, listener.port)])
        }
        #expect(host.udp.table.count == 1)
    }

    @Test("Lesson 32: what was queued before the flow had its socket is not lost", arguments: [v4, v6])
    func lesson32_queuedDatagramsArriveInOrder(_ loopback: IPAddress) throws {
        var host = try TestHost()
        let listener = try Self.listener(&host)
        defer { listener.socket.close() }
        let first = try FarEnd(loopback)
        let second = try FarEnd(loopback)
        let place = Endpoint(loopback, listener.port)
        for number in 0..<12 {
            try first.send([1, UInt8(number)], to: place)
            try second.send([2, UInt8(number)], to: place)
        }
        host.udp.receiveInbound(on: listener, 0, Self.guest, &host.bypass, &host.port, now: host.now)
        #expect(host.frames.count == 24 && host.udp.table.count == 2 && host.udp.socketCount == 2)
        // From now on the flow's own sockets take them.
        for number in 12..<20 {
            try first.send([1, UInt8(number)], to: place)
            try second.send([2, UInt8(number)], to: place)
        }
        try host.run(limit: 200)
        host.udp.receiveInbound(on: listener, 0, Self.guest, &host.bypass, &host.port, now: host.now)
        for (sender, far) in [(UInt8(1), first.endpoint), (2, second.endpoint)] {
            let received = host.frames.filter { $0.sourcePort == far.port }.flatMap(\.udpDatagrams)
            #expect(received == (0..<20).map { [sender, UInt8($0)] })
        }
    }

    @Test("Lesson 36: what is for a group is not for the guest")
    func lesson36_groupsAreNotForwarded() throws {
        var host = try TestHost()
        let listener = try Self.listener(&host)
        defer { listener.socket.close() }
        let client = try FarEnd()
        try client.socket.setBroadcast()
        try client.send([1], to: Endpoint(IPAddress(IPv4Address("127.255.255.255")!), listener.port))
        try client.send([2], to: Endpoint(Self.v4, listener.port))
        host.udp.receiveInbound(on: listener, 0, Self.guest, &host.bypass, &host.port, now: host.now)
        #expect(host.frames.map(\.udpPayload) == [[2]])
        #expect(host.port.counters[.udpStrays] == 1)
    }

    @Test func nobodyIsAnsweredWithoutAnAddress() throws {
        var network = TestHost.network()
        network.ipv6 = nil
        var host = try TestHost(network: network)
        let listener = try Self.listener(&host)
        defer { listener.socket.close() }
        let client = try FarEnd(Self.v6)
        try client.send([1], to: Endpoint(Self.v6, listener.port))
        host.udp.receiveInbound(on: listener, 0, GuestIdentity(network), &host.bypass, &host.port, now: host.now)
        #expect(host.frames.isEmpty && host.udp.table.count == 0)
        #expect(host.port.counters[.inboundUnanswerable] == 1)
    }

    @Test func inAFullTableTheUnansweredGiveWay() throws {
        var host = try TestHost(capacity: 1)
        let listener = try Self.listener(&host)
        defer { listener.socket.close() }
        let first = try FarEnd()
        let second = try FarEnd()
        try first.send([1], to: Endpoint(Self.v4, listener.port))
        try second.send([2], to: Endpoint(Self.v4, listener.port))
        try first.send([3], to: Endpoint(Self.v4, listener.port))
        host.udp.receiveInbound(on: listener, 0, Self.guest, &host.bypass, &host.port, now: host.now)
        #expect(host.frames.map(\.udpPayload) == [[1], [2], [3]] && host.port.counters[.udpGaveWay] == 2)
        // One that the guest has answered stays.
        host.send([9], from: 53, to: first.seen)
        host.endRound()
        try second.send([4], to: Endpoint(Self.v4, listener.port))
        host.udp.receiveInbound(on: listener, 0, Self.guest, &host.bypass, &host.port, now: host.now)
        #expect(host.frames.count == 3 && host.port.counters[.udpTableFull] == 1 && host.port.counters[.udpGaveWay] == 2)
    }

    /// Whoever comes later does not get a forwarded port, however it asks: not even while clients have sockets of their own there.
    @Test(arguments: [v4, v6, IPAddress(IPv4Address.any), IPAddress(IPv6Address.any)]) func aForwardedPortIsNotShared(_ address: IPAddress) throws {
        var host = try TestHost()
        let listener = try Self.listener(&host)
        defer { listener.socket.close() }
        #expect(throws: Errno(98)) { try Self.takeOver(address, listener.port) }
        let client = try FarEnd()
        try client.send([1], to: Endpoint(Self.v4, listener.port))
        host.udp.receiveInbound(on: listener, 0, Self.guest, &host.bypass, &host.port, now: host.now)
        host.send([2], from: 53, to: client.seen)
        host.endRound()
        try client.send([3], to: Endpoint(Self.v4, listener.port))
        host.udp.receiveInbound(on: listener, 0, Self.guest, &host.bypass, &host.port, now: host.now)
        let isSeparate = !host.udp.table[0].flags.contains(.byListener)
        #expect(isSeparate)
        #expect(throws: Errno(98)) { try Self.takeOver(address, listener.port) }
    }

    /// What the guest's socket for a group is given in the listener's place is the listener's: who sends from loopback is heard, and answered by whom was contacted.
    @Test("Lesson 31: beside a group's socket, too") func lesson31_clientsOfAPortThatSpeaksToAGroup() throws {
        var network = TestHost.network()
        network.ipv4?.mapHostLoopback = nil
        network.ipv4?.outboundInterfaceIndex = 1  // lo
        var host = try TestHost(network: network)
        let (socket, port) = try host.listenEverywhere()
        defer { socket.close() }
        host.send([1], from: port, to: Endpoint(IPAddress(IPv4Address("239.255.77.66")!), 47808))
        host.endRound()
        let isBeside = host.udp.table[0].flags.isSuperset(of: [.group, .besideListener])
        try #require(isBeside)
        let client = try FarEnd()
        let place = Endpoint(IPAddress(IPv4Address("127.0.0.9")!), port)
        for round in 2...3 as ClosedRange<UInt8> {
            try client.send([round], to: place)
            try host.run(untilFrames: Int(round) - 1)
            let frame = try #require(host.frames.last)
            #expect(frame.udpPayload == [round] && frame.destinationPort == port)
            host.send([9, round], from: port, to: Endpoint(frame.source, frame.sourcePort))
            host.endRound()
            let answers = try client.receive(1)
            #expect(answers.map(\.payload) == [[9, round]] && answers.map(\.source) == [place])
        }
        // The listener spoke for it at first (lesson 56), so that strangers cost no sockets.
        let sockets = host.udp.socketCount
        for _ in 0..<20 { try FarEnd().send([1], to: place) }
        try host.run(untilFrames: 22)
        // One flow is the guest's to its group. Who comes after another one that has gone may have its port.
        let senders = Set(host.frames.map { "\($0.source) \($0.sourcePort)" })
        let (more, flows) = (host.udp.socketCount, host.udp.table.count)
        #expect(more == sockets && flows == senders.count + 1 && flows > 15)
    }

    /// As a program does that wants to share its port with others.
    private static func takeOver(_ address: IPAddress, _ port: UInt16) throws(Errno) {
        let socket = try Descriptor.socket(.datagram, for: address)
        defer { socket.close() }
        try socket.setReuseAddress()
        try socket.bind(SocketAddress(Endpoint(address, port)))
    }

    /// What a client of the guest's port 53 may do until it has a socket of its own, and what it hears.
    @Test("Lesson 56: who asks once has no socket, who goes on has one", arguments: ["client", "guest"], [v4, v6])
    func lesson56_aConversationHasASocket(_ whoGoesOn: String, _ loopback: IPAddress) throws {
        var host = try TestHost()
        let listener = try Self.listener(&host)
        defer { listener.socket.close() }
        let client = try FarEnd(loopback)
        let place = Endpoint(loopback, listener.port)
        try client.send([1], to: place)
        host.udp.receiveInbound(on: listener, 0, Self.guest, &host.bypass, &host.port, now: host.now)
        host.send([2], from: 53, to: client.seen)
        host.endRound()
        #expect(host.udp.table.count == 1 && host.udp.socketCount == 0)
        if whoGoesOn == "client" {
            try client.send([3], to: place)
            host.udp.receiveInbound(on: listener, 0, Self.guest, &host.bypass, &host.port, now: host.now)
        } else {
            host.send([3], from: 53, to: client.seen)
            host.endRound()
        }
        #expect(host.udp.table.count == 1 && host.udp.socketCount == 1)
        // Both ways by it, from here on.
        try client.send([4], to: place)
        try host.run(untilFrames: host.frames.count + 1)
        host.send([5], from: 53, to: client.seen)
        host.endRound()
        let answers = try client.receive(whoGoesOn == "client" ? 2 : 3)
        #expect(answers.map(\.payload) == (whoGoesOn == "client" ? [[2], [5]] : [[2], [3], [5]]))
        #expect(answers.allSatisfy { $0.source == place })
        #expect(host.frames.map(\.udpPayload) == (whoGoesOn == "client" ? [[1], [3], [4]] : [[1], [4]]))
        host.udp.endFlows(of: 0, &host.port)
        #expect(host.udp.table.count == 0 && host.udp.socketCount == 0)
    }

    @Test func lesson56_aStreamOfOneDirectionHasASocket() throws {
        var host = try TestHost()
        let listener = try Self.listener(&host)
        defer { listener.socket.close() }
        let client = try FarEnd()
        for number in 1...UDPTranslator.mostArrivals {
            #expect(host.udp.socketCount == 0)
            try client.send([number], to: Endpoint(Self.v4, listener.port))
            host.udp.receiveInbound(on: listener, 0, Self.guest, &host.bypass, &host.port, now: host.now)
        }
        #expect(host.udp.socketCount == 1 && host.frames.count == 8)
    }

    /// All are served, and no more than 256 of a listener have sockets; who ends makes room for others.
    @Test func lesson56_theKernelSearchesAmongFewSockets() throws {
        var host = try TestHost(capacity: 1024)
        let listener = try Self.listener(&host)
        defer { listener.socket.close() }
        let most = Int(UDPTranslator.mostSeparated)
        var clients: [Descriptor] = []
        defer { for client in clients { client.close() } }
        for number in 0..<most + 20 {
            let client = try Descriptor.socket(.datagram, for: Self.v4)
            clients.append(client)
            _ = try client.connect(SocketAddress(Endpoint(Self.v4, listener.port)))
            let seen = Endpoint(TestHost.mapped4, try #require(try client.localAddress().endpoint).port)
            for question in [UInt8(1), 2] {
                #expect(client.sendSome([question]) == 1)
                host.udp.receiveInbound(on: listener, 0, Self.guest, &host.bypass, &host.port, now: host.now)
                host.endRound()
                host.send([10 + question], from: 53, to: seen)
                host.endRound()
            }
            #expect(host.udp.socketCount == min(number + 1, most))
        }
        #expect(host.frames.count == 2 * (most + 20))
        for client in clients { #expect(client.receiveSome().bytes == [11, 12]) }
        let port = try #require(try clients[0].localAddress().endpoint).port
        let found = host.udp.table.find(FlowKey(guest: TestHost.guest4, guestPort: 53, remote: TestHost.mapped4, remotePort: port))
        let first = try #require(found)
        host.udp.close(first, &host.port)
        #expect(clients[most].sendSome([3]) == 1)
        host.udp.receiveInbound(on: listener, 0, Self.guest, &host.bypass, &host.port, now: host.now)
        #expect(host.udp.socketCount == most)
    }

    @Test("What stands for whom", arguments: [
        // Source, contacted, seen; with nothing mapped but the gateway's place.
        ("203.0.113.7", "198.51.100.1", "203.0.113.7"), ("127.0.0.1", "127.0.0.1", "192.0.2.1"), ("127.0.0.7", "127.0.0.1", "192.0.2.1"),
        ("192.0.2.2", "198.51.100.1", "192.0.2.1"), ("198.51.100.1", "198.51.100.1", "192.0.2.1"), ("2001:db8::7", "2001:db8::2", "2001:db8::7"),
        ("::1", "::1", "fe80::1234"), ("2001:db8::2", "2001:db8::9", "fe80::1234"), ("fe80::7", "fe80::2", "fe80::7"),
    ])
    func sources(_ source: String, _ local: String, _ seen: String) throws {
        var network = TestHost.network()
        network.ipv4?.mapHostLoopback = nil
        network.ipv6?.mapHostLoopback = nil
        let translation = AddressTranslation(network)
        let result = translation.inboundSource(try #require(IPAddress(source)), local: try #require(IPAddress(local)))
        #expect(result == IPAddress(seen))
    }

    @Test func linkLocalSendersReachTheLinkLocalAddress() throws {
        var guest = Self.guest
        let mac = MACAddress(0x5254_0012_3456)
        let sender = try #require(IPAddress("fe80::7"))
        #expect(guest.destination(for: sender, target: nil, mac: mac) == IPAddress("fe80::5054:ff:fe12:3456"))
        #expect(guest.destination(for: sender, target: nil, mac: .broadcast) == nil)
        guest.linkLocal = IPv6Address("fe80::2")
        #expect(guest.destination(for: sender, target: nil, mac: mac) == IPAddress("fe80::2"))
        #expect(guest.destination(for: sender, target: IPAddress("192.0.2.9"), mac: mac) == nil)
    }
}
