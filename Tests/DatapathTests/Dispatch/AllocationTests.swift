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

    @Test func hundredThousandFramesOfEveryKind() throws {
        let guestPort: UInt16 = 41_234
        var forwarder = try LiveForwarder(echoPort: guestPort)
        var round = 0
        for _ in 0..<5 {
            try everything(&forwarder, &round, guestPort)
        }
        // The runtime makes the records of generic types on first use.
        forwarder.allocations = 0
        let (start, answered) = (forwarder.frames, forwarder.sent)
        while forwarder.frames - start < 100_000 { try everything(&forwarder, &round, guestPort) }
        #if DEBUG
        // Without the optimizer, a literal of an option set and the iterator of an array take something for a moment.
        #expect(forwarder.allocations < 2 * (forwarder.frames - start))
        #else
        #expect(forwarder.allocations == 0)
        #endif
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
        #if DEBUG
        #expect(taken < 20 * frames)
        #else
        #expect(taken == 0)
        #endif
    }

    private func everything(_ forwarder: inout LiveForwarder, _ round: inout Int, _ echoPort: UInt16) throws {
        round += 1
        try connection(&forwarder, UInt16(20_000 + round % 20_000), round)
        try datagrams(&forwarder, echoPort, round)
        try forwarder.run(local(round) + garbage(round))
    }

    /// Opens a connection, sends both ways, and ends it, in turn by both ends and by a reset of either.
    private func connection(_ forwarder: inout LiveForwarder, _ port: UInt16, _ round: Int) throws {
        var position: UInt32 = 1000
        func segment(_ forwarder: borrowing LiveForwarder, _ flags: UInt8, _ payload: Int = 0, to remote: UInt16? = nil) -> [UInt8] {
            Guest.tcp(
                port, remote ?? forwarder.tcpPort, sequence: position, acknowledgment: flags & 0x10 == 0 ? 0 : forwarder.sequence, flags,
                payload)
        }
        forwarder.watch(port)
        try forwarder.run([segment(forwarder, 2)])
        position += 1
        try forwarder.run { $0.lastFlags == 0x12 && $0.acknowledgment == 1001 }
        try forwarder.run([segment(forwarder, 0x10)])
        // The end of the handshake may wait for the guest's data, see `Postponed`.
        var accepted = try forwarder.listener.accept()?.0
        while accepted == nil {
            try forwarder.run()
            accepted = try forwarder.listener.accept()?.0
        }
        let peer = try #require(accepted)
        defer { if round % 4 < 3 { peer.close() } }
        for _ in 0..<4 {
            var batch: [[UInt8]] = []
            for _ in 0..<40 {
                batch.append(segment(forwarder, 0x18, 500))
                position += 500
            }
            // Every second one is late, and what came before it is kept.
            if round % 2 == 0 { for index in stride(from: 0, to: batch.count, by: 2) { batch.swapAt(index, index + 1) } }
            try forwarder.run(batch)
            _ = peer.discard(1 << 20)
        }
        let before = forwarder.sequence
        try write(100_000, to: peer)
        try forwarder.run { $0.sequence &- before >= 30_000 }
        try forwarder.run([segment(forwarder, 0x10)], rounds: 2)
        try forwarder.run([segment(forwarder, 0x10)], rounds: 2)
        switch round % 4 {
        case 0:
            try forwarder.run([segment(forwarder, 4)])
        case 1:
            try peer.setAbortOnClose()
            try forwarder.run([segment(forwarder, 0x10)])
        case 2:
            try forwarder.run([segment(forwarder, 0x11)], rounds: 2)
            try forwarder.run([segment(forwarder, 4), Guest.tcp(port, 1, sequence: 5, acknowledgment: 0, 2, 0)], rounds: 3)
        default:
            try peer.setAbortOnClose()
            peer.close()
            try forwarder.run { $0.lastFlags & 4 != 0 }
        }
        try forwarder.run([segment(forwarder, 0x10, 100, to: 9)])
    }

    private func write(_ count: Int, to peer: Descriptor) throws {
        let bytes = [UInt8](repeating: 7, count: count)
        // SAFETY: bytes may be read as bytes.
        _ = peer.send(unsafe bytes.span.bytes)
    }

    private func datagrams(_ forwarder: inout LiveForwarder, _ echoPort: UInt16, _ round: Int) throws {
        let udpPort = forwarder.udpPort
        try forwarder.run((0..<10).map { Guest.udp(echoPort, udpPort, 100 + $0) })
        for _ in 0..<4 { try write(300, to: forwarder.echo) }
        try forwarder.run(Guest.fragments(echoPort, udpPort, 2000, number: round))
        // Nobody listens there.
        try forwarder.run([Guest.udp(echoPort, 1, 10), Guest.ping(7)], rounds: 4)
    }

    private func local(_ round: Int) -> [[UInt8]] {
        [
            LocalARPTests().request("c0000201"),
            LocalNDPTests().solicitation("2001:db8::99"),
            LocalRouterTests().solicitation(),
            Guest.sealed(LocalTest.udp4(LocalDHCPTests.request("35 01 01 ff"))),
            Guest.sealed(LocalTest.udp4(LocalDHCPTests.request("35 01 03 32 04 c0000202 ff"))),
            LocalTest.udp6(LocalTest.bytes("01 abcdef" + LocalDHCPv6Tests.client + LocalDHCPv6Tests.association)),
            LocalTest.udp6(LocalTest.bytes("03 abcdef" + LocalDHCPv6Tests.client + LocalDHCPv6Tests.server + LocalDHCPv6Tests.association)),
        ]
    }

    /// Noise, and frames that are almost right.
    private func garbage(_ round: Int) -> [[UInt8]] {
        var random = SeededRandom(UInt64(round))
        var frames: [[UInt8]] = []
        for _ in 0..<10 {
            frames.append((0..<(15 + random.below(200))).map { _ in UInt8(truncatingIfNeeded: random.next()) })
            var damaged = Guest.tcp(50_000, 80, sequence: 1, acknowledgment: 1, 0x10, 20)
            damaged[14 + random.below(40)] = UInt8(truncatingIfNeeded: random.next())
            frames.append(Guest.sealed(damaged))
            frames.append(Array(Guest.udp(50_000, 80, 20).prefix(15 + random.below(40))))
        }
        return frames
    }
}

