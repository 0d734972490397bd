internal import Foundation

/// A running program. Its output goes to files, so that it never blocks on us. Started and awaited with the system's
/// own calls, since this program may be the first of its process namespace. Each has a session of its own, as clients, containers and
/// relays have (or control groups): the scheduler shares processors between sessions first, which changes what some relays carry by a third.
final class Child {
    private(set) var pid: pid_t = 0
    private var status: Int32?
    private var inputEnd: Int32 = -1
    private let folder: String

    /// - Parameters:
    ///   - words: the program, found in PATH, and its arguments.
    ///   - input: whether it gets a pipe on standard input, for `say`; else it reads nothing.
    init(_ words: [String], input: Bool) throws {
        folder = "/tmp/bench-\(getpid())-\(UUID().uuidString)"
        try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: false)
        var ends: [Int32] = [-1, -1]
        // SAFETY: the array has room for both ends.
        if input, unsafe pipe2(&ends, O_CLOEXEC) != 0 { throw BenchError("no pipe") }
        inputEnd = ends[1]
        defer { if input { close(ends[0]) } }
        let failure = spawn(words, input: ends[0])
        if failure != 0 { throw BenchError("\(words[0]): error \(failure)") }
    }

    deinit {
        stop()
        endInput()
        try? FileManager.default.removeItem(atPath: folder)
    }

    private func spawn(_ words: [String], input: Int32) -> Int32 {
        // SAFETY: actions, attributes and argument strings live until the call has returned.
        var actions = unsafe posix_spawn_file_actions_t()
        unsafe posix_spawn_file_actions_init(&actions)
        defer { unsafe posix_spawn_file_actions_destroy(&actions) }
        if input >= 0 {
            unsafe posix_spawn_file_actions_adddup2(&actions, input, 0)
        } else {
            unsafe posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0)
        }
        unsafe posix_spawn_file_actions_addopen(&actions, 1, folder + "/out", O_WRONLY | O_CREAT | O_TRUNC, 0o600)
        unsafe posix_spawn_file_actions_addopen(&actions, 2, folder + "/err", O_WRONLY | O_CREAT | O_TRUNC, 0o600)
        unsafe posix_spawn_file_actions_addclosefrom_np(&actions, 3)
        var arguments = unsafe words.map { unsafe strdup($0) } + [nil]
        defer { for unsafe argument in unsafe arguments { unsafe free(argument) } }
        var attributes = posix_spawnattr_t()
        unsafe posix_spawnattr_init(&attributes)
        defer { unsafe posix_spawnattr_destroy(&attributes) }
        unsafe posix_spawnattr_setflags(&attributes, Int16(POSIX_SPAWN_SETSID))
        return unsafe posix_spawnp(&pid, words[0], &actions, &attributes, &arguments, environ)
    }

    var isRunning: Bool {
        guard status == nil else { return false }
        var word: Int32 = 0
        // SAFETY: one status word is written.
        if unsafe waitpid(pid, &word, WNOHANG) == 0 { return true }
        status = word & 0x7f == 0 ? (word >> 8) & 0xff : 128 + (word & 0x7f)
        return false
    }

    var output: String { Shell.contents(folder + "/out") ?? "" }
    var errors: String { Shell.contents(folder + "/err") ?? "" }

    func say(_ line: String) {
        let bytes = Array((line + "\n").utf8)
        _ = unsafe write(inputEnd, bytes, bytes.count)  // SAFETY: the array lives as long as the call.
    }

    func endInput() {
        if inputEnd >= 0 { close(inputEnd) }
        inputEnd = -1
    }

    /// Waits until it has ended, at most `timeout` seconds; then ends it.
    func finish(timeout: Double) -> Shell.Output {
        if !Shell.wait(timeout, until: { !isRunning }) {
            stop()
            return Shell.Output(status: -1, text: output, errors: errors + "(no end within \(Int(timeout)) s)")
        }
        return Shell.Output(status: status ?? -1, text: output, errors: errors)
    }

    /// Asks it to end, and makes it end after 3 seconds.
    func stop(_ signal: Int32 = SIGTERM) {
        guard isRunning else { return }
        kill(pid, signal)
        if !Shell.wait(3, until: { !isRunning }) {
            kill(pid, SIGKILL)
            _ = Shell.wait(3, until: { !isRunning })
        }
    }
}
