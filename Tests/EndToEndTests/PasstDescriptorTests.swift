import Foundation
import Glibc
import Testing

/// Sockets that passt inherits: streams as from libkrun and QEMU's `-netdev passt`, and those of messages.
@Suite struct PasstDescriptorTests {
    /// Runs passt with one end of a pair as `number`, and a machine at the other end, which stays for so many seconds once the process that was started has ended.
    private func connected(
        _ network: Network, kind: String = "stream", number: Int = 5, options: [String], lasting seconds: Int = 5, _ body: (Host, Child) throws -> Void
    ) throws {
        let host = try network.addHost("vm")
        try host.sh("for conf in all default; do echo 0 >/proc/sys/net/ipv6/conf/$conf/accept_dad; done; ip link set lo up").check()
        let machine = ["nsenter", "--net=" + host.path, "--", "python3"] + Machine.bridge(kind, "fd:{fd}")
        let pair = try network.host.start(
            ["python3", Helpers.path("pair.py"), kind == "memory" ? "stream" : kind, "\(number)", try Passt.path(network)] + options + ["--"] + machine,
            as: .root, environment: ["LASTING": "\(seconds)"])
        try require("the machine") { (try? host.run(["ip", "link", "set", "eth0", "up"]))?.succeeded == true || pair.poll() != nil }
        if pair.poll() != nil { throw Failure("pair.py: \(pair.standardOutput) \(pair.standardError)") }
        try body(host, pair)
    }

    private func configure(_ host: Host) throws {
        try host.run(["udhcpc", "-f", "-q", "-n", "-t", "5", "-T", "1", "-i", "eth0", "-s", Helpers.path("udhcpc-script")]).check()
        try require("an address by SLAAC") {
            (try? host.run(["ip", "-6", "addr", "show", "dev", "eth0", "scope", "global"]))?.out.contains("inet6") == true
        }
    }

    /// The end of the machine: its helper, the only python3 in its namespace.
    private func cut(_ host: Host) throws {
        let own = host.namespaceFile
        for pid in ProcessTable.all() where ProcessTable.networkNamespace(pid) == own { _ = kill(pid, SIGKILL) }
    }

    /// libkrun, muvm: `passt -q -f --fd N -t ...`, wherever the option stands, and with the numbers of the standard streams.
    @Test(arguments: [
        (5, ["-q", "-f", "--fd", "5", "-t", "8080:4000"]), (3, ["--fd", "3", "-f", "--tcp-ports=8080:4000"]), (9, ["-t", "8080:4000", "-f", "-F9"]),
        (0, ["-f", "--fd", "0", "-t", "8080:4000"]), (1, ["-f", "-t", "8080:4000", "--fd=1"]),
    ])
    func lesson46_anInheritedSocketSurvivesWhereverItsOptionStands(_ number: Int, _ options: [String]) throws {
        try withNetwork { network in
            try network.remote.serveTests()
            try connected(network, number: number, options: options) { host, pair in
                try configure(host)
                try host.run(["python3", Helpers.path("client.py"), "duplex", Family.v4.server, "4000", "\(4 << 20)"]).check()
                try host.serveTests()
                #expect(try network.remote.client("ask", Family.v4.hostAddress, 8080, "whoami").check().text == Family.v4.server)
                try cut(host)
                try require("the end of passt") { pair.standardOutput.contains("A 0") }
            }
        }
    }

    /// QEMU's `-netdev passt`: a PID file that exists and is empty, and no -f: the parent's status says that all is set up.
    @Test(arguments: [[], ["--vhost-user"]])
    func theParentEndsWhileTheDaemonKeepsTheSocket(_ options: [String]) throws {
        try withNetwork { network in
            try network.remote.serveTests()
            let pid = try network.file("pid", "")
            let words = options + ["--quiet", "--mtu", "1500", "--pid", pid, "--fd", "3", "-t", "8080:4000", "-u", "8080:4000"]
            try connected(network, kind: options == [] ? "stream" : "memory", number: 3, options: words, lasting: 120) { host, pair in
                try require("the parent's end") { pair.standardOutput.contains("A 0") || pair.poll() != nil }
                let number = try #require(pid_t(contents(pid).trimmingCharacters(in: .newlines)))
                #expect(ProcessTable.exists(number))
                try configure(host)
                for family in Family.allCases {
                    try host.client("duplex", family.server, 4000, 4 << 20).check()
                    try host.client("udp-sizes", family.server, 4000, 0, 1, 1400).check()
                }
                try host.serveTests()
                for family in Family.allCases {
                    #expect(try network.remote.client("ask", family.hostAddress, 8080, "whoami").check().text == family.server)
                    #expect(try network.remote.client("udp-ask", family.hostAddress, 8080, "whoami").check().text == family.server)
                }
                #expect(ProcessTable.exists(number))
                try cut(host)
                try require("the daemon's end with the machine") { !ProcessTable.exists(number) }
            }
        }
    }

