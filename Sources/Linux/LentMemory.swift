internal import CLinux

// Sending without copying. Memory that is a file as well can be sent with sendfile(2): on a UNIX socket, its pages themselves wait for the reader,
// who makes the only copy (where a kernel copies after all, nothing becomes wrong). Whoever lends must not write to them until they are read, and for
// that the kernel tells how much is unread. The reader must copy, as recvmsg(2) does: one that moves the pages on with splice(2) counts as
// having read them, and may see them change.

extension Mapping {
    /// Memory that can be lent, as a file without a name. Throws where the kernel, or a limit on the size of files, does not allow it.
    public init(lendable byteCount: Int) throws(Errno) {
        let size = max(byteCount, 1)
        // Beyond its limit, growing a file is a signal that ends the process.
        var limit: UInt64 = 0
        var hard: UInt64 = 0
        // SAFETY: both numbers are written during the call.
        try Errno.check(unsafe linux_limit(Int32(LINUX_LIMIT_FILE_SIZE), &limit, &hard))
        guard limit >= size else { throw Errno(EFBIG) }
        let file = Descriptor(try Errno.check(linux_memory_file()))
        do throws(Errno) {
            try Errno.check(linux_ftruncate(file.number, size))
            // SAFETY: a fresh mapping of a file that nobody else knows aliases nothing.
            let address = unsafe mmap(nil, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, file.number, 0)
            guard let address = unsafe address, unsafe linux_mmap_failed(address) == 0 else { throw Errno(linux_errno()) }
            unsafe self.init(base: address, byteCount: size, file: file)
        } catch {
            file.close()
            throw error
        }
    }

    public var isLendable: Bool { file.isOpen }

    /// Gives up all pages; what readers still hold stays as it is, and here is zero. Memory that cannot be lent stays as it is.
    public mutating func discardPages() {
        guard isLendable else { return }
        // Nobody touches the mapping between the two calls. A file that had this size already may have it again.
        _ = linux_ftruncate(file.number, 0)
        _ = linux_ftruncate(file.number, byteCount)
    }
}

extension Descriptor {
    /// Sends `length` bytes at `offset` of a mapping that can be lent, which is lent from now on as far as the kernel took it. The socket must be
    /// non-blocking. A range outside of the mapping traps. SIGPIPE must be ignored.
    public func lend(_ mapping: borrowing Mapping, offset: Int, length: Int) -> Outcome {
        precondition(mapping.holds(length, at: offset))
        return Outcome(restarting { linux_sendfile(number, mapping.file.number, offset, length) })
    }

    /// Upper bound of the bytes that the peer of this UNIX socket has not read: the kernel counts its own structures, too. nil before Linux 4.12.
    public func unreadByPeer() -> Int? {
        memoryInfo().map { Int($0[2]) }  // SK_MEMINFO_WMEM_ALLOC
    }
}

extension SystemCall {
    /// Lending memory to a socket, and taking it back.
    public static var lending: [Permission] { [Permission(.sendfile), Permission(.getsockopt), Permission(.ftruncate)] }
}
