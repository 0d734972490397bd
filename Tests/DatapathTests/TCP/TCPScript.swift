import Settings
import Testing
import Wire

@testable import Datapath
@testable import Linux

/// What a stream holds at each position, so that misplaced bytes show.
enum Stream {
    static let length = 2 << 20
    static let fromGuest: [UInt8] = (0..<length).map { UInt8(truncatingIfNeeded: ($0 &* 7) ^ ($0 >> 8) ^ ($0 >> 16)) }
    static let toGuest: [UInt8] = (0..<length).map { UInt8(truncatingIfNeeded: ($0 &* 11 &+ 3) ^ ($0 >> 8) ^ ($0 >> 16)) }
}

/// A translator with its host and its guest's side, moved step by step. Numbers are relative: 0 is each side's SYN.
struct TCPScript: ~Copyable {
    static let guest = IPAddress(IPv4Address("192.0.2.2")!)
    static let remote = IPAddress(IPv4Address("198.51.100.7")!)
    static let guestPort: UInt16 = 40000
    static let allOffloads: LinkOffloads = [.checksum, .tcpSegmentation, .udpSegmentation]

    static func network(mtu: Int) -> Network {
        var network = Network(gatewayMAC: Network.defaultGatewayMAC, routerLinkLocal: IPv6Address("fe80::1")!, mtu: mtu)
        network.ipv4 = Network.Family(address: IPv4Address("192.0.2.2")!, prefixLength: 24, gateway: IPv4Address("192.0.2.1")!)
        network.ipv6 = Network.Family(address: IPv6Address("2001:db8::2")!, prefixLength: 64, gateway: IPv6Address("fe80::1234")!)
        return network
    }

    var port: GuestPort<SegmentLink>
    var tcp: TCPTranslator<ScriptedSockets>
    private var arena: Mapping
    private var used = 0
    private(set) var now: Int64
    /// The guest's SYN.
    var guestStart: UInt32 = 1000
    /// Our SYN, by guest port, once it was seen.
    var ourStart: [UInt16: UInt32] = [:]

    init(
        mtu: Int = 1500, capacity: Int = 64, offloads: LinkOffloads = TCPScript.allOffloads, start: Int64 = 1_000_000,
        _ setUp: (inout ScriptedSockets) -> Void = { _ in }
    ) throws {
        let seed = SipHash(key0: 1, key1: 2)
        var sockets = ScriptedSockets()
        setUp(&sockets)
        let arena = try Mapping(byteCount: 8 << 20)
        let port = try GuestPort(
            link: SegmentLink(offloads: offloads), guestMAC: MACAddress(0x5254_0012_3456), gatewayMAC: Network.defaultGatewayMAC, mtu: mtu, seed: seed)
        let translation = AddressTranslation(TCPScript.network(mtu: mtu))
        let tcp = try TCPTranslator(
            sockets: sockets, translation: translation, mtu: mtu, capacity: capacity, seed: seed, now: start)
        now = start
        self.arena = arena
        self.port = port
        self.tcp = tcp
    }

    // MARK: The guest's side

    static func key(_ port: UInt16 = TCPScript.guestPort) -> FlowKey {
        FlowKey(guest: guest, guestPort: port, remote: remote, remotePort: 80)
    }

    /// A segment of the guest: `flags` of the letters SFRPA, `count` bytes of its stream from where `seq` says.
    mutating func guest(
        _ flags: String, seq: Int, ack: Int = 0, count: Int = 0, window: UInt16 = 65535, mss: UInt16? = nil, scale: UInt8? = nil,
        port guestPort: UInt16 = TCPScript.guestPort
    ) {
        var set: TCPFlags = []
        for letter in flags { set.insert(TCPScript.letters.first { $0.0 == letter }!.1) }
        var header = TCPHeader(
            sourcePort: guestPort, destinationPort: 80, sequence: SequenceNumber(guestStart) + seq,
            acknowledgment: SequenceNumber(set.contains(.ack) ? ourStart[guestPort] ?? 0 : 0) + (set.contains(.ack) ? ack : 0),
            flags: set, window: window, maximumSegmentSize: mss, windowScale: scale)
        header.payloadLength = count
        deliver(header, Stream.fromGuest[max(seq - 1, 0)..<(max(seq - 1, 0) + count)], TCPScript.key(guestPort))
    }

    mutating func deliver(_ header: TCPHeader, _ payload: ArraySlice<UInt8>, _ key: FlowKey, typeOfService: UInt8 = 0) {
        var header = header
        if used + payload.count > arena.byteCount { tcp.flushPending(&port, now: now); used = 0 }
        header.payloadOffset = used
        header.payloadLength = payload.count
        arena.put(payload, at: used)
        used += payload.count
        port.link.now = now
        tcp.fromGuest(GuestSegment(key: key, header: header, typeOfService: typeOfService), in: arena, &port, now: now)
    }

    // MARK: Rounds

    mutating func move(to time: Int64) {
        now = time
        port.link.now = time
    }

    /// Delivers what the sockets have to say.
    mutating func deliverEvents() {
        port.link.now = now
        while let index = tcp.sockets.ready.first {
            tcp.sockets.ready.removeFirst()
            tcp.sockets.all[index].isReady = false
            let socket = tcp.sockets.all[index]
            let tag = EventTag(bits: socket.tag)
            guard socket.isOpen, tcp.table.isCurrent(tag.index, generation: tag.generation) else { continue }
            let events = socket.readiness
            if !events.contains(.output) { tcp.sockets.all[index].awaitsRoom = true }
            if events.isEmpty { continue }
            tcp.fromHost(tag.index, events, &port, now: now)
        }
    }

