import Linux
import Settings
import Testing
import Wire

@testable import Datapath

/// Frames that must not do what they ask for, each with the counter that tells of it.
@Suite(.serialized) struct HostileFrameTests {
    private typealias F = AbuseFrame
    private static let broadcast = [UInt8](repeating: 0xff, count: 6)

    private static func arp(_ operation: UInt8, _ sender: [UInt8], _ senderMAC: [UInt8], _ target: [UInt8]) -> [UInt8] {
        F.ethernet(0x0806, [0, 1, 8, 0, 6, 4, 0, operation] + senderMAC + sender + [UInt8](repeating: 0, count: 6) + target, to: broadcast)
    }

    /// Claiming to be the router moves nothing: replies and announcements are not listened to.
    @Test func theGatewayCannotBeSpoofed() throws {
        var host = try AbuseHost()
        let other: [UInt8] = [2, 0, 0, 0, 0, 9]
        let before = host.sent.count
        for operation: UInt8 in [1, 2] {
            try host.attack([
                Self.arp(operation, F.router, F.guestMAC, F.router), Self.arp(operation, F.router, F.routerMAC, F.router), Self.arp(operation, F.router, other, F.guest),
            ])
        }
        #expect(host.sent.count == before && host.count(.arpReplies) == 0)
        try host.attack([Self.arp(1, F.guest, F.guestMAC, F.router)])
        let reply = try #require(host.sent.last)
        #expect(Array(reply.bytes[6..<12]) == F.routerMAC && Array(reply.bytes[22..<28]) == F.routerMAC && host.count(.arpReplies) == 1)
        try host.converse()
        // Neither do frames from our own address, to whom we would answer.
        try host.attack([F.ip4(17, F.udp(1, 2)), F.ip4(6, F.tcp(1, 2, .syn))].map { $0.prefix(6) + F.routerMAC + $0.dropFirst(12) })
        #expect(host.count(.droppedNotForUs) == 2 && host.forwarder.port.guestMAC == MACAddress(0x5254_0012_3456))
        try host.converse()
    }

    /// Sources that cannot be, or that would take what others send to the guest somewhere else.
    @Test func sourcesThatCannotBe() throws {
        var host = try AbuseHost()
        let sources: [[UInt8]] = [[0, 0, 0, 0], [0, 1, 2, 3], [127, 0, 0, 1], [224, 0, 0, 1], [255, 255, 255, 255], F.router]
        for source in sources { try host.attack([F.ip4(17, F.udp(1, 9), from: source), F.ip4(6, F.tcp(1, 9, .syn), from: source)]) }
        let six = [UInt8](repeating: 0, count: 16)
        let mapped = [UInt8](repeating: 0, count: 10) + [0xff, 0xff, 192, 0, 2, 2]
        for source in [six, F.router6, mapped, six.dropLast() + [1], [0xff, 2] + six.dropLast(2)] {
            try host.attack([F.ip6(17, F.udp(1, 9), from: source), F.ip6(6, F.tcp(1, 9, .syn), from: source)])
        }
        #expect(host.count(.droppedAddress) == 22, "\(host.count(.droppedAddress))")
        #expect(host.forwarder.guest.ipv4 == IPv4Address("192.0.2.2") && host.forwarder.guest.ipv6 == IPv6Address("2001:db8::2"))
        #expect(host.forwarder.tcp.table.count == 0 && host.forwarder.udp.table.count == 0)
        try host.converse()
    }

