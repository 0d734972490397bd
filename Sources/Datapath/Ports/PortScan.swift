// Ports: which ports are forwarded because somebody listens on them on the other side.
//
//     BoundSockets (Linux)  asks the kernel who listens in a namespace
//     PortScan              the answer: sets of ports
//     OwnPorts              where we listen ourselves, which must never count (lesson 38)
//     AutomaticPorts        what to open and to close, so that our listeners follow the scan
//     PortWatch             both sides together, once a second
//     Forwarder+Ports       carries it out
//     PortTables            the rules in force, and how others take their place (--conf-path)
//     Forwarder+PortUpdate  carries that out
//
//     namespace's sockets --> PortScan --> AutomaticPorts (-t, -u) --> listeners of the host
//     host's sockets      --> PortScan --> AutomaticPorts (-T, -U) --> listeners of the namespace's loopback
//
// Sets are bit maps of all 65536 ports in anonymous mappings. After start nothing here allocates.

internal import Linux
internal import Wire

/// A set of ports, 64 to a word.
struct PortSet: ~Copyable {
    static var wordCount: Int { 1 << 10 }

    private var words: FixedTable<UInt64>

    init() throws(Errno) { words = try FixedTable(count: PortSet.wordCount) }

    func word(_ number: Int) -> UInt64 { words[number] }
    func contains(_ port: UInt16) -> Bool { words[Int(port >> 6)] & PortSet.bit(port) != 0 }
    mutating func insert(_ port: UInt16) { words[Int(port >> 6)] |= PortSet.bit(port) }
    mutating func remove(_ port: UInt16) { words[Int(port >> 6)] &= ~PortSet.bit(port) }

    mutating func insert(_ ports: ClosedRange<UInt16>) {
        for port in ports { insert(port) }
    }

    mutating func removeAll() {
        for number in 0..<PortSet.wordCount where words[number] != 0 { words[number] = 0 }
    }

    @inline(__always)
    static func bit(_ port: UInt16) -> UInt64 { 1 << UInt64(port & 63) }
}

/// From where a socket can be spoken to.
enum Reach: Int {
    /// At an address of an interface.
    case outside
    /// At a loopback address.
    case loopback
    /// At 127.0.0.1 or ::1, where all that goes to loopback goes by default.
    case localhost
}

/// Ports on which somebody listens in one namespace, by protocol, family and reach.
struct PortScan: ~Copyable {
    private var words: FixedTable<UInt64>

    init() throws(Errno) { words = try FixedTable(count: 12 * PortSet.wordCount) }

    @inline(__always)
    private static func index(_ word: Int, _ isTCP: Bool, _ isIPv4: Bool, _ reach: Reach) -> Int {
        ((isTCP ? 6 : 0) + (isIPv4 ? 3 : 0) + reach.rawValue) * PortSet.wordCount + word
    }

    func word(_ number: Int, isTCP: Bool, isIPv4: Bool, _ reach: Reach) -> UInt64 {
        words[PortScan.index(number, isTCP, isIPv4, reach)]
    }

    func contains(_ port: UInt16, isTCP: Bool, isIPv4: Bool, _ reach: Reach) -> Bool {
        word(Int(port >> 6), isTCP: isTCP, isIPv4: isIPv4, reach) & PortSet.bit(port) != 0
    }

    mutating func removeAll() {
        for index in 0..<words.count where words[index] != 0 { words[index] = 0 }
    }

    /// Enters a socket where it can be reached. One that is bound to a group's address is for members, not for clients.
    mutating func note(_ socket: BoundSocket, isTCP: Bool) {
        let address = socket.address
        if address.isMulticast || address == IPAddress(IPv4Address.broadcast) { return }
        let isIPv4 = address.isIPv4
        // The loopback interface is the first of every namespace.
        let hearsLoopback = (socket.interface == 0 || socket.interface == 1) && (address.isAny || address.isLoopback)
        let isUsual = address.isAny || address == IPAddress(IPv4Address.loopback) || address == IPAddress(IPv6Address.loopback)
        let hearsLocalhost = hearsLoopback && isUsual
        let hearsOutside = socket.interface != 1 && !address.isLoopback
        if hearsLoopback { insert(socket.port, isTCP, isIPv4, .loopback) }
        if hearsLocalhost { insert(socket.port, isTCP, isIPv4, .localhost) }
        if hearsOutside { insert(socket.port, isTCP, isIPv4, .outside) }
        guard socket.servesBoth, !isIPv4 else { return }
        if hearsLoopback { insert(socket.port, isTCP, true, .loopback) }
        if hearsLocalhost { insert(socket.port, isTCP, true, .localhost) }
        if hearsOutside { insert(socket.port, isTCP, true, .outside) }
    }

    private mutating func insert(_ port: UInt16, _ isTCP: Bool, _ isIPv4: Bool, _ reach: Reach) {
        words[PortScan.index(Int(port >> 6), isTCP, isIPv4, reach)] |= PortSet.bit(port)
    }

    /// Looks at all of a namespace's sockets. False where the kernel did not tell all: then what was known before is to be kept.
    mutating func read(_ sockets: BoundSockets, buffer: inout Mapping) -> Bool {
        removeAll()
        do throws(Errno) {
            for number in 0..<4 {
                let isTCP = number < 2
                try sockets.forEach(isTCP: isTCP, isIPv4: number & 1 == 0, buffer: &buffer) { note($0, isTCP: isTCP) }
            }
            return true
        } catch {
            return false
        }
    }
}

/// How many sockets of ours listen on each port of one side. Never ports of others: two of ours may share one.
struct OwnPorts: ~Copyable {
    private var counts: FixedTable<UInt8>
    private var tcp: PortSet
    private var udp: PortSet

    init() throws(Errno) {
        let counts = try FixedTable<UInt8>(count: 2 << 16)
        let tcp = try PortSet()
        let udp = try PortSet()
        self.counts = counts
        self.tcp = tcp
        self.udp = udp
    }

    func word(_ number: Int, isTCP: Bool) -> UInt64 { isTCP ? tcp.word(number) : udp.word(number) }
    func contains(_ port: UInt16, isTCP: Bool) -> Bool { isTCP ? tcp.contains(port) : udp.contains(port) }

    mutating func add(_ port: UInt16, isTCP: Bool) {
        let index = Int(port) << 1 | (isTCP ? 1 : 0)
        // Once there are so many, the port stays ours.
        if counts[index] < .max { counts[index] += 1 }
        if isTCP { tcp.insert(port) } else { udp.insert(port) }
    }

    mutating func remove(_ port: UInt16, isTCP: Bool) {
        let index = Int(port) << 1 | (isTCP ? 1 : 0)
        guard counts[index] > 0, counts[index] < .max else { return }
        counts[index] -= 1
        if counts[index] > 0 { return }
        if isTCP { tcp.remove(port) } else { udp.remove(port) }
    }
}
