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
        /// SIGINT in command mode: the terminal's interrupt key, which the command has got as well, or what a process has sent, to us alone as far as we know.
        case interrupt(isOfProcess: Bool)
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
    /// command SIGINT and SIGTSTP do what they always do. What the caller ignores, but for the first two, stays ignored: blocked, it would come all the same.
    public static func install(withCommand: Bool) throws(SetupError) -> QuitSignals {
        var set = SignalSet(SIGTERM, SIGCHLD)
        for number in [SIGQUIT, SIGUSR1] + (withCommand ? [SIGINT, SIGTSTP] : []) where !Signals.isIgnored(number) { set.insert(number) }
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
        guard let (number, isOfProcess) = Signals.next(from: descriptor) else { return nil }
        return switch number {
        case SIGTERM, SIGQUIT: .quit
        case SIGUSR1: .printCounters
        case SIGCHLD: .child
        case SIGINT: .interrupt(isOfProcess: isOfProcess)
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
