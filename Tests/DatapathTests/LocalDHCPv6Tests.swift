import Settings
import Testing
import Wire

@testable import Datapath

@Suite struct LocalDHCPv6Tests {
    let services = LocalServices(LocalTest.network())
    static let client = "0001 000a 00030001525400123456"
    static let server = "0002 000a 000300019a559a559a55"
    static let association = "0003 000c 00000007 00000000 00000000"
    static let ours = "20010db8 00000000 00000000 00000002"
    static let other = "20010db8 00000000 00000000 00000099"

    static func named(_ address: String) -> String {
        "0003 0028 00000007 00000000 00000000 0005 0018 \(address) 00000e10 00001c20"
    }

    /// The options of an answer, in order.
    struct Answer {
        var kind: UInt8
        var options: [(code: Int, value: [UInt8])] = []
        subscript(code: Int) -> [UInt8]? { options.first { $0.code == code }?.value }

        init(_ frame: [UInt8]) {
            #expect(frame[20] == 17)
            #expect(frame[54..<58].elementsEqual(LocalTest.bytes("0223 0222")))
            kind = frame[62]
            #expect(frame[63..<66].elementsEqual(LocalTest.bytes("abcdef")))
            var rest = frame[66...]
            while rest.count >= 4 {
                let base = rest.startIndex
                let code = Int(rest[base]) << 8 | Int(rest[base + 1])
                let length = Int(rest[base + 2]) << 8 | Int(rest[base + 3])
                options.append((code, Array(rest.dropFirst(4).prefix(length))))
                rest = rest.dropFirst(4 + length)
            }
            #expect(rest.isEmpty)
        }
    }

    func ask(_ kind: UInt8, _ options: String..., network: Network? = nil) -> Answer? {
        let frame = LocalTest.udp6([kind] + LocalTest.bytes("abcdef" + options.joined()))
        return LocalTest.ask(network.map { LocalServices($0) } ?? services, LocalTest.dhcpv6, frame).map { Answer($0) }
    }

