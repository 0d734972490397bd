public import Linux
public import Settings
public import Wire

/// The data path of pasta: one worker over a tap. It is the only thing that the rest of the program sees of this module.
public struct PastaWorker: Worker, ~Copyable {
    var forwarder: Forwarder<CaptureLink<TapLink>, KernelSockets>

    /// Takes the tap over. `capture` is a file for `--pcap`, or none.
    public init(tap: Tap, network: Network, capture: Descriptor?) throws(Errno) {
        forwarder = try Forwarder(over: TapLink(tap), network, capture)
    }

    public func watch(_ descriptor: Descriptor, number: Int) throws(Errno) {
        try forwarder.watch(descriptor, number: number)
    }

    public mutating func learn(neighbour: Neighbour) { forwarder.services.learn(neighbour) }

    public mutating func forget(neighbour address: IPAddress) { forwarder.services.neighbours.remove(address) }

    /// Lets connections between loopback addresses go straight to sockets of the guest's namespace, which come over `channel`
    /// (`SocketCourier`), and outbound ones work at all.
    public mutating func connectNamespace(_ channel: Descriptor) throws(Errno) {
        try forwarder.bypass.connect(channel, to: forwarder.epoll)
    }

    /// Opens a socket that listens in the guest's namespace, or receives datagrams there, with the right to low ports where the namespace
    /// grants it. Waits for the helper in there, some tens of microseconds. Errors are those of bind(2); ENOTCONN without a helper.
    public mutating func openInNamespace(isTCP: Bool, _ address: IPAddress, port: UInt16) throws(Errno) -> Descriptor {
        try forwarder.bypass.openListener(isTCP: isTCP, address, port: port)
    }

    public mutating func listen(on port: ForwardedPort) throws(Errno) -> Int { try forwarder.listen(on: port) }

    /// Closes a listener. Connections that came by it go on.
    public mutating func stopListening(_ index: Int, hasIPv4: Bool, hasIPv6: Bool) {
        forwarder.stopListening(index, hasIPv4: hasIPv4, hasIPv6: hasIPv6)
    }

    public mutating func run(until deadline: Int64? = nil) throws(Errno) -> Wake {
        try forwarder.run(until: deadline)
    }

    public func forEachCounter(_ print: (StaticString, UInt64) -> Void) { forwarder.forEachCounter(print) }
}
