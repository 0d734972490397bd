internal import CLinux

extension Descriptor {
    /// A stream connection to the UNIX socket of that path, for a program that is executed next: it waits where needed, unlike
    /// all other sockets. (unix(7))
    public static func connect(toLocal path: String) throws(Errno) -> Descriptor {
        let kind = Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue)
        let socket = Descriptor(try Errno.check(linux_socket(AF_UNIX, kind, 0)))
        // SAFETY: the string lives as long as the call.
        let result = restarting { unsafe linux_connect_local(socket.number, path) }
        if result < 0 {
            socket.close()
            throw Errno(-result)
        }
        return socket
    }

    /// Whether the other side closes the connection within that time. Nothing that it sends is taken.
    public func endsWithin(milliseconds: Int32) -> Bool {
        var entry = pollfd(fd: number, events: Int16(POLLIN), revents: 0)
        // SAFETY: one entry is passed, and one byte is written at most.
        guard unsafe poll(&entry, 1, milliseconds) > 0 else { return false }
        var byte: UInt8 = 0
        return unsafe recv(number, &byte, 1, Int32(MSG_PEEK | MSG_DONTWAIT)) == 0
    }
}
