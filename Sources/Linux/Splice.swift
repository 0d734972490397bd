internal import CLinux

/// Moving what sockets hold without copying it: splice(2) through a pipe, whose slots refer to the very pages.
public struct Pipe: Sendable, BitwiseCopyable {
    public let reading: Descriptor
    public let writing: Descriptor
    /// Pages, each of which can hold one piece of a socket's data, however small or large that is.
    public let slots: Int

    /// Non-blocking. (pipe2)
    public init() throws(Errno) {
        var pair = InlineArray<2, Int32>(repeating: -1)
        // SAFETY: the array has the two elements that are written.
        try Errno.check(unsafe linux_pipe_nonblocking(&pair))
        self.init(reading: Descriptor(pair[0]), writing: Descriptor(pair[1]), slots: Pipe.fewestSlots)
    }

    public init(reading: Descriptor, writing: Descriptor, slots: Int) {
        self.reading = reading
        self.writing = writing
        self.slots = slots
    }

    /// What a pipe may have where its user has many already (`fs.pipe-user-pages-soft`), or where the system allows no more (`fs.pipe-max-size`, pipe(7)).
    public static var fewestSlots: Int { 1 }

    /// The same pipe, as large as the kernel lets it be, up to `byteCount`. (fcntl)
    public func resized(to byteCount: Int) -> Pipe {
        var size = byteCount
        while size > 65536, linux_fcntl(writing.number, F_SETPIPE_SZ, size) < 0 { size /= 2 }
        return measured()
    }

    /// The same pipe, knowing its size. (fcntl)
    public func measured() -> Pipe {
        let size = Int(linux_fcntl(writing.number, F_GETPIPE_SZ, 0))
        return Pipe(reading: reading, writing: writing, slots: max(size / Int(getpagesize()), Pipe.fewestSlots))
    }

    public func close() {
        reading.close()
        writing.close()
    }
}

extension Descriptor {
    /// Moves at most `count` bytes from this socket into a pipe: 0 at the end of the stream, EAGAIN when there is nothing, or no room. (splice)
    public func fill(_ pipe: Pipe, _ count: Int) -> Outcome {
        Outcome(restarting { linux_splice(number, pipe.writing.number, count, Descriptor.spliceFlags) })
    }

    /// Moves at most `count` bytes out of a pipe to this socket: EAGAIN when it takes no more for now. (splice)
    public func drain(_ pipe: Pipe, _ count: Int) -> Outcome {
        Outcome(restarting { linux_splice(pipe.reading.number, number, count, Descriptor.spliceFlags) })
    }

    /// Moves one byte of the stream into a pipe that has room: what was read, or 0 at its end. (recvfrom, write)
    public func fillByte(_ pipe: Pipe) -> Outcome {
        var byte: UInt8 = 0
        // SAFETY: both calls take one byte, which lives as long as they.
        let count = restarting { unsafe linux_recv(number, &byte, 1, Int32(MSG_DONTWAIT)) }
        if count != 1 { return Outcome(count) }
        return Outcome(restarting { unsafe linux_write(pipe.writing.number, &byte, 1) })
    }

    private static var spliceFlags: UInt32 { UInt32(SPLICE_F_MOVE | SPLICE_F_NONBLOCK) }
}

extension SystemCall {
    public static var splicing: [Permission] { [Permission(.splice), Permission(.pipe2), Permission(.recvfrom), Permission(.write)] }
}
