import Settings
@testable import Setup
import Testing
import Wire

/// The grammar of -t, -u, -T and -U, without a command line around it.
@Suite("Port options") struct PortSpecTests {
    @Test("Good values", arguments: good)
    func goodValue(_ example: PortExample) throws {
        var rules = PortRules()
        for value in example.values { try rules.add(.tcpIn, GivenOption(name: "--tcp-ports", value: value), program: .pasta) }
        #expect(rules.rules.map(describe) == example.rules)
    }

    @Test("'auto'", arguments: [
        ("auto", ["auto 1-65535"]), ("127.0.0.1/auto", ["127.0.0.1 auto 1-65535"]), ("%eth0/auto", ["%eth0 auto 1-65535"]),
        ("8000-8010,auto", ["8000-8010", "auto 1-7999", "auto 8011-65535"]), ("auto,~22", ["auto 1-21", "auto 23-65535"]),
        ("[::1]/auto,~1000-65535", ["::1 auto 1-999"]), ("auto,80:8080", ["80>8080", "auto 1-79", "auto 81-65535"]),
    ])
    func auto(_ text: String, _ expected: [String]) throws {
        #expect(try PortSpec(text).rules(.tcpIn, text: text).map(describe) == expected)
        var rules = PortRules()
        try rules.add(.tcpIn, GivenOption(name: "--tcp-ports", value: text), program: .pasta)
        #expect(rules.rules.map(describe) == expected)
        #expect(rules.rules.allSatisfy { $0.scans == $0.isBestEffort })
        let passt = #expect(throws: SetupError.self) {
            try rules.add(.tcpIn, GivenOption(name: "--tcp-ports", value: text), program: .passt)
        }
        #expect(passt?.message == "--tcp-ports '\(text)': 'auto' is for namespaces, which passt has none of")
    }

    @Test("Bad values", arguments: bad)
    func badValue(_ example: BadPorts) {
        let error = #expect(throws: PortSpecError.self) { try PortSpec(example.text).rules(.udpIn, text: example.text) }
        #expect(error?.reason == example.reason)
        // As the user sees it: the option, its text, the reason.
        var rules = PortRules()
        let refusal = #expect(throws: SetupError.self) {
            try rules.add(.udpIn, GivenOption(name: "--udp-ports", value: example.text), program: .pasta)
        }
        #expect(refusal?.message == "--udp-ports \(OptionValue.quoted(example.text)): \(example.reason)")
    }

    @Test func thereAreEnoughBadValues() { #expect(Set(bad.map(\.text)).count >= 60) }

    @Test("Options that contradict each other", arguments: [
        (["80", "none"], "--udp-ports 'none': there are other values of --udp-ports"),
        (["none", "80"], "--udp-ports '80': excluded by --udp-ports none"),
        (["80", "80:81"], "--udp-ports '80:81': port 80 leads elsewhere by --udp-ports '80'"),
        (["70-90", "85-95:1085-1095"], "--udp-ports '85-95:1085-1095': port 85 leads elsewhere by --udp-ports '70-90'"),
        (["80", "80:192.0.2.1"], "--udp-ports '80:192.0.2.1': port 80 leads elsewhere by --udp-ports '80'"),
        (["80,80:81"], "--udp-ports '80,80:81': port 80 leads elsewhere by --udp-ports '80,80:81'"),
        (["all", "all:192.0.2.1"], "--udp-ports 'all:192.0.2.1': port 1 leads elsewhere by --udp-ports 'all'"),
    ])
    func conflict(_ values: [String], _ message: String) {
        let error = #expect(throws: SetupError.self) {
            var rules = PortRules()
            for value in values { try rules.add(.udpIn, GivenOption(name: "--udp-ports", value: value), program: .pasta) }
        }
        #expect(error?.message == message)
    }

    @Test("From the namespace", arguments: [PortOption.Kind.tcpOut, .udpOut])
    func outbound(_ kind: PortOption.Kind) throws {
        var rules = PortRules()
        try rules.add(kind, GivenOption(name: "--ns", value: "none"), program: .pasta)
        #expect(rules.rules == [])
        rules = PortRules()
        try rules.add(kind, GivenOption(name: "--ns", value: "80:8080"), program: .pasta)
        #expect(rules.rules == [ForwardRule(kind, 80...80, targetOffset: 8000, text: "80:8080")])
    }

    @Test func protocolsDoNotContradictEachOther() throws {
        var rules = PortRules()
        try rules.add(.tcpIn, GivenOption(name: "--tcp-ports", value: "53:5353"), program: .passt)
        try rules.add(.udpIn, GivenOption(name: "--udp-ports", value: "53"), program: .passt)
        #expect(rules.rules.count == 2)
    }
}

