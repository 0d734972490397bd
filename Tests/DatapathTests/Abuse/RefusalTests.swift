import Linux
import Settings
import Testing
import Wire

@testable import Datapath

/// The guest, or a packet filter in it, refuses what is forwarded to it.
@Suite(.serialized) struct RefusalTests {
    private static let loopbacks = [IPAddress(IPv4Address.loopback), IPAddress(IPv6Address.loopback)]

    /// What the guest's kernel says of a datagram that it was sent.
    private static func refusal(of frame: SentFrame, isIPv4: Bool, quoted: Int = 576, code: UInt8? = nil) -> [UInt8] {
        let quote = Array(frame.bytes[14...].prefix(quoted))
        let code = code ?? (isIPv4 ? 3 : 4)
        return isIPv4 ? AbuseFrame.ip4(1, [3, code, 0, 0, 0, 0, 0, 0] + quote) : AbuseFrame.ip6(58, [1, code, 0, 0, 0, 0, 0, 0] + quote)
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
            // So it does where another code is given, as by a filter that may think again.
            try host.attack(short + [foreign, other, Self.refusal(of: frame, isIPv4: loopback.isIPv4, code: 1)])
            #expect(host.forwarder.udp.inboundCount == 1)
            try host.attack([Self.refusal(of: frame, isIPv4: loopback.isIPv4)])
            #expect(host.forwarder.udp.inboundCount == 0)
        }
        host.forwarder.stopListening(index)
    }

    /// Port, host or administratively unreachable, as filters say instead of a reset: the client hears of it at once. Once the connection is open, nothing of the kind ends it.
    @Test(arguments: loopbacks)
    func aRefusedConnectionEnds(_ loopback: IPAddress) throws {
        var host = try AbuseHost()
        let isIPv4 = loopback.isIPv4
        let socket = try ListenerSocket(isTCP: true, address: loopback, port: 0, servesIPv4: isIPv4).open()
        let port = try #require(try socket.localAddress().endpoint).port
        let index = try host.forwarder.listen(
            ListenerEntry(socket, isTCP: true, isOutbound: false, address: loopback, port: port, ListenerTarget(port: 8080, address: nil)))
        // The guest has an address of this family.
        try host.attack([isIPv4 ? AbuseFrame.ip4(1, AbuseFrame.echo(1)) : AbuseFrame.ip6(17, AbuseFrame.udp(9, 9))])
        for code: UInt8? in isIPv4 ? [0, 1, 3, 10, 13, nil] : [0, 1, 3, 4, 6, nil] {
            let client = try Descriptor.socket(.stream, for: loopback)
            defer { client.close() }
            let before = host.sent.count
            _ = try client.connect(SocketAddress(Endpoint(loopback, port)))
            try host.run("the SYN") { host in host.sent[before...].contains { $0.proto == 6 && $0.destinationPort == 8080 } }
            let syn = try #require(host.sent[before...].first { $0.proto == 6 && $0.destinationPort == 8080 })
            guard let code else {
                let source = Int(syn.sourcePort)
                let answer = AbuseFrame.tcp(8080, source, [.syn, .ack], sequence: 5000, acknowledgment: syn.tcpSequence &+ 1)
                try host.attack([isIPv4 ? AbuseFrame.ip4(6, answer) : AbuseFrame.ip6(6, answer), Self.refusal(of: syn, isIPv4: isIPv4)])
                #expect(host.forwarder.tcp.table.count == 1 && client.takeSocketError() == nil)
                continue
            }
            var other = Self.refusal(of: syn, isIPv4: isIPv4, code: code)
            other[14 + (isIPv4 ? 20 : 40) + 8 + (isIPv4 ? 20 : 40) + 7] ^= 1
            try host.attack([other])
            #expect(host.forwarder.tcp.table.count == 1, "another number")
            try host.attack([Self.refusal(of: syn, isIPv4: isIPv4, code: code)])
            #expect(host.forwarder.tcp.table.count == 0)
            #expect(client.takeSocketError()?.code == 104, "\(code)")
        }
        host.forwarder.stopListening(index)
    }
}
