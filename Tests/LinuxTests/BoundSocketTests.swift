import Testing
import Wire

@testable import Linux

/// Who listens: the kernel's answers and its tables, read from bytes, and both against real sockets.
@Suite struct BoundSocketTests {
    private static func request(isTCP: Bool, isIPv4: Bool) throws -> [UInt8] {
        var buffer = try Mapping(byteCount: 128)
        var bytes = buffer.mutableBytes
        SocketDiagnosis.write(isTCP: isTCP, isIPv4: isIPv4, sequence: 7, to: &bytes)
        let size = SocketDiagnosis.requestSize
        return (0..<size).map { buffer.bytes.uint8(at: $0) }
    }

    @Test func theRequestAsksForOneStateOnly() throws {
        let empty = [UInt8](repeating: 0, count: 48)  // struct inet_diag_sockid: any
        // SOCK_DIAG_BY_FAMILY; NLM_F_REQUEST | NLM_F_DUMP. Family, protocol, extensions, padding; states.
        #expect(try Self.request(isTCP: true, isIPv4: true) == message(20, flags: 0x301, port: 0, [2, 6, 0, 0] + le32(1 << 10) + empty))
        #expect(try Self.request(isTCP: false, isIPv4: false) == message(20, flags: 0x301, port: 0, [10, 17, 0, 0] + le32(1 << 7) + empty))
    }

    /// `struct inet_diag_msg` and an attribute.
    private static func answer(
        _ family: UInt8, port: Int, _ address: [UInt8], interface: Int = 0, only6: UInt8? = nil, sequence: Int = 7
    ) -> [UInt8] {
        let source = address + [UInt8](repeating: 0, count: 16 - address.count)
        let identity = [UInt8(port >> 8), UInt8(port & 255), 0, 0] + source + [UInt8](repeating: 0, count: 16) + le32(interface) + le32(1) + le32(2)
        let numbers = le32(0) + le32(0) + le32(4096) + le32(1000) + le32(77)  // expires, queues, user, inode
        return message(20, flags: 2, sequence: sequence, [family, 10, 0, 0] + identity + numbers
            + attribute(8, [0]) + (only6.map { attribute(11, [$0]) } ?? []))  // INET_DIAG_SHUTDOWN, INET_DIAG_SKV6ONLY
    }

    private static func read(_ bytes: [UInt8]) -> (sockets: [BoundSocket], end: Int32?) {
        var sockets: [BoundSocket] = []
        let end = SocketDiagnosis.read(unsafe bytes.span.bytes, sequence: 7) { sockets.append($0) }
        return (sockets, end)
    }

    private static let any6 = IPAddress(IPv6Address.any)

