import Linux
import Settings
import Testing
import Wire

@testable import Datapath

/// Much of what costs a guest little: each kind has a limit of its own, and no flood keeps others from working.
@Suite(.serialized) struct FloodTests {
    /// The guest never goes on with what it has begun, or what it connects to never answers.
    @Test func synFlood() throws {
        var host = try AbuseHost(flows: 1024)
        let listener = try AbuseListener()
        try host.attack((1...3000).map { AbuseFrame.ip4(6, AbuseFrame.tcp($0, Int(listener.port), .syn)) })
        #expect(host.forwarder.tcp.table.count == 64 && host.forwarder.tcp.halfOpenOut.count == 64)
        #expect(host.count(.tcpGaveWay) == 3000 - 64 && host.count(.tcpOpened) == 3000 && host.count(.tcpTableFull) == 0)
        try host.converse()
        // The same from addresses that nobody has.
        try host.attack((1...3000).map { AbuseFrame.ip4(6, AbuseFrame.tcp($0, Int(listener.port), .syn), from: [192, 0, 2, UInt8(10 + $0 % 200)]) })
        #expect(host.forwarder.tcp.table.count == 64)
        try host.converse()
    }

    /// An open connection outlives every flood of others that are not.
    @Test func floodsDoNotEndWhatIsOpen() throws {
        var host = try AbuseHost(flows: 64, descriptors: 128)
        let listener = try AbuseListener()
        let connection = try #require(try host.open(listener.port))
        let peer = try #require(try listener.socket.accept()?.0)
        defer { peer.close() }
        try host.attack((1...500).map { AbuseFrame.ip4(6, AbuseFrame.tcp($0, Int(listener.port), .syn)) })
        try host.attack((1...500).map { AbuseFrame.ip4(17, AbuseFrame.udp(9, $0)) })
        try host.attack((1...500).map { AbuseFrame.ip4(1, AbuseFrame.echo($0)) })
        try host.send(connection, .ack | .psh, [1, 2, 3])
        try peer.setNonBlocking()
        var received: [UInt8] = []
        try host.run("the data arrives") { _ in
            received += try peer.readAll(limit: 10)
            return received == [1, 2, 3]
        }
    }

    @Test func udpToManyDestinations() throws {
        var host = try AbuseHost(flows: 1024)
        try host.attack((1...5000).map { AbuseFrame.ip4(17, AbuseFrame.udp(4000, $0 + 1000)) })
        // An eighth is not the guest's to take.
        #expect(host.forwarder.udp.table.count == 896 && host.count(.udpGaveWay) == 5000 - 896)
        #expect(host.count(.udpOpened) == 5000 && host.count(.udpTableFull) == 0)
        try host.converse()
    }

    /// What cannot be sent is told a hundred times at once and a thousand times a second (RFC 4443, section 2.4 (f)), and later again. Where tests run, nothing
    /// leads to this address.
    @Test func errorsAreLimited() throws {
        var host = try AbuseHost(flows: 1024)
        let frames = (1...3000).map { AbuseFrame.ip4(17, AbuseFrame.udp(4000, $0), to: [203, 0, 113, 1]) }
        let start = monotonicNanoseconds()
        try host.attack(frames)
        let milliseconds = Int((monotonicNanoseconds() - start) / 1_000_000)
        let told = host.count(.icmpErrorsToGuest)
        #expect(told >= 100 && told <= 101 + milliseconds && told + host.count(.icmpErrorsHeldBack) == 3000)
        try host.run(milliseconds: 150)
        try host.attack(Array(frames.prefix(50)))
        #expect(host.count(.icmpErrorsToGuest) == told + 50)
        try host.converse()
    }

    @Test func udpFromManySources() throws {
        var host = try AbuseHost(flows: 256)
        let far = try FarEnd()
        try host.attack((1...3000).map {
            AbuseFrame.ip4(17, AbuseFrame.udp($0, Int(far.endpoint.port)), from: [192, 0, UInt8(3 + $0 / 250), UInt8(1 + $0 % 250)])
        })
        #expect(host.forwarder.udp.table.count == 224 && host.count(.udpDatagramsFromGuest) == 3000)
        try host.converse()
    }

