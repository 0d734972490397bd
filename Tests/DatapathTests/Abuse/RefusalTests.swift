import Linux
import Settings
import Testing
import Wire

@testable import Datapath

/// The guest answers forwarded datagrams with "port unreachable".
@Suite(.serialized) struct RefusalTests {
    private static let loopbacks = [IPAddress(IPv4Address.loopback), IPAddress(IPv6Address.loopback)]

    /// What the guest's kernel says of a datagram that it was sent.
    private static func refusal(of frame: SentFrame, isIPv4: Bool, quoted: Int = 576) -> [UInt8] {
        let quote = Array(frame.bytes[14...].prefix(quoted))
        return isIPv4 ? AbuseFrame.ip4(1, [3, 3, 0, 0, 0, 0, 0, 0] + quote) : AbuseFrame.ip6(58, [1, 4, 0, 0, 0, 0, 0, 0] + quote)
    }

    @Test(arguments: loopbacks)
    func aRefusedFlowEnds(_ loopback: IPAddress) throws {
        var host = try AbuseHost()
        let socket = try ListenerSocket(isTCP: false, address: loopback, port: 0, servesIPv4: loopback.isIPv4).open()
        let port = try #require(try socket.localAddress().endpoint).port
        let entry = ListenerEntry(socket, isTCP: false, isOutbound: false, address: loopback, port: port, ListenerTarget(port: 8080, address: nil))
        let index = try host.forwarder.listen(entry)
        // The guest has an address of this family.
        try host.attack([loopback.isIPv4 ? AbuseFrame.ip4(1, AbuseFrame.echo(1)) : AbuseFrame.ip6(17, AbuseFrame.udp(9, 9))])
        let client = try FarEnd(loopback)
        for round in 1...2 {
            try client.send([UInt8(round)], to: Endpoint(loopback, port))
            try host.run("the datagram") { $0.sent.contains { $0.proto == 17 && $0.destinationPort == 8080 && $0.udpPayload == [UInt8(round)] } }
            let frame = try #require(host.sent.last { $0.proto == 17 && $0.destinationPort == 8080 })
            let flows = host.forwarder.udp.inboundCount
            #expect(flows == 1)
            // Cut off before the ports, about something else, about another flow: nothing happens.
            let header = loopback.isIPv4 ? 20 : 40
            let quote = 14 + header + 8
            var foreign = Self.refusal(of: frame, isIPv4: loopback.isIPv4)
            foreign[quote + header + 1] ^= 1
            var other = Self.refusal(of: frame, isIPv4: loopback.isIPv4)
            other[quote + (loopback.isIPv4 ? 9 : 6)] = 6
            let short = [0, 1, header - 1, header, header + 7].map { Self.refusal(of: frame, isIPv4: loopback.isIPv4, quoted: $0) }
            try host.attack(short + [foreign, other])
            #expect(host.forwarder.udp.inboundCount == 1)
            try host.attack([Self.refusal(of: frame, isIPv4: loopback.isIPv4)])
            #expect(host.forwarder.udp.inboundCount == 0)
        }
        host.forwarder.stopListening(index)
    }
}
