internal import CLinux
public import Wire

/// What a call on the hot path came to: a count, or an error that is a value and not an exception.
public struct Outcome: Sendable, BitwiseCopyable {
    /// The count, or `-errno`.
    public let raw: Int

    @inlinable @_noAllocation @_noLocks
    public init(_ raw: Int) { self.raw = raw }

    /// Bytes (or messages) that the kernel took or gave; 0 on errors.
    @inlinable public var count: Int { raw > 0 ? raw : 0 }
    @inlinable public var succeeded: Bool { raw >= 0 }
    /// EAGAIN: nothing to be had now.
    @inlinable public var wouldBlock: Bool { raw == -11 }
    @inlinable public var error: Errno? { raw < 0 ? Errno(Int32(truncatingIfNeeded: -raw)) : nil }
}

/// Sockets. Everything is non-blocking and close-on-exec.
extension Descriptor {
    public enum SocketKind: Sendable { case stream, datagram, ping }

    /// A socket for the family of `address`. `ping` is the unprivileged echo socket of either family.
    public static func socket(_ kind: SocketKind, for address: IPAddress) throws(Errno) -> Descriptor {
        let isIPv4 = address.isIPv4
        let type = Int32(kind == .stream ? SOCK_STREAM.rawValue : SOCK_DGRAM.rawValue)
        let flags = Int32(SOCK_NONBLOCK.rawValue | SOCK_CLOEXEC.rawValue)
        let number: Int32 = switch kind {
        case .stream: Int32(IPPROTO_TCP)
        case .datagram: Int32(IPPROTO_UDP)
        case .ping: isIPv4 ? Int32(IPPROTO_ICMP) : Int32(IPPROTO_ICMPV6)
        }
        return Descriptor(try Errno.check(linux_socket(isIPv4 ? AF_INET : AF_INET6, type | flags, number)))
    }

    public func bind(_ address: SocketAddress) throws(Errno) {
        var address = address
        let length = address.length
        // SAFETY: the kernel reads `length` bytes of the value during the call.
        try Errno.check(unsafe linux_bind(number, &address, length))
    }

    /// False while the connection is still being made.
    public func connect(_ address: SocketAddress) throws(Errno) -> Bool {
        var address = address
        let length = address.length
        // SAFETY: as in `bind`.
        let result = restarting { unsafe linux_connect(number, &address, length) }
        if result == -EINPROGRESS || result == -EALREADY { return false }
        try Errno.check(result)
        return true
    }

    /// A datagram socket chooses its source address anew, and its port where it was given none. `interface` is the one that it is bound to by
    /// `bindToInterface`. Where there is no way to `address` now, it is left unconnected, and sending fails with EDESTADDRREQ.
    public func reconnect(to address: SocketAddress, over interface: Int32?) throws(Errno) {
        // AF_UNSPEC dissolves the association (connect(2)); only then is another source looked for.
        _ = try connect(SocketAddress())
        // The kernel forgets the interface with it (__udp_disconnect), and would let what follows leave by any other.
        if let interface { try bindToInterface(index: interface) }
        _ = try connect(address)
    }

    /// Whether what the socket sends comes from `address`, by its own choice or another's.
    public func sends(from address: IPAddress) -> Bool { (try? localAddress().endpoint?.address) == address }

    public func listen(backlog: Int32 = 4096) throws(Errno) {
        try Errno.check(linux_listen(number, backlog))
    }

    /// The next connection and who made it; nil when there is none.
    public func accept() throws(Errno) -> (Descriptor, SocketAddress)? {
        var address = SocketAddress()
        var length = SocketAddress.capacity
        let flags = Int32(SOCK_NONBLOCK.rawValue | SOCK_CLOEXEC.rawValue)
        // SAFETY: the value has room for the larger of both structures.
        let result = restarting { unsafe linux_accept4(number, &address, &length, flags) }
        if result == -EAGAIN { return nil }
        return (Descriptor(try Errno.check(result)), address)
    }

    /// The socket's own address.
    public func localAddress() throws(Errno) -> SocketAddress {
        var address = SocketAddress()
        var length = SocketAddress.capacity
        // SAFETY: as in `accept`.
        try Errno.check(unsafe linux_getsockname(number, &address, &length))
        return address
    }

