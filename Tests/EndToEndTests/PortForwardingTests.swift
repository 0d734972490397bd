import Testing

/// Ports of the host that lead to the guest.
@Suite struct PortForwardingTests {
    // MARK: Who reaches whom

    @Test(arguments: Family.allCases)
    func theRemoteHostReachesTheGuestAndKeepsItsAddress(_ family: Family) throws {
        try withNetwork { network in
            let guest = try network.guest(["--config-net", "-t", "8080:4000", "-u", "8080:4000"])
            try guest.serveTests()
            #expect(try network.remote.client("ask", family.hostAddress, 8080, "whoami").check().text == family.server)
            #expect(try network.remote.client("udp-ask", family.hostAddress, 8080, "whoami").check().text == family.server)
            for what in ["send", "receive", "duplex"] {
                try network.remote.client(what, family.hostAddress, 8080, 4 << 20).check()
            }
            try network.remote.client("parallel", family.hostAddress, 8080, 100, 10_000).check()
            try network.remote.client("first", family.hostAddress, 8080, 100_000).check()
            try network.remote.client("abort", family.hostAddress, 8080).check()
            try network.remote.client("udp-flows", family.hostAddress, 8080, 200).check()
            try network.remote.client("udp-sizes", family.hostAddress, 8080, 0, 1, 1400, 1473, 9000, 65000).check()
        }
    }

    /// A packet of a container behind the guest leads nobody there.
    @Test func lesson42_theGuestsAddressIsWhatItWasGiven() throws {
        try withNetwork { network in
            let guest = try network.guest(["--config-net", "-t", "8080:4000", "-u", "8080:4000"])
            try guest.serveTests()
            try guest.sh("ip addr add 10.89.0.2/32 dev lo; ip addr add 2001:db8:9::2/128 dev lo nodad").check()
            for (source, family) in [("10.89.0.2", Family.v4), ("2001:db8:9::2", Family.v6)] {
                try guest.run(["python3", "-c", """
                    import socket
                    sock = socket.socket(socket.\(family == .v4 ? "AF_INET" : "AF_INET6"), socket.SOCK_DGRAM)
                    sock.bind(("\(source)", 0))
                    sock.sendto(b"hello", ("\(family.server)", 9))
                    """]).check()
                #expect(try network.remote.client("ask", family.hostAddress, 8080, "contacted").check().text == family.hostAddress)
            }
        }
    }

    /// The guest has the host's address itself, and no use for a peer on loopback: the host is the gateway to it. Only what takes no detour
    /// comes from where it goes to.
    @Test(arguments: Family.allCases)
    func theHostReachesTheGuestAsTheGateway(_ family: Family) throws {
        try withNetwork { network in
            let guest = try network.guest(["--config-net", "-t", "8080:4000", "-u", "8080:4000", "--no-splice"])
            try guest.serveTests()
            for address in [family.loopback, family.hostAddress] {
                #expect(try network.host.client("ask", address, 8080, "whoami").check().text == family.gateway)
                #expect(try network.host.client("udp-ask", address, 8080, "whoami").check().text == family.gateway)
                try network.host.client("duplex", address, 8080, 1 << 20).check()
            }
        }
    }

    /// podman's arguments: nothing is mapped but the one address, and the host still reaches what it published.
    @Test func podmanPublishesPorts() throws {
        try withNetwork { network in
            let guest = try network.guest([
                "--config-net", "-t", "8080-8080:4000-4000", "-u", "127.0.0.1/8081-8081:4000-4000", "-t", "::1/8082-8082:4000-4000",
                "--dns-forward", "169.254.1.1", "-T", "none", "-U", "none", "--no-map-gw", "--quiet", "--map-guest-addr", "169.254.1.2",
            ])
            try guest.serveTests()
            #expect(try network.remote.client("ask", Family.v4.hostAddress, 8080, "whoami").check().text == Family.v4.server)
            #expect(try network.remote.client("ask", Family.v6.hostAddress, 8080, "whoami").check().text == Family.v6.server)
            #expect(try network.host.client("ask", "127.0.0.1", 8080, "whoami").check().text == Family.v4.hostAddress)
            #expect(try network.host.client("udp-ask", "127.0.0.1", 8081, "whoami").check().text == Family.v4.hostAddress)
            #expect(try network.host.client("ask", Family.v4.hostAddress, 8080, "whoami").check().text == "169.254.1.2")
            try network.host.client("send", "::1", 8082, 100_000).check()
            // Being seen as an address opens no way to it.
            try network.host.serveTests(port: 4100)
            #expect(try guest.client("error", Family.v4.gateway, 4100).check().text.hasPrefix("ECONNREFUSED"))
        }
    }

