import CAllocations
import Testing
import Wire

@testable import Datapath
@testable import Linux

/// After start, nothing is taken from the heap, whatever the guest and its peers send. `Scripts/simulate` runs this in an optimized build,
/// where nothing is nothing.
@Suite struct AllocationTests {
    /// The counter sees what the runtime takes for an array.
    @Test func counterCounts() {
        allocations_begin()
        let array = [UInt8](repeating: 1, count: 100_000)
        let taken = allocations_end()
        #expect(taken >= 1 && array.count == 100_000)
    }

    @Test(arguments: [LiveForwarder.loopback4, LiveForwarder.loopback6])
    func hundredThousandFramesOfEveryKind(_ loopback: IPAddress) throws {
        let guestPort: UInt16 = 41_234
        var forwarder = try LiveForwarder(echoPort: guestPort, over: loopback)
        var round = 0
        // In order and late, to every kind of end.
        for _ in 0..<(2 * LiveConnection.Ending.allCases.count) {
            try everything(&forwarder, &round, guestPort)
        }
        // The runtime makes the records of generic types on first use.
        forwarder.allocations = 0
        let (start, answered) = (forwarder.frames, forwarder.sent)
        while forwarder.frames - start < 100_000 { try everything(&forwarder, &round, guestPort) }
        AllocationLimit.check(forwarder.allocations, of: forwarder.frames - start)
        // And all of it was work.
        #expect(forwarder.sent - answered > 15_000)
        for counter in [.tcpClosed, .tcpResetsToGuest, .udpDatagramsToGuest, .icmpErrorsToGuest, .arpReplies, .dhcpReplies] as [Counter] {
            #expect(forwarder.count(counter) > 100, "\(counter)")
        }
        for counter in [.neighbourAdvertisements, .routerAdvertisements, .dhcpv6Replies, .pingReplies, .droppedMalformed, .tcpOutOfOrder, .reassembled] as [Counter] {
            #expect(forwarder.count(counter) > 100, "\(counter)")
        }
    }

    /// The same for frames in a machine's memory, to and from it.
    @Test func framesInSharedMemory() throws {
        let driver = try VhostDriver()
        driver.setUp()
        driver.lend(200, length: 4096)
        let frame = [UInt8](repeating: 7, count: 5000)
        var (taken, frames) = (0, 0)
        for round in 0..<50_000 {
            driver.transmit(frame, head: round % 256)
            driver.lend(2, length: 4096, first: 200 + 2 * round)
            allocations_begin()
            frames += driver.pass(5000)
            taken += Int(allocations_end())
        }
        #expect(frames == 50_000 && driver.used(&driver.toGuest).count == 100_000 % 65536)
        AllocationLimit.check(taken, of: frames, inDebug: 20)
    }

    private func everything(_ forwarder: inout LiveForwarder, _ round: inout Int, _ echoPort: UInt16) throws {
        round += 1
        let endings = LiveConnection.Ending.allCases
        var connection = try LiveConnection.open(&forwarder, from: UInt16(20_000 + round % 20_000))
        try connection.exchange(&forwarder, isLate: round / endings.count % 2 == 0)
        try connection.end(&forwarder, endings[round % endings.count])
        try datagrams(&forwarder, echoPort, round)
        try forwarder.run(local(round) + garbage(round, forwarder.guest))
    }

    private func datagrams(_ forwarder: inout LiveForwarder, _ echoPort: UInt16, _ round: Int) throws {
        let (guest, udpPort) = (forwarder.guest, forwarder.udpPort)
        try forwarder.run((0..<10).map { guest.udp(echoPort, udpPort, 100 + $0) })
        let answer = [UInt8](repeating: 7, count: 300)
        for _ in 0..<4 { _ = forwarder.echo.sendSome(answer[...]) }
        try forwarder.run(guest.datagramInParts(echoPort, udpPort, 2000, number: round) + guest.pingInParts(7, 2000, number: round))
        // Nobody listens there.
        try forwarder.run([guest.udp(echoPort, 1, 10), guest.ping(7)], rounds: 4)
    }

    private func local(_ round: Int) -> [[UInt8]] {
        [
            LocalARPTests().request("c0000201"),
            LocalNDPTests().solicitation("2001:db8::99"),
            LocalRouterTests().solicitation(),
            LiveGuest.sealed(LocalTest.udp4(LocalDHCPTests.request("35 01 01 ff"))),
            LiveGuest.sealed(LocalTest.udp4(LocalDHCPTests.request("35 01 03 32 04 c0000202 ff"))),
            LocalTest.udp6(LocalTest.bytes("01 abcdef" + LocalDHCPv6Tests.client + LocalDHCPv6Tests.association)),
            LocalTest.udp6(LocalTest.bytes("03 abcdef" + LocalDHCPv6Tests.client + LocalDHCPv6Tests.server + LocalDHCPv6Tests.association)),
        ]
    }

    /// Noise, and frames that are almost right.
    private func garbage(_ round: Int, _ guest: LiveGuest) -> [[UInt8]] {
        var random = SeededRandom(UInt64(round))
        var frames: [[UInt8]] = []
        for _ in 0..<10 {
            frames.append((0..<(15 + random.below(200))).map { _ in UInt8(truncatingIfNeeded: random.next()) })
            var damaged = guest.tcp(50_000, 80, .ack, sequence: 1, acknowledgment: 1, 20)
            damaged[14 + random.below(guest.isIPv4 ? 40 : 60)] = UInt8(truncatingIfNeeded: random.next())
            frames.append(LiveGuest.sealed(damaged))
            frames.append(Array(guest.udp(50_000, 80, 20).prefix(15 + random.below(40))))
        }
        return frames
    }
}
