import Testing
import Wire

@testable import Linux

@Suite struct NetlinkParsingTests {
    // struct ifinfomsg: family, padding, type 1 (Ethernet); index 4; flags UP|BROADCAST|RUNNING; change.
    static let link = message(16, [0, 0] + le16(1) + le32(4) + le32(0x43) + le32(0)
        + attribute(3, Array("eth0".utf8) + [0])  // IFLA_IFNAME
        + attribute(4, le32(1400))  // IFLA_MTU
        + attribute(1, [2, 0, 0x5e, 0x10, 0, 1]))  // IFLA_ADDRESS

    // struct ifaddrmsg: IPv6, /64, low flags, scope 0; index 4.
    static let address6Message = message(20, [10, 64, 0x80, 0] + le32(4)
        + attribute(1, [0x20, 1, 0x0d, 0xb8] + [UInt8](repeating: 0, count: 11) + [5])  // IFA_ADDRESS
        + attribute(6, le32(100) + le32(200) + le32(1) + le32(2))  // IFA_CACHEINFO: preferred, valid, created, updated
        + attribute(8, le32(0x300)))  // IFA_FLAGS: MANAGETEMPADDR|NOPREFIXROUTE

    // struct rtmsg: IPv4, /0, no source, TOS; main table, DHCP, universe, unicast; flags.
    static let route = message(24, [2, 0, 0, 0, 254, 16, 0, 1] + le32(0)
        + attribute(15, le32(254))  // RTA_TABLE
        + attribute(5, [198, 51, 100, 1])  // RTA_GATEWAY
        + attribute(4, le32(4))  // RTA_OIF
        + attribute(6, le32(100))  // RTA_PRIORITY
        + attribute(7, [198, 51, 100, 7])  // RTA_PREFSRC
        + attribute(8, attribute(2, le32(1400)) + attribute(16, Array("bbr".utf8) + [0])))  // RTA_METRICS: MTU, CC_ALGO

    // RTA_MULTIPATH holds struct rtnexthop: length, flags, weight - 1, index; attributes.
    static let multipath = message(24, [2, 8, 0, 0, 254, 4, 0, 1] + le32(0)
        + attribute(1, [10, 0, 0, 0])  // RTA_DST
        + attribute(9, le16(16) + [1, 0] + le32(4) + attribute(5, [198, 51, 100, 2])
            + le16(16) + [0, 4] + le32(5) + attribute(5, [198, 18, 0, 254])))

    // struct ndmsg: IPv4, padding; index 4; state REACHABLE; flags, type.
    static let neighbour = message(28, [2, 0, 0, 0] + le32(4) + le16(2) + [0, 1]
        + attribute(1, [198, 51, 100, 1])  // NDA_DST
        + attribute(2, [2, 0, 0, 0, 0, 9]))  // NDA_LLADDR

    static let done = message(3, flags: 2, le32(0))

    @Test func linkIsRead() {
        let (values, reply) = read(Self.link + Self.done) { Link($0, $1) }
        #expect(values == [Link(index: 4, name: "eth0", flags: 0x43, mtu: 1400, mac: MACAddress(0x0200_5e10_0001), type: 1)])
        #expect(reply.isComplete && reply.error == nil)
        #expect(values[0].isUp && !values[0].isLoopback)
    }

    @Test func addressIsRead() throws {
        let found = try #require(read(Self.address6Message) { InterfaceAddress($0, $1) }.values.first)
        #expect(found.address == address6(0x2001_0db8_0000_0000, 5))
        #expect(found.prefixLength == 64 && found.index == 4 && found.peer == nil)
        #expect(found.flags.rawValue == 0x300)
        #expect(found.preferredLifetime == 100 && found.validLifetime == 200)
    }