    /// Another address of the guest's, and one of a container behind it.
    @Test(arguments: [
        (Family.v4, "198.51.100.77", "/24 dev wan0"), (.v4, "10.89.0.2", "/32 dev lo"), (.v6, "2001:db8:1::77", "/64 dev wan0 nodad"),
        (.v6, "2001:db8:9::2", "/128 dev lo nodad"),
    ])
    func targetAddressesAreKept(_ family: Family, _ address: String, _ place: String) throws {
        try withNetwork { network in
            let guest = try network.guest(["--config-net", "-t", "8080:[\(address)]/4000", "-u", "8080:[\(address)]/4000"])
            try guest.sh("ip addr add \(address)\(place)").check()
            try guest.serveTests(address: address)
            #expect(try network.remote.client("ask", family.hostAddress, 8080, "contacted").check().text == address)
            #expect(try network.remote.client("ask", family.hostAddress, 8080, "whoami").check().text == family.server)
            #expect(try network.remote.client("udp-ask", family.hostAddress, 8080, "whoami").check().text == family.server)
            try network.remote.client("duplex", family.hostAddress, 8080, 1 << 20).check()
            try network.remote.client("udp-sizes", family.hostAddress, 8080, 0, 1, 1400, 1473, 9000).check()
        }
    }

    /// Web pages and names, asked for by the programs that everybody has, from outside and from the host's loopback.
    @Test(arguments: Family.allCases)
    func curlAndDigComeIn(_ family: Family) throws {
        try withNetwork { network in
            let (folder, copy) = (network.path("www"), network.path("copy"))
            try network.run(["sh", "-c", "mkdir \(folder) && head -c 1048576 /dev/urandom >\(folder)/file"]).check()
            let guest = try network.guest(["--config-net", "-t", "8080:80,53", "-u", "53"], as: .root)
            try guest.serve(["python3", "-m", "http.server", "--bind", family == .v4 ? "0.0.0.0" : "::", "--directory", folder, "80"], port: 80)
            try guest.serve(Network.nameServer, port: 53)
            let clients: [(host: Host, address: String)] = [(network.remote, family.hostAddress), (network.host, family.loopback)]
            for (host, address) in clients {
                try host.run(["curl", "-sS", "--fail", "-o", copy, "http://\(family.bracketed(address)):8080/file"]).check()
                try network.run(["cmp", folder + "/file", copy]).check()
                for transport in ["+notcp", "+tcp"] {
                    let output = try host.run(["dig", "+short", "+time=2", "+tries=2", transport, "@\(address)", "host.example.test"])
                    #expect(output.text == "192.0.2.55", "\(output)")
                }
            }
        }
    }

