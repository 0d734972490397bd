import CAllocations
import Settings
import Testing
import Wire

@testable import Datapath
@testable import Linux

/// A link whose frames lie in this process; it takes nothing from the heap.
struct FeedLink: GuestLink, ~Copyable {
    /// Always readable.
    let descriptor: Descriptor
    let offloads: LinkOffloads = [.checksum, .tcpSegmentation, .udpSegmentation]
    var frames: [[UInt8]] = []
    private var next = 0
    private(set) var sent = 0
    /// The connection whose segments are noted: its ports, the guest's first. Those of earlier ones may come late.
    private var watched: (guest: UInt16, remote: UInt16) = (0, 0)
    /// Behind the last TCP segment of that one to the guest, and what it acknowledged.
    private(set) var sequence: UInt32 = 0
    private(set) var acknowledgment: UInt32 = 0
    private(set) var lastFlags: UInt8 = 0
    /// Of all of them.
    private(set) var seenFlags: UInt8 = 0

    init(descriptor: Descriptor) { self.descriptor = descriptor }

    var isDone: Bool { next == frames.count }

    mutating func feed(_ frames: [[UInt8]]) {
        self.frames = frames
        next = 0
    }

    mutating func watch(guest: UInt16, remote: UInt16) {
        watched = (guest, remote)
        (sequence, acknowledgment, lastFlags, seenFlags) = (0, 0, 0, 0)
    }

    mutating func receive(into batch: inout FrameBatch) -> Bool {
        while !batch.isFull, next < frames.count {
            let start = batch.nextOffset
            let length = frames[next].count
            var bytes = batch.arena.mutableBytes
            for index in 0..<length { bytes.store(frames[next][index], at: start + index) }
            batch.append(length: length, offload: VirtioNetHeader())
            next += 1
        }
        return true
    }

    mutating func send(_ frame: Frame, in arena: inout Mapping) -> LinkVerdict {
        sent += 1
        let bytes = arena.bytes
        let isIPv4 = bytes.uint8(at: frame.offset + 12) == 8
        let l4 = frame.offset + (isIPv4 ? 34 : 54)
        let proto = bytes.uint8(at: frame.offset + (isIPv4 ? 23 : 20))
        guard proto == 6, bytes.uint16(at: l4) == watched.remote, bytes.uint16(at: l4 + 2) == watched.guest else { return .sent }
        lastFlags = bytes.uint8(at: l4 + 13)
        seenFlags |= lastFlags
        // By what the IP header says of its packet, or of what follows it.
        let end = isIPv4 ? frame.offset + 14 + Int(bytes.uint16(at: frame.offset + 16)) : l4 + Int(bytes.uint16(at: frame.offset + 18))
        let payload = end - l4 - Int(bytes.uint8(at: l4 + 12) >> 4) * 4
        sequence = bytes.uint32(at: l4 + 4) &+ UInt32(truncatingIfNeeded: payload) &+ (lastFlags & 3 != 0 ? 1 : 0)
        acknowledgment = bytes.uint32(at: l4 + 8)
        return .sent
    }

    mutating func flush(_ arena: inout Mapping) {}
}

/// A forwarder as in the daemon, over sockets of the kernel; what it takes from the heap while it runs is counted.
struct LiveForwarder: ~Copyable {
    static let loopback4 = IPAddress(IPv4Address.loopback)
    static let loopback6 = IPAddress(IPv6Address.loopback)

    /// Where its sockets are.
    let loopback: IPAddress
    let epoll: Epoll
    let listener: Descriptor
    let echo: Descriptor
    let wakeUp: (reading: Descriptor, writing: Descriptor)
    let tcpPort, udpPort: UInt16
    private var forwarder: Forwarder<FeedLink, KernelSockets>
    var allocations = 0
    private(set) var frames = 0

