public import Linux

/// Why a run cannot start: the step that failed, and one line for the user. Daemon prints the line once and exits with status 1.
public struct SetupError: Error, Equatable, Sendable {
    public enum Stage: Sendable, Equatable {
        case options
        /// Finding out what the host looks like.
        case discovery
        /// Joining, making or configuring the guest's namespace.
        case namespace
        /// Listening sockets and the link to the guest.
        case sockets
        /// Dropping privileges.
        case isolation
        /// Log, PID file, going to the background.
        case process
    }

    public let stage: Stage
    /// Without a trailing newline or full stop.
    public let message: String

    public init(_ stage: Stage, _ message: String) {
        self.stage = stage
        self.message = message
    }

    /// `message` followed by what the kernel said, and by what can be done about it where that is known.
    public init(_ stage: Stage, _ message: String, _ error: Errno, hint: String? = nil) {
        self.init(stage, "\(message): \(error.text)" + (hint.map { ", " + $0 } ?? ""))
    }
}
