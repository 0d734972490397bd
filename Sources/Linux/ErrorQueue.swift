internal import CLinux
public import Wire

/// What became of a datagram that was sent earlier (`struct sock_extended_err`).
public struct QueuedError: Sendable, BitwiseCopyable {
    public enum Origin: UInt8, Sendable, BitwiseCopyable {
        case other = 0
        /// Our own kernel could not send it.
        case local = 1
        case icmp = 2
        case icmpv6 = 3
    }

    public var error: Errno
    public var origin: Origin
    /// Of the ICMP message.
    public var type: UInt8
    public var code: UInt8
    /// The MTU for EMSGSIZE.
    public var information: UInt32
    /// Who sent the ICMP message.
    public var offender: IPAddress?
    /// Where the datagram was sent.
    public var destination: Endpoint?
    /// The first eight bytes of the datagram that came back with the error, in network order: behind the UDP header, but from an echo's ICMP
    /// header on. 0 where it was put elsewhere.
    public var quotedStart: UInt64
    /// How many bytes of it are there.
    public var quotedLength: Int

    public init(
        error: Errno, origin: Origin, type: UInt8 = 0, code: UInt8 = 0, information: UInt32 = 0, offender: IPAddress? = nil,
        destination: Endpoint? = nil, quotedStart: UInt64 = 0, quotedLength: Int = 0
    ) {
        self.error = error
        self.origin = origin
        self.type = type
        self.code = code
        self.information = information
        self.offender = offender
        self.destination = destination
        self.quotedStart = quotedStart
        self.quotedLength = quotedLength
    }
}

extension Descriptor {
    /// Takes the oldest entry from the socket's error queue (IP_RECVERR); nil when it is empty.
    public func nextQueuedError() -> QueuedError? {
        var start: UInt64 = 0
        // SAFETY: the kernel writes into the value during the call only.
        var queued = unsafe withUnsafeMutableBytes(of: &start) { unsafe takeQueuedError(with: $0) }
        queued?.quotedStart = UInt64(bigEndian: start)
        return queued
    }

    /// The same, with as much as there is of the datagram, from where `quotedStart` would begin: `length` bytes at most, at `offset` of `mapping`. A range
    /// outside of it traps.
    public func nextQueuedError(quoting length: Int, into mapping: borrowing Mapping, at offset: Int) -> QueuedError? {
        precondition(mapping.holds(length, at: offset))
        // SAFETY: the range was just checked against the mapping, and the kernel writes into it during the call only.
        return unsafe takeQueuedError(with: UnsafeMutableRawBufferPointer(start: mapping.base + offset, count: length))
    }

    private func takeQueuedError(with payload: UnsafeMutableRawBufferPointer) -> QueuedError? {
        var name = SocketAddress()
        var extended = ExtendedError()
        var control = InlineArray<16, UInt64>(repeating: 0)
        var length = -1
        var found = -1
        var message = unsafe msghdr()
        // SAFETY: the pointers are used inside these calls only, and every length is that of what it points to.
        unsafe withUnsafeMutableBytes(of: &name) { name in
            unsafe withUnsafeMutableBytes(of: &control) { control in
                var vector = unsafe iovec(iov_base: payload.baseAddress, iov_len: payload.count)
                unsafe withUnsafeMutablePointer(to: &vector) { vector in
                    unsafe message.msg_iov = vector
                    unsafe message.msg_iovlen = 1
                    unsafe message.msg_name = name.baseAddress
                    unsafe message.msg_namelen = SocketAddress.capacity
                    unsafe message.msg_control = control.baseAddress
                    unsafe message.msg_controllen = control.count
                    let flags = Int32(MSG_ERRQUEUE | MSG_DONTWAIT)
                    length = restarting { unsafe linux_recvmsg(number, &message, flags) }
                    guard length >= 0 else { return }
                    let size = MemoryLayout<ExtendedError>.size
                    unsafe found = linux_cmsg_get(&message, Int32(IPPROTO_IP), IP_RECVERR, &extended, size)
                    if found < 0 { unsafe found = linux_cmsg_get(&message, Int32(IPPROTO_IPV6), IPV6_RECVERR, &extended, size) }
                }
            }
        }
        guard length >= 0, found >= 16 else { return nil }
        return QueuedError(
            error: Errno(Int32(truncatingIfNeeded: extended.error)), origin: QueuedError.Origin(rawValue: extended.origin) ?? .other,
            type: extended.type, code: extended.code, information: extended.information,
            offender: found >= 32 ? extended.offender.endpoint?.address : nil, destination: name.endpoint, quotedLength: length)
    }
}

/// `struct sock_extended_err`, followed by the offender's address as the kernel puts it there.
private struct ExtendedError: BitwiseCopyable {
    var error: UInt32 = 0
    var origin: UInt8 = 0
    var type: UInt8 = 0
    var code: UInt8 = 0
    var padding: UInt8 = 0
    var information: UInt32 = 0
    var data: UInt32 = 0
    var offender = SocketAddress()
}

extension SystemCall {
    public static var errorQueue: [Permission] { [Permission(.recvmsg)] }
}
