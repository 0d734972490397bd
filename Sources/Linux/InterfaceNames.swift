internal import CLinux
public import Wire

/// Network interfaces by name.
public enum InterfaceNames {
    /// nil where there is none of that name in this namespace. (socket, ioctl)
    public static func index(of name: String) -> Int32? {
        // SAFETY: the string lives as long as the call.
        let index = unsafe if_nametoindex(name)
        return index == 0 ? nil : Int32(truncatingIfNeeded: index)
    }

    /// The same without memory of its own, for a process that is closed in: a socket that is bound to an interface by name tells its index.
    /// (socket, setsockopt, getsockopt, close)
    public static func index(of name: InterfaceName) throws(Errno) -> Int32? {
        let socket = try Descriptor.socket(.datagram, for: IPAddress(IPv4Address.any))
        defer { socket.close() }
        var bytes = InlineArray<16, UInt8>(repeating: 0)
        for index in 0..<InterfaceName.byteCount { bytes[index] = name.byte(index) }
        // SAFETY: the kernel reads sixteen bytes during the call, which end in a zero.
        let result = unsafe linux_setsockopt(socket.number, SOL_SOCKET, SO_BINDTODEVICE, &bytes, 16)
        if result == -ENODEV { return nil }
        try Errno.check(result)
        return try socket.get(SOL_SOCKET, SO_BINDTOIFINDEX)
    }
}

extension SystemCall {
    /// Interfaces by name, beside `sockets`.
    public static var naming: [Permission] { [.setting(SOL_SOCKET, SO_BINDTODEVICE)] }
}
