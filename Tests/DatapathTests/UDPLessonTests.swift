import Glibc
import Linux
import Settings
import Testing
import Wire

@testable import Datapath

/// Lessons 31 to 36 of the field, as far as they concern flows that the guest opens.
@Suite struct UDPLessonTests {
    static let loopback = IPAddress(IPv4Address.loopback)

    /// The reply comes from the address that was asked, whichever name that has on the host.
    @Test func lesson31_replySourceIsWhoWasAsked() throws {
        var network = TestHost.network()
        let resolver = try FarEnd(IPAddress(IPv4Address("127.0.0.53")!), port: 0)
        network.ipv4?.mapGuestAddress = IPv4Address("192.0.2.99")!
        network.ipv4?.address = IPv4Address("127.0.0.53")!
        network.ipv4?.hostAddress = IPv4Address("127.0.0.53")!
        var host = try TestHost(network: network)
        let asked = Endpoint(IPAddress(IPv4Address("192.0.2.99")!), resolver.endpoint.port)
        host.send([1], from: 40200, to: asked)
        host.endRound()
        try resolver.send([2], to: try #require(try resolver.receive(1).first).source)
        try host.run(untilFrames: 1)
        #expect(host.frames.first?.source == asked.address && host.frames.first?.sourcePort == asked.port)
    }

    /// Somebody else's datagram that came before the socket was connected is not taken for the remote's.
    @Test func lesson32_strangersAreNotHeard() throws {
        var host = try TestHost()
        let far = try FarEnd()
        let stranger = try FarEnd()
        host.send([1], from: 40201, to: far.seen)
        host.endRound()
        let source = try #require(try far.receive(1).first).source
        // Connected: the kernel does not let it in.
        try stranger.send([66], to: source)
        try far.send([2], to: source)
        try host.run(untilFrames: 1)
        #expect(host.frames.map(\.udpPayload) == [[2]])
        // As between bind and connect: let it in by disconnecting, and connect again.
        let index = 0
        let socket = host.udp.table[index].socket
        _ = try socket.connect(SocketAddress())
        try stranger.send([67], to: source)
        _ = try socket.connect(SocketAddress(far.endpoint))
        try far.send([3], to: source)
        try host.run(untilFrames: 2, limit: 300)
        #expect(host.frames.map(\.udpPayload) == [[2], [3]])
        #expect(host.port.counters[.udpStrays] == 1)
    }

    /// A datagram that came in fragments may need them again behind the guest.
    @Test func datagramsMayBeCutBehindTheGuest() throws {
        var host = try TestHost()
        let far = try FarEnd()
        host.send([1], from: 40203, to: far.seen)
        host.endRound()
        let source = try #require(try far.receive(1).first).source
        try far.send([2], to: source)
        try host.run(untilFrames: 1)
        let frame = try #require(host.frames.first)
        // No flags, and an identification to put fragments together by.
        #expect(frame.word(20) == 0 && frame.word(18) != 0)
    }

    /// What the guest does not take is read and dropped.
    @Test(arguments: [LinkVerdict.full, .refused])
    func lesson33_undeliverableDatagramsDoNotSpin(_ verdict: LinkVerdict) throws {
        var host = try TestHost(offloads: .checksum)
        let far = try FarEnd()
        host.send([1], from: 40202, to: far.seen)
        host.endRound()
        let source = try #require(try far.receive(1).first).source
        host.port.link.verdict = verdict
        for _ in 0..<5 { try far.send([2], to: source) }
        let events = try host.run(limit: 50)
        #expect((1...5).contains(events) && host.port.counters[.framesRefusedByGuest] == 5)
        #expect(host.port.counters[.udpDatagramsToGuest] == 0)
        // The flow lives on.
        host.port.link.verdict = .sent
        try far.send([3], to: source)
        try host.run(untilFrames: 1)
        #expect(host.frames.map(\.udpPayload) == [[3]])
    }

    /// Takes what is free below the limit: another thread of the process may have closed some of its own by now.
    private static func takeDescriptors() {
        while (try? Descriptor.socket(.datagram, for: loopback)) != nil {}
    }

    /// Flows that cannot be opened leave nothing behind: no entry, no timer, no descriptor.
    @Test func lesson34_failedFlowsLeaveNothing() async {
        // Limits are the process's.
        await #expect(processExitsWith: .success) {
            var host = try TestHost()
            let far = try FarEnd()
            host.send([1], from: 40210, to: far.seen)
            host.endRound()
            // A flow that was answered is kept.
            try far.send([2], to: try #require(try far.receive(1).first).source)
            try host.run(untilFrames: 1)
            let lowest = try Descriptor.socket(.datagram, for: UDPLessonTests.loopback)
            lowest.close()
            var limit = rlimit(rlim_cur: rlim_t(lowest.number), rlim_max: rlim_t(lowest.number) + 100)
            try #require(unsafe setrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit) == 0)
            UDPLessonTests.takeDescriptors()
            for port in UInt16(40211)...40220 { host.send([1], from: port, to: far.seen) }
            try host.run(limit: 20)
            try #require(host.udp.table.count == 1 && host.port.counters[.udpSocketFailed] == 10)
            // Each was told to the guest.
            try #require(host.frames.count == 11 && host.frames.dropFirst().allSatisfy { $0.proto == 1 && $0.icmp[0] == 3 })
            // Later, the idle flow gives way to a new one.
            UDPLessonTests.takeDescriptors()
            host.now += 10_000
            host.send([7], from: 40221, to: far.seen)
            host.endRound()
            try #require(host.udp.table.count == 1 && host.port.counters[.udpGaveWay] == 1)
            try #require(try far.receive(1).last?.payload == [7])
        }
    }

    @Test(arguments: [IPAddress(IPv4Address.loopback), IPAddress(IPv6Address.loopback)])
    func lesson35_errorsReachTheGuest(_ loopback: IPAddress) throws {
        var host = try TestHost()
        // A port that nobody has any more.
        let closed: Endpoint
        do {
            let far = try FarEnd(loopback)
            closed = far.seen
        }
        for _ in 0..<3 {
            host.send([1, 2, 3], from: 40230, to: closed)
            host.endRound()
        }
        let events = try host.run(limit: 50)
        // All of the queue is drained: no event is left, and none repeats.
        #expect(events <= 3)
        #expect(host.frames.count == 3 && host.port.counters[.icmpErrorsToGuest] == 3)
        #expect(host.port.counters[.udpSendFailed] == 0)
        let frame = try #require(host.frames.first)
        #expect(frame.source == closed.address)
        let isIPv4 = loopback.isIPv4
        #expect(Array(frame.icmp[0..<2]) == (isIPv4 ? [3, 3] : [1, 4]))
        if isIPv4 { #expect(SentFrame.sum(frame.icmp) == 0xffff) } else { #expect(frame.l4Sum == 0xffff) }
        // The quoted packet is the guest's own: addresses, then ports.
        let quoted = Array(frame.icmp[8...])
        let ports = Array(quoted[(isIPv4 ? 20 : 40)...].prefix(4))
        #expect(ports == [UInt8(40230 >> 8), UInt8(40230 & 0xff), UInt8(closed.port >> 8), UInt8(closed.port & 0xff)])
        if isIPv4 {
            #expect(Array(quoted[12..<20]) == [192, 0, 2, 2, 192, 0, 2, 1] && quoted[9] == 17)
        } else {
            #expect(quoted[6] == 17 && quoted[39] == 1 && quoted[23] == 2)
        }
        // Another try works once somebody listens: the error was cleared, and nothing was lost for it.
        let late = try FarEnd(loopback, port: closed.port)
        host.send([4], from: 40230, to: closed)
        host.endRound()
        #expect(try late.receive(1).map(\.payload) == [[4]])
    }

    private static func word(_ bytes: [UInt8], _ offset: Int) -> Int { Int(bytes[offset]) << 8 | Int(bytes[offset + 1]) }

    /// What came back of a datagram is quoted, as far as an error may be long (RFC 1812, section 4.3.2.3; RFC 4443, section 2.4 (c)), with its true length.
    @Test(arguments: [IPAddress(IPv4Address.loopback), IPAddress(IPv6Address.loopback)], [0, 3, 520, 521, 1184, 1185, 3000])
    func lesson35_errorsQuoteTheDatagram(_ loopback: IPAddress, _ size: Int) throws {
        var host = try TestHost()
        let isIPv4 = loopback.isIPv4
        // Nobody's port.
        host.send(pattern(size), from: 40233, to: Endpoint(isIPv4 ? TestHost.mapped4 : TestHost.mapped6, 40236))
        try host.run(untilFrames: 1)
        let frame = try #require(host.frames.first)
        #expect((isIPv4 ? SentFrame.sum(frame.icmp) : frame.l4Sum) == 0xffff)
        let quoted = Array(frame.icmp[8...])
        let header = isIPv4 ? 20 : 40
        #expect(Self.word(quoted, isIPv4 ? 2 : 4) == (isIPv4 ? 20 : 0) + 8 + size)
        #expect(Self.word(quoted, header + 4) == 8 + size)
        #expect(Array(quoted[(header + 8)...]) == Array(pattern(size).prefix(isIPv4 ? 520 : 1184)))
        #expect(frame.end - 14 <= (isIPv4 ? 576 : 1280))
    }

    /// A router that quotes the headers only, as RFC 792 asks for.
    @Test func lesson35_theLengthOfWhatIsNotQuoted() throws {
        var host = try TestHost()
        let far = try FarEnd()
        host.send(pattern(100), from: 40234, to: far.seen)
        host.endRound()
        let port = try #require(try far.receive(1).first).source.port
        let packet: [UInt8] = [0x45, 0, 0, 128, 0, 0, 0, 0, 64, 17, 0, 0, 127, 0, 0, 1, 127, 0, 0, 1]
        let ports: [UInt8] = [UInt8(port >> 8), UInt8(port & 0xff), UInt8(far.endpoint.port >> 8), UInt8(far.endpoint.port & 0xff)]
        let length: [UInt8] = [0, 108, 0, 0]
        var message: [UInt8] = [3, 3, 0, 0, 0, 0, 0, 0]
        message += packet + ports + length
        let sum = ~SentFrame.sum(message)
        (message[2], message[3]) = (UInt8(sum >> 8), UInt8(sum & 0xff))
        let router = Descriptor(try Errno.check(Glibc.socket(AF_INET, Int32(SOCK_RAW.rawValue), Int32(IPPROTO_ICMP))))
        defer { router.close() }
        try router.sendDatagram(message, to: Endpoint(UDPLessonTests.loopback, 0))
        try host.run(untilFrames: 1)
        let quoted = Array(try #require(host.frames.first).icmp[8...])
        #expect(quoted.count == 28 && Self.word(quoted, 2) == 128 && Self.word(quoted, 24) == 108)
    }

    /// One of several datagrams in a frame is what could not be sent.
    @Test func lesson35_theLengthOfOneOfSeveral() throws {
        var host = try TestHost()
        host.udp.openings = 0
        host.send(pattern(1000), from: 40235, to: Endpoint(TestHost.mapped4, 9), segmentSize: 100)
        let quoted = Array(try #require(host.frames.first).icmp[8...])
        #expect(Self.word(quoted, 2) == 128 && Self.word(quoted, 24) == 108)
    }

    /// An error that is still pending when the next datagram is sent takes nothing with it.
    @Test func lesson35_pendingErrorDoesNotLoseTheNext() throws {
        var host = try TestHost()
        let port: UInt16
        do {
            let far = try FarEnd()
            port = far.endpoint.port
        }
        host.send([1], from: 40231, to: Endpoint(TestHost.mapped4, port))
        host.endRound()
        usleep(20_000)
        let late = try FarEnd(port: port)
        host.send([2], from: 40231, to: Endpoint(TestHost.mapped4, port))
        host.endRound()
        #expect(try late.receive(1).map(\.payload) == [[2]])
        #expect(host.frames.count == 1 && host.frames.first?.proto == 1)
    }

    @Test func lesson35_hopLimitIsThatOfTheGuest() throws {
        var host = try TestHost()
        let far = try FarEnd()
        host.send([1], from: 40232, to: far.seen, hopLimit: 3)
        host.endRound()
        #expect(try host.udp.table[0].socket.hopLimit(isIPv4: true) == 3)
        host.send([1], from: 40232, to: far.seen, hopLimit: 64)
        host.endRound()
        #expect(try host.udp.table[0].socket.hopLimit(isIPv4: true) == 64)
    }

    /// A flow that is connected anew goes on leaving by the interface that an option names: here by one where nothing else would lead.
    @Test func lesson55_theInterfaceOfAFlowInUseStays() throws {
        var network = TestHost.network()
        network.ipv4?.outboundInterfaceIndex = 1  // lo
        var host = try TestHost(network: network)
        host.send([1], from: 40250, to: Endpoint(IPAddress(IPv4Address("203.0.113.1")!), 9))
        let socket = host.udp.table[0].socket
        try #require(socket.boundInterface == 1)
        host.udp.abandon(try #require(try socket.localAddress().endpoint).address)
        #expect(socket.boundInterface == 1)
        // As where the kernel has refused the source.
        host.udp.reconnect(0)
        #expect(socket.boundInterface == 1)
    }

    /// Where there was no way when its source was lost, a flow is connected with what it sends next, also where that is several datagrams as one message.
    @Test func lesson55_aFlowWithoutAWayIsConnectedLater() throws {
        var host = try TestHost()
        try #require(host.udp.canSegment == true)
        let far = try FarEnd()
        host.send([1], from: 40251, to: far.seen)
        host.endRound()
        _ = try host.udp.table[0].socket.connect(SocketAddress())
        for number in 0..<3 { host.send(pattern(100, number), from: 40251, to: far.seen) }
        host.endRound()
        #expect(try far.receive(4).map(\.payload) == [[1]] + (0..<3).map { pattern(100, $0) })
        #expect(host.port.counters[.udpSendFailed] == 0)
    }

    @Test func lesson35_whatErrorsMean() {
        func error(_ origin: QueuedError.Origin, _ type: UInt8, _ code: UInt8, _ number: Int32 = 113, info: UInt32 = 0) -> QueuedError {
            QueuedError(
                error: Errno(number), origin: origin, type: type, code: code, information: info, offender: nil, destination: nil, quotedStart: 0,
                quotedLength: 0)
        }
        func told(_ queued: QueuedError, _ isIPv4: Bool) -> [UInt32]? {
            ICMPError(queued, isIPv4: isIPv4).map { [UInt32($0.type), UInt32($0.code), $0.rest] }
        }
        #expect(told(error(.icmp, 11, 0), true) == [11, 0, 0])
        #expect(told(error(.icmp, 3, 1), true) == [3, 1, 0])
        // A router's "fragmentation needed" is for our kernel.
        #expect(told(error(.icmp, 3, 4, 90, info: 1400), true) == nil)
        #expect(told(error(.icmpv6, 2, 0, 90, info: 1400), false) == nil)
        #expect(told(error(.icmpv6, 3, 0), false) == [3, 0, 0])
        #expect(told(error(.local, 0, 0, 90, info: 1400), true) == [3, 4, 1400])
        #expect(told(error(.local, 0, 0, 90, info: 1400), false) == [2, 0, 1400])
        #expect(told(error(.local, 0, 0, 113), false) == [1, 3, 0])
        // Of the other family, as of a resolver that queries are forwarded to.
        #expect(told(error(.icmpv6, 1, 4, 111), true) == [3, 3, 0])
        #expect(told(error(.icmp, 3, 3, 111), false) == [1, 4, 0])
        #expect(told(error(.icmp, 3, 1), false) == [1, 3, 0])
        #expect(told(error(.icmpv6, 2, 0, 90, info: 1400), true) == nil)
        // Redirects, timestamps: nothing.
        #expect(told(error(.icmp, 5, 0), true) == nil && told(error(.other, 0, 0), true) == nil)
    }

    /// Errors about what was sent to many are not told (RFC 1122, section 3.2.2): here of a network's broadcast address, as which only the kernel knows it.
    @Test func whatIsSentToManyIsLostQuietly() throws {
        var network = TestHost.network()
        network.ipv4?.hostAddress = IPv4Address("127.255.255.255")!
        network.ipv4?.mapGuestAddress = IPv4Address("192.0.2.99")!
        var host = try TestHost(network: network)
        let asked = Endpoint(IPAddress(IPv4Address("192.0.2.99")!), 40261)
        host.send([1], from: 40260, to: asked)
        let flow = host.udp.table[0]
        try #require(flow.flags.contains(.group))
        // The kernel refuses to send.
        var off: Int32 = 0
        // SAFETY: the kernel reads four bytes.
        let result = unsafe setsockopt(flow.socket.number, SOL_SOCKET, SO_BROADCAST, &off, 4)
        try #require(result == 0)
        host.endRound()
        #expect(host.frames.isEmpty && host.port.counters[.udpSendFailed] == 1)
        // The socket has kept an error.
        try flow.socket.sendDatagram([1], to: Endpoint(UDPLessonTests.loopback, 40263))
        let events = try host.run(limit: 50)
        #expect(events >= 1 && host.frames.isEmpty)
        // There is no room for a flow: what was sent to one is refused, what was sent to all stations is not.
        host.udp.openings = 0
        host.send([1], from: 40262, to: asked, isForMany: true)
        #expect(host.frames.isEmpty && host.port.counters[.udpTableFull] == 1)
        host.send([1], from: 40262, to: asked)
        #expect(host.frames.count == 1 && host.port.counters[.udpTableFull] == 2)
    }

    /// The guest's multicast goes out, the guest hears the answers, and never what it has sent itself.
    @Test func lesson36_groupsAreAskedAndNothingComesBackAround() throws {
        let group = Endpoint(IPAddress(IPv4Address("239.255.77.66")!), 40240)
        var network = TestHost.network()
        network.ipv4?.mapHostLoopback = IPv4Address("192.0.2.1")!
        network.ipv4?.outboundInterfaceIndex = 1  // lo
        var host = try TestHost(network: network)
        let member = try Descriptor.socket(.datagram, for: group.address)
        defer { member.close() }
        try member.setReuseAddress()
        try member.bind(SocketAddress(Endpoint(IPAddress(IPv4Address.any), 40240)))
        // struct ip_mreqn: group, no address, interface 1.
        let request: [UInt8] = [239, 255, 77, 66, 0, 0, 0, 0, 1, 0, 0, 0]
        let joined = unsafe setsockopt(member.number, Int32(IPPROTO_IP), IP_ADD_MEMBERSHIP, request, socklen_t(request.count))
        try #require(joined == 0)
        host.send([1], from: 40241, to: group)
        host.endRound()
        let far = try FarEnd()
        var buffer = try Mapping(byteCount: 64)
        var batch = try ReceiveBatch(capacity: 1)
        batch.append(buffer, offset: 0, length: 64)
        let arrived = batch.receive(on: member).count
        try #require(arrived == 1)
        _ = buffer.mutableBytes
        let source = batch.source(0)
        #expect(source?.port == 40241)
        // An answer to one's own address arrives, with who sent it.
        try far.send([2], to: Endpoint(UDPLessonTests.loopback, 40241))
        // Whatever goes to the group does not, our own included.
        host.send([3], from: 40241, to: Endpoint(group.address, 40241))
        try host.run(untilFrames: 2, limit: 100)
        #expect(host.frames.map(\.udpPayload) == [[2]])
        #expect(host.frames.first?.source == TestHost.mapped4 && host.frames.first?.sourcePort == far.endpoint.port)
        #expect(host.frames.first?.destinationPort == 40241)
    }
}
