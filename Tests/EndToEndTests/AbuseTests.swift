import Foundation
import Glibc
import Testing

/// A hostile guest over a real tap: after each attack, well-behaved conversations work, memory and processor time are bounded, and counters
/// tell what happened. DatapathTests/Abuse has the same frame by frame.
@Suite(.serialized) struct AbuseTests {
    private struct Attack: CustomTestStringConvertible {
        let what: String
        var family = Family.v4
        var count = 2000
        /// What counters must tell, each at least that often.
        var counters: [String: Int] = [:]
        var testDescription: String { "\(what) \(family)" }
    }

    private static let attacks = [
        Attack(what: "syn", count: 15_000, counters: ["TCP connections opened": 15_000, "TCP connections not open yet ended for new ones": 2000]),
        Attack(what: "syn", family: .v6, count: 3000, counters: ["TCP connections opened": 3000]),
        Attack(what: "udp", count: 100_000, counters: ["UDP flows opened": 6000, "UDP flows ended for new ones": 1000]),
        Attack(what: "udp", family: .v6, count: 5000, counters: ["UDP flows opened": 5000]),
        Attack(what: "ping", count: 20_000, counters: ["ping flows ended for new ones": 3000, "pings from guest": 20_000]),
        Attack(what: "ping", family: .v6, count: 3000, counters: ["pings from guest": 3000]),
        Attack(what: "arp"), Attack(what: "own", counters: ["dropped: not for us": 1500]),
        Attack(what: "spoof", count: 1000, counters: ["dropped: address without meaning": 8000]),
        Attack(what: "fragments", counters: ["dropped: fragment": 3500]),
        Attack(what: "extensions", counters: ["dropped: malformed": 1000]), Attack(what: "lengths", counters: ["dropped: malformed": 100]),
        Attack(what: "noise", count: 10_000, counters: ["dropped: malformed": 1500, "dropped: unknown protocol": 500]),
        Attack(what: "numbers", count: 300), Attack(what: "numbers", family: .v6, count: 300),
    ]

    @Test(arguments: attacks)
    private func othersGoOn(_ attack: Attack) throws {
        try withNetwork { network in
            try network.remote.serveTests()
            try network.remote.ignore(4500)
            let guest = try network.guest(["--config-net", "--foreground", "--stats", "1"], descriptors: 4096)
            // Connections from before the attack are there after it.
            let before = try guest.start(["python3", Helpers.path("client.py"), "hold", attack.family.server, "4000", "3", network.path("flag")])
            try require("connections that are open") { before.standardOutput.contains("held") || before.poll() != nil }
            try guest.abuse(attack.what, attack.count, attack.family).check()
            _ = try network.file("flag", "")
            try before.wait(seconds: 30).check()
            try expectGood(guest)
            guest.expectCalm()
            for (label, least) in attack.counters {
                #expect(eventually { guest.counter(label) >= least }, "\(label): \(guest.counter(label)) of \(least)")
            }
        }
    }

    /// So few that every flood uses them up: whatever is not open gives way, across protocols.
    @Test func fewDescriptors() throws {
        try withNetwork { network in
            try network.remote.serveTests()
            let guest = try network.guest(["--config-net", "--foreground", "--stats", "1", "-t", "8080:4000"], descriptors: 128)
            try guest.serveTests()
            try network.remote.ignore(4500)
            for what in ["udp", "ping", "syn", "udp"] {
                try guest.abuse(what, 3000, .v4).check()
                try expectGood(guest)
                #expect(try network.remote.client("ask", Family.v4.hostAddress, 8080, "whoami").check().text == Family.v4.server)
                guest.expectCalm()
            }
            #expect(guest.descriptors <= 128)
        }
    }

    /// The limit is lowered while it runs, which the program is not told: the kernel refuses, and that is learned.
    @Test func fewerDescriptorsThanBefore() throws {
        try withNetwork { network in
            try network.remote.serveTests()
            let guest = try network.guest(["--config-net", "--foreground", "--stats", "1"])
            try network.remote.ignore(4500)
            try network.run(["prlimit", "--pid", "\(guest.pasta.pid)", "--nofile=64:64"]).check()
            for what in ["udp", "ping", "syn"] {
                try guest.abuse(what, 2000, .v4).check()
                try expectGood(guest)
                guest.expectCalm()
            }
        }
    }

