internal import Linux
internal import Wire

/// What the TCP translator asks of the host's kernel. The kernel answers in the daemon, a script in the simulation.
protocol HostSockets: ~Copyable {
    /// Starts connecting to `remote`; the event for `tag` tells when it is done. `family` says what to bind to. `typeOfService`: what all packets to there are marked with.
    mutating func connect(to remote: Endpoint, _ family: AddressTranslation.Family, typeOfService: UInt8, tag: UInt64) throws(Errno) -> Descriptor
    /// Watches an accepted socket, which has its options from the one that listens.
    mutating func adopt(_ socket: Descriptor, tag: UInt64) throws(Errno)
    /// The outcome of `connect`, once an event told that there is one.
    mutating func connectionError(_ socket: Descriptor) -> Errno?
    /// Bytes taken.
    mutating func send(_ list: inout ScatterList, on socket: Descriptor) -> Outcome
    /// Bytes put into `list` from the queue, without taking them from it; `list` may start with pieces to be ignored.
    mutating func peek(_ list: inout ScatterList, on socket: Descriptor) -> Outcome
    /// Bytes taken from the queue.
    mutating func take(_ list: inout ScatterList, from socket: Descriptor) -> Outcome
    /// What the queue takes of the kernel's memory, in bytes; nil where the kernel does not tell.
    mutating func receiveMemory(_ socket: Descriptor) -> UInt32?
    /// False where the kernel cannot (before Linux 6.9).
    mutating func setPeekOffset(_ offset: Int, on socket: Descriptor) -> Bool
    mutating func discard(_ count: Int, on socket: Descriptor) -> Outcome
    /// No more will be sent.
    mutating func finish(_ socket: Descriptor)
    mutating func path(_ socket: Descriptor) -> TCPPath?
    /// `connect` leaves the last acknowledgement of the handshake to the first data; this sends it, if it was not sent yet.
    mutating func completeHandshake(_ socket: Descriptor)
    mutating func sendBuffer(_ socket: Descriptor) -> SendBuffer?
    /// Asks for an output event once there is room again, and lets the kernel grow its buffer by then. True: there is room already, and no event will come.
    @discardableResult
    mutating func awaitRoom(_ socket: Descriptor) -> Bool
    /// Whether CUBIC may end slow start before anything is lost; see `TCPSlowStart`. False where nothing changed: the socket has another congestion
    /// control, or this kernel would not let it have CUBIC again.
    mutating func setHyStart(_ isOn: Bool, on socket: Descriptor) -> Bool
    /// Retransmission timeouts double up to `seconds`, nil: as far as the system says; see `TCPOutage`. False where the kernel cannot do that.
    mutating func limitTimeout(_ seconds: UInt8?, on socket: Descriptor) -> Bool
    /// The far end is asked for a sign of life after `time` seconds without any, and every `interval` seconds from then on as long as there is none. How often before the
    /// connection is given up, is the system's matter.
    mutating func keepAlive(after time: UInt16, every interval: UInt16, on socket: Descriptor)
    mutating func close(_ socket: Descriptor)
    /// Closes such that the peer sees a reset.
    mutating func abort(_ socket: Descriptor)
}

/// The host's kernel.
struct KernelSockets: HostSockets, ~Copyable {
    let epoll: Epoll
    /// Found out when it is first of interest, and then again until there is a descriptor for it.
    private var mayLeaveCubic: Bool?
    private var patience: Patience

    /// `retries`: retransmissions after which the system gives a connection up.
    init(epoll: Epoll, retries: Int) {
        self.epoll = epoll
        patience = Patience(retries: retries)
    }

    /// Tried on a socket of its own: who has CUBIC by default need not be allowed to choose it.
    private mutating func findMayLeaveCubic() -> Bool {
        if let mayLeaveCubic { return mayLeaveCubic }
        guard let socket = try? Descriptor.socket(.stream, for: IPAddress(IPv4Address.any)) else { return false }
        defer { socket.close() }
        let may = (try? socket.setCongestionControl(.reno)) != nil && (try? socket.setCongestionControl(.cubic)) != nil
        mayLeaveCubic = may
        return may
    }

