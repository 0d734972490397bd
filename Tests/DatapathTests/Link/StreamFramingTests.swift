import Glibc
import Linux
import Testing
import Wire

@testable import Datapath

@Suite struct StreamFramingTests {
    /// Whatever a read brings, the same frames come out: every way to cut this stream in two.
    @Test func lesson40_framesSurviveEverySplit() throws {
        let sent = [patterned(14), patterned(60, seed: 2), patterned(15, seed: 3), patterned(301, seed: 4)]
        let stream = sent.flatMap(onStream)
        for split in 0...stream.count {
            let pair = try MachinePair()
            pair.write(stream[..<split])
            let first = pair.receive()
            pair.write(stream[split...])
            let second = pair.receive()
            #expect(first.isOpen && second.isOpen && first.frames + second.frames == sent, "split at \(split)")
        }
    }

    @Test func lesson40_framesSurviveByteByByte() throws {
        let sent = [patterned(14), patterned(61, seed: 2), patterned(100, seed: 3)]
        let pair = try MachinePair()
        var got: [[UInt8]] = []
        for byte in sent.flatMap(onStream) {
            pair.write([byte])
            let round = pair.receive()
            #expect(round.isOpen)
            got += round.frames
        }
        #expect(got == sent)
    }

    /// The largest frames, whose end never fits the read that brought their beginning (lesson 40: room for a largest frame).
    @Test func lesson40_theLargestFramesPass() throws {
        let pair = try MachinePair()
        let sent = (0..<6).map { patterned(largestFrame, seed: $0) }
        var stream = sent.flatMap(onStream)[...]
        var got: [[UInt8]] = []
        while got.count < sent.count {
            let piece = stream.prefix(50_001)
            stream = stream.dropFirst(piece.count)
            pair.write(piece)
            let round = pair.receive()
            #expect(round.isOpen)
            got += round.frames
            if piece.isEmpty, round.frames.isEmpty { break }
        }
        let isWhole = got == sent
        #expect(isWhole)
    }

    /// As many as possible in one read.
    @Test func aReadFullOfTheSmallestFramesIsOneBatch() throws {
        let pair = try MachinePair()
        let frame = onStream(patterned(14))
        let count = 6000
        pair.write(Array(repeating: frame, count: count).flatMap { $0 }[...])
        var got = 0
        while true {
            let round = pair.receive()
            if round.frames.isEmpty { break }
            got += round.frames.count
        }
        #expect(got == count)
        #expect(pair.figures.batchesFromGuest == 1)
    }

    @Test(arguments: [0, 1, 13, StreamFraming.longest + 1, 1 << 24, 0x7fff_ffff, 0xffff_ffff])
    func lesson40_aBadLengthEndsTheConnection(_ length: Int) throws {
        let pair = try MachinePair()
        let bad = [24, 16, 8, 0].map { UInt8(truncatingIfNeeded: length >> $0) }
        pair.write((onStream(patterned(60)) + bad + patterned(100))[...])
        let round = pair.receive()
        #expect(round.frames == [patterned(60)])
        #expect(!round.isOpen)
        #expect(pair.notice() == .brokeFraming)
        #expect(pair.notice() == nil)
    }

    /// As QEMU passes on of a guest with a VLAN and the largest MTU.
    @Test(arguments: [largestFrame + 1, StreamFraming.longest])
    func whatIsTooLongForIPIsPassedOver(_ length: Int) throws {
        let pair = try MachinePair()
        pair.write((onStream(patterned(60)) + onStream(patterned(length)) + onStream(patterned(100)))[...])
        var frames: [[UInt8]] = []
        for _ in 0..<3 where frames.count < 2 {
            let round = pair.receive()
            #expect(round.isOpen)
            frames += round.frames
        }
        #expect(frames == [patterned(60), patterned(100)])
        #expect(pair.figures.unusableFrames == 1 && pair.notice() == nil)
    }

    @Test func theParserAgreesAtEveryEnd() {
        let stream = onStream(patterned(20)) + onStream(patterned(14))
        for end in 0...stream.count {
            // SAFETY: bytes may be read as bytes.
            let bytes = unsafe stream.span.bytes
            #expect(StreamFraming.piece(bytes, at: 0, end: end) == (end < 24 ? .incomplete : .frame(offset: 4, length: 20)))
            guard end >= 24 else { continue }
            #expect(StreamFraming.piece(bytes, at: 24, end: end) == (end < 42 ? .incomplete : .frame(offset: 28, length: 14)))
        }
    }

