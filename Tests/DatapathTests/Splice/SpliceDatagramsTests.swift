import Linux
import Testing
import Wire

@testable import Datapath

/// A listener whose datagrams lead to loopback, and what comes back.
struct DatagramLab: ~Copyable {
    let epoll: Epoll
    var events: EventList
    var datagrams: SpliceDatagrams
    var listeners: ListenerTable
    var counters = Counters()
    let port: UInt16
    private let index: Int

    /// On all addresses of both families.
    init(leadingTo target: UInt16) throws {
        let epoll = try Epoll()
        let events = try EventList(capacity: 16)
        let datagrams = try SpliceDatagrams(isOutbound: true, epoll: epoll, capacity: 16, seed: SipHash(key0: 1, key1: 2), now: 0)
        var listeners = try ListenerTable()
        let any = IPAddress(IPv6Address.any)
        let socket = try Descriptor.socket(.datagram, for: any)
        try socket.setIPv6Only(false)
        try socket.setPacketInformation(isIPv4: true)
        try socket.setPacketInformation(isIPv4: false)
        try socket.bind(SocketAddress(Endpoint(any, 0)))
        let port = try #require(try socket.localAddress().endpoint).port
        let index = try listeners.add(
            ListenerEntry(socket, isTCP: false, isOutbound: true, address: any, port: port, ListenerTarget(port: target, address: nil)), to: epoll)
        self.epoll = epoll
        self.events = events
        self.datagrams = datagrams
        self.listeners = listeners
        self.port = port
        self.index = index
    }

    deinit { epoll.descriptor.close() }

    /// Handles all events; how many there were.
    @discardableResult
    mutating func run(now: Int64 = 1) throws -> Int {
        var handled = 0
        for _ in 0..<100 {
            try events.wait(on: epoll, nanoseconds: 0)
            if events.count == 0 { return handled }
            for number in 0..<events.count {
                let tag = EventTag(bits: events[number].tag)
                handled += 1
                if tag.kind == .listener {
                    datagrams.receive(on: listeners[index], index, &counters, now: now)
                } else if datagrams.isCurrent(tag) {
                    datagrams.answer(tag, listeners, &counters, now: now)
                }
            }
        }
        Issue.record("no end of events")
        return handled
    }

    mutating func stopListening() { listeners.remove(index) }
}

@Suite struct SpliceDatagramsTests {
    private static let v4 = IPAddress(IPv4Address.loopback)
    private static let v6 = IPAddress(IPv6Address.loopback)

    @Test(arguments: [v4, v6])
    func lesson31_answersLeaveFromTheAddressContacted(_ loopback: IPAddress) throws {
        let server = try FarEnd(loopback)
        var lab = try DatagramLab(leadingTo: server.endpoint.port)
        let client = try FarEnd(loopback)
        let others = loopback.isIPv4 ? [loopback, IPAddress(IPv4Address(0x7f00_0009)), loopback] : [loopback, loopback]
        for (round, address) in others.enumerated() {
            for number in 0..<40 { try client.send([UInt8(round), UInt8(number)], to: Endpoint(address, lab.port)) }
            try lab.run()
            let seen = try server.receive(40)
            #expect(seen.map(\.payload) == (0..<40).map { [UInt8(round), UInt8($0)] })
            #expect(Set(seen.map(\.source)).count == 1)
            for number in 0..<20 { try server.send([9, UInt8(number)], to: seen[0].source) }
            try lab.run()
            let answers = try client.receive(20)
            #expect(answers.map(\.payload) == (0..<20).map { [9, UInt8($0)] })
            #expect(answers.allSatisfy { $0.source == Endpoint(address, lab.port) })
        }
        let count = lab.datagrams.table.count
        #expect(count == (loopback.isIPv4 ? 2 : 1))
    }

    /// Nobody listens: the kernel's word for that is taken and wakes nobody again.
    @Test func lesson33_refusalsDoNotSpin() throws {
        let nobody: UInt16
        do {
            let socket = try Descriptor.socket(.datagram, for: Self.v4)
            try socket.bind(SocketAddress(Endpoint(Self.v4, 0)))
            nobody = try #require(try socket.localAddress().endpoint).port
            socket.close()
        }
        var lab = try DatagramLab(leadingTo: nobody)
        let client = try FarEnd(Self.v4)
        for _ in 0..<5 {
            try client.send([1], to: Endpoint(Self.v4, lab.port))
            try lab.run()
        }
        #expect(try lab.run() == 0)
        let count = lab.datagrams.table.count
        #expect(count == 1)
    }

    @Test func idleFlowsEnd() throws {
        let server = try FarEnd(Self.v4)
        var lab = try DatagramLab(leadingTo: server.endpoint.port)
        let client = try FarEnd(Self.v4)
        try client.send([1], to: Endpoint(Self.v4, lab.port))
        try lab.run(now: 1000)
        lab.datagrams.expireTimers(&lab.counters, now: 30_999)
        var count = lab.datagrams.table.count
        #expect(count == 1)
        lab.datagrams.expireTimers(&lab.counters, now: 31_000)
        count = lab.datagrams.table.count
        #expect(count == 0)
        let wake = lab.datagrams.nextWakeUp
        #expect(wake == nil)
    }

    /// Ports of the far side are everybody's: who has asked once gives way to the next, who is in conversation does not.
    @Test func thoseWhoAskedOnceGiveWay() throws {
        let server = try FarEnd(Self.v4)
        var lab = try DatagramLab(leadingTo: server.endpoint.port)
        let talker = try FarEnd(Self.v4)
        var place: Endpoint?
        for number in 0..<3 as Range<UInt8> {
            try talker.send([number], to: Endpoint(Self.v4, lab.port))
            try lab.run()
            let seen = try #require(try server.receive(1).first)
            #expect(place == nil || place == seen.source)
            place = seen.source
            try server.send([100 + number], to: seen.source)
            try lab.run()
            #expect(try talker.receive(1).map(\.payload) == [[100 + number]])
        }
        // All within a millisecond; some are answered.
        for number in 0..<100 as Range<UInt8> {
            let client = try FarEnd(Self.v4)
            try client.send([number], to: Endpoint(Self.v4, lab.port))
            try lab.run()
            let seen = try #require(try server.receive(1).first)
            #expect(seen.payload == [number])
            if number % 3 != 0 { continue }
            try server.send([number], to: seen.source)
            try lab.run()
            #expect(try client.receive(1).map(\.payload) == [[number]])
        }
        let (count, ended) = (lab.datagrams.table.count, lab.counters[.spliceClientsEnded])
        // A client may get the port of one before.
        #expect(count == 16 && ended > 50)
        try talker.send([7], to: Endpoint(Self.v4, lab.port))
        try lab.run()
        #expect(try server.receive(1).map(\.source) == [place])
    }

    /// A listener that is gone answers nobody, and neither does one that has its number now.
    @Test func flowsEndWithTheirListener() throws {
        let server = try FarEnd(Self.v4)
        var lab = try DatagramLab(leadingTo: server.endpoint.port)
        let client = try FarEnd(Self.v4)
        try client.send([1], to: Endpoint(Self.v4, lab.port))
        try lab.run()
        let seen = try server.receive(1)
        lab.stopListening()
        try server.send([2], to: seen[0].source)
        try lab.run()
        let count = lab.datagrams.table.count
        #expect(count == 0)
    }
}