    @Test func pings() throws {
        var host = try AbuseHost(flows: 1024)
        try host.attack((1...3000).map { AbuseFrame.ip4(1, AbuseFrame.echo($0)) })
        #expect(host.forwarder.ping.table.count == 128 && host.count(.pingGaveWay) == 3000 - 128 && host.count(.pingRequests) == 3000)
        try host.converse()
        // One conversation, as fast as can be.
        try host.attack((1...3000).map { AbuseFrame.ip4(1, AbuseFrame.echo(5, $0)) })
        #expect(host.forwarder.ping.table.count == 128)
        try host.converse()
    }

    /// All flows together have fewer descriptors than each table has room: whoever has most gives way.
    @Test func descriptorsExhausted() throws {
        var host = try AbuseHost(flows: 1024, descriptors: 104)
        let listener = try AbuseListener()
        for round in 0..<3 {
            try host.attack((1...300).map { AbuseFrame.ip4(17, AbuseFrame.udp(4000 + round, $0 + 1000)) })
            try host.converse("after datagrams")
            try host.attack((1...300).map { AbuseFrame.ip4(1, AbuseFrame.echo($0)) })
            try host.converse("after pings")
            try host.attack((1...300).map { AbuseFrame.ip4(6, AbuseFrame.tcp($0, Int(listener.port), .syn)) })
            try host.converse("after SYNs")
            let flows = host.forwarder.tcp.table.count + host.forwarder.udp.table.count + host.forwarder.ping.table.count
            #expect(flows <= 80)
        }
        #expect(host.count(.udpSocketFailed) == 0 && host.count(.tcpSocketFailed) == 0 && host.count(.pingSocketFailed) == 0)
        #expect(host.count(.listenersPaused) == 0)
    }

    /// The system had no descriptors left for a moment. What was learned from that does not count for ever.
    @Test func aLackOfDescriptorsPasses() throws {
        var host = try AbuseHost(flows: 1024, descriptors: 300)
        host.forwarder.tcp.lacksDescriptors = true
        var found: [Int] = []
        for now in [50_000, 59_999, 60_000, 60_001, 70_000, 80_000, 90_000, 100_000, 110_000] as [Int64] {
            host.forwarder.limitFlows(by: 1, now: now)
            found.append(host.forwarder.descriptors)
        }
        // Whoever asks hears of it, not only a guest's frames.
        host.forwarder.tcp.lacksDescriptors = true
        host.forwarder.limitFlows(by: 1, now: 200_000)
        let room = host.forwarder.guestRoom(now: 300_000)
        #expect(room > 200)
        let first = found[0]
        #expect(first < 100 && found[1] == first && found[2] == 2 * first && found[3] == 2 * first && found[4] == 4 * first, "\(found)")
        #expect(found.last == 300)
    }

