internal import CLinux

/// UNIX datagram sockets, as the system's log listens on.
public enum DatagramSocket {
    /// A non-blocking socket that sends to `path`.
    public static func connect(to path: String) throws(Errno) -> Descriptor {
        var address = sockaddr_un()
        address.sun_family = sa_family_t(AF_UNIX)
        let capacity = MemoryLayout.size(ofValue: address.sun_path)
        guard path.utf8.count < capacity else { throw Errno(ENAMETOOLONG) }
        // SAFETY: the path is shorter than the array, which stays zero behind it.
        unsafe withUnsafeMutableBytes(of: &address.sun_path) { unsafe $0.copyBytes(from: path.utf8) }
        let kind = Int32(SOCK_DGRAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue) | Int32(SOCK_NONBLOCK.rawValue)
        let socket = try Descriptor(Errno.check(linux_socket(AF_UNIX, kind, 0)))
        // SAFETY: the address is of the announced size.
        let result = unsafe linux_connect(socket.number, &address, socklen_t(MemoryLayout<sockaddr_un>.size))
        if result < 0 { socket.close() }
        try Errno.check(result)
        return socket
    }

    /// Sends one datagram, or drops it when the receiver is slow or gone. (sendto)
    public static func send(_ bytes: borrowing RawSpan, over socket: Descriptor) {
        unsafe bytes.withUnsafeBytes { buffer in
            // SAFETY: the kernel reads inside the buffer's bounds only.
            _ = unsafe linux_send(socket.number, buffer.baseAddress, buffer.count, Int32(MSG_NOSIGNAL) | Int32(MSG_DONTWAIT))
        }
    }
}

extension SystemCall {
    /// A datagram over a connected socket.
    public static var messages: [Permission] { [Permission(.sendto)] }
}
