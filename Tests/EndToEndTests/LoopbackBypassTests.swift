import Foundation
import Testing

/// Connections between loopback addresses, which take no detour over the guest's interface.
@Suite struct LoopbackBypassTests {
    // MARK: Inbound

    /// A server in the namespace sees its own address as the client's, where the tap would show the gateway's.
    @Test(arguments: Family.allCases)
    func theHostsLoopbackReachesTheNamespacesAddress(_ family: Family) throws {
        try withNetwork { network in
            let guest = try network.guest(["--config-net", "-t", "8080:4000", "-u", "8080:4000"])
            try guest.serveTests()
            try exchange(with: family.loopback, on: network.host, seenAs: family.hostAddress)
        }
    }

    private func exchange(with address: String, on host: Host, seenAs client: String) throws {
        #expect(try host.client("ask", address, 8080, "whoami").check().text == client)
        #expect(try host.client("udp-ask", address, 8080, "whoami").check().text == client)
        for what in ["send", "receive", "duplex"] { try host.client(what, address, 8080, 64 << 20).check() }
        try host.client("parallel", address, 8080, 100, 100_000).check()
        try host.client("first", address, 8080, 1_000_000).check()
        try host.client("urgent", address, 8080, 1_000_000).check()
        try host.client("abort", address, 8080).check()
        #expect(try host.client("reset", address, 8080).check().text.hasPrefix("ECONNRESET"))
        try host.client("udp-sizes", address, 8080, 0, 1, 1400, 1473, 9000, 65000).check()
        try host.client("udp-flows", address, 8080, 200).check()
    }

    /// A system's default that paces what it sends (bbr) has no path to pace for here, on neither side, and halves what passes.
    @Test(arguments: [[], ["--host-lo-to-ns-lo"]]) func theWayInIsNotPaced(_ options: [String]) throws {
        try withNetwork { network in
            let guest = try network.guest(["--config-net", "-t", "8080:4000"] + options)
            try guest.serveTests()
            let client = try network.host.start(["socat", "-u", "EXEC:sleep 20", "TCP4:127.0.0.1:8080"])
            try require("a connection in the namespace without pacing") {
                (try? guest.run(["ss", "-Htin", "state", "established", "dport = :4000"]))?.out.contains("reno") == true
            }
            client.kill()
        }
    }

    @Test func noSpliceTakesTheTap() throws {
        try withNetwork { network in
            let guest = try network.guest(["--config-net", "-t", "8080:4000", "-u", "8080:4000", "--no-splice"])
            try guest.serveTests()
            #expect(try network.host.client("ask", "127.0.0.1", 8080, "whoami").check().text == Family.v4.gateway)
            #expect(try network.host.client("udp-ask", "::1", 8080, "whoami").check().text == Family.v6.gateway)
        }
    }

    /// What listens on the namespace's loopback is not for the host, unless asked for.
    @Test func lesson39_theNamespacesLoopbackStaysItsOwn() throws {
        try withNetwork { network in
            for option in [[], ["--host-lo-to-ns-lo"]] {
                let guest = try network.guest(["--config-net", "-t", "8080:4000", "-t", "8081:4001", "-u", "8080:4000"] + option)
                try guest.serve(["socat", "TCP4-LISTEN:4000,bind=127.0.0.1,fork", "EXEC:echo inside"], port: 4000)
                let answer = try network.host.sh("socat -t2 - TCP4:127.0.0.1:8080 </dev/null")
                #expect(answer.out.contains("inside") == !option.isEmpty)
                _ = try guest.stop()
            }
        }
    }

    @Test(arguments: Family.allCases)
    func hostLoToNsLoKeepsTheAddress(_ family: Family) throws {
        try withNetwork { network in
            let guest = try network.guest(["--config-net", "-t", "8080:4000", "-u", "8080:4000", "--host-lo-to-ns-lo"])
            try guest.serveTests()
            try exchange(with: family.loopback, on: network.host, seenAs: family.loopback)
            guard family == .v4 else { return }
            try guest.serve(["socat", "TCP4-LISTEN:4001,bind=127.0.0.9,fork", "EXEC:echo nine"], port: 4001)
            let other = try network.guest(["--config-net", "-t", "9090:4001", "--host-lo-to-ns-lo"])
            try other.serve(["socat", "TCP4-LISTEN:4001,bind=127.0.0.9,fork", "EXEC:echo nine"], port: 4001)
            #expect(try network.host.sh("socat -t2 - TCP4:127.0.0.9:9090 </dev/null").text == "nine")
            #expect(try network.host.sh("socat -t2 - TCP4:127.0.0.1:9090 </dev/null").text != "nine")
        }
    }

    /// Where nobody listens in there, the client hears of it as soon as its connection was taken.
    @Test func refusedConnectionsEnd() throws {
        try withNetwork { network in
            _ = try network.guest(["--config-net", "-t", "8080:4000"])
            let output = try network.host.sh("timeout 5 socat -t2 - TCP4:127.0.0.1:8080 </dev/null")
            #expect(output.ending != .exited(124))
        }
    }

    // MARK: Outbound

