internal import CLinux
public import Linux

/// Signals as events of the loop. There are no handlers, hence nothing that a handler could disturb.
public struct QuitSignals: Sendable {
    public enum Event: Sendable, Equatable {
        /// SIGTERM or SIGQUIT: end with status 0.
        case quit
        /// SIGUSR1: print the counters.
        case printCounters
        /// SIGCHLD: look at the command.
        case child
        /// SIGINT in command mode: the terminal's interrupt key.
        case interrupt
        /// SIGTSTP in command mode: the terminal's suspend key.
        case suspend
    }

    /// To be watched for input.
    public let descriptor: Descriptor
    private let maskBefore: SignalSet
    /// Those of `writing` that were not ignored before.
    private let ignored: [Int32]
    /// Whether the caller ignores the ends of its children, which goes for ours as well (execve(2)): the kernel would take them and say nothing (wait(2)).
    private let ignoredChildren: Bool

    /// What the kernel sends beside the error of a write: for a connection or pipe that nobody reads (EPIPE), and for a file that is as long as it may be
    /// (EFBIG; RLIMIT_FSIZE, `ulimit -f`, LimitFSIZE= of systemd), as a capture or a log can be.
    private static var writing: [Int32] { [SIGPIPE, SIGXFSZ] }

    /// From here on these signals wait to be read, and writing in vain is an error instead of a signal. Without a
    /// command SIGINT and SIGTSTP do what they always do.
    public static func install(withCommand: Bool) throws(SetupError) -> QuitSignals {
        let plain = SignalSet(SIGTERM, SIGQUIT, SIGUSR1, SIGCHLD)
        let set = withCommand ? SignalSet(SIGTERM, SIGQUIT, SIGUSR1, SIGCHLD, SIGINT, SIGTSTP) : plain
        do throws(Errno) {
            let before = try Signals.block(set)
            let descriptor = try Signals.descriptor(for: set)
            let ignored = writing.filter { !Signals.isIgnored($0) }
            for number in ignored { Signals.ignore(number) }
            let ignoredChildren = Signals.isIgnored(SIGCHLD)
            if ignoredChildren { Signals.setDefault(SIGCHLD) }
            return QuitSignals(descriptor: descriptor, maskBefore: before, ignored: ignored, ignoredChildren: ignoredChildren)
        } catch {
            throw SetupError(.process, "Couldn't take over signals", error)
        }
    }

    /// The next signal; nil when there is none. Call it until then. Allocates nothing. (read)
    public func next() -> Event? {
        switch Signals.next(from: descriptor) {
        case SIGTERM, SIGQUIT: .quit
        case SIGUSR1: .printCounters
        case SIGCHLD: .child
        case SIGINT: .interrupt
        case SIGTSTP: .suspend
        default: nil
        }
    }

    /// Back to how the caller had it, in a child that becomes something else: what is ignored stays so when a program is executed (execve(2)).
    public func restore() {
        for number in ignored { Signals.setDefault(number) }
        if ignoredChildren { Signals.ignore(SIGCHLD) }
        _ = try? Signals.setMask(maskBefore)
    }
}
