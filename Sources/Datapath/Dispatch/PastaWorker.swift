public import Linux
public import Settings
public import Wire

/// The data path of pasta: one worker over a tap. It is the only thing that the rest of the program sees of this module.
public struct PastaWorker: ~Copyable {
    private var forwarder: Forwarder<CaptureLink<TapLink>, KernelSockets>

    /// Most flows of each protocol.
    private static let flows = 128 << 10

    /// Takes the tap over. `capture` is a file for `--pcap`, or none.
    public init(tap: Tap, network: Network, capture: Descriptor?) throws(Errno) {
        let epoll = try Epoll()
        let file: CaptureFile?
        if let capture { file = try CaptureFile(capture) } else { file = nil }
        forwarder = try Forwarder(
            link: CaptureLink(TapLink(tap), capture: file), sockets: KernelSockets(epoll: epoll), epoll: epoll, network: network,
            flows: PastaWorker.flows, now: monotonicNanoseconds() / 1_000_000)
    }

    /// Ends `run` with `.external(number)` whenever `descriptor` is readable.
    public func watch(_ descriptor: Descriptor, number: Int) throws(Errno) {
        try forwarder.epoll.add(descriptor, .input, tag: EventTag(.external, index: number).bits)
    }

    /// Notes a host's link-layer address, or that it is not valid any more. Allocates nothing.
    public mutating func learn(neighbour: Neighbour) {
        if neighbour.isValid, let mac = neighbour.mac {
            forwarder.services.neighbours.update(neighbour.address, mac)
        } else {
            forget(neighbour: neighbour.address)
        }
    }

    public mutating func forget(neighbour address: IPAddress) { forwarder.services.neighbours.remove(address) }

    /// Takes over a listening or datagram socket: what comes in there goes to the guest's `targetPort`, at `targetAddress` or at whatever
    /// address the guest has. ENOSPC when there are too many.
    public mutating func listen(
        on socket: Descriptor, isTCP: Bool, port: UInt16, targetPort: UInt16, targetAddress: IPAddress?, hasIPv4: Bool, hasIPv6: Bool
    ) throws(Errno) {
        let target = ListenerTarget(port: targetPort, address: targetAddress)
        try forwarder.listen(on: socket, isTCP: isTCP, port: port, target: target, hasIPv4: hasIPv4, hasIPv6: hasIPv6)
    }

    /// Forwards until something happens that is not the data path's. `deadline`: nanoseconds of the monotonic clock.
    public mutating func run(until deadline: Int64? = nil) throws(Errno) -> Wake {
        try forwarder.run(until: deadline)
    }

    /// Calls `print` with the name and value of each counter that is not zero.
    public func forEachCounter(_ print: (StaticString, UInt64) -> Void) {
        for counter in Counter.allCases where forwarder.port.counters[counter] != 0 {
            print(counter.label, forwarder.port.counters[counter])
        }
    }
}
