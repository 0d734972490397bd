import Linux
import Settings
import Testing
import Wire

@testable import Datapath

extension SentFrame {
    /// Of a part of a packet: identification, position, and whether more follows. nil for a whole one.
    var part: (identification: UInt32, position: Int, hasMore: Bool)? {
        if isIPv4 {
            let place = word(20)
            if place & 0x3fff == 0 { return nil }
            return (identification: UInt32(word(18)), position: Int(place & 0x1fff) * 8, hasMore: place & 0x2000 != 0)
        }
        if bytes[20] != 44 { return nil }
        let identification = UInt32(word(58)) << 16 | UInt32(word(60))
        return (identification: identification, position: Int(word(56) & 0xfff8), hasMore: word(56) & 1 != 0)
    }

    /// From the IP header on.
    var packetLength: Int { end - 14 }

    /// The packets that these frames carry, with those put together that came in parts: a second opinion.
    static func packets(_ frames: [SentFrame]) throws -> [SentFrame] {
        var result: [SentFrame] = []
        var parts: [SentFrame] = []
        for frame in frames {
            guard let part = frame.part else {
                #expect(parts.isEmpty)
                result.append(frame)
                continue
            }
            parts.append(frame)
            if part.hasMore { continue }
            result.append(try whole(parts))
            parts = []
        }
        #expect(parts.isEmpty)
        return result
    }

    private static func whole(_ parts: [SentFrame]) throws -> SentFrame {
        let first = try #require(parts.first)
        let start = first.isIPv4 ? 34 : 62
        let identification = try #require(first.part).identification
        var payload: [UInt8] = []
        for frame in parts {
            let part = try #require(frame.part)
            #expect(part.identification == identification && part.position == payload.count)
            #expect(!part.hasMore || (frame.end - start) % 8 == 0)
            #expect(!frame.isIPv4 || SentFrame.sum(Array(frame.bytes[14..<34])) == 0xffff)
            #expect(frame.offload == VirtioNetHeader())
            payload += frame.bytes[start..<frame.end]
        }
        var bytes = Array(first.bytes[..<(first.isIPv4 ? 34 : 54)])
        let length = first.isIPv4 ? 20 + payload.count : payload.count
        let field = first.isIPv4 ? 16 : 18
        bytes[field] = UInt8(length >> 8)
        bytes[field + 1] = UInt8(length & 0xff)
        if first.isIPv4 { bytes.replaceSubrange(20..<22, with: [0, 0]) } else { bytes[20] = first.bytes[54] }
        return SentFrame(bytes: bytes + payload, offload: first.offload)
    }
}

/// A link that looks at frames only when it is flushed.
private struct LateLink: GuestLink, ~Copyable {
    var descriptor: Descriptor { .none }
    var offloads: LinkOffloads { .checksum }
    var frames: [SentFrame] = []
    private var waiting: [Frame] = []

    init() {}

    mutating func receive(into batch: inout FrameBatch) -> Bool { true }

    mutating func send(_ frame: Frame, in arena: inout Mapping) -> LinkVerdict {
        waiting.append(frame)
        return .sent
    }

    mutating func flush(_ arena: inout Mapping) {
        for frame in waiting {
            var bytes: [UInt8] = []
            for offset in frame.offset..<(frame.offset + frame.length) { bytes.append(arena.bytes.uint8(at: offset)) }
            frames.append(SentFrame(bytes: bytes, offload: frame.offload))
        }
        waiting.removeAll()
    }
}

/// What is larger than the guest's MTU.
@Suite struct PartsTests {
    private static let loopbacks = [IPAddress(IPv4Address.loopback), IPAddress(IPv6Address.loopback)]

    private static func host(mtu: Int, _ offloads: LinkOffloads = [.checksum, .tcpSegmentation, .udpSegmentation]) throws -> TestHost {
        var network = TestHost.network()
        network.mtu = mtu
        return try TestHost(offloads: offloads, network: network)
    }

    /// Who answers the guest's datagram from `port`, and where that came from.
    private static func open(_ host: inout TestHost, _ far: borrowing FarEnd, port: UInt16) throws -> Endpoint {
        host.send([1], from: port, to: far.seen)
        host.endRound()
        let received = try far.receive(1)
        return try #require(received.first).source
    }