    /// About what was sent to all stations, no error is told, whatever its IP address (RFC 1122, section 3.2.2). Where tests run, nothing leads to this one.
    @Test func whatIsForAllStationsIsRefusedQuietly() throws {
        var host = try AbuseHost()
        let nowhere: [UInt8] = [203, 0, 113, 1]
        let frames = [F.ip4(17, F.udp(1, 9), to: nowhere), F.ip4(1, F.echo(1), to: nowhere)]
        try host.attack(frames.map { Self.broadcast + $0.dropFirst(6) })
        let datagram = F.udp(1, 9, [UInt8](repeating: 1, count: 16))
        let parts = [F.ip4(17, Array(datagram[..<16]), to: nowhere, fragment: 0x2000), F.ip4(17, Array(datagram[16...]), to: nowhere, fragment: 2)]
        try host.attack(parts.map { Self.broadcast + $0.dropFirst(6) })
        #expect(host.count(.udpSocketFailed) == 2 && host.count(.pingSocketFailed) == 1 && host.count(.icmpErrorsToGuest) == 0)
        try host.attack(frames)
        #expect(host.count(.udpSocketFailed) == 3 && host.count(.pingSocketFailed) == 2 && host.count(.icmpErrorsToGuest) == 2)
    }

    @Test func destinationsThatCannotBe() throws {
        var host = try AbuseHost()
        let destinations: [[UInt8]] = [[0, 0, 0, 0], [127, 0, 0, 1], [127, 9, 9, 9]]
        for destination in destinations { try host.attack([F.ip4(17, F.udp(1, 9), to: destination), F.ip4(6, F.tcp(1, 9, .syn), to: destination)]) }
        // Connections to many, and ports that are none.
        try host.attack([
            F.ip4(6, F.tcp(1, 9, .syn), to: [224, 0, 0, 1]), F.ip4(6, F.tcp(1, 9, .syn), to: [255, 255, 255, 255]), F.ip4(6, F.tcp(0, 9, .syn)),
            F.ip4(6, F.tcp(9, 0, .syn)), F.ip4(17, F.udp(0, 9)), F.ip4(17, F.udp(9, 0)),
        ])
        #expect(host.count(.droppedAddress) == 12 && host.forwarder.tcp.table.count == 0 && host.forwarder.udp.table.count == 0)
        // Addresses of IPv4 in packets of IPv6.
        let mapped = [UInt8](repeating: 0, count: 10) + [0xff, 0xff, 192, 0, 2, 1]
        try host.attack([
            F.ip6(6, F.tcp(1, 9, .syn), to: mapped), F.ip6(17, F.udp(1, 9), to: mapped), F.ip6(58, [128, 0, 0, 0, 0, 1, 0, 1], to: mapped),
            F.ip6(44, [17, 0, 0, 1, 0, 0, 0, 1] + F.udp(1, 9), to: mapped), F.ip6(132, [UInt8](repeating: 0, count: 16), to: mapped),
        ])
        #expect(host.count(.droppedAddress) == 17 && host.count(.droppedProtocol) == 0 && host.forwarder.tcp.table.count == 0)
        try host.converse()
    }

    @Test func fragmentsAndExtensionHeaders() throws {
        var host = try AbuseHost()
        let syn = F.tcp(1, 9, .syn)
        try host.attack([
            F.ip4(6, syn, fragment: 0x2000), F.ip4(6, syn, fragment: 1), F.ip4(17, F.udp(1, 9), fragment: 0x3fff),
            F.ip6(44, [6, 0, 0, 1, 0, 0, 0, 1] + syn), F.ip6(44, [17, 0, 0, 8, 0, 0, 0, 1] + F.udp(1, 9)),
        ])
        // The last one waits for the others.
        #expect(host.count(.droppedFragment) == 4)
        // Chains that are too long, that leave the packet, that have a routing header in use.
        func chain(_ count: Int, _ kind: UInt8 = 60) -> [UInt8] {
            (0..<count).flatMap { [$0 == count - 1 ? 6 : kind, 0, 1, 4, 0, 0, 0, 0] as [UInt8] } + syn
        }
        try host.attack([
            F.ip6(60, chain(9)), F.ip6(60, chain(100)), F.ip6(60, [60, 255, 1, 4, 0, 0, 0, 0] + syn), F.ip6(60, [6, 0, 1]),
            F.ip6(43, [6, 0, 0, 1, 0, 0, 0, 0] + syn), F.ip6(0, chain(8000, 0)),
        ])
        #expect(host.count(.droppedMalformed) == 6 && host.forwarder.tcp.table.count == 0)
        try host.converse()
    }

