public import CLinux

/// What became of a child process.
public enum ChildStatus: Equatable, Sendable {
    case exited(Int32)
    case killed(signal: Int32)
    case stopped(signal: Int32)
    /// There is no such child.
    case none

    /// The status a shell reports: the exit status, or 128 + the signal. Nil while the child lives.
    public var exitStatus: Int32? {
        switch self {
        case .exited(let status): status
        case .killed(let signal): 128 + signal
        case .stopped: nil
        case .none: 1
        }
    }
}

/// Calls that concern whole processes. Forks are meant for a process of one thread; where there may be more, as in
/// tests, the child must not allocate.
public enum Process {
    public static var identifier: Int32 { getpid() }

    /// Splits the process; the child starts in new namespaces of the given kinds.
    /// Returns the child's number as seen from here, and 0 in the child.
    public static func fork(into namespaces: Namespaces = []) throws(Errno) -> Int32 {
        Int32(truncatingIfNeeded: try Errno.check(linux_fork(UInt(namespaces.rawValue))))
    }

    /// Ends the process at once; nothing registered to run at exit runs.
    public static func exit(_ status: Int32) -> Never { _exit(status) }

    /// The same, without the compiler's knowing: on a way that is known to end, it destroys non-copyable values beforehand.
    public static func leave(_ status: Int32) -> Int32 { linux_leave(status) }

    /// Waits for the child to end.
    public static func wait(for child: Int32) throws(Errno) -> ChildStatus {
        while true {
            if let status = try poll(child, options: 0), status.exitStatus != nil { return status }
        }
    }

    /// What happened to the child since the last look, its being stopped included; nil: nothing. (wait4)
    public static func changed(_ child: Int32) throws(Errno) -> ChildStatus? {
        try poll(child, options: WNOHANG | WUNTRACED)
    }

    private static func poll(_ child: Int32, options: Int32) throws(Errno) -> ChildStatus? {
        var status: Int32 = 0
        // SAFETY: the status is written during the call.
        let result = restarting { unsafe linux_waitpid(child, &status, options) }
        if result == -ECHILD { return ChildStatus.none }
        if try Errno.check(result) == 0 { return nil }
        if linux_WIFEXITED(status) != 0 { return .exited(linux_WEXITSTATUS(status)) }
        if linux_WIFSIGNALED(status) != 0 { return .killed(signal: linux_WTERMSIG(status)) }
        return .stopped(signal: linux_WSTOPSIG(status))
    }

    public static func signal(_ process: Int32, _ number: Int32) throws(Errno) {
        try Errno.check(linux_kill(process, number))
    }

    /// A descriptor that becomes readable when the process ends. ENOSYS before Linux 5.3.
    public static func watch(_ process: Int32) throws(Errno) -> Descriptor {
        try Descriptor(Errno.check(linux_pidfd_open(process)))
    }

    /// Becomes the program that PATH finds for the first word. Returns only with the reason of failure. Where the words are the last of our own arguments, these are
    /// passed on as they were given: what is no UTF-8 could not be said in words.
    public static func execute(_ words: [String]) -> Errno {
        guard let file = words.first, !words.contains(where: { $0.utf8.contains(0) }) else { return Errno(EINVAL) }
        let (own, first) = (CommandLine.arguments, CommandLine.arguments.count - words.count)
        if first >= 0, own[first...].elementsEqual(words) {
            // SAFETY: the kernel gave us as many arguments, and a null behind them; nobody has changed them.
            let given = unsafe CommandLine.unsafeArgv + first
            if let file = unsafe given.pointee { return Errno(-(unsafe linux_execvp(file, given))) }
        }
        // SAFETY: the copies live until the process becomes another or this function returns after a failure.
        var arguments = unsafe words.map { unsafe strdup($0) }
        unsafe arguments.append(nil)
        let result = unsafe linux_execvp(file, &arguments)
        for unsafe argument in unsafe arguments { unsafe free(argument) }
        return Errno(-result)
    }

    /// Whether this user may run the file. (access)
    public static func mayExecute(_ path: String) -> Bool {
        // SAFETY: the string lives as long as the call.
        unsafe linux_access(path, X_OK) == 0
    }

    public static func newSession() throws(Errno) { try Errno.check(linux_setsid()) }

    public static func changeDirectory(to path: String) throws(Errno) {
        // SAFETY: the string lives as long as the call.
        try Errno.check(unsafe linux_chdir(path))
    }

    public static func changeRoot(to path: String) throws(Errno) {
        // SAFETY: the string lives as long as the call.
        try Errno.check(unsafe linux_chroot(path))
    }

    /// The value of an environment variable.
    public static func environment(_ name: String) -> String? {
        // SAFETY: nothing changes the environment, and the value is copied.
        unsafe getenv(name).map { unsafe String(cString: $0) }
    }
}

extension Process {
    /// The kernel kills this process with `signal` when its parent ends. (prctl)
    public static func dieWithParent(_ signal: Int32 = SIGKILL) throws(Errno) {
        try Errno.check(linux_prctl(PR_SET_PDEATHSIG, UInt(signal), 0, 0, 0))
    }

    /// No program this process executes gains rights by it. (prctl)
    public static func forbidNewPrivileges() throws(Errno) {
        try Errno.check(linux_prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
    }

    /// Whether processes of the same user may look into this one, which also decides who owns its files in /proc. (prctl)
    public static func setDumpable(_ on: Bool) throws(Errno) {
        try Errno.check(linux_prctl(PR_SET_DUMPABLE, on ? 1 : 0, 0, 0, 0))
    }
}

extension SystemCall {
    public static var end: [Permission] { [Permission(.exitGroup)] }

    /// Waiting for `child`, and sending these signals to it or to this process itself.
    public static func control(of child: Int32, from own: Int32, signals: [Int32]) -> [Permission] {
        [Permission(.wait4, Condition(0, [child])), Permission(.kill, Condition(0, [child, own]), Condition(1, signals))]
    }
}
