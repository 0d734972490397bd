import Foundation
import Testing

/// A guest that asks whether its connection still lives means the far end, and the path to it.
@Suite struct KeepAliveTests {
    /// Two connections on which nothing is said. The guest's kernel asks one of them for a sign of life after two seconds. Tells how that one ends.
    private static let quiet = """
        import errno, socket, sys, time
        socks = [socket.create_connection((sys.argv[1], int(sys.argv[2])), 10) for _ in range(2)]
        for sock in socks:
            sock.sendall(b"echo\\nx")
            assert sock.recv(1) == b"x"
        asking = socks[0]
        asking.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        asking.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 2)
        # Behind an answer, too, Linux waits for so long before it asks again.
        asking.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 2)
        print("quiet", flush=True)
        asking.settimeout(None)
        try:
            print("end" if asking.recv(1) == b"" else "data", flush=True)
        except OSError as error:
            print(errno.errorcode.get(error.errno, error), flush=True)
        """

    /// The timers of established connections to this address, as `ss` tells of them.
    private static func timers(_ host: Host, _ address: String) -> [String] {
        (try? host.run(["ss", "-Htno", "state", "established", "dst", address]))?.lines ?? []
    }

    /// Probes that sockets of this namespace have sent.
    private static func probes(_ host: Host) -> Int {
        let counters = (try? host.run(["nstat", "-asz", "TcpExtTCPKeepAlive"]))?.out ?? ""
        return counters.firstMatch(of: /TcpExtTCPKeepAlive +(\d+)/).flatMap { Int($0.1) } ?? 0
    }

    /// The host's socket asks in turn, as often; the one that nobody asks about is left alone. When nothing comes back any more, the guest hears of it.
    @Test(arguments: Family.allCases)
    func theFarEndIsAsked(_ family: Family) throws {
        try withNetwork { network in
            try network.remote.serveTests()
            // Instead of nine unanswered probes, two.
            try network.host.sh("echo 2 >/proc/sys/net/ipv4/tcp_keepalive_probes").check()
            let guest = try network.guest()
            let client = try guest.start(["python3", "-c", Self.quiet, family.server, "4000"])
            try require("two connections") { client.standardOutput.contains("quiet") || client.poll() != nil }
            let server = family.bracketed(family.server)
            try require("a timer: \(Self.timers(network.host, server))") { Self.timers(network.host, server).contains { $0.contains("timer:(keepalive") } }
            let timers = Self.timers(network.host, server)
            #expect(timers.count == 2 && timers.count { $0.contains("keepalive") } <= 1, "\(timers)")
            // The guest's own, and ours on the way; whoever is there is not given up.
            try require("probes", within: 15) { Self.probes(network.host) >= 2 }
            #expect(client.poll() == nil, "\(client.standardOutput)\(client.standardError)")
            let forwarding = family == .v4 ? "/proc/sys/net/ipv4/ip_forward" : "/proc/sys/net/ipv6/conf/all/forwarding"
            try network.router.sh("echo 0 >\(forwarding)").check()
            let output = client.wait(seconds: 20)
            #expect(output.succeeded && ["ECONNRESET", "ETIMEDOUT"].contains(output.lines.last ?? ""), "\(output)")
        }
    }

    /// The same where the remote host has opened the connection.
    @Test(arguments: Family.allCases)
    func whoCameByAForwardedPortIsAsked(_ family: Family) throws {
        try withNetwork { network in
            let guest = try network.guest(["--config-net", "-t", "8080:4000"])
            let server = try guest.start(["python3", "-c", """
                import socket
                listener = socket.create_server(("::", 4000), family=socket.AF_INET6, dualstack_ipv6=True)
                print("ready", flush=True)
                sock = listener.accept()[0]
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 2)
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 2)
                sock.recv(1)
                """])
            try require("a server") { server.standardOutput.contains("ready") || server.poll() != nil }
            let client = try network.remote.start(["socat", "-u", "EXEC:sleep 30", "TCP:\(family.bracketed(family.hostAddress)):8080"])
            try require("probes", within: 15) { Self.probes(network.host) >= 1 }
            let hasTimer = eventually { Self.timers(network.host, family.bracketed(family.server)).contains { $0.contains("timer:(keepalive") } }
            #expect(hasTimer)
            let endings = [server.poll(), client.poll()]
            #expect(endings == [nil, nil])
            client.kill()
        }
    }
}
