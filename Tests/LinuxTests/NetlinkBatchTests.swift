import Testing
import Wire

@testable import Linux

@Suite struct NetlinkBatchTests {
    @Test func addressIsPermanentAndWithoutDuplicateDetection() {
        var batch = NetlinkBatch()
        let own = InterfaceAddress(
            family: .ipv6, address: address6(0x2001_0db8_0000_0000, 5), prefixLength: 64, flags: .noDuplicateDetection)
        batch.add(own, to: 3)
        let bytes: [UInt8] = [0x20, 1, 0x0d, 0xb8] + [UInt8](repeating: 0, count: 11) + [5]
        // struct nlmsghdr: RTM_NEWADDR, REQUEST|CREATE|EXCL; no number yet.
        let expected = message(20, flags: 0x601, sequence: 0, port: 0,
            // struct ifaddrmsg: IPv6, /64, NODAD, universe; index.
            [10, 64, 2, 0] + le32(3)
                + attribute(2, bytes)  // IFA_LOCAL
                + attribute(1, bytes)  // IFA_ADDRESS
                + attribute(8, le32(2)))  // IFA_FLAGS
        #expect(batch.bytes == expected)
    }

    @Test func pointToPointAddressNamesItsPeer() {
        var batch = NetlinkBatch()
        var own = InterfaceAddress(family: .ipv4, address: address(192, 0, 2, 1), prefixLength: 32)
        own.peer = address(192, 0, 2, 77)
        batch.add(own, to: 3)
        let expected = message(20, flags: 0x601, sequence: 0, port: 0, [2, 32, 0, 0] + le32(3)
            + attribute(2, [192, 0, 2, 1]) + attribute(1, [192, 0, 2, 77]) + attribute(8, le32(0)))
        #expect(batch.bytes == expected)
    }

    @Test func routeIsWritten() {
        var batch = NetlinkBatch()
        var route = Route(
            family: .ipv4, destination: address(10, 0, 0, 0), prefixLength: 8,
            hops: [NextHop(index: 77, gateway: address(198, 51, 100, 2), flags: 1)])
        route.metric = 50
        route.metrics = [Route.Metric(kind: Route.Metric.mtu, value: 1400)]
        batch.add(route, through: 3, isOnLink: true)
        let expected = message(24, flags: 0x601, sequence: 0, port: 0,
            // struct rtmsg: IPv4, /8, source, TOS; main table, boot, universe, unicast; RTNH_F_ONLINK.
            [2, 8, 0, 0, 254, 3, 0, 1] + le32(4)
                + attribute(1, [10, 0, 0, 0])  // RTA_DST
                + attribute(5, [198, 51, 100, 2])  // RTA_GATEWAY
                + attribute(4, le32(3))  // RTA_OIF
                + attribute(6, le32(50))  // RTA_PRIORITY
                + attribute(8 | 0x8000, attribute(2, le32(1400))))  // RTA_METRICS: MTU
        #expect(batch.bytes == expected)
    }

    @Test func linkChangesAreWritten() {
        var batch = NetlinkBatch()
        batch.set(link: 3, LinkChange(isUp: true, mac: MACAddress(0x0200_5e10_0001), mtu: 65520, transmitQueueLength: 10000))
        batch.set(link: 3, LinkChange(makesLinkLocal: false))
        batch.set(link: 1, LinkChange(segmentationLimit: 262_144))
        let first = message(19, flags: 1, sequence: 0, port: 0,
            // struct ifinfomsg: family, type; index; flags UP; change UP.
            le32(0) + le32(3) + le32(1) + le32(1)
                + attribute(1, [2, 0, 0x5e, 0x10, 0, 1])  // IFLA_ADDRESS
                + attribute(4, le32(65520))  // IFLA_MTU
                + attribute(13, le32(10000)))  // IFLA_TXQLEN
        let second = message(19, flags: 1, sequence: 0, port: 0, le32(0) + le32(3) + le32(0) + le32(0)
            // IFLA_AF_SPEC > AF_INET6 > IFLA_INET6_ADDR_GEN_MODE: NONE. The inner length counts the padding of what it holds.
            + attribute(26 | 0x8000, attribute(10 | 0x8000, attribute(8, [1]))))
        let third = message(19, flags: 1, sequence: 0, port: 0, le32(0) + le32(1) + le32(0) + le32(0)
            + attribute(41, le32(262_144)) + attribute(63, le32(262_144)))  // IFLA_GSO_MAX_SIZE, IFLA_GSO_IPV4_MAX_SIZE
        #expect(batch.bytes == first + second + third)
        #expect(batch.starts == [0, first.count, first.count + second.count])
    }