    /// Who leaves a part out hears of it, where the first one was there (RFC 1122, section 3.3.2; RFC 8200, section 4.5), and the parts are counted.
    @Test func partsThatAreMissing() throws {
        var host = try AbuseHost()
        let datagram = F.udp(700, 9, [UInt8](repeating: 1, count: 16))
        let parts4 = [F.ip4(17, Array(datagram[..<16]), fragment: 0x2000), F.ip4(17, Array(datagram[..<16]), from: [192, 0, 2, 3], fragment: 0x2001)]
        try host.attack(parts4 + [Self.broadcast + F.ip4(17, Array(datagram[..<16]), to: [203, 0, 113, 1], fragment: 0x2000).dropFirst(6)])
        try host.attack([F.ip6(44, [17, 0, 0, 1, 0, 0, 0, 1] + datagram[..<16]), F.ip6(44, [17, 0, 0, 9, 0, 0, 0, 2] + datagram[..<16])])
        let now = monotonicNanoseconds() / 1_000_000
        host.forwarder.giveUpFragments(now: now)
        #expect(host.count(.droppedFragment) == 0 && host.sent.isEmpty)
        host.forwarder.giveUpFragments(now: now + 30_000)
        #expect(host.count(.droppedFragment) == 5 && host.count(.icmpErrorsToGuest) == 2 && host.sent.count == 2)
        let errors = host.sent.map(\.icmp)
        try #require(errors.count == 2)
        #expect(errors.map { Array($0[..<2]) } == [[11, 1], [3, 1]])
        #expect(Array(errors[0][28..<32]) == Array(datagram[..<4]) && Array(errors[1][48..<52]) == Array(datagram[..<4]))
        try host.converse()
    }

    /// A frame with a priority (IEEE 802.1Q) is as any other; one of a VLAN is nobody's, nor is a tag behind a tag.
    @Test func taggedFrames() throws {
        func tagged(_ frame: [UInt8], _ tag: [UInt8] = [0x81, 0, 0xe0, 0]) -> [UInt8] { frame[..<12] + tag + frame[12...] }
        var host = try AbuseHost()
        let far = try FarEnd()
        try host.attack([tagged(F.ip4(17, F.udp(701, Int(far.endpoint.port), [7])))])
        #expect(try far.receive(1).map(\.payload) == [[7]])
        try host.attack([tagged(F.ip4(1, F.echo(3))), tagged(Self.arp(1, F.guest, F.guestMAC, F.router))])
        #expect(host.count(.pingReplies) == 1 && host.count(.arpReplies) == 1)
        let listener = try AbuseListener()
        try host.attack([tagged(F.ip4(6, F.tcp(702, Int(listener.port), .syn)))])
        let answer = try #require(host.segments(to: AbuseConnection(port: 702, remotePort: 0, sequence: 0, expected: 0)).first)
        let hello = F.tcp(702, Int(listener.port), [.ack, .psh], sequence: 1001, acknowledgment: answer.tcpSequence &+ 1, Array("hello ".utf8))
        let rest = F.tcp(702, Int(listener.port), [.ack, .psh], sequence: 1007, acknowledgment: answer.tcpSequence &+ 1, Array("there ".utf8))
        try host.attack([tagged(F.ip4(6, hello)), F.ip4(6, rest)])
        let peer = try #require(try listener.socket.accept()?.0)
        defer { peer.close() }
        try peer.setNonBlocking()
        #expect(try peer.readAll(limit: 100) == Array("hello there ".utf8))
        #expect(host.count(.droppedProtocol) == 0 && host.count(.droppedMalformed) == 0)
        let echo = F.ip4(1, F.echo(4))
        try host.attack([
            tagged(echo, [0x81, 0, 0, 5]), tagged(echo, [0x81, 0, 0xef, 0xff]), tagged(tagged(echo)), Array(tagged(echo)[..<17]), Array(tagged(echo)[..<15]),
        ])
        #expect(host.count(.droppedProtocol) == 5 && host.count(.pingReplies) == 1)
        try host.attack([Array(tagged(echo)[..<18])])
        #expect(host.count(.droppedMalformed) == 1)
        try host.converse()
    }