    /// `-netdev dgram` and bess: a frame per message.
    @Test(arguments: ["dgram", "seqpacket"])
    func socketsOfMessages(_ kind: String) throws {
        try withNetwork { network in
            try network.remote.serveTests()
            try connected(network, kind: kind, options: ["-f", "--fd", "5", "-t", "8080:4000", "--mtu", "9000", "--debug"]) { host, pair in
                try configure(host)
                for family in Family.allCases {
                    for what in ["send", "receive", "duplex"] {
                        try host.run(["python3", Helpers.path("client.py"), what, family.server, "4000", "\(4 << 20)"], seconds: 60).check()
                    }
                }
                try host.serveTests()
                try network.remote.client("duplex", Family.v4.hostAddress, 8080, 1 << 20).check()
                try cut(host)
                if kind == "seqpacket" {
                    try require("the end of passt") { pair.standardOutput.contains("A 0") }
                } else {
                    // Datagrams know no end: the next one for the machine finds nobody.
                    try require("the end of passt") {
                        _ = try? network.remote.client("error", Family.v4.hostAddress, 8080)
                        return pair.standardOutput.contains("A 0")
                    }
                }
            }
        }
    }

    /// User-Mode Linux's connection of messages, by path.
    @Test func aConnectionOfMessagesByPath() throws {
        try withNetwork { network in
            try network.remote.serveTests()
            let socket = network.path("s")
            let passt = try network.passt(["-f", "--one-off", "--socket", "unixpacket://" + socket])
            let machine = try Machine(network, "vm", socket: socket, kind: "seqpacket")
            try machine.configure()
            try machine.client("duplex", Family.v6.server, 4000, 1 << 20).check()
            machine.cut()
            #expect(passt.wait(seconds: 5).ending == .exited(0))
        }
    }

    /// vfkit's and libkrun's datagrams, by path: with a greeting and without, the sender's path being where answers go. Nobody else is heard.
    @Test(arguments: ["vfkt", "bound"])
    func datagramsByPath(_ kind: String) throws {
        try withNetwork { network in
            try network.remote.serveTests()
            let socket = network.path("s"), pid = network.path("pid"), log = network.path("log")
            _ = try network.passt(["--socket", "unixgram://" + socket, "--pid", pid, "--mtu", "1500", "-t", "8080:4000", "--log-file", log])
            let number = try #require(pid_t(contents(pid).trimmingCharacters(in: .newlines)))
            // One without a name cannot be answered.
            try network.host.sh("echo x | socat -u - UNIX-SENDTO:\(socket)").check()
            try require("a line in the log") { contents(log).contains("cannot be answered: Destination address required, ") }
            let machine = try Machine(network, "vm", socket: socket, kind: kind)
            try machine.configure()
            #expect(contents(log).contains("Virtual machine connected"))
            #expect(try !network.host.sh("echo x | socat -u - UNIX-SENDTO:\(socket)").succeeded)
            for what in ["send", "receive", "duplex"] { try machine.client(what, Family.v6.server, 4000, 2 << 20).check() }
            machine.cut()
            // The next frame for it finds nobody.
            try require("the end of passt", within: 30) {
                _ = try? network.remote.client("error", Family.v4.hostAddress, 8080)
                return !ProcessTable.exists(number)
            }
        }
    }

    /// While nobody has come, it ends as always.
    @Test func aSignalEndsTheWaitForDatagrams() throws {
        try withNetwork { network in
            let passt = try network.passt(["-f", "--socket", "unixgram://" + network.path("s")])
            passt.send(SIGTERM)
            #expect(passt.wait(seconds: 5).ending == .exited(0))
        }
    }

    /// libguestfs's command line, whole.
    @Test func libguestfs() throws {
        try withNetwork { network in
            try network.remote.serveTests()
            let socket = network.path("s"), pid = network.path("pid")
            _ = try network.passt([
                "--one-off", "--socket", socket, "--pid", pid, "--address", "169.254.2.15", "--netmask", "16", "--mac-addr", "52:56:00:00:00:02",
                "--gateway", "169.254.2.2",
            ])
            let number = try #require(pid_t(contents(pid).trimmingCharacters(in: .newlines)))
            let machine = try Machine(network, "vm", socket: socket)
            try machine.configure()
            let addresses = try machine.host.run(["ip", "-4", "-o", "addr", "show", "dev", "eth0"]).check().out
            #expect(addresses.contains("169.254.2.15/16"))
            #expect(try machine.client("ask", Family.v4.server, 4000, "whoami").check().text == Family.v4.hostAddress)
            #expect(try machine.host.run(["ip", "neigh", "show", "169.254.2.2"]).check().out.contains("52:56:00:00:00:02"))
            machine.cut()
            try require("the end of passt") { !ProcessTable.exists(number) }
        }
    }
}
