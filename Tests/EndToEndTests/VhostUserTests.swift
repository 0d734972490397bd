import Foundation
import Glibc
import Testing

/// Machines that share their memory with passt. A real one is among `VirtualMachineTests`; here the kernel of one more namespace is the machine's (`vhost.py`).
@Suite struct VhostUserTests {
    /// Both ways, both families, all sizes, by a forwarded port, into a capture file; the next machine is served, the second of two is not.
    @Test func machinesThatShareMemory() throws {
        try withNetwork { network in
            try network.remote.serveTests()
            let (socket, capture) = (network.path("s"), network.path("capture"))
            let passt = try network.passt(["-f", "--vhost-user", "--socket", socket, "-t", "8080:4000", "-u", "8080:4000", "--pcap", capture, "--stats", "1"])
            let footprint = Footprint(program: passt)
            var descriptors: [Int] = []
            for round in 0..<2 {
                let machine = try Machine(network, "vm\(round)", socket: socket, kind: "memory")
                try machine.configure()
                for family in Family.allCases {
                    try machine.host.run(["ping", "-c", "1", "-W", "5", family.server]).check()
                    for what in ["send", "receive", "duplex"] { try machine.client(what, family.server, 4000, 8 << 20).check() }
                    try machine.client("udp-sizes", family.server, 4000, 0, 1, 17, 1400, 9000, 60000).check()
                }
                try machine.host.serveTests()
                for family in Family.allCases {
                    #expect(try network.remote.client("ask", family.hostAddress, 8080, "whoami").check().text == family.server)
                    #expect(try network.remote.client("udp-ask", family.hostAddress, 8080, "whoami").check().text == family.server)
                    try network.remote.client("duplex", family.hostAddress, 8080, 4 << 20).check()
                }
                // The first one is not disturbed by others.
                let other = try network.host.run(["socat", "-u", "UNIX-CONNECT:\(socket)", "-"], seconds: 5)
                #expect(other.out.isEmpty)
                try machine.client("duplex", Family.v4.server, 4000, 1 << 20).check()
                descriptors.append(footprint.descriptors)
                // Its power is cut in the middle of a transfer.
                let transfer = try network.remote.start(
                    ["python3", Helpers.path("client.py"), "duplex", Family.v4.hostAddress, "8080", "\(256 << 20)"])
                try network.remote.awaitConnections(1)
                usleep(200_000)
                machine.cut()
                // Under load, the client has to make up first what it was about to send.
                #expect(transfer.wait(seconds: 40).err.contains("ECONNRESET"))
                try require("the machine's end") { passt.standardError.components(separatedBy: "disconnected").count == round + 2 }
            }
            #expect(descriptors[1] <= descriptors[0] + 2, "\(descriptors)")
            #expect(eventually { footprint.counter("guests") >= 2 && footprint.counter("guests turned away") >= 2 })
            #expect(footprint.counter("guests cut for a bad message") == 0 && footprint.counter("rings given up") == 0)
            passt.send(SIGTERM)
            #expect(passt.wait().ending == .exited(0))
            #expect((try? FileManager.default.attributesOfItem(atPath: capture)[.size] as? Int) ?? 0 > 16 << 20)
        }
    }

    /// As libvirt starts it: in the background, with a file for its number, and for one machine.
    @Test func oneMachineAsOfLibvirt() throws {
        try withNetwork { network in
            try network.remote.serveTests()
            let (socket, pid, log) = (network.path("s"), network.path("pid"), try network.file("log", ""))
            let start = try network.host.run([
                try Passt.path(network), "--vhost-user", "--one-off", "--socket", socket, "--pid", pid, "--mtu", "1500", "--log-file", log,
                "--hostname", "vm", "--fqdn", "vm.example.org",
            ])
            #expect(start.succeeded && start.out.isEmpty, "\(start)")
            let number = try #require(pid_t(contents(pid).trimmingCharacters(in: .newlines)))
            let machine = try Machine(network, "vm", socket: socket, kind: "memory")
            try machine.configure()
            try machine.client("duplex", Family.v6.server, 4000, 1 << 20).check()
            machine.cut()
            try require("the end of passt") { !ProcessTable.exists(number) }
            #expect(contents(log).contains("Virtual machine is gone, exiting"))
        }
    }