    @Test func badLengths() throws {
        var host = try AbuseHost()
        let syn = F.tcp(1, 9, .syn)
        var frames = [
            F.ip4(6, syn, length: 19), F.ip4(6, syn, length: 41), F.ip4(6, syn, length: 65535), F.ip4(6, syn, length: 0), F.ip4(6, syn, length: 39),
            F.ip4(17, F.udp(1, 9, length: 7)), F.ip4(17, F.udp(1, 9, length: 10)), F.ip4(17, F.udp(1, 9, length: 65535)), F.ip4(17, [0, 1, 0, 9]),
            F.ip4(1, [8, 0, 0]), F.ip4(1, []), F.ip6(6, syn, length: 21), F.ip6(6, syn, length: 65535), F.ip6(58, [128]), F.ip6(17, []),
        ]
        // Data offsets of 0 to 16 bytes, and one beyond the segment; IP headers of such lengths, and of other versions.
        for offset: UInt8 in [0x00, 0x10, 0x40, 0x60, 0xf0] { frames.append(F.ip4(6, Array(syn[..<12]) + [offset] + Array(syn[13...]))) }
        for first: UInt8 in [0x00, 0x41, 0x44, 0x4f, 0x65, 0xf5] {
            var frame = F.ip4(6, syn)
            frame[14] = first
            frames.append(frame)
        }
        try host.attack(frames)
        #expect(host.count(.droppedMalformed) == frames.count, "\(host.count(.droppedMalformed)) of \(frames.count)")
        // Every frame cut at every length, and every length field with every extreme.
        for whole in [F.ip4(6, syn), F.ip4(17, F.udp(1, 9)), F.ip6(6, syn), F.ip6(60, [6, 0, 1, 4, 0, 0, 0, 0] + syn), F.ip4(1, F.echo(1))] {
            var cut = (0..<whole.count).map { Array(whole[..<$0]) }
            for position in 14..<whole.count {
                for value: UInt8 in [0, 1, 0x7f, 0x80, 0xff] {
                    var frame = whole
                    frame[position] = value
                    cut.append(frame)
                }
            }
            try host.attack(cut)
        }
        try host.converse()
    }

    @Test func protocolsThatNobodyKnows() throws {
        var host = try AbuseHost()
        var frames: [[UInt8]] = []
        let protocols: [UInt8] = [0, 2, 4, 41, 47, 50, 132, 136, 255]
        for proto in protocols { frames.append(F.ip4(proto, [UInt8](repeating: 0xff, count: 40))) }
        for type in [0x0000, 0x05dc, 0x8100, 0x88a8, 0x8847, 0xffff] { frames.append(F.ethernet(type, [UInt8](repeating: 0xff, count: 40))) }
        // Segmentation that the header does not explain, and ICMP that only routers send.
        for kind: UInt8 in [0, 3, 5, 11, 13, 17] { frames.append(F.ip4(1, [kind, 0, 0, 0, 0, 0, 0, 0] + [UInt8](repeating: 0x45, count: 28))) }
        try host.attack(frames)
        #expect(host.count(.droppedProtocol) == frames.count)
        // Who speaks another protocol hears that nobody understands it.
        #expect(host.sent.map { Array($0.icmp.prefix(2)) } == protocols.map { _ in [3, 2] })
        #expect(host.sent.map { $0.icmp[8 + 9] } == protocols && host.sent.allSatisfy { $0.icmp.suffix(8) == [UInt8](repeating: 0xff, count: 8)[...] })
        try host.converse()
    }

