import Foundation
import Glibc

/// What the machine that runs pasta is connected to.
enum Shape: CaseIterable {
    /// Both families, default routes over the router.
    case complete
    case withoutIPv6
    /// Where nobody may open a ping socket.
    case withoutPing
    /// Addresses and link routes only.
    case withoutDefaultRoute
    /// Nothing but loopback.
    case withoutInterface
}

enum Family: CaseIterable {
    case v4, v6

    /// The router, as the host's default gateway.
    var gateway: String { self == .v4 ? "198.51.100.254" : "2001:db8:1::fe" }
    /// Of the host, and so of the guest.
    var hostAddress: String { self == .v4 ? "198.51.100.1" : "2001:db8:1::1" }
    /// Of the remote host.
    var server: String { self == .v4 ? "203.0.113.2" : "2001:db8:2::2" }
    /// In the remote host's network, but nobody's.
    var nobody: String { self == .v4 ? "203.0.113.77" : "2001:db8:2::77" }
    var loopback: String { self == .v4 ? "127.0.0.1" : "::1" }
    /// Of the host's other interface, where it has one, and of who is at its end; see `addFarSide`.
    var otherHostAddress: String { self == .v4 ? "192.0.2.1" : "2001:db8:3::1" }
    var farClient: String { self == .v4 ? "192.0.2.2" : "2001:db8:3::2" }
    /// As tools take it: `-4`, `-6`.
    var flag: String { self == .v4 ? "-4" : "-6" }
    /// As in a URL.
    func bracketed(_ address: String) -> String { self == .v4 ? address : "[\(address)]" }
}

/// Three hosts, each a network namespace, in a row:
///
///     host  wan0 --- lan0  router  lan1 --- srv0  remote
///     198.51.100.1/24  .254          203.0.113.254  203.0.113.2/24
///     2001:db8:1::1/64  ::fe        2001:db8:2::fe  2001:db8:2::2/64
///
/// pasta runs on `host`. Its gateway, the router, is by default mapped to the host's loopback: servers stand on `remote`.
final class Network {
    let name: String
    /// For the test's files; removed with the network.
    let directory: String
    private(set) var host: Host! = nil
    private(set) var router: Host! = nil
    private(set) var remote: Host! = nil
    private(set) var children: [Child] = []
    private var userHolder: Child?
    fileprivate var guests: [Guest] = []
    private var extraHosts: [Host] = []
    private var outputs = 0

    fileprivate init(_ shape: Shape) throws {
        guard ProcessInfo.processInfo.environment["SWIFT_PASST_E2E"] == "1" else {
            throw Failure("end-to-end tests run in namespaces of their own: start them with Scripts/test e2e")
        }
        name = "n\(counter.next())"
        directory = NSTemporaryDirectory() + "/" + name
        try FileManager.default.createDirectory(atPath: directory, withIntermediateDirectories: true)
        host = Host(name: name + "-host", network: self)
        router = Host(name: name + "-router", network: self)
        remote = Host(name: name + "-remote", network: self)
        try run(["sh", "-eu", Helpers.path("topology.sh"), name, "\(shape)"], seconds: 30).check()
    }

    /// One more host, connected to nothing.
    func addHost(_ suffix: String) throws -> Host {
        try run(["ip", "netns", "add", "\(name)-\(suffix)"]).check()
        let host = Host(name: "\(name)-\(suffix)", network: self)
        extraHosts.append(host)
        return host
    }

    /// A second interface of the host, and the host at its end; see `far-side.sh`.
    func addFarSide() throws -> Host {
        let far = try addHost("far")
        try run(["sh", "-eu", Helpers.path("far-side.sh"), name]).check()
        return far
    }

    /// Two hosts behind the namespace NAME-guest, which is their router; see `behind-guest.sh`. The last one.
    func addHostsBehindGuest() throws -> Host {
        _ = try addHost("middle")
        let last = try addHost("last")
        try run(["sh", "-eu", Helpers.path("behind-guest.sh"), name]).check()
        return last
    }

    func add(_ guest: Guest) { guests.append(guest) }

    /// A path for a file of this test.
    func path(_ file: String) -> String { directory + "/" + file }

    /// A file of this test with that content.
    func file(_ file: String, _ text: String) throws -> String {
        try text.write(toFile: path(file), atomically: false, encoding: .utf8)
        return path(file)
    }

    /// Starts a process that the end of the test also ends, marked so that its descendants are found too.
    func start(_ arguments: [String], environment: [String: String] = [:]) throws -> Child {
        outputs += 1
        let marked = environment.merging(["E2E_NETWORK": name]) { $1 }
        let child = try Child(arguments, environment: marked, output: path("\(outputs)"))
        children.append(child)
        return child
    }

    /// The user namespace of this network's ordinary user, the same for all that it runs.
    func ordinaryUserNamespace() throws -> String {
        if let userHolder { return "/proc/\(userHolder.pid)/ns/user" }
        let child = try start(["unshare", "--user", "--map-user=1000", "--map-group=1000", "--", "sleep", "infinity"])
        try require("a user namespace") { ProcessTable.name(child.pid) == "sleep" }
        userHolder = child
        return "/proc/\(child.pid)/ns/user"
    }

