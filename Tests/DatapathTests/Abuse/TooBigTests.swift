import Linux
import Settings
import Testing
import Wire

@testable import Datapath

/// The guest is a router, and says of what it was sent that its next link takes less.
@Suite(.serialized) struct TooBigTests {
    private static let loopbacks = [IPAddress(IPv4Address.loopback), IPAddress(IPv6Address.loopback)]

    private static func packet(_ isIPv4: Bool, _ proto: UInt8, _ payload: [UInt8]) -> [UInt8] {
        isIPv4 ? AbuseFrame.ip4(proto, payload) : AbuseFrame.ip6(proto, payload)
    }

    /// What is said of `frame`: "fragmentation needed" or "packet too big", with as much of it as fits.
    private static func refusal(of frame: SentFrame, mtu: Int, quoted: Int = 548) -> [UInt8] {
        let quote = Array(frame.bytes[14..<frame.end].prefix(quoted))
        let head: [UInt8] = frame.isIPv4 ? [3, 4, 0, 0, 0, 0] + AbuseFrame.word(mtu) : [2, 0, 0, 0] + AbuseFrame.long(UInt32(mtu))
        return packet(frame.isIPv4, frame.isIPv4 ? 1 : 58, head + quote)
    }

    /// A connection of the guest's to `listener`, whose SYN asks for segments of 8960 bytes, and its other end.
    private static func open(_ host: inout AbuseHost, _ listener: Descriptor, isIPv4: Bool) throws -> Descriptor {
        let port = Int(try #require(try listener.localAddress().endpoint).port)
        var syn = AbuseFrame.tcp(51_300, port, .syn) + [2, 4]
        syn += AbuseFrame.word(8960)
        syn[12] = 0x60
        try host.attack([packet(isIPv4, 6, syn)])
        let answer = try #require(host.sent.last { $0.proto == 6 })
        let end = AbuseFrame.tcp(51_300, port, .ack, sequence: 1001, acknowledgment: answer.tcpSequence &+ 1)
        try host.attack([packet(isIPv4, 6, end)])
        var peer: Descriptor?
        try host.run("the connection is accepted") { _ in
            peer = try listener.accept()?.0
            return peer != nil
        }
        return try #require(peer)
    }

    @Test(arguments: loopbacks)
    func lesson62_theGuestsMessageIsUnderstood(_ loopback: IPAddress) throws {
        var host = try AbuseHost()
        let isIPv4 = loopback.isIPv4
        let listener = try Descriptor.socket(.stream, for: loopback)
        defer { listener.close() }
        try listener.bind(SocketAddress(Endpoint(loopback, 0)))
        try listener.listen()
        let peer = try Self.open(&host, listener, isIPv4: isIPv4)
        defer { peer.close() }
        let before = host.sent.count
        try peer.write(String(repeating: "abcdefgh", count: 2500))
        try host.run("data") { host in host.sent[before...].contains { $0.proto == 6 && !$0.tcpPayload.isEmpty } }
        let first = try #require(host.sent[before...].first { $0.proto == 6 && !$0.tcpPayload.isEmpty })
        #expect(first.offload.segmentSize == 8960)
        // Cut off before the number, about another connection, or about a number that was never sent: nothing is sent again, and no segment becomes smaller.
        let header = isIPv4 ? 20 : 40
        let quote = 14 + header + 8
        var foreign = Self.refusal(of: first, mtu: 1400)
        foreign[quote + header + 1] ^= 1
        var never = Self.refusal(of: first, mtu: 1400)
        never[quote + header + 4] ^= 0x40
        var part = Self.refusal(of: first, mtu: 1400)
        if isIPv4 { part[quote + 7] = 1 } else { part[quote + 6] = 44 }
        let short = [0, 1, header - 1, header, header + 7].map { Self.refusal(of: first, mtu: 1400, quoted: $0) }
        try host.attack(short + [foreign, never, part])
        let size = host.forwarder.tcp.table[0].segmentSize
        #expect(size == 8960)
        let quiet = host.sent.count
        try host.attack([Self.refusal(of: first, mtu: 1400)])
        let again = host.sent[quiet...].filter { $0.proto == 6 && !$0.tcpPayload.isEmpty }
        #expect(again.first?.tcpSequence == first.tcpSequence && again.first?.offload.segmentSize == (isIPv4 ? 1360 : 1340))
        #expect(again.reduce(0) { $0 + $1.tcpPayload.count } == 20_000)
        // Datagrams are another matter: TCP's own say nothing of them.
        #expect(host.forwarder.port.mtu.value == (isIPv4 ? 9000 : 9020))
    }

    /// Datagrams and echo replies of IPv6 are cut smaller from then on. Who cannot name a flow is not heeded, and routers of IPv4 cut themselves.
    @Test(arguments: loopbacks)
    func lesson62_datagramsAreCutForTheLinkBehindTheGuest(_ loopback: IPAddress) throws {
        var host = try AbuseHost()
        let isIPv4 = loopback.isIPv4
        let far = try FarEnd(loopback)
        try host.attack([Self.packet(isIPv4, 17, AbuseFrame.udp(51_301, Int(far.endpoint.port)))])
        let received = try far.receive(1)
        let source = try #require(received.first).source
        var before = host.sent.count
        try far.send(pattern(3000), to: source)
        try host.run("a datagram") { host in host.sent[before...].contains { $0.proto == 17 } }
        let whole = try #require(host.sent[before...].first { $0.proto == 17 })
        #expect(whole.udpPayload == pattern(3000))
        var foreign = Self.refusal(of: whole, mtu: 1400)
        foreign[14 + 8 + (isIPv4 ? 20 : 40) + (isIPv4 ? 23 : 43)] ^= 1
        let short = Self.refusal(of: whole, mtu: 1400, quoted: isIPv4 ? 27 : 47)
        try host.attack([foreign, short])
        let told = host.forwarder.port.mtu.value
        #expect(told == 65520 && host.count(.droppedProtocol) == 2)
        try host.attack([Self.refusal(of: whole, mtu: 1400)])
        guard !isIPv4 else {
            #expect(host.forwarder.port.mtu.value == 65520 && host.count(.droppedProtocol) == 3)
            return
        }
        for (expected, next) in [(1400, 1280), (1280, 100), (1280, 100)] {
            before = host.sent.count
            try far.send(pattern(3000), to: source)
            try host.run("parts") { host in host.sent[before...].contains { $0.part?.hasMore == false } }
            let frames = host.sent[before...].filter { $0.part != nil }
            #expect(try SentFrame.packets(frames).map(\.udpPayload) == [pattern(3000)])
            #expect(frames.count == 3 && frames.allSatisfy { $0.packetLength <= expected }, "\(expected)")
            // Said of the second part, which holds no ports, it is not understood.
            try host.attack([Self.refusal(of: frames[1], mtu: next), Self.refusal(of: frames[0], mtu: next)])
        }
        #expect(host.count(.droppedProtocol) == 5)
    }

    /// Answers to the guest's pings, where a network of IPv6 behind it is small.
    @Test func echoRepliesAreCutForTheLinkBehindTheGuest() throws {
        var host = try AbuseHost()
        let payload = [UInt8](repeating: 0x55, count: 3000)
        let request = AbuseFrame.ip6(58, [128, 0, 0, 0, 0x41, 0x30, 0, 1] + payload)
        try host.attack([request])
        try host.run("an answer") { host in host.sent.contains { $0.proto == 58 && $0.icmp[0] == 129 } }
        let whole = try #require(host.sent.first { $0.proto == 58 && $0.icmp[0] == 129 })
        var question = Self.refusal(of: whole, mtu: 1400)
        // Of a request, which is nothing that the guest was sent.
        question[14 + 40 + 8 + 40] = 128
        try host.attack([question])
        #expect(host.forwarder.port.mtu.value == 65520)
        let before = host.sent.count
        try host.attack([Self.refusal(of: whole, mtu: 1400), request])
        try host.run("parts") { host in host.sent[before...].contains { $0.part?.hasMore == false } }
        let frames = host.sent[before...].filter { $0.part != nil }
        #expect(try SentFrame.packets(frames).map { Array($0.icmp[8...]) } == [payload] && frames.allSatisfy { $0.packetLength <= 1400 })
    }
}
