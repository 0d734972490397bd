import Dispatch
import Foundation
import Glibc
import Linux
import Settings
import Synchronization
import Testing
import Wire

@testable import Datapath

/// `Scripts/test` runs these where `ping_group_range` lets anybody ping; elsewhere most of them fail.
@Suite struct PingTests {
    @Test(arguments: [TestHost.mapped4, TestHost.mapped6])
    func lesson37_firstSequenceIsZero(_ remote: IPAddress) throws {
        var host = try TestHost()
        let payload = pattern(77)
        host.echo(identifier: 0x1234, sequence: 0, to: remote, payload: payload)
        try host.run(untilFrames: 1)
        let frame = try #require(host.frames.first)
        #expect(frame.source == remote && frame.destination == (remote.isIPv4 ? TestHost.guest4 : TestHost.guest6))
        #expect(Array(frame.icmp[0..<2]) == [remote.isIPv4 ? 0 : 129, 0])
        #expect(Array(frame.icmp[4..<8]) == [0x12, 0x34, 0, 0])
        #expect(Array(frame.icmp[8...]) == payload)
        if remote.isIPv4 { #expect(SentFrame.sum(frame.icmp) == 0xffff) } else { #expect(frame.l4Sum == 0xffff) }
        host.echo(identifier: 0x1234, sequence: 0xfffe, to: remote, payload: payload)
        try host.run(untilFrames: 2)
        #expect(host.frames.count == 2 && Array(host.frames[1].icmp[4..<8]) == [0x12, 0x34, 0xff, 0xfe])
        #expect(host.ping.table.count == 1 && host.port.counters[.pingReplies] == 2)
    }

    /// Two conversations with one identifier: the second's is another on the host, and the guest's own again on its way back.
    @Test func identifiersAreTheGuestsOwn() throws {
        var host = try TestHost()
        let taken = try Descriptor.socket(.ping, for: IPAddress(IPv4Address.loopback))
        defer { taken.close() }
        try taken.bind(SocketAddress(Endpoint(IPAddress(IPv4Address.any), 0x2345)))
        host.echo(identifier: 0x2345, sequence: 7, to: TestHost.mapped4)
        try host.run(untilFrames: 1)
        #expect(try host.ping.table[0].socket.localAddress().endpoint?.port != 0x2345)
        #expect(host.frames.first.map { Array($0.icmp[4..<8]) } == [0x23, 0x45, 0, 7])
    }

    @Test(arguments: [(TestHost.mapped4, 60_000), (TestHost.mapped4, 65_507), (TestHost.mapped6, 65_487), (TestHost.mapped6, 65_527)])
    func largePing(_ remote: IPAddress, _ size: Int) throws {
        var host = try TestHost()
        let payload = pattern(size)
        host.echo(identifier: 5, sequence: 1, to: remote, payload: payload)
        try host.run(untilFrames: size == 60_000 ? 1 : 2)
        #expect(try SentFrame.packets(host.frames).first.map { Array($0.icmp[8...]) } == payload)
    }

    /// The broadcast address of a network that the host is in, which only the kernel knows as such (see `whatIsSentToManyIsLostQuietly`).
    @Test func everybodyOnANetworkIsAsked() throws {
        var network = TestHost.network()
        network.ipv4?.hostAddress = IPv4Address("127.255.255.255")!
        network.ipv4?.mapGuestAddress = IPv4Address("192.0.2.99")!
        network.ipv4?.templateInterfaceIndex = 1  // lo
        var host = try TestHost(network: network)
        host.echo(identifier: 11, sequence: 1, to: IPAddress(IPv4Address("192.0.2.99")!))
        try #require(host.ping.table.count == 1)
        let flow = host.ping.table[0]
        #expect(flow.isGroup && host.port.counters[.pingSocketFailed] == 0 && host.frames.isEmpty)
        // The kernel refuses to send, of which nobody is told.
        var off: Int32 = 0
        // SAFETY: the kernel reads four bytes.
        let result = unsafe setsockopt(flow.socket.number, SOL_SOCKET, SO_BROADCAST, &off, 4)
        try #require(result == 0)
        host.echo(identifier: 11, sequence: 2, to: IPAddress(IPv4Address("192.0.2.99")!))
        #expect(host.frames.isEmpty)
        // All on the link are on that link, wherever the default route leads.
        host.echo(identifier: 12, sequence: 1, to: IPAddress(IPv4Address.broadcast))
        try #require(host.ping.table.count == 2)
        let limited = host.ping.table[1]
        #expect(limited.isGroup && limited.socket.boundInterface == 1)
        host.ping.distrustSources()
        #expect(limited.socket.boundInterface == 1)
        host.echo(identifier: 13, sequence: 1, to: TestHost.mapped4)
        try #require(host.ping.table.count == 3)
        #expect(!host.ping.table[2].isGroup)
    }

    @Test func hopLimitAndExpiry() throws {
        var host = try TestHost()
        host.echo(identifier: 6, sequence: 1, to: TestHost.mapped4, hopLimit: 2)
        #expect(try host.ping.table[0].socket.hopLimit(isIPv4: true) == 2)
        host.now += 59_999
        host.expire()
        #expect(host.ping.table.count == 1)
        host.now += 1
        host.expire()
        #expect(host.ping.table.count == 0 && host.port.counters[.pingClosed] == 1)
    }

    @Test func fullTable() throws {
        var host = try TestHost(capacity: 1)
        host.echo(identifier: 7, sequence: 1, to: TestHost.mapped4)
        host.echo(identifier: 8, sequence: 9, to: TestHost.mapped4)
        #expect(host.port.counters[.pingGaveWay] == 1 && host.port.counters[.pingTableFull] == 0 && host.frames.isEmpty)
        try host.run(untilFrames: 1)
        #expect(host.frames.first.map { Array($0.icmp[4..<8]) } == [0, 8, 0, 9])
        // Where there are descriptors for no more.
        host.ping.openings = 0
        host.echo(identifier: 8, sequence: 9, to: TestHost.mapped4)
        host.echo(identifier: 9, sequence: 9, to: TestHost.mapped4)
        #expect(host.port.counters[.pingTableFull] == 1 && host.frames.count == 2)
        // Unreachable, prohibited, quoting the echo request's header.
        let frame = try #require(host.frames.last)
        #expect(Array(frame.icmp[0..<2]) == [3, 13] && SentFrame.sum(frame.icmp) == 0xffff)
        #expect(frame.icmp[17] == 1 && Array(frame.icmp[28..<36]) == [8, 0, 0, 0, 0, 9, 0, 9])
    }

    /// In a new network namespace, which a thread can have of its own, nobody may ping before somebody says so.
    @Test func refusalIsToldAndNoted() throws {
        let outcome = Mutex<Result<[Int], any Error>?>(nil)
        let done = DispatchSemaphore(value: 0)
        let thread = Thread {
            let result = Result {
                try Namespaces.unshare(.network)
                var host = try TestHost()
                host.echo(identifier: 7, sequence: 1, to: TestHost.mapped4)
                return [host.ping.isForbidden ? 1 : 0, host.frames.count, Int(host.frames.first?.icmp[0] ?? 0), host.ping.table.count]
            }
            outcome.withLock { $0 = result }
            done.signal()
        }
        thread.start()
        #expect(done.wait(timeout: .now() + 10) == .success)
        #expect(try outcome.withLock { try #require($0).get() } == [1, 1, 3, 0])
    }

    /// As for datagrams (lesson 55).
    @Test func lesson55_theInterfaceOfAFlowInUseStays() throws {
        var network = TestHost.network()
        network.ipv4?.outboundInterfaceIndex = 1  // lo
        var host = try TestHost(network: network)
        host.echo(identifier: 10, sequence: 1, to: IPAddress(IPv4Address("203.0.113.1")!))
        let socket = host.ping.table[0].socket
        try #require(socket.boundInterface == 1)
        host.ping.abandon(try #require(try socket.localAddress().endpoint).address)
        #expect(socket.boundInterface == 1)
    }

    @Test func addressesWithoutMeaning() throws {
        var host = try TestHost()
        host.echo(identifier: 7, sequence: 1, to: IPAddress(IPv4Address.loopback))
        host.echo(identifier: 7, sequence: 1, to: IPAddress(IPv4Address.any))
        #expect(host.port.counters[.droppedAddress] == 2 && host.frames.isEmpty)
    }
}
