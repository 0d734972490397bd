import Glibc
import Linux
import Settings
import Testing
import Wire

@testable import Datapath

/// A UDP or ping translator between a guest that is written here and sockets on this machine's loopback.
struct TestHost: ~Copyable {
    static let guest4 = IPAddress(IPv4Address("192.0.2.2")!)
    static let guest6 = IPAddress(IPv6Address("2001:db8::2")!)
    /// What stands for loopback.
    static let mapped4 = IPAddress(IPv4Address("192.0.2.1")!)
    static let mapped6 = IPAddress(IPv6Address("2001:db8::1")!)

    static func network() -> Network {
        var network = Network(gatewayMAC: Network.defaultGatewayMAC, routerLinkLocal: IPv6Address("fe80::1")!, mtu: 65520)
        var ipv4 = Network.Family(address: IPv4Address("192.0.2.2")!, prefixLength: 24, gateway: IPv4Address("192.0.2.1")!)
        ipv4.mapHostLoopback = IPv4Address("192.0.2.1")!
        network.ipv4 = ipv4
        var ipv6 = Network.Family(address: IPv6Address("2001:db8::2")!, prefixLength: 64, gateway: IPv6Address("fe80::1234")!)
        ipv6.mapHostLoopback = IPv6Address("2001:db8::1")!
        network.ipv6 = ipv6
        return network
    }

    var port: GuestPort<RecordingLink>
    var arena: Mapping
    let epoll: Epoll
    var events: EventList
    var udp: UDPTranslator
    var bypass: Bypass
    var ping: PingTranslator
    /// Milliseconds.
    var now: Int64
    private var used = 0

    init(
        offloads: LinkOffloads = [.checksum, .tcpSegmentation, .udpSegmentation], capacity: Int = 64, network: Network = TestHost.network()
    ) throws {
        let seed = SipHash(key0: 1, key1: 2)
        let now: Int64 = 1_000_000
        let translation = AddressTranslation(network)
        let epoll = try Epoll()
        let events = try EventList()
        let arena = try Mapping(byteCount: 4 << 20)
        let port = try GuestPort(
            link: RecordingLink(offloads: offloads), guestMAC: MACAddress(0x5254_0012_3456), gatewayMAC: Network.defaultGatewayMAC, mtu: network.mtu,
            seed: seed)
        let udp = try UDPTranslator(epoll: epoll, translation: translation, capacity: capacity, seed: seed, now: now)
        let ping = try PingTranslator(epoll: epoll, translation: translation, capacity: capacity, seed: seed, now: now)
        let bypass = try Bypass(network, epoll: epoll, capacity: capacity, seed: seed, now: now)
        self.epoll = epoll
        self.bypass = bypass
        self.events = events
        self.arena = arena
        self.port = port
        self.udp = udp
        self.ping = ping
        self.now = now
    }

    deinit {
        // Those of listeners belong to them.
        for index in 0..<udp.table.highWater where udp.table.isUsed(index) && !udp.table[index].flags.contains(.byListener) { udp.table[index].socket.close() }
        for index in 0..<ping.table.highWater where ping.table.isUsed(index) { ping.table[index].socket.close() }
        epoll.descriptor.close()
    }

    /// Puts bytes where the link would have.
    mutating func place(_ bytes: [UInt8]) -> Int {
        let offset = used
        var span = arena.mutableBytes
        for (index, byte) in bytes.enumerated() { span.store(byte, at: offset + index) }
        used += (bytes.count + 63) & ~63
        return offset
    }

    mutating func send(
        _ payload: [UInt8], from guestPort: UInt16, to remote: Endpoint, hopLimit: UInt8 = 64, segmentSize: Int = 0, guest: IPAddress? = nil,
        isForMany: Bool = false
    ) {
        let offset = place(payload)
        let guest = guest ?? (remote.address.isIPv4 ? TestHost.guest4 : TestHost.guest6)
        let key = FlowKey(guest: guest, guestPort: guestPort, remote: remote.address, remotePort: remote.port)
        let datagram = GuestDatagram(
            key: key, payloadOffset: offset, payloadLength: payload.count, hopLimit: hopLimit, typeOfService: 0, segmentSize: segmentSize,
            isForMany: isForMany)
        udp.fromGuest(datagram, in: arena, &port, now: now)
    }

    mutating func echo(
        identifier: UInt16, sequence: UInt16, to remote: IPAddress, payload: [UInt8] = [UInt8](repeating: 0x55, count: 56), hopLimit: UInt8 = 64
    ) {
        let isIPv4 = remote.isIPv4
        let header: [UInt8] = [
            isIPv4 ? 8 : 128, 0, 0, 0, UInt8(identifier >> 8), UInt8(identifier & 0xff), UInt8(sequence >> 8), UInt8(sequence & 0xff),
        ]
        let offset = place(header + payload)
        let key = FlowKey(guest: isIPv4 ? TestHost.guest4 : TestHost.guest6, guestPort: identifier, remote: remote, remotePort: 0)
        let request = GuestEcho(key: key, sequence: sequence, messageOffset: offset, messageLength: 8 + payload.count, hopLimit: hopLimit, typeOfService: 0)
        ping.fromGuest(request, in: arena, &port, now: now)
    }

