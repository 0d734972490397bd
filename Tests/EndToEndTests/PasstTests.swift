import Foundation
import Glibc
import Testing

/// passt, with the kernel of a namespace as the virtual machine.
@Suite struct PasstTests {
    /// DHCP, router advertisements, ping, TCP and UDP both ways, all over one connection.
    /// As from a host that is off, and not as from one that does not answer.
    @Test(arguments: [false, true]) func whoComesWhileNoMachineIsThereIsToldSo(_ sharesMemory: Bool) throws {
        try withNetwork { network in
            try network.remote.serveTests()
            let socket = network.path("s")
            _ = try network.passt(["-f", "-s", socket, "-t", "8080:4000"] + (sharesMemory ? ["--vhost-user"] : []))
            let script = "import socket, sys; s = socket.create_connection((sys.argv[1], 8080), 3); s.settimeout(3); print(s.recv(1))"
            for family in Family.allCases {
                let output = try network.remote.run(["python3", "-c", script, family.hostAddress], seconds: 10)
                #expect(output.err.contains("ConnectionResetError") || output.err.contains("ConnectionRefusedError"), "\(output)")
            }
            // And is served when one is.
            let machine = try Machine(network, "vm", socket: socket, kind: sharesMemory ? "memory" : "stream")
            try machine.configure()
            try machine.host.serveTests()
            #expect(try network.remote.client("ask", Family.v4.hostAddress, 8080, "whoami").check().text == Family.v4.server)
        }
    }

    /// The question for its address came before it had one.
    @Test(arguments: ["stream", "memory"]) func aMachineThatHasNeverSaidAnythingIsReached(_ kind: String) throws {
        try withNetwork { network in
            let socket = network.path("s")
            _ = try network.passt(["-f", "-s", socket, "-4", "-t", "8080:4000"] + (kind == "memory" ? ["--vhost-user"] : []))
            // Without IPv6, a kernel that is not asked for anything says nothing.
            let machine = try Machine(network, "vm", socket: socket, kind: kind) { try $0.sh("echo 1 >/proc/sys/net/ipv6/conf/default/disable_ipv6").check() }
            try machine.host.run(["ip", "addr", "add", Family.v4.hostAddress + "/24", "dev", "eth0"]).check()
            try machine.host.run(["ip", "route", "add", "default", "via", Family.v4.gateway]).check()
            try machine.host.serveTests()
            let answer = try network.remote.run(["python3", Helpers.path("client.py"), "ask", Family.v4.hostAddress, "8080", "whoami"], seconds: 5)
            #expect(answer.text == Family.v4.server, "\(answer)")
        }
    }

    @Test(arguments: [1500, 65520])
    func aMachineHasTheHostsNetwork(_ mtu: Int) throws {
        try withNetwork { network in
            try network.remote.serveTests()
            let socket = network.path("s")
            let passt = try network.passt(["-f", "--socket", socket, "--mtu", "\(mtu)", "-t", "8080:4000", "-u", "8080:4000", "--debug"])
            let machine = try Machine(network, "vm", socket: socket)
            try machine.configure()
            let address = try machine.host.run(["ip", "-o", "addr", "show", "dev", "eth0"]).check().out
            #expect(address.contains("198.51.100.1/24") && address.contains("2001:db8:1:"), "\(address)")
            try machine.serveTests()
            for family in Family.allCases {
                let ping = try machine.host.run(["ping", family.flag, "-n", "-c", "3", "-i", "0.2", "-W", "3", "-s", "1400", family.server])
                #expect(ping.out.contains("3 received"), "\(ping)")
                #expect(try machine.client("ask", family.server, 4000, "whoami").check().text == family.hostAddress)
                for what in ["send", "receive", "duplex"] { try machine.client(what, family.server, 4000, 8 << 20).check() }
                try machine.client("parallel", family.server, 4000, 50, 50_000).check()
                // What is larger than a frame goes in fragments, both ways.
                let sizes = [0, 1, 17, 1400, 1452, 1473, 9000, 60000]
                for size in sizes { try machine.client("udp-sizes", family.server, 4000, size).check() }
                try machine.client("udp-flows", family.server, 4000, 100).check()
                #expect(try machine.client("udp-error", family.server, 4999).check().text == "ECONNREFUSED")
                // And from outside, with the client's address kept.
                #expect(try network.remote.client("ask", family.hostAddress, 8080, "whoami").check().text == family.server)
                #expect(try network.remote.client("udp-ask", family.hostAddress, 8080, "whoami").check().text == family.server)
                for what in ["send", "receive", "duplex"] { try network.remote.client(what, family.hostAddress, 8080, 4 << 20).check() }
                for size in sizes { try network.remote.client("udp-sizes", family.hostAddress, 8080, size).check() }
            }
            passt.send(SIGTERM)
            #expect(passt.wait().ending == .exited(0))
        }
    }