    /// What fits goes as ever, with the checksum left to the link. One byte more, and the largest there is, go in parts, each packet's with a number of its own.
    @Test(arguments: loopbacks, [1280, 1500, 9000, 65520])
    func lesson61_datagramsThatDoNotFitGoInParts(_ loopback: IPAddress, _ mtu: Int) throws {
        var host = try Self.host(mtu: mtu)
        let far = try FarEnd(loopback)
        let source = try Self.open(&host, far, port: 41_200)
        let headers = loopback.isIPv4 ? 28 : 48
        let sizes = [mtu - headers, mtu - headers + 1, 65535 - headers]
        for (index, size) in sizes.enumerated() {
            try far.send(pattern(size, index), to: source)
            try host.run(limit: 100)
        }
        let packets = try SentFrame.packets(host.frames)
        #expect(packets.map(\.udpPayload) == sizes.enumerated().map { pattern($1, $0) })
        #expect(host.frames.first?.part == nil && host.frames.first?.offload.flags == .needsChecksum)
        #expect(packets.dropFirst().allSatisfy { $0.l4Sum == 0xffff })
        #expect(host.frames.allSatisfy { $0.packetLength <= mtu })
        #expect(Set(host.frames.compactMap { $0.part?.identification }).count == 2)
        #expect(host.port.counters[.udpDatagramsToGuest] == 3 && host.port.counters[.packetsInParts] == 2)
        // As few as there can be.
        let most = (mtu - (loopback.isIPv4 ? 20 : 48)) & ~7
        let largest = 65535 - headers + 8
        #expect(host.frames.count == 1 + 2 + (largest + most - 1) / most)
    }

    /// Several as one, by the sender or by us: each by itself where its size does not fit, and as ever where it does.
    @Test(arguments: loopbacks)
    func eachOfSeveralDatagramsIsCut(_ loopback: IPAddress) throws {
        var host = try Self.host(mtu: 1500)
        let far = try FarEnd(loopback)
        let source = try Self.open(&host, far, port: 41_201)
        let payload = pattern(5 * 4000 + 700)
        try far.send(payload, to: source, segmentSize: 4000)
        try host.run(limit: 100)
        var packets = try SentFrame.packets(host.frames)
        #expect(packets.map(\.udpPayload.count) == [4000, 4000, 4000, 4000, 4000, 700] && packets.flatMap(\.udpPayload) == payload)
        #expect(packets.dropLast().allSatisfy { $0.l4Sum == 0xffff })
        let before = host.frames.count
        for index in 0..<6 { try far.send(pattern(3000, index), to: source) }
        try host.run(limit: 100)
        packets = try SentFrame.packets(Array(host.frames[before...]))
        #expect(packets.map(\.udpPayload) == (0..<6).map { pattern(3000, $0) })
        #expect(host.frames.allSatisfy { $0.packetLength <= 1500 && $0.offload.segmentation == .none })
        let cut = host.frames.count
        try far.send(payload, to: source, segmentSize: 1400)
        try host.run(untilFrames: cut + 1)
        #expect(host.frames.count == cut + 1 && host.frames.last?.offload.segmentSize == 1400 && host.frames.last?.udpPayload == payload)
    }

    @Test(arguments: [TestHost.mapped4, TestHost.mapped6], [1280, 1500])
    func lesson61_largePingsAreAnsweredInParts(_ remote: IPAddress, _ mtu: Int) throws {
        var host = try Self.host(mtu: mtu)
        let headers = remote.isIPv4 ? 28 : 48
        let sizes = [mtu - headers, mtu - headers + 1, 20_000]
        for (index, size) in sizes.enumerated() {
            host.echo(identifier: 0x4123, sequence: UInt16(index), to: remote, payload: pattern(size, index))
            try host.run(limit: 100)
        }
        let packets = try SentFrame.packets(host.frames)
        #expect(packets.map { Array($0.icmp[8...]) } == sizes.enumerated().map { pattern($1, $0) })
        #expect(packets.map { $0.icmp[7] } == [0, 1, 2] && packets.allSatisfy { $0.icmp[0] == (remote.isIPv4 ? 0 : 129) })
        #expect(packets.allSatisfy { (remote.isIPv4 ? SentFrame.sum($0.icmp) : $0.l4Sum) == 0xffff })
        #expect(host.frames.allSatisfy { $0.packetLength <= mtu } && host.frames.first?.part == nil)
        #expect(host.port.counters[.pingReplies] == 3 && host.port.counters[.packetsInParts] == 2)
    }

