internal import CLinux

/// Directories, as far as /proc is read.
public enum Directory {
    /// The names in a directory. When this returns, nothing of it is open any more.
    public static func names(in path: String) throws(Errno) -> [String] {
        // SAFETY: the stream is used here only, and closed once; entries are copied before the next is read.
        guard let stream = unsafe opendir(path) else { throw Errno(linux_errno()) }
        defer { unsafe closedir(stream) }
        var names: [String] = []
        while let entry = unsafe readdir(stream) {
            names.append(unsafe String(cString: linux_entry_name(entry)))
        }
        return names
    }
}