/// Values of one option in order, and the rules in a short form.
struct PortExample: Sendable, CustomTestStringConvertible {
    let values: [String]
    let rules: [String]
    init(_ values: String..., gives rules: [String]) { (self.values, self.rules) = (values, rules) }
    var testDescription: String { values.joined(separator: " + ") }
}

struct BadPorts: Sendable, CustomTestStringConvertible {
    let text: String
    let reason: String
    init(_ text: String, _ reason: String) { (self.text, self.reason) = (text, reason) }
    var testDescription: String { text }
}

/// "192.0.2.1%eth0 best 80-90>198.51.100.1/1080"
private func describe(_ rule: ForwardRule) -> String {
    var place = rule.address?.description ?? ""
    if let interface = rule.interface { place += "%" + interface }
    if rule.scans { place += (place.isEmpty ? "" : " ") + "auto" } else if rule.isBestEffort { place += (place.isEmpty ? "" : " ") + "best" }
    var text = rule.first == rule.last ? "\(rule.first)" : "\(rule.first)-\(rule.last)"
    if rule.targetOffset != 0 || rule.targetAddress != nil { text += ">" }
    if let address = rule.targetAddress { text += "\(address)/" }
    if rule.targetOffset != 0 { text += "\(rule.target(of: rule.first))" } else if rule.targetAddress != nil { text += "=" }
    return place.isEmpty ? text : place + " " + text
}

private let good: [PortExample] = [
    .init("none", gives: []),
    .init("none", "none", gives: []),
    .init("22", gives: ["22"]),
    .init("1,65535", gives: ["1", "65535"]),
    .init("22:23", gives: ["22>23"]),
    .init("22-25", gives: ["22-25"]),
    .init("22-25:32-35", gives: ["22-25>32"]),
    .init("65533-65535:1-3", gives: ["65533-65535>1"]),
    .init("22,23:1023,8000-8010,9000-9001:19000-19001", gives: ["22", "23>1023", "8000-8010", "9000-9001>19000"]),
    // podman
    .init("8080-8080:80-80", gives: ["8080>80"]),
    .init("127.0.0.1/8080-8080:80-80", gives: ["127.0.0.1 8080>80"]),
    .init("::1/80-80:80-80", gives: ["::1 80"]),
    .init("2001:db8::1/80-80:8080-8080", gives: ["2001:db8::1 80>8080"]),
    .init("0.0.0.0/80", "[::]/80", gives: ["0.0.0.0 80", ":: 80"]),
    // Addresses and interfaces
    .init("192.0.2.1/22", gives: ["192.0.2.1 22"]),
    .init("[192.0.2.1]/22", gives: ["192.0.2.1 22"]),
    .init("[2001:db8::1]/22", gives: ["2001:db8::1 22"]),
    .init("::ffff:192.0.2.1/22", gives: ["192.0.2.1 22"]),
    .init("%eth0/22", gives: ["%eth0 22"]),
    .init("192.0.2.1%eth0/22,23", gives: ["192.0.2.1%eth0 22", "192.0.2.1%eth0 23"]),
    .init("[fe80::1]%eth0/22", gives: ["fe80::1%eth0 22"]),
    .init("fe80::1%eth0/22", gives: ["fe80::1%eth0 22"]),
    .init("*/22", gives: ["22"]),
    .init("*%eth0/22", gives: ["%eth0 22"]),
    // All, and exclusions
    .init("all", gives: ["best 1-65535"]),
    .init("*", gives: ["best 1-65535"]),
    .init("192.0.2.1/all", gives: ["192.0.2.1 best 1-65535"]),
    .init("%eth0/all", gives: ["%eth0 best 1-65535"]),
    .init("[2001:db8::1]%eth0/*", gives: ["2001:db8::1%eth0 best 1-65535"]),
    .init("~22", gives: ["best 1-21", "best 23-65535"]),
    .init("~1,~65535", gives: ["best 2-65534"]),
    .init("%eth0/~15000-15009,~15020", gives: ["%eth0 best 1-14999", "%eth0 best 15010-15019", "%eth0 best 15021-65535"]),
    .init("all,~22", gives: ["best 1-21", "best 23-65535"]),
    .init("all,80:8080", gives: ["80>8080", "best 1-79", "best 81-65535"]),
    .init("8000-9000,~8500", gives: ["8000-8499", "8501-9000"]),
    .init("8000-9000:18000-19000,~8500", gives: ["8000-8499>18000", "8501-9000>18501"]),
    .init("~8500,8000-9000,~8000,~9000", gives: ["8001-8499", "8501-8999"]),
    // Target addresses
    .init("0.0.0.0/5000:192.0.2.5/6000", gives: ["0.0.0.0 5000>192.0.2.5/6000"]),
    .init("5000:192.0.2.5/6000", gives: ["5000>192.0.2.5/6000"]),
    .init("22,5000:192.0.2.5/6000", gives: ["22", "5000>192.0.2.5/6000"]),
    .init("5000-5001:[2001:db8::5]/6000-6001", gives: ["5000-5001>2001:db8::5/6000"]),
    .init("[::]/5000:2001:db8::5/6000", gives: [":: 5000>2001:db8::5/6000"]),
    .init("5000:192.0.2.5", gives: ["5000>192.0.2.5/="]),
    .init("all:192.0.2.5", gives: ["best 1-65535>192.0.2.5/="]),
    .init("all:2001:db8::5", gives: ["best 1-65535>2001:db8::5/="]),
    .init("%eth0/*:[2001:db8::5],~22", gives: ["%eth0 best 1-21>2001:db8::5/=", "%eth0 best 23-65535>2001:db8::5/="]),
    // Options that repeat each other
    .init("80", "80", gives: ["80"]),
    .init("80-90", "85-95", gives: ["80-90", "91-95"]),
    .init("80:81", "80-82:81-83", gives: ["80>81", "81-82>82"]),
    .init("all", "80:8080", gives: ["best 1-65535", "80>8080"]),
    .init("127.0.0.1/80:81", "127.0.0.2/80:82", "%lo/80:83", gives: ["127.0.0.1 80>81", "127.0.0.2 80>82", "%lo 80>83"]),
]

