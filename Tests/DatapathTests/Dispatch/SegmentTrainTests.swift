import Testing
import Wire

@testable import Datapath
@testable import Linux

/// Frames that carry on the one before them, and those that only look like it.
@Suite struct SegmentTrainTests {
    /// Two frames of one flow behind each other, as a link puts them into its arena; the second carries on the first.
    private struct Pair {
        var bytes: [UInt8]
        let first: Frame
        var second: Frame
        let isIPv4: Bool
        /// Where the second one's TCP header starts.
        var tcp: Int { second.offset + (isIPv4 ? 34 : 54) }

        var payload: Range<Int>? {
            get throws {
                var arena = try Mapping(byteCount: bytes.count)
                arena.put(bytes[...], at: 0)
                return SegmentTrain.payload(of: second, following: first, arena.bytes)
            }
        }
    }

    private static func frame(isIPv4: Bool, sequence: UInt32, count: Int, flags: TCPFlags) -> [UInt8] {
        let segment = AbuseFrame.tcp(40000, 80, flags, sequence: sequence, acknowledgment: 77, window: 501, [UInt8](repeating: 0x61, count: count))
        return isIPv4 ? AbuseFrame.ip4(6, segment) : AbuseFrame.ip6(6, segment)
    }

    private static func pair(_ isIPv4: Bool, sequence: UInt32 = 1000, first: Int = 1000, second: Int = 700) -> Pair {
        let one = frame(isIPv4: isIPv4, sequence: sequence, count: first, flags: .ack)
        let two = frame(isIPv4: isIPv4, sequence: sequence &+ UInt32(first), count: second, flags: [.ack, .psh])
        let gap = [UInt8](repeating: 0xff, count: 4)
        return Pair(
            bytes: gap + one + gap + two, first: Frame(offset: 4, length: one.count, offload: VirtioNetHeader()),
            second: Frame(offset: 8 + one.count, length: two.count, offload: VirtioNetHeader()), isIPv4: isIPv4)
    }

    @Test(arguments: [true, false]) func aSegmentCarriesOnTheLast(_ isIPv4: Bool) throws {
        let pair = Self.pair(isIPv4)
        #expect(try pair.payload == pair.tcp + 20..<pair.bytes.count)
        // Sequence numbers wrap; a single byte is enough.
        let wrapped = Self.pair(isIPv4, sequence: 0xffff_ff00, first: 1000, second: 1)
        #expect(try wrapped.payload?.count == 1)
    }

    /// Every bit of the second frame's headers that decides anything, changed one by one.
    @Test(arguments: [true, false]) func whatDiffersIsLookedAtAsUsual(_ isIPv4: Bool) throws {
        let pair = Self.pair(isIPv4)
        // What may differ: identification and checksum of IPv4, TCP's checksum and its urgent pointer, which means nothing without URG; and PSH.
        let tcp = pair.tcp - pair.second.offset
        let free = Set((isIPv4 ? [18, 19, 24, 25] : []) + [16, 17, 18, 19].map { tcp + $0 })
        for position in 0..<(tcp + 20) {
            for bit in 0..<8 {
                var changed = pair
                changed.bytes[pair.second.offset + position] ^= 1 << bit
                let isFree = free.contains(position) || (position == tcp + 13 && bit == 3)
                #expect(try (changed.payload != nil) == isFree, "byte \(position), bit \(bit)")
            }
        }
    }

    @Test(arguments: [true, false]) func lengthsMustFit(_ isIPv4: Bool) throws {
        // Padded, cut off, and nothing but headers.
        for length in [-1, 1, 60] {
            var pair = Self.pair(isIPv4)
            pair.second.length += length
            pair.bytes += [UInt8](repeating: 0, count: 60)
            #expect(try pair.payload == nil)
        }
        #expect(try Self.pair(isIPv4, second: 0).payload == nil)
        for length in 14..<(isIPv4 ? 55 : 75) {
            var pair = Self.pair(isIPv4)
            pair.second.length = length
            #expect(try pair.payload == nil)
        }
    }

    /// Both have the same flags: those of a train are ACK and PSH alone.
    @Test(arguments: [TCPFlags.rst, .syn, .fin, [.ack, .fin], [.ack, .rst], [.ack, .syn], [], .psh])
    func noOtherFlags(_ flags: TCPFlags) throws {
        let one = Self.frame(isIPv4: true, sequence: 1, count: 10, flags: flags), two = Self.frame(isIPv4: true, sequence: 11, count: 10, flags: flags)
        let pair = Pair(
            bytes: one + two, first: Frame(offset: 0, length: one.count, offload: VirtioNetHeader()),
            second: Frame(offset: one.count, length: two.count, offload: VirtioNetHeader()), isIPv4: true)
        #expect(try pair.payload == nil)
    }

    /// Trains through a whole forwarder: of two connections by turns, with what was sent before, what is missing, and an end among them.
    /// Long frames of one connection are worked off behind each other, with those short ones that are among them.
    @Test(arguments: [1400, 9000]) func streamsArriveWhole(_ longest: Int) throws {
        var host = try AbuseHost()
        let listener = try AbuseListener()
        let connections = [try #require(try host.open(listener.port)), try #require(try host.open(listener.port))]
        let streams = [Array(Stream.fromGuest[0..<300_000]), Array(Stream.toGuest[0..<300_000])]
        var sent = [0, 0], frames: [[UInt8]] = []
        func put(_ which: Int, _ range: Range<Int>, _ flags: TCPFlags = .ack) {
            frames.append(AbuseFrame.ip4(6, AbuseFrame.tcp(
                connections[which].port, connections[which].remotePort, flags, sequence: connections[which].sequence &+ UInt32(range.lowerBound),
                acknowledgment: connections[which].expected, Array(streams[which][range]))))
        }
        var random = SeededRandom(7)
        let end = longest > 1400 ? 250_000 : 100_000
        while sent[0] < end || sent[1] < end {
            let which = random.below(2)
            if sent[which] >= end { continue }
            for _ in 0..<(1 + random.below(longest > 1400 ? 3 : 40)) {
                let next = sent[which] + 1 + random.below(random.below(3) == 0 ? 1400 : longest)
                switch random.below(12) {
                case 0: put(which, max(sent[which] - 500, 0)..<sent[which])  // all of it old
                case 1: put(which, max(sent[which] - 500, 0)..<next); sent[which] = next  // partly
                case 2: put(which, next..<next + 100); put(which, next + 100..<next + 200)  // ahead of what is missing, and carried on
                default: put(which, sent[which]..<next, random.below(3) == 0 ? [.ack, .psh] : .ack); sent[which] = next
                }
            }
        }
        for which in 0...1 { put(which, sent[which]..<sent[which], [.ack, .fin]) }
        var received: [[UInt8]] = []
        let batch = longest > 1400 ? 60 : 200
        for part in stride(from: 0, to: frames.count, by: batch) { try host.attack(Array(frames[part..<min(part + batch, frames.count)])) }
        for _ in 0...1 {
            let socket = try #require(try listener.socket.accept()?.0)
            defer { socket.close() }
            try socket.setNonBlocking()
            var bytes: [UInt8] = []
            var mapping = try Mapping(byteCount: 1 << 20)
            while true {
                let outcome = socket.read(into: &mapping, offset: 0, length: mapping.byteCount)
                if outcome.count <= 0 { break }
                for index in 0..<outcome.count { bytes.append(mapping.bytes.uint8(at: index)) }
            }
            received.append(bytes)
        }
        for which in 0...1 { #expect(received[which] == Array(streams[which][0..<sent[which]])) }
    }
}