    /// Memory that the machine's socket borrows is not written to before the machine has read it.
    @Test(arguments: [1500, 65520])
    func manyDownloadsAtOnceAreWhole(_ mtu: Int) throws {
        try withNetwork { network in
            try network.remote.serveTests()
            let socket = network.path("s")
            let passt = try network.passt(["-f", "--socket", socket, "--mtu", "\(mtu)"])
            let machine = try Machine(network, "vm", socket: socket)
            try machine.configure()
            try machine.client("downloads", Family.v4.server, 4000, 20, 2 << 20, seconds: 60).check()
            try machine.client("downloads", Family.v6.server, 4000, 20, 2 << 20, seconds: 60).check()
            passt.send(SIGTERM)
            _ = passt.wait()
        }
    }

    /// libvirt 9.0 gives --mac-addr the machine's own address: the machine keeps it, we take another one.
    @Test func aMachineWithTheAddressThatIsNamedAsOurs() throws {
        try withNetwork { network in
            try network.remote.serveTests()
            let socket = network.path("s")
            let passt = try network.passt(["-f", "--one-off", "--socket", socket, "--mac-addr", "52:54:00:12:34:56", "--mtu", "1500"])
            let machine = try Machine(network, "vm", socket: socket, mac: "52:54:00:12:34:56")
            try machine.configure()
            for family in Family.allCases {
                #expect(try machine.client("ask", family.server, 4000, "whoami").check().text == family.hostAddress)
            }
            let neighbours = try machine.host.run(["ip", "neighbour"]).check().out
            #expect(neighbours.contains("9a:55:9a:55:9a:55") && !neighbours.contains("52:54"), "\(neighbours)")
            #expect(passt.standardError.contains("--mac-addr names the guest's own address"), "\(passt.standardError)")
            passt.send(SIGTERM)
            _ = passt.wait()
        }
    }

    /// The gateway is the host's loopback; names and search list come by DHCP unasked.
    @Test func namesAndLoopbackAreThereByDefault() throws {
        try withNetwork { network in
            let socket = network.path("s")
            let passt = try network.passt(["-f", "-s", socket])
            let machine = try Machine(network, "vm", socket: socket)
            let lease = network.path("lease")
            try machine.host.run(
                ["udhcpc", "-f", "-q", "-n", "-i", "eth0", "-O", "search", "-s", Helpers.path("udhcpc-script")], environment: ["LEASE": lease]).check()
            let text = contents(lease)
            #expect(text.contains("dns=203.0.113.2\n") && text.contains("mtu=65520\n"), "\(text)")
            #expect(text.contains("search=example.test corp.example.test"), "\(text)")
            try network.host.serve(["socat", "TCP4-LISTEN:4100,bind=127.0.0.1,fork", "EXEC:echo loopback"], port: 4100)
            #expect(try machine.host.sh("socat -t2 - TCP4:\(Family.v4.gateway):4100 </dev/null").check().text == "loopback")
            passt.send(SIGTERM)
            _ = passt.wait()
        }
    }

    /// Nothing leads to a machine unless asked for, and with --one-off the end of the machine is the end of all.
    @Test func oneOffEndsWithTheMachine() throws {
        try withNetwork { network in
            let socket = network.path("s")
            let passt = try network.passt(["-f", "--one-off", "--socket", socket])
            #expect(try network.host.run(["ss", "-Hlntu"]).check().text == "")
            let machine = try Machine(network, "vm", socket: socket)
            try machine.configure()
            machine.cut()
            #expect(passt.wait(seconds: 5).ending == .exited(0))
        }
    }