private let bad: [BadPorts] = [
    .init("", "ports are needed, or 'none'"),
    .init("x", "'x' is not a port"),
    .init("NONE", "'NONE' is not a port"),
    .init("ALL", "'ALL' is not a port"),
    .init("any", "'any' is not a port"),
    .init("ssh", "'ssh' is not a port"),
    .init("0", "port 0 is not between 1 and 65535"),
    .init("65536", "port 65536 is not between 1 and 65535"),
    .init("4294967376", "port 4294967376 is not between 1 and 65535"),
    .init("99999999999999999999", "'99999999999999999999' is not a port"),
    .init("-1", "'-1' is not a range of ports"),
    .init("+80", "'+80' is not a port"),
    .init(" 80", "' 80' is not a port"),
    .init("80 ", "'80 ' is not a port"),
    .init("0x50", "'0x50' is not a port"),
    .init("80.0", "'80.0' is not a port"),
    .init("80\n", "'80\\xa' is not a port"),
    .init("٨٠", "'٨٠' is not a port"),
    .init("80-", "'80-' is not a range of ports"),
    .init("-", "'-' is not a range of ports"),
    .init("80-90-100", "'80-90-100' is not a range of ports"),
    .init("90-80", "the range '90-80' ends before it begins"),
    .init("0-80", "port 0 is not between 1 and 65535"),
    .init("80-70000", "port 70000 is not between 1 and 65535"),
    .init("80-x", "'80-x' is not a range of ports"),
    .init(",", "a port is missing"),
    .init("80,", "a port is missing"),
    .init(",80", "a port is missing"),
    .init("80,,81", "a port is missing"),
    .init("80;81", "'80;81' is not a port"),
    .init("80:", "the target is missing in '80:'"),
    .init(":80", "'' is not a port"),
    .init("80:x", "'x' is not a port"),
    .init("80:0", "port 0 is not between 1 and 65535"),
    .init("80:65536", "port 65536 is not between 1 and 65535"),
    .init("80:90-", "'90-' is not a range of ports"),
    .init("80:90-80", "the range '90-80' ends before it begins"),
    .init("80:90-91", "'80:90-91' has 1 ports on one side and 2 on the other"),
    .init("80-82:90", "'80-82:90' has 3 ports on one side and 1 on the other"),
    .init("80-82:90-91", "'80-82:90-91' has 3 ports on one side and 2 on the other"),
    .init("~", "'' is not a port"),
    .init("~x", "'x' is not a port"),
    .init("~~80", "'~80' is not a port"),
    .init("~0", "port 0 is not between 1 and 65535"),
    .init("~80:81", "an exclusion such as '~80:81' has no target"),
    .init("~90-80", "the range '90-80' ends before it begins"),
    .init("~1-65535", "the exclusions leave no port"),
    .init("80,~80", "the exclusions leave nothing of 80-80"),
    .init("80-82,~70-90", "the exclusions leave nothing of 80-82"),
    .init("all,all", "'all' is there twice"),
    .init("*,all", "'all' is there twice"),
    .init("auto,auto", "'auto' is there twice"),
    .init("all,auto", "'all' and 'auto' exclude each other"),
    .init("auto:80", "'auto' has no target"),
    .init("auto:192.0.2.1", "'auto' has no target"),
    .init("all:80", "the target of 'all' can only be an address"),
    .init("all:", "the target is missing in 'all:'"),
    .init("none,80", "'none' goes with nothing else"),
    .init("80,none", "'none' goes with nothing else"),
    .init("127.0.0.1/none", "'none' goes with nothing else"),
    .init("/80", "an address or %interface is needed before '/'"),
    .init("127.0.0.1/", "a port is missing"),
    .init("127.0.0.1", "'127.0.0.1' is not a port"),
    .init("127.0.0/80", "'127.0.0' is not an IPv4 or IPv6 address"),
    .init("127.0.0.256/80", "'127.0.0.256' is not an IPv4 or IPv6 address"),
    .init("127.0.0.01/80", "'127.0.0.01' is not an IPv4 or IPv6 address"),
    .init("localhost/80", "'localhost' is not an IPv4 or IPv6 address"),
    .init("eth0/80", "'eth0' is not an IPv4 or IPv6 address, an interface is written %eth0/80"),
    .init("eth0/8080:80,443", "'eth0' is not an IPv4 or IPv6 address, an interface is written %eth0/8080:80,443"),
    .init("eth0/x", "'eth0' is not an IPv4 or IPv6 address"),
    .init("example.com/80", "'example.com' is not an IPv4 or IPv6 address"),
    .init("::g/80", "'::g' is not an IPv4 or IPv6 address"),
    .init("2001:db8::1::2/80", "'db8::1::2' is not an IPv4 or IPv6 address"),
    .init("[::1/80", "unpaired bracket in '[::1'"),
    .init("::1]/80", "unpaired bracket in '::1]'"),
    .init("[]/80", "'[]' is not an IPv4 or IPv6 address"),
    // As containers' programs have them.
    .init("127.0.0.1:8080:80", "'127.0.0.1' is not a port, an address stands before a slash: 127.0.0.1/8080:80"),
    .init("127.0.0.1:8080", "'127.0.0.1' is not a port, an address stands before a slash: 127.0.0.1/8080"),
    .init("[::1]:80", "'[' is not a port, an address stands before a slash: [::1]/80"),
    .init("[::1]:8080-8081:80-81", "'[' is not a port, an address stands before a slash: [::1]/8080-8081:80-81"),
    .init("127.0.0.1:x", "'127.0.0.1' is not a port"),
    .init("8080/tcp", "'8080' is not an IPv4 or IPv6 address, ports have no protocol: -t is TCP, -u is UDP"),
    .init("8080:80/udp", "'80' is not an IPv4 or IPv6 address, ports have no protocol: -t is TCP, -u is UDP"),
    .init("127.0.0.1:8080:80/tcp", "'127.0.0.1:8080:80' is not an IPv4 or IPv6 address, ports have no protocol: -t is TCP, -u is UDP"),
    .init("tcp/80", "'tcp' is not an IPv4 or IPv6 address, ports have no protocol: -t is TCP, -u is UDP"),
    .init("[[::1]]/80", "'[[::1]]' is not an IPv4 or IPv6 address"),
    .init("127.0.0.1/80/81", "'80/81' is not a port"),
    .init("127.0.0.1//80", "'/80' is not a port"),
    .init("224.0.0.1/80", "a multicast address cannot be listened on"),
    .init("[ff02::1]/80", "a multicast address cannot be listened on"),
    .init("255.255.255.255/80", "255.255.255.255 is no address of a host"),
    .init("0.0.0.1/80", "0.0.0.1 is no address of a host"),
    .init("fe80::1/80", "a link-local address needs an interface, as in [fe80::1]%eth0/80"),
    .init("%/80", "'' is not an interface name"),
    .init("192.0.2.1%/80", "'' is not an interface name"),
    .init("%sixteen-letters-/80", "'sixteen-letters-' is not an interface name"),
    .init("%a b/80", "'a b' is not an interface name"),
    .init("%eth0", "'%eth0' is not a port"),
    .init("0.0.0.0/5000:[2001:db8::5]/6000", "0.0.0.0 and 2001:db8::5 are of different families"),
    .init("[::1]/all:192.0.2.5", "::1 and 192.0.2.5 are of different families"),
    .init("5000:192.0.2/6000", "'192.0.2' is not an IPv4 or IPv6 address"),
    .init("5000:192.0.2.5/", "'' is not a port"),
    .init("5000:192.0.2.5/6000-6001", "'5000:192.0.2.5/6000-6001' has 1 ports on one side and 2 on the other"),
    .init("5000:0.0.0.0/6000", "target 0.0.0.0: the unspecified address cannot be used here"),
    .init("5000:224.0.0.1/6000", "target 224.0.0.1: a multicast address cannot be used here"),
    .init("5000:255.255.255.255", "target 255.255.255.255: the broadcast address cannot be used here"),
]