    /// Edge-triggered for both directions for a socket's whole life: no call in steady state changes what is watched, and an
    /// edge that cannot be used is remembered in the connection.
    private static var watched: Epoll.Events { [.input, .priority, .output, .readHangUp, .edge] }

    mutating func connect(to remote: Endpoint, _ family: AddressTranslation.Family, typeOfService: UInt8, tag: UInt64) throws(Errno) -> Descriptor {
        let socket = try Descriptor.socket(.stream, for: remote.address)
        do {
            socket.prepareStream()
            try socket.holdHandshake()
            if let index = family.outboundInterface(towards: remote.address) { try socket.bindToInterface(index: index) }
            if let address = family.outboundAddress, !remote.address.isLoopback {
                socket.choosePortLate()
                try socket.bind(SocketAddress(Endpoint(address, 0), scope: address.needsScope ? family.linkInterface : 0))
            }
            // Most have none, and then it costs no call.
            if typeOfService != 0 { try? socket.setTypeOfService(typeOfService, isIPv4: remote.address.isIPv4) }
            _ = try socket.connect(SocketAddress(remote, scope: remote.address.needsScope ? family.linkInterface : 0))
            try epoll.add(socket, KernelSockets.watched, tag: tag)
            return socket
        } catch {
            socket.close()
            throw error
        }
    }

    mutating func adopt(_ socket: Descriptor, tag: UInt64) throws(Errno) {
        try epoll.add(socket, KernelSockets.watched, tag: tag)
    }

    mutating func connectionError(_ socket: Descriptor) -> Errno? { socket.takeSocketError() }

    mutating func send(_ list: inout ScatterList, on socket: Descriptor) -> Outcome { list.send(on: socket) }

    mutating func peek(_ list: inout ScatterList, on socket: Descriptor) -> Outcome { list.peek(on: socket) }

    mutating func take(_ list: inout ScatterList, from socket: Descriptor) -> Outcome { list.receive(on: socket) }

    mutating func receiveMemory(_ socket: Descriptor) -> UInt32? { socket.receiveMemory() }

    mutating func setPeekOffset(_ offset: Int, on socket: Descriptor) -> Bool {
        do {
            try socket.setPeekOffset(offset)
            return true
        } catch {
            return false
        }
    }

    mutating func discard(_ count: Int, on socket: Descriptor) -> Outcome { socket.discard(count) }

    mutating func finish(_ socket: Descriptor) { try? socket.shutdown(1) }

    mutating func path(_ socket: Descriptor) -> TCPPath? { socket.tcpPath() }

    mutating func completeHandshake(_ socket: Descriptor) { try? socket.completeHandshake() }

    mutating func sendBuffer(_ socket: Descriptor) -> SendBuffer? { socket.sendBuffer() }

    @discardableResult
    mutating func awaitRoom(_ socket: Descriptor) -> Bool { socket.pollForOutput() }

    mutating func setHyStart(_ isOn: Bool, on socket: Descriptor) -> Bool {
        guard isOn || socket.congestionControl() == .cubic && findMayLeaveCubic() else { return false }
        return (try? socket.setCongestionControl(isOn ? .cubic : .reno)) != nil
    }

    mutating func limitTimeout(_ seconds: UInt8?, on socket: Descriptor) -> Bool { patience.limitTimeout(seconds, on: socket) }

    mutating func keepAlive(after time: UInt16, every interval: UInt16, on socket: Descriptor) {
        // A refusal leaves the connection as it was.
        try? socket.setKeepAlive(after: Int32(time), every: Int32(interval))
    }

    mutating func close(_ socket: Descriptor) { socket.close() }

    mutating func abort(_ socket: Descriptor) {
        try? socket.setAbortOnClose()
        socket.close()
    }
}