    @Test func onlyTheLastRequestAsksForAnAnswer() {
        var batch = NetlinkBatch()
        for index in 1...3 { batch.set(link: Int32(index), LinkChange(isUp: true)) }
        let part = batch.part(1..<3, from: 41, acknowledged: true)
        let body = { (index: Int) in le32(0) + le32(index) + le32(1) + le32(1) }
        #expect(part == message(19, flags: 1, sequence: 41, port: 0, body(2)) + message(19, flags: 5, sequence: 42, port: 0, body(3)))
    }

    @Test func dumpsNameTheirTable() {
        var batch = NetlinkBatch()
        batch.getRoutes(.ipv6, table: 254)
        // RTM_GETROUTE, REQUEST|ROOT|MATCH; struct rtmsg with family and table only, as strict checking demands.
        #expect(batch.bytes == message(26, flags: 0x301, sequence: 0, port: 0, [10, 0, 0, 0, 254, 0, 0, 0] + le32(0)))
    }
}

/// Against the kernel, in the namespace that the tests run in. Nothing is changed.
@Suite struct NetlinkSocketTests {
    @Test func loopbackIsFound() throws {
        var netlink = try NetlinkSocket()
        let all = try netlink.links()
        let loopback = try #require(all.first { $0.index == Link.loopbackIndex })
        #expect(loopback.name == "lo" && loopback.isLoopback)
        #expect(try netlink.link(named: "lo") == loopback)
        #expect(try netlink.link(named: "does-not-exist") == nil)
        #expect(try netlink.link(named: "name-that-is-too-long") == nil)
    }

    @Test func dumpsOfOneSocketFollowEachOther() throws {
        var netlink = try NetlinkSocket()
        _ = try netlink.routes(.ipv4)
        _ = try netlink.neighbours(.ipv4)
        #expect(try netlink.routes(.ipv4, table: 4_000_000).isEmpty)
        let addresses = try netlink.addresses(.ipv4)
        #expect(addresses.allSatisfy { $0.family == .ipv4 && $0.address.isIPv4 })
        #expect(try netlink.links().contains { $0.isLoopback })
    }

    @Test func refusedRequestsAreReportedOneByOne() throws {
        var netlink = try NetlinkSocket()
        var batch = NetlinkBatch()
        // No such interface, for root and for others: more than one send's worth.
        for _ in 0..<NetlinkSocket.batchLimit + 3 { batch.set(link: .max, LinkChange(mtu: 1500)) }
        let results = try netlink.perform(batch)
        #expect(results.count == NetlinkSocket.batchLimit + 3)
        #expect(results.allSatisfy { $0 != nil })
    }

    @Test func listenerHasNothingToSay() throws {
        let listener = try AnnouncementListener()
        defer { listener.descriptor.close() }
        var buffer = [UInt8](repeating: 0, count: 8192)
        var span = buffer.mutableSpan
        var bytes = unsafe span.mutableBytes
        #expect(listener.receive(into: &bytes) >= 0)
    }

    /// All that there is, as if it were new.
    @Test func listenerIsToldEverythingOnceMore() throws {
        let listener = try AnnouncementListener()
        defer { listener.descriptor.close() }
        let questions: [AnnouncementListener.List] = [.links, .addresses, .neighbours]
        var loopback = false
        for question in questions {
            #expect(listener.ask(for: question))
            var isComplete = false
            for _ in 0..<1000 where !isComplete { isComplete = Self.read(listener, &loopback) }
            #expect(isComplete)
        }
        #expect(loopback)
    }

    private static func read(_ listener: AnnouncementListener, _ loopback: inout Bool) -> Bool {
        var buffer = [UInt8](repeating: 0, count: 16 << 10)
        var span = buffer.mutableSpan
        var bytes = unsafe span.mutableBytes
        let count = listener.receive(into: &bytes)
        guard count > 0 else { return false }
        let received = bytes.bytes.extracting(0..<count)
        var offset = 0
        var isComplete = false
        while let announcement = AnnouncementListener.next(in: received, at: &offset) {
            switch announcement {
            case .linkCame(let name, _): if name == InterfaceName("lo") { loopback = true }
            case .endOfList: isComplete = true
            default: break
            }
        }
        return isComplete
    }
}
