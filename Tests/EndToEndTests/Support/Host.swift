import Foundation
import Glibc

/// Who runs a program on a host.
enum User {
    /// Root of the user namespace that owns the host's network.
    case root
    /// User 1000, with no capability over the host's network: how pasta is mostly run.
    case ordinary
}

/// One network namespace of a test.
final class Host {
    let name: String
    unowned let network: Network

    init(name: String, network: Network) {
        self.name = name
        self.network = network
    }

    var path: String { "/run/netns/" + name }

    /// The identity that processes inside show in /proc; nil once it is removed.
    var namespaceFile: String? {
        var status = stat()
        // SAFETY: the structure is the call's own type.
        guard unsafe stat(path, &status) == 0 else { return nil }
        return "net:[\(status.st_ino)]"
    }

    /// Each word runs the next in place, so the program has the process number of the whole.
    private func enter(_ user: User, resolvConf: String?) throws -> [String] {
        var words = ["nsenter", "--net=" + path, "--"]
        if let resolvConf {
            let file = try network.file("resolv.conf", resolvConf)
            let mount = "mount --bind \(file) \"$(readlink -f /etc/resolv.conf)\" && exec \"$@\""
            words += ["unshare", "--mount", "sh", "-c", mount, "sh"]
        }
        if user == .ordinary {
            words += ["nsenter", "--user=" + (try network.ordinaryUserNamespace()), "--preserve-credentials", "--"]
        }
        return words
    }

    func start(
        _ arguments: [String], as user: User = .root, resolvConf: String? = nil, environment: [String: String] = [:]
    ) throws -> Child {
        try network.start(enter(user, resolvConf: resolvConf) + arguments, environment: environment)
    }

    func run(
        _ arguments: [String], as user: User = .root, environment: [String: String] = [:], seconds: Double = 20
    ) throws -> Output {
        try start(arguments, as: user, environment: environment).wait(seconds: seconds)
    }

    func sh(_ script: String, as user: User = .root, environment: [String: String] = [:], seconds: Double = 20) throws -> Output {
        try run(["sh", "-c", script], as: user, environment: environment, seconds: seconds)
    }

    /// Starts a server and waits until somebody listens on `port`.
    @discardableResult
    func serve(_ arguments: [String], port: Int, udp: Bool = false) throws -> Child {
        let child = try start(arguments)
        let filter = "sport = :\(port)"
        try require("\(arguments.joined(separator: " ")) to listen") {
            let sockets = try? run(["ss", "-Hln", udp ? "-u" : "-t", filter])
            return child.poll() != nil || sockets?.text.isEmpty == false
        }
        if let ending = child.poll() { throw Failure("\(arguments): \(ending)\n\(child.standardError)") }
        return child
    }

    /// Waits until so many TCP connections are open here.
    func awaitConnections(_ count: Int) throws {
        try require("connections") { (try? run(["ss", "-Htn", "state", "established"]))?.lines.count ?? 0 >= count }
    }

    /// The tests' own server, TCP and UDP, both families or at one address; what it offers is at its head.
    @discardableResult
    func serveTests(port: Int = 4000, address: String? = nil) throws -> Child {
        let child = try start(["python3", Helpers.path("server.py"), "\(port)"] + (address.map { [$0] } ?? []))
        try require("server.py to be ready") { child.poll() != nil || child.standardOutput.contains("ready") }
        if child.poll() != nil { throw Failure("server.py: \(child.standardError)") }
        return child
    }
}