    /// Every way to say where and which ports: who is answered by which port of the guest, at its own address, or at another of its addresses (b).
    @Test("Forms", arguments: [
        ("8080-8082:4000-4002", ["8080>4000", "8081>4001", "8082>4002"], [Family.v4, .v6]),
        ("4000-4002,~4001", ["4000>4000", "4002>4002", "4001>"], [.v4, .v6]),
        ("0.0.0.0/8080:4000", ["8080>4000"], [.v4]), ("[::]/8080:4000", ["8080>4000"], [.v6]), ("::/8080:4000", ["8080>4000"], [.v6]),
        ("198.51.100.1/8080:4001,8081:4002", ["8080>4001", "8081>4002"], [.v4]), ("[2001:db8:1::1]/8080-8081:4000-4001", ["8080>4000", "8081>4001"], [.v6]),
        ("%wan0/8080:4000", ["8080>4000"], [.v4, .v6]), ("198.51.100.1%wan0/8080:4000", ["8080>4000"], [.v4]), ("*/8080:4000", ["8080>4000"], [.v4, .v6]),
        ("all,~1-3999,~4002-65535", ["4000>4000", "4001>4001", "4002>"], [.v4, .v6]), ("%wan0/~1-3999,~4003-65535", ["4000>4000", "4002>4002"], [.v4, .v6]),
        ("[::]/all,~1-3999,~4003-65535", ["4001>4001"], [.v6]), ("8080:198.51.100.9/4000", ["8080>4000b"], [.v4]),
        ("198.51.100.1/8080:198.51.100.9/4001", ["8080>4001b"], [.v4]), ("all:2001:db8:1::9,~1-3999,~4003-65535", ["4000>4000b"], [.v6]),
        ("8080:198.51.100.1/4000,8081:198.51.100.9/4000", ["8080>4000", "8081>4000b"], [.v4]), ("[::]/8080:[2001:db8:1::9]/4002", ["8080>4002b"], [.v6]),
    ] as [(String, [String], [Family])])
    func everyFormLeadsWhereItSays(_ spec: String, _ expected: [String], _ families: [Family]) throws {
        try withNetwork { network in
            let guest = try network.guest(["--config-net", "-t", spec, "-u", spec])
            try guest.sh("ip addr add 198.51.100.9/24 dev wan0 && ip addr add 2001:db8:1::9/64 dev wan0 nodad").check()
            let serve = ["python3", Helpers.path("probe.py"), "serve"]
            let own = Family.allCases.map(\.hostAddress)
            var servers: [Child] = []
            for port in 4000...4002 {
                servers.append(try guest.start(serve + ["\(port)", "\(port)"] + own))
                servers.append(try guest.start(serve + ["\(port)b", "\(port)", "198.51.100.9", "2001:db8:1::9"]))
            }
            for server in servers { try require("a server") { server.standardOutput.contains("ready") } }
            for family in Family.allCases {
                let cases = expected.map { $0.split(separator: ">", omittingEmptySubsequences: false).map(String.init) }
                let output = try network.remote.run(["python3", Helpers.path("probe.py"), "ask", family.hostAddress] + cases.map { $0[0] }).check()
                let answers = families.contains(family) ? cases.filter { $0[1] != "" } : []
                #expect(Set(output.lines) == Set(answers.flatMap { ["tcp \($0[0]) \($0[1])", "udp \($0[0]) \($0[1])"] }))
            }
        }
    }

    // MARK: Nothing by accident

    @Test func lesson39_nothingListensUnlessAskedTo() throws {
        try withNetwork { network in
            _ = try network.guest()
            #expect(try network.host.run(["ss", "-Hlntu"]).check().text == "")
        }
    }

    @Test(arguments: ["127.0.0.1/8080:4000", "%lo/8080:4000", "[::1]/8080:4000"])
    func lesson39_addressAndInterfaceAreKeptTo(_ spec: String) throws {
        try withNetwork { network in
            let guest = try network.guest(["--config-net", "-t", spec, "-u", spec])
            try guest.serveTests()
            for family in Family.allCases {
                #expect(try network.remote.client("error", family.hostAddress, 8080).check().text.hasPrefix("ECONNREFUSED"))
                #expect(try network.remote.client("udp-ask", family.hostAddress, 8080, "whoami").ending == .exited(1))
            }
            let family: Family = spec.hasPrefix("[") ? .v6 : .v4
            try network.host.client("ask", family.loopback, 8080, "whoami").check()
            try network.host.client("udp-ask", family.loopback, 8080, "whoami").check()
        }
    }