    @Test func theEndOfTheStreamIsTheGuestsEnd() throws {
        let pair = try MachinePair()
        pair.write((onStream(patterned(60)) + [0, 0])[...])
        #expect(pair.receive().isOpen)
        _ = shutdown(pair.machine, Int32(SHUT_RDWR))
        #expect(!pair.receive().isOpen)
        #expect(!pair.awaitAnother())
        #expect(pair.notice() == .left)
        #expect(pair.receive().isOpen)
        #expect(pair.send(patterned(60)) == .refused)
    }

    // MARK: To the guest

    @Test func framesOfARoundLeaveTogether() throws {
        let pair = try MachinePair()
        let sent = (0..<8).map { patterned(60 + $0, seed: $0) }
        for (slot, frame) in sent.enumerated() { #expect(pair.send(frame, slot: slot) == .sent) }
        #expect(pair.read().isEmpty)
        pair.flush()
        #expect(frames(of: pair.read()) == sent)
        #expect(pair.figures.batchesToGuest == 1)
    }

    /// A bulk transfer keeps the socket full, and datagrams still have their turn; large frames wait.
    @Test func lesson41_datagramsGoBehindALittleBacklog() throws {
        let pair = try MachinePair()
        var accepted: [[UInt8]] = []
        while accepted.count < 1000 {
            let frame = patterned(40_000, seed: accepted.count)
            guard pair.send(frame) == .sent else { break }
            accepted.append(frame)
            pair.flush()
        }
        #expect(accepted.count < 1000 && !pair.hasRoom)
        var datagrams = 0
        while datagrams < 1000 {
            let frame = patterned(1442, seed: datagrams)
            guard pair.send(frame) == .sent else { break }
            accepted.append(frame)
            datagrams += 1
            pair.flush()
        }
        #expect((100...190).contains(datagrams), "\(datagrams)")
        #expect(pair.send(patterned(2049)) == .full)
        var stream: [UInt8] = []
        while !pair.hasRoom {
            stream += pair.read()
            _ = pair.attend(.output)
        }
        stream += pair.read()
        let isWhole = frames(of: stream) == accepted
        #expect(isWhole)
    }

    /// A lack of memory is not the end of a machine, whose stream must go on where it stopped.
    @Test(arguments: [(11, true), (12, true), (105, true), (32, false), (104, false)])
    func whatPasses(_ code: Int, _ passes: Bool) { #expect(MachineLink.isPassing(Outcome(-code)) == passes) }

    /// A guest that does not read: what was accepted comes whole and in order once it does, wherever its socket got full; nothing blocks.
    @Test(arguments: [60, 1514, 9014, 65549])
    func lesson41_aFullSocketTearsNoFrame(_ length: Int) throws {
        let pair = try MachinePair()
        var accepted: [[UInt8]] = []
        var isFull = false
        for number in 0..<20_000 where !isFull {
            let frame = patterned(length, seed: number)
            switch pair.send(frame, slot: 0) {
            case .sent: accepted.append(frame)
            case .full: isFull = true
            default: Issue.record("neither sent nor full")
            }
            pair.flush()
        }
        #expect(isFull)
        #expect(!pair.hasRoom)
        let first = pair.read(77)
        var stream = first
        while true {
            let event = pair.attend(.output)
            let more = pair.read()
            stream += more
            if event.contains(.room) { break }
        }
        stream += pair.read()
        let isWhole = frames(of: stream) == accepted
        #expect(isWhole)
        #expect(pair.hasRoom)
        // And on it goes.
        #expect(pair.send(patterned(100)) == .sent)
        pair.flush()
        #expect(frames(of: pair.read()) == [patterned(100)])
    }

    /// While large frames have to wait, what the guest must hear to go on does not get lost.
    @Test func smallFramesStillGoBehindABacklog() throws {
        let pair = try MachinePair()
        var count = 0
        while pair.send(patterned(65549)) == .sent {
            pair.flush()
            count += 1
        }
        #expect(pair.send(patterned(65549)) == .full)
        #expect(pair.send(patterned(60)) == .sent)
        pair.flush()
        var stream = pair.read()
        while !pair.attend(.output).contains(.room) { stream += pair.read() }
        stream += pair.read()
        let got = frames(of: stream)
        #expect(got.count == count + 1 && got.last == patterned(60))
    }
}