    mutating func endRound() {
        udp.endRound(&port, now: now)
        ping.endRound(&port, now: now)
        port.flush()
        port.errorLimit.refill(now: now)
        used = 0
    }

    /// Runs rounds until `count` frames have gone to the guest since the start, or nothing happens for `limit` milliseconds.
    /// How many events there were.
    @discardableResult
    mutating func run(untilFrames count: Int = .max, limit: Int = 1000) throws -> Int {
        endRound()
        var total = 0
        while port.link.frames.count < count {
            try events.wait(on: epoll, nanoseconds: Int64(limit) * 1_000_000)
            if events.count == 0 { break }
            total += events.count
            for index in 0..<events.count {
                let tag = EventTag(bits: events[index].tag)
                if tag.kind == .udp, udp.table.isCurrent(tag.index, generation: tag.generation) {
                    udp.fromHost(tag.index, events[index].events, &port, now: now)
                } else if tag.kind == .ping, ping.table.isCurrent(tag.index, generation: tag.generation) {
                    ping.fromHost(tag.index, events[index].events, &port, now: now)
                }
            }
            endRound()
            if total > 10_000 { break }
        }
        return total
    }

    mutating func expire() {
        udp.expireTimers(&port, now: now)
        ping.expireTimers(&port, now: now)
    }

    var frames: [SentFrame] { port.link.frames }
}

/// A socket on loopback, the far end.
struct FarEnd: ~Copyable {
    let socket: Descriptor
    let endpoint: Endpoint

    init(_ address: IPAddress = IPAddress(IPv4Address.loopback), port: UInt16 = 0) throws {
        let socket = try Descriptor.socket(.datagram, for: address)
        try socket.bind(SocketAddress(Endpoint(address, port)))
        let endpoint = try #require(try socket.localAddress().endpoint)
        self.socket = socket
        self.endpoint = endpoint
    }

    deinit { socket.close() }

    /// How the guest names it.
    var seen: Endpoint { Endpoint(endpoint.address.isIPv4 ? TestHost.mapped4 : TestHost.mapped6, endpoint.port) }

    /// What has come, with its senders; waits at most a second for `count`.
    func receive(_ count: Int) throws -> [(payload: [UInt8], source: Endpoint)] {
        var result: [(payload: [UInt8], source: Endpoint)] = []
        var buffer = try Mapping(byteCount: 65536)
        var batch = try ReceiveBatch(capacity: 1)
        for _ in 0..<1000 {
            if result.count == count { break }
            batch.removeAll()
            batch.append(buffer, offset: 0, length: 65536)
            guard batch.receive(on: socket).count == 1 else {
                usleep(1000)
                continue
            }
            var bytes: [UInt8] = []
            let span = buffer.mutableBytes
            for offset in 0..<batch.length(0) { bytes.append(span.uint8(at: offset)) }
            let source = batch.source(0)
            result.append((bytes, try #require(source)))
        }
        return result
    }

    func send(_ payload: [UInt8], to destination: Endpoint, segmentSize: Int = 0) throws {
        try socket.sendDatagram(payload, to: destination, segmentSize: segmentSize)
    }
}

extension Descriptor {
    /// Sends to `destination`; with `segmentSize`, as several datagrams of one message.
    func sendDatagram(_ payload: [UInt8], to destination: Endpoint, segmentSize: Int = 0) throws {
        var buffer = try Mapping(byteCount: payload.count)
        var span = buffer.mutableBytes
        for (index, byte) in payload.enumerated() { span.store(byte, at: index) }
        var batch = try SendBatch(payloads: 1, messages: 1)
        let number = batch.note(buffer, offset: 0, length: payload.count)
        batch.beginMessage()
        if payload.count > 0 { _ = batch.append(number, from: 0, length: payload.count) }
        if segmentSize > 0 { batch.segmentMessage(size: segmentSize) }
        let outcome = batch.send(on: self, to: SocketAddress(destination))
        #expect(outcome.count == 1, "\(outcome.raw)")
    }

    /// Index of the interface that the socket is bound to; 0: none.
    var boundInterface: Int32 {
        var index: Int32 = -1
        var length = socklen_t(4)
        // SAFETY: the kernel writes four bytes at most.
        _ = unsafe getsockopt(number, SOL_SOCKET, 62, &index, &length)  // SO_BINDTOIFINDEX
        return index
    }
}

extension TestHost {
    /// A port that is forwarded at all addresses of IPv4, as listener 0: its socket, and which one it is.
    mutating func listenEverywhere() throws -> (Descriptor, UInt16) {
        let any = IPAddress(IPv4Address.any)
        let socket = try ListenerSocket(isTCP: false, address: any, port: 0, servesIPv4: true).open()
        let port = try #require(try socket.localAddress().endpoint).port
        udp.sharing.add(0, ListenerEntry(socket, isTCP: false, isOutbound: false, address: any, port: port, ListenerTarget(port: port, address: nil)))
        udp.ports.listen(port, isIPv4: true)
        return (socket, port)
    }
}

func pattern(_ count: Int, _ seed: Int = 0) -> [UInt8] { (0..<count).map { UInt8(truncatingIfNeeded: ($0 &* 7 &+ seed) ^ ($0 >> 8)) } }
