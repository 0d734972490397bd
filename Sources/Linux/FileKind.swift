internal import CLinux

/// What a name in the file system stands for, as far as that matters here.
public enum FileKind: Equatable, Sendable {
    case directory
    case socket
    case other

    /// Without following, a symbolic link is `other`.
    public static func of(_ path: String, follow: Bool = true) throws(Errno) -> FileKind {
        var status = stat()
        // SAFETY: the string lives as long as the call, and the structure is written during it.
        try Errno.check(unsafe linux_fstatat(AT_FDCWD, path, &status, follow ? 0 : AT_SYMLINK_NOFOLLOW))
        switch status.st_mode & UInt32(S_IFMT) {
        case UInt32(S_IFDIR): return .directory
        case UInt32(S_IFSOCK): return .socket
        default: return .other
        }
    }
}
