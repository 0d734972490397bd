import Testing

/// `auto`: ports that are forwarded because somebody listens on them on the other side.
@Suite struct AutomaticPortsTests {
    /// The host's listeners, such as `tcp 0.0.0.0:80`.
    private static func listeners(_ host: Host) throws -> Set<String> {
        Set(try host.sh("ss -Hlntu | awk '{ print $1, $5 }'").check().lines)
    }

    private static func both(_ port: Int, _ kind: String = "tcp") -> Set<String> { ["\(kind) 0.0.0.0:\(port)", "\(kind) [::]:\(port)"] }

    private static func listeners(_ guest: Guest) throws -> Set<String> {
        Set(try guest.sh("ss -Hlntu | awk '{ print $1, $5 }'").check().lines)
    }

    private static func loopback(_ port: Int) -> Set<String> {
        Set(["tcp", "udp"].flatMap { ["\($0) 127.0.0.1:\(port)", "\($0) [::1]:\(port)"] })
    }

    /// Of the tests' own server.
    private static func any(_ port: Int) -> Set<String> { ["tcp *:\(port)", "udp *:\(port)"] }

    // MARK: To the guest

    @Test func servicesOfTheGuestAreFollowed() throws {
        try withNetwork { network in
            let guest = try network.guest(["--config-net", "-t", "auto", "-u", "auto"])
            for family in Family.allCases {
                #expect(try network.remote.client("error", family.hostAddress, 4000).check().text.hasPrefix("ECONNREFUSED"))
            }
            let server = try guest.serveTests()
            let expected = Self.both(4000).union(Self.both(4000, "udp"))
            try require("port 4000") { (try? Self.listeners(network.host)) == expected }
            for family in Family.allCases {
                #expect(try network.remote.client("ask", family.hostAddress, 4000, "whoami").check().text == family.server)
                #expect(try network.remote.client("udp-ask", family.hostAddress, 4000, "whoami").check().text == family.server)
                try network.remote.client("duplex", family.hostAddress, 4000, 1 << 20).check()
            }
            server.kill()
            try require("nothing to listen") { (try? Self.listeners(network.host))?.isEmpty == true }
            #expect(try network.remote.client("error", Family.v4.hostAddress, 4000).check().text.hasPrefix("ECONNREFUSED"))
            #expect(try network.remote.client("udp-error", Family.v6.hostAddress, 4000).check().text == "ECONNREFUSED")
            // Once more, beside the flows of the first time.
            try guest.serveTests()
            try require("port 4000") { (try? Self.listeners(network.host)) == expected }
            #expect(try network.remote.client("udp-ask", Family.v4.hostAddress, 4000, "whoami").check().text == Family.v4.server)
            #expect(try network.remote.client("ask", Family.v6.hostAddress, 4000, "whoami").check().text == Family.v6.server)
        }
    }

    /// pasta forwards automatically, both ways, if no option says otherwise.
    /// Sockets of one port, one of which hears an interface only, belong together although an address of theirs is the same.
    @Test func groupsThatOverlapHaveTheirSocketsEach() throws {
        try withNetwork { network in
            let guest = try network.guest(["--config-net", "-4", "-t", "none", "-u", "%wan0/auto", "-u", "127.0.0.1/auto"])
            try guest.serveTests()
            let expected: Set = ["udp 0.0.0.0%wan0:4000", "udp 127.0.0.1:4000"]
            try require("both sockets") { (try? Self.listeners(network.host)) == expected }
            #expect(try network.remote.client("udp-ask", Family.v4.hostAddress, 4000, "whoami").check().text == Family.v4.server)
            #expect(try network.host.client("udp-ask", "127.0.0.1", 4000, "whoami").check().text == Family.v4.hostAddress)
        }
    }

