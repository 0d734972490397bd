import Linux
import Testing
import Wire

@testable import Datapath

/// Bulk data whose memory is lent to the machine's socket: what the machine reads is what was sent, whenever it reads.
@Suite struct MachineRunsTests {
    private func payloads(_ stream: [UInt8]) -> [[UInt8]] {
        frames(of: stream).map { frame in
            let seen = SentFrame(bytes: frame, offload: VirtioNetHeader())
            #expect(seen.l4Sum == 0xffff)
            #expect(SentFrame.sum(Array(frame[14..<34])) == 0xffff)
            return Array(frame[54...])
        }
    }

    /// The machine reads nothing until the link has no room, then odd pieces, then everything, for several laps of the slots.
    /// With short runs it is the slots that are used up, with long ones the socket.
    @Test(arguments: [true, false], [(56000, 1460), (56000, 536), (65464, 65464), (17000, 1460)])
    func theMachineReadsWhatWasSent(_ lendable: Bool, _ run: (payload: Int, size: Int)) throws {
        let (payload, size) = run
        let pair = try MachinePair.withRuns(lendable: lendable)
        var expected: [[UInt8]] = []
        var stream: [UInt8] = []
        var fullOnes = 0
        for round in 0..<((payload < 20_000 ? 5 : 2) * LentSlots.count) {
            while true {
                if let sent = pair.sendRun(payload, size: size) {
                    if sent.verdict == .sent {
                        expected += sent.segments
                        break
                    }
                    #expect(sent.verdict == .full)
                }
                fullOnes += 1
                // As the translator: nothing more until there is room.
                pair.flush()
                var hasRoom = false
                while !hasRoom {
                    stream += pair.read(77_777)
                    hasRoom = pair.attend(.output).contains(.room)
                }
            }
            if round % 3 == 0 { pair.flush() }
        }
        pair.flush()
        while true {
            let piece = pair.read(1 << 20)
            stream += piece
            if piece.isEmpty, !pair.hasRoom { _ = pair.attend(.output) } else if piece.isEmpty { break }
        }
        #expect(fullOnes > 0)
        let isWhole = payloads(stream) == expected
        #expect(isWhole)
    }

    /// No frame is shorter than Ethernet's shortest, whether its memory is lent or it is cut on the way (lesson 42).
    @Test(arguments: [true, false]) func lesson42_aShortLastSegmentIsPadded(_ lends: Bool) throws {
        let pair = try MachinePair.withRuns()
        for payload in [2 * 1460 + 1, 20 * 1460 + 5, 20 * 1460 + 6] {
            let segments: [[UInt8]]
            if lends {
                let sent = try #require(pair.sendRun(payload))
                segments = sent.segments
            } else {
                segments = pair.sendWhole(payload)
            }
            pair.flush()
            let seen = frames(of: pair.read(1 << 20))
            #expect(seen.map(\.count) == segments.map { max($0.count + 54, 60) })
            for (frame, segment) in zip(seen, segments) {
                #expect(Array(frame[54..<(54 + segment.count)]) == segment)
                #expect(frame.dropFirst(54 + segment.count).allSatisfy { $0 == 0 })
                #expect(SentFrame(bytes: Array(frame.prefix(54 + segment.count)), offload: VirtioNetHeader()).l4Sum == 0xffff)
            }
        }
    }

    /// The kernel does not take more into account than what is unread.
    @Test func whatIsReadIsFree() throws {
        let pair = try MachinePair.withRuns()
        for _ in 0..<(4 * LentSlots.count) {
            let sent = try #require(pair.sendRun(60000))
            #expect(sent.verdict == .sent)
            pair.flush()
            #expect(payloads(pair.read(1 << 20)) == sent.segments)
        }
        #expect(pair.figures.stops == 0)
        #expect(pair.lendsMemory)
        // One call for each, and it was the lending one.
        #expect(pair.figures.batchesToGuest == 4 * LentSlots.count)
        #expect(pair.written > 4 * LentSlots.count * 60000)
    }