    @Test func pointToPointAddressIsTheLocalOne() throws {
        let bytes = message(20, [2, 32, 0, 0] + le32(3)
            + attribute(1, [192, 0, 2, 77])  // IFA_ADDRESS: the peer
            + attribute(2, [192, 0, 2, 1]))  // IFA_LOCAL
        let found = try #require(read(bytes) { InterfaceAddress($0, $1) }.values.first)
        #expect(found.address == address(192, 0, 2, 1) && found.peer == address(192, 0, 2, 77))
    }

    @Test func routeIsRead() throws {
        let found = try #require(read(Self.route) { Route($0, $1) }.values.first)
        #expect(found.hops == [NextHop(index: 4, gateway: address(198, 51, 100, 1))])
        #expect(found.destination == nil && found.metric == 100 && found.proto == 16 && found.table == 254)
        #expect(found.preferredSource == address(198, 51, 100, 7))
        // The name of a congestion control is not a number, and not ours to copy.
        #expect(found.metrics == [Route.Metric(kind: Route.Metric.mtu, value: 1400)])
    }

    @Test func lesson48_multipathHopsAreRead() throws {
        let found = try #require(read(Self.multipath) { Route($0, $1) }.values.first)
        #expect(found.hops == [
            NextHop(index: 4, gateway: address(198, 51, 100, 2), weight: 1, flags: 1),
            NextHop(index: 5, gateway: address(198, 18, 0, 254), weight: 5),
        ])
        #expect(found.hops[0].isDead && !found.hops[1].isDead)
    }

    @Test func routeThroughTheOtherFamilyIsRead() throws {
        let router: [UInt8] = [0xfe, 0x80] + [UInt8](repeating: 0, count: 13) + [9]
        let bytes = message(24, [2, 0, 0, 0, 254, 4, 0, 1] + le32(0)
            + attribute(18, le16(10) + router)  // RTA_VIA: family, address
            + attribute(4, le32(4)))
        let found = try #require(read(bytes) { Route($0, $1) }.values.first)
        #expect(found.hops == [NextHop(index: 4, gateway: address6(0xfe80 << 48, 9))])
    }

    @Test func neighbourIsRead() throws {
        let found = try #require(read(Self.neighbour) { Neighbour($0, $1) }.values.first)
        #expect(found == Neighbour(index: 4, address: address(198, 51, 100, 1), mac: MACAddress(9 | 2 << 40), state: 2))
        #expect(found.isValid)
    }

    @Test func lesson48_onlyTheAnswerToTheRequestCounts() {
        let other = message(16, sequence: 6, Array(Self.link.dropFirst(16)))
        let foreign = message(16, port: 98, Array(Self.link.dropFirst(16)))
        let notification = message(16, sequence: 0, port: 0, Array(Self.link.dropFirst(16)))
        let (values, reply) = read(other + foreign + notification) { Link($0, $1) }
        #expect(values.isEmpty && !reply.isComplete)
    }

    @Test func errorsEndTheReply() {
        // struct nlmsgerr: error, then the request's header.
        let error = message(2, le32(-19) + [UInt8](repeating: 0, count: 16))
        #expect(read(error) { Link($0, $1) }.reply.error == Errno(19))
        #expect(read(message(3, le32(-2))) { Link($0, $1) }.reply.error == Errno(2))
        let acknowledgement = read(message(2, le32(0))) { Link($0, $1) }.reply
        #expect(acknowledgement.isComplete && acknowledgement.error == nil)
        #expect(read(message(2, le32(Int(Int32.min)))) { Link($0, $1) }.reply.error != nil)
    }

    @Test func interruptedDumpIsNoticed() {
        let bytes = message(16, flags: 0x12, Array(Self.link.dropFirst(16))) + Self.done
        #expect(read(bytes) { Link($0, $1) }.reply.isInterrupted)
        #expect(!read(Self.link + Self.done) { Link($0, $1) }.reply.isInterrupted)
    }

    @Test func errorsOfABatchAreToldApart() {
        let failed = message(2, sequence: 11, le32(-17) + [UInt8](repeating: 0, count: 16))
        let last = message(2, sequence: 12, le32(0) + [UInt8](repeating: 0, count: 16))
        let foreign = message(2, sequence: 13, le32(-1) + [UInt8](repeating: 0, count: 16))
        let before = message(2, sequence: 9, le32(-1) + [UInt8](repeating: 0, count: 16))
        let datagram = failed + last + foreign + before
        let found = NetlinkReply.errors(in: datagram[...], from: 10, count: 3, port: 99)
        #expect(found.count == 2)
        #expect(found.first?.0 == 1 && found.first?.1 == Errno(17))
        #expect(found.last?.0 == 2 && found.last?.1 == nil)
    }

    /// Cuts every message at every length, and puts every value into every byte that may be a length. Nothing may trap.
    @Test(arguments: [link, address6Message, route, multipath, neighbour])
    func lyingLengthsAreHarmless(original: [UInt8]) {
        func parseAll(_ bytes: [UInt8]) {
            _ = read(bytes) { Link($0, $1) }
            _ = read(bytes) { InterfaceAddress($0, $1) }
            _ = read(bytes) { Route($0, $1) }
            _ = read(bytes) { Neighbour($0, $1) }
            _ = NetlinkReply.errors(in: bytes[...], from: 7, count: 1, port: 99)
        }
        for length in 0..<original.count { parseAll(Array(original[..<length])) }
        for length in 0...original.count + 8 {
            var bytes = original
            bytes.replaceSubrange(0..<4, with: le32(length))
            parseAll(bytes)
        }
        // Every byte, since attributes lie anywhere.
        for position in 0..<original.count {
            for value in [0, 1, 3, 4, 5, 7, 8, 255] as [UInt8] {
                var bytes = original
                bytes[position] = value
                parseAll(bytes)
            }
        }
    }

    @Test func impossiblePrefixesAreRefused() {
        var bytes = Self.address6Message
        bytes[17] = 129
        #expect(read(bytes) { InterfaceAddress($0, $1) }.values.isEmpty)
        var route = Self.multipath
        route[17] = 33
        #expect(read(route) { Route($0, $1) }.values.isEmpty)
    }

    @Test func listenerFindsEntriesOneByOne() {
        var gone = Self.neighbour
        gone[4] = 29  // RTM_DELNEIGH
        let head: [UInt8] = [2, 32, 0, 0] + le32(3)
        let addresses = attribute(1, [192, 0, 2, 77]) + attribute(2, [192, 0, 2, 1])  // IFA_ADDRESS, the peer's; IFA_LOCAL
        let link = message(16, [UInt8](repeating: 0, count: 4) + le32(7) + le32(0) + le32(0) + attribute(3, Array("wan0\0".utf8)))  // IFLA_IFNAME
        // RTM_NEWLINK, RTM_NEWADDR, RTM_DELADDR, and one without an address.
        let changes = message(20, head + addresses) + message(21, head + addresses) + message(21, head)
        let datagram = Self.neighbour + message(16, []) + link + changes + gone + message(3, le32(0))  // NLMSG_DONE
        var offset = 0
        var found: [Neighbour] = []
        var lost: [IPAddress] = []
        var came: [String] = []
        var links = 0
        var ends = 0
        let bytes = unsafe datagram.span.bytes
        while let announcement = AnnouncementListener.next(in: bytes, at: &offset) {
            switch announcement {
            case .neighbour(let neighbour): found.append(neighbour)
            case .addressGone(let address): lost.append(address)
            case .addressCame(let address, let index): came.append("\(address) \(index)")
            case .linkCame(let name, let index):
                links += 1
                #expect(name == InterfaceName("wan0") && index == 7)
            case .endOfList: ends += 1
            }
        }
        #expect(links == 1 && ends == 1 && came == ["192.0.2.1 3"])
        #expect(found.count == 2 && lost == [IPAddress(IPv4Address("192.0.2.1")!)])
        #expect(found.last?.mac == nil && found.last?.state == 0 && found.last?.isValid == false)
    }
}
