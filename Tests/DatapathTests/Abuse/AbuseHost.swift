// Abuse: the guest is played here, frame by frame, against a whole forwarder whose sockets are the kernel's, on loopback. After each attack,
// well-behaved conversations must work, and counters must tell what happened. The same over a real tap is in EndToEndTests/AbuseTests.

import Linux
import Settings
import Testing
import Wire

@testable import Datapath

/// A link whose guest is the test.
struct AbuseLink: GuestLink, ~Copyable {
    let descriptor: Descriptor
    private let writing: Descriptor
    let offloads: LinkOffloads
    let takesAnyLength: Bool
    /// What the frames to come say of themselves.
    var offload = VirtioNetHeader()
    private var inbox: [[UInt8]] = []
    private var next = 0
    var sent: [SentFrame] = []

    init(offloads: LinkOffloads, takesAnyLength: Bool) throws {
        let pipe = try Descriptor.pipe()
        try pipe.reading.setNonBlocking()
        descriptor = pipe.reading
        writing = pipe.writing
        self.offloads = offloads
        self.takesAnyLength = takesAnyLength
    }

    deinit {
        descriptor.close()
        writing.close()
    }

    mutating func queue(_ frames: [[UInt8]]) throws {
        if inbox.isEmpty, !frames.isEmpty { try writing.write("\n") }
        inbox += frames
    }

    var isIdle: Bool { inbox.isEmpty }

    mutating func receive(into batch: inout FrameBatch) -> Bool {
        while !batch.isFull, next < inbox.count {
            let frame = inbox[next]
            next += 1
            // No tap hands out less.
            guard frame.count > 14 else { continue }
            let start = batch.nextOffset
            var bytes = batch.arena.mutableBytes
            for (index, byte) in frame.enumerated() { bytes.store(byte, at: start + index) }
            batch.append(length: frame.count, offload: offload)
        }
        if next == inbox.count {
            inbox.removeAll(keepingCapacity: true)
            next = 0
            _ = try? descriptor.readAll(limit: 16)
        }
        return true
    }

    mutating func send(_ frame: Frame, in arena: inout Mapping) -> LinkVerdict {
        let span = arena.bytes
        var bytes: [UInt8] = []
        for offset in frame.offset..<(frame.offset + frame.length) { bytes.append(span.uint8(at: offset)) }
        sent.append(SentFrame(bytes: bytes, offload: frame.offload))
        return .sent
    }

    mutating func flush(_ arena: inout Mapping) {}
}

/// Frames as a guest would send them. Checksums are left to others, as its kernel does.
enum AbuseFrame {
    static let guestMAC: [UInt8] = [0x52, 0x54, 0, 0x12, 0x34, 0x56]
    static let routerMAC: [UInt8] = [0x9a, 0x55, 0x9a, 0x55, 0x9a, 0x55]
    static let router: [UInt8] = [192, 0, 2, 1]
    static let guest: [UInt8] = [192, 0, 2, 2]
    static let router6 = address6(1)
    static let guest6 = address6(2)

    /// 2001:db8::N
    static func address6(_ last: UInt8) -> [UInt8] { [0x20, 1, 0x0d, 0xb8] + [UInt8](repeating: 0, count: 11) + [last] }
    static func word(_ value: Int) -> [UInt8] { [UInt8(truncatingIfNeeded: value >> 8), UInt8(truncatingIfNeeded: value)] }
    static func long(_ value: UInt32) -> [UInt8] { word(Int(value >> 16)) + word(Int(value & 0xffff)) }

    static func ethernet(_ type: Int, _ payload: [UInt8], from source: [UInt8] = guestMAC, to destination: [UInt8] = routerMAC) -> [UInt8] {
        destination + source + word(type) + payload
    }

    static func ip4(
        _ proto: UInt8, _ payload: [UInt8], from source: [UInt8] = guest, to destination: [UInt8] = router, fragment: Int = 0,
        length: Int? = nil
    ) -> [UInt8] {
        let head: [UInt8] = [0x45, 0] + word(length ?? 20 + payload.count) + [0, 1] + word(fragment) + [64, proto, 0, 0]
        return ethernet(0x0800, head + source + destination + payload)
    }

    static func ip6(_ next: UInt8, _ payload: [UInt8], from source: [UInt8] = guest6, to destination: [UInt8] = router6, length: Int? = nil) -> [UInt8] {
        ethernet(0x86dd, [0x60, 0, 0, 0] + word(length ?? payload.count) + [next, 64] + source + destination + payload)
    }

