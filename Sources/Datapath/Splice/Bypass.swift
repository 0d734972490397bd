internal import Linux
internal import Settings
internal import Wire

struct Bypass: ~Copyable {
    var supply: SocketSupply?

    init(_ network: Network) throws(Errno) {
    }

    mutating func connect(_ channel: Descriptor, to epoll: Epoll) throws(Errno) {
        let supply = try SocketSupply(channel)
        try epoll.add(channel, .input, tag: EventTag(.supply).bits)
        self.supply = consume supply
    }

    /// Sockets have arrived, or the helper is gone: then there is nothing more to wait for.
    mutating func receiveSockets(_ epoll: Epoll) {
        supply?.receive()
        guard let channel = supply?.channel, supply?.isClosed == true else { return }
        try? epoll.remove(channel)
    }

    mutating func openListener(isTCP: Bool, _ address: IPAddress, port: UInt16) throws(Errno) -> Descriptor {
        guard let socket = try supply?.listener(isTCP: isTCP, address, port: port) else { throw Errno(107) }  // ENOTCONN
        return socket
    }
}