    /// A machine that has nothing to do costs nothing, also one that stands still with a transfer under way.
    @Test func aStoppedMachineCostsNothing() throws {
        try withNetwork { network in
            try network.remote.serveTests()
            let socket = network.path("s")
            let passt = try network.passt(["-f", "--vhost-user", "--socket", socket, "-t", "8080:4000"])
            let machine = try Machine(network, "vm", socket: socket, kind: "memory")
            try machine.configure()
            try machine.host.serveTests()
            let transfer = try network.remote.start(
                ["python3", Helpers.path("client.py"), "duplex", Family.v4.hostAddress, "8080", "\(64 << 20)"])
            try network.remote.awaitConnections(1)
            usleep(200_000)
            machine.bridge.send(SIGSTOP)
            usleep(500_000)
            let before = Footprint(program: passt).ticks
            usleep(2_000_000)
            let used = Footprint(program: passt).ticks - before
            #expect(used < 10, "\(used) hundredths of a second in 2 s")
            machine.bridge.send(SIGCONT)
            #expect(transfer.wait(seconds: 60).ending == .exited(0))
        }
    }

    /// Front-ends that leave in the middle of what they have to say leave nothing behind: no descriptor, no memory of theirs, and the next one is served.
    @Test func frontEndsLeaveNothing() throws {
        try withNetwork { network in
            try network.remote.serveTests()
            let socket = network.path("s")
            let passt = try network.passt(["-f", "--vhost-user", "--socket", socket])
            func leave(_ count: Int) throws {
                let output = try network.host.run(["python3", Helpers.path("vhost-reconnect.py"), socket, "\(count)"], seconds: 120)
                #expect(output.out.contains("done"), "\(output)")
            }
            let footprint = Footprint(program: passt)
            try leave(50)
            let (before, memory) = (footprint.descriptors, footprint.ownMemory)
            try leave(3000)
            #expect(eventually { footprint.descriptors == before }, "\(before), then \(footprint.descriptors)")
            #expect(eventually { !contents("/proc/\(passt.pid)/maps").contains("memfd:guest") })
            #expect(footprint.ownMemory <= memory + 256, "\(memory) KiB, then \(footprint.ownMemory)")
            let machine = try Machine(network, "vm", socket: socket, kind: "memory")
            try machine.configure()
            try machine.client("duplex", Family.v4.server, 4000, 1 << 20).check()
            #expect(passt.poll() == nil)
        }
    }

    /// Who speaks something else is told apart: QEMU's `-netdev stream` at the socket of vhost-user, and an inherited socket of messages.
    @Test func otherLanguagesAreSaid() throws {
        try withNetwork { network in
            let socket = network.path("s")
            let passt = try network.passt(["-f", "--vhost-user", "--socket", socket])
            try network.host.sh(#"printf '\000\000\000\052xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx' | timeout 5 socat -t5 - UNIX-CONNECT:"# + socket).check()
            try require("a line") { passt.standardError.contains("a message of vhost-user that cannot be served: its connection is closed") }
            #expect(passt.poll() == nil)
            let refused = try network.host.run([
                "python3", Helpers.path("pair.py"), "seqpacket", "5", try Passt.path(network), "-f", "--vhost-user", "--fd", "5", "--", "true",
            ])
            #expect(refused.out.contains("A 1") && refused.err.contains("Couldn't use the machine's socket with --vhost-user: it is not a stream"), "\(refused)")
            let datagrams = try network.host.run([try Passt.path(network), "-f", "--vhost-user", "--socket", "unixgram://" + network.path("d")])
            #expect(!datagrams.succeeded && datagrams.err.contains("--vhost-user needs a stream socket"), "\(datagrams)")
        }
    }
}
