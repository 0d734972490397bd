internal import Foundation

/// What is measured: a relay, or nothing between client and server.
struct Peer {
    enum Kind { case none, pasta, slirp }

    let name: String
    let kind: Kind
    let path: String

    /// The peers that are there; ours comes second, after the path without any relay.
    /// - Parameter others: more programs that take pasta's options, as `NAME=PATH`.
    static func all(ours: String, others: [String]) -> [Peer] {
        var peers = [Peer(name: "no relay", kind: .none, path: "")]
        for peer in [Peer(name: "swift-passt", kind: .pasta, path: ours), Peer(name: "passt", kind: .pasta, path: "/usr/bin/pasta"),
                     Peer(name: "slirp4netns", kind: .slirp, path: "/usr/bin/slirp4netns")] {
            if FileManager.default.isExecutableFile(atPath: peer.path) { peers.append(peer) }
        }
        for other in others {
            let parts = other.split(separator: "=", maxSplits: 1).map(String.init)
            if parts.count == 2 { peers.append(Peer(name: parts[0], kind: .pasta, path: parts[1])) }
        }
        return peers
    }

    /// The command that connects the namespace `guest`, to be run in `host`.
    /// - Parameter port: a port of `host`, or none, that leads to the same one of `guest`.
    func command(mtu: Int, port: String = "none") -> [String] {
        switch kind {
        case .none: []
        case .pasta: [path, "--foreground", "--config-net", "--mtu", String(mtu), "-t", port, "-u", port, "-T", "none", "-U", "none",
                      "--netns", "/run/netns/guest"]
        case .slirp: [path, "--configure", "--mtu=\(mtu)", "--enable-ipv6", "--netns-type=path", "/run/netns/guest", "tap0"]
        }
    }

    /// Which program it is: what it says of itself, its digest, its size and what it is linked to.
    func identity() throws -> [String: String] {
        guard kind != .none else { return [:] }
        let file = URL(fileURLWithPath: path).resolvingSymlinksInPath().path
        let size = try FileManager.default.attributesOfItem(atPath: file)[.size] as? Int ?? 0
        let version = try Shell.run([path, "--version"])
        let links = try Shell.run(["ldd", file])
        let owner = try Shell.run(["dpkg-query", "-S", path]).text.split(separator: ":").first.map(String.init) ?? ""
        let package = owner.isEmpty ? "" : try Shell.run(["dpkg-query", "-W", owner]).text.replacingOccurrences(of: "\t", with: " ")
        return [
            "package": package.trimmingCharacters(in: .whitespacesAndNewlines),
            "path": path, "file": file, "bytes": String(size),
            "version": (version.text + version.errors).split(separator: "\n").first.map(String.init) ?? "",
            "sha256": try Shell.must(["sha256sum", file]).split(separator: " ").first.map(String.init) ?? "",
            "ldd": (links.text + links.errors).split(separator: "\n").map { $0.trimmingCharacters(in: .whitespaces) }.joined(separator: "; "),
        ]
    }

    /// Milliseconds from the start of the program to the time its command reads from the clock, with the network configured.
    func startUp(load: String) throws -> Double {
        let before = Shell.now
        switch kind {
        case .none: return try Self.milliseconds(Shell.must(Lab.enter("host", [load, "clock"])), since: before)
        case .pasta:
            return try Self.milliseconds(Shell.must(Lab.enter("host", [path, "--config-net", "--quiet", "--", load, "clock"])), since: before)
        case .slirp:
            // It has no command of its own: what counts is when it says that it is ready.
            let text = try Shell.must(Lab.enter("host", ["sh", "-c", """
                mkfifo /run/ready
                \(path) --configure --netns-type=path --ready-fd=3 /run/netns/guest tap0 3>/run/ready >/dev/null 2>&1 & pid=$!
                head -c 1 </run/ready >/dev/null; nsenter --net=/run/netns/guest \(load) clock
                kill $pid; wait $pid; rm /run/ready
                """]))
            return try Self.milliseconds(text, since: before)
        }
    }

    private static func milliseconds(_ text: String, since before: Double) throws -> Double {
        guard let clock = Double(text.trimmingCharacters(in: .whitespacesAndNewlines)) else { throw BenchError("no clock: \(text)") }
        return (clock / 1e9 - before) * 1000
    }
}