    /// What listens on the namespace's loopback only is not for others.
    @Test func lesson39_loopbackOfTheNamespaceStaysItsOwn() throws {
        try withNetwork { network in
            let guest = try network.guest(["--config-net", "-t", "8080:4001"])
            try guest.serve(["socat", "TCP4-LISTEN:4001,bind=127.0.0.1,fork", "EXEC:echo inside"], port: 4001)
            for host in [network.host!, network.remote!] {
                let answer = try host.sh("socat -t2 - TCP4:198.51.100.1:8080 </dev/null")
                #expect(!answer.out.contains("inside"))
            }
        }
    }

    // MARK: Binding

    @Test func lesson39_aPortThatIsTakenEndsTheStart() throws {
        try withNetwork { network in
            try network.host.serveTests(port: 8080)
            let taken = "(Address already in use) for option"
            for (option, line) in [
                (["-t", "8079-8081"], "Failed to bind port 8080 \(taken) '-t 8079-8081', exiting"),
                (["--udp-ports=127.0.0.1/8080:53"], "Failed to bind port 8080 \(taken) '-u 127.0.0.1/8080:53', exiting"),
                (["-t", "192.0.2.1/80"], "Failed to bind port 80 (Cannot assign requested address) for option '-t 192.0.2.1/80', exiting"),
                (["-t", "[::1]/8080"], "Failed to bind port 8080 \(taken) '-t [::1]/8080', exiting"),
                (["-t", "127.0.0.1/8080"], "Failed to bind port 8080 \(taken) '-t 127.0.0.1/8080', exiting"),
                (["-u", "8080"], "Failed to bind port 8080 \(taken) '-u 8080', exiting"),
                (["-u", "[::1]/8080"], "Failed to bind port 8080 \(taken) '-u [::1]/8080', exiting"),
                (["-t", "[2001:db8::77]/80"], "Failed to bind port 80 (Cannot assign requested address) for option '-t [2001:db8::77]/80', exiting"),
                (["-t", "%nowhere/80"], "Failed to bind port 80 (No such device) for option '-t %nowhere/80', exiting"),
                (["-u", "192.0.2.1/~1-65000"], "Failed to bind any port for option '-u 192.0.2.1/~1-65000', exiting"),
            ] {
                let output = try network.host.run([Pasta.path, "--config-net"] + option + ["--", "true"])
                #expect(output.ending == .exited(1))
                // What can be done about it comes behind these words, which callers look for.
                #expect(output.err.split(separator: "\n").last?.hasPrefix(line + ": ") == true, "\(output)")
            }
        }
    }

    /// A port of a family that is not there cannot be bound.
    @Test func lesson39_aFamilyThatIsMissingEndsTheStart() throws {
        try withNetwork(.withoutIPv6) { network in
            for option in ["-t", "-u"] {
                let output = try network.host.run([Pasta.path, "--config-net", option, "[::1]/8080", "--", "true"])
                #expect(output.ending == .exited(1))
                #expect(output.err.contains("Failed to bind port 8080 (Address family not supported by protocol) for option '\(option) [::1]/8080', exiting"))
            }
        }
    }

    @Test func lowPortsNeedTheRight() throws {
        try withNetwork { network in
            let output = try network.host.run([Pasta.path, "--config-net", "-t", "80:4000", "--", "true"], as: .ordinary)
            #expect(output.ending == .exited(1))
            #expect(output.err.contains("Failed to bind port 80 (Permission denied) for option '-t 80:4000', exiting: ports below 1024 take root's rights"))
            let guest = try network.guest(["--config-net", "-t", "80:4000"], as: .root)
            try guest.serveTests()
            try network.remote.client("ask", Family.v4.hostAddress, 80, "whoami").check()
        }
    }