    /// Where everything is taken by connections that are open, new ones are refused, others still get in, and an end makes room.
    @Test func tableFull() throws {
        var host = try AbuseHost(flows: 16)
        let listener = try AbuseListener()
        var open: [AbuseConnection] = []
        for _ in 0..<14 { open.append(try #require(try host.open(listener.port))) }
        for _ in 0..<5 { #expect(try host.open(listener.port) == nil) }
        #expect(host.count(.tcpTableFull) == 5 && host.forwarder.tcp.table.count == 14 && host.count(.tcpGaveWay) == 0)
        // A forwarded port.
        let inbound = try AbuseListener()
        try host.listen(inbound, leadingTo: 8080)
        let client = try Descriptor.socket(.stream, for: IPAddress(IPv4Address.loopback))
        defer { client.close() }
        _ = try client.connect(SocketAddress(Endpoint(IPAddress(IPv4Address.loopback), inbound.port)))
        try host.run("a SYN to the guest") { $0.sent.contains { $0.proto == 6 && $0.destinationPort == 8080 && $0.tcpFlags == .syn } }
        #expect(host.count(.tcpAccepted) == 1 && host.forwarder.tcp.table.count == 15)
        try host.send(open[0], .rst | .ack)
        try host.run("the reset") { $0.forwarder.tcp.table.count == 14 }
        try host.converseTCP()
    }

    /// So many sockets that are open at once, connected to a port of loopback.
    private func loopbackClients(_ count: Int, _ kind: Descriptor.SocketKind, of port: UInt16) throws -> [Descriptor] {
        try (0..<count).map { _ in
            let client = try Descriptor.socket(kind, for: IPAddress(IPv4Address.loopback))
            _ = try client.connect(SocketAddress(Endpoint(IPAddress(IPv4Address.loopback), port)))
            return client
        }
    }

    /// Those who connect to the guest cannot take what it needs itself, however many they are.
    @Test func inboundLeavesTheGuestItsShare() throws {
        var host = try AbuseHost(flows: 1024, descriptors: 104)
        let inbound = try AbuseListener()
        try host.listen(inbound, leadingTo: 8080)
        let clients = try loopbackClients(100, .stream, of: inbound.port)
        defer { for client in clients { client.close() } }
        var answered = 0
        try host.run("a pause") { $0.count(.listenersPaused) > 0 || $0.count(.tcpAccepted) == 100 }
        for _ in 0..<30 {
            let syns = host.sent.filter { $0.proto == 6 && $0.destinationPort == 8080 && $0.tcpFlags == .syn }
            for syn in syns[answered...] {
                let end = AbuseConnection(port: 8080, remotePort: Int(syn.sourcePort), sequence: 9000, expected: syn.tcpSequence &+ 1)
                try host.send(end, .syn | .ack)
            }
            answered = syns.count
            try host.run(milliseconds: 10)
        }
        let count = host.forwarder.tcp.table.count
        #expect(count >= 50 && count <= 72, "\(count)")
        try host.converse()
    }

    /// What nobody behind the guest answers gives way to others.
    @Test func inboundWithoutAnAnswerGivesWay() throws {
        var host = try AbuseHost(flows: 4096, descriptors: 104)
        let inbound = try AbuseListener()
        try host.listen(inbound, leadingTo: 8080)
        let clients = try loopbackClients(100, .stream, of: inbound.port)
        defer { for client in clients { client.close() } }
        try host.run("all are accepted") { $0.count(.tcpAccepted) == 100 }
        let (count, gone) = (host.forwarder.tcp.table.count, host.count(.tcpGaveWay))
        #expect(count <= 72 && gone >= 28, "\(count) \(gone)")
        try host.converse()
    }

    /// A listener that somebody has ended says so for ever, also where there are no descriptors for who comes by it.
    @Test func anEndedListenerIsNoneWhereDescriptorsLack() throws {
        var host = try AbuseHost(flows: 1024, descriptors: 104)
        let server = try AbuseListener()
        let outward = try AbuseListener()
        try host.listen(outward, outwardTo: server.port)
        let clients = try loopbackClients(60, .stream, of: outward.port)
        defer { for client in clients { client.close() } }
        try host.run("a pause") { $0.count(.listenersPaused) > 0 }
        try outward.socket.shutdown(2)
        try host.run("its end") { $0.count(.listenersEnded) == 1 }
        let before = host.count(.wakeUps)
        try host.run(milliseconds: 300)
        let wakeUps = host.count(.wakeUps) - before
        #expect(wakeUps < 100, "\(wakeUps)")
    }

    /// Others open connections that the guest does not answer.
    @Test func inboundFlood() throws {
        var host = try AbuseHost(flows: 256)
        let inbound = try AbuseListener()
        try host.listen(inbound, leadingTo: 8080)
        let clients = try loopbackClients(100, .stream, of: inbound.port)
        defer { for client in clients { client.close() } }
        try host.run("all are accepted") { $0.count(.tcpAccepted) == 100 }
        #expect(host.forwarder.tcp.table.count == 16 && host.count(.tcpGaveWay) == 84)
        try host.converse()
    }

    /// Connections of the namespace's loopback take two descriptors each, and leave an eighth to others; those that find none wait.
    @Test func bypassExhaustsDescriptors() throws {
        var host = try AbuseHost(flows: 1024, descriptors: 104)
        let server = try AbuseListener()
        let outward = try AbuseListener()
        try host.listen(outward, outwardTo: server.port)
        var clients = try loopbackClients(60, .stream, of: outward.port)
        defer { for client in clients { client.close() } }
        try host.run("a pause") { $0.count(.listenersPaused) > 0 }
        let most = host.forwarder.bypass.connections.table.count
        #expect(most >= 25 && most <= 35, "\(most)")
        // Others still get in.
        let inward = try AbuseListener()
        try host.listen(inward, leadingTo: 8080)
        let other = try Descriptor.socket(.stream, for: IPAddress(IPv4Address.loopback))
        defer { other.close() }
        _ = try other.connect(SocketAddress(Endpoint(IPAddress(IPv4Address.loopback), inward.port)))
        try host.run("a SYN to the guest") { $0.sent.contains { $0.proto == 6 && $0.destinationPort == 8080 && $0.tcpFlags == .syn } }
        // Whoever waits comes after who goes.
        while clients.count > 20 { clients.removeFirst().close() }
        var served = 0
        try server.socket.setNonBlocking()
        try host.run("all are served") { _ in
            while let (peer, _) = try server.socket.accept() {
                peer.close()
                served += 1
            }
            return served == 60
        }
        while let client = clients.popLast() { client.close() }
        try host.run("all are gone") { $0.forwarder.bypass.connections.table.count == 0 && $0.forwarder.bypass.guestDescriptors == 0 }
        try host.converse()
    }

    /// Clients of datagrams that nobody has answered give way to the next ones: no more descriptors than the guest's share, and nothing is lost.
    @Test func bypassOfDatagramsExhaustsDescriptors() throws {
        var host = try AbuseHost(flows: 1024, descriptors: 104)
        let server = try FarEnd()
        let socket = try ListenerSocket(isTCP: false, address: IPAddress(IPv4Address.loopback), port: 0, servesIPv4: true).open()
        let port = try #require(try socket.localAddress().endpoint).port
        let entry = ListenerEntry(
            socket, isTCP: false, isOutbound: true, address: IPAddress(IPv4Address.loopback), port: port,
            ListenerTarget(port: server.endpoint.port, address: nil))
        let index = try host.forwarder.listen(entry)
        // All at once, so that no two of them are given the same port.
        let senders = try loopbackClients(150, .datagram, of: port)
        defer { for sender in senders { sender.close() } }
        for sender in senders { #expect(sender.sendSome([1]) == 1) }
        try host.run("all are looked at") { $0.count(.spliceClients) + $0.count(.spliceFailed) == 150 }
        let clients = host.forwarder.bypass.guestDescriptors
        #expect(clients >= 60 && clients <= 71, "\(clients)")
        #expect(host.count(.spliceClients) == 150 && host.count(.spliceClientsEnded) == 150 - clients)
        #expect(try server.receive(150).count == 150)
        host.forwarder.stopListening(index)
    }

    /// Neither side takes what the other sends: nothing is kept here, and nothing spins.
    @Test func nobodyReads() throws {
        var host = try AbuseHost(flows: 256)
        let listener = try AbuseListener()
        var peers: [Descriptor] = []
        defer { for peer in peers { peer.close() } }
        let buffer = try Mapping(byteCount: 60_000)
        let load = [UInt8](repeating: 7, count: 1400)
        for _ in 0..<8 {
            // Its window holds a thousand bytes, and it acknowledges none of them.
            let connection = try #require(try host.open(listener.port, window: 1000))
            let peer = try #require(try listener.socket.accept()?.0)
            try peer.setNonBlocking()
            peers.append(peer)
            while peer.write(from: buffer, offset: 0, length: buffer.byteCount).count > 0 {}
            // And what it sends itself is read by nobody.
            for number in 0..<100 { try host.send(connection, .ack, load, at: connection.sequence &+ UInt32(number * 1400), window: 1000) }
            try host.run("the data is taken") { $0.forwarder.port.link.isIdle }
        }
        try host.run(milliseconds: 200)
        let before = host.count(.wakeUps)
        try host.run(milliseconds: 300)
        // Timers of 8 connections, a few each.
        #expect(host.count(.wakeUps) - before < 300, "\(host.count(.wakeUps) - before)")
        try host.converse()
    }
}
