import Foundation
import Glibc
import Testing

/// What passt shows of itself, and what many machines leave behind.
@Suite struct PasstLifeTests {
    /// A few thousand machines, one after the other; `RECONNECTS=100000` in the environment makes it more.
    @Test func reconnectsLeaveNothing() throws {
        let count = ProcessInfo.processInfo.environment["RECONNECTS"].flatMap { Int($0) } ?? 2000
        try withNetwork { network in
            try network.remote.serveTests()
            let socket = network.path("s")
            let passt = try network.passt(["-f", "--socket", socket, "--stats", "1"])
            func reconnect(_ count: Int) throws {
                try network.host.run(["python3", Helpers.path("reconnect.py"), socket, "\(count)"], seconds: 60 + Double(count) / 100).check()
            }
            let footprint = Footprint(program: passt)
            // Buffers are touched once.
            try reconnect(500)
            let (before, memory) = (footprint.descriptors, footprint.ownMemory)
            try reconnect(count)
            #expect(eventually { footprint.descriptors <= before }, "\(before), then \(footprint.descriptors)")
            let after = footprint.ownMemory
            // What may still grow is the table of connections that have ended, to 4096 entries.
            #expect(after <= memory + 1024, "\(memory) KiB, then \(after)")
            #expect(eventually { footprint.counter("guests") >= 500 + count })
            print("\(count) reconnects: descriptors \(before), then \(footprint.descriptors); own memory \(memory) KiB, then \(after)")
            // And it works.
            let machine = try Machine(network, "vm", socket: socket)
            try machine.configure()
            try machine.client("duplex", Family.v4.server, 4000, 1 << 20).check()
            passt.send(SIGTERM)
            #expect(passt.wait().ending == .exited(0))
        }
    }

    /// Frames, bytes, batches, segments and refusals.
    @Test func countersTellOfTheLink() throws {
        try withNetwork { network in
            try network.remote.serveTests()
            let socket = network.path("s")
            let passt = try network.passt(["-f", "--socket", socket, "--mtu", "1500", "--stats", "1"])
            let footprint = Footprint(program: passt)
            try network.host.sh(#"printf '\377\377\377\377xxxxxxxxxxxxxxxx' | timeout 5 socat -t5 - UNIX-CONNECT:"# + socket).check()
            let machine = try Machine(network, "vm", socket: socket)
            try machine.configure()
            for _ in 0..<3 { _ = try network.host.run(["socat", "-u", "UNIX-CONNECT:\(socket)", "-"], seconds: 5) }
            for what in ["send", "receive"] { try machine.client(what, Family.v4.server, 4000, 8 << 20).check() }
            for (label, least) in [
                ("frames from guest", 1000), ("bytes from guest", 8 << 20), ("frames to guest", 100), ("bytes to guest", 8 << 20), ("batches from guest", 10),
                ("batches to guest", 10), ("segments cut for guest", 1000), ("guests", 2), ("guests turned away", 3), ("guests cut for a bad length", 1),
            ] { #expect(eventually(within: 20) { footprint.counter(label) >= least }, "\(label): \(footprint.counter(label)) of \(least)") }
            #expect(footprint.counter("guests turned away") == 3 && footprint.counter("guests cut for a bad length") == 1)
            // As a signal prints them.
            passt.send(SIGUSR1)
            #expect(eventually { passt.standardError.contains("batches to guest: ") }, "\(passt.standardError)")
            passt.send(SIGTERM)
            #expect(passt.wait().ending == .exited(0))
        }
    }

    /// It belongs to whoever starts passt, with the rights that the umask leaves, as callers expect who also start the machine.
    @Test func theSocketBelongsToTheCaller() throws {
        try withNetwork { network in
            for (mask, mode) in [("077", "srwx------"), ("022", "srwxr-xr-x")] {
                let (socket, pid) = (network.path("s" + mask), network.path("pid" + mask))
                try network.host.sh("umask \(mask); exec \(try Passt.path(network)) --quiet --socket \(socket) --pid \(pid)").check()
                #expect(try network.run(["stat", "-c", "%A %u", socket]).check().text == "\(mode) 0")
                let number = try #require(pid_t(contents(pid).trimmingCharacters(in: .newlines)))
                _ = kill(number, SIGTERM)
                try require("the end of passt") { !ProcessTable.exists(number) }
            }
        }
    }
}
