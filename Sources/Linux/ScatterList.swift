internal import CLinux

/// Pieces of one mapping that are sent or filled by one call, in order. At most `capacity` pieces.
@safe
public struct ScatterList: ~Copyable {
    /// `struct iovec`, with the address as a number.
    private struct Piece: BitwiseCopyable {
        var address: UInt
        var length: UInt
    }

    private var pieces: FixedTable<Piece>
    public let capacity: Int
    public private(set) var count = 0
    public private(set) var byteCount = 0

    public init(capacity: Int) throws(Errno) {
        self.capacity = min(capacity, 1024)  // UIO_MAXIOV
        pieces = try FixedTable(count: self.capacity)
    }

    public var isFull: Bool { count == capacity }

    fileprivate var vectors: UnsafeMutablePointer<iovec> {
        // SAFETY: a `Piece` has the layout of `struct iovec`: an address and a length, each of one machine word.
        unsafe pieces.start.assumingMemoryBound(to: iovec.self)
    }

    public mutating func removeAll() {
        count = 0
        byteCount = 0
    }

    /// Adds `length` bytes at `offset` of `mapping`. All pieces of a list must be of one mapping, which must outlive the list's use.
    /// False when the list is full; a range outside of the mapping is a bug of the caller and traps.
    public mutating func append(_ mapping: borrowing Mapping, offset: Int, length: Int) -> Bool {
        precondition(mapping.holds(length, at: offset))
        guard count < capacity else { return false }
        // SAFETY: the range was just checked against the mapping.
        unsafe pieces[count] = Piece(address: UInt(bitPattern: mapping.base + offset), length: UInt(length))
        count += 1
        byteCount += length
        return true
    }

    /// Sends all pieces as one message (or as one run of a stream): the number of bytes that the kernel took.
    public mutating func send(on socket: Descriptor, flags: Int32 = 0) -> Outcome {
        if count == 0 { return Outcome(0) }
        let start = unsafe vectors
        var message = unsafe msghdr()
        // SAFETY: the first `count` vectors point into a mapping that the caller keeps alive.
        unsafe message.msg_iov = start
        unsafe message.msg_iovlen = count
        let all = flags | Int32(MSG_DONTWAIT | MSG_NOSIGNAL)
        return Outcome(restarting { unsafe linux_sendmsg(socket.number, &message, all) })
    }

    /// Fills the pieces in order: the number of bytes that the kernel gave, 0 at the end of a stream.
    public mutating func receive(on socket: Descriptor, flags: Int32 = 0) -> Outcome {
        if count == 0 { return Outcome(-Int(EAGAIN)) }
        let start = unsafe vectors
        var message = unsafe msghdr()
        // SAFETY: as in `send`; the kernel writes inside the pieces only.
        unsafe message.msg_iov = start
        unsafe message.msg_iovlen = count
        let all = flags | Int32(MSG_DONTWAIT)
        return Outcome(restarting { unsafe linux_recvmsg(socket.number, &message, all) })
    }
}

extension ScatterList {
    /// As `receive`, leaving the data in the socket's queue.
    public mutating func peek(on socket: Descriptor) -> Outcome {
        receive(on: socket, flags: Int32(MSG_PEEK))
    }
}

extension Descriptor {
    /// Reads into `length` bytes at `offset` of `mapping`; a range outside of it traps.
    public func read(into mapping: inout Mapping, offset: Int, length: Int) -> Outcome {
        precondition(mapping.holds(length, at: offset))
        // SAFETY: the range was just checked, and access to the mapping is exclusive.
        return Outcome(restarting { unsafe linux_read(number, mapping.base + offset, length) })
    }

    /// Writes `length` bytes at `offset` of `mapping`; a range outside of it traps.
    public func write(from mapping: borrowing Mapping, offset: Int, length: Int) -> Outcome {
        precondition(mapping.holds(length, at: offset))
        let start = unsafe mapping.base + offset
        // SAFETY: the range was just checked.
        return Outcome(restarting { unsafe linux_write(number, start, length) })
    }

