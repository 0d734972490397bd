import Foundation
import Glibc
import Testing

/// The program under test by its other name.
enum Passt {
    /// A link beside the tests' files: the name decides.
    static func path(_ network: Network) throws -> String {
        if let path = ProcessInfo.processInfo.environment["PASST"] { return path }
        let link = network.path("passt")
        let target = URL(fileURLWithPath: Pasta.path).path
        try? FileManager.default.createSymbolicLink(atPath: link, withDestinationPath: target)
        return link
    }

    /// passt-repair, beside the program under test.
    static func repairPath(_ network: Network) throws -> String {
        if let path = ProcessInfo.processInfo.environment["PASST_REPAIR"] { return path }
        return URL(fileURLWithPath: Pasta.path).deletingLastPathComponent().appendingPathComponent("passt-repair").path
    }
}

/// A virtual machine in the eyes of passt: the kernel of one more host, whose interface `eth0` leads to a socket (`machine.py`).
final class Machine {
    let host: Host
    let bridge: Child

    /// `socket` is a path. Of kind "memory" is a machine that shares its memory (`vhost.py`). `control` is that one's, or a fault of the others' link.
    /// `prepare` is for what is done before the machine is connected.
    init(
        _ network: Network, _ name: String, socket: String, kind: String = "stream", control: String? = nil, mac: String? = nil,
        prepare: (Host) throws -> Void = { _ in }
    ) throws {
        host = try network.addHost(name)
        try host.sh("for conf in all default; do echo 0 >/proc/sys/net/ipv6/conf/$conf/accept_dad; done; ip link set lo up").check()
        try prepare(host)
        bridge = try host.start(["python3"] + Machine.bridge(kind, socket) + (control.map { [$0] } ?? []))
        try waitForInterface(mac)
    }

    /// What bridges `eth0` to a socket.
    static func bridge(_ kind: String, _ socket: String) -> [String] {
        kind == "memory" ? [Helpers.path("vhost.py"), "eth0", socket] : [Helpers.path("machine.py"), "eth0", socket, kind]
    }

    private func waitForInterface(_ mac: String?) throws {
        let bridge = bridge
        try require("machine.py to be ready") { bridge.poll() != nil || bridge.standardOutput.contains("ready") }
        if bridge.poll() != nil { throw Failure("machine.py: \(bridge.standardError)") }
        try host.run(["ip", "link", "set", "eth0"] + (mac.map { ["address", $0] } ?? []) + ["up"]).check()
    }

    /// Asks for an address as most guests do, and waits for the one of IPv6.
    func configure() throws {
        try host.run(["udhcpc", "-f", "-q", "-n", "-t", "5", "-T", "1", "-i", "eth0", "-s", Helpers.path("udhcpc-script")]).check()
        let host = host
        try require("an address by SLAAC") {
            (try? host.run(["ip", "-6", "addr", "show", "dev", "eth0", "scope", "global"]))?.out.contains("inet6") == true
        }
    }

    func client(_ words: Any..., seconds: Double = 60) throws -> Output {
        try host.run(["python3", Helpers.path("client.py")] + words.map { "\($0)" }, seconds: seconds)
    }

    /// As a power failure does.
    func cut() { bridge.kill() }
}

extension Network {
    /// Starts passt, which listens when this returns.
    func passt(_ options: [String], as user: User = .ordinary) throws -> Child {
        let child = try host.start([try Passt.path(self)] + options, as: user)
        if options.contains("--foreground") || options.contains("-f") {
            try require("passt to listen") { child.poll() != nil || child.standardError.contains("Listening") }
        } else {
            _ = child.wait(seconds: 10)
        }
        if let ending = child.poll(), ending != .exited(0) { throw Failure("\(child.arguments): \(ending)\n\(child.standardError)") }
        return child
    }
}
