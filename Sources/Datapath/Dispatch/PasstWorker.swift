public import Linux
public import Settings
public import Wire

/// The data path of passt: one worker over the socket of a virtual machine.
public struct PasstWorker: Worker, ~Copyable {
    private var forwarder: Forwarder<CaptureLink<MachineLink>, KernelSockets>

    /// Machines connect to `listener`, one at a time; or `client` is a machine that is connected, and the only one. With `isOneOff`, `run` ends with
    /// `.guestGone` when a machine goes. Both sockets must be non-blocking. `capture` is a file for `--pcap`, or none.
    public init(_ kind: UnixSocket.Kind, listener: Descriptor, client: Descriptor, isOneOff: Bool, network: Network, capture: Descriptor?) throws(Errno) {
        forwarder = try Forwarder(over: try MachineLink(kind, listener: listener, client: client, isOneOff: isOneOff), network, capture)
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

    public mutating func listen(on port: ForwardedPort) throws(Errno) -> Int { try forwarder.listen(on: port) }

    public mutating func run(until deadline: Int64? = nil) throws(Errno) -> Wake { try forwarder.run(until: deadline) }

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

extension PasstWorker {
    public static var systemCalls: [SystemCall.Permission] { PastaWorker.systemCalls + SystemCall.machines + SystemCall.lending }
}