    @Test func itIsTheDefault() throws {
        try withNetwork { network in
            let guest = try network.guest(automatic: true)
            try guest.serveTests()
            try require("port 4000") { (try? Self.listeners(network.host).isSuperset(of: Self.both(4000))) == true }
            #expect(try network.remote.client("ask", Family.v4.hostAddress, 4000, "whoami").check().text == Family.v4.server)
            try network.host.serveTests(port: 4001)
            try require("port 4001") { (try? Self.listeners(guest).isSuperset(of: Self.loopback(4001))) == true }
            #expect(try guest.client("ask", "::1", 4001, "whoami").check().text == "::1")
            #expect(try guest.client("udp-ask", "127.0.0.1", 4001, "whoami").check().text == "127.0.0.1")
        }
    }

    /// What is there when pasta comes is forwarded when pasta says that it is ready.
    @Test func servicesThatWereThereBeforeAreForwardedAtOnce() throws {
        try withNetwork { network in
            let target = try Target(network, .process)
            guard let holder = target.holder else { throw Failure("no holder") }
            let enter = ["nsenter", "--target", "\(holder.pid)", "--user", "--net", "--preserve-credentials", "--"]
            _ = try network.start(enter + ["sh", "-c", "ip link set lo up; exec python3 '\(Helpers.path("server.py"))' 4000"])
            try require("the server") { (try? target.run(["ss", "-Hlnt"]).text.contains(":4000")) == true }
            try target.joinInBackground(["--config-net", "-t", "auto", "-u", "auto", "-T", "none", "-U", "none"]).check()
            #expect(try Self.listeners(network.host) == Self.both(4000).union(Self.both(4000, "udp")))
            #expect(try network.remote.client("ask", Family.v4.hostAddress, 4000, "whoami").check().text == Family.v4.server)
            try target.remove()
        }
    }

    @Test("Forms", arguments: [
        (["-t", "auto,~4000"], [4001], []),
        (["-t", "4000,auto"], [], ["tcp *:4000", "tcp 0.0.0.0:4001", "tcp [::]:4001"]),
        (["-t", "127.0.0.1/auto"], [], ["tcp 127.0.0.1:4000", "tcp 127.0.0.1:4001"]),
        (["-t", "[::1]/auto,~4001"], [], ["tcp [::1]:4000"]),
        (["-t", "%wan0/auto,~4001"], [], ["tcp 0.0.0.0%wan0:4000", "tcp [::]%wan0:4000"]),
        (["-t", "5000:4000,~4001,auto"], [4000], ["tcp *:5000"]),
        (["-u", "auto,~4001"], [], ["udp 0.0.0.0:4000", "udp [::]:4000"]),
        (["-4", "-t", "auto,~4001"], [], ["tcp 0.0.0.0:4000"]),
    ] as [([String], [Int], Set<String>)])
    func formsAreKeptTo(_ options: [String], _ wide: [Int], _ others: Set<String>) throws {
        try withNetwork { network in
            let guest = try network.guest(["--config-net"] + options)
            try guest.serveTests(port: 4000)
            try guest.serveTests(port: 4001)
            let expected = wide.reduce(others) { $0.union(Self.both($1)) }
            try require("\(expected)") { (try? Self.listeners(network.host)) == expected }
        }
    }

    /// A service of the guest's loopback only is not forwarded; of one family, in this family.
    @Test func lesson39_onlyWhatOthersCanReachIsForwarded() throws {
        try withNetwork { network in
            let guest = try network.guest(["--config-net", "-t", "auto", "-u", "none"])
            try guest.serve(["socat", "TCP4-LISTEN:4001,bind=127.0.0.1,fork", "EXEC:echo inside"], port: 4001)
            try guest.serve(["socat", "TCP6-LISTEN:4002,bind=[::1],fork", "EXEC:echo inside"], port: 4002)
            try guest.serve(["socat", "TCP6-LISTEN:4003,ipv6only=1,fork", "EXEC:echo six"], port: 4003)
            try guest.serve(["socat", "TCP4-LISTEN:4004,fork", "EXEC:echo four"], port: 4004)
            try require("ports") { (try? Self.listeners(network.host)) == ["tcp [::]:4003", "tcp 0.0.0.0:4004"] }
            #expect(try network.remote.sh("socat -t2 - 'TCP6:[\(Family.v6.hostAddress)]:4003' </dev/null").check().text == "six")
        }
    }

