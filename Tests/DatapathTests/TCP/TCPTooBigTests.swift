import Testing
import Wire

@testable import Datapath
@testable import Linux

extension TCPScript {
    /// A router behind the guest says that the segment at `sequence`, in a packet of `length` bytes, was too large for it. `mtu`: what it takes; 0: it does not say.
    mutating func refuse(_ sequence: Int, length: Int = 9000, mtu: Int) throws {
        let start = SequenceNumber(ourStart[TCPScript.guestPort] ?? 0) + sequence
        let head: [UInt8] = [0x45, 0] + AbuseFrame.word(length) + [0, 1, 0x40, 0, 63, 6, 0, 0]
        let addresses: [UInt8] = [198, 51, 100, 7, 192, 0, 2, 2]
        let segment: [UInt8] = AbuseFrame.word(80) + AbuseFrame.word(Int(TCPScript.guestPort)) + AbuseFrame.long(start.value)
        var memory = try Mapping(byteCount: 64)
        memory.put((head + addresses + segment)[...], at: 0)
        let packet = RefusedPacket(ipv4: memory.bytes, at: 0, end: 28)
        #expect(packet?.key == TCPScript.key())
        if let packet { tcp.segmentWasTooBig(packet, mtu: mtu, now: now) }
    }

    /// What is sent in some rounds, at this very millisecond: where it ends, and its largest segment. nil if it does not begin at `start`, or has gaps.
    fileprivate mutating func stretch(from start: Int) -> (end: Int, largest: Int)? {
        var (position, largest) = (start, 0)
        for _ in 0..<8 {
            for seen in segments() where !seen.payload.isEmpty {
                guard let header = seen.header, header.sequence - SequenceNumber(ourStart[TCPScript.guestPort] ?? 0) == position,
                    seen.payload == Array(Stream.toGuest[(position - 1)..<(position - 1 + seen.payload.count)])
                else { return nil }
                position += seen.payload.count
                largest = max(largest, seen.segmentSize > 0 ? seen.segmentSize : seen.payload.count)
            }
        }
        return (position, largest)
    }
}

/// Segments that a link behind the guest does not take.
@Suite struct TCPTooBigTests {
    /// A connection whose guest asked for 8960 bytes in a segment and has been sent 20 000, of which nothing has arrived.
    private static func script(_ offloads: LinkOffloads = []) throws -> TCPScript {
        var script = try TCPScript(mtu: 65520, offloads: offloads)
        script.open(mss: 8960)
        script.arrive(20_000)
        let sent = script.stretch(from: 1)
        #expect(sent?.end == 20_001 && sent?.largest == 8960)
        return script
    }

    /// At once and all of it, once only, and smaller from then on; in super-segments and runs as well.
    @Test(arguments: 0..<3)
    func lesson62_segmentsAreAsSmallAsTheLinkBehindTheGuest(_ kind: Int) throws {
        let offloads: [LinkOffloads] = [[], TCPScript.allOffloads, TCPScript.allOffloads.union(.runs)]
        var script = try Self.script(offloads[kind])
        for sequence in [1, 8961, 17_921] { try script.refuse(sequence, mtu: 1400) }
        var sent = script.stretch(from: 1)
        #expect(sent?.end == 20_001 && sent?.largest == 1360)
        script.guest("A", seq: 1, ack: 20_001, window: 511)
        #expect(script.round().isEmpty)
        script.arrive(5000)
        sent = script.stretch(from: 20_001)
        #expect(sent?.end == 25_001 && sent?.largest == 1360)
        // A link behind that is smaller still.
        script.guest("A", seq: 1, ack: 21_361, window: 511)
        try script.refuse(21_361, mtu: 1280)
        sent = script.stretch(from: 21_361)
        #expect(sent?.end == 25_001 && sent?.largest == 1240)
        script.guest("A", seq: 1, ack: 25_001, window: 511)
        #expect(script.pass(10_000).isEmpty)
    }