/// Frames of a guest at 192.0.2.2 to what stands for loopback, without L4 checksums.
private enum Guest {
    static let mac = LocalTest.bytes("9a559a559a55 525400123456")

    private static func long(_ value: UInt32) -> [UInt8] { (0..<4).map { UInt8(truncatingIfNeeded: value >> UInt32(24 - 8 * $0)) } }

    /// With the IPv4 header's checksum.
    static func sealed(_ frame: [UInt8]) -> [UInt8] {
        guard frame.count >= 34, frame[12] == 8, frame[13] == 0 else { return frame }
        var frame = frame
        (frame[24], frame[25]) = (0, 0)
        let sum = ~LocalTest.sum(frame[14..<34])
        (frame[24], frame[25]) = (UInt8(sum >> 8 & 0xff), UInt8(sum & 0xff))
        return frame
    }

    private static func ip(_ proto: UInt8, _ payload: [UInt8], number: Int = 0, fragment: Int = 0x4000) -> [UInt8] {
        sealed(
            LocalTest.join(
                mac, LocalTest.bytes("0800 4500"), LocalTest.word(20 + payload.count), LocalTest.word(number & 0xffff), LocalTest.word(fragment),
                [64, proto, 0, 0], LocalTest.bytes("c0000202 c0000201"), payload))
    }

    /// A datagram in two parts, the second one first.
    static func fragments(_ source: UInt16, _ destination: UInt16, _ count: Int, number: Int) -> [[UInt8]] {
        let payload = udp(source, destination, count)[34...]
        return [
            ip(17, Array(payload.dropFirst(1400)), number: number, fragment: 1400 / 8), ip(17, Array(payload.prefix(1400)), number: number, fragment: 0x2000),
        ]
    }

    static func tcp(_ source: UInt16, _ destination: UInt16, sequence: UInt32, acknowledgment: UInt32, _ flags: UInt8, _ count: Int) -> [UInt8] {
        let options = flags == 2 ? LocalTest.bytes("02040564 01030307") : []
        return ip(
            6,
            LocalTest.join(
                LocalTest.word(Int(source)), LocalTest.word(Int(destination)), long(sequence), long(acknowledgment),
                [UInt8((20 + options.count) << 2), flags], LocalTest.bytes("ffff 0000 0000"), options, [UInt8](repeating: 5, count: count)))
    }

    static func udp(_ source: UInt16, _ destination: UInt16, _ count: Int) -> [UInt8] {
        ip(
            17,
            LocalTest.join(
                LocalTest.word(Int(source)), LocalTest.word(Int(destination)), LocalTest.word(8 + count), [0, 0],
                [UInt8](repeating: 6, count: count)))
    }

    static func ping(_ identifier: Int) -> [UInt8] {
        var message = LocalTest.join(LocalTest.bytes("0800 0000"), LocalTest.word(identifier), LocalTest.bytes("0001 61626364"))
        let sum = ~LocalTest.sum(message[...])
        (message[2], message[3]) = (UInt8(sum >> 8 & 0xff), UInt8(sum & 0xff))
        return ip(1, message)
    }
}
