import Foundation
import Testing

/// TCP from the guest to a remote host.
@Suite struct TCPTrafficTests {
    @Test(arguments: Family.allCases)
    func curlFetchesAFileUnchanged(_ family: Family) throws {
        try withNetwork { network in
            try network.run(["sh", "-c", "mkdir \(network.path("www")) && head -c 1048576 /dev/urandom >\(network.path("www/file"))"]).check()
            try network.remote.serve(
                ["python3", "-m", "http.server", "--bind", family == .v4 ? "0.0.0.0" : "::", "--directory", network.path("www"), "8080"],
                port: 8080)
            let guest = try network.guest()
            let copy = network.path("copy")
            try guest.run(["curl", "-sS", "--fail", "-o", copy, "http://\(family.bracketed(family.server)):8080/file"]).check()
            try network.run(["cmp", network.path("www/file"), copy]).check()
        }
    }

    @Test(arguments: Family.allCases)
    func sixtyFourMiBPassUnchanged(_ family: Family) throws {
        try withNetwork { network in
            try network.remote.serveTests()
            let guest = try network.guest()
            try guest.client("send", family.server, 4000, 64 << 20).check()
            try guest.client("receive", family.server, 4000, 64 << 20).check()
            try guest.client("duplex", family.server, 4000, 16 << 20).check()
        }
    }

    /// Urgent data is part of the stream, and what follows it does not wait for anything.
    @Test(arguments: Family.allCases)
    func lesson53_urgentDataIsPartOfTheStream(_ family: Family) throws {
        try withNetwork { network in
            try network.remote.serveTests()
            let guest = try network.guest(["--config-net", "-t", "8080:4000"])
            try guest.serveTests()
            try guest.client("urgent", family.server, 4000, 1_000_000).check()
            try network.remote.client("urgent", family.hostAddress, 8080, 1_000_000).check()
        }
    }

    /// A kernel before 6.9: where to look at a queue next is not kept there, and each look begins with what the guest has not acknowledged yet.
    @Test(arguments: zip(Family.allCases, [65520, 1500]))
    func withoutPeekOffsets(_ family: Family, _ mtu: Int) throws {
        try withNetwork { network in
            try network.remote.serveTests()
            let refuse = ["python3", Helpers.path("refuse.py"), "peek-offset"]
            let guest = try network.guest(["--config-net", "--mtu", "\(mtu)", "-t", "8080:4000"], wrapper: refuse)
            // This filter and pasta's own.
            let filters = contents("/proc/\(guest.pasta.pid)/status").firstMatch(of: /Seccomp_filters:\s+(\d+)/).flatMap { Int($0.1) } ?? 0
            #expect(filters >= 2)
            try guest.serveTests()
            for what in ["send", "receive", "duplex"] {
                try guest.client(what, family.server, 4000, 8 << 20).check()
                try network.remote.client(what, family.hostAddress, 8080, 4 << 20).check()
            }
            try guest.client("late", family.server, 4000, 16 << 20, 1).check()
            try network.remote.client("late", family.hostAddress, 8080, 16 << 20, 1).check()
            try guest.client("first", family.server, 4000, 1_000_000).check()
            try guest.client("urgent", family.server, 4000, 1_000_000).check()
            try network.remote.client("urgent", family.hostAddress, 8080, 1_000_000).check()
            try guest.client("downloads", family.server, 4000, 5, 2 << 20, seconds: 60).check()
        }
    }

    /// Where each segment is small, and where no offload can merge them.
    @Test(arguments: [1280, 1500, 9000, 65520])
    func anyMTUCarriesTransfersBothWays(_ mtu: Int) throws {
        try withNetwork { network in
            try network.remote.serveTests()
            let guest = try network.guest(["--config-net", "--mtu", "\(mtu)"])
            #expect(try guest.link().mtu == mtu)
            for family in Family.allCases {
                try guest.client("send", family.server, 4000, 4 << 20).check()
                try guest.client("receive", family.server, 4000, 4 << 20).check()
            }
        }
    }

    @Test(arguments: Family.allCases)
    func socatEchoReturnsWhatWasSent(_ family: Family) throws {
        try withNetwork { network in
            try network.remote.serve(["socat", "TCP6-LISTEN:4001,ipv6-v6only=0,fork,reuseaddr", "EXEC:cat"], port: 4001)
            let guest = try network.guest()
            let target = "TCP\(family == .v4 ? 4 : 6):\(family.bracketed(family.server)):4001"
            #expect(try guest.sh("echo hello | socat -t5 - \(target)").check().out == "hello\n")
        }
    }