    @Test func answersAreRead() {
        let mapped: [UInt8] = [UInt8](repeating: 0, count: 10) + [255, 255, 127, 0, 0, 1]
        let bytes = Self.answer(2, port: 8080, [127, 0, 0, 1], interface: 1) + Self.answer(10, port: 22, [], only6: 0)
            + Self.answer(10, port: 23, [], only6: 1) + Self.answer(10, port: 24, mapped, only6: 0)
            + Self.answer(10, port: 25, [0x20, 1, 0x0d, 0xb8], only6: 0)
        let (sockets, end) = Self.read(bytes)
        #expect(sockets == [
            BoundSocket(address: address(127, 0, 0, 1), port: 8080, interface: 1), BoundSocket(address: Self.any6, port: 22, servesBoth: true),
            BoundSocket(address: Self.any6, port: 23), BoundSocket(address: address(127, 0, 0, 1), port: 24),
            BoundSocket(address: address6(0x2001_0db8_0000_0000, 0), port: 25),
        ])
        #expect(end == nil)
    }

    @Test func onlyTheAnswerToThisQuestionCounts() {
        #expect(Self.read(Self.answer(2, port: 80, [0, 0, 0, 0], sequence: 6)).sockets.isEmpty)
        #expect(Self.read(message(3, sequence: 6, le32(0))).end == nil)
        #expect(Self.read(Self.answer(1, port: 80, [])).sockets.isEmpty)
        #expect(Self.read(Self.answer(2, port: 0, [])).sockets.isEmpty)
        #expect(Self.read(message(20, [2, 10, 0, 0])).sockets.isEmpty)
    }

    @Test func theEndAndErrorsAreTold() {
        #expect(Self.read(message(3, le32(0))).end == 0)
        // The module is missing (ENOENT), or a filter of the caller said no.
        #expect(Self.read(message(2, le32(-2) + [UInt8](repeating: 0, count: 16))).end == 2)
        #expect(Self.read(message(3, le32(-1))).end == 1)
    }

    // MARK: Tables

    private static func table(_ text: String, isTCP: Bool = true) -> (sockets: [BoundSocket], rest: Int) {
        let bytes = Array(text.utf8)
        var sockets: [BoundSocket] = []
        let used = SocketTable.read(unsafe bytes.span.bytes, isTCP: isTCP) { sockets.append($0) }
        return (sockets, bytes.count - used)
    }

    private static let headline = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n"
    private static let tail = " 00000000:00000000 00:00000000 00000000     0        0 20 1 0000000000000000 100 0 0 10 0\n"

    @Test func tablesAreRead() {
        let listening = "   0: 0100007F:1F90 00000000:0000 0A" + Self.tail
        let connected = "   1: 0100007F:1F91 0200007F:0050 01" + Self.tail
        let six = "12345: B80D0120000000000000000001000000:0016 00000000000000000000000000000000:0000 0A" + Self.tail
        let both = "   3: 00000000000000000000000000000000:0050 00000000000000000000000000000000:0000 0A" + Self.tail
        let (sockets, rest) = Self.table(Self.headline + listening + connected + six + both)
        #expect(sockets == [
            BoundSocket(address: address(127, 0, 0, 1), port: 8080), BoundSocket(address: address6(0x2001_0db8_0000_0000, 1), port: 22),
            BoundSocket(address: Self.any6, port: 80, servesBoth: true),
        ])
        #expect(rest == 0)
        #expect(Self.table(Self.headline + listening + listening.dropLast(20)).rest == listening.count - 20)
    }

    @Test func tablesOfDatagramsHaveAnotherState() {
        let bound = "  110: 00000000:0035 00000000:0000 07" + Self.tail
        #expect(Self.table(bound, isTCP: false).sockets == [BoundSocket(address: address(0, 0, 0, 0), port: 53)])
        #expect(Self.table(bound, isTCP: true).sockets.isEmpty)
    }

    @Test(arguments: [
        "", "\n", ":\n", "0: \n", "0: 0100007F\n", "0: 0100007F:\n", "0: 0100007F:1F9\n", "0: 0100007F:1F90\n", "0: 0100007F:1F90 00000000:0000\n",
        "0: 0100007F:1F90 00000000:0000 0\n", "0: 0100007F:1F90 00000000:0000 0G\n", "0: 0100007G:1F90 00000000:0000 0A\n",
        "0: 0100007F00000000:1F90 00000000:0000 0A\n", "0: 0100007F:0000 00000000:0000 0A\n", "0 0100007F 1F90 00000000:0000 0A\n",
    ])
    func linesOfAnotherFormAreNothing(_ text: String) {
        #expect(Self.table(text).sockets.isEmpty)
    }

    // MARK: Real sockets

    private static func found(_ way: BoundSockets, isTCP: Bool, isIPv4: Bool) throws -> Set<Endpoint> {
        var buffer = try Mapping(byteCount: BoundSockets.bufferSize)
        var found: Set<Endpoint> = []
        try way.forEach(isTCP: isTCP, isIPv4: isIPv4, buffer: &buffer) { found.insert(Endpoint($0.address, $0.port)) }
        return found
    }

    @Test("Both ways see what listens, and nothing else", arguments: [false, true])
    func listenersAreFound(_ tables: Bool) throws {
        let sockets = try BoundSockets.open(tables: tables)
        defer { sockets.close() }
        #expect(sockets.way == (tables ? .tables : .diagnosis))
        for isIPv4 in [true, false] {
            let any = isIPv4 ? IPAddress(IPv4Address.any) : Self.any6
            // Other tests, at the same time, have sockets at other addresses, and they may get the same ports there.
            let loopback = isIPv4 ? IPAddress(IPv4Address(0x7f00_000a)) : IPAddress(IPv6Address.loopback)
            func bound(_ kind: Descriptor.SocketKind, _ address: IPAddress) throws -> (Descriptor, Endpoint) {
                let socket = try Descriptor.socket(kind, for: address)
                try socket.bind(SocketAddress(Endpoint(address, 0)))
                return (socket, try #require(try socket.localAddress().endpoint))
            }
            let (listening, listeningAt) = try bound(.stream, any)
            try listening.listen()
            let (idle, idleAt) = try bound(.stream, loopback)
            let (datagrams, datagramAt) = try bound(.datagram, loopback)
            let (connected, connectedAt) = try bound(.datagram, loopback)
            _ = try connected.connect(SocketAddress(datagramAt))
            let tcp = try Self.found(sockets, isTCP: true, isIPv4: isIPv4)
            let udp = try Self.found(sockets, isTCP: false, isIPv4: isIPv4)
            #expect(tcp.contains(listeningAt) && !tcp.contains(idleAt))
            #expect(udp.contains(datagramAt) && !udp.contains(connectedAt))
            for socket in [listening, idle, datagrams, connected] { socket.close() }
            #expect(try !Self.found(sockets, isTCP: true, isIPv4: isIPv4).contains(listeningAt))
        }
    }

    /// A dump of several datagrams, and a table of several reads.
    @Test("Many listeners", arguments: [false, true])
    func manyListenersAreFound(_ tables: Bool) throws {
        let sockets = try BoundSockets.open(tables: tables)
        defer { sockets.close() }
        let address = IPAddress(IPv4Address(0x7f00_0009))
        var listeners: [Descriptor] = []
        var endpoints: Set<Endpoint> = []
        for _ in 0..<700 {
            let socket = try Descriptor.socket(.stream, for: address)
            listeners.append(socket)
            try socket.bind(SocketAddress(Endpoint(address, 0)))
            try socket.listen()
            endpoints.insert(try #require(try socket.localAddress().endpoint))
        }
        #expect(try endpoints.isSubset(of: Self.found(sockets, isTCP: true, isIPv4: true)))
        for socket in listeners { socket.close() }
    }
}
