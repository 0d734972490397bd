// Support: what the end-to-end tests stand on.
//
//     Spawn     one process with files as its output     Network   hosts made of network namespaces
//     Output    what a finished process left             Host      running things on one of them
//     Deadline  waiting for a condition                  Guest     a namespace connected by pasta
//
// Output goes to files, never to pipes of this process: a daemon that keeps its standard output open cannot
// hang a test, and parallel tests cannot inherit each other's pipes. Nothing here waits without a deadline.

import Foundation
import Glibc

/// How a process ended.
enum Ending: Equatable {
    case exited(Int32)
    case signalled(Int32)
}

/// A started process, leader of a session of its own.
final class Child {
    let pid: pid_t
    let arguments: [String]
    private let outputPath: String
    private let errorPath: String
    private var ending: Ending?

    /// Finds the program in PATH. `output` names the files to write, with `.out` and `.err` appended.
    init(_ arguments: [String], environment: [String: String] = [:], output: String) throws {
        self.arguments = arguments
        outputPath = output + ".out"
        errorPath = output + ".err"
        let merged = ProcessInfo.processInfo.environment.merging(environment) { $1 }
        pid = try spawn(arguments, merged.map { "\($0)=\($1)" }, outputPath, errorPath)
    }

    var standardOutput: String { contents(outputPath) }
    var standardError: String { contents(errorPath) }

    /// Without waiting: nil while it runs.
    func poll() -> Ending? {
        if ending != nil { return ending }
        var status: Int32 = 0
        guard unsafe waitpid(pid, &status, WNOHANG) == pid else { return nil }
        let signal = status & 0x7f
        ending = signal == 0 ? .exited((status >> 8) & 0xff) : .signalled(signal)
        return ending
    }

    /// Ends it by force, with its session's other processes, if it takes longer; `ending` is nil then.
    func wait(seconds: Double = 30) -> Output {
        let start = ContinuousClock.now
        let ended = eventually(within: seconds) { poll() != nil }
        if !ended { kill() }
        return Output(
            arguments: arguments, ending: ended ? ending : nil, out: standardOutput, err: standardError,
            duration: ContinuousClock.now - start)
    }

    func send(_ signal: Int32) {
        if poll() == nil { _ = Glibc.kill(pid, signal) }
    }

    func kill() {
        _ = Glibc.kill(-pid, SIGKILL)
        if poll() == nil { _ = Glibc.kill(pid, SIGKILL) }
        _ = eventually(within: 5) { poll() != nil }
    }
}

/// What a process left.
struct Output: CustomStringConvertible {
    let arguments: [String]
    /// nil: it was ended for taking too long.
    let ending: Ending?
    let out: String
    let err: String
    let duration: Duration

    var succeeded: Bool { ending == .exited(0) }
    var lines: [String] { out.split(separator: "\n").map(String.init) }
    var errorLines: [String] { err.split(separator: "\n").map(String.init) }
    var text: String { out.trimmingCharacters(in: .whitespacesAndNewlines) }

    var description: String {
        let how = ending.map { "\($0)" } ?? "took too long"
        return "\(arguments.joined(separator: " ")): \(how) after \(duration)\n--- out\n\(out)--- err\n\(err)---"
    }
}

/// Something that the test needs did not happen; stops the test.
struct Failure: Error, CustomStringConvertible {
    let description: String
    init(_ description: String) { self.description = description }
}

/// Looks at `condition` until it holds, at most so long.
func eventually(within seconds: Double = 10, _ condition: () -> Bool) -> Bool {
    let end = ContinuousClock.now + .seconds(seconds)
    var pause: UInt32 = 1000
    while !condition() {
        if ContinuousClock.now > end { return condition() }
        usleep(pause)
        pause = min(pause * 2, 20000)
    }
    return true
}

func require(_ what: String, within seconds: Double = 10, _ condition: () -> Bool) throws {
    guard eventually(within: seconds, condition) else { throw Failure("\(what): not within \(seconds) s") }
}

func contents(_ path: String) -> String {
    (try? Data(contentsOf: URL(fileURLWithPath: path))).map { String(decoding: $0, as: UTF8.self) } ?? ""
}

private func spawn(_ arguments: [String], _ environment: [String], _ out: String, _ err: String) throws -> pid_t {
    var actions = unsafe posix_spawn_file_actions_t()
    var attributes = posix_spawnattr_t()
    var mask = sigset_t()
    // SAFETY: every structure is initialised by its own call before use, and the strings outlive the spawn.
    unsafe posix_spawn_file_actions_init(&actions)
    unsafe posix_spawnattr_init(&attributes)
    defer {
        unsafe posix_spawn_file_actions_destroy(&actions)
        unsafe posix_spawnattr_destroy(&attributes)
    }
    let create = O_WRONLY | O_CREAT | O_TRUNC
    unsafe posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0)
    unsafe posix_spawn_file_actions_addopen(&actions, 1, out, create, 0o644)
    unsafe posix_spawn_file_actions_addopen(&actions, 2, err, create, 0o644)
    unsafe posix_spawn_file_actions_addclosefrom_np(&actions, 3)
    unsafe sigemptyset(&mask)
    unsafe posix_spawnattr_setsigmask(&attributes, &mask)
    unsafe posix_spawnattr_setflags(&attributes, Int16(POSIX_SPAWN_SETSIGMASK) | 0x80 /* POSIX_SPAWN_SETSID */)
    let argv = unsafe arguments.map { unsafe strdup($0) } + [nil]
    let envp = unsafe environment.map { unsafe strdup($0) } + [nil]
    defer {
        for unsafe string in unsafe argv + envp { unsafe free(string) }
    }
    var pid: pid_t = 0
    let error = unsafe posix_spawnp(&pid, arguments[0], &actions, &attributes, argv, envp)
    guard error == 0 else { throw Failure("cannot run \(arguments[0]): error \(error)") }
    return pid
}
