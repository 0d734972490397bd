import Glibc
import Linux
import Settings
import Testing
import Wire

@testable import Datapath

@Suite struct UDPFlowTests {
    @Test(arguments: [IPAddress(IPv4Address.loopback), IPAddress(IPv6Address.loopback)])
    func thereAndBack(_ loopback: IPAddress) throws {
        var host = try TestHost()
        let far = try FarEnd(loopback)
        host.send([1, 2, 3], from: 40001, to: far.seen)
        host.endRound()
        let received = try far.receive(1)
        #expect(received.map(\.payload) == [[1, 2, 3]])
        // The guest's port is kept.
        #expect(received.first?.source == Endpoint(loopback, 40001))
        try far.send([9, 8], to: Endpoint(loopback, 40001))
        try host.run(untilFrames: 1)
        let frame = try #require(host.frames.first)
        #expect(frame.source == far.seen.address && frame.sourcePort == far.seen.port)
        #expect(frame.destination == (loopback.isIPv4 ? TestHost.guest4 : TestHost.guest6) && frame.destinationPort == 40001)
        #expect(frame.udpPayload == [9, 8])
        #expect(frame.bytes.count == max(60, frame.end))
        #expect(frame.offload.flags == .needsChecksum && Int(frame.offload.checksumStart) == frame.l4 && frame.offload.checksumOffset == 6)
        #expect(frame.offload.segmentation == .none)
        #expect(host.udp.table.count == 1 && host.port.counters[.udpOpened] == 1)
    }

