public import Linux
public import Settings
public import Wire

/// The data path of pasta: one worker over a tap. It is the only thing that the rest of the program sees of this module.
public struct PastaWorker: Worker, ~Copyable {
    private var forwarder: Forwarder<CaptureLink<TapLink>, KernelSockets>

    /// Most flows of each protocol.
    static let flows = 128 << 10

    /// Takes the tap over. `capture` is a file for `--pcap`, or none.
    public init(tap: Tap, network: Network, capture: Descriptor?) throws(Errno) {
        let epoll = try Epoll()
        let file: CaptureFile?
        if let capture { file = try CaptureFile(capture) } else { file = nil }
        forwarder = try Forwarder(
            link: CaptureLink(TapLink(tap), capture: file), sockets: KernelSockets(epoll: epoll), epoll: epoll, network: network,
            flows: PastaWorker.flows, now: monotonicNanoseconds() / 1_000_000)
    }

    public func watch(_ descriptor: Descriptor, number: Int) throws(Errno) {
        try forwarder.epoll.add(descriptor, .input, tag: EventTag(.external, index: number).bits)
    }

    public mutating func learn(neighbour: Neighbour) { forwarder.services.learn(neighbour) }

    public mutating func forget(neighbour address: IPAddress) { forwarder.services.neighbours.remove(address) }

    public mutating func listen(
        on socket: Descriptor, isTCP: Bool, port: UInt16, targetPort: UInt16, targetAddress: IPAddress?, hasIPv4: Bool, hasIPv6: Bool
    ) throws(Errno) {
        let target = ListenerTarget(port: targetPort, address: targetAddress)
        try forwarder.listen(on: socket, isTCP: isTCP, port: port, target: target, hasIPv4: hasIPv4, hasIPv6: hasIPv6)
    }

    public mutating func run(until deadline: Int64? = nil) throws(Errno) -> Wake {
        try forwarder.run(until: deadline)
    }

    public func forEachCounter(_ print: (StaticString, UInt64) -> Void) { forwarder.forEachCounter(print) }
}