    /// In IPv6 as well; but not about what was sent to many, what says that there is nothing, and what is too short to be quoted.
    @Test func protocolsOfIPv6() throws {
        var host = try AbuseHost()
        let payload = [UInt8](repeating: 0xff, count: 40)
        try host.attack([F.ip6(132, payload), F.ip6(59, payload), F.ip6(132, [1, 2, 3, 4])])
        var many = F.ip6(132, payload)
        many[0] |= 1
        try host.attack([many])
        #expect(host.count(.droppedProtocol) == 4)
        let answers = host.sent.filter { $0.proto == 58 && $0.icmp[0] == 4 }
        #expect(answers.count == 1)
        let answer = try #require(answers.first).icmp
        #expect(answer[1] == 1 && answer[4..<8] == [0, 0, 0, 6] && answer[8 + 6] == 132)
    }

    /// RFC 5961: who can guess ports but not numbers neither ends a connection nor puts anything into it.
    @Test func numbersThatDoNotFit() throws {
        var host = try AbuseHost()
        let listener = try AbuseListener()
        let connection = try #require(try host.open(listener.port))
        let peer = try #require(try listener.socket.accept()?.0)
        defer { peer.close() }
        try peer.setNonBlocking()
        let (next, expected) = (connection.sequence, connection.expected)
        for distance: UInt32 in [1, 1000, 65536, 1 << 20, 1 << 30, 1 << 31, UInt32.max - 1000, .max] {
            try host.send(connection, .rst, at: next &+ distance)
            try host.send(connection, .rst | .ack, at: next &+ distance, acknowledging: expected &+ 9)
            try host.send(connection, .syn, at: next &+ distance)
            try host.send(connection, .syn | .ack, at: next &+ distance)
            // Within a window that there may be, data with the right acknowledgement is data, and waits for what is missing before it.
            if (1 << 30..<UInt32.max).contains(distance) { try host.send(connection, .ack | .psh, Array("evil".utf8), at: next &+ distance &+ 4) }
            try host.send(connection, .ack | .fin, at: next &+ distance)
            // What was never sent, and what is older than any window was.
            try host.send(connection, .ack | .fin | .psh, Array("evil".utf8), at: next, acknowledging: expected &+ min(distance, UInt32.max - 70_000))
            try host.send(connection, [], Array("evil".utf8), at: next)
            try host.run("they are taken") { $0.forwarder.port.link.isIdle }
        }
        try host.run(milliseconds: 20)
        #expect(host.forwarder.tcp.table.count == 1)
        // Each was answered by where we are, and by nothing else.
        let answers = host.segments(to: connection).dropFirst()
        #expect(answers.allSatisfy { $0.tcpFlags == .ack && $0.tcpAcknowledgment == next && $0.tcpSequence == expected })
        #expect(!answers.isEmpty && answers.count <= 64)
        try host.send(connection, .ack | .psh, Array("good".utf8))
        var received: [UInt8] = []
        try host.run("the data arrives") { _ in
            received += try peer.readAll(limit: 100)
            return received.count >= 4
        }
        #expect(received == Array("good".utf8))
        try host.converse()
    }

    /// Segments of no connection: one reset each, none for a reset, nothing kept.
    @Test func segmentsOfNoConnection() throws {
        var host = try AbuseHost()
        let flags: [TCPFlags] = [.ack, .ack | .psh, .fin | .ack, .syn | .ack, .syn | .fin, [], .fin, .fin | .psh | .urg]
        try host.attack(flags.enumerated().map { F.ip4(6, F.tcp(100 + $0, 9, $1, acknowledgment: 5)) })
        #expect(host.count(.tcpResetsToGuest) == flags.count && host.forwarder.tcp.table.count == 0)
        try host.attack([F.ip4(6, F.tcp(100, 9, .rst)), F.ip4(6, F.tcp(100, 9, .rst | .ack)), F.ip4(6, F.tcp(100, 9, .syn | .rst))])
        #expect(host.count(.tcpResetsToGuest) == flags.count && host.forwarder.tcp.table.count == 0)
        try host.converse()
    }
}
