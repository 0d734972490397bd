internal import CLinux

/// UNIX sockets that virtual machines connect to.
public enum UnixSocket {
    public enum Kind: Sendable, Equatable {
        /// A stream of bytes.
        case stream
        /// A connection that keeps messages apart (SOCK_SEQPACKET).
        case messages
        case datagrams

        var type: Int32 {
            switch self {
            case .stream: Int32(SOCK_STREAM.rawValue)
            case .messages: Int32(SOCK_SEQPACKET.rawValue)
            case .datagrams: Int32(SOCK_DGRAM.rawValue)
            }
        }
    }

    /// A path's limit in bytes: `sun_path` has 108 and ends in a zero.
    public static var longestPath: Int { 107 }

    /// A socket bound to `path`, which listens unless it is for datagrams. EADDRINUSE when there is anything of that name.
    /// With `isPrivate`, only the same user may connect.
    public static func bind(_ kind: Kind, to path: String, isPrivate: Bool = false) throws(Errno) -> Descriptor {
        let socket = try open(kind)
        // Who may write to the file may connect (unix(7)), and there must be no moment in which others may.
        let mask = isPrivate ? umask(0o177) : nil
        defer { if let mask { _ = umask(mask) } }
        do throws(Errno) {
            var address = try self.address(path)
            // SAFETY: the address is of the announced size.
            try Errno.check(unsafe linux_bind(socket.number, &address, socklen_t(MemoryLayout<sockaddr_un>.size)))
            if kind != .datagrams { try Errno.check(linux_listen(socket.number, 16)) }
            return socket
        } catch {
            socket.close()
            throw error
        }
    }

    /// What stands behind a name.
    public enum Holder: Sendable, Equatable {
        case nobody
        /// A socket's file whose process has gone.
        case stale
        case somebody
    }

    /// Who holds `path`, without that anyone notices: a socket of another kind cannot connect, and the kernel's reason tells. EACCES where the socket is another user's, who alone
    /// may know.
    public static func holder(of path: String, for kind: Kind) throws(Errno) -> Holder {
        do throws(Errno) {
            guard try FileKind.of(path, follow: false) == .socket else { return .somebody }
        } catch {
            if error.code == ENOENT { return .nobody }
            throw error
        }
        let socket = try open(kind == .datagrams ? .stream : .datagrams)
        defer { socket.close() }
        var address = try self.address(path)
        // SAFETY: the address is of the announced size.
        let reason = unsafe linux_connect(socket.number, &address, socklen_t(MemoryLayout<sockaddr_un>.size))
        if reason == -EACCES { throw Errno(EACCES) }
        return reason == -ECONNREFUSED ? .stale : reason == -ENOENT ? .nobody : .somebody
    }

    /// A socket bound to `path`, in place of what a process left behind that has ended. nil where somebody else is.
    public static func take(_ kind: Kind, _ path: String, isPrivate: Bool = false) throws(Errno) -> Descriptor? {
        if try holder(of: path, for: kind) == .somebody { return nil }
        let lock = folderLock(of: path)
        defer { lock?.close() }
        switch try holder(of: path, for: kind) {
        case .somebody: return nil
        case .stale: try remove(path)
        case .nobody: break
        }
        do throws(Errno) {
            return try bind(kind, to: path, isPrivate: isPrivate)
        } catch {
            if error.code == EADDRINUSE { return nil }
            throw error
        }
    }

    /// Of two processes that start at once and find the same stale socket, the second would remove what the first has just put in its place, or is about to (the kernel makes the file first): so they do it one after
    /// the other. nil where the folder cannot be read, or others hold its lock for longer than that takes (a fifth of a second).
    private static func folderLock(of path: String) -> Descriptor? {
        let name = path.lastIndex(of: "/").map { String(path[...$0]) } ?? "."
        guard let folder = try? Descriptor.open(name, O_RDONLY | O_DIRECTORY) else { return nil }
        for _ in 0..<200 {
            let result = linux_flock(folder.number, LOCK_EX | LOCK_NB)
            if result == 0 { return folder }
            guard result == -EWOULDBLOCK || result == -EINTR else { break }
            linux_pause(1)
        }
        folder.close()
        return nil
    }

