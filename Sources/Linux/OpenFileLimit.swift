internal import CLinux

/// How many descriptors this process may have (RLIMIT_NOFILE, getrlimit(2)). The usual 1024 is meant for programs that use select().
public struct OpenFileLimit: Sendable, Equatable {
    public let soft: UInt64
    public let hard: UInt64

    /// The soft limit; 1024 where the kernel does not tell.
    public static var current: UInt64 {
        var soft: UInt64 = 0
        var hard: UInt64 = 0
        // SAFETY: both numbers are written during the call.
        return unsafe linux_limit(Int32(LINUX_LIMIT_OPEN_FILES), &soft, &hard) == 0 ? soft : 1024
    }

    /// Raises the soft limit to the hard one and returns what was before, for children; nil where the kernel does not let us.
    public static func raise() -> OpenFileLimit? {
        var soft: UInt64 = 0
        var hard: UInt64 = 0
        // SAFETY: both numbers are written during the call.
        guard unsafe linux_limit(Int32(LINUX_LIMIT_OPEN_FILES), &soft, &hard) == 0 else { return nil }
        let before = OpenFileLimit(soft: soft, hard: hard)
        guard soft == hard || linux_set_open_file_limit(hard, hard) == 0 else { return nil }
        return before
    }

    /// Makes this the limit again.
    public func restore() { _ = linux_set_open_file_limit(soft, hard) }
}
