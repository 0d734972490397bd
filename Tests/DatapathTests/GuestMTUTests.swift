import Linux
import Settings
import Testing
import Wire

@testable import Datapath

/// How large a packet the guest takes: what it was told, and what it shows.
@Suite struct GuestMTUTests {
    private static let loopbacks = [IPAddress(IPv4Address.loopback), IPAddress(IPv6Address.loopback)]

    private static func syn(_ size: UInt16?) -> TCPHeader {
        TCPHeader(
            sourcePort: 1, destinationPort: 2, sequence: SequenceNumber(1), acknowledgment: SequenceNumber(0), flags: .syn, window: 0,
            maximumSegmentSize: size)
    }

    @Test func whatWasToldAndTheLeast() {
        let told = [0, 68, 576, 1280, 1500, 65520].map { GuestMTU(told: $0, isTaken: true) }
        #expect(told.map { $0.packet(isIPv4: true) } == [1500, 576, 576, 1280, 1500, 65520])
        #expect(told.map { $0.packet(isIPv4: false) } == [1500, 1280, 1280, 1280, 1500, 65520])
        #expect(told.map { $0.payload(to: TestHost.guest6) } == [1460, 1240, 1240, 1240, 1460, 65480])
    }

    /// A machine's network card is not known to take more than Ethernet's 1500 bytes, whatever was told (RFC 894), until the first sign of that.
    @Test func lesson80_aMachineHasToShowMore() {
        let told = [0, 68, 1280, 1500, 9000, 65520].map { GuestMTU(told: $0, isTaken: false) }
        #expect(told.map { $0.packet(isIPv4: true) } == [1500, 576, 1280, 1500, 1500, 1500])
        #expect(told.map { $0.packet(isIPv4: false) } == [1500, 1280, 1280, 1500, 1500, 1500])
        var mtu = GuestMTU(told: 65520, isTaken: false)
        mtu.learn(fromSyn: Self.syn(65_480), of: TestHost.guest4, now: 0)
        #expect(mtu.value == 65520)
        mtu.forget()
        #expect(mtu.value == 1500)
        mtu.learn(fromPart: 8996, now: 0)
        #expect(mtu.value == 8996)
    }

    /// A packet that was sent whole says that no less is taken; how much more, the next one may say.
    @Test func wholePacketsTellTheLeast() {
        var mtu = GuestMTU(told: 9000, isTaken: false)
        for (size, expected) in [(60, 1500), (1501, 1501), (60, 1501), (4000, 4000), (3000, 4000), (65535, 9000)] {
            mtu.learn(fromWhole: size, now: 0)
            #expect(mtu.value == expected, "\(size)")
        }
        mtu.learn(fromSyn: Self.syn(1460), of: TestHost.guest4, now: 1)
        mtu.learn(fromWhole: 4000, now: 60_000)
        #expect(mtu.value == 1500)
        mtu.learn(fromWhole: 4000, now: 60_001)
        #expect(mtu.value == 4000)
        // What was told is less than Ethernet's.
        mtu = GuestMTU(told: 1280, isTaken: false)
        mtu.learn(fromWhole: 1500, now: 0)
        #expect(mtu.value == 1280)
    }