    /// `echoPort`: the guest's port that the UDP peer sends to.
    init(echoPort: UInt16, over loopback: IPAddress, flows: Int = 4096) throws {
        let pipe = try Descriptor.pipe()
        try pipe.writing.write("x")
        let epoll = try Epoll()
        let listener = try Descriptor.socket(.stream, for: loopback)
        try listener.bind(SocketAddress(Endpoint(loopback, 0)))
        try listener.listen()
        let echo = try Descriptor.socket(.datagram, for: loopback)
        try echo.bind(SocketAddress(Endpoint(loopback, 0)))
        _ = try echo.connect(SocketAddress(Endpoint(loopback, echoPort)))
        let tcpPort = try #require(try listener.localAddress().endpoint).port
        let udpPort = try #require(try echo.localAddress().endpoint).port
        var network = TestHost.network()
        network.hostname = "box"
        network.searchDomains = ["example.org"]
        let forwarder = try Forwarder(
            link: FeedLink(descriptor: pipe.reading), sockets: KernelSockets(epoll: epoll, retries: 15), epoll: epoll, network: network, flows: flows,
            now: monotonicNanoseconds() / 1_000_000)
        self.loopback = loopback
        self.tcpPort = tcpPort
        self.udpPort = udpPort
        self.forwarder = forwarder
        self.epoll = epoll
        self.listener = listener
        self.echo = echo
        wakeUp = (pipe.reading, pipe.writing)
    }

    deinit {
        for descriptor in [epoll.descriptor, listener, echo, wakeUp.reading, wakeUp.writing] { descriptor.close() }
    }

    var sequence: UInt32 { forwarder.port.link.sequence }
    var acknowledgment: UInt32 { forwarder.port.link.acknowledgment }
    var lastFlags: UInt8 { forwarder.port.link.lastFlags }
    var seenFlags: UInt8 { forwarder.port.link.seenFlags }
    var sent: Int { forwarder.port.link.sent }
    func count(_ counter: Counter) -> UInt64 { forwarder.port.counters[counter] }
    var guest: LiveGuest { LiveGuest(isIPv4: loopback.isIPv4) }

    /// From here on, the state of the connection between these ports is noted.
    mutating func watch(guest: UInt16, remote: UInt16) { forwarder.port.link.watch(guest: guest, remote: remote) }

    /// Hands `frames` to the forwarder and lets it work; counts.
    mutating func run(_ frames: [[UInt8]] = [], rounds: Int = 1) throws {
        self.frames += frames.count
        forwarder.port.link.feed(frames)
        var round = 0
        while round < rounds || !forwarder.port.link.isDone {
            round += 1
            allocations_begin()
            let wake = try forwarder.run(until: monotonicNanoseconds() + 20_000)
            allocations += Int(allocations_end())
            #expect(wake == .deadline)
        }
    }

    /// Runs until `condition`, for at most ten seconds.
    mutating func run(until condition: (borrowing LiveForwarder) -> Bool) throws {
        let end = monotonicNanoseconds() + 10_000_000_000
        while !condition(self) {
            try #require(monotonicNanoseconds() < end)
            try run()
        }
    }

    // MARK: Others

    /// The next connection to the listener.
    mutating func accept() throws -> Descriptor {
        let end = monotonicNanoseconds() + 10_000_000_000
        while true {
            if let (socket, _) = try listener.accept() { return socket }
            try #require(monotonicNanoseconds() < end)
            try run()
        }
    }

    /// A socket that is connected to a port of loopback, or about to be.
    func client(_ kind: Descriptor.SocketKind, of port: UInt16) throws -> Descriptor {
        let socket = try Descriptor.socket(kind, for: loopback)
        _ = try socket.connect(SocketAddress(Endpoint(loopback, port)))
        return socket
    }

    /// A port of loopback whose clients are led to the guest's `port`; or, `isOutbound`, as if it were one of the namespace, to the host's. Its number for `closePort`.
    mutating func openPort(
        isTCP: Bool, isOutbound: Bool = false, leadingTo port: UInt16, at address: IPAddress? = nil
    ) throws -> (number: Int, port: UInt16) {
        let socket = try ListenerSocket(isTCP: isTCP, address: loopback, port: 0, servesIPv4: loopback.isIPv4).open()
        let own = try #require(try socket.localAddress().endpoint)
        let entry = ListenerEntry(
            socket, isTCP: isTCP, isOutbound: isOutbound, address: loopback, port: own.port, ListenerTarget(port: port, address: address))
        return (try forwarder.listen(entry), own.port)
    }

    /// Its flows end with it, which is counted.
    mutating func closePort(_ number: Int) {
        allocations_begin()
        forwarder.stopListening(number)
        allocations += Int(allocations_end())
    }

    /// Sockets of the namespace come by `channel`: from here on, what comes to the host's loopback takes no detour.
    mutating func connectHelper(_ channel: Descriptor) throws { try forwarder.bypass.connect(channel, to: epoll) }
}
