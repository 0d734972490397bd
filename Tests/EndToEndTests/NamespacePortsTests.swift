import Glibc
import Testing

/// Ports of the namespace that lead to the host's loopback, or to another host: -T and -U.
@Suite struct NamespacePortsTests {
    private static let probe = ["python3", Helpers.path("probe.py")]

    /// Who is answered at these ports, as `tcp 8080 NAME`.
    private static func answers(_ guest: Guest, _ address: String, _ ports: [String]) throws -> Set<String> {
        Set(try guest.run(probe + ["ask", address] + ports).check().lines)
    }

    /// Servers on a host's ports, each of which answers with its name.
    private static func serve(_ host: Host, _ names: [(name: String, port: Int)]) throws {
        let servers = try names.map { try host.start(probe + ["serve", $0.name, "\($0.port)", "0.0.0.0", "::"]) }
        for server in servers { try require("a server") { server.standardOutput.contains("ready") } }
    }

    /// Every way to say where and which ports: who is answered at the namespace's loopback, by which port of the host, or of the remote host (r).
    @Test("Forms", arguments: [
        ("8080-8082:4000-4002", ["8080>4000", "8081>4001", "8082>4002"], [Family.v4, .v6]),
        ("4000-4002,~4001", ["4000>4000", "4002>4002", "4001>"], [.v4, .v6]), ("127.0.0.1/8080:4000", ["8080>4000"], [.v4]),
        ("[::1]/8080:4000", ["8080>4000"], [.v6]), ("::1/8080:4000", ["8080>4000"], [.v6]), ("0.0.0.0/8080:4000", ["8080>4000"], [.v4]),
        ("[::]/8080:4000", ["8080>4000"], [.v6]), ("127.0.0.1/8080:4001,8081:4002", ["8080>4001", "8081>4002"], [.v4]),
        ("[::1]/8080-8081:4000-4001", ["8080>4000", "8081>4001"], [.v6]), ("%lo/8080:4000", ["8080>4000"], [.v4, .v6]),
        ("127.0.0.1%lo/8080:4000", ["8080>4000"], [.v4]), ("*/8080:4000", ["8080>4000"], [.v4, .v6]),
        ("all,~1-3999,~4002-65535", ["4000>4000", "4001>4001", "4002>"], [.v4, .v6]), ("~1-3999,~4003-65535", ["4000>4000", "4002>4002"], [.v4, .v6]),
        ("[::1]/all,~1-3999,~4003-65535", ["4001>4001"], [.v6]), ("8080:127.0.0.1/4000", ["8080>4000"], [.v4]), ("8080:[::1]/4000", ["8080>4000"], [.v6]),
        ("8080:203.0.113.2/4000", ["8080>r4000"], [.v4]), ("8080:[2001:db8:2::2]/4000", ["8080>r4000"], [.v6]),
        ("8080-8081:203.0.113.2/4001-4002", ["8080>r4001", "8081>r4002"], [.v4]), ("127.0.0.1/8080:203.0.113.2/4000", ["8080>r4000"], [.v4]),
        ("[::1]/8080:[2001:db8:2::2]/4001", ["8080>r4001"], [.v6]), ("all:203.0.113.2,~1-3999,~4003-65535", ["4000>r4000", "4002>r4002"], [.v4]),
        ("8080:203.0.113.2/4000,8081:198.51.100.1/4001", ["8080>r4000", "8081>4001"], [.v4]),
    ] as [(String, [String], [Family])])
    func everyFormLeadsWhereItSays(_ spec: String, _ expected: [String], _ families: [Family]) throws {
        try withNetwork { network in
            try Self.serve(network.host, (4000...4002).map { (name: "\($0)", port: $0) })
            try Self.serve(network.remote, (4000...4002).map { (name: "r\($0)", port: $0) })
            let guest = try network.guest(["--config-net", "-T", spec, "-U", spec])
            let cases = expected.map { $0.split(separator: ">", omittingEmptySubsequences: false).map(String.init) }
            for family in Family.allCases {
                let wanted = families.contains(family) ? cases.filter { $0[1] != "" } : []
                let found = try Self.answers(guest, family.loopback, cases.map { $0[0] })
                #expect(found == Set(wanted.flatMap { ["tcp \($0[0]) \($0[1])", "udp \($0[0]) \($0[1])"] }))
            }
        }
    }

