import Testing
import Wire

@Suite struct AddressTextTests {
    @Test(arguments: [("0.0.0.0", 0), ("192.0.2.1", 0xc000_0201), ("255.255.255.255", 0xffff_ffff)] as [(String, UInt32)])
    func ipv4(_ text: String, _ bits: UInt32) throws {
        #expect(try #require(IPv4Address(text)).bits == bits)
        #expect(IPv4Address(bits).description == text)
    }

    @Test(arguments: [
        "", ".", "1", "1.2.3", "1.2.3.", ".1.2.3", "1..2.3", "1.2.3.4.", "1.2.3.4.5", "256.1.1.1", "1.2.3.999999999999",
        "01.2.3.4", "1.2.3.00", " 1.2.3.4", "1.2.3.4 ", "1.2.3.4\n", "0x1.2.3.4", "+1.2.3.4", "-1.2.3.4", "1.2.3.4/24", "١.2.3.4",
    ])
    func ipv4Refused(_ text: String) { #expect(IPv4Address(text) == nil) }

    @Test(arguments: [
        ("::", "::"), ("::1", "::1"), ("1::", "1::"), ("2001:DB8::A", "2001:db8::a"), ("2001:0db8:0:0:1:0:0:1", "2001:db8::1:0:0:1"),
        ("2001:db8:0:1:1:1:1:1", "2001:db8:0:1:1:1:1:1"), ("2001:0:0:1:0:0:0:1", "2001:0:0:1::1"), ("1:2:3:4:5:6:7::", "1:2:3:4:5:6:7:0"),
        ("::2:3:4:5:6:7:8", "0:2:3:4:5:6:7:8"), ("::ffff:192.0.2.1", "::ffff:192.0.2.1"), ("::FFFF:c000:201", "::ffff:192.0.2.1"),
        ("64:ff9b::192.0.2.1", "64:ff9b::c000:201"), ("1:2:3:4:5:6:7.8.9.10", "1:2:3:4:5:6:708:90a"),
        ("ffff:ffff:ffff:ffff:ffff:ffff:255.255.255.255", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"), ("fe80::", "fe80::"),
    ])
    func ipv6(_ text: String, _ canonical: String) throws {
        let address = try #require(IPv6Address(text))
        #expect(address.description == canonical)
        #expect(IPv6Address(canonical) == address)
    }

    @Test func ipv6Value() throws {
        #expect(IPv6Address("2001:db8:1:2:3:4:5:6") == IPv6Address(high: 0x2001_0db8_0001_0002, low: 0x0003_0004_0005_0006))
        #expect(IPv6Address("ff02::2") == .allRouters)
    }

    @Test(arguments: [
        "", ":", ":::", "1", "1:2", ":1:2:3:4:5:6:7:8", "1:2:3:4:5:6:7", "1:2:3:4:5:6:7:", "1:2:3:4:5:6:7:8:", "1:2:3:4:5:6:7:8:9",
        "::1::", "1::2::3", "1:2:3:4:5:6:7:8::", "::1:2:3:4:5:6:7:8", "12345::", "g::", "::1 ", " ::1", "::1%eth0", "[::1]", "::1/64",
        "::1.2.3", "::1.2.3.4:5", "1:2:3:4:5:6:7:1.2.3.4", "::01.2.3.4", "1.2.3.4", "1:", ":1", "::-1", "::+1",
    ])
    func ipv6Refused(_ text: String) { #expect(IPv6Address(text) == nil) }

    @Test func eitherFamily() throws {
        #expect(try #require(IPAddress("192.0.2.1")).ipv4 == IPv4Address(0xc000_0201))
        #expect(IPAddress("::ffff:192.0.2.1") == IPAddress("192.0.2.1"))
        #expect(IPAddress("2001:db8::1")?.isIPv4 == false)
        #expect(IPAddress("example.org") == nil)
        #expect(Endpoint(IPAddress("192.0.2.1")!, 80).description == "192.0.2.1:80")
        #expect(Endpoint(IPAddress("2001:db8::1")!, 80).description == "[2001:db8::1]:80")
    }

    @Test func mac() throws {
        let address = try #require(MACAddress("9a:55:0A:55:9a:05"))
        #expect(address.bits == 0x9a55_0a55_9a05)
        #expect(address.description == "9a:55:0a:55:9a:05")
        for text in ["", "9a:55:9a:55:9a", "9a:55:9a:55:9a:5", "9a-55-9a-55-9a-55", "9a:55:9a:55:9a:55:", "9g:55:9a:55:9a:55", "9a559a559a55"] {
            #expect(MACAddress(text) == nil)
        }
    }
}
