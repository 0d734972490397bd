internal import CLinux

/// Which file something is, whatever its name.
public struct FileIdentity: Equatable, Sendable {
    public let device: UInt64
    public let number: UInt64
}

extension Descriptor {
    /// A pipe: what is written to the second comes out of the first.
    public static func pipe() throws(Errno) -> (reading: Descriptor, writing: Descriptor) {
        var pair: [Int32] = [-1, -1]
        // SAFETY: the array has the two elements that are written.
        try Errno.check(unsafe linux_pipe(&pair))
        return (Descriptor(pair[0]), Descriptor(pair[1]))
    }

    /// Takes `number` over: afterwards both refer to the same file, without close-on-exec. (dup2)
    public func replace(_ number: Int32) throws(Errno) {
        try Errno.check(restarting { linux_dup2(self.number, number) })
    }

    /// Closes every descriptor in the range. ENOSYS before Linux 5.9. (close_range)
    public static func closeAll(in range: ClosedRange<UInt32>) throws(Errno) {
        try Errno.check(linux_close_range(range.lowerBound, range.upperBound, 0))
    }

    /// Whether the number belongs to an open file.
    public var isInUse: Bool { linux_fcntl(number, F_GETFD, 0) >= 0 }

    public func identity() throws(Errno) -> FileIdentity {
        var status = stat()
        // SAFETY: the structure is written during the call.
        try Errno.check(unsafe linux_fstat(number, &status))
        return FileIdentity(device: UInt64(status.st_dev), number: UInt64(status.st_ino))
    }

    /// The file called `name` in this directory. Without following, a symbolic link itself. `name` ends with a zero.
    /// Allocates nothing. (newfstatat)
    public func identity(of name: [CChar], follow: Bool) throws(Errno) -> FileIdentity {
        var status = stat()
        // SAFETY: the name ends with a zero, by the caller's promise; the structure is written during the call.
        try Errno.check(unsafe linux_fstatat(number, name, &status, follow ? 0 : AT_SYMLINK_NOFOLLOW))
        return FileIdentity(device: UInt64(status.st_dev), number: UInt64(status.st_ino))
    }

    /// Takes the name of a file out of this directory, which may have been opened with O_PATH. (unlinkat)
    public func remove(_ name: String) throws(Errno) {
        // SAFETY: the string lives as long as the call.
        try Errno.check(unsafe linux_unlinkat(number, name))
    }

    /// Whether the file lies in a procfs.
    public func isInProcfs() throws(Errno) -> Bool {
        try Errno.check(linux_filesystem_kind(number)) == 0x9fa0
    }

    /// Moves to the end and returns the length; ESPIPE for what has none. (lseek)
    public func seekToEnd() throws(Errno) -> Int { try Errno.check(linux_lseek(number, 0, SEEK_END)) }

    public func truncate(to length: Int) throws(Errno) { try Errno.check(linux_ftruncate(number, length)) }

    /// Reads at a place of the file; 0 at its end. (pread64)
    public func read(into bytes: inout MutableRawSpan, at offset: Int) throws(Errno) -> Int {
        try Errno.check(
            unsafe bytes.withUnsafeMutableBytes { buffer in
                // SAFETY: the kernel writes into the buffer's bounds only.
                restarting { unsafe linux_pread(number, buffer.baseAddress, buffer.count, offset) }
            })
    }

    /// Writes at a place of the file. (pwrite64)
    public func write(_ bytes: borrowing RawSpan, at offset: Int) throws(Errno) -> Int {
        try Errno.check(
            unsafe bytes.withUnsafeBytes { buffer in
                // SAFETY: the kernel reads inside the buffer's bounds only.
                restarting { unsafe linux_pwrite(number, buffer.baseAddress, buffer.count, offset) }
            })
    }

    /// Writes a few bytes to a descriptor that waits where needed.
    public func write(_ bytes: [UInt8]) throws(Errno) {
        // SAFETY: every byte of an array of bytes may be read as a byte.
        _ = try write(unsafe bytes.span.bytes)
    }

    /// Where a symbolic link points.
    public static func link(_ path: String) throws(Errno) -> String {
        var buffer = [CChar](repeating: 0, count: 4096)
        // SAFETY: at most the buffer's size is written.
        let count = try Errno.check(unsafe linux_readlink(path, &buffer, buffer.count))
        return String(decoding: buffer[0..<count].map { UInt8(bitPattern: $0) }, as: UTF8.self)
    }
}

extension Descriptor {
    public var isTerminal: Bool { isatty(number) == 1 }
}

extension Descriptor {
    /// A new or emptied file for its owner to read.
    public static func create(_ path: String) throws(Errno) -> Descriptor {
        try open(path, O_WRONLY | O_CREAT | O_TRUNC, mode: 0o600)
    }
}

extension SystemCall {
    /// Moving content within a file.
    public static var rewriting: [Permission] {
        [Permission(.lseek), Permission(.pread64), Permission(.pwrite64), Permission(.ftruncate)]
    }

    /// Reading at a place.
    public static var reading: [Permission] { [Permission(.pread64)] }

    /// Which file a name stands for.
    public static var lookingUp: [Permission] { [Permission(.newfstatat)] }
}
