import Foundation
import Glibc
import Testing

/// Machines that move to another host while they run. Both hosts have the same addresses; the router decides which of them is reached. The monitor is
/// `vhost.py`, since QEMU moves the state of such a device from version 10 on only.
@Suite struct MigrationTests {
    final class StartedHelpers { var started: [Child] = [] }

    /// What it takes to move.
    struct Move {
        let network: Network
        let other: Host
        let source, target: Child
        let machine: Machine
        private let helpers = StartedHelpers()
        private let control: String
        /// A busy machine takes its time for so much.
        private let patience = ["PATIENCE": "60"]

        init(_ network: Network, options: [String] = [], helpers: Bool = true) throws {
            self.network = network
            other = try network.addHost("other")
            try network.run(["sh", "-eu", Helpers.path("second-host.sh"), network.name]).check()
            control = network.path("control")
            let words = ["-f", "--vhost-user", "-t", "8080:4000", "--stats", "1"] + options
            source = try network.passt(words + ["--socket", network.path("a")])
            let target = try other.start([try Passt.path(network)] + words + ["--socket", network.path("b")], as: .ordinary)
            self.target = target
            try require("the target to listen") { target.poll() != nil || target.standardError.contains("Listening") }
            machine = try Machine(network, "vm", socket: network.path("a"), kind: "memory", control: control)
            if helpers { try startHelpers() }
            try machine.configure()
            try machine.host.serveTests()
            // Others reach the machine by the address that it was seen with.
            for family in Family.allCases { try machine.host.run(["ping", "-c", "1", "-W", "5", family.server]).check() }
        }

        /// Tells the monitor, and waits for the answer.
        func say(_ line: String, _ answer: String) throws {
            let bridge = machine.bridge
            func count() -> Int { bridge.standardOutput.components(separatedBy: answer).count }
            let before = count()
            let handle = try #require(FileHandle(forWritingAtPath: control))
            try handle.write(contentsOf: Data((line + "\n").utf8))
            try handle.close()
            try require("\(answer) of vhost.py") { bridge.poll() != nil || count() > before }
            if bridge.poll() != nil { throw Failure("vhost.py: \(bridge.standardError)") }
        }

        /// One on each side, for one move: each is told to go when that is over.
        func startHelpers() throws {
            let sides = [(network.host!, "a.repair"), (other, "b.repair")]
            let started = try sides.map { try $0.start([try Passt.repairPath(network), network.path($1)]) }
            helpers.started += started
            // A machine that moves before that leaves its connections behind.
            for ((host, path), helper) in zip(sides, started) {
                // One that listens, and the end of one that has connected.
                try require("a helper to connect") {
                    helper.poll() != nil || (try? host.run(["cat", "/proc/net/unix"]))?.lines.count { $0.hasSuffix(network.path(path)) } ?? 0 > 1
                }
            }
        }