    static func udp(_ source: Int, _ destination: Int, _ payload: [UInt8] = [1], length: Int? = nil) -> [UInt8] {
        word(source) + word(destination) + word(length ?? 8 + payload.count) + [0, 0] + payload
    }

    static func tcp(
        _ source: Int, _ destination: Int, _ flags: TCPFlags, sequence: UInt32 = 1000, acknowledgment: UInt32 = 0, window: Int = 65535,
        _ payload: [UInt8] = []
    ) -> [UInt8] {
        word(source) + word(destination) + long(sequence) + long(acknowledgment) + [0x50, flags.rawValue] + word(window) + [0, 0, 0, 0] + payload
    }

    static func echo(_ identifier: Int, _ sequence: Int = 1) -> [UInt8] { [8, 0, 0, 0] + word(identifier) + word(sequence) + [1, 2, 3, 4] }
}

extension SentFrame {
    var tcpFlags: TCPFlags { TCPFlags(rawValue: bytes[l4 + 13]) }
    var tcpSequence: UInt32 { UInt32(word(l4 + 4)) << 16 | UInt32(word(l4 + 6)) }
    var tcpAcknowledgment: UInt32 { UInt32(word(l4 + 8)) << 16 | UInt32(word(l4 + 10)) }
    var tcpWindow: Int { Int(word(l4 + 14)) }
    var tcpPayload: [UInt8] { Array(bytes[(l4 + Int(bytes[l4 + 12] >> 4) * 4)..<end]) }
}

/// A connection of the guest: what it sends next, and what it expects.
struct AbuseConnection {
    let port: Int
    let remotePort: Int
    var sequence: UInt32
    var expected: UInt32
}

/// A forwarder between the test as the guest and sockets on loopback, which the guest reaches as the router.
struct AbuseHost: ~Copyable {
    var forwarder: Forwarder<AbuseLink, KernelSockets>
    private let epoll: Epoll
    private var nextPort = 50_000

    init(flows: Int = 1024, descriptors: Int = 1 << 20, isMachine: Bool = false, network: Network = TestHost.network()) throws {
        let epoll = try Epoll()
        let link = try AbuseLink(offloads: [.checksum, .tcpSegmentation, .udpSegmentation], takesAnyLength: !isMachine)
        forwarder = try Forwarder(
            link: link, sockets: KernelSockets(epoll: epoll, retries: 15), epoll: epoll, network: network, flows: flows,
            descriptors: descriptors, now: monotonicNanoseconds() / 1_000_000)
        self.epoll = epoll
    }

    deinit {
        for index in 0..<forwarder.tcp.table.highWater where forwarder.tcp.table.isUsed(index) { forwarder.tcp.table[index].socket.close() }
        for index in 0..<forwarder.udp.table.highWater where forwarder.udp.table.isUsed(index) { forwarder.udp.table[index].socket.close() }
        for index in 0..<forwarder.ping.table.highWater where forwarder.ping.table.isUsed(index) { forwarder.ping.table[index].socket.close() }
        epoll.descriptor.close()
    }

    var sent: [SentFrame] { forwarder.port.link.sent }

    func count(_ counter: Counter) -> Int { Int(forwarder.port.counters[counter]) }

    /// Connections to `listener` are for the guest's port.
    mutating func listen(_ listener: borrowing AbuseListener, leadingTo port: UInt16) throws {
        let entry = ListenerEntry(
            listener.socket, isTCP: true, isOutbound: false, address: IPAddress(IPv4Address.loopback), port: listener.port,
            ListenerTarget(port: port, address: nil))
        _ = try forwarder.listen(entry)
    }

    /// Connections to `listener`, which plays one of the namespace's loopback, are for the host's port.
    mutating func listen(_ listener: borrowing AbuseListener, outwardTo port: UInt16) throws {
        let entry = ListenerEntry(
            listener.socket, isTCP: true, isOutbound: true, address: IPAddress(IPv4Address.loopback), port: listener.port,
            ListenerTarget(port: port, address: nil))
        _ = try forwarder.listen(entry)
    }

    // MARK: Running

    mutating func run(milliseconds: Int64 = 5) throws {
        let end = monotonicNanoseconds() + milliseconds * 1_000_000
        while monotonicNanoseconds() < end { _ = try forwarder.run(until: end) }
    }

    /// Runs until `condition` holds, or fails after some seconds.
    mutating func run(_ what: String, until condition: (borrowing AbuseHost) throws -> Bool) throws {
        for _ in 0..<1000 {
            if try condition(self) { return }
            try run()
        }
        Issue.record("never: \(what)")
        throw Errno(110)
    }