    /// The smallest of the last minute, whichever family it is of, and never more than what was told.
    @Test func theSmallestThatWasShownLately() {
        var mtu = GuestMTU(told: 9000, isTaken: true)
        mtu.learn(fromSyn: Self.syn(65_480), of: TestHost.guest4, now: 0)
        mtu.learn(fromSyn: Self.syn(nil), of: TestHost.guest4, now: 0)
        #expect(mtu.value == 9000)
        // That was shown at 0.
        mtu.learn(fromSyn: Self.syn(1460), of: TestHost.guest4, now: 1000)
        #expect(mtu.value == 1500)
        mtu.learn(fromSyn: Self.syn(1440), of: TestHost.guest6, now: 2000)
        #expect(mtu.value == 1500)
        mtu.learn(fromSyn: Self.syn(4000), of: TestHost.guest4, now: 61_999)
        #expect(mtu.value == 1500)
        mtu.learn(fromSyn: Self.syn(4000), of: TestHost.guest4, now: 62_000)
        #expect(mtu.value == 4040)
        // Less than what network cards take is that connection's matter.
        for size in [0, 536, 1360] as [UInt16] {
            mtu.learn(fromSyn: Self.syn(size), of: TestHost.guest4, now: 62_001)
            #expect(mtu.value == 1500)
        }
        mtu.learn(fromPart: 1400, now: 62_002)
        mtu.learn(fromPart: 400, now: 62_002)
        #expect(mtu.value == 576 && mtu.packet(isIPv4: false) == 1280)
        mtu.learn(fromSyn: Self.syn(.max), of: TestHost.guest4, now: 200_000)
        #expect(mtu.value == 9000)
        mtu.learn(fromSyn: Self.syn(1460), of: TestHost.guest4, now: 200_001)
        mtu.forget()
        #expect(mtu.value == 9000)
        // Who was told nothing may show more than is usual.
        mtu = GuestMTU(told: 0, isTaken: true)
        mtu.learn(fromSyn: Self.syn(8960), of: TestHost.guest4, now: 0)
        #expect(mtu.value == 9000)
    }

    /// A part ends up to seven bytes before the MTU does.
    @Test func partsSayItRoughly() {
        var mtu = GuestMTU(told: 1500, isTaken: true)
        for (size, expected) in [(1500, 1500), (1496, 1500), (1493, 1500), (1492, 1492), (1500, 1492), (1280, 1280), (60, 576)] {
            mtu.learn(fromPart: size, now: 0)
            #expect(mtu.value == expected, "\(size)")
        }
    }

    /// For ten minutes (RFC 8201, section 4), and never up.
    @Test func routersAreBelieved() {
        var mtu = GuestMTU(told: 65520, isTaken: true)
        mtu.learn(fromRouter: 1400, now: 0)
        mtu.learn(fromRouter: 9000, now: 599_000)
        mtu.learn(fromSyn: Self.syn(1460), of: TestHost.guest4, now: 599_999)
        #expect(mtu.value == 1400)
        mtu.learn(fromSyn: Self.syn(1460), of: TestHost.guest4, now: 600_000)
        #expect(mtu.value == 1500)
        mtu.learn(fromRouter: 0, now: 600_001)
        #expect(mtu.value == 1280)
    }

    // MARK: What frames show

    private static func packet(_ isIPv4: Bool, _ proto: UInt8, _ payload: [UInt8]) -> [UInt8] {
        isIPv4 ? AbuseFrame.ip4(proto, payload) : AbuseFrame.ip6(proto, payload)
    }

    /// The frames in which a datagram of 3000 bytes comes to the guest's port.
    private static func answer(_ far: borrowing FarEnd, to source: Endpoint, _ host: inout AbuseHost) throws -> [SentFrame] {
        let before = host.sent.count
        try far.send(pattern(3000), to: source)
        try host.run("the answer") { host in host.sent.count > before }
        try host.run(milliseconds: 20)
        // Router advertisements are none.
        return host.sent[before...].filter { $0.proto == 17 || $0.proto == 44 }
    }

    /// A machine that was told 65520 and has a network card for 1500 says so when it opens a connection, whoever that is with.
    @Test(arguments: loopbacks)
    func lesson61_theSegmentSizeOfASynTells(_ loopback: IPAddress) throws {
        var host = try AbuseHost()
        let isIPv4 = loopback.isIPv4
        let far = try FarEnd(loopback)
        try host.attack([Self.packet(isIPv4, 17, AbuseFrame.udp(51_200, Int(far.endpoint.port)))])
        let received = try far.receive(1)
        let source = try #require(received.first).source
        var frames = try Self.answer(far, to: source, &host)
        #expect(frames.count == 1 && frames.first?.udpPayload == pattern(3000))
        var segment = AbuseFrame.tcp(51_201, 9, .syn) + [2, 4]
        segment += AbuseFrame.word(isIPv4 ? 1460 : 1440)
        segment[12] = 0x60
        try host.attack([Self.packet(isIPv4, 6, segment)])
        frames = try Self.answer(far, to: source, &host)
        #expect(frames.count == 3 && frames.allSatisfy { $0.packetLength <= 1500 })
        #expect(try SentFrame.packets(frames).map(\.udpPayload) == [pattern(3000)])
    }

