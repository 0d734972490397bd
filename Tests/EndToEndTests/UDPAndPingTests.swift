import Foundation
import Glibc
import Testing

/// UDP, ping and ICMP errors from the guest to a remote host.
@Suite struct UDPAndPingTests {
    @Test(arguments: Family.allCases)
    func datagramsOfEverySizeKeepTheirBoundaries(_ family: Family) throws {
        try withNetwork { network in
            try network.remote.serveTests()
            let guest = try network.guest()
            let sizes = [0, 2, 3, 17, 18, 19, 511, 512, 1000, 1232, 1452, 1472, 1473, 4000, 8972, 32000, 65000]
            for size in sizes + [family == .v4 ? 65491 : 65471] {
                try guest.client("udp-sizes", family.server, 4000, size, size + 1).check()
            }
        }
    }

    /// What a guest cuts that stays at a small MTU is put together, datagrams and pings, and what comes back is cut for it.
    @Test(arguments: Family.allCases, [1280, 1500])
    func fragmentsArePutTogether(_ family: Family, _ mtu: Int) throws {
        try withNetwork { network in
            try network.remote.serveTests()
            let guest = try network.guest()
            try guest.run(["ip", "link", "set", "wan0", "mtu", "\(mtu)"]).check()
            for size in [1232, 1233, 1453, 1472, 1473, 2960, 2961, 9000, 32768, 65000, family == .v4 ? 65491 : 65471] {
                try guest.client("udp-sizes", family.server, 4000, size).check()
            }
            for size in [3000, 20_000] {
                let output = try guest.run(["ping", family.flag, "-n", "-c", "3", "-i", "0.2", "-W", "3", "-s", "\(size)", family.server])
                #expect(output.out.contains("3 received"), "\(output)")
            }
        }
    }

    @Test(arguments: Family.allCases)
    func socatEchoReturnsTheDatagram(_ family: Family) throws {
        try withNetwork { network in
            try network.remote.serve(["socat", "UDP6-RECVFROM:4001,ipv6-v6only=0,fork", "EXEC:cat"], port: 4001, udp: true)
            let target = "UDP\(family == .v4 ? 4 : 6):\(family.bracketed(family.server)):4001"
            #expect(try network.guest().sh("echo hello | socat -t2 - \(target)").check().out == "hello\n")
        }
    }

    /// A TFTP server answers from a port that it takes for each transfer (RFC 1350, section 4): elsewhere, and on the host's loopback.
    @Test(arguments: Family.allCases, [false, true])
    func aTransferGoesOnFromAnotherPort(_ family: Family, _ isOnHost: Bool) throws {
        try withNetwork { network in
            let server: Host! = isOnHost ? network.host : network.remote
            try server.serve(["python3", Helpers.path("tftp.py"), "serve"], port: 69, udp: true)
            let guest = try network.guest()
            for size in [0, 511, 512, 20_000] {
                let output = try guest.run(["python3", Helpers.path("tftp.py"), "read", isOnHost ? family.gateway : family.server, "\(size)"])
                #expect(output.text == "ok", "\(output)")
            }
        }
    }

    @Test(arguments: Family.allCases)
    func manyFlowsEachGetTheirOwnAnswer(_ family: Family) throws {
        try withNetwork { network in
            try network.remote.serveTests()
            try network.guest().client("udp-flows", family.server, 4000, 300).check()
        }
    }

    @Test(arguments: Family.allCases, [100, 1400, 9000])
    func aBurstPassesUnchangedAndDoesNotStopTheFlow(_ family: Family, _ size: Int) throws {
        try withNetwork { network in
            try network.remote.serveTests()
            try network.guest().client("udp-burst", family.server, 4000, 5000, size, seconds: 40).check()
        }
    }

    @Test(arguments: Family.allCases)
    func lesson35_aClosedPortIsReportedToTheSender(_ family: Family) throws {
        try withNetwork { network in
            let guest = try network.guest()
            #expect(try guest.client("udp-error", family.server, 4999).check().text == "ECONNREFUSED")
        }
    }

    /// Not to be taken for an address of all, for which the kernel has the same error.
    @Test(arguments: Family.allCases)
    func lesson35_aForbiddenWayIsReportedToTheSender(_ family: Family) throws {
        try withNetwork { network in
            try network.host.sh("ip \(family.flag) route add prohibit \(family.server)").check()
            let guest = try network.guest()
            #expect(try guest.client("udp-error", family.server, 4999).check().text == (family == .v4 ? "EHOSTUNREACH" : "EACCES"))
        }
    }

    /// The host moves to another network while the guest goes on sending: with the old source address, nothing would arrive any more, or no answer.
    @Test(arguments: Family.allCases)
    func lesson55_theHostsAddressChangesUnderAFlowInUse(_ family: Family) throws {
        try withNetwork { network in
            try network.remote.serveTests()
            let guest = try network.guest()
            let sender = try guest.start(["python3", Helpers.path("client.py"), "udp-lasting", family.server, "4000", "4"])
            let ping = try guest.start(["ping", family.flag, "-n", "-c", "30", "-i", "0.1", "-W", "1", family.server])
            Thread.sleep(forTimeInterval: 1)
            if family == .v4 {
                try network.host.sh("ip addr add 198.51.100.9/24 dev wan0; ip addr del 198.51.100.1/24 dev wan0; ip addr replace 198.51.100.9/24 dev wan0; ip route replace default via 198.51.100.254").check()
            } else {
                try network.host.sh("ip addr add 2001:db8:1::9/64 dev wan0 nodad; ip addr del 2001:db8:1::1/64 dev wan0").check()
            }
            let longest = try sender.wait().check().text
            #expect(Double(longest) ?? 99 < 2, "\(longest)")
            let output = ping.wait().out
            let received = output.split(separator: " ").map(String.init)
            let count = received.firstIndex(of: "received,").flatMap { Int(received[$0 - 1]) } ?? 0
            #expect(count >= 20, "\(output)")
        }
    }