    /// The guest takes all that it can by connections that are open: the next is refused at once, others still reach it, and an end makes room.
    @Test func fullOfOpenConnections() throws {
        try withNetwork { network in
            try network.remote.serveTests()
            let guest = try network.guest(["--config-net", "--foreground", "--stats", "1", "-t", "8080:4000"], descriptors: 128)
            try guest.serveTests()
            let hold = """
                import socket, sys, time
                held = []
                try:
                    for _ in range(200): held.append(socket.create_connection(("\(Family.v4.server)", 4000), timeout=5))
                except ConnectionRefusedError:
                    print("refused after", len(held), flush=True)
                time.sleep(1000)
                """
            let holder = try guest.start(["python3", "-c", hold])
            // A whole line: its words may be written one by one.
            try require("a refusal") { holder.standardOutput.hasSuffix("\n") || holder.poll() != nil }
            let held = Int(holder.standardOutput.dropFirst("refused after ".count).dropLast()) ?? 0
            #expect((40...120).contains(held), "\(holder.standardOutput)\(holder.standardError)")
            #expect(try guest.client("error", Family.v4.server, 4000).text.hasPrefix("ECONNREFUSED"))
            #expect(try network.remote.client("ask", Family.v4.hostAddress, 8080, "whoami").check().text == Family.v4.server)
            #expect(eventually { guest.counter("TCP connections refused: table full") >= 2 })
            guest.expectCalm()
            holder.kill()
            try require("room again") { (try? guest.client("parallel", Family.v4.server, 4000, 3, 1000).succeeded) == true }
        }
    }

    /// Neither end reads: what is sent stays with who sent it.
    @Test func nobodyReads() throws {
        try withNetwork { network in
            try network.remote.serveTests()
            let guest = try network.guest(["--config-net", "--foreground", "--stats", "1"])
            try network.remote.talk(4600)
            try network.remote.ignore(4500)
            let idle = try guest.start(["python3", Helpers.path("abuse.py"), "idle", "50", Family.v4.server, Family.v4.gateway])
            try require("50 connections") { idle.standardOutput.contains("ok") || idle.poll() != nil }
            let sender = try guest.start(["python3", "-c", """
                import socket, time
                held = [socket.create_connection(("\(Family.v4.server)", 4500)) for _ in range(50)]
                for sock in held:
                    sock.setblocking(False)
                    try:
                        while True: sock.send(bytes(65536))
                    except BlockingIOError: pass
                print("ok", flush=True)
                time.sleep(1000)
                """])
            try require("50 full connections") { sender.standardOutput.contains("ok") || sender.poll() != nil }
            guest.expectCalm()
            try expectGood(guest)
            // Nothing is kept here: 100 connections full of data cost a few pages.
            #expect(guest.memory < 16 << 10, "\(guest.memory) KiB")
        }
    }

    // MARK: What is looked at

    private func expectGood(_ guest: Guest) throws {
        for family in Family.allCases {
            try guest.client("parallel", family.server, 4000, 3, 2000).check()
            try guest.client("udp-flows", family.server, 4000, 3).check()
            try guest.run(["ping", "-c", "1", "-W", "5", family.server]).check()
        }
    }
}

extension Host {
    /// Connections to this port are made and never taken.
    func ignore(_ port: Int) throws {
        let deaf = try start(["python3", "-c", """
            import socket, time
            listener = socket.create_server(("::", \(port)), family=socket.AF_INET6, backlog=100, dualstack_ipv6=True)
            print("ready", flush=True)
            time.sleep(1000)
            """])
        try require("a listener") { deaf.standardOutput.contains("ready") || deaf.poll() != nil }
    }

    /// Who connects to this port is sent as much as goes, and never read from.
    func talk(_ port: Int) throws {
        let talker = try start(["python3", "-c", """
            import select, socket
            listener, held = socket.create_server(("", \(port)), backlog=100), []
            print("ready", flush=True)
            while True:
                for ready in sum(select.select([listener], held, [])[:2], []):
                    if ready is listener:
                        held.append(listener.accept()[0])
                        held[-1].setblocking(False)
                        continue
                    try: ready.send(bytes(65536))
                    except BlockingIOError: pass
                    except OSError: held.remove(ready)
            """])
        try require("a talker") { talker.standardOutput.contains("ready") || talker.poll() != nil }
    }
}

extension Guest {
    fileprivate func abuse(_ what: String, _ count: Int, _ family: Family) throws -> Output {
        try run(["python3", Helpers.path("abuse.py"), what, "\(count)", family.server, Family.v4.gateway], seconds: 60)
    }

    private var footprint: Footprint { Footprint(program: pasta) }
    fileprivate func counter(_ label: String) -> Int { footprint.counter(label) }
    fileprivate var memory: Int { footprint.memory }
    fileprivate var descriptors: Int { footprint.descriptors }
    fileprivate func expectCalm() { footprint.expectCalm() }
}