    /// As the loop does it: events, timers, the end of the round.
    mutating func runRound() {
        deliverEvents()
        tcp.flushPending(&port, now: now)
        used = 0
        tcp.expireTimers(&port, now: now)
        tcp.endRound(&port, now: now)
        if rests {
            if tcp.hasAnswer {
                tcp.giveAnswer(&port, now: now)
                tcp.endRound(&port, now: now)
            }
            tcp.finishPostponed()
        }
        port.flush()
    }
    /// Whether the worker finds time to sleep after each round.
    var rests = true

    /// A round; what the guest was sent since the last one, as text.
    mutating func round() -> [String] {
        runRound()
        return take()
    }

    /// A round and what a few more milliseconds bring: acknowledgements may wait for data to travel with.
    mutating func answer() -> [String] {
        let first = round()
        return first + pass(3).map { $0.split(separator: " ", maxSplits: 1).last.map(String.init) ?? "" }
    }

    mutating func take() -> [String] {
        let result = port.link.seen.map { render($0) }
        port.link.seen.removeAll()
        return result
    }

    /// The same with all numbers kept, for who looks at windows.
    mutating func takeSegments() -> [SeenSegment] {
        for segment in port.link.seen { _ = render(segment) }
        defer { port.link.seen.removeAll() }
        return port.link.seen
    }

    mutating func segments() -> [SeenSegment] {
        runRound()
        return takeSegments()
    }

    /// Lets `milliseconds` pass, stopping wherever a timer is due; what was sent, each with the time since the call.
    mutating func pass(_ milliseconds: Int64) -> [String] {
        let start = now
        let end = now + milliseconds
        var steps = 0
        while now < end {
            now = min(end, max(tcp.timers.nextWakeUp ?? end, now))
            runRound()
            steps += 1
            if steps > 1_000_000 {
                Issue.record("timers spin at \(now - start) ms")
                break
            }
        }
        lastSteps = steps
        let result = port.link.seen.map { "+\($0.time - start) \(render($0))" }
        port.link.seen.removeAll()
        return result
    }
    /// Rounds that the last `pass` took.
    private(set) var lastSteps = 0

    private static let letters: [(Character, TCPFlags)] = [("S", .syn), ("F", .fin), ("R", .rst), ("P", .psh), ("A", .ack)]

    /// "FPA 1:100 ack 1": flags, relative number, length, relative acknowledgement.
    mutating func render(_ segment: SeenSegment) -> String {
        guard let header = segment.header else { return "ICMP \(segment.icmpType) \(segment.icmpCode)" }
        if header.flags.contains(.syn) { ourStart[header.destinationPort] = header.sequence.value }
        let flags = TCPScript.letters.reduce("") { header.flags.contains($1.1) ? $0 + String($1.0) : $0 }
        let sequence = header.sequence - SequenceNumber(ourStart[header.destinationPort] ?? 0)
        let acknowledgment = header.flags.contains(.ack) ? " ack \(header.acknowledgment - SequenceNumber(guestStart))" : ""
        return "\(flags) \(sequence):\(segment.payload.count)\(acknowledgment)"
    }

    // MARK: Short cuts

    /// The guest opens; both know each other afterwards. The number of the socket.
    @discardableResult
    mutating func open(window: UInt16 = 65535, mss: UInt16? = 1460, scale: UInt8? = 7, port guestPort: UInt16 = TCPScript.guestPort) -> Int {
        guest("S", seq: 0, window: window, mss: mss, scale: scale, port: guestPort)
        _ = round()
        _ = round()
        guest("A", seq: 1, ack: 1, window: scale == nil ? window : max(window >> UInt16(scale ?? 0), 1), port: guestPort)
        #expect(answer().isEmpty)
        return tcp.sockets.all.count - 1
    }

    mutating func arrive(_ count: Int, _ socket: Int = 0) {
        let have = tcp.sockets.all[socket].arrived.count
        tcp.sockets.arrive(Stream.toGuest[have..<(have + count)], socket)
    }

    /// The connection of this port, which must be there.
    func connection(_ guestPort: UInt16 = TCPScript.guestPort) -> TCPConnection { tcp.table[tcp.table.find(TCPScript.key(guestPort))!] }

    /// Nothing is left anywhere.
    func expectEmpty(_ location: SourceLocation = #_sourceLocation) {
        #expect(tcp.table.count == 0, sourceLocation: location)
        #expect(tcp.timers.nextWakeUp == nil, sourceLocation: location)
        #expect(tcp.sockets.all.allSatisfy { $0.closes == 1 }, sourceLocation: location)
        #expect(tcp.sockets.faults == [], sourceLocation: location)
    }
}

extension Mapping {
    /// Copies `payload` to `offset`; the caller has checked that it fits.
    mutating func put(_ payload: ArraySlice<UInt8>, at offset: Int) {
        var span = mutableBytes
        // SAFETY: both ranges have the same length, and slicing checks the destination's.
        unsafe span.withUnsafeMutableBytes { all in
            unsafe payload.withUnsafeBytes {
                unsafe UnsafeMutableRawBufferPointer(rebasing: all[offset..<(offset + $0.count)]).copyMemory(from: $0)
            }
        }
    }
}
