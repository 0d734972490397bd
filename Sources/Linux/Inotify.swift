internal import CLinux

/// What the events read at once from a watched directory mean for one name in it.
public enum DirectoryChange: Equatable, Sendable {
    case nothing
    /// The name is gone: deleted or moved away, or the directory itself is.
    case removed
    /// Events were lost; only looking tells.
    case unknown
}

/// Changes of a directory (inotify(7)).
public enum Inotify {
    /// A non-blocking descriptor that becomes readable when a name disappears from the directory.
    /// EMFILE and ENOSPC are common limits; EACCES if the directory cannot be read.
    public static func watchRemovals(in directory: String) throws(Errno) -> Descriptor {
        try watch(directory, UInt32(IN_DELETE) | UInt32(IN_MOVED_FROM))
    }

    /// The same for names that appear. What `changes` finds of such a watch is only whether the directory itself is gone.
    public static func watchArrivals(in directory: String) throws(Errno) -> Descriptor {
        try watch(directory, UInt32(IN_CREATE) | UInt32(IN_MOVED_TO))
    }

    private static func watch(_ directory: String, _ events: UInt32) throws(Errno) -> Descriptor {
        let descriptor = try Descriptor(Errno.check(linux_inotify_create()))
        let mask = events | UInt32(IN_DELETE_SELF) | UInt32(IN_MOVE_SELF) | UInt32(IN_ONLYDIR)
        // SAFETY: the string lives as long as the call.
        let result = unsafe linux_inotify_add(descriptor.number, directory, mask)
        if result < 0 { descriptor.close() }
        try Errno.check(result)
        return descriptor
    }

    /// Reads all events that are there. Allocates nothing. (read)
    public static func changes(from descriptor: Descriptor, of name: [CChar]) -> DirectoryChange {
        var storage = InlineArray<4096, UInt8>(repeating: 0)
        var found = DirectoryChange.nothing
        while found == .nothing {
            var span = storage.mutableSpan
            // SAFETY: every bit pattern is a byte.
            var bytes = unsafe span.mutableBytes
            let count: Int?
            do throws(Errno) { count = try descriptor.read(into: &bytes) } catch { return .unknown }
            guard let count, count > 0 else { break }
            found = change(of: name, in: unsafe storage.span.bytes.extracting(0..<count))
        }
        return found
    }

    /// Goes through events, several as a rule: descriptor, mask, cookie and length, 32 bits each, then the name, padded with
    /// zeros to that length. `name` ends with a zero.
    static func change(of name: [CChar], in events: borrowing RawSpan) -> DirectoryChange {
        let size = events.byteCount
        var offset = 0
        while size - offset >= 16 {
            // SAFETY: the sixteen bytes at `offset` were checked to be there.
            let mask = unsafe events.unsafeLoadUnaligned(fromByteOffset: offset + 4, as: UInt32.self)
            let length = Int(unsafe events.unsafeLoadUnaligned(fromByteOffset: offset + 12, as: UInt32.self))
            offset += 16
            guard length <= size - offset else { return .unknown }
            if mask & (UInt32(IN_DELETE_SELF) | UInt32(IN_MOVE_SELF) | UInt32(IN_UNMOUNT) | UInt32(IN_IGNORED)) != 0 { return .removed }
            if mask & UInt32(IN_Q_OVERFLOW) != 0 { return .unknown }
            if mask & (UInt32(IN_DELETE) | UInt32(IN_MOVED_FROM)) != 0, length >= name.count {
                var same = true
                for index in 0..<name.count {
                    // SAFETY: `length` bytes at `offset` were checked to be there, and the name is not longer.
                    let byte = unsafe events.unsafeLoad(fromByteOffset: offset + index, as: CChar.self)
                    if byte != name[index] { same = false }
                }
                if same { return .removed }
            }
            offset += length
        }
        return .nothing
    }
}
