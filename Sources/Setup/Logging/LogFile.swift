internal import CLinux
internal import Linux

/// A log file that never grows beyond a limit. When a line would not fit, the newer part of the content moves to the front,
/// below a header line, in the same file: whoever follows it by name or by descriptor keeps seeing it, and
/// a closed-in process can still do it. (lseek, pread64, pwrite64, ftruncate)
struct LogFile: Sendable {
    let descriptor: Descriptor
    let limit: Int
    /// "Program, started when": repeated at the top after a rotation.
    let header: String

    /// The least useful size.
    static let smallestLimit = 4096

    init(path: String, limit: Int, header: String) throws(Errno) {
        descriptor = try Descriptor.open(path, O_RDWR | O_CREAT, mode: 0o600)
        self.limit = max(limit, LogFile.smallestLimit)
        self.header = header
    }

    func write(_ line: borrowing LineBuffer, waits: Bool = true) {
        // What has no length, such as a terminal or a pipe, is only written to. A regular file always has room, by the word of poll.
        if let size = try? descriptor.seekToEnd() {
            if size == 0 {
                writeHeader()
            } else if size + line.count > limit {
                rotate(size: size)
            }
        }
        line.write(to: descriptor, waits: waits)
    }

    private func writeHeader() {
        var line = LineBuffer()
        line.append(header)
        line.end()
        line.withBytes { _ = try? descriptor.write($0) }
    }

    /// Keeps whole lines out of the newer half.
    private func rotate(size: Int) {
        guard let start = lineStart(from: max(size - limit / 2, 0), size: size) else {
            try? descriptor.truncate(to: 0)
            _ = try? descriptor.seekToEnd()
            return writeHeader()
        }
        var line = LineBuffer()
        line.append(header)
        line.end()
        // Moving towards the front, so nothing is overwritten before it was read, provided the header is shorter than what goes.
        guard start >= line.count else { return }
        guard var place = line.withBytes({ try? descriptor.write($0, at: 0) }) else { return }
        var from = start
        var chunk = InlineArray<4096, UInt8>(repeating: 0)
        while from < size {
            var span = chunk.mutableSpan
            // SAFETY: every bit pattern is a byte.
            var bytes = unsafe span.mutableBytes
            guard let count = try? descriptor.read(into: &bytes, at: from), count > 0 else { break }
            guard let written = try? descriptor.write(unsafe chunk.span.bytes.extracting(0..<count), at: place), written == count else { break }
            from += count
            place += count
        }
        try? descriptor.truncate(to: place)
        _ = try? descriptor.seekToEnd()
    }

    /// Behind the first newline at or after `offset`; nil without one.
    private func lineStart(from offset: Int, size: Int) -> Int? {
        var offset = offset
        var chunk = InlineArray<1024, UInt8>(repeating: 0)
        while offset < size {
            var span = chunk.mutableSpan
            // SAFETY: every bit pattern is a byte.
            var bytes = unsafe span.mutableBytes
            guard let count = try? descriptor.read(into: &bytes, at: offset), count > 0 else { return nil }
            for index in 0..<count where chunk[index] == UInt8(ascii: "\n") { return offset + index + 1 }
            offset += count
        }
        return nil
    }
}