    @Test func aPortThatIsTakenIsTriedAgain() throws {
        try withNetwork { network in
            let own = try network.host.serveTests(port: 4000)
            let guest = try network.guest(["--config-net", "--debug", "-t", "auto"])
            try guest.serveTests(port: 4000)
            try guest.serveTests(port: 4001)
            try require("port 4001") { (try? Self.listeners(network.host).isSuperset(of: Self.both(4001))) == true }
            #expect(try network.remote.client("ask", Family.v4.hostAddress, 4000, "whoami").check().text == Family.v4.server)
            own.kill()
            try require("port 4000") { (try? Self.listeners(network.host).isSuperset(of: Self.both(4000))) == true }
            #expect(try network.remote.client("ask", Family.v4.hostAddress, 4000, "whoami").check().text == Family.v4.server)
            let told = guest.pasta.standardError.split(separator: "\n").filter { $0.contains("couldn't open automatic port 4000 for TCP over IPv4") }
            #expect(told.count == 1)
        }
    }

    /// A server that tells its clients by TCP to send datagrams to the same port.
    @Test func iperf3WorksOverUDP() throws {
        try withNetwork { network in
            let guest = try network.guest(["--config-net", "-t", "auto", "-u", "auto"])
            try guest.serve(["iperf3", "-s", "-p", "5201"], port: 5201)
            try require("port 5201") { (try? Self.listeners(network.host).isSuperset(of: Self.both(5201, "udp"))) == true }
            try network.remote.run(["iperf3", "-u", "-c", Family.v4.hostAddress, "-p", "5201", "-t", "1", "-b", "10M"]).check()
        }
    }

    /// Datagrams that somebody in the guest sends from a port that the kernel chose: not a service.
    @Test func clientsAreNotServices() throws {
        try withNetwork { network in
            let guest = try network.guest(["--config-net", "-t", "auto", "-u", "auto"])
            let script = "import socket,time; s=socket.socket(socket.AF_INET,socket.SOCK_DGRAM); s.sendto(b'x',('203.0.113.2',9)); print(s.getsockname()[1],flush=True); time.sleep(60)"
            let client = try guest.start(["python3", "-c", script])
            try require("a client") { !client.standardOutput.isEmpty }
            try guest.serveTests()
            try require("port 4000") { (try? Self.listeners(network.host).isSuperset(of: Self.both(4000))) == true }
            #expect(try network.host.sh("ss -Hlnu | wc -l").check().text == "2")
        }
    }

    /// Where the kernel's own list of sockets is refused, the tables in procfs do.
    @Test func procfsIsTheFallback() throws {
        try withNetwork { network in
            let refuse = ["python3", Helpers.path("refuse.py"), "diagnosis"]
            let guest = try network.guest(["--config-net", "--debug", "-t", "auto", "-u", "auto"], wrapper: refuse)
            try guest.serveTests()
            try require("port 4000") { (try? Self.listeners(network.host).isSuperset(of: Self.both(4000))) == true }
            #expect(guest.pasta.standardError.contains("Listeners of the namespace are found through /proc/net"))
            #expect(try network.remote.client("ask", Family.v4.hostAddress, 4000, "whoami").check().text == Family.v4.server)
        }
    }

    // MARK: To the host

