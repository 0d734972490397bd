import PathEmulator
import Testing

@Suite struct ConditionsTests {
    @Test(arguments: [("delay=25ms", 25_000_000), ("delay=1.5s", 1_500_000_000), ("delay=0", 0), ("delay=7us", 7000)])
    func delays(word: String, nanoseconds: Int64) {
        var conditions = Conditions()
        let understood = conditions.apply(Substring(word))
        #expect(understood)
        #expect(conditions.delay == nanoseconds)
    }

    @Test(arguments: ["delay=25", "delay=ms", "loss=101%", "loss=1", "rate=1mb", "queue=5", "cut=5s", "delay", "colour=red", "delay=-1s"])
    func wordsThatMeanNothing(word: String) {
        var conditions = Conditions()
        let understood = conditions.apply(Substring(word))
        #expect(!understood)
        #expect(conditions == Conditions())
    }

    @Test func everyWord() {
        var conditions = Conditions()
        for word in "rate=1gbit queue=1000p loss=1% reorder=5% hold=2ms duplicate=0.5% cut=10s+5s cut=on".split(separator: " ") {
            let understood = conditions.apply(word)
            #expect(understood, "\(word)")
        }
        #expect(conditions.rate == 1_000_000_000 && conditions.queuePackets == 1000 && conditions.hold == 2_000_000)
        #expect(conditions.loss == 0.01 && conditions.reordering == 0.05 && conditions.duplication == 0.005)
        #expect(conditions.cuts == [10_000_000_000..<15_000_000_000] && conditions.isCut)
    }
}

@Suite struct DecisionsTests {
    @Test func sharesAreKept() {
        var conditions = Conditions()
        conditions.loss = 0.01
        conditions.reordering = 0.05
        let decisions = Decisions(seed: 7, conditions: conditions)
        let fates = (0..<200_000).map { decisions.fate(of: $0) }
        #expect(abs(fates.count { $0 == .lost } - 2000) < 200)
        #expect(abs(fates.count { $0 == .held } - 9900) < 500)
        #expect(!fates.contains(.doubled))
    }

    @Test func seedDecides() {
        var conditions = Conditions()
        conditions.loss = 0.5
        func fates(_ seed: UInt64) -> [Fate] {
            let decisions = Decisions(seed: seed, conditions: conditions)
            return (0..<64).map { decisions.fate(of: $0) }
        }
        #expect(fates(1) == fates(1))
        #expect(fates(1) != fates(2))
    }
}

@Suite struct SuperFrameTests {
    /// virtio-net header and an IPv4 TCP super-frame with `payload` bytes and 1000-byte segments.
    static func frame(payload: Int, flags: UInt8 = 0x99) -> [UInt8] {
        let total = 40 + payload
        return [
            1, 1, 54, 0, 0xe8, 3, 34, 0, 16, 0,  // needs checksum, TCPv4, header 54, segment 1000, checksum of byte 34 on at +16
            2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 8, 0,  // Ethernet
            0x45, 0, UInt8(total >> 8), UInt8(total & 255), 0, 9, 0x40, 0, 64, 6, 0, 0,  // IPv4, identification 9
            198, 51, 100, 1, 198, 51, 100, 2,
            0x30, 0x39, 0, 80, 0xff, 0xff, 0xfe, 0,  // ports, sequence 2^32 - 512
            0, 0, 0, 1, 0x50, flags, 1, 0, 0, 0, 0, 0,  // CWR, ACK, PSH, FIN
        ] + (0..<payload).map { UInt8(truncatingIfNeeded: $0 / 1000) }
    }

    @Test func countsPackets() {
        let whole = Self.frame(payload: 2500)
        let frame = SuperFrame(whole.span.bytesForTest)
        #expect(frame.packets == 3 && frame.headerLength == 54 && frame.segmentSize == 1000)
        #expect(frame.wireBytes(of: 0..<3) == 3 * 54 + 2500)
        #expect(frame.payload(of: 2..<3) == 2000..<2500)
    }

    @Test(arguments: [0, 5, 10, 30, 43, 60])
    func shortFramesAreOnePacket(length: Int) {
        let bytes = Array(Self.frame(payload: 2500).prefix(length))
        #expect(SuperFrame(bytes.span.bytesForTest).packets == 1)
    }

    @Test(arguments: [(0..<1, 0x90), (1..<3, 0x19), (1..<2, 0x10), (0..<3, 0x99)])
    func piecesAreWholeFrames(range: Range<Int>, flags: Int) {
        let whole = Self.frame(payload: 2500)
        let frame = SuperFrame(whole.span.bytesForTest)
        let payload = frame.payload(of: range)
        var piece = Array(whole[0..<64] + whole[(64 + payload.lowerBound)..<(64 + payload.upperBound)])
        var mutable = piece.mutableSpan
        var bytes = unsafe mutable.mutableBytes
        frame.rewrite(&bytes, for: range)
        #expect(Int(piece[26]) << 8 | Int(piece[27]) == 40 + payload.count)
        #expect(piece[29] == 9 + UInt8(range.lowerBound))
        #expect(sum(piece[24..<44]) == 0xffff)  // a right IPv4 header checksum
        let sequence = piece[48..<52].reduce(UInt32(0)) { $0 << 8 | UInt32($1) }
        #expect(sequence == UInt32.max &- 511 &+ UInt32(payload.lowerBound))  // wraps
        #expect(Int(piece[57]) == flags)
        #expect(piece[1] == (range.count == 1 ? 0 : 1))
        let pseudo: [UInt8] = Array(piece[36..<44]) + [0, 6, UInt8((20 + payload.count) >> 8), UInt8((20 + payload.count) & 255)]
        #expect(Int(piece[60]) << 8 | Int(piece[61]) == sum(pseudo[...]))
    }

    private func sum(_ bytes: ArraySlice<UInt8>) -> Int {
        var total = 0
        for (place, byte) in bytes.enumerated() { total += place.isMultiple(of: 2) ? Int(byte) << 8 : Int(byte) }
        while total > 0xffff { total = (total & 0xffff) + (total >> 16) }
        return total
    }
}

extension Span<UInt8> {
    /// The same bytes, raw.
    var bytesForTest: RawSpan {
        @_lifetime(copy self) get { unsafe bytes }
    }
}
