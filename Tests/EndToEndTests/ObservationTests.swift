import Foundation
import Glibc
import Testing

/// What pasta shows of itself: logs, captures, counters.
@Suite struct ObservationTests {
    @Test func tcpdumpReadsTheCapture() throws {
        try withNetwork { network in
            try network.remote.serveTests()
            let file = network.path("capture")
            let guest = try network.guest(["--config-net", "--pcap", file])
            try guest.client("receive", Family.v4.server, 4000, 100_000).check()
            try guest.client("udp-sizes", Family.v6.server, 4000, 1200).check()
            _ = try guest.stop()
            // As user 1000, since tcpdump as root wants to become another user.
            let output = try network.host.run(["tcpdump", "-n", "-r", file], as: .ordinary)
            #expect(output.succeeded, "\(output)")
            for text in ["> 203.0.113.2.4000: Flags [S]", "203.0.113.2.4000 > ", "Flags [S.]", "> 2001:db8:2::2.4000: UDP, length 1200", "2001:db8:2::2.4000 > "] {
                #expect(output.out.contains(text), "\(text) in \(output.lines.prefix(20))")
            }
        }
    }

    @Test func aLogFileTakesWhatIsSaid() throws {
        try withNetwork { network in
            let file = network.path("log")
            let output = try network.host.run([Pasta.path, "--debug", "--log-file", file, "--config-net", "--", "true"], as: .ordinary)
            #expect(output.succeeded && output.out.isEmpty, "\(output)")
            #expect(contents(file).split(separator: "\n").count >= 3, "\(contents(file))")
        }
    }

    /// A file that may not grow on ends its capture, and nothing else.
    @Test func aCaptureMayReachTheLimitOfFiles() throws {
        try withNetwork { network in
            try network.remote.serveTests()
            let file = network.path("capture")
            let log = network.path("log")
            let guest = try network.guest(["--config-net", "--pcap", file, "--log-file", log], wrapper: ["prlimit", "--fsize=20000", "--"])
            for family in Family.allCases { try guest.client("receive", family.server, 4000, 100_000).check() }
            let size = try #require(try FileManager.default.attributesOfItem(atPath: file)[.size] as? Int)
            #expect(size == 20000)
            #expect(contents(log).components(separatedBy: "Nothing more is written to capture file \(file): it may not grow on").count == 2, "\(contents(log))")
            #expect(guest.pasta.poll() == nil)
            _ = try guest.stop()
        }
    }

    /// Once in the background there is only the system log.
    @Test func aDaemonTalksToTheSystemLog() throws {
        try withNetwork { network in
            let target = try Target(network, .mountedFile)
            let pidFile = network.path("pid")
            try target.joinInBackground(["--config-net", "--pid", pidFile]).check()
            let pid = try #require(Int(contents(pidFile).dropLast()))
            _ = Glibc.kill(pid_t(pid), SIGUSR1)
            #expect(eventually { contents(NSTemporaryDirectory() + "/syslog").contains("pasta[\(pid)]") })
            try target.remove()
        }
    }

    @Test func theLogFileStaysBelowItsSize() throws {
        try withNetwork { network in
            try network.remote.serveTests()
            let file = network.path("log")
            let guest = try network.guest(["--trace", "--log-file", file, "--log-size", "65536", "--config-net"])
            try guest.client("udp-flows", Family.v4.server, 4000, 300).check()
            let size = try #require(try FileManager.default.attributesOfItem(atPath: file)[.size] as? Int)
            #expect(size > 0 && size <= 65536, "\(size)")
        }
    }

    @Test func quietIsSilentAndLoudSaysSomething() throws {
        try withNetwork { network in
            let run = { (options: [String]) in try network.host.run([Pasta.path] + options + ["--config-net", "--", "true"], as: .ordinary) }
            let quiet = try run(["--quiet"])
            #expect(quiet.succeeded && quiet.err.isEmpty, "\(quiet)")
            let debug = try run(["--debug"])
            #expect(debug.succeeded && !debug.err.isEmpty, "\(debug)")
        }
    }

    /// Counters on request, into the log file of a daemon, also of one that is to be quiet.
    @Test(arguments: [[], ["--quiet"]])
    func aSignalPrintsTheCounters(_ options: [String]) throws {
        try withNetwork { network in
            try network.remote.serveTests()
            let target = try Target(network, .mountedFile)
            let file = network.path("log")
            let pasta = try target.joinInForeground(options + ["--log-file", file])
            try target.run(["python3", Helpers.path("client.py"), "receive", Family.v4.server, "4000", "1000"]).check()
            let before = contents(file).count
            pasta.send(SIGUSR1)
            #expect(eventually { contents(file).count > before && contents(file).contains("frames from guest: ") }, "\(contents(file))")
            pasta.send(SIGTERM)
            #expect(pasta.wait(seconds: 5).ending == .exited(0))
        }
    }

    /// A log that nobody reads costs its lines, and nothing else.
    @Test func aLogThatNobodyReadsStopsNothing() throws {
        try withNetwork { network in
            try network.remote.serveTests()
            let target = try Target(network, .mountedFile)
            let pipe = network.path("log")
            try network.run(["mkfifo", pipe]).check()
            let pasta = try target.joinInForeground(["--log-file", pipe])
            let ask = { (family: Family) in try target.run(["python3", Helpers.path("client.py"), "ask", family.server, "4000", "whoami"]) }
            for family in Family.allCases { #expect(try ask(family).text == family.hostAddress) }
            // A dozen lines of counters and more each time; the pipe takes 64 KiB.
            for _ in 0..<400 {
                pasta.send(SIGUSR1)
                usleep(5000)
            }
            for family in Family.allCases { #expect(try ask(family).text == family.hostAddress) }
            pasta.send(SIGTERM)
            #expect(pasta.wait(seconds: 5).ending == .exited(0))
        }
    }

    private static func fallsSilent(_ child: Child) -> Bool {
        for _ in 0..<5 {
            let earlier = child.standardOutput.count
            Thread.sleep(forTimeInterval: 3)
            if child.standardOutput.count == earlier { return true }
        }
        return false
    }

    @Test func statisticsArePrinted() throws {
        try withNetwork { network in
            try network.remote.serveTests()
            let target = try Target(network, .mountedFile)
            let pasta = try target.joinInForeground(["--stats", "1"])
            let before = pasta.standardOutput.count + pasta.standardError.count
            #expect(eventually(within: 8) {
                _ = try? target.run(["python3", Helpers.path("client.py"), "ask", Family.v4.server, "4000", "whoami"])
                return pasta.standardOutput.count + pasta.standardError.count > before
            })
            // Where nothing happens, nothing is printed, but for the guest's own last words.
            #expect(Self.fallsSilent(pasta), "\(pasta.standardOutput)")
            pasta.send(SIGTERM)
            #expect(pasta.wait(seconds: 5).ending == .exited(0))
        }
    }
}