    @Test func servicesOfTheHostAreFollowed() throws {
        try withNetwork { network in
            let guest = try network.guest(["--config-net", "-T", "auto", "-U", "auto"])
            for port in [4000, 80] {
                let server = try network.host.serveTests(port: port)
                try require("port \(port)") { (try? Self.listeners(guest)) == Self.loopback(port) }
                for family in Family.allCases {
                    #expect(try guest.client("ask", family.loopback, port, "whoami").check().text == family.loopback)
                    #expect(try guest.client("udp-ask", family.loopback, port, "whoami").check().text == family.loopback)
                    try guest.client("duplex", family.loopback, port, 1 << 20).check()
                    #expect(try guest.client("error", family.hostAddress, port).check().text.hasPrefix("ECONNREFUSED"))
                }
                server.kill()
                try require("nothing to listen") { (try? Self.listeners(guest))?.isEmpty == true }
                #expect(try guest.client("error", "127.0.0.1", port).check().text.hasPrefix("ECONNREFUSED"))
            }
        }
    }

    /// What is there when pasta comes, the command finds.
    @Test func servicesOfTheHostAreThereWhenTheCommandStarts() throws {
        try withNetwork { network in
            try network.host.serveTests()
            for options in [[], ["-T", "auto"], ["--splice-only"]] {
                let ask = ["python3", Helpers.path("client.py"), "ask", "::1", "4000", "whoami"]
                let output = try network.host.run([Pasta.path, "--quiet"] + options + ["--"] + ask, as: .ordinary)
                #expect(output.text == "::1", "\(output)")
            }
        }
    }

    @Test("Forms towards the host", arguments: [
        (["-T", "auto,~4001"], ["tcp 127.0.0.1:4000", "tcp [::1]:4000"]),
        (["-T", "5000:4001,auto"], ["tcp 127.0.0.1:5000", "tcp [::1]:5000", "tcp 127.0.0.1:4000", "tcp [::1]:4000", "tcp 127.0.0.1:4001", "tcp [::1]:4001"]),
        (["-4", "-U", "~1-3999,~4001-65535,auto"], ["udp 127.0.0.1:4000"]),
        (["-T", "[::1]/auto"], ["tcp [::1]:4000", "tcp [::1]:4001"]),
    ] as [([String], Set<String>)])
    func formsTowardsTheHostAreKeptTo(_ options: [String], _ expected: Set<String>) throws {
        try withNetwork { network in
            try network.host.serveTests(port: 4000)
            try network.host.serveTests(port: 4001)
            let guest = try network.guest(["--config-net"] + options)
            try require("\(expected)") { (try? Self.listeners(guest)) == expected }
        }
    }

    /// What cannot be reached at 127.0.0.1 or ::1, where it would lead, is not shown.
    @Test func onlyWhatLoopbackReachesIsShown() throws {
        try withNetwork { network in
            for (option, port) in [
                ("TCP4-LISTEN:4001,bind=127.0.0.53", 4001), ("TCP4-LISTEN:4002,bind=198.51.100.1", 4002), ("TCP6-LISTEN:4003,bind=[::1]", 4003),
                ("TCP4-LISTEN:4004", 4004),
            ] {
                try network.host.serve(["socat", option + ",fork", "EXEC:echo outside"], port: port)
            }
            let guest = try network.guest(["--config-net", "-T", "auto"])
            #expect(try Self.listeners(guest) == ["tcp [::1]:4003", "tcp 127.0.0.1:4004"])
            #expect(try guest.sh("socat -t2 - TCP6:[::1]:4003 </dev/null").check().text == "outside")
        }
    }

    // MARK: Both ways

    /// A service somewhere, and who looks on the other side for its port; see `moments.py`.
    private struct Followed {
        let kind: String
        let isInbound: Bool
        let service, watcher: Child

        init(_ network: Network, _ guest: Guest, _ kind: String, _ port: Int, isInbound: Bool) throws {
            self.kind = kind
            self.isInbound = isInbound
            let watch = ["python3", Helpers.path("moments.py"), "watch", kind, "\(port)"]
            let serve = ["python3", Helpers.path("moments.py"), "serve", kind, "\(port)"]
            let watcher = try isInbound ? network.host.start(watch) : guest.start(watch)
            try require("a watcher") { watcher.standardOutput.contains("watching\n") || watcher.poll() != nil }
            self.watcher = watcher
            service = try isInbound ? guest.start(serve) : network.host.start(serve)
        }

