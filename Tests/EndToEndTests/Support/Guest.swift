import Foundation
import Glibc

/// The binary under test.
enum Pasta {
    static let path = ProcessInfo.processInfo.environment["PASTA"] ?? ".build/release/pasta"
}

/// A namespace that pasta made for a command, which sleeps: tests run their clients beside it.
final class Guest {
    let pasta: Child
    /// The sleeping command.
    let pid: pid_t
    unowned let network: Network

    /// Returns when the command runs, which is when pasta says that the namespace is ready.
    init(_ network: Network, _ options: [String], as user: User, resolvConf: String?, wrapper: [String]) throws {
        self.network = network
        let mark = UUID().uuidString
        let arguments = wrapper + [Pasta.path] + options + ["--", "sleep", "infinity"]
        pasta = try network.host.start(arguments, as: user, resolvConf: resolvConf, environment: ["E2E_GUEST": mark])
        var command: pid_t?
        let pasta = pasta
        try require("\(arguments.joined(separator: " ")) to start its command") {
            command = ProcessTable.marked("E2E_GUEST", mark).first { ProcessTable.name($0) == "sleep" }
            return command != nil || pasta.poll() != nil
        }
        guard let command else { throw Failure(pasta.wait().description) }
        pid = command
    }

    private var enter: [String] { ["nsenter", "--target", "\(pid)", "--user", "--net", "--preserve-credentials", "--"] }

    func start(_ arguments: [String], environment: [String: String] = [:]) throws -> Child {
        try network.start(enter + arguments, environment: environment)
    }

    func run(_ arguments: [String], seconds: Double = 20) throws -> Output { try start(arguments).wait(seconds: seconds) }

    func sh(_ script: String, seconds: Double = 20) throws -> Output { try run(["sh", "-c", script], seconds: seconds) }

    /// The tests' own client; see the head of client.py.
    func client(_ words: Any..., seconds: Double = 30) throws -> Output {
        try run(["python3", Helpers.path("client.py")] + words.map { "\($0)" }, seconds: seconds)
    }

    /// Ends the command; pasta follows with the status that says so. Only this signal always ends it: the command may be
    /// the first process of a namespace, which ignores what it does not handle.
    func stop() throws -> Output {
        _ = kill(pid, SIGKILL)
        return pasta.wait(seconds: 5)
    }
}

extension Network {
    /// Connects a new namespace. Without options it gets a copy of the host's configuration. `descriptors`: as many as pasta may have. `wrapper`: what runs pasta.
    /// Ports are forwarded as options say, or by pasta's defaults only if `automatic`: servers of a test would meet in each other's namespace.
    func guest(
        _ options: [String] = ["--config-net"], automatic: Bool = false, as user: User = .ordinary, resolvConf: String? = nil,
        descriptors: Int? = nil, wrapper: [String] = []
    ) throws -> Guest {
        let limit = descriptors.map { ["prlimit", "--nofile=\($0)", "--"] } ?? []
        let missing = automatic ? [] : ["-t", "-u", "-T", "-U"].filter { !options.contains($0) }
        let options = options + missing.flatMap { [$0, "none"] }
        let guest = try Guest(self, options, as: user, resolvConf: resolvConf, wrapper: limit + wrapper)
        add(guest)
        return guest
    }
}