    @discardableResult
    func run(_ arguments: [String], environment: [String: String] = [:], seconds: Double = 20) throws -> Output {
        try start(arguments, environment: environment).wait(seconds: seconds)
    }

    /// Every process of this test: it carries the mark, or is in one of the hosts' namespaces.
    fileprivate func processes() -> [pid_t] {
        let namespaces = Set(hosts.compactMap { $0.namespaceFile })
        let mark = Data("\0E2E_NETWORK=\(name)\0".utf8)
        return ProcessTable.all().filter { pid in
            if let namespace = ProcessTable.networkNamespace(pid), namespaces.contains(namespace) { return true }
            let environment = FileManager.default.contents(atPath: "/proc/\(pid)/environ") ?? Data()
            return (Data([0]) + environment).range(of: mark) != nil
        }
    }

    /// The processes named `pasta`, or as the binary under test, in the hosts' namespaces.
    func pastas() -> [pid_t] {
        let namespaces = Set(hosts.compactMap { $0.namespaceFile })
        return ProcessTable.all().filter { pid in
            guard ProcessTable.name(pid).hasPrefix("pas"), let own = ProcessTable.networkNamespace(pid) else { return false }
            return namespaces.contains(own)
        }
    }

    /// Of them, those that forward: helpers are in the guests' namespaces.
    func daemons() -> [pid_t] { pastas().filter { ProcessTable.networkNamespace($0) == host.namespaceFile } }

    /// Whatever of the program under test there is, also in the namespaces that it made: its helpers are in the guests'.
    fileprivate func leftBehind() -> [pid_t] { processes().filter { ProcessTable.name($0).hasPrefix("pas") } }

    private var hosts: [Host] { [host, router, remote].compactMap(\.self) + extraHosts }

    fileprivate func remove() {
        for child in children where child.poll() == nil { child.kill() }
        for pid in processes() { _ = Glibc.kill(pid, SIGKILL) }
        _ = eventually(within: 5) { processes().isEmpty }
        for host in hosts { _ = try? Child(["ip", "netns", "del", host.name], output: path("del")).wait(seconds: 10) }
        try? FileManager.default.removeItem(atPath: directory)
    }
}

/// Builds a network for `body` and removes it afterwards, whatever happened. A pasta whose command ends must end too,
/// and nothing of it may be left.
func withNetwork(_ shape: Shape = .complete, _ body: (Network) throws -> Void) throws {
    let network = try Network(shape)
    defer { network.remove() }
    try body(network)
    for guest in network.guests where guest.pasta.poll() == nil {
        let output = try guest.stop()
        guard output.ending != nil else { throw Failure("did not end with its command: \(output)") }
    }
    for child in network.children where child.poll() == nil { child.kill() }
    guard eventually(within: 5, { network.leftBehind().isEmpty }) else {
        throw Failure("left behind: " + network.leftBehind().map { "\($0) \(ProcessTable.name($0))" }.joined(separator: ", "))
    }
}

/// Files beside the tests.
enum Helpers {
    static func path(_ name: String) -> String {
        URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
            .appendingPathComponent("Helpers").appendingPathComponent(name).path
    }
}

/// Numbers that name networks.
private final class Counter: @unchecked Sendable {
    private let lock = NSLock()
    private var value = 0

    func next() -> Int { lock.withLock { value += 1; return value } }
}

private let counter = Counter()

/// What /proc says of processes.
enum ProcessTable {
    static func all() -> [pid_t] {
        ((try? FileManager.default.contentsOfDirectory(atPath: "/proc")) ?? []).compactMap { pid_t($0) }
            .filter { $0 != getpid() && state($0) != "Z" }
    }

    static func name(_ pid: pid_t) -> String {
        contents("/proc/\(pid)/comm").trimmingCharacters(in: .newlines)
    }

    static func state(_ pid: pid_t) -> String {
        let stat = contents("/proc/\(pid)/stat")
        guard let end = stat.lastIndex(of: ")") else { return "Z" }
        return String(stat[stat.index(after: end)...].dropFirst().prefix(1))
    }

    /// Such as `net:[4026531840]`; nil where it is gone.
    static func networkNamespace(_ pid: pid_t) -> String? {
        try? FileManager.default.destinationOfSymbolicLink(atPath: "/proc/\(pid)/ns/net")
    }

    static func exists(_ pid: pid_t) -> Bool { kill(pid, 0) == 0 && state(pid) != "Z" }

    /// The processes whose environment holds `variable` with that value.
    static func marked(_ variable: String, _ value: String) -> [pid_t] {
        let mark = Data("\0\(variable)=\(value)\0".utf8)
        return all().filter { pid in
            let environment = FileManager.default.contents(atPath: "/proc/\(pid)/environ") ?? Data()
            return (Data([0]) + environment).range(of: mark) != nil
        }
    }
}

extension Output {
    /// Stops the test unless the process succeeded.
    @discardableResult
    func check() throws -> Output {
        guard succeeded else { throw Failure(description) }
        return self
    }
}
