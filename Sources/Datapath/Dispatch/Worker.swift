public import Linux
internal import Settings
public import Wire

/// A data path as the rest of the program sees it. Each program has its own, compiled for its link.
public protocol Worker: ~Copyable {
    /// What it calls while it runs, the most frequent first.
    static var systemCalls: [SystemCall.Permission] { get }

    /// Ends `run` with `.external(number)` whenever `descriptor` is readable.
    func watch(_ descriptor: Descriptor, number: Int) throws(Errno)

    /// Not any more.
    func unwatch(_ descriptor: Descriptor)

    /// Notes a host's link-layer address, or that it is not valid any more. Allocates nothing.
    mutating func learn(neighbour: Neighbour)

    /// The host has lost an address of its own.
    mutating func abandon(_ address: IPAddress)

    /// The host has this address now, on the interface that the guest's is modelled on, or on another one.
    mutating func note(_ address: IPAddress, isOnTemplate: Bool)

    /// Which addresses the host has is told anew from here on.
    mutating func forgetAddresses()

    /// The host may have lost an address without saying so.
    mutating func distrustSources()

    /// The host's interface of index `old` was made anew.
    mutating func renumber(_ old: Int32, to new: Int32)

    /// Takes over a bound socket: its index, for what stops it again. ENOSPC when there are too many, and then the socket is still the caller's.
    mutating func listen(on port: ForwardedPort) throws(Errno) -> Int

    /// Lets clients change ports from here on. `rules` are those that `listen` and `watchPorts` were called for. ENOSPC: there are too many.
    mutating func allowPortUpdates(_ setup: PortControlSetup, inbound: [PortControlRule], outbound: [PortControlRule]) throws(Errno)

    /// What a client is told first: writes it, and returns its length. `bytes` has room for `PortControl.mostHelloBytes`.
    func writePortTables(to bytes: inout MutableRawSpan) -> Int

    /// Takes in the request that the first `count` bytes are. nil: `continuePortUpdate` is to be called until it has an answer.
    mutating func beginPortUpdate(_ request: borrowing RawSpan, count: Int) -> PortControlAnswer?

    /// Does some of it. nil: there is more to do. `tell` hears of automatic ports. Allocates nothing.
    mutating func continuePortUpdate(_ tell: (PortNews) -> Void) -> PortControlAnswer?

    /// Forwards until something happens that is not the data path's. `deadline`: nanoseconds of the monotonic clock.
    mutating func run(until deadline: Int64?) throws(Errno) -> Wake

    /// The program ends: its sockets are left to the kernel.
    mutating func leave()

    /// Calls `print` with the name and value of each counter that is not zero.
    func forEachCounter(_ print: (StaticString, UInt64) -> Void)
    /// Differs from what it was when anything has been counted since, but for wake-ups.
    var activity: UInt64 { get }
}

extension LocalServices {
    mutating func learn(_ neighbour: Neighbour) {
        if neighbour.isValid, let mac = neighbour.mac {
            neighbours.update(neighbour.address, mac, isInUse: neighbour.isInUse)
        } else {
            neighbours.remove(neighbour.address)
        }
    }
}

extension Forwarder where Link: ~Copyable, Sockets == KernelSockets {
    /// The data path of a program over `link`, with the kernel's sockets. `capture` is a file for `--pcap`, or none.
    init<Inner: GuestLink & ~Copyable>(
        over link: consuming Inner, _ network: Network, _ capture: Descriptor?
    ) throws(Errno) where Link == CaptureLink<Inner> {
        let epoll = try Epoll()
        let file: CaptureFile?
        if let capture { file = try CaptureFile(capture) } else { file = nil }
        try self.init(
            link: CaptureLink(link, capture: file), sockets: KernelSockets(epoll: epoll, retries: network.retries), epoll: epoll, network: network,
            // Most flows of each protocol.
            flows: 128 << 10, descriptors: Int(clamping: OpenFileLimit.current), now: monotonicNanoseconds() / 1_000_000)
    }
}

