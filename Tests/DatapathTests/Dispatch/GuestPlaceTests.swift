import Linux
import Settings
import Testing
import Wire

@testable import Datapath

/// Where the guest is, told from its frames while others may be bridged behind it.
@Suite(.serialized) struct GuestPlaceTests {
    private typealias F = AbuseFrame
    private static let guest = MACAddress(0x5254_0012_3456)
    private static let other = MACAddress(0x0200_0000_0009)
    private static let otherBytes: [UInt8] = [2, 0, 0, 0, 0, 9]
    private static let everybody = [UInt8](repeating: 0xff, count: 6)
    private static let otherAddress: [UInt8] = [192, 0, 2, 9]

    /// The same frame, as the other one sends it.
    private static func byOther(_ frame: [UInt8], to destination: [UInt8] = F.routerMAC) -> [UInt8] { destination + otherBytes + Array(frame[12...]) }

    private static func arp(_ sender: [UInt8], _ target: [UInt8] = F.router, to destination: [UInt8] = everybody) -> [UInt8] {
        F.ethernet(0x0806, [0, 1, 8, 0, 6, 4, 0, 1] + otherBytes + sender + [UInt8](repeating: 0, count: 6) + target, from: otherBytes, to: destination)
    }

    /// What reaches loopback, where nobody wants it.
    private static func datagram(from source: [UInt8] = F.guest) -> [UInt8] { F.ip4(17, F.udp(4000, 9), from: source) }

    /// A forwarder that has heard the guest.
    private static func host(isFixed: Bool = false) throws -> AbuseHost {
        var network = TestHost.network()
        network.ipv4?.isFixed = isFixed
        network.ipv6?.isFixed = isFixed
        var host = try AbuseHost(network: network)
        try host.attack([datagram()])
        return host
    }

    /// Bridges talk among themselves, and to whoever listens: hellos, LLDP, VLANs, announcements of a link address.
    @Test func whatIsNeitherIPNorARPTellsNothing() throws {
        let kinds = [0x0026, 0x88cc, 0x8100, 0x88a8, 0x8035]
        let frames = kinds.map { F.ethernet($0, [UInt8](repeating: 0x42, count: 46), from: Self.otherBytes, to: [1, 0x80, 0xc2, 0, 0, 0]) }
        var host = try Self.host()
        try host.attack(frames + kinds.map { F.ethernet($0, [UInt8](repeating: 0x42, count: 46), from: Self.otherBytes) })
        #expect(host.count(.droppedProtocol) == 2 * kinds.count && host.forwarder.port.guestMAC == Self.guest)
        // Nor do headers that make no sense.
        try host.attack([0x0800, 0x86dd, 0x0806].map { F.ethernet($0, [UInt8](repeating: 0xff, count: 46), from: Self.otherBytes) })
        #expect(host.forwarder.port.guestMAC == Self.guest)
        // Where nobody has been heard yet, nobody is there because of it.
        var unknown = try AbuseHost()
        try unknown.attack(frames)
        #expect(unknown.forwarder.port.guestMAC == .broadcast)
        try unknown.attack([Self.arp(Self.otherAddress)])
        #expect(unknown.forwarder.port.guestMAC == Self.other)
    }

    /// The guest stays where it is, and what it is called.
    @Test(arguments: [false, true]) func whatOthersSayToEverybodyIsNotTheGuests(_ isFixed: Bool) throws {
        var host = try Self.host(isFixed: isFixed)
        let linkLocal: [UInt8] = [0xfe, 0x80] + [UInt8](repeating: 0, count: 13) + [9]
        let allNodes: [UInt8] = [0xff, 2] + [UInt8](repeating: 0, count: 13) + [1]
        try host.attack([
            Self.arp(Self.otherAddress), Self.arp([0, 0, 0, 0]), Self.byOther(Self.datagram(from: Self.otherAddress), to: Self.everybody),
            Self.byOther(F.ip4(17, F.udp(68, 67), from: [0, 0, 0, 0], to: [255, 255, 255, 255]), to: Self.everybody),
            Self.byOther(F.ip6(58, [143] + [UInt8](repeating: 0, count: 27), from: linkLocal, to: allNodes), to: [0x33, 0x33, 0, 0, 0, 1]),
        ])
        #expect(host.forwarder.port.guestMAC == Self.guest)
        #expect(host.forwarder.guest.ipv4 == IPv4Address("192.0.2.2") && host.forwarder.guest.linkLocal == nil)
        // Others are answered all the same, where they are.
        let answer = try #require(host.sent.last { $0.bytes[12] == 8 && $0.bytes[13] == 6 })
        #expect(Array(answer.bytes[..<6]) == Self.otherBytes)
    }