    /// Closes one direction or both: SHUT_RD, SHUT_WR, SHUT_RDWR are 0, 1, 2.
    public func shutdown(_ how: Int32) throws(Errno) {
        try Errno.check(linux_shutdown(number, how))
    }

    // MARK: Options

    func set(_ level: Int32, _ option: Int32, _ value: Int32) throws(Errno) {
        var value = value
        // SAFETY: the kernel reads four bytes during the call.
        try Errno.check(unsafe linux_setsockopt(number, level, option, &value, 4))
    }

    func get(_ level: Int32, _ option: Int32) throws(Errno) -> Int32 {
        var value: Int32 = 0
        var length: UInt32 = 4
        // SAFETY: the kernel writes at most four bytes.
        try Errno.check(unsafe linux_getsockopt(number, level, option, &value, &length))
        return value
    }

    /// What the kernel books for the socket, by SK_MEMINFO_...; nil before Linux 4.12.
    func memoryInfo() -> InlineArray<9, UInt32>? {
        var words = InlineArray<9, UInt32>(repeating: 0)  // SK_MEMINFO_VARS
        var length: UInt32 = 36
        // SAFETY: nine words are what the kernel writes at most.
        guard unsafe linux_getsockopt(number, SOL_SOCKET, SO_MEMINFO, &words, &length) == 0, length >= 24 else { return nil }
        return words
    }

    /// Closing then resets the connection instead of finishing it.
    public func setAbortOnClose() throws(Errno) {
        var value = linger(l_onoff: 1, l_linger: 0)
        // SAFETY: the kernel reads the structure during the call.
        try Errno.check(unsafe linux_setsockopt(number, SOL_SOCKET, SO_LINGER, &value, UInt32(MemoryLayout<linger>.size)))
    }

    /// Sends from and to one interface only. Unprivileged since Linux 5.7.
    public func bindToInterface(index: Int32) throws(Errno) {
        try set(SOL_SOCKET, SO_BINDTOIFINDEX, index)
    }

    /// The error that the socket holds, which reading it clears; nil for none.
    public func takeSocketError() -> Errno? {
        guard let code = try? get(SOL_SOCKET, SO_ERROR), code != 0 else { return nil }
        return Errno(code)
    }

    public func send(_ bytes: borrowing RawSpan, flags: Int32 = 0) -> Outcome { send(waiting: bytes, flags: flags | Int32(MSG_DONTWAIT)) }

    /// The same on a socket that waits where needed.
    public func send(waiting bytes: borrowing RawSpan, flags: Int32 = 0) -> Outcome {
        // SAFETY: the kernel reads inside the buffer's bounds only.
        let result = unsafe bytes.withUnsafeBytes { buffer in
            restarting { unsafe linux_send(number, buffer.baseAddress, buffer.count, flags | Int32(MSG_NOSIGNAL)) }
        }
        return Outcome(result)
    }
}

extension SystemCall {
    /// Opening sockets of the two families, for the three protocols: no other kind of socket can come into being.
    public static var sockets: [Permission] {
        let kinds = [Int32(SOCK_STREAM.rawValue), Int32(SOCK_DGRAM.rawValue)]
        let flags = Int32(SOCK_NONBLOCK.rawValue | SOCK_CLOEXEC.rawValue)
        let protocols = [Int32(IPPROTO_TCP), Int32(IPPROTO_UDP), Int32(IPPROTO_ICMP), Int32(IPPROTO_ICMPV6)]
        return [
            Permission(.socket, Condition(0, [AF_INET, AF_INET6]), Condition(1, kinds, ignoring: flags), Condition(2, protocols)),
            Permission(.connect), Permission(.bind), Permission(.getsockname), Permission(.getsockopt), Permission(.shutdown),
            .setting(SOL_SOCKET, SO_LINGER, SO_BINDTOIFINDEX),
        ]
    }

    /// Taking in connections, on sockets that listen already.
    public static var accepting: [Permission] { [Permission(.accept4)] }
}
