import Settings
import Testing
import Wire

@testable import Datapath

/// A guest on a link of 192.0.2.0/24 and 2001:db8::/64, written without the code under test.
enum LocalTest {
    static let guestMAC = MACAddress(0x5254_0012_3456)
    static let guest6 = IPv6Address("fe80::5054:ff:fe12:3456")!
    static let router = IPv6Address("fe80::1")!

    static func network() -> Network {
        var network = Network(gatewayMAC: Network.defaultGatewayMAC, routerLinkLocal: router, mtu: 65520)
        var ipv4 = Network.Family(address: IPv4Address("192.0.2.2")!, prefixLength: 24, gateway: IPv4Address("192.0.2.1")!)
        ipv4.resolvers = [IPv4Address("192.0.2.53")!, IPv4Address("198.51.100.53")!]
        ipv4.mapGuestAddress = IPv4Address("192.0.2.77")!
        network.ipv4 = ipv4
        var ipv6 = Network.Family(address: IPv6Address("2001:db8::2")!, prefixLength: 64, gateway: IPv6Address("fe80::1234")!)
        ipv6.resolvers = [IPv6Address("2001:db8::53")!]
        network.ipv6 = ipv6
        network.advertiseResolvers = true
        network.advertiseSearch = true
        network.searchDomains = ["example.org", "not valid", "a.test"]
        network.hostname = "box"
        network.fqdn = "box.example.org"
        return network
    }

    typealias Service = @Sendable (LocalServices, borrowing RawSpan, inout MutableRawSpan) -> Int?
    static let arp: Service = { $0.arp($1, into: &$2) }
    static let ns: Service = { $0.neighbourSolicitation($1, into: &$2) }
    static let rs: Service = { $0.routerSolicitation($1, into: &$2) }
    static let dhcp: Service = { $0.dhcp($1, into: &$2) }
    static let dhcpv6: Service = { $0.dhcpv6($1, into: &$2) }
    static let ra: Service = { services, _, reply in services.routerAdvertisement(into: &reply) }

    /// The reply to `frame`, whose checksums and lengths have been checked by a second opinion.
    static func ask(_ services: LocalServices, _ service: Service, _ frame: [UInt8]) -> [UInt8]? {
        var reply = [UInt8](repeating: 0xee, count: LocalServices.maximumReply)
        // SAFETY: both spans live inside the closures only.
        let length: Int? = unsafe frame.withUnsafeBytes { question in
            unsafe reply.withUnsafeMutableBytes { answer in
                var span = unsafe MutableRawSpan(_unsafeBytes: answer)
                return unsafe service(services, question.bytes, &span)
            }
        }
        guard let length else { return nil }
        #expect((60...LocalServices.maximumReply).contains(length))
        let result = Array(reply[..<length])
        checkSums(result)
        return result
    }

    /// Frames of the guest. Checksums are left out, as a guest with offloads may do.
    static func udp4(
        _ payload: [UInt8], from source: String = "00000000", to destination: String = "ffffffff", port: Int = 67,
        padding: Int = 0
    ) -> [UInt8] {
        join(
            bytes("ffffffffffff 525400123456 0800 4500"), word(28 + payload.count), bytes("00000000 4011 0000"),
            bytes(source), bytes(destination), word(68), word(port), word(8 + payload.count), [0, 0], payload,
            [UInt8](repeating: 0xaa, count: padding))
    }

    static func ip6(
        _ payload: [UInt8], next: UInt8, hops: UInt8, from source: IPv6Address = guest6, to destination: IPv6Address
    ) -> [UInt8] {
        join(
            bytes("333300000002 525400123456 86dd 60000000"), word(payload.count), [next, hops],
            address(source), address(destination), payload)
    }

    static func udp6(
        _ payload: [UInt8], from source: IPv6Address = guest6, to destination: IPv6Address = IPv6Address("ff02::1:2")!,
        port: Int = 547
    ) -> [UInt8] {
        ip6(
            join(word(546), word(port), word(8 + payload.count), [0, 0], payload), next: 17, hops: 64, from: source,
            to: destination)
    }

    static func join(_ parts: [UInt8]...) -> [UInt8] { parts.flatMap { $0 } }

    static func word(_ value: Int) -> [UInt8] { [UInt8(value >> 8 & 0xff), UInt8(value & 0xff)] }

    static func address(_ address: IPv6Address) -> [UInt8] {
        [address.high, address.low].flatMap { half in (0..<8).map { UInt8(truncatingIfNeeded: half >> UInt64(56 - $0 * 8)) } }
    }

    /// Bytes from hexadecimal digits, blanks and comments.
    static func bytes(_ text: String) -> [UInt8] {
        let digits = text.split(separator: "\n").flatMap { line in
            line.prefix { $0 != "#" }.compactMap { $0.hexDigitValue }
        }
        return stride(from: 0, to: digits.count, by: 2).map { UInt8(digits[$0] << 4 | digits[$0 + 1]) }
    }

    /// Sums up what must come out as ones.
    static func checkSums(_ frame: [UInt8]) {
        switch Array(frame[12..<14]) {
        case [0x08, 0x00]:
            #expect(sum(frame[14..<34]) == 0xffff)
            #expect(Int(frame[16]) << 8 | Int(frame[17]) == frame.count - 14)
            #expect(Int(frame[38]) << 8 | Int(frame[39]) == frame.count - 34)
            #expect(sum(join(Array(frame[26..<34]), [0, frame[23]], word(frame.count - 34), Array(frame[34...]))[...]) == 0xffff)
        case [0x86, 0xdd]:
            #expect(Int(frame[18]) << 8 | Int(frame[19]) == frame.count - 54)
            if frame[20] == 17 { #expect(Int(frame[58]) << 8 | Int(frame[59]) == frame.count - 54) }
            #expect(sum(join(Array(frame[22..<54]), [0, frame[20]], word(frame.count - 54), Array(frame[54...]))[...]) == 0xffff)
        default:
            break
        }
    }

    static func sum(_ bytes: ArraySlice<UInt8>) -> Int {
        var sum = 0
        for (index, byte) in bytes.enumerated() { sum += index % 2 == 0 ? Int(byte) << 8 : Int(byte) }
        while sum > 0xffff { sum = sum >> 16 + sum & 0xffff }
        return sum
    }
}
