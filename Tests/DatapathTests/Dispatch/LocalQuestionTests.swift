import Settings
import Testing
import Wire

@testable import Datapath

/// What is answered here, and what is for servers elsewhere.
@Suite(.serialized) struct LocalQuestionTests {
    private typealias F = AbuseFrame
    private static let elsewhere: [UInt8] = [192, 0, 2, 77]

    /// The host's loopback stands for a server elsewhere: it is not where our own servers are.
    private static func host() throws -> AbuseHost {
        var network = TestHost.network()
        network.ipv4?.mapHostLoopback = IPv4Address("192.0.2.77")!
        return try AbuseHost(network: network)
    }

    private static func discover(to destination: [UInt8], relay: String = "00000000") -> [UInt8] {
        F.ip4(17, F.udp(4000, 67, LocalDHCPTests.request("35 01 01 ff", relay: relay)), to: destination)
    }

    /// A guest that is a router relays its clients' questions.
    @Test func questionsToOtherServersAreForwarded() throws {
        var host = try Self.host()
        try host.attack([Self.discover(to: Self.elsewhere, relay: "c0000202")])
        #expect(host.count(.udpOpened) == 1 && host.count(.udpDatagramsFromGuest) == 1)
        // Relayed, in a message of its own kind, to 2001:db8::1.
        try host.attack([F.ip6(17, F.udp(4001, 547, [12] + [UInt8](repeating: 0, count: 33)))])
        #expect(host.count(.udpOpened) == 2 && host.count(.udpDatagramsFromGuest) == 2)
        #expect(host.count(.dhcpReplies) == 0 && host.count(.dhcpv6Replies) == 0)
    }

    @Test func questionsToOurServersStayHere() throws {
        var host = try Self.host()
        try host.attack([[255, 255, 255, 255], F.router, [192, 0, 2, 255]].map { Self.discover(to: $0) })
        #expect(host.count(.dhcpReplies) == 3)
        let solicit = LocalTest.bytes("01 abcdef" + LocalDHCPv6Tests.client + LocalDHCPv6Tests.association)
        try host.attack(["ff02::1:2", "fe80::1", "ff05::1:3"].map { LocalTest.udp6(solicit, to: IPv6Address($0)!) })
        #expect(host.count(.dhcpv6Replies) == 2)
        // Relayed or not, what is for all is not for others.
        try host.attack([Self.discover(to: [255, 255, 255, 255], relay: "c0000202")])
        #expect(host.count(.dhcpReplies) == 3 && host.count(.udpOpened) == 0)
    }

    /// Long ones in parts.
    @Test func theSameInFragments() throws {
        let datagram = F.udp(4000, 67, [UInt8](repeating: 7, count: 1500))
        for (destination, isForwarded) in [(Self.elsewhere, true), (F.router, false)] {
            var host = try Self.host()
            try host.attack([
                F.ip4(17, Array(datagram[..<800]), to: destination, fragment: 0x2000), F.ip4(17, Array(datagram[800...]), to: destination, fragment: 100),
            ])
            #expect(host.count(.reassembled) == (isForwarded ? 1 : 0) && host.count(.udpOpened) == (isForwarded ? 1 : 0))
            #expect(host.count(.droppedMalformed) == (isForwarded ? 0 : 1))
        }
    }

    /// What looks like the broadcast address of such a prefix is another host.
    @Test func shortPrefixesHaveNoBroadcastAddress() throws {
        for (length, isOurs) in [(30, true), (31, false), (32, false)] {
            var network = LocalTest.network()
            network.ipv4?.prefixLength = length
            let offer = try #require(DHCPOffer(network))
            #expect(offer.serves(IPv4Address(offer.address.bits | ~IPv4Address.mask(length))) == isOurs)
        }
    }
}