    /// Without its other parts, none is of use: nothing follows one that was refused, and the datagram counts as lost.
    @Test func aRefusedPartIsTheLast() throws {
        var host = try Self.host(mtu: 1500)
        let far = try FarEnd()
        let source = try Self.open(&host, far, port: 41_202)
        host.port.link.verdict = .full
        try far.send(pattern(20_000), to: source)
        try host.run(limit: 100)
        #expect(host.port.counters[.framesRefusedByGuest] == 1)
        #expect(host.port.counters[.udpDatagramsToGuest] == 0 && host.port.counters[.packetsInParts] == 0)
    }

    /// Links use memory until they are flushed: neither other parts nor what waits in the slots may lie there.
    @Test func nothingIsOverwrittenBeforeTheLinkIsFlushed() throws {
        var port = try GuestPort(
            link: LateLink(), guestMAC: MACAddress(0x5254_0012_3456), gatewayMAC: Network.defaultGatewayMAC, mtu: 1500, seed: SipHash(key0: 1, key1: 2))
        let first = port.reserve(SlotLayout.count)
        let payloads = (0..<SlotLayout.count).map { pattern(40_000 + $0, $0) }
        let start = first + SlotLayout.udpPayload(TestHost.guest4)
        for (index, payload) in payloads.enumerated() { port.arena.put(payload[...], at: start + index * SlotLayout.size) }
        let key = FlowKey(guest: TestHost.guest4, guestPort: 5, remote: TestHost.mapped4, remotePort: 6)
        for (index, payload) in payloads.enumerated() {
            let isSent = port.sendUDP(key: key, slot: first + index * SlotLayout.size, payload: payload.count, segmentSize: 0)
            #expect(isSent)
        }
        port.flush()
        let packets = try SentFrame.packets(port.link.frames)
        #expect(packets.map(\.udpPayload) == payloads && packets.allSatisfy { $0.l4Sum == 0xffff })
    }

    /// Whoever cuts several datagrams of one frame counts on from its identification, and what follows is counted behind that; TCP by itself.
    @Test func identificationsOfSeveralAreCountedEach() throws {
        var host = try TestHost()
        let key = FlowKey(guest: TestHost.guest4, guestPort: 5, remote: TestHost.mapped4, remotePort: 6)
        for (payload, size) in [(100, 0), (5000, 1000), (4001, 1000), (1000, 1000), (100, 0)] {
            let slot = host.port.reserve()
            let isSent = host.port.sendUDP(key: key, slot: slot, payload: payload, segmentSize: size)
            #expect(isSent)
            host.port.sendSegment(
                TCPHeader(
                    sourcePort: 6, destinationPort: 5, sequence: SequenceNumber(0), acknowledgment: SequenceNumber(0), flags: .rst, window: 0), key: key)
        }
        let first = try #require(host.frames.first).word(18)
        #expect(host.frames.filter { $0.proto == 17 }.map { $0.word(18) &- first } == [0, 1, 6, 11, 12])
    }

    /// A slot holds more of IPv6 than a frame does, which counts its header: no more are joined than a frame takes.
    @Test func asManyAreJoinedAsAFrameHolds() throws {
        var host = try TestHost()
        let far = try FarEnd(IPAddress(IPv6Address.loopback))
        let source = try Self.open(&host, far, port: 41_203)
        host.udp.table[0].burst = 8
        for index in 0..<8 { try far.send(pattern(8190, index), to: source) }
        try host.run(limit: 100)
        #expect(host.frames.flatMap(\.udpDatagrams) == (0..<8).map { pattern(8190, $0) })
        #expect(host.frames.count == 2 && host.frames.allSatisfy { $0.bytes.count <= largestFrame })
    }

    /// The first identification is of this run, and those of parts follow each other.
    @Test func identifications() throws {
        let firsts = try (0..<20).map { run in
            let port = try GuestPort(
                link: LateLink(), guestMAC: nil, gatewayMAC: Network.defaultGatewayMAC, mtu: 1500, seed: SipHash(key0: UInt64(run), key1: 2))
            return port.partsIdentification
        }
        #expect(Set(firsts).count == 20 && Set(firsts.map { $0 >> 16 }).count > 10 && Set(firsts.map { $0 & 0xffff }).count > 10)
    }
}
