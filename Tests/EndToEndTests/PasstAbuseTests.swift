import Foundation
import Glibc
import Testing

/// Hostile virtual machines on passt's socket: after each, a well-behaved one has the host's network, memory and processor time are bounded, and
/// counters tell what happened.
@Suite(.serialized) struct PasstAbuseTests {
    /// passt with its servers, to be abused by machines at its socket.
    private func withPasst(_ options: [String] = [], _ body: (Network, Child, Footprint, String) throws -> Void) throws {
        try withNetwork { network in
            try network.remote.serveTests()
            let socket = network.path("s")
            let passt = try network.passt(["-f", "--stats", "1", "--socket", socket] + options)
            try body(network, passt, Footprint(program: passt), socket)
            try expectGood(network, socket)
            Footprint(program: passt).expectCalm()
            passt.send(SIGTERM)
            #expect(passt.wait(seconds: 10).ending == .exited(0), "\(passt.standardError)")
        }
    }

    private func abuse(_ network: Network, _ words: [String]) throws -> Child {
        try network.host.start(["python3", Helpers.path("abuse-machine.py")] + words)
    }

    /// A machine that comes afterwards.
    private func expectGood(_ network: Network, _ socket: String) throws {
        let machine = try Machine(network, "good", socket: socket)
        try machine.configure()
        for family in Family.allCases {
            try machine.client("parallel", family.server, 4000, 3, 20_000).check()
            try machine.client("udp-flows", family.server, 4000, 3).check()
            try machine.host.run(["ping", "-c", "1", "-W", "5", family.server]).check()
        }
    }

    /// Nothing is left of a connection that ends in the middle of something.
    @Test(arguments: [("lengths", 100), ("torn", 200), ("reconnect", 1000)])
    func lesson40_brokenStreamsEndAlone(_ what: String, _ count: Int) throws {
        try withPasst { network, passt, footprint, socket in
            try abuse(network, [what, "\(count)", socket]).wait(seconds: 60).check()
            footprint.expectCalm()
            #expect(eventually { footprint.descriptors <= 24 }, "\(footprint.descriptors) descriptors")
            #expect(eventually { footprint.counter("guests") + footprint.counter("guests turned away") >= count })
            if what == "lengths" {
                #expect(eventually { passt.standardError.components(separatedBy: "impossible length").count > count })
                #expect(eventually { footprint.counter("ARP replies") >= count })
            }
        }
    }

    @Test func aFloodOfFrames() throws {
        try withPasst { network, _, footprint, socket in
            try network.remote.ignore(4500)
            try abuse(network, ["flood", "30000", socket]).wait(seconds: 60).check()
            footprint.expectCalm()
            for (label, least) in [("frames from guest", 30_000), ("UDP flows opened", 2000), ("TCP connections opened", 1000)] {
                #expect(eventually { footprint.counter(label) >= least }, "\(label): \(footprint.counter(label)) of \(least)")
            }
        }
    }

    /// What a machine does not read is kept in small measure or refused, costs no time, and no frame is torn once it does.
    @Test func lesson41_aMachineThatNeverReads() throws {
        try withPasst { network, _, footprint, socket in
            try network.remote.talk(4600)
            let deaf = try abuse(network, ["deaf", "5000", socket, Family.v4.server])
            try require("a full socket", within: 30) { deaf.standardOutput.contains("full") || deaf.poll() != nil }
            footprint.expectCalm()
            #expect(eventually { footprint.counter("pauses of guest") >= 1 })
            try Data().write(to: URL(fileURLWithPath: socket + ".read"))
            let output = try deaf.wait(seconds: 60).check()
            let read = Int(output.text.split(separator: " ").last ?? "") ?? 0
            #expect(read >= 100_000, "\(output)")
        }
    }

    /// It is gone while much is on its way to it.
    @Test func aMachineThatNeverReadsAndGoes() throws {
        try withPasst { network, _, footprint, socket in
            try network.remote.talk(4600)
            for _ in 0..<3 {
                let deaf = try abuse(network, ["deaf", "3000", socket, Family.v4.server])
                try require("a full socket", within: 30) { deaf.standardOutput.contains("full") || deaf.poll() != nil }
                deaf.kill()
            }
            footprint.expectCalm()
        }
    }

    /// The frames of `AbuseTests`, by this way.
    @Test(arguments: ["syn", "udp", "ping", "spoof", "fragments", "extensions", "lengths", "noise"])
    func hostileFrames(_ what: String) throws {
        try withPasst { network, _, footprint, socket in
            try network.remote.ignore(4500)
            let machine = try Machine(network, "bad", socket: socket)
            try machine.configure()
            let count = ["syn": 6000, "udp": 10_000, "ping": 5000, "spoof": 500][what] ?? 2000
            try machine.host.run(
                ["python3", Helpers.path("abuse.py"), what, "\(count)", Family.v4.server, Family.v4.gateway], seconds: 60).check()
            // The same machine goes on.
            for family in Family.allCases { try machine.client("parallel", family.server, 4000, 3, 20_000).check() }
            footprint.expectCalm()
            machine.cut()
        }
    }
}