extension Forwarder where Link: ~Copyable, Sockets: ~Copyable {
    mutating func note(_ address: IPAddress, isOnTemplate: Bool) {
        tcp.translation.note(address, isOnTemplate: isOnTemplate)
        udp.translation.note(address, isOnTemplate: isOnTemplate)
        ping.translation.note(address, isOnTemplate: isOnTemplate)
    }

    mutating func forgetAddresses() {
        tcp.translation.forgetAddresses()
        udp.translation.forgetAddresses()
        ping.translation.forgetAddresses()
    }

    mutating func distrustSources() {
        udp.distrustSources()
        ping.distrustSources()
    }

    mutating func abandon(_ address: IPAddress) {
        tcp.translation.forget(address)
        udp.translation.forget(address)
        ping.translation.forget(address)
        udp.abandon(address)
        ping.abandon(address)
    }

    /// What was bound to the interface stays bound to the one that is gone, and makes way for others.
    mutating func renumber(_ old: Int32, to new: Int32) {
        udp.leave(old, &port)
        ping.leave(old, &port)
        tcp.translation.renumber(old, to: new)
        udp.translation.renumber(old, to: new)
        ping.translation.renumber(old, to: new)
    }

    func watch(_ descriptor: Descriptor, number: Int) throws(Errno) {
        try epoll.add(descriptor, .input, tag: EventTag(.external, index: number).bits)
    }

    var activity: UInt64 {
        var sum: UInt64 = 0
        for counter in Counter.allCases where counter != .wakeUps { sum &+= port.counters[counter] }
        let figures = port.link.figures
        let counted = figures.batchesFromGuest &+ figures.stops &+ figures.guests &+ figures.turnedAway &+ figures.unusableFrames
        return sum &+ UInt64(truncatingIfNeeded: counted)
    }

    func forEachCounter(_ print: (StaticString, UInt64) -> Void) {
        for counter in Counter.allCases where port.counters[counter] != 0 { print(counter.label, port.counters[counter]) }
        let figures = port.link.figures
        Self.print(figures.batchesFromGuest, "batches from guest", print)
        Self.print(figures.batchesToGuest, "batches to guest", print)
        Self.print(figures.segmentsToGuest, "segments cut for guest", print)
        Self.print(figures.stops, "pauses of guest", print)
        Self.print(figures.guests, "guests", print)
        Self.print(figures.turnedAway, "guests turned away", print)
        Self.print(figures.brokeFraming, "guests cut for a bad length", print)
        Self.print(figures.brokeProtocol, "guests cut for a bad message", print)
        Self.print(figures.brokeRing, "rings given up", print)
        Self.print(figures.unusableFrames, "unusable frames", print)
    }

    private static func print(_ value: Int, _ label: StaticString, _ print: (StaticString, UInt64) -> Void) {
        if value != 0 { print(label, UInt64(truncatingIfNeeded: value)) }
    }
}

/// A bound socket of a forwarded port, and where it leads.
public struct ForwardedPort: Sendable {
    public var socket: Descriptor
    public var isTCP: Bool
    /// In the guest's namespace, leading to the host; else a socket of the host that leads to the guest.
    public var isOutbound: Bool
    /// What it is bound to.
    public var address: IPAddress
    public var port: UInt16
    public var targetPort: UInt16
    /// nil: the guest, whatever its address, or the host's loopback.
    public var targetAddress: IPAddress?
    /// Clients of IPv4 come by it; those of IPv6, wherever it is bound to an address of theirs.
    public var hasIPv4: Bool
    /// Index of the host's only interface to hear; 0: any.
    public var interface: Int32

    public init(
        socket: Descriptor, isTCP: Bool, isOutbound: Bool, address: IPAddress, port: UInt16, targetPort: UInt16, targetAddress: IPAddress? = nil,
        hasIPv4: Bool, interface: Int32 = 0
    ) {
        self.socket = socket
        self.isTCP = isTCP
        self.isOutbound = isOutbound
        self.address = address
        self.port = port
        self.targetPort = targetPort
        self.targetAddress = targetAddress
        self.hasIPv4 = hasIPv4
        self.interface = interface
    }
}