        /// All helpers so far have ended, as if nothing was wrong.
        func awaitHelpersEnds() { for helper in helpers.started { #expect(helper.wait(seconds: 5).ending == .exited(0)) } }

        /// A helper of the source that does what it is told so many times, and then is gone.
        func startUnreliableHelper(_ count: Int) throws {
            let helper = try network.host.start(["python3", Helpers.path("repair.py"), network.path("a.repair"), "\(count)"])
            try require("the helper to connect") { helper.poll() != nil || helper.standardOutput.contains("connected") }
        }

        /// Packets reach the other host from here on.
        func turnRouter() throws { try network.router.sh("sh -eu \(Helpers.path("second-host.sh")) turn lan0 lan2").check() }

        func turnRouterBack() throws { try network.router.sh("sh -eu \(Helpers.path("second-host.sh")) turn lan2 lan0").check() }

        /// Transfers that last, each way a connection can be opened, and are under way.
        func transfers(_ byteCount: Int) throws -> [Child] {
            let client = ["python3", Helpers.path("client.py"), "duplex"]
            let transfers = try Family.allCases.flatMap { family in
                [
                    try machine.host.start(client + [family.server, "4000", "\(byteCount)"], environment: patience),
                    try network.remote.start(client + [family.hostAddress, "8080", "\(byteCount)"], environment: patience),
                ]
            }
            try network.remote.awaitConnections(transfers.count)
            return transfers
        }

        /// One that the machine has opened.
        func transfer(_ byteCount: Int) throws -> Child {
            let words = ["python3", Helpers.path("client.py"), "duplex", Family.v4.server, "4000", "\(byteCount)"]
            let transfer = try machine.host.start(words, environment: patience)
            try network.remote.awaitConnections(1)
            return transfer
        }
    }

    /// A word, its echo, and the same again some time later.
    static let quietTalk = """
        import socket, sys, time
        sock = socket.create_connection((sys.argv[1], 4000), 20)
        sock.sendall(b"echo\\n")
        for word in (b"before", b"behind"):
            sock.sendall(word)
            answer = b""
            while len(answer) < len(word):
                answer += sock.recv(100)
            assert answer == word, answer
            time.sleep(3)
        """

    /// A word and its echo, and again when a file is there.
    static let wordInBetween = """
        import os, socket, sys, time
        sock = socket.create_connection((sys.argv[1], int(sys.argv[2])), 30)
        sock.sendall(b"echo\\n")
        for word in (b"before", b"between"):
            sock.sendall(word)
            print("said", word.decode(), flush=True)
            answer = b""
            while len(answer) < len(word):
                answer += sock.recv(100)
            assert answer == word, answer
            print("heard", word.decode(), flush=True)
            while not os.path.exists(sys.argv[3]):
                time.sleep(0.01)
        """

    /// What comes while nobody is there for it is not acknowledged, and so not lost.
    @Test func whatComesInBetweenArrives() throws {
        try withNetwork { network in
            try network.remote.serveTests()
            let move = try Move(network)
            let flag = network.path("flag")
            let talks = try Family.allCases.map { try network.remote.start(["python3", "-c", MigrationTests.wordInBetween, $0.hostAddress, "8080", flag]) }
            for talk in talks { try require("an echo") { talk.poll() != nil || talk.standardOutput.contains("heard before") } }
            try move.say("save", "saved")
            _ = try network.file("flag", "")
            for talk in talks { try require("a word") { talk.poll() != nil || talk.standardOutput.contains("said between") } }
            usleep(300_000)
            try move.say("go " + network.path("b"), "there")
            try move.turnRouter()
            for talk in talks { try talk.wait(seconds: 30).check() }
        }
    }

    /// Lesson 44: a machine's connections go on elsewhere, with every byte.
    @Test func connectionsMoveWithTheMachine() throws {
        try withNetwork { network in
            try network.remote.serveTests()
            let move = try Move(network)
            let transfers = try move.transfers(160 << 20)
            // Waits, with nothing under way, and has a word to say afterwards.
            let idle = try move.machine.host.start(["python3", "-c", MigrationTests.quietTalk, Family.v6.server])
            try move.say("save", "saved")
            try move.say("go " + network.path("b"), "there")
            try move.turnRouter()
            for transfer in transfers { try transfer.wait(seconds: 60).check() }
            try idle.wait(seconds: 30).check()
            move.awaitHelpersEnds()
            let (source, target) = (Footprint(program: move.source), Footprint(program: move.target))
            #expect(eventually { target.counter("TCP connections that have moved here") >= transfers.count })
            #expect(target.counter("TCP connections lost on the way here") == 0)
            #expect(eventually { source.counter("TCP connections saved for a move") >= transfers.count })
            #expect(source.counter("TCP resets to guest") == 0 && target.counter("TCP resets to guest") == 0)
            // New ones as well, in both directions.
            for family in Family.allCases {
                try move.machine.client("duplex", family.server, 4000, 1 << 20).check()
                #expect(try network.remote.client("ask", family.hostAddress, 8080, "whoami").check().text == family.server)
            }
            // Where it came from, nobody is told that anything has ended.
            #expect(move.source.poll() == nil)
        }
    }

    /// A move that comes to nothing: the machine goes on where it was.
    @Test func lesson44_aMoveThatFailsIsTakenBack() throws {
        try withNetwork { network in
            try network.remote.serveTests()
            let move = try Move(network)
            let transfers = try move.transfers(120 << 20)
            for _ in 0..<3 {
                usleep(200_000)
                try move.say("save", "saved")
                // However far it came: the other host had everything already.
                try move.say("visit " + network.path("b"), "back")
                try move.say("go", "there")
                move.awaitHelpersEnds()
                try move.startHelpers()
            }
            for transfer in transfers { try transfer.wait(seconds: 60).check() }
            #expect(eventually { Footprint(program: move.source).counter("TCP connections saved for a move") > 0 })
        }
    }

    /// There and back again: what lingered here makes room.
    @Test func backAndForth() throws {
        try withNetwork { network in
            try network.remote.serveTests()
            let move = try Move(network)
            let transfers = try move.transfers(200 << 20)
            try move.say("save", "saved")
            try move.say("go " + network.path("b"), "there")
            try move.turnRouter()
            usleep(300_000)
            move.awaitHelpersEnds()
            try move.startHelpers()
            try move.say("save", "saved")
            try move.say("go " + network.path("a"), "there")
            try move.turnRouterBack()
            for transfer in transfers { try transfer.wait(seconds: 60).check() }
            #expect(eventually { Footprint(program: move.source).counter("TCP connections that have moved here") > 0 })
            #expect(Footprint(program: move.source).counter("TCP connections lost on the way here") == 0)
        }
    }

    /// Without anybody who may take sockets apart, the machine moves and its connections do not: it hears of that, also where it would wait for ever.
    @Test(arguments: [[], ["--repair-path", "none"]] as [[String]]) func withoutAHelper(_ options: [String]) throws {
        try withNetwork { network in
            try network.remote.serveTests()
            try network.router.sh("ip route add blackhole 203.0.113.77").check()
            let move = try Move(network, options: options, helpers: false)
            // One that nobody has answered yet is not refused: it is asked for again, from there.
            let asking = try move.machine.host.start(["python3", "-c", MigrationTests.asking])
            try require("a SYN on its way") { (try? network.host.sh("ss -tn state syn-sent").text.contains("203.0.113.77")) == true || asking.poll() != nil }
            let waiter = try move.machine.host.start(["python3", "-c", MigrationTests.waiting, Family.v4.server, "4000"])
            try require("an echo") { waiter.poll() != nil || waiter.standardOutput.contains("waits") }
            try move.say("save", "saved")
            try move.say("go " + network.path("b"), "there")
            try move.turnRouter()
            #expect(try waiter.wait(seconds: 10).check().out.contains("ECONNRESET"))
            try move.machine.client("duplex", Family.v6.server, 4000, 1 << 20).check()
            #expect(try asking.wait(seconds: 20).check().text == "TimeoutError")
        }
    }

    /// A helper that switches nothing, as without the right: the machine stays, and so do its connections.
    @Test func aHelperThatGivesUpCostsNothing() throws {
        try withNetwork { network in
            try network.remote.serveTests()
            let move = try Move(network, helpers: false)
            let transfers = try move.transfers(60 << 20)
            try move.startUnreliableHelper(0)
            try move.say("save", "saved")
            try move.say("go", "there")
            for transfer in transfers { try transfer.wait(seconds: 60).check() }
        }
    }

    static let asking = """
        import socket
        try:
            socket.create_connection(("203.0.113.77", 4500), 8)
        except OSError as error:
            print(type(error).__name__)
        """

    /// Waits for a word that never comes, and tells how the connection ends.
    static let waiting = """
        import errno, socket, sys
        sock = socket.create_connection((sys.argv[1], int(sys.argv[2])), 20)
        sock.sendall(b"echo\\n")
        sock.sendall(b"word")
        assert sock.recv(100) == b"word"
        print("waits", flush=True)
        try:
            print("end" if sock.recv(100) == b"" else "data")
        except OSError as error:
            print(errno.errorcode.get(error.errno, error))
        """

    /// The machine leaves all the same, and those who wait for it hear of that, as a reset and not as a clean end.
    @Test(arguments: [[], ["--migrate-no-linger"]] as [[String]]) func aHelperThatGivesUpLeavesNobodyWaiting(_ options: [String]) throws {
        try withNetwork { network in
            try network.remote.serveTests()
            let move = try Move(network, options: options, helpers: false)
            let waiters = try Family.allCases.map { try network.remote.start(["python3", "-c", MigrationTests.waiting, $0.hostAddress, "8080"]) }
            for waiter in waiters { try require("a connection") { waiter.poll() != nil || waiter.standardOutput.contains("waits") } }
            try move.startUnreliableHelper(0)
            try move.say("save", "saved")
            try move.say("go " + network.path("b"), "there")
            for waiter in waiters { #expect(try waiter.wait(seconds: 10).check().out.contains("ECONNRESET")) }
        }
    }

    /// What becomes of the program that the machine has left, by its options.
    @Test(arguments: [[], ["--one-off"], ["--migrate-no-linger"], ["--migrate-exit"]] as [[String]]) func afterwards(_ options: [String]) throws {
        try withNetwork { network in
            try network.remote.serveTests()
            let move = try Move(network, options: options)
            let transfer = try move.transfer(256 << 20)
            let source = Footprint(program: move.source)
            let before = source.descriptors
            try move.say("save", "saved")
            try move.say("go " + network.path("b"), "there")
            try move.turnRouter()
            // Nobody may wonder about packets that still come to where the machine was: unless its connections linger there, they are answered by resets.
            if options.first?.hasPrefix("--migrate") != true { try transfer.wait(seconds: 60).check() }
            let ends = options == ["--migrate-exit"]
            #expect(eventually(within: ends ? 10 : 1) { move.source.poll() != nil } == ends)
            guard !ends else { return }
            // The machine's own: its socket, memory and counters; and its connection, unless that lingers.
            #expect(source.descriptors < before)
            #expect(move.source.standardError.contains("disconnected"))
        }
    }
}
