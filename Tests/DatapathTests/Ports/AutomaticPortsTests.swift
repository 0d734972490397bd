import Linux
import Testing
import Wire

@testable import Datapath

/// What follows from who listens, without sockets.
@Suite struct AutomaticPortsTests {
    static let any4 = IPAddress(IPv4Address.any)
    static let any6 = IPAddress(IPv6Address.any)
    static let loopback4 = IPAddress(IPv4Address.loopback)
    static let loopback6 = IPAddress(IPv6Address.loopback)
    static let tcp = AutomaticGroup(isTCP: true, hasIPv4: true, hasIPv6: true)
    static let udp = AutomaticGroup(isTCP: false, hasIPv4: true, hasIPv6: true)

    /// One direction with what it depends on, and what it has come to: a listener is known by its number.
    struct Bench: ~Copyable {
        var ports: AutomaticPorts
        var scan: PortScan
        var own: OwnPorts
        private var listeners: [String] = []
        private(set) var open: Set<String> = []
        var taken: Set<UInt16> = []
        /// Failures that are worth a line.
        private(set) var told = 0

        init(_ groups: [AutomaticGroup], reaches: Reach = .outside, or other: Reach? = nil, allowed: ClosedRange<UInt16> = 1...65535) throws {
            var ports = try AutomaticPorts(groupLimit: 4, ephemeral: 32768...60999, reaches: reaches, or: other)
            for group in groups {
                let hasRoom = ports.allow(allowed, in: group)
                #expect(hasRoom)
            }
            let scan = try PortScan()
            let own = try OwnPorts()
            self.ports = ports
            self.scan = scan
            self.own = own
        }

        /// One look at these sockets. Returns how many things there were to do.
        @discardableResult
        mutating func follow(tcp: [BoundSocket] = [], udp: [BoundSocket] = []) -> Int {
            scan.removeAll()
            for socket in tcp { scan.note(socket, isTCP: true) }
            for socket in udp { scan.note(socket, isTCP: false) }
            ports.begin()
            var count = 0
            while let change = ports.next(scan, own: own) {
                count += 1
                switch change {
                case .close(let index): open.remove(listeners[index])
                case .open(let group, let port, let isIPv4):
                    if taken.contains(port) {
                        if ports.failed() { told += 1 }
                        continue
                    }
                    let name = "\(group) \(ports[group].isTCP ? "tcp" : "udp")\(isIPv4 ? 4 : 6) \(port)"
                    listeners.append(name)
                    #expect(open.insert(name).inserted)
                    ports.opened(listener: listeners.count - 1)
                }
            }
            return count
        }
    }

    @Test func listenersAreFollowed() throws {
        var bench = try Bench([Self.tcp])
        bench.follow(tcp: [BoundSocket(address: Self.any4, port: 80), BoundSocket(address: Self.any6, port: 65535, servesBoth: true)])
        #expect(bench.open == ["0 tcp4 80", "0 tcp4 65535", "0 tcp6 65535"])
        // Nothing to do while nothing changes.
        let again = bench.follow(tcp: [BoundSocket(address: Self.any4, port: 80), BoundSocket(address: Self.any6, port: 65535, servesBoth: true)])
        #expect(again == 0)
        // One family goes, the other comes: each on its own.
        bench.follow(tcp: [BoundSocket(address: Self.any6, port: 80), BoundSocket(address: Self.any6, port: 1)])
        #expect(bench.open == ["0 tcp6 80", "0 tcp6 1"])
        bench.follow()
        let (open, _) = (bench.open, 0)
        #expect(open.isEmpty)
    }

    @Test func lesson38_ownListenersNeverCount() throws {
        var bench = try Bench([Self.tcp, Self.udp], reaches: .localhost)
        bench.own.add(80, isTCP: true)
        bench.own.add(53, isTCP: false)
        let tcp = [BoundSocket(address: Self.any4, port: 80), BoundSocket(address: Self.any4, port: 53)]
        let udp = [BoundSocket(address: Self.any4, port: 80), BoundSocket(address: Self.any4, port: 53)]
        bench.follow(tcp: tcp, udp: udp)
        // Per protocol; and what a TCP listener asks for in UDP must not lead to a UDP socket of ours either.
        #expect(bench.open == ["0 tcp4 53", "1 udp4 80"])
        // Two of ours on one port: it stays ours until both are gone.
        bench.own.add(80, isTCP: true)
        bench.own.remove(80, isTCP: true)
        let count = bench.follow(tcp: tcp, udp: udp)
        #expect(count == 0)
        bench.own.remove(80, isTCP: true)
        bench.follow(tcp: tcp, udp: udp)
        #expect(bench.open == ["0 tcp4 53", "0 tcp4 80", "1 udp4 80"])
    }

    @Test func portsOfTCPAreForwardedForUDPToo() throws {
        var bench = try Bench([Self.udp])
        bench.follow(tcp: [BoundSocket(address: Self.any6, port: 5201, servesBoth: true), BoundSocket(address: Self.any4, port: 40000)])
        #expect(bench.open == ["0 udp4 5201", "0 udp6 5201", "0 udp4 40000"])
    }

    /// A socket with a port that the kernel chose is a client that waits for its answer.
    @Test func clientsOfUDPAreNotServices() throws {
        var bench = try Bench([Self.udp])
        bench.follow(udp: [BoundSocket(address: Self.any4, port: 32768), BoundSocket(address: Self.any4, port: 60999), BoundSocket(address: Self.any4, port: 61000)])
        #expect(bench.open == ["0 udp4 61000"])
    }

