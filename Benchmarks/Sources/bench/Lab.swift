// bench: builds the namespaces, runs the peers in turn and writes what came out.
//
//     Main > Plan (what is measured) > Session (one relay, running) > Lab (the namespaces) > Shell
//          > Results (medians) > Table | Report (JSON) | Chart (SVG)
//
// Three namespaces: `guest`, which a relay connects; `host`, where the relay runs and which is joined to
// `remote`, where the server listens. Without a relay the client runs in `host` itself: what it reaches is the
// most that any relay could. The two are joined by veth, or by the path emulator for disturbed paths.

internal import Foundation

/// How `host` and `remote` are joined.
struct Link: Hashable {
    var mtu: Int
    /// Conditions of the path emulator; nil is veth.
    var conditions: String?
    /// Nil is the usual one.
    var congestion: String?
    /// The most that a socket's buffers may grow to; nil is the system's default.
    var buffers: Int?
}

final class Lab {
    /// The server's.
    static let address4 = "198.51.100.2", address6 = "2001:db8:1::2"
    static let hostAddress4 = "198.51.100.1", hostAddress6 = "2001:db8:1::1"
    let load: String
    private let emulatorPath: String
    private var server: Child?
    private(set) var emulator: Child?
    private var link: Link?
    /// Cubic, as Linux itself has it; where that is not granted, what a new namespace inherits from the machine.
    private(set) var usualCongestion = "cubic"

    init(load: String, emulator: String) throws {
        self.load = load
        emulatorPath = emulator
        try Shell.script("""
            mount -t tmpfs tmpfs /run
            mkdir -p /run/netns
            """)
        for name in ["guest", "host", "remote"] { try add(name) }
        if try !setCongestion("cubic", "host") { usualCongestion = Self.setting("tcp_congestion_control") }
        server = try Child(Self.enter("remote", [load, "server"]), input: false)
        guard Shell.wait(3, until: { server?.output == "ready\n" }) else { throw BenchError("the server does not start") }
    }

    /// Enough ports for many short connections, addresses that work at once, ping without privileges.
    private static let settings = [
        ("net.ipv4.ip_local_port_range", "1024 65535"), ("net.ipv6.conf.default.accept_dad", "0"),
        ("net.ipv6.conf.all.accept_dad", "0"), ("net.ipv4.ping_group_range", "0 0"),
    ]

    static func enter(_ namespace: String, _ words: [String]) -> [String] {
        ["nsenter", "--net=/run/netns/\(namespace)"] + words
    }

    private func add(_ namespace: String) throws {
        try Shell.must(["ip", "netns", "add", namespace])
        try Shell.must(Self.enter(namespace, ["ip", "link", "set", "lo", "up"]))
        for (key, value) in Self.settings { try Shell.must(Self.enter(namespace, ["sysctl", "-qw", "\(key)=\(value)"])) }
    }

    /// A guest as if none had been: without what an earlier relay set there, and without its connections in TIME-WAIT.
    func renewGuest() throws {
        try Shell.must(["ip", "netns", "del", "guest"])
        try add("guest")
        if let link, try !set(link, in: "guest") { throw BenchError("the guest's namespace cannot be set as before") }
    }

    /// Joins `host` and `remote`. False if the kernel does not grant the congestion control.
    func join(_ new: Link) throws -> Bool {
        if link == new { return true }
        emulator?.stop()
        emulator = nil
        if link?.conditions == nil, link != nil { try Shell.must(Self.enter("host", ["ip", "link", "del", "path"])) }
        link = nil
        for name in ["guest", "host", "remote"] {
            if try !set(new, in: name) { return false }
        }
        if let conditions = new.conditions {
            let words = ["a=/run/netns/host:path", "b=/run/netns/remote:path", "seed=1"] + conditions.split(separator: " ").map(String.init)
            let child = try Child([emulatorPath] + words, input: true)
            emulator = child
            guard Shell.wait(3, until: { child.output.hasPrefix("ready") }) else { throw BenchError("path emulator: \(child.errors)") }
        } else {
            try Shell.script("ip -n host link add path type veth peer name path netns remote")
        }
        for (name, last) in [("host", 1), ("remote", 2)] {
            try Shell.script("""
                ip -n \(name) link set path address 02:00:00:00:00:0\(last) mtu \(new.mtu) txqueuelen 10000 up
                ip -n \(name) addr add 198.51.100.\(last)/24 dev path
                ip -n \(name) addr add 2001:db8:1::\(last)/64 dev path nodad
                ip -n \(name) neigh replace 198.51.100.\(3 - last) lladdr 02:00:00:00:00:0\(3 - last) dev path nud permanent
                ip -n \(name) neigh replace 2001:db8:1::\(3 - last) lladdr 02:00:00:00:00:0\(3 - last) dev path nud permanent
                """)
        }
        try Shell.script("""
            ip -n host route add default via 198.51.100.254
            ip -n host -6 route add default via 2001:db8:1::fe dev path
            """)
        link = new
        return true
    }

    private func set(_ link: Link, in namespace: String) throws -> Bool {
        if try !setCongestion(link.congestion ?? usualCongestion, namespace) { return false }
        for (key, usual) in [("net.ipv4.tcp_rmem", Self.receiveBuffers), ("net.ipv4.tcp_wmem", Self.sendBuffers)] {
            let sizes = link.buffers.map { usual.split(separator: "\t").prefix(2).joined(separator: " ") + " \($0)" } ?? usual
            try Shell.must(Self.enter(namespace, ["sysctl", "-qw", "\(key)=\(sizes)"]))
        }
        return true
    }

    private func setCongestion(_ congestion: String, _ namespace: String) throws -> Bool {
        try Shell.run(Self.enter(namespace, ["sysctl", "-qw", "net.ipv4.tcp_congestion_control=\(congestion)"])).status == 0
    }

    private static let receiveBuffers = setting("tcp_rmem"), sendBuffers = setting("tcp_wmem")

    private static func setting(_ name: String) -> String {
        (Shell.contents("/proc/sys/net/ipv4/\(name)") ?? "").trimmingCharacters(in: .whitespacesAndNewlines)
    }

    func end() {
        emulator?.stop()
        server?.stop()
    }
}
