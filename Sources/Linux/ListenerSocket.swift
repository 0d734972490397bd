internal import CLinux
public import Wire

/// One socket of a forwarded port, to be opened at set-up or while the program runs. Opening it allocates nothing.
public struct ListenerSocket: Sendable, Equatable, BitwiseCopyable {
    public var isTCP: Bool
    public var address: IPAddress
    public var port: UInt16
    /// For an address of IPv6: the other family's clients as well.
    public var servesIPv4: Bool
    /// Bind to an address that the host does not have (yet).
    public var freebind: Bool
    /// Index of the only interface to hear; 0: any.
    public var interface: Int32
    /// Flows of ours are bound to this UDP port already.
    public var isBesideOwn: Bool

    public init(
        isTCP: Bool, address: IPAddress, port: UInt16, servesIPv4: Bool, freebind: Bool = false, interface: Int32 = 0, isBesideOwn: Bool = false
    ) {
        self.isTCP = isTCP
        self.address = address
        self.port = port
        self.servesIPv4 = servesIPv4
        self.freebind = freebind
        self.interface = interface
        self.isBesideOwn = isBesideOwn
    }

    /// A socket of TCP that listens, or one of UDP that tells where datagrams were sent to. (socket, setsockopt, bind, listen)
    public func open() throws(Errno) -> Descriptor {
        let socket = try Descriptor.socket(isTCP ? .stream : .datagram, for: address)
        do throws(Errno) {
            if interface != 0 { try socket.bindToInterface(index: interface) }
            if !address.isIPv4 { try socket.setIPv6Only(!servesIPv4) }
            if freebind { try socket.setFreebind(isIPv4: address.isIPv4) }
            let place = SocketAddress(Endpoint(address, port), scope: address.isLinkLocal ? interface : 0)
            if isTCP {
                try socket.setReuseAddress()
                socket.prepareStream()
                try socket.bind(place)
                try socket.listen()
            } else {
                try bindDatagrams(socket, place)
            }
            return socket
        } catch {
            socket.close()
            throw error
        }
    }

    private func bindDatagrams(_ socket: Descriptor, _ place: SocketAddress) throws(Errno) {
        // A socket for both families tells which IPv4 address was meant only if asked in IPv4's way.
        if servesIPv4 { try socket.setPacketInformation(isIPv4: true) }
        if !address.isIPv4 { try socket.setPacketInformation(isIPv4: false) }
        // Groups are not for the other side (lesson 36).
        if servesIPv4 { try? socket.setOwnGroupsOnly(isIPv4: true) }
        if !address.isIPv4 { try? socket.setOwnGroupsOnly(isIPv4: false) }
        // No longer than that: others could share it, too, and would get what comes for us.
        if isBesideOwn { try socket.setReuseAddress() }
        try socket.bind(place)
        if isBesideOwn { try socket.setReuseAddress(false) }
    }
}

extension SystemCall {
    /// Opening more listening sockets, beside `sockets` and `datagramOptions`.
    public static var listening: [Permission] { [Permission(.listen)] }
}