    /// By one frame from its own address, whoever that is sent to, or by one with another address that is sent to us.
    @Test(arguments: [false, true]) func aGuestThatMovesIsFollowedAtOnce(_ isFixed: Bool) throws {
        for frame in [
            Self.arp(F.guest), Self.byOther(Self.datagram(), to: Self.everybody), Self.byOther(F.ip6(17, F.udp(4000, 9)), to: Self.everybody),
            Self.byOther(Self.datagram()), Self.byOther(Self.datagram(from: Self.otherAddress)), Self.arp(Self.otherAddress, to: F.routerMAC),
        ] {
            var host = try Self.host(isFixed: isFixed)
            try host.attack([frame])
            #expect(host.forwarder.port.guestMAC == Self.other, "\(frame)")
            try host.attack([Self.datagram()])
            #expect(host.forwarder.port.guestMAC == Self.guest, "\(frame)")
        }
        var host = try Self.host(isFixed: isFixed)
        try host.attack([Self.byOther(Self.datagram(from: Self.otherAddress))])
        #expect(host.forwarder.guest.ipv4 == IPv4Address(isFixed ? "192.0.2.2" : "192.0.2.9"))
    }

    private static func place(of address: String, in host: borrowing AbuseHost) throws -> MACAddress {
        host.forwarder.port.linkAddress(of: try #require(IPAddress(address)))
    }

    /// Two on the guest's link: each hears what is for it, whoever spoke last.
    @Test(arguments: [false, true]) func lesson66_eachIsSentToWhereItIs(_ isFixed: Bool) throws {
        var host = try Self.host(isFixed: isFixed)
        let fromGuest6 = F.ip6(17, F.udp(4000, 9))
        try host.attack([fromGuest6, Self.byOther(Self.datagram(from: Self.otherAddress))])
        for _ in 0..<2 {
            let places = try ["192.0.2.2", "2001:db8::2", "192.0.2.9"].map { try Self.place(of: $0, in: host) }
            #expect(places == [Self.guest, Self.guest, Self.other])
            try host.attack([Self.datagram()])
        }
        // Nobody knows where this one is: it may be behind the guest.
        let (someone, last) = (try Self.place(of: "192.0.2.77", in: host), host.forwarder.port.guestMAC)
        #expect(someone == last)
        host.forwarder.port.forgetGuest()
        let forgotten = try Self.place(of: "192.0.2.9", in: host)
        #expect(forgotten == .broadcast)
    }

    /// Who only asks everybody is known, too.
    @Test func whoIsBridgedIsKnownByItsQuestions() throws {
        var host = try Self.host()
        try host.attack([Self.arp(Self.otherAddress)])
        let places = try ["192.0.2.2", "192.0.2.9"].map { try Self.place(of: $0, in: host) }
        #expect(places == [Self.guest, Self.other] && host.forwarder.port.guestMAC == Self.guest)
        // Who has no address is nobody's.
        var probed = try Self.host()
        try probed.attack([Self.arp([0, 0, 0, 0])])
        let areSeveral = probed.forwarder.port.stations.areSeveral
        #expect(!areSeveral)
    }

    /// Two behind a bridge of the guest's ask for each other. Who gets no answer, because the other one has gone, is answered by us again; so is every question for what is ours.
    @Test func whatIsBehindTheGuestAnswersForItself() throws {
        var host = try Self.host()
        let third = Self.arp([192, 0, 2, 3], Self.otherAddress).enumerated().map { index, byte in [11, 27].contains(index) ? 3 : byte }
        try host.attack([Self.arp(Self.otherAddress)])
        #expect(host.count(.arpReplies) == 1)
        try host.attack([third])
        #expect(host.count(.arpReplies) == 1)
        try host.attack([third])
        #expect(host.count(.arpReplies) == 2)
        // The station has been heard again; and nobody claims what is ours.
        try host.attack([Self.arp(Self.otherAddress, [192, 0, 2, 77]), third, Self.arp(F.router), third.dropLast(4) + F.router])
        #expect(host.count(.arpReplies) == 4)
    }

    /// A solicitation is answered from any address of who has the target (RFC 4861, section 4.4): BSD does so from its link-local one.
    @Test func whoAdvertisesAnAddressHasIt() throws {
        let linkLocal: [UInt8] = [0xfe, 0x80] + [UInt8](repeating: 0, count: 13) + [9]
        func advertisement(_ target: [UInt8], hops: UInt8 = 255, option: [UInt8] = [2, 1] + Self.otherBytes) -> [UInt8] {
            var frame = Self.byOther(F.ip6(58, [136, 0, 0, 0, 0x60, 0, 0, 0] + target + option, from: linkLocal))
            frame[21] = hops
            return frame
        }
        var host = try Self.host(isFixed: true)
        let fromGuest = F.ip6(17, F.udp(4000, 9))
        try host.attack([fromGuest, advertisement(F.address6(9)), fromGuest])
        let places = try ["2001:db8::2", "2001:db8::9", "fe80::9"].map { try Self.place(of: $0, in: host) }
        #expect(places == [Self.guest, Self.other, Self.other] && host.count(.droppedProtocol) == 0)
        // Not by one from afar or one that makes no sense, and not what is ours or nobody's.
        try host.attack([advertisement(F.address6(10), hops: 254), advertisement(F.address6(10), option: [2, 0] + Self.otherBytes)])
        #expect(host.count(.droppedMalformed) == 2)
        let nobodys = [[UInt8](repeating: 0, count: 16), [UInt8](repeating: 0, count: 15) + [1], F.address6(1), [0xfe, 0x80] + [UInt8](repeating: 0, count: 13) + [1]]
        try host.attack(nobodys.map { advertisement($0) })
        #expect(host.count(.droppedAddress) == nobodys.count)
        try host.attack([fromGuest])
        let others = try ["2001:db8::a", "2001:db8::1", "fe80::1"].map { try Self.place(of: $0, in: host) }
        #expect(others == [Self.guest, Self.guest, Self.guest])
    }

    /// A guest that takes no address but what it makes itself, and has said nothing yet (RFC 4862, section 5.4): clients of forwarded ports find it there.
    @Test func lesson81_whatItLooksForIsWhereItIsExpected() throws {
        let own = Array(F.address6(0)[..<8]) + [0x50, 0x54, 0, 0xff, 0xfe, 0x12, 0x34, 0x56]
        func probe(_ target: [UInt8], hops: UInt8 = 255, option: [UInt8] = [], group: [UInt8]? = nil) -> [UInt8] {
            let last = Array(target[13...])
            let everyGroup: [UInt8] = [0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0xff]
            let destination = everyGroup + (group ?? last)
            var frame = F.ip6(58, [135, 0, 0, 0, 0, 0, 0, 0] + target + option, from: [UInt8](repeating: 0, count: 16), to: destination)
            frame[21] = hops
            frame.replaceSubrange(0..<6, with: [0x33, 0x33, 0xff] + last)
            return frame
        }
        func expected(_ frames: [[UInt8]], _ network: Network = TestHost.network()) throws -> String {
            var host = try AbuseHost(network: network)
            try host.attack(frames)
            return "\(try #require(host.forwarder.guest.ipv6))"
        }
        let mine = "2001:db8::5054:ff:fe12:3456"
        #expect(try expected([probe(own)]) == mine)
        // Not what makes no sense, is not the guest's, is ours, or is only about to be used.
        let fromGuest = F.ip6(17, F.udp(4000, 9))
        #expect(try expected([probe(own, hops: 254), probe(own, option: [1, 1] + F.guestMAC), probe(own, group: [1, 2, 3])]) == "2001:db8::2")
        #expect(try expected([Self.datagram(), Self.byOther(probe(own), to: Self.everybody), probe(F.address6(1))]) == "2001:db8::2")
        #expect(try expected([fromGuest, probe(own)]) == "2001:db8::2")
        #expect(try expected([F.ip6(17, F.udp(4000, 9), from: own), probe(F.address6(9))]) == mine)
        #expect(try expected([probe(F.address6(9)), F.ip6(17, F.udp(4000, 9), from: F.address6(9)), probe(own)]) == "2001:db8::9")
        #expect(try expected([probe(F.guest6), probe(own)]) == "2001:db8::2")
        var network = TestHost.network()
        network.ipv6?.isFixed = true
        #expect(try expected([probe(own)], network) == "2001:db8::2")
        // For the next guest nothing of it is known; and many make nothing grow.
        var host = try AbuseHost()
        for number in 0..<1000 { try host.forwarder.port.link.queue([probe(Array(own[..<14]) + F.word(number))]) }
        try host.attack([])
        #expect(host.sent.allSatisfy { $0.bytes[54] == 134 })
        let areSeveral = host.forwarder.port.stations.areSeveral
        #expect(!areSeveral)
        host.forwarder.guestLeft()
        #expect(host.forwarder.guest.ipv6 == IPv6Address("2001:db8::2"))
    }

    /// The guest's link address changes, after another one was heard: all that it is called is at the new one.
    @Test func aGuestThatMovesTakesItsAddressesAlong() throws {
        let third: [UInt8] = [2, 0, 0, 0, 0, 3]
        var host = try Self.host(isFixed: true)
        try host.attack([F.ip6(17, F.udp(4000, 9)), Self.byOther(Self.datagram(from: Self.otherAddress))])
        let moved = F.routerMAC + third + Array(Self.datagram()[12...])
        try host.attack([moved])
        let places = try ["192.0.2.2", "2001:db8::2", "192.0.2.9"].map { try Self.place(of: $0, in: host) }
        #expect(places == [MACAddress(0x0200_0000_0003), MACAddress(0x0200_0000_0003), Self.other])
    }

    /// From no address it would be a probe, and the guest would take it for a conflict and give its own up (RFC 5227, section 2.1.1).
    @Test(arguments: [("192.0.2.1", nil, [192, 0, 2, 1]), (nil, "169.254.2.2", [169, 254, 2, 2]), (nil, nil, [192, 0, 2, 3])] as [(String?, String?, [UInt8])])
    func theGuestIsAskedForFromAnAddress(_ gateway: String?, _ standIn: String?, _ sender: [UInt8]) throws {
        var network = TestHost.network()
        network.ipv4?.gateway = gateway.flatMap { IPv4Address($0) }
        network.ipv4?.standIn = standIn.flatMap { IPv4Address($0) }
        var host = try AbuseHost(network: network)
        try host.attack([Self.datagram()])
        host.forwarder.guestArrived(now: monotonicNanoseconds() / 1_000_000)
        let question = try #require(host.sent.last { $0.bytes[12] == 8 && $0.bytes[13] == 6 })
        #expect(Array(question.bytes[28..<32]) == sender && Array(question.bytes[38..<42]) == F.guest)
    }

    /// By packets of either family, by a question of its own, and not any more for the next machine.
    @Test func theOfferedAddressIsTheHostsUntilTheGuestHasIt() throws {
        let question = Self.arp(Self.otherAddress, F.guest)
        for sign in [Self.datagram(), Self.arp(F.guest), Self.byOther(Self.datagram(), to: Self.everybody)] {
            var host = try AbuseHost()
            try host.attack([question])
            #expect(host.count(.arpReplies) == 1)
            try host.attack([sign])
            let before = host.count(.arpReplies)
            try host.attack([question])
            #expect(host.count(.arpReplies) == before, "\(sign)")
            host.forwarder.guestArrived(now: monotonicNanoseconds() / 1_000_000)
            try host.attack([question])
            #expect(host.count(.arpReplies) == before + 1)
        }
        var host = try AbuseHost()
        let solicitation = LocalNDPTests().solicitation("2001:db8::2")
        try host.attack([solicitation, solicitation])
        #expect(host.count(.neighbourAdvertisements) == 2)
        try host.attack([F.ip6(17, F.udp(4000, 9)), solicitation])
        #expect(host.count(.neighbourAdvertisements) == 2)
    }
}
