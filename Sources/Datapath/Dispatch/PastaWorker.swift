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

    public func unwatch(_ descriptor: Descriptor) { try? forwarder.epoll.remove(descriptor) }

    public mutating func learn(neighbour: Neighbour) { forwarder.services.learn(neighbour) }

    public mutating func abandon(_ address: IPAddress) { forwarder.abandon(address) }

    public mutating func note(_ address: IPAddress, isOnTemplate: Bool) { forwarder.note(address, isOnTemplate: isOnTemplate) }

    public mutating func forgetAddresses() { forwarder.forgetAddresses() }

    public mutating func distrustSources() { forwarder.distrustSources() }

    public mutating func renumber(_ old: Int32, to new: Int32) { forwarder.renumber(old, to: new) }

    /// Lets connections between loopback addresses go straight to sockets of the guest's namespace, which come over `channel`
    /// (`SocketCourier`), and outbound ones work at all.
    public mutating func connectNamespace(_ channel: Descriptor) throws(Errno) {
        try forwarder.bypass.connect(channel, to: forwarder.epoll)
    }

    public mutating func listen(on port: ForwardedPort) throws(Errno) -> Int { try forwarder.listen(on: port) }

    public mutating func run(until deadline: Int64? = nil) throws(Errno) -> Wake {
        try forwarder.run(until: deadline)
    }

    public mutating func leave() { forwarder.tcp.endOutages() }

    public func forEachCounter(_ print: (StaticString, UInt64) -> Void) { forwarder.forEachCounter(print) }
    public var activity: UInt64 { forwarder.activity }

    public mutating func allowPortUpdates(_ setup: PortControlSetup, inbound: [PortControlRule], outbound: [PortControlRule]) throws(Errno) {
        try forwarder.allowPortUpdates(setup, inbound, outbound)
    }

    public func writePortTables(to bytes: inout MutableRawSpan) -> Int { forwarder.writePortTables(to: &bytes) }

    public mutating func beginPortUpdate(_ request: borrowing RawSpan, count: Int) -> PortControlAnswer? {
        forwarder.portTables.begin(request, count: count)
    }

    public mutating func continuePortUpdate(_ tell: (PortNews) -> Void) -> PortControlAnswer? {
        forwarder.continuePortUpdate(now: monotonicNanoseconds() / 1_000_000, tell)
    }
}