    /// Firmware that loads files by TFTP opens no connection, asks for no MTU, and has a network card for 1500.
    @Test(arguments: loopbacks)
    func lesson61_aMachineThatHasShownNothing(_ loopback: IPAddress) throws {
        var host = try AbuseHost(isMachine: true)
        let far = try FarEnd(loopback)
        func question(_ count: Int) -> [UInt8] { Self.packet(loopback.isIPv4, 17, AbuseFrame.udp(51_203, Int(far.endpoint.port), pattern(count))) }
        try host.attack([question(10)])
        var received = try far.receive(1)
        let source = try #require(received.first).source
        var frames = try Self.answer(far, to: source, &host)
        #expect(frames.count == 3 && frames.allSatisfy { $0.packetLength <= 1500 })
        #expect(try SentFrame.packets(frames).map(\.udpPayload) == [pattern(3000)])
        // Datagrams that were left to us to be cut say nothing.
        host.forwarder.port.link.offload.segmentation = .udp
        host.forwarder.port.link.offload.segmentSize = 1000
        try host.attack([question(4000)])
        received = try far.receive(4)
        #expect(received.count == 4)
        frames = try Self.answer(far, to: source, &host)
        #expect(frames.count == 3)
        // One of that length does.
        host.forwarder.port.link.offload = VirtioNetHeader()
        try host.attack([question(4000)])
        received = try far.receive(1)
        #expect(received.count == 1)
        frames = try Self.answer(far, to: source, &host)
        #expect(frames.count == 1 && frames.first?.udpPayload == pattern(3000))
    }

    /// A segment may be one that the machine leaves to us to be cut, as those of libkrun are: its length says nothing.
    @Test func lengthsOfSegmentsSayNothing() throws {
        var host = try AbuseHost(isMachine: true)
        let listener = try AbuseListener()
        let connection = try #require(try host.open(listener.port))
        try host.send(connection, .ack, pattern(4000))
        try host.run(milliseconds: 20)
        let value = host.forwarder.port.mtu.value
        #expect(host.count(.bytesFromGuest) > 4000 && value == 1500)
    }

    /// One that opens none may cut what it sends. Of a part that was cut once more on its way, the larger piece counts.
    @Test func lesson61_theGuestsOwnPartsTell() throws {
        var host = try AbuseHost()
        let far = try FarEnd()
        let datagram = AbuseFrame.udp(51_202, Int(far.endpoint.port), pattern(2000))
        let parts = [(0, 1256, true), (1256, 104, true), (1360, 648, false)]
        try host.attack(parts.map { position, count, hasMore in
            AbuseFrame.ip4(17, Array(datagram[position..<position + count]), fragment: (hasMore ? 0x2000 : 0) | position / 8)
        })
        let received = try far.receive(1)
        #expect(received.first?.payload == pattern(2000) && host.count(.reassembled) == 1)
        let frames = try Self.answer(far, to: try #require(received.first).source, &host)
        #expect(frames.count == 3 && frames.allSatisfy { $0.packetLength <= 1276 })
        #expect(try SentFrame.packets(frames).map(\.udpPayload) == [pattern(3000)])
        // The next machine is another.
        #expect(host.forwarder.port.mtu.value == 1276)
        host.forwarder.port.forgetGuest()
        #expect(host.forwarder.port.mtu.value == 65520)
    }
}
