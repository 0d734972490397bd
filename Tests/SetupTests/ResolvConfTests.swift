import Linux
import Setup
import Testing
import Wire

@Suite("resolv.conf")
struct ResolvConfTests {
    private func read(_ text: String) -> ResolvConf { ResolvConf(Array(text.utf8)) }
    private func ip(_ text: String) -> IPAddress { IPAddress(text)! }

    @Test func ordinaryFile() {
        let file = read("""
            # Made by hand
            ; and by others
            nameserver 192.0.2.53
            nameserver 2001:db8::53
            options edns0 trust-ad
            search example.org sub.example.org.

            """)
        #expect(file.addresses(on: nil) == [ip("192.0.2.53"), ip("2001:db8::53")])
        #expect(file.searchDomains == ["example.org", "sub.example.org"])
    }

    @Test("Search lists", arguments: [
        ("", []),
        ("domain a.example", ["a.example"]),
        ("domain a.example b.example", ["a.example"]),
        ("search a.example\ndomain b.example", ["b.example"]),
        ("domain b.example\nsearch a.example c.example", ["a.example", "c.example"]),
        ("search a.example\nsearch", ["a.example"]),
        ("search a.example\nsearch .", []),
        ("search a.example a.example a.example.", ["a.example"]),
        ("search a.example -bad- b.example", ["a.example", "b.example"]),
        ("search a.example # b.example", ["a.example"]),
        ("search _msdcs.example", ["_msdcs.example"]),
        ("searching a.example", []),
        ("search\ta.example\t\tb.example", ["a.example", "b.example"]),
        ("search a.example\r\n", ["a.example"]),
        ("search a\u{0}b c.example", ["c.example"]),
        ("search ä.example c.example", ["c.example"]),
    ])
    func searchLists(_ text: String, _ domains: [String]) {
        #expect(read(text).searchDomains == domains)
    }

    @Test("Nameservers", arguments: [
        ("nameserver 192.0.2.1", ["192.0.2.1"]),
        ("nameserver 192.0.2.1\r\nnameserver 192.0.2.2\r\n", ["192.0.2.1", "192.0.2.2"]),
        ("  nameserver\t192.0.2.1  ", ["192.0.2.1"]),
        ("nameserver 192.0.2.1 # the good one", ["192.0.2.1"]),
        ("nameserver 192.0.2.1\nnameserver 192.0.2.1", ["192.0.2.1"]),
        ("#nameserver 192.0.2.1\n;nameserver 192.0.2.2\n # nameserver 192.0.2.3", []),
        ("nameserver", []),
        ("nameserver192.0.2.1", []),
        ("Nameserver 192.0.2.1", []),
        ("nameserver 192.0.2.256", []),
        ("nameserver example.org", []),
        ("nameserver 192.0.2.1%eth0", []),
        ("nameserver 224.0.0.251\nnameserver ff02::fb", []),
        ("nameserver 127.0.0.53", ["127.0.0.53"]),
        ("nameserver 0.0.0.0\nnameserver ::", ["127.0.0.1", "::1"]),
        ("nameserver ::ffff:192.0.2.1", ["192.0.2.1"]),
        ("nameserver 2001:db8::1%eth0", ["2001:db8::1"]),
        ("\n\n\nnameserver 192.0.2.1", ["192.0.2.1"]),
    ])
    func nameservers(_ text: String, _ addresses: [String]) {
        #expect(read(text).nameservers == addresses.map { .init(ip($0)) })
        #expect(read(text).addresses(on: nil) == (addresses.isEmpty ? [ip("127.0.0.1")] : addresses.map(ip)))
    }

    @Test func scopes() {
        let file = read("nameserver fe80::1%eth0\nnameserver fe80::1%3\nnameserver fe80::2\nnameserver fe80::3%\nnameserver fe80::4%0123456789abcdef\n")
        #expect(file.nameservers == [
            .init(ip("fe80::1"), scope: "eth0"), .init(ip("fe80::1"), scope: "3"), .init(ip("fe80::2")),
        ])
        // None of them can be dialled by address alone.
        #expect(file.addresses(on: nil).isEmpty && file.addresses(on: link(4, "eth1")).isEmpty)
        #expect(file.addresses(on: link(2, "eth0")) == [ip("fe80::1")] && file.addresses(on: link(3, "eth1")) == [ip("fe80::1")])
    }

    @Test func limits() {
        let servers = (1...200).map { "nameserver 192.0.2.\($0)\n" }.joined()
        #expect(read(servers).nameservers.count == ResolvConf.maximumNameservers)
        #expect(read(servers).addresses(on: nil).first == ip("192.0.2.1"))
        let domains = "search " + (1...200).map { "d\($0).example" }.joined(separator: " ")
        #expect(read(domains).searchDomains.count == ResolvConf.maximumDomains)
    }

    @Test func longLinesAndRubbish() {
        let long = "search " + String(repeating: "x", count: 100_000) + " a.example\nnameserver " + String(repeating: "1", count: 100_000)
        #expect(read(long) == read("search a.example"))
        // Every byte value, and a line that never ends.
        #expect(ResolvConf((0...255).map { UInt8($0) }) == ResolvConf())
        #expect(ResolvConf([UInt8](repeating: 0xff, count: 65536)) == ResolvConf())
        #expect(ResolvConf(Array("nameserver ".utf8) + [0xff, 0xfe]) == ResolvConf())
    }

    /// Where the C library asks who is at 127.0.0.1, and so does who reads on in a link to nothing.
    @Test func missingFileIsAnEmptyOne() {
        #expect(ResolvConf(path: "/nonexistent/resolv.conf") == ResolvConf())
        #expect(ResolvConf().failure == nil && ResolvConf().addresses(on: nil) == [ip("127.0.0.1")])
    }

    /// A file that cannot be read says nothing, and that is not what an empty one says.
    @Test func anUnreadableFileIsNone() {
        let folder = ResolvConf(path: "/")
        #expect(folder.failure == Errno(21) && folder.addresses(on: nil).isEmpty)
        #expect(ResolvConf(path: "/dev/null/resolv.conf").failure == Errno(20))
    }
}