    @Test(arguments: Family.allCases)
    func theNamespacesLoopbackReachesTheHosts(_ family: Family) throws {
        try withNetwork { network in
            try network.host.serveTests()
            let guest = try network.guest(["--config-net", "-T", "8080:4000", "-U", "8080:4000"])
            #expect(try guest.client("ask", family.loopback, 8080, "whoami").check().text == family.loopback)
            #expect(try guest.client("udp-ask", family.loopback, 8080, "whoami").check().text == family.loopback)
            for what in ["send", "receive", "duplex"] { try guest.client(what, family.loopback, 8080, 16 << 20).check() }
            try guest.client("first", family.loopback, 8080, 1_000_000).check()
            try guest.client("abort", family.loopback, 8080).check()
            try guest.client("udp-sizes", family.loopback, 8080, 0, 1, 1400, 9000, 65000).check()
            try guest.client("udp-flows", family.loopback, 8080, 200).check()
            // By loopback only.
            #expect(try guest.client("error", family.hostAddress, 8080).check().text.hasPrefix("ECONNREFUSED"))
        }
    }

    @Test func lowPortsOfTheNamespaceAreOurs() throws {
        try withNetwork { network in
            try network.host.serveTests()
            let guest = try network.guest(["--config-net", "-T", "80:4000", "-U", "53:4000"])
            #expect(try guest.client("ask", "127.0.0.1", 80, "whoami").check().text == "127.0.0.1")
            #expect(try guest.client("udp-ask", "::1", 53, "whoami").check().text == "::1")
        }
    }

    @Test func spliceOnlyNeedsNoInterface() throws {
        try withNetwork { network in
            try network.host.serveTests()
            let guest = try network.guest(["--splice-only", "-T", "8080:4000", "-U", "8080:4000", "-t", "8080:4001", "-u", "8080:4001"])
            #expect(try guest.run(["ip", "-br", "link"]).check().lines.count == 1)
            try guest.serveTests(port: 4001)
            for family in Family.allCases {
                #expect(try guest.client("ask", family.loopback, 8080, "whoami").check().text == family.loopback)
                #expect(try guest.client("udp-ask", family.loopback, 8080, "whoami").check().text == family.loopback)
                try guest.client("duplex", family.loopback, 8080, 1 << 20).check()
                try guest.client("udp-sizes", family.loopback, 8080, 0, 1, 1400, 9000, 65000).check()
                #expect(try network.host.client("ask", family.loopback, 8080, "whoami").check().text == family.loopback)
                #expect(try network.host.client("udp-ask", family.loopback, 8080, "whoami").check().text == family.loopback)
                try network.host.client("duplex", family.loopback, 8080, 1 << 20).check()
                try network.host.client("udp-sizes", family.loopback, 8080, 0, 1, 1400, 9000, 65000).check()
                // There is no way for others.
                #expect(!(try network.remote.client("ask", family.hostAddress, 8080, "whoami")).succeeded)
            }
            #expect(try network.remote.client("udp-error", Family.v4.hostAddress, 8080).check().text == "timeout")
        }
    }

    // MARK: Slow

    /// All buffers on the way are full in both directions, and stay so for a while.
    @Test(arguments: Family.allCases)
    func whoReadsLateMissesNothing(_ family: Family) throws {
        try withNetwork { network in
            try network.host.serveTests(port: 4001)
            let guest = try network.guest(["--config-net", "-t", "8080:4000", "-T", "8081:4001"])
            try guest.serveTests()
            try network.host.client("late", family.loopback, 8080, 64 << 20, 2).check()
            try guest.client("late", family.loopback, 8081, 64 << 20, 2).check()
        }
    }

    // MARK: Many

    /// Who connects to whom.
    enum Way {
        /// The host's loopback to the namespace, by -t; the namespace's loopback to the host, by -T.
        case inbound, outbound
        /// The remote host to the namespace, which takes the tap.
        case tap
    }

    /// None lost, none reset, and as many descriptors as before.
    @Test(arguments: [(Way.inbound, Family.v4), (.inbound, .v6), (.outbound, .v4), (.outbound, .v6), (.tap, .v4)])
    func twentyThousandShortConnections(_ way: Way, _ family: Family) throws {
        try withNetwork { network in
            let guest = try network.guest(["--config-net"] + (way == .outbound ? ["-T", "8080:4000"] : ["-t", "8080:4000"]))
            let serve = ["python3", Helpers.path("many.py"), "serve", "4000"]
            let server = try way == .outbound ? network.host.start(serve) : guest.start(serve)
            try require("many.py to be ready") { server.standardOutput.contains("ready") }
            let address = way == .tap ? family.hostAddress : family.loopback
            func connect(_ count: Int) throws -> String {
                let words = ["python3", Helpers.path("many.py"), "connect", address, "8080", "\(count)"]
                let output = switch way {
                case .inbound: try network.host.run(words, seconds: 90)
                case .outbound: try guest.run(words, seconds: 90)
                case .tap: try network.remote.run(words, seconds: 90)
                }
                return try output.check().text
            }
            func descriptors() -> Int { ((try? FileManager.default.contentsOfDirectory(atPath: "/proc/\(guest.pasta.pid)/fd")) ?? []).count }
            // Sockets of the namespace lie ready from the first connection on.
            #expect(try connect(400) == "0")
            let before = descriptors()
            #expect(try connect(20_000) == "0")
            try require("as many descriptors as before: \(before), \(descriptors())") { before > 0 && abs(descriptors() - before) <= 64 }
        }
    }
}