    /// Who is root in the namespace may end sockets there, also those that listen for us: that costs the port, and no processor time.
    @Test func lesson64_aListenerThatTheGuestEndsIsLetGo() throws {
        try withNetwork { network in
            try Self.serve(network.host, [(name: "host", port: 4000)])
            let guest = try network.guest(["-f", "--config-net", "--stats", "1", "-T", "8080:4000,8081:4000"])
            #expect(try guest.sh("ss -Htl 'sport = :8080' | wc -l").check().text != "0")
            try guest.sh("ss -K -tl 'sport = :8080'").check()
            #expect(try guest.sh("ss -Htl 'sport = :8080' | wc -l").check().text == "0")
            #expect(eventually { Footprint(program: guest.pasta).counter("listeners that somebody else has ended") > 0 })
            let before = Footprint(program: guest.pasta).ticks
            usleep(1_000_000)
            let used = Footprint(program: guest.pasta).ticks - before
            #expect(used < 10, "\(used) hundredths of a second in one second")
            #expect(try Self.answers(guest, "127.0.0.1", ["8081"]) == ["tcp 8081 host"])
        }
    }

    /// What is named is listened on, and nothing else: another address of loopback, and those of the interface.
    @Test(arguments: [(Family.v4, "127.0.0.9"), (.v4, "198.51.100.1"), (.v6, "2001:db8:1::1")])
    func addressesAreKeptTo(_ family: Family, _ address: String) throws {
        try withNetwork { network in
            try Self.serve(network.host, [(name: "host", port: 4000)])
            let spec = "\(family.bracketed(address))/8080:4000"
            let guest = try network.guest(["--config-net", "-T", spec, "-U", spec])
            #expect(try Self.answers(guest, address, ["8080"]) == ["tcp 8080 host", "udp 8080 host"])
            #expect(try Self.answers(guest, family.loopback, ["8080"]).isEmpty)
        }
    }

    /// The remote host sees the host, and everything passes.
    @Test(arguments: Family.allCases)
    func anotherHostIsReached(_ family: Family) throws {
        try withNetwork { network in
            try network.remote.serveTests()
            let spec = "8080:[\(family.server)]/4000"
            let guest = try network.guest(["--config-net", "-T", spec, "-U", spec])
            #expect(try guest.client("ask", family.loopback, 8080, "whoami").check().text == family.hostAddress)
            #expect(try guest.client("udp-ask", family.loopback, 8080, "whoami").check().text == family.hostAddress)
            for what in ["send", "receive", "duplex"] { try guest.client(what, family.loopback, 8080, 8 << 20).check() }
            try guest.client("late", family.loopback, 8080, 16 << 20, 1).check()
            try guest.client("parallel", family.loopback, 8080, 50, 10_000).check()
            try guest.client("first", family.loopback, 8080, 100_000).check()
            try guest.client("abort", family.loopback, 8080).check()
            #expect(try guest.client("reset", family.loopback, 8080).check().text == "ECONNRESET")
            try guest.client("udp-sizes", family.loopback, 8080, 0, 1, 1400, 1473, 9000, 65000).check()
            try guest.client("udp-flows", family.loopback, 8080, 100).check()
        }
    }

    /// There is a path to be estimated, other than to the host's own loopback: what the system says of congestion is kept to.
    @Test func theWayToAnotherHostIsPacedAsAllOthers() throws {
        try withNetwork { network in
            try network.remote.serveTests()
            let usual = try network.host.sh("cat /proc/sys/net/ipv4/tcp_congestion_control").check().text
            let guest = try network.guest(["--config-net", "-T", "8080:203.0.113.2/4000"])
            let client = try guest.start(["socat", "-u", "EXEC:sleep 20", "TCP4:127.0.0.1:8080"])
            try require("a connection of the host's with \(usual)") {
                (try? network.host.run(["ss", "-Htin", "state", "established", "dst", Family.v4.server]))?.out.contains(" \(usual) ") == true
            }
            client.kill()
        }
    }
}
