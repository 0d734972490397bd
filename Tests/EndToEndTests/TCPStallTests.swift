import Foundation
import Testing

/// Connections that stand still for a while, and many of them.
@Suite struct TCPStallTests {
    /// Who sends, and the client's word for it.
    @Test(arguments: [("the remote host", "stop"), ("the guest", "stop-peer")])
    func aReceiverThatStopsCostsNothingAndGetsEverything(_ sender: String, _ word: String) throws {
        try withNetwork { network in
            try network.remote.serveTests()
            let guest = try network.guest()
            let client = try guest.start(
                ["python3", Helpers.path("client.py"), word, Family.v4.server, "4000", "\(64 << 20)", "12"])
            try require("\(sender) to be stopped") { client.standardOutput.contains("stopped") || client.poll() != nil }
            // Until everything in between is full.
            var before = try network.processorTicks()
            try require("nothing to move any more", within: 3) {
                usleep(300_000)
                let now = (try? network.processorTicks()) ?? 0
                defer { before = now }
                return now == before
            }
            usleep(2_000_000)
            let used = try network.processorTicks() - before
            #expect(used <= 2, "\(used) hundredths of a second in two seconds of silence")
            try client.wait(seconds: 60).check()
        }
    }

    /// Who echoes reads only once it has written, and so opens its window when it hears that its own data has arrived. Until the client reads, windows are
    /// closed in both directions, for longer than a probe takes.
    @Test(arguments: Family.allCases) func lesson51_anEchoThatNobodyReadsForAWhileGoesOn(_ family: Family) throws {
        try withNetwork { network in
            try network.remote.serveTests()
            let guest = try network.guest(["--config-net", "-t", "8080:4000"])
            try guest.serveTests()
            try network.remote.client("late", family.hostAddress, 8080, 64 << 20, 4, seconds: 40).check()
            try guest.client("late", family.server, 4000, 64 << 20, 4, seconds: 40).check()
        }
    }

    /// Bytes of one write each take a multiple of their size in the host's buffers, so that more has been promised than fits, for longer than the guest's first
    /// retransmission timeouts: once the far end reads again, nothing stands still.
    @Test func lesson52_aFullSocketDoesNotLeaveTheGuestWaiting() throws {
        try withNetwork { network in
            try network.remote.serveTests()
            let guest = try network.guest()
            try guest.client("tiny", Family.v4.server, 4000, 1_500_000, 9, seconds: 60).check()
        }
    }

    /// Queues of tens of thousands of buffers, of which one look can take seconds.
    @Test func lesson54_whatComesByteByByteStopsNobody() throws {
        try withNetwork { network in
            try network.remote.serveTests()
            let guest = try network.guest(["--config-net", "--mtu", "1500"])
            try guest.client("drips", Family.v4.server, 4000, 400_000, 6, seconds: 180).check()
        }
    }

    /// A machine's own link loses frames of an upload, or delivers them in the wrong order. Its kernel knows no selective acknowledgements here, and sends something
    /// new behind what it sends again: its timeouts must not outnumber the frames that were lost, and grew until nothing moved any more.
    @Test(arguments: ["lose", "swap"]) func lesson60_aLostFrameIsOneLostFrame(_ fault: String) throws {
        try withNetwork { network in
            try network.remote.serveTests()
            let socket = network.path("s")
            let passt = try network.passt(["-f", "--socket", socket, "--mtu", "1500"])
            let machine = try Machine(network, "vm", socket: socket, control: fault)
            try machine.configure()
            try machine.client("send", Family.v4.server, 4000, 4 << 20, seconds: 60).check()
            let counters = try machine.host.run(["nstat", "-asz", "TcpExtTCPTimeouts", "TcpRetransSegs"]).check().out
            let timeouts = counters.firstMatch(of: /TcpExtTCPTimeouts +(\d+)/).flatMap { Int($0.1) } ?? .max
            // One in a hundred of 2900 frames is lost, and of those that are sent again.
            #expect(fault == "lose" ? timeouts <= 30 : timeouts == 0, "\(counters)")
            passt.send(SIGTERM)
            _ = passt.wait()
        }
    }

    /// Lesson 50 was one download of some 250 that stood still for good.
    @Test func manyShortDownloadsNeverStandStill() throws {
        try withNetwork { network in
            try network.remote.serveTests()
            let guest = try network.guest()
            try guest.client("downloads", Family.v4.server, 4000, 50, 2 << 20, seconds: 60).check()
        }
    }