    /// Everything is worked off.
    mutating func attack(_ frames: [[UInt8]]) throws {
        try forwarder.port.link.queue(frames)
        try run("the frames are taken") { $0.forwarder.port.link.isIdle }
        try run(milliseconds: 20)
    }

    // MARK: The guest's TCP

    func segments(to connection: AbuseConnection) -> [SentFrame] {
        sent.filter { $0.proto == 6 && Int($0.destinationPort) == connection.port }
    }

    mutating func send(
        _ connection: AbuseConnection, _ flags: TCPFlags, _ payload: [UInt8] = [], at sequence: UInt32? = nil, acknowledging: UInt32? = nil,
        window: Int = 65535
    ) throws {
        let segment = AbuseFrame.tcp(
            connection.port, connection.remotePort, flags, sequence: sequence ?? connection.sequence,
            acknowledgment: acknowledging ?? connection.expected, window: window, payload)
        try forwarder.port.link.queue([AbuseFrame.ip4(6, segment)])
    }

    /// A connection to `port` of the host's loopback, opened as it should be. nil: it was refused.
    mutating func open(_ port: UInt16, window: Int = 65535) throws -> AbuseConnection? {
        nextPort += 1
        var connection = AbuseConnection(port: nextPort, remotePort: Int(port), sequence: 7000, expected: 0)
        try send(connection, .syn, window: window)
        try run("an answer to the SYN") { host in !host.segments(to: connection).isEmpty }
        let answer = try #require(segments(to: connection).first)
        guard answer.tcpFlags.contains(.syn) else { return nil }
        connection.sequence += 1
        connection.expected = answer.tcpSequence &+ 1
        try send(connection, .ack, window: window)
        try run(milliseconds: 5)
        return connection
    }

    // MARK: Good conversations

    /// TCP, UDP and ping, by a guest that behaves.
    mutating func converse(_ comment: Comment? = nil) throws {
        try converseTCP()
        let far = try FarEnd()
        nextPort += 1
        let question = nextPort
        try forwarder.port.link.queue([AbuseFrame.ip4(17, AbuseFrame.udp(question, Int(far.endpoint.port), [0x51]))])
        try run("the datagram leaves") { $0.forwarder.port.link.isIdle }
        try run()
        let datagram = try #require(try far.receive(1).first, comment)
        #expect(datagram.payload == [0x51])
        try far.send([0x41, 0x42], to: datagram.source)
        try run("the answer comes") { host in
            host.sent.contains { $0.proto == 17 && Int($0.destinationPort) == question && $0.udpPayload == [0x41, 0x42] }
        }
        let before = count(.pingReplies)
        try forwarder.port.link.queue([AbuseFrame.ip4(1, AbuseFrame.echo(nextPort, 77))])
        try run("the ping is answered") { $0.count(.pingReplies) > before }
    }

    mutating func converseTCP() throws {
        let listener = try AbuseListener()
        var connection = try #require(try open(listener.port))
        try send(connection, .ack | .psh, Array("question".utf8))
        connection.sequence += 8
        var peer: Descriptor?
        try run("the connection is accepted") { _ in
            peer = try listener.socket.accept()?.0
            return peer != nil
        }
        let socket = try #require(peer)
        defer { socket.close() }
        try socket.setNonBlocking()
        var received: [UInt8] = []
        try run("the question arrives") { _ in
            received += try socket.readAll(limit: 100)
            return received.count >= 8
        }
        #expect(received == Array("question".utf8))
        try socket.write("the answer")
        try run("the answer arrives") { host in host.segments(to: connection).contains { !$0.tcpPayload.isEmpty } }
        let answer = try #require(segments(to: connection).last { !$0.tcpPayload.isEmpty })
        #expect(answer.tcpPayload == Array("the answer".utf8) && answer.tcpSequence == connection.expected)
        connection.expected &+= 10
        try send(connection, .rst | .ack)
        let open = forwarder.tcp.table.count
        try run("the reset ends it") { $0.forwarder.tcp.table.count < open }
    }
}

/// A TCP port of loopback that answers, and whose connections wait.
struct AbuseListener: ~Copyable {
    let socket: Descriptor
    let port: UInt16

    init() throws {
        let loopback = IPAddress(IPv4Address.loopback)
        let socket = try Descriptor.socket(.stream, for: loopback)
        try socket.bind(SocketAddress(Endpoint(loopback, 0)))
        try socket.listen()
        let endpoint = try #require(try socket.localAddress().endpoint)
        self.socket = socket
        port = endpoint.port
    }

    deinit { socket.close() }
}