    /// Once set up, this process has no right to such a port any more: what comes and goes does so by the socket that it has.
    @Test(arguments: Family.allCases)
    func lowPortsOfUDPAreAnsweredFrom(_ family: Family) throws {
        try withNetwork { network in
            let second = family == .v4 ? "198.51.100.9" : "2001:db8:1::9"
            try network.host.run(["ip", "addr", "add", second + (family == .v4 ? "/24" : "/64"), "dev", "wan0"] + (family == .v6 ? ["nodad"] : [])).check()
            let guest = try network.guest(["--config-net", "-u", "53:4000,123:4000"], as: .root)
            try guest.serveTests()
            for (address, port) in [(family.hostAddress, 53), (second, 53), (family.hostAddress, 123)] {
                #expect(try network.remote.client("udp-ask", address, port, "whoami").check().text == family.server)
            }
            try network.remote.client("udp-flows", family.hostAddress, 53, 200).check()
            try network.remote.client("udp-sizes", second, 53, 0, 1, 1400, 1473, 9000, 65000).check()
            try network.remote.client("udp-burst", second, 53, 200, 1000).check()
            // The guest has both addresses.
            let seen = try network.host.client("udp-ask", family.loopback, 53, "whoami").check().text
            #expect([family.hostAddress, second].contains(seen), "\(seen)")
            #expect(try network.host.client("udp-ask", family.hostAddress, 53, "whoami").check().text == family.gateway)
        }
    }

    @Test func freebindListensOnAddressesToCome() throws {
        try withNetwork { network in
            let guest = try network.guest(["--config-net", "--freebind", "-t", "198.51.100.9/8080:4000", "-u", "198.51.100.9/8080:4000"])
            try guest.serveTests()
            try network.host.run(["ip", "addr", "add", "198.51.100.9/24", "dev", "wan0"]).check()
            try network.remote.client("ask", "198.51.100.9", 8080, "whoami").check()
            try network.remote.client("udp-ask", "198.51.100.9", 8080, "whoami").check()
        }
    }

    /// Whatever is free, of what the kernel does not give out itself.
    @Test func exclusionsAndAllLeaveOutWhatIsTaken() throws {
        try withNetwork { network in
            try network.host.serveTests(port: 65001)
            let guest = try network.guest(["--config-net", "-t", "~1-64999,~65003", "-t", "65010:4000"])
            let ports = try network.host.sh("ss -Hlnt | awk '{ sub(/.*:/, \"\", $4); print $4 }' | sort -n | uniq -c | awk '{ print $2 \"x\" $1 }'").check().lines
            #expect(ports.count == 65535 - 65000 + 1 - 1)
            #expect(ports.contains("65001x1") && ports.contains("65002x1") && !ports.contains("65003x1"))
            try guest.serveTests(port: 65100)
            try guest.serveTests()
            try network.remote.client("ask", Family.v6.hostAddress, 65100, "whoami").check()
            try network.remote.client("ask", Family.v4.hostAddress, 65010, "whoami").check()
        }
    }