    @Test(arguments: Family.allCases)
    func iperf3UDPCompletes(_ family: Family) throws {
        try withNetwork { network in
            try network.remote.serve(["iperf3", "-s"], port: 5201)
            let guest = try network.guest()
            for direction in [[], ["-R"]] {
                try guest.run(["iperf3", family.flag, "-u", "-b", "50M", "-l", "1200", "-c", family.server, "-t", "1"] + direction).check()
            }
        }
    }

    @Test(arguments: Family.allCases)
    func pingIsAnswered(_ family: Family) throws {
        try withNetwork { network in
            let guest = try network.guest()
            for size in [0, 56, 1400] {
                let output = try guest.run(["ping", family.flag, "-n", "-c", "3", "-i", "0.2", "-W", "3", "-s", "\(size)", family.server])
                #expect(output.out.contains("3 received"), "\(output)")
            }
        }
    }

    /// ping numbers its requests from 1; other senders begin at 0.
    @Test func lesson37_echoSequenceZeroIsAnswered() throws {
        try withNetwork { network in
            let guest = try network.guest()
            #expect(try guest.run(["python3", Helpers.path("ping-zero.py"), Family.v4.server]).check().text == "0 1")
        }
    }

    @Test(arguments: Family.allCases)
    func twoPingsAtOnceDoNotMixUp(_ family: Family) throws {
        try withNetwork { network in
            let guest = try network.guest()
            let pings = try (0..<4).map { _ in
                try guest.start(["ping", family.flag, "-n", "-c", "5", "-i", "0.2", "-W", "3", family.server])
            }
            for ping in pings {
                let output = ping.wait()
                #expect(output.out.contains("5 received") && !output.out.contains("DUP"), "\(output)")
            }
        }
    }

    @Test func pingWithoutPermissionOnTheHostDoesNoHarm() throws {
        try withNetwork(.withoutPing) { network in
            try network.remote.serveTests()
            let log = network.path("log")
            let guest = try network.guest(["--config-net", "--log-file", log])
            for _ in 0..<2 {
                #expect(try guest.run(["ping", "-n", "-c", "1", "-W", "1", Family.v4.server]).ending == .exited(1))
            }
            #expect(try guest.client("ask", Family.v4.server, 4000, "whoami").check().text == Family.v4.hostAddress)
            // Said once, whatever the guest does.
            #expect(contents(log).components(separatedBy: "net.ipv4.ping_group_range").count == 2, "\(contents(log))")
        }
    }

    @Test(arguments: Family.allCases, [[], ["-I"]])
    func lesson35_tracerouteSeesTheHops(_ family: Family, _ kind: [String]) throws {
        try withNetwork { network in
            let output = try network.guest().run(
                ["traceroute", family.flag, "-n", "-q", "1", "-w", "2", "-m", "4", "-N", "1"] + kind + [family.server])
            let hops = output.lines.dropFirst().map { $0.split(separator: " ").dropFirst().first.map(String.init) ?? "" }
            if kind.isEmpty {
                #expect(hops == [family.gateway, family.server], "\(output)")
            } else {
                // Ping sockets report no errors of hops to us everywhere; the destination is what counts.
                #expect(hops.last == family.server, "\(output)")
            }
        }
    }

    /// What the guest sends to everybody reaches the host's link, once.
    @Test(arguments: [
        ("224.0.0.251", "224.0.0.251"), ("255.255.255.255", "255.255.255.255"), ("198.51.100.255", "198.51.100.255"), ("ff02::fb%wan0", "ff02::fb"),
    ])
    func lesson36_multicastAndBroadcastAreSentOut(_ destination: String, _ seen: String) throws {
        try withNetwork { network in
            let guest = try network.guest()
            let sniffer = try network.router.start(["python3", Helpers.path("sniff-udp.py"), "lan0", "5353"])
            try require("the sniffer to listen") { sniffer.standardOutput.contains("ready") }
            // Sent again until seen, since an interface may still be learning.
            try require("\(seen) on the link") {
                _ = try? guest.run(["python3", Helpers.path("send-to-all.py"), destination, "5353"])
                return sniffer.standardOutput.split(separator: "\n").contains { $0 == seen }
            }
        }
    }

    /// An answer that comes while pasta is stopped (Ctrl-Z) is there when it goes on, although its flow's time is over by the clock.
    @Test func lesson71_whatArrivesDuringAStopComesFirst() throws {
        try withNetwork { network in
            let server = """
                import socket, time
                sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
                sock.bind(("", 4500))
                print("ready", flush=True)
                peer = sock.recvfrom(100)[1]
                print("asked", flush=True)
                time.sleep(1.5)
                sock.sendto(b"answer", peer)
                time.sleep(60)
                """
            let far = try network.remote.start(["python3", "-c", server])
            try require("the server") { far.poll() != nil || far.standardOutput.contains("ready") }
            let guest = try network.guest(["--config-net"])
            let client = """
                import socket
                sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
                sock.settimeout(60)
                sock.connect(("\(Family.v4.server)", 4500))
                sock.send(b"question")
                print(sock.recv(100).decode())
                """
            let asker = try guest.start(["python3", "-c", client])
            try require("the question") { far.standardOutput.contains("asked") }
            guest.pasta.send(SIGSTOP)
            // An unanswered flow lasts half a minute.
            usleep(33_000_000)
            guest.pasta.send(SIGCONT)
            #expect(try asker.wait(seconds: 10).check().text == "answer")
        }
    }
}