    public static func remove(_ path: String) throws(Errno) {
        // SAFETY: the string lives as long as the call.
        try Errno.check(unsafe linux_unlink(path))
    }

    private static func open(_ kind: Kind) throws(Errno) -> Descriptor {
        try Descriptor(Errno.check(linux_socket(AF_UNIX, kind.type | Int32(SOCK_CLOEXEC.rawValue) | Int32(SOCK_NONBLOCK.rawValue), 0)))
    }

    private static func address(_ path: String) throws(Errno) -> sockaddr_un {
        var address = sockaddr_un()
        address.sun_family = sa_family_t(AF_UNIX)
        guard path.utf8.count <= longestPath, !path.utf8.contains(0) else { throw Errno(ENAMETOOLONG) }
        // SAFETY: the path is shorter than the array, which stays zero behind it.
        unsafe withUnsafeMutableBytes(of: &address.sun_path) { unsafe $0.copyBytes(from: path.utf8) }
        return address
    }
}

extension Descriptor {
    /// What kind of socket this is; ENOTSOCK for anything else.
    public func socketKind() throws(Errno) -> UnixSocket.Kind {
        switch try get(SOL_SOCKET, SO_TYPE) {
        case Int32(SOCK_STREAM.rawValue): return .stream
        case Int32(SOCK_SEQPACKET.rawValue): return .messages
        case Int32(SOCK_DGRAM.rawValue): return .datagrams
        default: throw Errno(ESOCKTNOSUPPORT)
        }
    }

    /// Whether the socket has a peer.
    public var isConnected: Bool {
        var address = SocketAddress()
        var length = SocketAddress.capacity
        // SAFETY: the value has room for `length` bytes, and the kernel writes no more.
        return unsafe linux_getpeername(number, &address, &length) == 0
    }

    /// What came of looking for a sender.
    public enum Sender: Sendable, Equatable {
        case nobody
        case connected
        /// One that has no name, or whose name cannot be reached, is answered by nobody: its datagram is thrown away.
        case unreachable(Errno)
    }

    /// Connects a datagram socket to the path of who sent the first datagram in its queue, which stays there. From then on the kernel refuses all
    /// other senders.
    public func connectToSender() throws(Errno) -> Sender {
        var address = sockaddr_un()
        var length = socklen_t(MemoryLayout<sockaddr_un>.size)
        var byte: UInt8 = 0
        // SAFETY: one byte and an address are written at most, each of the announced size.
        let count = restarting { unsafe linux_recvfrom(number, &byte, 1, Int32(MSG_PEEK | MSG_DONTWAIT), &address, &length) }
        if count == -Int(EAGAIN) { return .nobody }
        try Errno.check(count)
        // The family alone is the address of a socket without a name.
        let hasName = length > MemoryLayout<sa_family_t>.size
        // SAFETY: the kernel said how long the address is, at most as long as it was announced.
        let result = hasName ? unsafe linux_connect(number, &address, min(length, socklen_t(MemoryLayout<sockaddr_un>.size))) : -EDESTADDRREQ
        if result == 0 { return .connected }
        // SAFETY: as above.
        _ = restarting { unsafe linux_recv(number, &byte, 1, Int32(MSG_DONTWAIT)) }
        return .unreachable(Errno(-result))
    }

    /// How much may be on its way to the peer of a UNIX socket; the kernel has a limit of its own (net.core.wmem_max).
    public func setSendBuffer(_ byteCount: Int) throws(Errno) {
        try set(SOL_SOCKET, SO_SNDBUF, Int32(clamping: byteCount))
    }
}

extension SystemCall {
    /// Taking in a machine.
    public static var machines: [Permission] { [Permission(.accept4), .setting(SOL_SOCKET, SO_SNDBUF)] }
}
