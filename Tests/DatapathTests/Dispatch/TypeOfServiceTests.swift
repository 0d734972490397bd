import Glibc
import Linux
import Testing
import Wire

@testable import Datapath

/// What the guest marks its packets with goes on with them.
@Suite(.serialized) struct TypeOfServiceTests {
    private typealias F = AbuseFrame

    private static func mark(_ frame: [UInt8], _ value: UInt8) -> [UInt8] {
        var frame = frame
        if frame[12] == 8 {
            frame[15] = value
        } else {
            (frame[14], frame[15]) = (0x60 | value >> 4, value << 4)
        }
        return frame
    }

    private static func value(_ socket: Descriptor, isIPv4: Bool) -> Int32 {
        var value: Int32 = -1
        var length = socklen_t(4)
        // SAFETY: the kernel writes four bytes at most.
        _ = unsafe getsockopt(socket.number, isIPv4 ? Int32(IPPROTO_IP) : Int32(IPPROTO_IPV6), isIPv4 ? IP_TOS : IPV6_TCLASS, &value, &length)
        return value
    }

    @Test(arguments: [IPAddress(IPv4Address.loopback), IPAddress(IPv6Address.loopback)])
    func socketsHaveIt(_ loopback: IPAddress) throws {
        var host = try AbuseHost()
        let isIPv4 = loopback.isIPv4
        let listener = try Descriptor.socket(.stream, for: loopback)
        defer { listener.close() }
        try listener.bind(SocketAddress(Endpoint(loopback, 0)))
        try listener.listen()
        let port = Int(try #require(try listener.localAddress().endpoint).port)
        let syn = F.tcp(51_400, port, .syn)
        try host.attack([Self.mark(isIPv4 ? F.ip4(6, syn) : F.ip6(6, syn), 0xb9)])
        try #require(host.forwarder.tcp.table.count == 1)
        // Without the bits of ECN, which each side has for itself.
        #expect(Self.value(host.forwarder.tcp.table[0].socket, isIPv4: isIPv4) == 0xb8)
        for (number, value) in [UInt8(0x20), 0x20, 0, 0x48].enumerated() {
            let echo = F.echo(0x4140, number)
            try host.attack([Self.mark(isIPv4 ? F.ip4(1, echo) : F.ip6(58, [128] + echo[1...]), value)])
            try #require(host.forwarder.ping.table.count == 1)
            #expect(Self.value(host.forwarder.ping.table[0].socket, isIPv4: isIPv4) == value)
        }
        #expect(host.count(.pingReplies) == 4)
    }

    @Test func bitsOfCongestionAreNotPassedOn() throws {
        var script = try TCPScript()
        let header = TCPHeader(
            sourcePort: TCPScript.guestPort, destinationPort: 80, sequence: SequenceNumber(5), acknowledgment: SequenceNumber(0), flags: .syn, window: 1000)
        script.deliver(header, [], TCPScript.key(), typeOfService: 0x2b)
        #expect(script.tcp.sockets.all[0].typeOfService == 0x28)
    }
}
