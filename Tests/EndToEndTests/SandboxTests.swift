import Foundation
import Glibc
import Testing

/// What pasta and passt may still do once they run, and that everything they do works so. A call that the filter does not know ends them with
/// SIGSYS, which is why each test here looks at how they end. What a full table brings is in AbuseTests.
@Suite struct SandboxTests {
    private func status(_ pid: pid_t) -> [String: String] {
        var fields: [String: String] = [:]
        for line in contents("/proc/\(pid)/status").split(separator: "\n") {
            let parts = line.split(separator: ":", maxSplits: 1)
            if parts.count == 2 { fields[String(parts[0])] = parts[1].trimmingCharacters(in: .whitespaces) }
        }
        return fields
    }

    private func expectClosed(_ pid: pid_t) {
        #expect(eventually { status(pid)["Seccomp"] == "2" }, "\(status(pid))")
        let fields = status(pid)
        #expect(fields["NoNewPrivs"] == "1")
        for set in ["CapInh", "CapPrm", "CapEff"] { #expect(fields[set] == "0000000000000000", "\(set)") }
        #expect(fields["Threads"] == "1")
    }

    @Test func aCommandsPastaIsClosedIn() throws {
        try withNetwork { network in
            let guest = try network.guest()
            expectClosed(guest.pasta.pid)
            #expect(try guest.stop().ending == .exited(128 + SIGKILL))
        }
    }

    @Test func aDaemonIsClosedIn() throws {
        try withNetwork { network in
            let target = try Target(network, .mountedFile)
            let pidFile = network.path("pid")
            try target.joinInBackground(["--config-net", "--pid", pidFile]).check()
            expectClosed(try #require(pid_t(contents(pidFile).dropLast())))
            try target.remove()
        }
    }

    @Test func thePastaOfANamespaceIsClosedIn() throws {
        try withNetwork { network in
            let target = try Target(network, .mountedFile)
            let pasta = try target.joinInForeground()
            expectClosed(pasta.pid)
            pasta.send(SIGTERM)
            #expect(pasta.wait(seconds: 5).ending == .exited(0))
        }
    }

    /// All of the data path with all of the options that add calls, error paths included.
    @Test func lesson47_everythingWorksUnderTheFilter() throws {
        try withNetwork { network in
            try network.remote.serveTests()
            let log = network.path("log")
            let guest = try network.guest([
                "--config-net", "--foreground", "--stats", "1", "--trace", "--log-file", log, "--log-size", "4096",
                "--pcap", network.path("capture"),
            ])
            expectClosed(guest.pasta.pid)
            for family in Family.allCases {
                try guest.client("send", family.server, 4000, 4 << 20).check()
                try guest.client("receive", family.server, 4000, 4 << 20).check()
                try guest.client("duplex", family.server, 4000, 1 << 20).check()
                try guest.client("first", family.server, 4000, 10000).check()
                try guest.client("abort", family.server, 4000).check()
                try guest.client("error", family.server, 9).check()
                try guest.client("parallel", family.server, 4000, 100, 1000).check()
                try guest.client("udp-sizes", family.server, 4000, 1, 1400, 9000).check()
                try guest.client("udp-flows", family.server, 4000, 100).check()
                try guest.client("udp-burst", family.server, 4000, 200, 1000).check()
                try guest.client("udp-error", family.server, 9).check()
                try guest.run(["ping", "-c", "2", "-i", "0.2", family.server]).check()
                try guest.run(["ping", "-c", "1", "-W", "1", "-t", "1", family.server]).check(status: 1)
                // Where nobody answers, and to everybody.
                _ = try guest.run(["ping", "-c", "1", "-W", "1", family == .v4 ? "203.0.113.77" : "2001:db8:2::77"])
                _ = try guest.sh("echo x | socat -t0.2 - UDP4-DATAGRAM:255.255.255.255:4999,broadcast")
                _ = try guest.sh("echo x | socat -t0.2 - UDP4-DATAGRAM:224.0.0.251:5353")
                _ = try guest.sh("echo x | socat -t0.2 - UDP6-DATAGRAM:[ff02::fb%\(try guest.link().name)]:5353")
            }
            // Whatever printing costs, it is the same memory each time.
            for _ in 0..<300 {
                guest.pasta.send(SIGUSR1)
                usleep(1000)
            }
            #expect(contents(log).utf8.count <= 4096)
            #expect(eventually { guest.pasta.standardOutput.contains("TCP connections opened") })
            #expect(status(guest.pasta.pid)["Seccomp"] == "2")
            #expect(try guest.stop().ending == .exited(128 + SIGKILL))
        }
    }

    /// No descriptor left: sockets are refused, and the rest goes on.
    @Test func lesson47_fewDescriptorsUnderTheFilter() throws {
        try withNetwork { network in
            try network.remote.serveTests()
            let guest = try network.guest(["--config-net", "--debug"])
            _ = try network.run(["prlimit", "--pid", "\(guest.pasta.pid)", "--nofile=40:40"]).check()
            _ = try guest.client("parallel", Family.v4.server, 4000, 100, 1000)
            _ = try guest.client("udp-flows", Family.v4.server, 4000, 100)
            #expect(guest.pasta.poll() == nil)
            #expect(try guest.stop().ending == .exited(128 + SIGKILL))
        }
    }

    /// passt: the same with its own ways in and out, machines that go and come, and one that breaks the framing; without descriptors in the end.
    @Test func lesson47_passtWorksUnderTheFilter() throws {
        try withNetwork { network in
            try network.remote.serveTests()
            let (socket, log) = (network.path("s"), network.path("log"))
            let passt = try network.host.start([
                try Passt.path(network), "-f", "--stats", "1", "--trace", "--log-file", log, "--log-size", "4096", "--pcap", network.path("capture"),
                "--socket", socket, "-t", "8080:4000", "-u", "8080:4000",
            ], as: .ordinary)
            try require("a socket") { FileManager.default.fileExists(atPath: socket) || passt.poll() != nil }
            expectClosed(passt.pid)
            for turn in 0..<2 {
                let machine = try Machine(network, "vm\(turn)", socket: socket)
                try machine.configure()
                try machine.serveTests()
                try useEverything(network, machine)
                machine.cut()
                try network.host.sh("printf '\\0\\0\\0\\1xxx' | timeout 5 socat -t5 - UNIX-CONNECT:\(socket)").check()
            }
            for _ in 0..<100 {
                passt.send(SIGUSR1)
                usleep(1000)
            }
            let machine = try Machine(network, "vm", socket: socket)
            try machine.configure()
            _ = try network.run(["prlimit", "--pid", "\(passt.pid)", "--nofile=40:40"]).check()
            _ = try machine.client("parallel", Family.v4.server, 4000, 60, 1000)
            _ = try machine.client("udp-flows", Family.v4.server, 4000, 60)
            #expect(contents(log).utf8.count <= 4096)
            #expect(eventually { passt.standardOutput.contains("guests: 5") }, "\(passt.standardOutput)")
            #expect(status(passt.pid)["Seccomp"] == "2")
            passt.send(SIGTERM)
            #expect(passt.wait(seconds: 10).ending == .exited(0))
        }
    }

    private func useEverything(_ network: Network, _ machine: Machine) throws {
        for family in Family.allCases {
            for what in ["send", "receive", "duplex"] { try machine.client(what, family.server, 4000, 1 << 20).check() }
            try machine.client("first", family.server, 4000, 10000).check()
            try machine.client("abort", family.server, 4000).check()
            try machine.client("error", family.server, 9).check()
            try machine.client("parallel", family.server, 4000, 50, 1000).check()
            try machine.client("udp-sizes", family.server, 4000, 1, 1400).check()
            try machine.client("udp-flows", family.server, 4000, 50).check()
            try machine.client("udp-error", family.server, 9).check()
            try machine.host.run(["ping", "-c", "1", "-W", "5", family.server]).check()
            _ = try machine.host.run(["ping", "-c", "1", "-W", "1", family.nobody])
            #expect(try network.remote.client("ask", family.hostAddress, 8080, "whoami").check().text == family.server)
            #expect(try network.remote.client("udp-ask", family.hostAddress, 8080, "whoami").check().text == family.server)
        }
    }

    @Test(arguments: [Form.mountedFile, .process, .processFile])
    func lesson47_theNamespacesEndIsNoticedUnderTheFilter(_ form: Form) throws {
        try withNetwork { network in
            let target = try Target(network, form)
            let pasta = try target.joinInForeground()
            expectClosed(pasta.pid)
            try target.remove()
            #expect(pasta.wait(seconds: 10).ending == .exited(0))
        }
    }

    @Test(arguments: [SIGTERM, SIGQUIT])
    func lesson47_signalsEndItUnderTheFilter(_ signal: Int32) throws {
        try withNetwork { network in
            let guest = try network.guest()
            expectClosed(guest.pasta.pid)
            guest.pasta.send(signal)
            #expect(guest.pasta.wait(seconds: 5).ending == .exited(0))
        }
    }

    /// The interrupt key, for a command that does not handle it: the command is killed.
    @Test func lesson47_theInterruptKeyWorksUnderTheFilter() throws {
        try withNetwork { network in
            let guest = try network.guest()
            expectClosed(guest.pasta.pid)
            guest.pasta.send(SIGINT)
            #expect(guest.pasta.wait(seconds: 5).ending == .exited(128 + SIGINT))
        }
    }

    /// A service manager's or a container's signal to the one process that it knows: nobody has pressed a key, so the command has not got it.
    @Test func interruptsOfProcessesReachTheCommand() throws {
        try withNetwork { network in
            let script = "trap 'echo caught; exit 7' INT; echo ready; while :; do sleep 0.1; done"
            let pasta = try network.host.start([Pasta.path, "--config-net", "--", "sh", "-c", script], as: .ordinary)
            try require("the command") { pasta.standardOutput.contains("ready") }
            expectClosed(pasta.pid)
            pasta.send(SIGINT)
            let output = pasta.wait(seconds: 5)
            #expect(output.ending == .exited(7) && output.out.contains("caught"), "\(output)")
        }
    }
}

extension Output {
    @discardableResult
    fileprivate func check(status: Int32) throws -> Output {
        guard ending == .exited(status) else { throw Failure(description) }
        return self
    }
}