    /// Throws away `count` bytes of a stream's receive queue without copying them (TCP only).
    public func discard(_ count: Int) -> Outcome {
        // SAFETY: with MSG_TRUNC, TCP takes no buffer.
        Outcome(restarting { linux_recv(number, nil, count, Int32(MSG_TRUNC | MSG_DONTWAIT)) })
    }
}

extension ScatterList {
    /// Writes all pieces to a file, pipe or device in one call: the number of bytes that the kernel took.
    public mutating func write(to file: Descriptor) -> Outcome {
        if count == 0 { return Outcome(0) }
        let start = unsafe vectors
        let number = Int32(truncatingIfNeeded: count)
        // SAFETY: the first `count` vectors point into mappings that the caller keeps alive.
        return Outcome(restarting { unsafe linux_writev(file.number, start, number) })
    }
}

extension SystemCall {
    /// Streams, by pieces; and one recv() that throws away.
    public static var pieces: [Permission] { [Permission(.recvmsg), Permission(.sendmsg), Permission(.recvfrom)] }
    /// Files, by pieces.
    public static var filePieces: [Permission] { [Permission(.writev)] }
}

extension ScatterList {
    /// Copies what lies behind the first `skipped` bytes of the pieces, and at most `limit` bytes, to `offset` of `mapping`: how many bytes. Traps where
    /// there is too little room.
    public func copy(skipping skipped: Int, limit: Int = .max, to mapping: inout Mapping, at offset: Int) -> Int {
        var skip = skipped
        var end = offset
        for index in 0..<count where end - offset < limit {
            let piece = pieces[index]
            let length = Int(piece.length)
            if skip >= length {
                skip -= length
                continue
            }
            let rest = min(length - skip, limit - (end - offset))
            precondition(end >= 0 && mapping.byteCount - end >= rest)
            // SAFETY: the piece was checked when it was added, and the caller keeps its mapping alive, which is another one; the destination was just checked.
            if let source = unsafe UnsafeRawPointer(bitPattern: piece.address) {
                unsafe (mapping.base + end).copyMemory(from: source + skip, byteCount: rest)
            }
            end += rest
            skip = 0
        }
        return end - offset
    }
}

extension ScatterList {
    /// Copies `length` bytes at `offset` of `mapping`, which is not that of the pieces, into them in order: how many fitted. A range outside of it traps.
    public mutating func fill(from mapping: borrowing Mapping, offset: Int, length: Int) -> Int {
        precondition(mapping.holds(length, at: offset))
        var done = 0
        for index in 0..<count where done < length {
            let piece = pieces[index]
            let part = min(Int(piece.length), length - done)
            // SAFETY: the piece was checked when it was added, and the caller keeps its mapping alive; the source was just checked.
            unsafe UnsafeMutableRawPointer(bitPattern: piece.address)?.copyMemory(from: mapping.base + offset + done, byteCount: part)
            done += part
        }
        return done
    }
}

/// For who stands in for the kernel: scripts that drive a translator without sockets.
extension ScatterList {
    /// Adds the bytes of the pieces, in order and at most `limit`, to `bytes`.
    public func copyBytes(_ limit: Int = .max, into bytes: inout [UInt8]) {
        var left = limit
        for index in 0..<count where left > 0 {
            let piece = pieces[index]
            let length = min(Int(piece.length), left)
            // SAFETY: the range was checked when the piece was added, and the caller keeps its mapping alive.
            unsafe bytes.append(contentsOf: UnsafeRawBufferPointer(start: UnsafeRawPointer(bitPattern: piece.address), count: length))
            left -= length
        }
    }

    /// Fills the pieces in order from `bytes`: how many of them fitted.
    public mutating func fill(from bytes: ArraySlice<UInt8>) -> Int {
        var done = 0
        unsafe bytes.withUnsafeBytes { source in
            for index in 0..<count where done < source.count {
                let piece = pieces[index]
                let length = min(Int(piece.length), source.count - done)
                // SAFETY: as above; `done + length` is at most the count of `source`.
                unsafe UnsafeMutableRawPointer(bitPattern: piece.address)?.copyMemory(from: source.baseAddress! + done, byteCount: length)
                done += length
            }
        }
        return done
    }
}