    @Test(arguments: Family.allCases)
    func iperf3CompletesBothWays(_ family: Family) throws {
        try withNetwork { network in
            try network.remote.serve(["iperf3", "-s"], port: 5201)
            let guest = try network.guest()
            for direction in [[], ["-R"], ["--bidir"], ["-P", "4"]] {
                try guest.run(["iperf3", family.flag, "-c", family.server, "-t", "1"] + direction).check()
            }
        }
    }

    /// More than sequence numbers, and whatever else has 32 bits, can count.
    @Test(arguments: [[], ["-R"]])
    func moreThanFourGibibytesInOneConnection(_ direction: [String]) throws {
        try withNetwork { network in
            try network.remote.serve(["iperf3", "-s"], port: 5201)
            let guest = try network.guest()
            try guest.run(["iperf3", "-c", Family.v4.server, "-n", "4400M"] + direction, seconds: 120).check()
        }
    }

    @Test(arguments: Family.allCases)
    func aSideThatClosedItsSendingStillReceives(_ family: Family) throws {
        try withNetwork { network in
            try network.remote.serveTests()
            let guest = try network.guest()
            for size in [0, 1, 100_000, 3 << 20] {
                try guest.client("send", family.server, 4000, size).check()
                try guest.client("first", family.server, 4000, size).check()
            }
        }
    }

    @Test(arguments: Family.allCases)
    func lesson24_anAbortOnOneSideIsAnAbortOnTheOther(_ family: Family) throws {
        try withNetwork { network in
            try network.remote.serveTests()
            let guest = try network.guest()
            #expect(try guest.client("reset", family.server, 4000).check().text == "ECONNRESET")
            try guest.client("abort", family.server, 4000).check()
        }
    }

    @Test(arguments: Family.allCases)
    func aRefusedConnectionIsReportedAtOnce(_ family: Family) throws {
        try withNetwork { network in
            let answer = try network.guest().client("error", family.server, 4999).check().text
            #expect(answer.hasPrefix("ECONNREFUSED"), "\(answer)")
            #expect(try seconds(answer) < 1)
        }
    }

    /// The remote network answers for a host that does not exist: EHOSTUNREACH on the host after its three seconds.
    @Test(arguments: Family.allCases)
    func anUnreachableHostIsReportedAndNotAwaited(_ family: Family) throws {
        try withNetwork { network in
            let answer = try network.guest().client("error", family.nobody, 4000).check().text
            #expect(["EHOSTUNREACH", "ENETUNREACH", "ECONNREFUSED", "ECONNRESET"].contains { answer.hasPrefix($0) }, "\(answer)")
            #expect(try seconds(answer) < 8)
        }
    }

    @Test(arguments: Family.allCases)
    func twoHundredConnectionsAtOnce(_ family: Family) throws {
        try withNetwork { network in
            try network.remote.serveTests()
            try network.guest().client("parallel", family.server, 4000, 200, 50_000, seconds: 60).check()
        }
    }

    /// Lesson 26: descriptors of ended connections are given back.
    @Test func lesson26_endedConnectionsLeaveNoDescriptorBehind() throws {
        try withNetwork { network in
            try network.remote.serveTests()
            let guest = try network.guest()
            let descriptors = { try network.descriptorCount() }
            try guest.client("parallel", Family.v4.server, 4000, 4, 1000).check()
            let before = try descriptors()
            for _ in 0..<2 { try guest.client("parallel", Family.v4.server, 4000, 100, 1000, seconds: 60).check() }
            try guest.client("error", Family.v6.server, 4999).check()
            // A pool of prepared sockets may be kept, and differs in fill.
            #expect(eventually(within: 10) { ((try? descriptors()) ?? .max) <= before + 40 })
        }
    }

    private func seconds(_ answer: String) throws -> Double {
        try #require(answer.split(separator: " ").last.flatMap { Double($0) })
    }
}

extension Network {
    /// Open descriptors of this network's only pasta.
    func descriptorCount() throws -> Int {
        try pastas().reduce(0) { sum, pid in
            try sum + FileManager.default.contentsOfDirectory(atPath: "/proc/\(pid)/fd").count
        }
    }
}