        /// Seconds from when the service said this until it was seen on the other side.
        func delay(_ word: String) throws -> Double {
            try require("\(kind) to be \(word)") { moment(word, service) != nil && moment(word, watcher) != nil }
            return (moment(word, watcher) ?? .infinity) - (moment(word, service) ?? 0)
        }

        private func moment(_ word: String, _ child: Child) -> Double? {
            let line = child.standardOutput.split(separator: "\n").first { $0.hasPrefix(word + " ") }
            return line.flatMap { Double($0.dropFirst(word.count + 1)) }
        }
    }

    /// What comes and goes is there, and gone, soon afterwards, in all four directions; and listeners are found in the way that costs little.
    @Test func changesAreFollowedWithinASecond() throws {
        try withNetwork { network in
            let guest = try network.guest(["--config-net", "--debug", "-t", "auto", "-u", "auto", "-T", "auto", "-U", "auto"])
            for round in 0..<2 {
                let first = 4000 + 10 * round
                let all = [
                    try Followed(network, guest, "tcp", first, isInbound: true), try Followed(network, guest, "udp", first + 1, isInbound: true),
                    try Followed(network, guest, "tcp", first + 2, isInbound: false), try Followed(network, guest, "udp", first + 3, isInbound: false),
                ]
                for word in ["open", "closed"] {
                    for one in all {
                        let delay = try one.delay(word)
                        #expect(delay <= 1.5, "\(one.kind), \(one.isInbound ? "inbound" : "outbound"), \(word): \(delay) s")
                    }
                    for one in all { one.service.send(15) }
                }
            }
            let log = guest.pasta.standardError
            #expect(log.contains("To the guest: opened port 4000 for TCP over IPv4") && log.contains("To the host: closed port 4003 for UDP over IPv6"), "\(log)")
            #expect(!log.contains("are found through /proc/net"), "\(log)")
        }
    }

    @Test func lesson38_neverInALoop() throws {
        try withNetwork { network in
            let guest = try network.guest(automatic: true)
            let inside = try guest.serveTests(port: 4000)
            let outside = try network.host.serveTests(port: 4001)
            let onHost = Self.both(4000).union(Self.both(4000, "udp")).union(Self.any(4001))
            let inGuest = Self.loopback(4001).union(Self.any(4000))
            try require("both") { (try? Self.listeners(network.host)) == onHost && (try? Self.listeners(guest)) == inGuest }
            // Two more looks change nothing.
            try network.run(["sleep", "2.5"])
            #expect(try Self.listeners(network.host) == onHost && Self.listeners(guest) == inGuest)
            #expect(try guest.client("ask", "127.0.0.1", 4001, "whoami").check().text == "127.0.0.1")
            #expect(try network.host.client("ask", "127.0.0.1", 4000, "whoami").check().text == Family.v4.hostAddress)
            inside.kill()
            outside.kill()
            try require("nothing") { (try? Self.listeners(network.host))?.isEmpty == true && (try? Self.listeners(guest))?.isEmpty == true }
        }
    }

    /// What one shows on the host, the other shows in its namespace, and that is the end of it.
    @Test func lesson38_twoBesideEachOther() throws {
        try withNetwork { network in
            let first = try network.guest(automatic: true)
            let second = try network.guest(automatic: true)
            let server = try first.serveTests(port: 4000)
            let onHost = Self.both(4000).union(Self.both(4000, "udp"))
            try require("the other one") { (try? Self.listeners(second)) == Self.loopback(4000) }
            #expect(try second.client("ask", "127.0.0.1", 4000, "whoami").check().text == Family.v4.hostAddress)
            try network.run(["sleep", "2.5"])
            #expect(try Self.listeners(network.host) == onHost && Self.listeners(first) == Self.any(4000))
            server.kill()
            try require("nothing") { (try? Self.listeners(network.host))?.isEmpty == true && (try? Self.listeners(second))?.isEmpty == true }
        }
    }
}
