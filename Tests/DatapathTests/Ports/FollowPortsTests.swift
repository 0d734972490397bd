import Linux
import Settings
import Testing
import Wire

@testable import Datapath

/// Listeners that follow those of this process, at loopback addresses that nothing else here uses. One test at a time, since their services have the same ports.
@Suite(.serialized) struct FollowPortsTests {
    private static let ports: ClosedRange<UInt16> = 20_300...20_319

    /// Services at 127.0.0.1, and who follows them.
    private final class Bench {
        var host: AbuseHost
        private var services: [Descriptor] = []
        private(set) var opened = 0

        init(at address: String, descriptors: Int) throws {
            host = try AbuseHost(descriptors: descriptors)
            for port in FollowPortsTests.ports {
                let service = try Descriptor.socket(.stream, for: LiveForwarder.loopback4)
                services.append(service)
                try service.bind(SocketAddress(Endpoint(LiveForwarder.loopback4, port)))
                try service.listen()
            }
            let inbound = try AutomaticPorts(groupLimit: 1, ephemeral: 32_768...60_999, reaches: .localhost)
            let outbound = try AutomaticPorts(groupLimit: 0, ephemeral: 1...1, reaches: .outside)
            var watch = try PortWatch(inbound, try BoundSockets.open(), outbound, nil)
            var rule = PortControlRule(isTCP: true, FollowPortsTests.ports, target: FollowPortsTests.ports.lowerBound)
            rule.address = IPAddress(IPv4Address(address)!)
            let hasRoom = watch.allow(rule, isInbound: true, interface: 0, hasIPv4: true, hasIPv6: false)
            #expect(hasRoom)
            host.forwarder.portWatch = watch
        }

        /// These services are there no more.
        func close(_ numbers: ClosedRange<Int>) {
            for number in numbers { services[number].close() }
            services.removeSubrange(numbers)
        }

        deinit { for service in services { service.close() } }

        /// One look: when the next one is due.
        func look(limit: Int) -> Int64 {
            host.forwarder.followPorts(of: .namespace, now: 1000, limit: limit) { news in
                if news.event == .opened { opened += 1 }
            }
            return host.forwarder.portWatch.due - 1000
        }
    }

    /// Who opens very many ports at once does not keep everybody else waiting: the next look, which is due at once, goes on.
    @Test func aLookOpensSoMany() throws {
        let bench = try Bench(at: "127.7.0.9", descriptors: 1000)
        #expect(bench.look(limit: 8) == 1 && bench.opened == 8)
        #expect(bench.look(limit: 8) == 1 && bench.opened == 16)
        #expect(bench.look(limit: 8) == 900 && bench.opened == 20)
    }

    /// What was seen once is worked off, whatever has changed since: the next look finds that.
    @Test func aLookThatGoesOnReadsNothingAnew() throws {
        let bench = try Bench(at: "127.7.0.11", descriptors: 1000)
        #expect(bench.look(limit: 8) == 1 && bench.opened == 8)
        bench.close(16...19)
        #expect(bench.look(limit: 100) == 900 && bench.opened == 20)
        _ = bench.look(limit: 100)
        let count = bench.host.forwarder.listeners.count
        #expect(count == 16)
    }

    /// Ports that cannot be opened do not keep those from being closed that nobody listens on any more.
    @Test func withoutDescriptorsPortsAreClosed() throws {
        let bench = try Bench(at: "127.7.0.12", descriptors: 8)
        _ = bench.look(limit: 1000)
        bench.close(2...19)
        _ = bench.look(limit: 1000)
        let count = bench.host.forwarder.listeners.count
        #expect(count == 2)
    }

    /// One that somebody else has ended is opened again.
    @Test func oneThatIsGoneIsOpenedAgain() throws {
        let bench = try Bench(at: "127.7.0.13", descriptors: 1000)
        _ = bench.look(limit: 1000)
        let before = bench.host.forwarder.listeners[3]
        bench.host.forwarder.portWatch.forget(listener: 3, port: before.port, isInbound: true)
        bench.host.forwarder.stopListening(3)
        #expect(bench.host.forwarder.listeners.count == 19)
        _ = bench.look(limit: 1000)
        let after = bench.host.forwarder.listeners[3]
        #expect(after.isUsed && after.port == before.port && after.generation != before.generation)
    }

    /// Half of the descriptors are left to connections.
    @Test func descriptorsAreLeft() throws {
        let bench = try Bench(at: "127.7.0.10", descriptors: 32)
        for _ in 0..<2 {
            #expect(bench.look(limit: 1000) == 900)
            let count = bench.host.forwarder.listeners.count
            #expect(count == 16)
        }
    }
}