    @Test("Reach", arguments: [
        (.outside, nil, ["0 tcp4 1", "0 tcp4 3", "0 tcp6 3", "0 tcp4 4", "0 tcp6 7"]),
        (.outside, .loopback, ["0 tcp4 1", "0 tcp4 2", "0 tcp4 3", "0 tcp6 3", "0 tcp4 4", "0 tcp6 6", "0 tcp6 7", "0 tcp4 8"]),
        // What waits at 127.0.0.53 would not be found there.
        (.localhost, nil, ["0 tcp4 1", "0 tcp4 3", "0 tcp6 3", "0 tcp6 6", "0 tcp4 8"]),
    ] as [(Reach, Reach?, [String])])
    func onlyWhatCanBeReachedCounts(_ reaches: Reach, _ other: Reach?, _ expected: [String]) throws {
        var bench = try Bench([Self.tcp], reaches: reaches, or: other)
        bench.follow(tcp: [
            BoundSocket(address: Self.any4, port: 1), BoundSocket(address: IPAddress(IPv4Address(0x7f00_0035)), port: 2),
            BoundSocket(address: Self.any6, port: 3, servesBoth: true), BoundSocket(address: IPAddress(IPv4Address(0xc633_6401)), port: 4),
            BoundSocket(address: IPAddress(IPv4Address(0xe000_00fb)), port: 5), BoundSocket(address: Self.loopback6, port: 6),
            // Bound to an interface: another one, and loopback.
            BoundSocket(address: Self.any6, port: 7, interface: 2), BoundSocket(address: Self.any4, port: 8, interface: 1),
        ])
        #expect(bench.open == Set(expected))
    }

    @Test func optionsSayWhereAndWhichPorts() throws {
        let here = AutomaticGroup(isTCP: true, address: Self.loopback4, hasIPv4: true, hasIPv6: true)
        var bench = try Bench([here], allowed: 100...200)
        let isSame = bench.ports.allow(300...300, in: here)
        let groups = bench.ports.groupCount
        #expect(isSame && groups == 1)
        bench.ports.exclude(150...160, isTCP: true, address: nil)
        bench.follow(tcp: [99, 100, 150, 160, 161, 200, 201, 300].map { BoundSocket(address: Self.any6, port: $0, servesBoth: true) })
        #expect(bench.open == ["0 tcp4 100", "0 tcp4 161", "0 tcp4 200", "0 tcp4 300"])
        let off = AutomaticGroup(isTCP: true, hasIPv4: true, hasIPv6: false)
        var second = try Bench([off])
        second.follow(tcp: [BoundSocket(address: Self.any6, port: 9, servesBoth: true)])
        #expect(second.open == ["0 tcp4 9"])
    }

    @Test func whatCannotBeOpenedIsTriedAgainAndToldOnce() throws {
        var bench = try Bench([Self.tcp])
        let sockets = [BoundSocket(address: Self.any4, port: 80), BoundSocket(address: Self.any4, port: 81)]
        bench.taken = [80]
        bench.follow(tcp: sockets)
        #expect(bench.open == ["0 tcp4 81"])
        #expect(bench.told == 1)
        let count = bench.follow(tcp: sockets)
        #expect(count == 1)
        #expect(bench.told == 1)
        bench.taken = []
        bench.follow(tcp: sockets)
        #expect(bench.open == ["0 tcp4 80", "0 tcp4 81"])
        bench.follow()
        bench.taken = [80]
        bench.follow(tcp: sockets)
        #expect(bench.told == 2)
    }

    @Test func groupsAreLimited() throws {
        var ports = try AutomaticPorts(groupLimit: 1, ephemeral: 1...1, reaches: .outside)
        let (first, same, other) = (ports.allow(1...10, in: Self.tcp), ports.allow(20...30, in: Self.tcp), ports.allow(1...10, in: Self.udp))
        #expect(first && same && !other)
    }

    /// Listeners that come and go: an event of a socket that was there before is told from one of its successor.
    @Test func listenersOfTheTableAreToldApart() throws {
        var table = try ListenerTable()
        let epoll = try Epoll()
        defer { epoll.descriptor.close() }
        func entry(_ isTCP: Bool, _ port: UInt16) throws -> ListenerEntry {
            let socket = try Descriptor.socket(.datagram, for: Self.any4)
            return ListenerEntry(socket, isTCP: isTCP, isOutbound: false, address: Self.any4, port: port, ListenerTarget(port: 1, address: nil))
        }
        for port in 1...3 as ClosedRange<UInt16> {
            let index = try table.add(entry(true, port), to: epoll)
            #expect(index == Int(port) - 1)
        }
        // Paused ones leave the list in any order.
        for index in 0..<3 { table.pause(index, in: epoll) }
        table.remove(1)
        let (isGone, others) = (!table.isCurrent(1, generation: 1), table.isCurrent(0, generation: 1))
        #expect(isGone && others)
        var own = [table.ownOnHost.contains(2, isTCP: true), table.ownOnHost.contains(3, isTCP: true)]
        #expect(own == [false, true])
        let index = try table.add(entry(false, 9), to: epoll)
        let isToldApart = table.isCurrent(1, generation: 2) && !table.isCurrent(1, generation: 1)
        #expect(index == 1 && isToldApart)
        table.resumeAll(in: epoll)
        let paused = [table[0].isPaused, table[2].isPaused]
        own = [table.ownOnHost.contains(9, isTCP: false), table.ownOnHost.contains(9, isTCP: true)]
        #expect(paused == [false, false] && own == [true, false])
        for index in 0..<3 { table.remove(index) }
    }
}