    @Test func goldenAdvertisement() throws {
        let frame = LocalTest.udp6(LocalTest.bytes("01 abcdef" + Self.client + Self.association + "0027 0003 01 0161"))
        let reply = try #require(LocalTest.ask(services, LocalTest.dhcpv6, frame))
        #expect(reply[..<14] == LocalTest.bytes("525400123456 9a559a559a55 86dd")[...])
        #expect(reply[22..<54] == (LocalTest.address(LocalTest.router) + LocalTest.address(LocalTest.guest6))[...])
        #expect(reply[62...].elementsEqual(LocalTest.bytes("""
            02 abcdef
            \(Self.server)
            \(Self.client)
            0007 0001 ff
            0003 0028 00000007 ffffffff ffffffff 0005 0018 \(Self.ours) ffffffff ffffffff
            0017 0010 20010db8 00000000 00000000 00000053
            0027 0012 06 03 626f78 07 6578616d706c65 03 6f7267 00
            0018 0015 07 6578616d706c65 03 6f7267 00 01 61 04 74657374 00
            """)))
    }

    @Test func lesson49_answersGoToTheSource() throws {
        let source = IPv6Address("2001:db8::abcd")!
        let frame = LocalTest.udp6(LocalTest.bytes("01 abcdef" + Self.client + Self.association), from: source)
        let reply = try #require(LocalTest.ask(services, LocalTest.dhcpv6, frame))
        #expect(reply[38..<54].elementsEqual(LocalTest.address(source)))
    }

    @Test func rapidCommit() throws {
        let answer = try #require(ask(1, Self.client, Self.association, "000e 0000"))
        #expect(answer.kind == 7 && answer[14] == [] && answer[7] == nil)
        #expect(answer[3]?.count == 40)
    }

    @Test func requestAndRenewal() throws {
        let request = try #require(ask(3, Self.client, Self.server, Self.named(Self.other)))
        #expect(request.kind == 7)
        #expect(request[3] == LocalTest.bytes("00000007 ffffffff ffffffff 0005 0018 \(Self.ours) ffffffff ffffffff"))
        // Addresses that we do not give end now.
        for (kind, server) in [(5, Self.server), (6, "")] as [(UInt8, String)] {
            let answer = try #require(ask(kind, Self.client, server, Self.named(Self.other)))
            #expect(answer[3] == LocalTest.bytes("""
                00000007 ffffffff ffffffff 0005 0018 \(Self.ours) ffffffff ffffffff
                0005 0018 \(Self.other) 00000000 00000000
                """))
            #expect(try #require(ask(kind, Self.client, server, Self.named(Self.ours)))[3]?.count == 40)
        }
    }

    @Test func confirmation() throws {
        #expect(try #require(ask(4, Self.client, Self.named(Self.ours)))[13] == [0, 0])
        let refused = try #require(ask(4, Self.client, Self.named(Self.other)))
        #expect(refused[13] == [0, 4] && refused[3] == nil && refused[23] == nil)
        #expect(try #require(ask(4, Self.client, Self.named(Self.ours), Self.named(Self.other)))[13] == [0, 4])
        #expect(ask(4, Self.client, Self.association) == nil)
    }

    @Test func releaseAndDecline() throws {
        for kind in [8, 9] as [UInt8] {
            let answer = try #require(ask(kind, Self.client, Self.server, Self.named(Self.ours)))
            #expect(answer.kind == 7 && answer[13] == [0, 0])
            #expect(answer.options.map(\.code) == [2, 1, 13])
        }
    }

    @Test func information() throws {
        let answer = try #require(ask(11, "0006 0004 0017 0018"))
        #expect(answer.kind == 7)
        #expect(answer.options.map(\.code) == [2, 23, 24])
        #expect(ask(11, Self.client, Self.association) == nil)
        #expect(try #require(ask(11, Self.client, "0006 0002 0027"))[39]?.first == 0x04)
    }

    @Test func refusedKinds() throws {
        let temporary = "0004 0004 00000009", prefix = "0019 000c 00000008 00000000 00000000"
        let answer = try #require(ask(1, Self.client, temporary, prefix, Self.association, Self.association))
        #expect(answer.options.map(\.code).prefix(7).elementsEqual([2, 1, 7, 4, 25, 3, 3]))
        #expect(answer.options[3].value == LocalTest.bytes("00000009 000d 0002 0002"))
        #expect(answer.options[4].value == LocalTest.bytes("00000008 00000000 00000000 000d 0002 0006"))
        #expect(answer.options[5].value.count == 40)
        #expect(answer.options[6].value == LocalTest.bytes("00000007 00000000 00000000 000d 0002 0002"))
    }

    @Test(arguments: [
        ("solicit without client", 1, ""), ("solicit with server", 1, client + server), ("request without server", 3, client),
        ("renew without server", 5, client), ("rebind with server", 6, client + server), ("release without server", 8, client),
        ("wrong server", 3, client + "0002 000a 000300019a559a559a56"), ("server of another kind", 3, client + "0002 0004 00020001"),
        ("a server's message", 7, client), ("a relay's message", 12, client), ("cut option", 1, client + "0003 000c 00"),
    ] as [(String, UInt8, String)])
    func silent(_ what: String, _ kind: UInt8, _ options: String) { #expect(ask(kind, options) == nil) }

    @Test func switches() throws {
        func served(_ change: (inout Network) -> Void) -> Answer? {
            var network = LocalTest.network()
            change(&network)
            return ask(1, Self.client, Self.association, "0006 0002 0027", network: network)
        }
        #expect(served { $0.dhcpv6 = false } == nil)
        #expect(served { $0.ipv6 = nil } == nil)
        #expect(served { $0.ipv6?.address = nil } == nil)
        let least = try #require(served {
            $0.advertiseResolvers = false
            $0.advertiseSearch = false
            $0.fqdn = nil
        })
        #expect(least.options.map(\.code) == [2, 1, 7, 3])
    }

    @Test func sizesAreBounded() throws {
        var network = LocalTest.network()
        network.ipv6?.resolvers = Array(repeating: .loopback, count: 500)
        network.searchDomains = (0..<500).map { "a\($0).example.org" }
        let many = String(repeating: Self.association, count: 80)
        let frame = LocalTest.udp6(LocalTest.bytes("01 abcdef 0001 0082" + String(repeating: "11", count: 130) + many))
        let reply = try #require(LocalTest.ask(LocalServices(network), LocalTest.dhcpv6, frame))
        // As many whole domains as fit; one takes at most 18 bytes.
        #expect((14 + 1280 - 17...14 + 1280).contains(reply.count))
        let answer = Answer(reply)
        #expect(answer.options.filter { $0.code == 3 }.count == 8)
        let part = try #require(answer[24])
        #expect((1..<500).contains { part == DomainName.list(network.searchDomains.prefix($0).map { DomainName($0)! }) })
    }

    @Test func notForUs() {
        let solicit = LocalTest.bytes("01 abcdef" + Self.client)
        func asked(_ frame: [UInt8]) -> Bool { LocalTest.ask(services, LocalTest.dhcpv6, frame) != nil }
        #expect(asked(LocalTest.udp6(solicit)) && asked(LocalTest.udp6(solicit, to: LocalTest.router)))
        #expect(!asked(LocalTest.udp6(solicit, to: IPv6Address("2001:db8::9")!)))
        #expect(!asked(LocalTest.udp6(solicit, from: .any)))
        #expect(!asked(LocalTest.udp6(solicit, from: .allNodes)))
        #expect(!asked(LocalTest.udp6(solicit, port: 546)))
    }
}