    /// The old machine's connections are reset, the new one's address is found out though it says nothing itself.
    @Test func lesson42_aMachineThatComesBackIsServed() throws {
        try withNetwork { network in
            try network.remote.serveTests()
            let socket = network.path("s")
            let passt = try network.passt(["-f", "--socket", socket, "-t", "8080:4000"])
            var machine = try Machine(network, "vm0", socket: socket)
            for turn in 1...3 {
                try machine.configure()
                try machine.serveTests()
                // Its own choice of an address of IPv6 is known from here on.
                try machine.host.run(["ping", "-c", "1", "-W", "5", Family.v6.server]).check()
                // One that the machine opens, of either family in turn.
                let server = turn == 2 ? Family.v6.server : Family.v4.server
                let opened = try machine.host.start([
                    "python3", "-c",
                    "import socket; s = socket.create_connection(('\(server)', 4000)); s.sendall(b'abort\\n' + b'x' * \(turn)); s.recv(2); print('open', flush=True); s.recv(1)",
                ])
                try require("a connection of the machine's") { opened.standardOutput.contains("open") }
                let held = try Family.allCases.map { (family: Family) throws -> Child in
                    #expect(try network.remote.client("ask", family.hostAddress, 8080, "whoami").check().text == family.server)
                    return try network.remote.start([
                        "python3", "-c",
                        "import socket; s = socket.create_connection(('\(family.hostAddress)', 8080)); s.sendall(b'echo\\nx'); s.recv(1); print('held', flush=True); s.recv(1)",
                    ])
                }
                for client in held { try require("a connection") { client.standardOutput.contains("held") } }
                machine.cut()
                for client in held { #expect(client.wait(seconds: 5).err.contains("ConnectionResetError")) }
                try require("a reset at the remote host") {
                    let report = (try? network.host.client("ask", server, 4000, "report"))?.text ?? ""
                    return report.hasPrefix("\(turn) ") && report.hasSuffix(" ECONNRESET")
                }
                machine = try Machine(network, "vm\(turn)", socket: socket)
            }
            // Static addresses: the machine itself sends nothing.
            try machine.host.sh("ip addr add 198.51.100.1/24 dev eth0; ip route add default via 198.51.100.254").check()
            try machine.serveTests()
            #expect(try network.remote.client("ask", Family.v4.hostAddress, 8080, "whoami").check().text == Family.v4.server)
            passt.send(SIGTERM)
            _ = passt.wait()
        }
    }

    /// A machine that has been up for long when it comes, and says nothing at all, as after a restart of passt: it is asked for its link address, which is not that
    /// of the machine before.
    @Test(arguments: Family.allCases) func lesson42_aMachineThatSaysNothingIsAsked(_ family: Family) throws {
        let configure = family == .v4
            ? "ip addr add 198.51.100.1/24 dev eth0 && ip route add default via 198.51.100.254"
            : "ip addr add 2001:db8:1::1/64 dev eth0 nodad && ip route add default via 2001:db8:1::fe dev eth0 metric 10"
        try withNetwork { network in
            let socket = network.path("s")
            let passt = try network.passt(["-f", "--socket", socket, "-t", "8080:4000"])
            let first = try Machine(network, "vm0", socket: socket)
            try first.host.sh(configure).check()
            try first.serveTests()
            #expect(try network.remote.client("ask", family.hostAddress, 8080, "whoami").check().text == family.server)
            first.cut()
            try require("the end of the first machine") { passt.standardError.contains("disconnected") }
            let second = try Machine(network, "vm1", socket: socket, control: "shy") { host in
                try host.sh("ip tuntap add dev eth0 mode tap && ip link set eth0 up && \(configure)").check()
            }
            try second.serveTests()
            #expect(try network.remote.client("ask", family.hostAddress, 8080, "whoami").check().text == family.server)
            passt.send(SIGTERM)
            _ = passt.wait()
        }
    }

    @Test func aSecondMachineIsTurnedAway() throws {
        try withNetwork { network in
            try network.remote.serveTests()
            let socket = network.path("s")
            let passt = try network.passt(["-f", "--socket", socket])
            let machine = try Machine(network, "vm", socket: socket)
            try machine.configure()
            let transfer = try machine.host.start(["python3", Helpers.path("client.py"), "duplex", Family.v4.server, "4000", "\(16 << 20)"])
            for _ in 0..<5 {
                let second = try network.host.run(["socat", "-u", "UNIX-CONNECT:\(socket)", "-"], seconds: 5)
                #expect(second.succeeded && second.out.isEmpty)
            }
            try transfer.wait(seconds: 60).check()
            #expect(passt.standardError.contains("Turned away"))
            passt.send(SIGTERM)
            _ = passt.wait()
        }
    }

    @Test func lesson40_aBadLengthDropsTheMachineWithOneLine() throws {
        try withNetwork { network in
            let socket = network.path("s")
            let passt = try network.passt(["-f", "--socket", socket])
            for length in [#"\0\0\0\1"#, #"\377\377\377\377"#] {
                try network.host.sh("printf '\(length)xxxxxxxxxxxxxxxxxxxx' | timeout 5 socat -t5 - UNIX-CONNECT:\(socket)").check()
            }
            try require("two lines") { passt.standardError.components(separatedBy: "impossible length").count == 3 }
            let machine = try Machine(network, "vm", socket: socket)
            try machine.configure()
            passt.send(SIGTERM)
            _ = passt.wait()
        }
    }

    /// The usual paths: what a dead process left is replaced, what a living one holds is not, and looking does not disturb it.
    @Test func theUsualSocketIsTheFirstFreeOne() throws {
        try withNetwork { network in
            let first = try network.passt(["-f", "--one-off"])
            let path = try #require(first.standardError.split(separator: " ").last.map { $0.trimmingCharacters(in: .newlines) })
            #expect(path.hasPrefix("/tmp/passt_") && path.hasSuffix(".socket"), "\(first.standardError)")
            let second = try network.passt(["-f", "--one-off"])
            #expect(!second.standardError.contains(path + "\n"))
            #expect(first.poll() == nil)
            first.send(SIGKILL)
            _ = first.wait()
            #expect(FileManager.default.fileExists(atPath: path))
            let third = try network.passt(["-f", "--one-off"])
            #expect(third.standardError.contains(path + "\n"))
            let fourth = try network.host.run([try Passt.path(network), "-f", "--socket", path], as: .ordinary)
            #expect(fourth.ending == .exited(1) && fourth.err.contains("Address already in use"), "\(fourth)")
            for passt in [second, third] {
                let path = passt.standardError.split(separator: " ").last.map { $0.trimmingCharacters(in: .newlines) } ?? ""
                passt.send(SIGTERM)
                #expect(passt.wait().ending == .exited(0))
                try FileManager.default.removeItem(atPath: path)
            }
            // Somebody's file is nobody's socket.
            let file = try network.file("file", "precious")
            #expect(try network.host.run([try Passt.path(network), "-f", "--socket", file]).ending == .exited(1))
            #expect(contents(file) == "precious")
        }
    }

    /// Without -f the parent ends when there is a socket to connect to, the PID file is written, and nothing holds the caller's output.
    @Test func theParentReturnsWhenPasstListens() throws {
        try withNetwork { network in
            let socket = network.path("s")
            let pid = try network.file("pid", "")
            let log = try network.file("log", "")
            // As libvirt does it: the files are there beforehand.
            let output = try network.host.sh(
                "\(try Passt.path(network)) --one-off --socket \(socket) --pid \(pid) --mtu 1500 --interface wan0 --log-file \(log) "
                    + "--hostname guest --fqdn guest.example.test --address 198.51.100.1 --netmask 24 --address 2001:db8:1::1 "
                    + "--tcp-ports 198.51.100.1/8080:4000 --udp-ports %wan0/8080:4000 2>&1 | cat", as: .ordinary, seconds: 10).check()
            #expect(output.text == "", "\(output)")
            let number = try #require(pid_t(contents(pid).trimmingCharacters(in: .newlines)))
            #expect(ProcessTable.exists(number))
            let machine = try Machine(network, "vm", socket: socket)
            try machine.configure()
            try machine.serveTests()
            #expect(try network.remote.client("ask", Family.v4.hostAddress, 8080, "whoami").check().text == Family.v4.server)
            #expect(contents(log).contains("Virtual machine connected"))
            _ = kill(number, SIGTERM)
            try require("the end of passt") { !ProcessTable.exists(number) }
        }
    }

    /// krunai reads them from its pipe, before any machine is there, and nothing behind the router.
    @Test func theLeaseIsToldAtTheStart() throws {
        try withNetwork { network in
            let passt = try network.passt(["-f", "--socket", network.path("s")])
            try require("a router") { passt.standardError.contains("    router: ") }
            let lines = passt.standardError.split(separator: "\n").prefix(4)
            #expect(lines == ["DHCP:", "    assign: 198.51.100.1", "    mask: 255.255.255.0", "    router: 198.51.100.254"])
        }
    }

    @Test func optionsOfTheOtherProgramAreRefused() throws {
        try withNetwork { network in
            for (options, words) in [
                (["--netns", "/proc/self/ns/net"], "--netns is an option of pasta, not of passt"), (["--config-net"], "--config-net is an option of pasta"),
                (["-T", "1"], "--tcp-ns is an option of pasta"), (["true"], "Extra argument"),
                (["--mtu", "65536"], "MTU 65536 too large (max 65521)"), (["--fd", "77"], "Couldn't use the socket of option --fd 77: Bad file descriptor"),
                (["--fd", "0"], "--fd 0"), (["--socket", "/nowhere/s"], "--socket /nowhere/s: No such file or directory"),
                (["--fd", "5", "--socket", "s"], "exclude each other"),
            ] {
                let output = try network.host.run([try Passt.path(network)] + options)
                #expect(output.ending == .exited(1) && output.errorLines.count == 1 && output.err.contains(words), "\(output)")
            }
        }
    }
}

extension Machine {
    /// The tests' own server, in the machine.
    func serveTests(port: Int = 4000) throws {
        try host.serveTests(port: port)
    }
}