    /// Little is copied, and leaves with whatever else the round has.
    @Test func littleIsCopied() throws {
        let pair = try MachinePair.withRuns()
        for _ in 0..<(2 * LentSlots.count) {
            let first = try #require(pair.sendRun(3000))
            let second = try #require(pair.sendRun(100))
            #expect(pair.read(1 << 20).isEmpty)
            pair.flush()
            #expect(payloads(pair.read(1 << 20)) == first.segments + second.segments)
        }
        #expect(pair.figures.batchesToGuest == 2 * LentSlots.count)
    }

    /// More runs in one round than there are slots: what was copied from them is sent before they are used again.
    @Test func aRoundMayNeedAllSlotsTwice() throws {
        let pair = try MachinePair.withRuns()
        var expected: [[UInt8]] = []
        for _ in 0..<(2 * LentSlots.count + 1) { expected += try #require(pair.sendRun(100)).segments }
        pair.flush()
        #expect(payloads(pair.read(1 << 20)) == expected)
    }

    /// A kernel that refuses to lend is asked once; nothing is lost.
    @Test func aKernelThatDoesNotLend() throws {
        let pair = try MachinePair(slots: UnlendableMemory.make(MachinePair.runBytes))
        #expect(pair.lendsMemory)
        for round in 0..<3 {
            let sent = try #require(pair.sendRun(60000))
            #expect(sent.verdict == .sent)
            pair.flush()
            #expect(payloads(pair.read(1 << 20)) == sent.segments)
            #expect(!pair.lendsMemory)
            #expect(pair.figures.batchesToGuest == 2 + round)
        }
    }

    /// What the last machine did not read stays what it was; what the next one is sent lies elsewhere.
    @Test func aMachineThatIsGoneSeesNothingOfTheNext() throws {
        let pair = try MachinePair.withRuns()
        let sent = try #require(pair.sendRun(60000))
        pair.flush()
        pair.slots.discardPages()
        for position in [0, SlotLayout.runs, SlotLayout.runs + 1000, MachinePair.runBytes - 1] { #expect(pair.byte(position) == 0) }
        pair.fill(SlotLayout.runs..<(SlotLayout.runs + SlotLayout.runSize), with: 0xee)
        #expect(payloads(pair.read(1 << 20)) == sent.segments)
    }

    @Test func whatIsNoRunIsRefused() throws {
        let pair = try MachinePair.withRuns()
        let slot = SlotLayout.runs + linkHeadroom
        var offload = VirtioNetHeader(checksumStart: 34, checksumOffset: 16)
        offload.segmentation = .tcp4
        offload.segmentSize = 1460
        // No headers at all, and then a gap without room for them.
        #expect(pair.sendRaw(Frame(offset: slot, length: 4000, offload: offload, gap: 58)) == .refused)
        _ = pair.sendRun(100)
        pair.fill(slot + 46..<slot + 47, with: 0x50)
        for gap in [1, 54, 57, 59, 1000] as [UInt16] {
            #expect(pair.sendRaw(Frame(offset: slot, length: 4000, offload: offload, gap: gap)) == .refused, "\(gap)")
        }
    }
}

/// What was put into a run, and what the link said to it.
struct SentRun {
    var segments: [[UInt8]] = []
    var verdict = LinkVerdict.sent
}

extension MachinePair {
    /// Slots as a `GuestPort` has them for links with runs.
    static var runBytes: Int { SlotLayout.runs + LentSlots.count * SlotLayout.runSize }

    static func withRuns(lendable: Bool = true) throws -> MachinePair {
        try MachinePair(slots: lendable ? Mapping(lendable: runBytes) : Mapping(byteCount: runBytes))
    }

    /// Sends a run of `payload` bytes in segments of `size`; nil when the link had no slot.
    func sendRun(_ payload: Int, size: Int = 1460) -> SentRun? {
            guard let slot = link.reserveRun(1, &slots) else { return nil }
            let gap = StreamFraming.prefix + 54
            let start = SlotLayout.runs + slot * SlotLayout.runSize
            let frame = start + linkHeadroom
            var segments: [[UInt8]] = []
            var bytes = slots.mutableBytes
            EthernetHeader(destination: MACAddress(1), source: MACAddress(2), type: .ipv4).write(to: &bytes, at: frame)
            let address = IPv4Address("192.0.2.1")!
            IPv4Header(source: address, destination: address, proto: .tcp, payloadLength: payload + 20).write(to: &bytes, at: frame + 14)
            var header = TCPHeader(
                sourcePort: 80, destinationPort: 4711, sequence: SequenceNumber(UInt32(truncatingIfNeeded: runs)), acknowledgment: SequenceNumber(7),
                flags: [.ack, .psh], window: 99)
            header.checksum = Checksum.pseudoHeader(address, address, .tcp, length: payload + 20)
            header.write(to: &bytes, at: frame + 34)
            var (left, position) = (payload, frame + 54)
            while left > 0 {
                runs += 1
                let segment = patterned(min(left, size), seed: runs)
                for (index, byte) in segment.enumerated() { bytes.store(byte, at: position + index) }
                segments.append(segment)
                left -= segment.count
                position += segment.count + gap
            }
            return SentRun(segments: segments, verdict: sendRaw(MachinePair.run(slot, payload, size: size)))
    }

    /// The frame of a run that lies in `slot`.
    static func run(_ slot: Int, _ payload: Int, size: Int = 1460) -> Frame {
        let count = (payload + size - 1) / size
        let gap = count > 1 ? StreamFraming.prefix + 54 : 0
        var offload = VirtioNetHeader(checksumStart: 34, checksumOffset: TCPHeader.checksumOffset)
        if count > 1 {
            offload.segmentation = .tcp4
            offload.segmentSize = UInt16(size)
        }
        return Frame(
            offset: SlotLayout.runs + slot * SlotLayout.runSize + linkHeadroom, length: 54 + payload + (count - 1) * gap, offload: offload,
            gap: UInt16(gap))
    }

    /// The same as one super-frame; its segments.
    func sendWhole(_ payload: Int, size: Int = 1460) -> [[UInt8]] {
        let frame = linkHeadroom
        let address = IPv4Address("192.0.2.1")!
        var bytes = slots.mutableBytes
        EthernetHeader(destination: MACAddress(1), source: MACAddress(2), type: .ipv4).write(to: &bytes, at: frame)
        IPv4Header(source: address, destination: address, proto: .tcp, payloadLength: payload + 20).write(to: &bytes, at: frame + 14)
        var header = TCPHeader(
            sourcePort: 80, destinationPort: 4711, sequence: SequenceNumber(1), acknowledgment: SequenceNumber(7), flags: [.ack, .psh], window: 99)
        header.checksum = Checksum.pseudoHeader(address, address, .tcp, length: payload + 20)
        header.write(to: &bytes, at: frame + 34)
        let content = patterned(payload)
        for (index, byte) in content.enumerated() { bytes.store(byte, at: frame + 54 + index) }
        var offload = VirtioNetHeader(checksumStart: 34, checksumOffset: TCPHeader.checksumOffset)
        offload.segmentation = .tcp4
        offload.segmentSize = UInt16(size)
        let verdict = link.send(Frame(offset: frame, length: 54 + payload, offload: offload), in: &slots)
        #expect(verdict == .sent)
        return stride(from: 0, to: payload, by: size).map { Array(content[$0..<min($0 + size, payload)]) }
    }

    func sendRaw(_ frame: Frame) -> LinkVerdict { link.send(frame, in: &slots) }
    var written: Int { link.lent.written }
    var lendsMemory: Bool { link.lendsMemory }
    func byte(_ position: Int) -> UInt8 { MachinePair.byte(position, of: slots) }
    func fill(_ range: Range<Int>, with value: UInt8) { MachinePair.fill(range, of: &slots, with: value) }

    private static func byte(_ position: Int, of slots: borrowing Mapping) -> UInt8 { slots.bytes.uint8(at: position) }

    private static func fill(_ range: Range<Int>, of slots: inout Mapping, with value: UInt8) {
        var bytes = slots.mutableBytes
        for position in range { bytes.store(value, at: position) }
    }
}