    /// All packets vanish for four seconds, in the middle of a transfer: it goes on by itself, and nothing is missing.
    @Test(arguments: ["send", "receive"])
    func aBlackHoleIsSurvived(_ word: String) throws {
        try withNetwork { network in
            try network.remote.serveTests()
            let guest = try network.guest()
            // As fast as 200 Mbit/s, so that the transfer is still on its way.
            try network.router.sh("""
                for interface in lan0 lan1; do tc qdisc add dev $interface root tbf rate 200mbit burst 256kb latency 50ms; done
                """).check()
            let words = ["python3", Helpers.path("client.py"), word, Family.v4.server, "4000", "\(64 << 20)"]
            let client = try guest.start(words, environment: ["PATIENCE": "60"])
            let counter = word == "send" ? /bytes_acked:(\d+)/ : /bytes_received:(\d+)/
            try require("the transfer to be under way") {
                let sockets = (try? network.host.sh("ss -tniH dst \(Family.v4.server)"))?.out ?? ""
                let passed = sockets.firstMatch(of: counter).flatMap { Int($0.1) } ?? 0
                return client.poll() != nil || passed > 1 << 20
            }
            try network.router.sh("echo 0 >/proc/sys/net/ipv4/ip_forward").check()
            usleep(4_000_000)
            #expect(client.poll() == nil)
            if word == "send" {
                // By itself, the kernel has waited 0.2, 0.4, 0.8 and 1.6 s by now, and would wait twice that. Since Linux 6.15 it is told otherwise.
                let sockets = try network.host.sh("ss -tniH dst \(Family.v4.server)").check().out
                let timeout = sockets.firstMatch(of: /rto:(\d+)/).flatMap { Int($0.1) } ?? 0
                let canBeLimited = FileManager.default.fileExists(atPath: "/proc/sys/net/ipv4/tcp_rto_max_ms")
                #expect(canBeLimited ? (1000...2000).contains(timeout) : timeout > 2000, "\(sockets)")
            }
            try network.router.sh("echo 1 >/proc/sys/net/ipv4/ip_forward").check()
            // Where they could not be limited, retransmission timers have backed off to about four seconds by now; then two and a half for the data.
            try client.wait(seconds: 40).check()
        }
    }

    @Test func lesson26_heldConnectionsGiveTheirDescriptorsBack() throws {
        try withNetwork { network in
            try network.remote.serveTests()
            let guest = try network.guest()
            try guest.client("parallel", Family.v4.server, 4000, 4, 1000).check()
            let before = try network.descriptorCount()
            let end = network.path("end")
            let client = try guest.start(["python3", Helpers.path("client.py"), "hold", Family.v4.server, "4000", "2000", end])
            try require("2000 connections", within: 60) { client.standardOutput.contains("held") || client.poll() != nil }
            #expect(try network.descriptorCount() >= 2000)
            _ = try network.file("end", "")
            try client.wait(seconds: 30).check()
            #expect(eventually(within: 20) { ((try? network.descriptorCount()) ?? .max) <= before + 40 })
        }
    }

    @Test func lesson26_tenThousandConnectionsInTurnLeaveNothing() throws {
        try withNetwork { network in
            try network.remote.serveTests()
            let guest = try network.guest()
            // Ended connections are answered for from a table that fills with the first 4096 of them.
            try guest.client("turns", Family.v4.server, 4000, 5000, seconds: 120).check()
            let (descriptors, memory) = (try network.descriptorCount(), try network.ownKiB())
            try guest.client("turns", Family.v4.server, 4000, 10_000, seconds: 120).check()
            #expect(eventually(within: 10) { ((try? network.descriptorCount()) ?? .max) <= descriptors + 40 })
            // Thirty bytes for each would be seen.
            let after = try network.ownKiB()
            #expect(after <= memory + 256, "\(memory) KiB before, \(after) KiB after")
        }
    }
}

extension Network {
    /// Processor time of this network's pasta, user and system, in hundredths of a second.
    func processorTicks() throws -> Int {
        try pastas().reduce(0) { sum, pid in
            let text = contents("/proc/\(pid)/stat")
            let fields = try #require(text.range(of: ")", options: .backwards)).upperBound
            let words = text[fields...].split(separator: " ")
            return sum + (try #require(Int(words[11]))) + (try #require(Int(words[12])))
        }
    }

    /// Resident memory that is not the program's file: of that, pages arrive whenever a path is taken for the first time.
    func ownKiB() throws -> Int {
        try pastas().reduce(0) { sum, pid in
            let line = contents("/proc/\(pid)/status").split(separator: "\n").first { $0.hasPrefix("RssAnon:") }
            return sum + (try #require(line?.split(separator: " ").dropFirst().first.flatMap { Int($0) }))
        }
    }
}