    /// As many ports as this machine gives descriptors for. In proportion, all ports of both protocols cost at most 8 MiB of our own memory.
    @Test func manyListenersCostLittle() throws {
        try withNetwork { network in
            let limit = Int(try network.host.sh("ulimit -Hn").check().text) ?? 1 << 20
            let count = min(limit - 500, 30_000) / 2
            try network.host.sh("echo 65000 65535 >/proc/sys/net/ipv4/ip_local_port_range").check()
            let range = "~1-\(64_999 - count)"
            func resident(_ options: [String]) throws -> (kilobytes: Int, listeners: Int) {
                let guest = try network.guest(["--config-net"] + options)
                let status = contents("/proc/\(guest.pasta.pid)/status").split(separator: "\n")
                let line = try #require(status.first { $0.hasPrefix("VmRSS:") })
                let listeners = try #require(Int(try network.host.sh("ss -Hlntu | wc -l").check().text))
                return (try #require(Int(line.split { !$0.isNumber }[0])), listeners)
            }
            let none = try resident([])
            let many = try resident(["-t", range, "-u", range])
            #expect(many.listeners == count * 2)
            #expect(many.kilobytes - none.kilobytes < 8 * 1024 * many.listeners / 98_000 + 256)
        }
    }

    @Test func tooFewDescriptorsAreExplainedInOneLine() throws {
        try withNetwork { network in
            let output = try network.host.run(["prlimit", "--nofile=1000", "--", Pasta.path, "--config-net", "--quiet", "-t", "all", "--", "true"])
            #expect(output.ending == .exited(1))
            #expect(output.errorLines.filter { $0.contains("all") } == [
                "Option '-t all' takes a file descriptor for each port, of which there are too few (see ulimit -Hn): Too many open files"
            ])
        }
    }

    // MARK: Lessons

    /// Each of many clients would be one more socket for the kernel to search among, and a descriptor: who asks once is not worth one.
    @Test(arguments: Family.allCases)
    func lesson56_manyUDPClientsTakeNoDescriptors(_ family: Family) throws {
        try withNetwork { network in
            let guest = try network.guest(["--config-net", "-u", "8080:4000"])
            try guest.serveTests()
            let before = try network.descriptorCount()
            for _ in 0..<4 { try network.remote.client("udp-flows", family.hostAddress, 8080, 500, seconds: 60).check() }
            // A few may have had to ask again.
            #expect(try network.descriptorCount() < before + 300)
        }
    }

    /// Clients that are connected to the address they contacted see no answer from another one.
    @Test(arguments: Family.allCases)
    func lesson31_answersLeaveFromTheAddressThatWasContacted(_ family: Family) throws {
        try withNetwork { network in
            let second = family == .v4 ? "198.51.100.9" : "2001:db8:1::9"
            try network.host.run(["ip", "addr", "add", second + (family == .v4 ? "/24" : "/64"), "dev", "wan0"] + (family == .v6 ? ["nodad"] : [])).check()
            let guest = try network.guest(["--config-net", "-u", "8080:4000", "-t", "8080:4000"])
            try guest.serveTests()
            for address in [second, family.hostAddress, second] {
                #expect(try network.remote.client("udp-ask", address, 8080, "whoami").check().text == family.server)
                #expect(try network.remote.client("ask", address, 8080, "whoami").check().text == family.server)
            }
        }
    }

    /// More connections at once than there can be descriptors: nobody is turned away, and all is well afterwards.
    @Test func runningOutOfDescriptorsOnlyDelays() throws {
        try withNetwork { network in
            let guest = try network.guest(["--config-net", "-t", "8080:4000"], descriptors: 60)
            try guest.serveTests()
            try network.remote.client("parallel", Family.v4.hostAddress, 8080, 200, 1000, seconds: 40).check()
            try network.remote.client("ask", Family.v6.hostAddress, 8080, "whoami").check()
        }
    }
}

extension Guest {
    /// The tests' own server, in the guest.
    @discardableResult
    func serveTests(port: Int = 4000, address: String? = nil) throws -> Child {
        let child = try start(["python3", Helpers.path("server.py"), "\(port)"] + (address.map { [$0] } ?? []))
        try require("server.py to be ready") { child.poll() != nil || child.standardOutput.contains("ready") }
        if child.poll() != nil { throw Failure("server.py: \(child.standardError)") }
        return child
    }

    @discardableResult
    func serve(_ arguments: [String], port: Int, udp: Bool = false) throws -> Child {
        let child = try start(arguments)
        try require("\(arguments.joined(separator: " ")) to listen") {
            child.poll() != nil || (try? run(["ss", "-Hln", udp ? "-u" : "-t", "sport = :\(port)"]))?.text.isEmpty == false
        }
        if child.poll() != nil { throw Failure("\(arguments): \(child.standardError)") }
        return child
    }
}

extension Host {
    /// The tests' own client, on this host.
    func client(_ words: Any..., seconds: Double = 30) throws -> Output {
        try run(["python3", Helpers.path("client.py")] + words.map { "\($0)" }, seconds: seconds)
    }
}
