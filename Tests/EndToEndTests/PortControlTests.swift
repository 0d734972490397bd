import Foundation
import Glibc
import Testing

/// Ports that pesto changes while pasta or passt runs.
@Suite struct PortControlTests {
    private static let none = ["-t", "none", "-u", "none", "-T", "none", "-U", "none"]

    private static func listeners(_ host: Host) throws -> Set<String> {
        Set(try host.sh("ss -Hlntu | awk '{ print $1, $5 }'").check().lines)
    }

    private static func whoAsks(_ network: Network, _ family: Family, _ port: Int) throws -> String {
        try network.remote.client("ask", family.hostAddress, port, "whoami").text
    }

    // MARK: What callers do

    /// Podman adds both families when a container starts, twice where it is not sure, and takes them away when it ends.
    @Test func podmanAddsAndDeletes() throws {
        try withNetwork { network in
            let socket = network.path("pasta.sock")
            let guest = try network.guest(["--config-net", "-c", socket, "--no-map-gw", "--quiet"])
            try guest.serveTests(port: 8080)
            #expect(try network.remote.client("error", Family.v4.hostAddress, 8080).check().text.hasPrefix("ECONNREFUSED"))
            let ports = ["-t", "0.0.0.0/8080-8080", "-t", "[::]/8080-8080", "-u", "0.0.0.0/8080", "-u", "[::]/8080"]
            for _ in 0..<2 {
                let added = try network.pesto(["--add"] + ports + [socket]).check()
                #expect(added.out.isEmpty && added.err.isEmpty, "\(added)")
                #expect(try Self.listeners(network.host) == ["tcp 0.0.0.0:8080", "tcp [::]:8080", "udp 0.0.0.0:8080", "udp [::]:8080"])
            }
            for family in Family.allCases {
                #expect(try Self.whoAsks(network, family, 8080) == family.server)
                #expect(try network.remote.client("udp-ask", family.hostAddress, 8080, "whoami").check().text == family.server)
                #expect(try network.host.client("ask", family.loopback, 8080, "whoami").check().text == family.hostAddress)
            }
            // What is under way goes on.
            let held = try network.remote.start(["python3", Helpers.path("client.py"), "hold", Family.v4.hostAddress, "8080", "3", network.path("end")])
            try require("connections") { held.standardOutput.contains("held") }
            try network.pesto(["--delete"] + ports + [socket]).check()
            #expect(try Self.listeners(network.host).isEmpty)
            #expect(try network.remote.client("error", Family.v4.hostAddress, 8080).check().text.hasPrefix("ECONNREFUSED"))
            #expect(try network.remote.client("udp-error", Family.v6.hostAddress, 8080).check().text == "ECONNREFUSED")
            #expect(held.poll() == nil)
            _ = try network.file("end", "")
            #expect(held.wait().ending == .exited(0))
            // And the next container.
            try network.pesto(["--add"] + ports + [socket]).check()
            #expect(try Self.whoAsks(network, .v6, 8080) == Family.v6.server)
            #expect(try network.remote.client("udp-ask", Family.v4.hostAddress, 8080, "whoami").check().text == Family.v4.server)
        }
    }