    @Test func checksumIsCompleteWithoutOffload() throws {
        var host = try TestHost(offloads: [])
        let far = try FarEnd()
        host.send([0], from: 40002, to: far.seen)
        host.endRound()
        try far.send(pattern(333), to: try #require(try far.receive(1).first).source)
        try host.run(untilFrames: 1)
        let frame = try #require(host.frames.first)
        #expect(frame.offload == VirtioNetHeader())
        #expect(frame.l4Sum == 0xffff && SentFrame.sum(Array(frame.bytes[14..<34])) == 0xffff)
    }

    @Test func emptyDatagramsGoBothWays() throws {
        var host = try TestHost()
        let far = try FarEnd()
        host.send([], from: 40003, to: far.seen)
        host.send([1], from: 40003, to: far.seen)
        host.send([], from: 40003, to: far.seen)
        host.endRound()
        let received = try far.receive(3)
        #expect(received.map(\.payload) == [[], [1], []])
        try far.send([], to: try #require(received.first).source)
        try host.run(untilFrames: 1)
        #expect(host.frames.first?.udpPayload == [] && host.frames.first?.word(host.frames[0].l4 + 4) == 8)
    }

    /// IPv6 does not count its own header.
    @Test(arguments: [(IPAddress(IPv4Address.loopback), 65507), (IPAddress(IPv6Address.loopback), 65527)])
    func largestDatagramGoesBothWays(_ loopback: IPAddress, _ size: Int) throws {
        var host = try TestHost()
        let far = try FarEnd(loopback)
        let payload = pattern(size)
        host.send(payload, from: 40004, to: far.seen)
        host.endRound()
        let received = try far.receive(1)
        #expect(received.first?.payload == payload)
        try far.send(payload, to: try #require(received.first).source)
        // More than the guest's MTU by 15 bytes, or 55.
        try host.run(untilFrames: 2)
        let packets = try SentFrame.packets(host.frames)
        #expect(packets.first?.udpPayload == payload)
        #expect(packets.first?.word(loopback.isIPv4 ? 16 : 18) == 65535 && packets.first?.l4Sum == 0xffff)
    }

    @Test func manyRemotesShareThePort() throws {
        var host = try TestHost()
        let first = try FarEnd()
        let second = try FarEnd()
        host.send([1], from: 40005, to: first.seen)
        host.send([2], from: 40005, to: second.seen)
        host.endRound()
        let source = Endpoint(IPAddress(IPv4Address.loopback), 40005)
        #expect(try first.receive(1).map(\.source) == [source] && second.receive(1).map(\.source) == [source])
        try second.send([4], to: source)
        try first.send([3], to: source)
        try host.run(untilFrames: 2)
        #expect(Set(host.frames.map { "\($0.sourcePort) \($0.udpPayload)" }) == ["\(first.seen.port) [3]", "\(second.seen.port) [4]"])
    }

    @Test func portOfAnotherProgramIsLeftAlone() throws {
        var host = try TestHost()
        let far = try FarEnd()
        let other = try FarEnd(port: 0)
        try other.socket.setReuseAddress()
        host.send([1], from: other.endpoint.port, to: far.seen)
        host.endRound()
        let source = try #require(try far.receive(1).first).source
        #expect(source.port != other.endpoint.port)
        try far.send([2], to: source)
        try host.run(untilFrames: 1)
        #expect(host.frames.first?.destinationPort == other.endpoint.port)
    }

    /// Where the guest's port is another program's, all its flows have one other, and each hears its own remote (RFC 4787, REQ-1).
    @Test func aPortThatIsNotToBeHadHasOneSubstitute() throws {
        var host = try TestHost()
        let taken = try FarEnd(IPAddress(IPv4Address.loopback))
        let first = try FarEnd()
        let second = try FarEnd()
        let port = taken.endpoint.port
        host.send([1], from: port, to: first.seen)
        host.endRound()
        let substitute = try #require(try first.receive(1).first).source
        #expect(substitute.port != port && host.udp.table[0].flags.contains(.hasSubstitute))
        host.send([2], from: port, to: second.seen)
        host.endRound()
        #expect(try second.receive(1).map(\.source) == [substitute])
        try second.send([4], to: substitute)
        try first.send([3], to: substitute)
        try host.run(untilFrames: 2)
        #expect(Set(host.frames.map { "\($0.sourcePort) \($0.destinationPort) \($0.udpPayload)" }) == ["\(first.seen.port) \(port) [3]", "\(second.seen.port) \(port) [4]"])
        // Neither the guest's other ports nor other guests take part.
        let other = IPAddress(IPv4Address("192.0.2.77")!)
        host.send([5], from: port, to: first.seen, guest: other)
        host.send([6], from: substitute.port, to: first.seen)
        host.endRound()
        let sources = try first.receive(2).map(\.source.port)
        #expect(Set(sources).count == 2 && !sources.contains(substitute.port) && !sources.contains(port))
        // It lasts as long as any of its flows.
        host.udp.close(0, &host.port)
        let still = host.udp.substitutes.find(TestHost.guest4, port, isIPv4: true)
        host.udp.close(1, &host.port)
        let none = host.udp.substitutes.find(TestHost.guest4, port, isIPv4: true)
        #expect(still == substitute.port && none == nil)
    }

    /// What cannot be had a second time is no reason to be silent.
    @Test func aSubstituteThatIsTakenIsLeftAlone() throws {
        var host = try TestHost()
        let taken = try FarEnd()
        let far = try FarEnd()
        let port = taken.endpoint.port
        let isNoted = host.udp.substitutes.note(TestHost.guest4, port, isIPv4: true, port: taken.endpoint.port)
        host.send([1], from: port, to: far.seen)
        host.endRound()
        let source = try #require(try far.receive(1).first).source
        #expect(isNoted && source.port != port && !host.udp.table[0].flags.contains(.hasSubstitute))
        host.udp.close(0, &host.port)
        let still = host.udp.substitutes.find(TestHost.guest4, port, isIPv4: true)
        #expect(still == port)
    }

    @Test func substitutesAreCounted() throws {
        var substitutes = try PortSubstitutes()
        let (guest4, guest6) = (TestHost.guest4, TestHost.guest6)
        // A query to a resolver of the other family has a socket of that.
        let notes = [
            substitutes.note(guest4, 53, isIPv4: true, port: 1000), substitutes.note(guest4, 53, isIPv4: false, port: 2000),
            substitutes.note(guest6, 53, isIPv4: false, port: 3000), substitutes.note(guest4, 53, isIPv4: true, port: 1000),
            substitutes.note(guest4, 53, isIPv4: true, port: 1001),
        ]
        #expect(notes == [true, true, true, true, false])
        let found = [substitutes.find(guest4, 53, isIPv4: true), substitutes.find(guest4, 53, isIPv4: false), substitutes.find(guest6, 53, isIPv4: false)]
        #expect(found == [1000, 2000, 3000])
        substitutes.release(guest4, 53, isIPv4: true)
        let still = substitutes.find(guest4, 53, isIPv4: true)
        substitutes.release(guest4, 53, isIPv4: true)
        substitutes.release(guest4, 53, isIPv4: true)
        let none = substitutes.find(guest4, 53, isIPv4: true)
        let others = substitutes.find(guest6, 53, isIPv4: false)
        #expect(still == 1000 && none == nil && others == 3000)
    }

    /// A guest that talks to its own port on the host must not hear itself.
    @Test func noSocketTalksToItself() throws {
        var host = try TestHost()
        host.send([1], from: 40007, to: Endpoint(TestHost.mapped4, 40007))
        try host.run(untilFrames: 1)
        #expect(host.frames.map(\.proto) == [1])
    }

    @Test func addressesWithoutMeaning() throws {
        var host = try TestHost()
        let any4 = IPAddress(IPv4Address.any)
        host.send([1], from: 0, to: Endpoint(TestHost.mapped4, 9))
        host.send([1], from: 9, to: Endpoint(TestHost.mapped4, 0))
        host.send([1], from: 9, to: Endpoint(IPAddress(IPv4Address.loopback), 9))
        host.send([1], from: 9, to: Endpoint(any4, 9))
        for source in [any4, IPAddress(IPv4Address.loopback), IPAddress(IPv4Address.broadcast), IPAddress(IPv4Address(0xe000_0001))] {
            host.send([1], from: 9, to: Endpoint(TestHost.mapped4, 9), guest: source)
        }
        host.send([1], from: 9, to: Endpoint(TestHost.mapped6, 9), guest: IPAddress(IPv6Address.any))
        host.send([1], from: 9, to: Endpoint(TestHost.mapped6, 9), guest: TestHost.guest4)
        #expect(host.port.counters[.droppedAddress] == 10 && host.udp.table.count == 0 && host.frames.isEmpty)
    }

    /// Names are asked for where the host has no resolver: nobody is there (RFC 1122, section 3.2.2.1), and other ports are those of somebody else.
    @Test(arguments: ["192.0.2.53", "2001:db8::53"], [53, 853] as [UInt16])
    func queriesAreRefusedWithoutAResolver(_ resolver: String, _ port: UInt16) throws {
        var network = TestHost.network()
        network.ipv4?.dnsForward = IPv4Address("192.0.2.53")!
        network.ipv6?.dnsForward = IPv6Address("2001:db8::53")!
        var host = try TestHost(network: network)
        let asked = Endpoint(try #require(IPAddress(resolver)), port)
        let isIPv4 = asked.address.isIPv4
        host.send([1, 2, 3], from: 40012, to: asked)
        #expect(host.udp.table.count == 0 && host.port.counters[.droppedAddress] == 1)
        let frame = try #require(host.frames.first)
        #expect(host.frames.count == 1 && frame.source == asked.address && Array(frame.icmp[0..<2]) == (isIPv4 ? [3, 3] : [1, 4]))
        // An address that cannot be hears nothing.
        host.send([1, 2, 3], from: 40012, to: asked, guest: isIPv4 ? IPAddress(IPv4Address.any) : IPAddress(IPv6Address.any))
        #expect(host.frames.count == 1 && host.port.counters[.droppedAddress] == 2)
    }

    @Test func flowsExpire() throws {
        var host = try TestHost()
        let far = try FarEnd()
        host.send([1], from: 40010, to: far.seen)
        host.send([1], from: 40011, to: far.seen)
        host.endRound()
        let sources = try far.receive(2).map(\.source)
        try far.send([2], to: sources[0])
        try host.run(untilFrames: 1)
        host.now += 29_999
        host.expire()
        #expect(host.udp.table.count == 2)
        host.now += 1
        host.expire()
        #expect(host.udp.table.count == 1 && host.port.counters[.udpClosed] == 1)
        let wake = host.udp.timers.nextWakeUp
        #expect(try #require(wake) <= 1_000_000 + 120_000)
        // Use makes it last.
        host.now = 1_000_000 + 100_000
        host.expire()
        host.send([3], from: sources[0].port, to: far.seen)
        host.endRound()
        host.now = 1_000_000 + 219_999
        host.expire()
        #expect(host.udp.table.count == 1)
        host.now += 1
        host.expire()
        let none = host.udp.timers.nextWakeUp
        #expect(host.udp.table.count == 0 && none == nil)
    }

    @Test func inAFullTableTheOldestUnansweredGivesWay() throws {
        var host = try TestHost(capacity: 2)
        let far = try FarEnd()
        for port in UInt16(40020)...40022 { host.send([UInt8(port & 0xff)], from: port, to: far.seen) }
        host.endRound()
        // What it had to send was sent.
        #expect(Set(try far.receive(3).map { $0.payload[0] }) == [0x54, 0x55, 0x56])
        let remaining = (0..<2).map { host.udp.table[$0].key.guestPort }
        #expect(Set(remaining) == [40021, 40022] && host.port.counters[.udpGaveWay] == 1 && host.frames.isEmpty)
    }

    @Test func fullTableRefusesUntilAnAnsweredFlowIsIdle() throws {
        var host = try TestHost(capacity: 2)
        let far = try FarEnd()
        for port in UInt16(40020)...40021 { host.send([1], from: port, to: far.seen) }
        host.endRound()
        for datagram in try far.receive(2) { try far.send([2], to: datagram.source) }
        try host.run(untilFrames: 2)
        host.send([1], from: 40022, to: far.seen)
        host.endRound()
        #expect(host.port.counters[.udpTableFull] == 1 && host.frames.count == 3)
        // Destination unreachable, administratively prohibited, quoting the datagram.
        let error = try #require(host.frames.last)
        #expect(error.proto == 1 && error.icmp[0] == 3 && error.icmp[1] == 13 && SentFrame.sum(error.icmp) == 0xffff)
        #expect(Array(error.icmp[28..<32]) == [0x9c, 0x56, UInt8(far.seen.port >> 8), UInt8(far.seen.port & 0xff)])
        host.now += 10_000
        host.send([1], from: 40021, to: far.seen)
        host.send([5], from: 40022, to: far.seen)
        host.endRound()
        #expect(try far.receive(2).last?.payload == [5])
        let remaining = (0..<2).map { host.udp.table[$0].key.guestPort }
        #expect(Set(remaining) == [40021, 40022] && host.port.counters[.udpGaveWay] == 1)
    }

    /// ICMP errors have a limit (RFC 4443, section 2.4 (f)).
    @Test func refusalsAreLimited() throws {
        var host = try TestHost()
        host.udp.openings = 0
        host.endRound()
        let asked = Endpoint(TestHost.mapped4, 9)
        for port in UInt16(1001)...1150 { host.send([1], from: port, to: asked) }
        #expect(host.frames.count == 100 && host.port.counters[.icmpErrorsToGuest] == 100 && host.port.counters[.icmpErrorsHeldBack] == 50)
        host.now += 10
        host.endRound()
        for port in UInt16(1001)...1020 { host.send([1], from: port, to: asked) }
        #expect(host.frames.count == 110 && host.port.counters[.icmpErrorsHeldBack] == 60)
    }

    /// Seven eighths for each side: neither locks the other out.
    @Test func oneSideCannotTakeTheWholeTable() throws {
        var host = try TestHost(capacity: 16)
        let far = try FarEnd()
        for port in UInt16(40030)...40060 { host.send([1], from: port, to: far.seen) }
        host.endRound()
        #expect(host.udp.table.count == 14 && host.port.counters[.udpGaveWay] == 17)
    }

    @Test func usageOrderKeepsTheOldestFirst() throws {
        var order = try UsageOrder(capacity: 4)
        #expect(order.oldest == nil)
        for id in [2, 0, 1, 2, 3, 0] { order.use(id) }
        var seen: [Int] = []
        while let oldest = order.oldest {
            seen.append(oldest)
            order.remove(oldest)
            order.remove(oldest)
        }
        #expect(seen == [1, 2, 3, 0] && order.count == 0)
    }
}