    @Test func onlyWhatIsInFlightCounts() throws {
        var script = try Self.script()
        script.guest("A", seq: 1, ack: 8961, window: 511)
        #expect(script.round().isEmpty)
        // Acknowledged, not sent yet, anywhere; and what takes as much as it was sent.
        for sequence in [0, 1, 8960, 20_001, 1 << 30, -1 << 30] { try script.refuse(sequence, mtu: 1400) }
        for mtu in [9000, 9001, 65_535, 1 << 31] { try script.refuse(8961, mtu: mtu) }
        #expect(script.round().isEmpty)
        #expect(script.connection().segmentSize == 8960)
        try script.refuse(20_000, mtu: 1400)
        let sent = script.stretch(from: 8961)
        #expect(sent?.end == 20_001 && sent?.largest == 1360)
        // Told again of what is sent anew, in the right size, it is nothing new.
        try script.refuse(8961, length: 1400, mtu: 1400)
        #expect(script.round().isEmpty)
    }

    /// No smaller than any link of today; and the steps of RFC 1191, section 7, for those that do not say.
    @Test func whatIsBelieved() throws {
        for (mtu, length, expected) in [
            (8999, 9000, 8959), (577, 9000, 537), (576, 9000, 536), (575, 9000, 536), (68, 9000, 536), (0, 9000, 8126), (0, 8166, 4312), (0, 2003, 1962),
            (0, 1500, 1452), (0, 1006, 536), (0, 0, 536), (0, 65_535, 8960),
        ] {
            var script = try Self.script()
            try script.refuse(1, length: length, mtu: mtu)
            #expect(script.connection().segmentSize == UInt16(expected), "\(mtu) \(length)")
        }
        var script = try TCPScript()
        script.open(mss: 400)
        script.arrive(1000)
        _ = script.round()
        try script.refuse(1, length: 440, mtu: 300)
        #expect(script.connection().segmentSize == 400)
    }

    /// After timeouts, when one segment at a time is tried, it is known what was wrong.
    @Test func timeoutsAreOver() throws {
        var script = try Self.script()
        #expect(script.pass(7000).count == 3)
        try script.refuse(1, mtu: 1400)
        let sent = script.stretch(from: 1)
        #expect(sent?.end == 20_001 && sent?.largest == 1360)
        #expect(script.pass(1000) == ["+1000 PA 1:1360 ack 1"])
    }

    /// Into a closed window nothing is sent; it has its own time.
    @Test func aClosedWindowStaysClosed() throws {
        var script = try Self.script()
        script.guest("A", seq: 1, ack: 1, window: 0)
        _ = script.round()
        try script.refuse(1, mtu: 1400)
        #expect(script.round().isEmpty)
        script.guest("A", seq: 1, ack: 1, window: 511)
        let sent = script.stretch(from: 1)
        #expect(sent?.end == 20_001 && sent?.largest == 1360)
    }

    /// The end of the stream comes again behind what is.
    @Test func theEndIsSentAgain() throws {
        var script = try Self.script()
        script.tcp.sockets.end(0)
        #expect(script.round() == ["FA 20001:0 ack 1"])
        try script.refuse(1, mtu: 1400)
        var sent: [String] = []
        for _ in 0..<8 { sent += script.round() }
        #expect(sent.first == "A 1:1360 ack 1" && sent.count { $0.hasPrefix("F") } == 1 && sent.last?.hasPrefix("F") == true)
        script.guest("A", seq: 1, ack: 20_002, window: 511)
        #expect(script.pass(10_000).isEmpty)
    }

    /// What a connection that is not open, or is gone, was sent says nothing.
    @Test func noConnection() throws {
        var script = try TCPScript(mtu: 65520)
        try script.refuse(1, mtu: 1400)
        script.guest("S", seq: 0, mss: 8960)
        _ = script.round()
        _ = script.round()
        try script.refuse(0, mtu: 1400)
        #expect(script.connection().segmentSize == 8960)
    }
}