    /// The pasta of all bridge networks is in the background, with a file for its number; the next one finds its path free when it has ended.
    @Test func podmansPastaInTheBackground() throws {
        try withNetwork { network in
            let (socket, pid) = (network.path("pasta.sock"), network.path("pid"))
            let target = try Target(network, .process)
            guard let holder = target.holder else { throw Failure("no holder") }
            let enter = ["nsenter", "--target", "\(holder.pid)", "--user", "--net", "--preserve-credentials", "--"]
            let options = [
                "--config-net", "--pid", pid, "--dns-forward", "169.254.1.1", "-t", "none", "-u", "none", "-T", "none", "-U", "none", "--no-map-gw",
                "--quiet", "-c", socket, "--map-guest-addr", "169.254.1.2",
            ]
            for _ in 0..<2 {
                #expect(try target.joinInBackground(options).check().text.isEmpty)
                let server = try network.start(enter + ["python3", Helpers.path("server.py"), "4000"])
                try require("server.py to be ready") { server.standardOutput.contains("ready") }
                try network.pesto(["--add", "-t", "0.0.0.0/8080:4000", "-t", "[::]/8080:4000", "-u", "0.0.0.0/8080:4000", socket]).check()
                for family in Family.allCases { #expect(try Self.whoAsks(network, family, 8080) == family.server) }
                #expect(try network.remote.client("udp-ask", Family.v4.hostAddress, 8080, "whoami").check().text == Family.v4.server)
                #expect(try network.host.client("ask", "127.0.0.1", 8080, "whoami").check().text == Family.v4.hostAddress)
                server.kill()
                let number = try #require(pid_t(contents(pid).trimmingCharacters(in: .whitespacesAndNewlines)))
                _ = kill(number, SIGTERM)
                try require("pasta to end") { !ProcessTable.exists(number) }
                #expect(try Self.listeners(network.host).isEmpty)
                // Its interface has gone with it.
                try require("the interface to be gone") { (try? target.run(["ip", "-o", "link"]).text.contains("wan0")) == false }
            }
            try target.remove()
        }
    }

    /// With the container's address behind the published port, in a bridge's network inside of the namespace.
    @Test func podmanNamesTheContainer() throws {
        try withNetwork { network in
            let socket = network.path("pasta.sock")
            let guest = try network.guest(["--config-net", "-c", socket, "--no-map-gw", "--quiet"])
            try guest.serveTests(port: 80)
            try guest.sh("ip addr add 10.89.0.2/32 dev lo; ip addr add fd00::2/128 dev lo").check()
            let ports = ["-t", "0.0.0.0/8080:10.89.0.2/80", "-t", "[::]/8080:fd00::2/80", "-u", "0.0.0.0/8081:10.89.0.2/81"]
            try guest.serve(["socat", "UDP4-RECVFROM:81,bind=10.89.0.2,fork", "EXEC:cat"], port: 81, udp: true)
            try network.pesto(["--add"] + ports + [socket]).check()
            for family in Family.allCases {
                #expect(try Self.whoAsks(network, family, 8080) == family.server)
                try network.remote.client("duplex", family.hostAddress, 8080, 1 << 20).check()
            }
            #expect(try network.remote.client("udp-ask", Family.v4.hostAddress, 8081, "container").check().text == "container")
            #expect(try network.pesto([socket]).check().out.contains("    -t [::]/8080:[fd00::2]/80\n"))
            try network.pesto(["--delete"] + ports + [socket]).check()
            #expect(try Self.listeners(network.host).isEmpty)
        }
    }

    @Test func rootlesskitsDriver() throws {
        try withNetwork { network in
            let socket = network.path("pasta.sock")
            let guest = try network.guest([
                "--ns-ifname=tap0", "--mtu=65520", "--config-net", "--address=10.0.2.100", "--netmask=24", "--gateway=10.0.2.2", "--no-map-gw",
                "--ipv4-only", "--conf-path", socket,
            ])
            try guest.serveTests()
            #expect(try network.pesto(["--version"]).check().out.hasPrefix("pesto "))
            try network.pesto(["-A", "--tcp-ports=127.0.0.1/8080:4000", socket]).check()
            try network.pesto(["-A", "--udp-ports=0.0.0.0/8081:10.0.2.100/4000", socket]).check()
            try network.host.client("duplex", "127.0.0.1", 8080, 1 << 20).check()
            #expect(try network.remote.client("udp-ask", Family.v4.hostAddress, 8081, "whoami").check().text == Family.v4.server)
            // Which family the guest has is nothing that a caller knows.
            let both = try network.pesto(["-A", "-t", "0.0.0.0/8082:4000", "-t", "::/8082:4000", socket]).check()
            #expect(both.err == "pesto: -t ::/8082:4000: left out, since the guest does not have this family\n")
            #expect(try Self.listeners(network.host) == ["tcp 127.0.0.1:8080", "udp 0.0.0.0:8081", "tcp 0.0.0.0:8082"])
            try network.pesto(["-D", "--tcp-ports=127.0.0.1/8080:4000", "--udp-ports=0.0.0.0/8081", socket]).check()
            #expect(try Self.listeners(network.host) == ["tcp 0.0.0.0:8082"])
        }
    }

    /// Everything else that can be said.
    @Test func tablesAreReplacedClearedAndShown() throws {
        try withNetwork { network in
            let socket = network.path("pasta.sock")
            let guest = try network.guest(["--config-net", "-c", socket, "-t", "8080:4000,8090"])
            try guest.serveTests()
            try network.host.serveTests(port: 4100)
            let start = "HOST:\n    -t 8080:4000\n    -t 8090\nSPLICE: nothing\n"
            #expect(try network.pesto([socket]).check().out == start)
            // One table is replaced, by what is at an interface only; the other one stays.
            let shown = try network.pesto(["-s", "-t", "%wan0/8081:4000", socket]).check()
            #expect(shown.out == start + "After that:\nHOST:\n    -t %wan0/8081:4000\nSPLICE: nothing\n")
            #expect(try Self.listeners(network.host) == ["tcp *:4100", "udp *:4100", "tcp *%wan0:8081"])
            #expect(try Self.whoAsks(network, .v6, 8081) == Family.v6.server)
            #expect(!(try network.host.client("ask", "127.0.0.1", 8081, "whoami").succeeded))
            // The other direction.
            try network.pesto(["-T", "4200:4100", "-U", "4200:4100", socket]).check()
            #expect(try guest.client("ask", "127.0.0.1", 4200, "whoami").check().text == "127.0.0.1")
            #expect(try guest.client("udp-ask", "::1", 4200, "whoami").check().text == "::1")
            #expect(try Self.whoAsks(network, .v4, 8081) == Family.v4.server)
            // Actions go in order.
            try network.pesto(["-A", "-t", "9000-9004", "-D", "-t", "9001-9002", "-U", "4200", "-A", "-t", "9002:4000", socket]).check()
            let expected = "HOST:\n    -t %wan0/8081:4000\n    -t 9000\n    -t 9003-9004\n    -t 9002:4000\nSPLICE:\n    -T 4200:4100\n"
            #expect(try network.pesto([socket]).check().out == expected)
            #expect(try Self.whoAsks(network, .v4, 9002) == Family.v4.server)
            try network.pesto(["-C", "HOST", "-C", "SPLICE", "-t", "9002:4001", socket]).check()
            #expect(try network.pesto([socket]).check().out == "HOST:\n    -t 9002:4001\nSPLICE: nothing\n")
            #expect(try guest.client("error", "127.0.0.1", 4200).check().text.hasPrefix("ECONNREFUSED"))
            #expect(!(try network.remote.client("ask", Family.v4.hostAddress, 9002, "whoami").succeeded))
            try guest.serveTests(port: 4001)
            #expect(try Self.whoAsks(network, .v4, 9002) == Family.v4.server)
        }
    }

    /// Automatic ports come and go with the rules.
    @Test func automaticPortsCanBeAskedForLater() throws {
        try withNetwork { network in
            let socket = network.path("pasta.sock")
            let guest = try network.guest(["--config-net", "-c", socket])
            try guest.serveTests(port: 4000)
            try guest.serveTests(port: 4001)
            try network.host.serveTests(port: 4100)
            try network.pesto(["-t", "auto,~4001", "-T", "auto", "-A", "-u", "4000", socket]).check()
            // What listens already is there when pesto ends.
            #expect(try Self.listeners(network.host) == [
                "tcp *:4100", "udp *:4100", "tcp 0.0.0.0:4000", "tcp [::]:4000", "udp *:4000",
            ])
            #expect(try guest.client("ask", "127.0.0.1", 4100, "whoami").check().text == "127.0.0.1")
            try guest.serveTests(port: 4002)
            try require("port 4002") { (try? Self.listeners(network.host).isSuperset(of: ["tcp 0.0.0.0:4002", "tcp [::]:4002"])) == true }
            // A rule of its own takes a port over.
            try network.pesto(["-A", "-t", "4002:4000", socket]).check()
            #expect(try Self.listeners(network.host).contains("tcp *:4002"))
            #expect(try Self.whoAsks(network, .v4, 4002) == Family.v4.server)
            try network.pesto(["-D", "-t", "auto", "-T", "auto", socket]).check()
            #expect(try Self.listeners(network.host) == ["tcp *:4100", "udp *:4100", "tcp *:4002", "udp *:4000"])
            #expect(try guest.client("error", "127.0.0.1", 4100).check().text.hasPrefix("ECONNREFUSED"))
        }
    }

    @Test func passtHasOneTable() throws {
        try withNetwork { network in
            let (vm, socket) = (network.path("vm"), network.path("passt.sock"))
            _ = try network.passt(["-f", "--socket", vm, "-c", socket])
            let machine = try Machine(network, "vm", socket: vm)
            try machine.configure()
            try machine.serveTests()
            #expect(try network.pesto([socket]).check().out == "HOST: nothing\n")
            try network.pesto(["-A", "-t", "8080:4000", "-u", "%wan0/8081:4000", socket]).check()
            for family in Family.allCases {
                // Its own choice of an address is known from here on.
                try machine.host.run(["ping", family.flag, "-n", "-c", "1", "-W", "3", family.server]).check()
                #expect(try Self.whoAsks(network, family, 8080) == family.server)
                #expect(try network.remote.client("udp-ask", family.hostAddress, 8081, "whoami").check().text == family.server)
            }
            for words in [["-A", "-T", "80"], ["-C", "SPLICE"], ["-t", "auto"]] {
                let output = try network.pesto(words + [socket])
                #expect(output.ending == .exited(1) && output.err.split(separator: "\n").count == 1, "\(output)")
            }
            #expect(try Self.whoAsks(network, .v4, 8080) == Family.v4.server)
        }
    }

    // MARK: All or nothing

    @Test func aPortThatIsTakenChangesNothing() throws {
        try withNetwork { network in
            let socket = network.path("pasta.sock")
            let guest = try network.guest(["--config-net", "-c", socket, "-t", "8080:4000", "-u", "8080:4000"])
            try guest.serveTests()
            try network.host.serve(["socat", "TCP4-LISTEN:9001,fork", "EXEC:true"], port: 9001)
            let before = try Self.listeners(network.host)
            let output = try network.pesto(["-t", "9000-9002", "-u", "9000", socket])
            #expect(output.ending == .exited(1))
            #expect(output.err == "pesto: Failed to bind port 9001 (Address already in use) for option '-t 9000-9002', nothing was changed: "
                + "something else listens there, 'ss -ltnp' shows what\n")
            #expect(try Self.listeners(network.host) == before)
            #expect(try Self.whoAsks(network, .v4, 8080) == Family.v4.server)
            #expect(try network.remote.client("udp-ask", Family.v6.hostAddress, 8080, "whoami").check().text == Family.v6.server)
            // What may be left out is.
            try network.pesto(["-t", "all,~1-8999,~9003-65535", socket]).check()
            #expect(try Self.listeners(network.host) == ["tcp 0.0.0.0:9001", "tcp *:9000", "tcp *:9002"])
            let nothing = try network.pesto(["-t", "all,~1-9000,~9002-65535", socket])
            #expect(nothing.err == "pesto: Failed to bind any port for option '-t 9001', nothing was changed\n")
            #expect(try Self.listeners(network.host) == ["tcp 0.0.0.0:9001", "tcp *:9000", "tcp *:9002"])
        }
    }

    /// A port that could be opened at the start only is there after every change that does not take it away, failed ones included.
    @Test func lowPortsStay() throws {
        try withNetwork { network in
            let socket = network.path("pasta.sock")
            let lowest = "sysctl -qw net.ipv4.ip_unprivileged_port_start"
            try network.host.sh("\(lowest)=80").check()
            let guest = try network.guest(["--config-net", "-c", socket, "-t", "80:4000", "-u", "80:4000"])
            try network.host.sh("\(lowest)=1024").check()
            try guest.serveTests()
            try network.host.serve(["socat", "TCP4-LISTEN:9001,fork", "EXEC:true"], port: 9001)
            for words in [["-t", "9001"], ["-t", "127.0.0.1/80"], ["-C", "HOST", "-u", "81"]] {
                let output = try network.pesto(words + [socket])
                #expect(output.ending == .exited(1) && output.err.contains(", nothing was changed: "), "\(output)")
                #expect(try Self.whoAsks(network, .v4, 80) == Family.v4.server)
                #expect(try network.remote.client("udp-ask", Family.v6.hostAddress, 80, "whoami").check().text == Family.v6.server)
            }
            try network.pesto(["-A", "-t", "8080:4000", "-D", "-u", "80", socket]).check()
            #expect(try Self.listeners(network.host) == ["tcp *:80", "tcp *:8080", "tcp 0.0.0.0:9001"])
        }
    }

    /// Somebody else's ports can be changed all the same, and what was for the interface is for nobody else.
    @Test func anInterfaceThatIsGone() throws {
        try withNetwork { network in
            let socket = network.path("pasta.sock")
            try network.host.sh("ip link add veth8 type veth peer name veth9; ip link set veth8 up; ip link set veth9 up").check()
            let guest = try network.guest(["--config-net", "-c", socket, "-i", "wan0", "-t", "%veth8/8080:4000", "-u", "%veth8/~1-8999,~9002-65535"])
            try guest.serveTests()
            let atInterface: Set<String> = ["tcp *%veth8:8080", "udp *%veth8:9000", "udp *%veth8:9001"]
            #expect(try Self.listeners(network.host) == atInterface)
            try network.host.sh("ip link delete veth8").check()
            try network.pesto(["-A", "-t", "8081:4000", socket]).check()
            #expect(try Self.listeners(network.host) == ["tcp *:8081"])
            #expect(try network.pesto(["-A", "-t", "%veth8/8082", socket]).err == "pesto: There is no interface veth8, nothing was changed\n")
            #expect(try Self.listeners(network.host) == ["tcp *:8081"])
            try network.host.sh("ip link add veth8 type veth peer name veth9").check()
            try network.pesto(["-D", "-t", "8081", socket]).check()
            #expect(try Self.listeners(network.host) == atInterface)
        }
    }

    @Test("Refusals", arguments: [
        (["-A", "-t", "8080:4001"], "-t 8080:4001: port 8080 leads elsewhere already, by 8080:4000"),
        (["-A", "-t", "80-70"], "-t '80-70': the range '80-70' ends before it begins"),
        (["-A", "-T", "4000:8080"], "-t 8080:4000 and -T 4000:8080: connections to port 8080 would come back for ever"),
        (["-A", "-T", "%lo/4001"], "-T %lo/4001: an interface of the namespace can only be named when pasta starts"),
        (["-A", "-t", "%nosuch0/4001"], "There is no interface nosuch0, nothing was changed"),
        (["-C", "GUEST"], "--clear 'GUEST': there is HOST and SPLICE only"),
        (
            ["-A", "-t", "80"], "Failed to bind port 80 (Permission denied) for option '-t 80', nothing was changed: "
                + "ports below 1024 can only be opened when pasta starts, or with a lower net.ipv4.ip_unprivileged_port_start"
        ),
    ] as [([String], String)])
    func refusalsSayWhy(_ words: [String], _ reason: String) throws {
        try withNetwork { network in
            let socket = network.path("pasta.sock")
            _ = try network.guest(["--config-net", "--host-lo-to-ns-lo", "-c", socket, "-t", "8080:4000"])
            let output = try network.pesto(words + [socket])
            #expect(output.ending == .exited(1) && output.err == "pesto: \(reason)\n", "\(output)")
            #expect(try network.pesto([socket]).check().out == "HOST:\n    -t 8080:4000\nSPLICE: nothing\n")
            #expect(try Self.listeners(network.host) == ["tcp *:8080"])
        }
    }

    /// Which protocol the guest has is decided at the start, also for the default of the other one.
    @Test func aProtocolThatIsOff() throws {
        try withNetwork { network in
            let socket = network.path("pasta.sock")
            let guest = try network.guest(["--config-net", "--no-tcp", "-c", socket, "-u", "none", "-U", "none"], automatic: true)
            try guest.serveTests()
            try network.pesto(["-A", "-u", "8080:4000", socket]).check()
            #expect(try network.remote.client("udp-ask", Family.v4.hostAddress, 8080, "whoami").check().text == Family.v4.server)
            try network.pesto(["-A", "-U", "8081", socket]).check()
            #expect(try Self.listeners(network.host) == ["udp *:8080"])
            #expect(try network.pesto(["-A", "-t", "8080", socket]).err == "pesto: -t 8080: TCP is switched off\n")
        }
    }

    @Test func deletingNothingIsSaid() throws {
        try withNetwork { network in
            let socket = network.path("pasta.sock")
            _ = try network.guest(["--config-net", "-c", socket])
            #expect(try network.pesto(["-D", "-t", "8080", socket]).check().err == "pesto: -t 8080: nothing of it was forwarded\n")
            let missing = try network.pesto([network.path("nobody")])
            #expect(missing.ending == .exited(1) && missing.err.contains("is there a pasta or passt with --conf-path"), "\(missing)")
        }
    }

    // MARK: Traffic goes on

    /// Thousands of ports are opened and closed beside a transfer and short connections, none of which stalls or breaks.
    @Test func traffic() throws {
        try withNetwork { network in
            let socket = network.path("pasta.sock")
            let guest = try network.guest(["--config-net", "-c", socket, "-t", "8080:4000"])
            try guest.serveTests()
            let inode = "ss -Hlnte 'sport = :8080' | grep -o 'ino:[0-9]*'"
            let before = try network.host.sh(inode).check().text
            let transfer = try network.remote.start(["python3", Helpers.path("client.py"), "downloads", Family.v4.hostAddress, "8080", "60", "1000000"])
            for _ in 0..<5 {
                try network.pesto(["-A", "-t", "10000-14999", "-u", "10000-12499", socket], seconds: 30).check()
                try network.pesto(["-D", "-t", "10000-14999", "-u", "10000-12499", socket], seconds: 30).check()
            }
            #expect(transfer.wait(seconds: 60).ending == .exited(0), "\(transfer.standardError)")
            // The listener that stayed is the same socket, also where it leads elsewhere since.
            try network.pesto(["-C", "HOST", "-t", "8080:4001", socket]).check()
            #expect(try network.host.sh(inode).check().text == before)
            try guest.serveTests(port: 4001)
            #expect(try Self.whoAsks(network, .v6, 8080) == Family.v6.server)
            #expect(try Self.listeners(network.host) == ["tcp *:8080"])
        }
    }

    // MARK: The socket

    @Test func theSocketIsTheUsersOwn() throws {
        try withNetwork { network in
            let socket = network.path("pasta.sock")
            let guest = try network.guest(["--config-net", "-c", socket])
            #expect(try network.host.sh("stat -c '%a %F' '\(socket)'", as: .ordinary).check().text == "600 socket")
            // Somebody is there; then nobody any more.
            let second = try network.host.run([Pasta.path, "--config-net", "-c", socket] + Self.none + ["--", "true"], as: .ordinary)
            #expect(second.ending == .exited(1) && second.err.contains("Couldn't listen for option --conf-path \(socket): Address already in use"), "\(second)")
            _ = try guest.stop()
            try network.guest(["--config-net", "-c", socket]).serveTests()
            try network.pesto(["-t", "8080:4000", socket]).check()
            #expect(try Self.whoAsks(network, .v4, 8080) == Family.v4.server)
            _ = try network.file("file", "")
            let file = try network.host.run([Pasta.path, "--config-net", "-c", network.path("file")] + Self.none + ["--", "true"], as: .ordinary)
            #expect(file.ending == .exited(1) && file.err.contains("--conf-path"), "\(file)")
        }
    }

    /// Clients that talk nonsense, fall silent or go away harm nobody, and leave nothing behind.
    @Test func clientsThatMisbehave() throws {
        try withNetwork { network in
            let socket = network.path("pasta.sock")
            let guest = try network.guest(["--config-net", "-c", socket, "-t", "8080:4000"])
            try guest.serveTests()
            let footprint = Footprint(program: guest.pasta)
            #expect(try Self.whoAsks(network, .v4, 8080) == Family.v4.server)
            let before = footprint.descriptors
            let output = try network.host.run(["python3", Helpers.path("misbehave.py"), socket], as: .ordinary, seconds: 60).check()
            #expect(output.text == "done", "\(output)")
            for _ in 0..<100 {
                try network.pesto(["-A", "-t", "9000-9003", "-T", "9100", socket]).check()
                try network.pesto(["-D", "-t", "9000-9003", "-T", "9100", socket]).check()
            }
            #expect(footprint.descriptors == before)
            #expect(try network.pesto([socket]).check().out == "HOST:\n    -t 8080:4000\nSPLICE: nothing\n")
            #expect(try Self.whoAsks(network, .v6, 8080) == Family.v6.server)
        }
    }
}

extension Network {
    /// Runs pesto as the user who runs pasta.
    func pesto(_ words: [String], seconds: Double = 20) throws -> Output {
        let path = ProcessInfo.processInfo.environment["PESTO"] ?? ".build/release/pesto"
        return try host.run([path] + words, as: .ordinary, seconds: seconds)
    }
}
