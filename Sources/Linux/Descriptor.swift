public import CLinux

/// A file descriptor. It is a number, not an owner: who opened it closes it, once.
public struct Descriptor: Equatable, Hashable, Sendable, BitwiseCopyable {
    public let number: Int32

    @inlinable @_noAllocation @_noLocks
    public init(_ number: Int32) { self.number = number }

    /// Stands for "no descriptor"; closing it does nothing.
    @inlinable public static var none: Descriptor { Descriptor(-1) }
    @inlinable public var isOpen: Bool { number >= 0 }

    /// Opens `path`; close-on-exec is always set.
    public static func open(_ path: String, _ flags: Int32, mode: UInt32 = 0) throws(Errno) -> Descriptor {
        // SAFETY: the string lives as long as the call.
        try Descriptor(Errno.check(restarting { unsafe linux_open(path, flags | O_CLOEXEC, mode) }))
    }

    @inlinable
    public func close() {
        // EINTR must not be repeated: Linux has released the number by then.
        if number >= 0 { _ = linux_close(number) }
    }

    /// Reads at most `bytes.byteCount` bytes; 0 at the end, nil when it would block.
    public func read(into bytes: inout MutableRawSpan) throws(Errno) -> Int? {
        let result = unsafe bytes.withUnsafeMutableBytes { buffer in
            // SAFETY: the kernel writes into the buffer's bounds only.
            restarting { unsafe linux_read(number, buffer.baseAddress, buffer.count) }
        }
        if result == -Int(EAGAIN) { return nil }
        return try Errno.check(result)
    }

    /// Writes from `bytes`; fewer than all may go, nil when it would block.
    public func write(_ bytes: borrowing RawSpan) throws(Errno) -> Int? {
        let result = unsafe bytes.withUnsafeBytes { buffer in
            // SAFETY: the kernel reads inside the buffer's bounds only.
            restarting { unsafe linux_write(number, buffer.baseAddress, buffer.count) }
        }
        if result == -Int(EAGAIN) { return nil }
        return try Errno.check(result)
    }

    /// Writes all of `text`, waiting where needed.
    public func write(_ text: String) throws(Errno) {
        var text = text
        let result: Int32 = text.withUTF8 { utf8 in
            var done = 0
            while done < utf8.count {
                // SAFETY: `done` is below the count, so the address lies within the string's storage.
                let count = restarting { unsafe linux_write(number, utf8.baseAddress! + done, utf8.count - done) }
                if count < 0 { return Int32(truncatingIfNeeded: count) }
                done += count
            }
            return 0
        }
        try Errno.check(result)
    }

    /// Everything up to the end, as for a file in /proc. At most `limit` bytes.
    public func readAll(limit: Int = 1 << 24) throws(Errno) -> [UInt8] {
        var content: [UInt8] = []
        var chunk = [UInt8](repeating: 0, count: 16384)
        while content.count < limit {
            var span = chunk.mutableSpan
            // SAFETY: every bit pattern is a UInt8.
            var bytes = unsafe span.mutableBytes
            guard let count = try read(into: &bytes), count > 0 else { break }
            content.append(contentsOf: chunk[0..<min(count, limit - content.count)])
        }
        return content
    }

    /// A number among the kernel's settings (/proc/sys), as `net/ipv4/tcp_retries2`. nil where the kernel has no such setting, or does not show it.
    public static func setting(_ name: String) -> Int? {
        guard let bytes = try? contents(of: "/proc/sys/\(name)") else { return nil }
        return Int(String(decoding: bytes.prefix { $0 != UInt8(ascii: "\n") }, as: UTF8.self))
    }

    public static func contents(of path: String) throws(Errno) -> [UInt8] {
        let file = try open(path, O_RDONLY)
        defer { file.close() }
        return try file.readAll()
    }

    public func setNonBlocking(_ on: Bool = true) throws(Errno) {
        let flags = try Errno.check(linux_fcntl(number, F_GETFL, 0))
        try Errno.check(linux_fcntl(number, F_SETFL, Int(on ? flags | O_NONBLOCK : flags & ~O_NONBLOCK)))
    }

    public func setCloseOnExec(_ on: Bool = true) throws(Errno) {
        try Errno.check(linux_fcntl(number, F_SETFD, on ? Int(FD_CLOEXEC) : 0))
    }

    /// A second descriptor of the same file, numbered `lowest` or higher.
    public func duplicate(atLeast lowest: Int32 = 3) throws(Errno) -> Descriptor {
        try Descriptor(Errno.check(linux_fcntl(number, F_DUPFD_CLOEXEC, Int(lowest))))
    }
}

extension SystemCall {
    /// Using and closing what is open.
    public static var files: [Permission] { [Permission(.read), Permission(.write), Permission(.close)] }
}
