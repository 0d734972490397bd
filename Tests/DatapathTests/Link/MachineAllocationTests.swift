import CAllocations
import Glibc
import Linux
import Testing
import Wire

@testable import Datapath

/// Frames from and to a virtual machine's socket take nothing from the heap, however much of them each call moves.
@Suite struct MachineAllocationTests {
    private static let types = [Int32(SOCK_STREAM.rawValue), Int32(SOCK_SEQPACKET.rawValue), Int32(SOCK_DGRAM.rawValue)]
    /// As a guest sends them: acknowledgements, datagrams, segments of a usual MTU and of a large one.
    private static let lengths = [60, 61, 1514, 90, 590, 1514, 14, 9014]

    /// What the link is told to send: frames lie in its slots once and for all.
    private struct Outgoing {
        let frame: Frame
        /// Frames that the machine sees of it.
        let count: Int
    }

    // MARK: From the machine

    /// Reads that end anywhere in a frame.
    @Test func framesOnAStream() throws {
        let pair = try MachinePair()
        let all = Array(repeating: Self.lengths, count: 8).flatMap { $0 } + [largestFrame]
        let stream = all.flatMap { onStream(patterned($0)) }
        var random = SeededRandom(41)
        var (taken, frames, position) = (0, 0, 0)
        for piece in 0..<1_000_000 where frames < AllocationLimit.frames {
            // The runtime makes the records of generic types on first use.
            if piece == 100 { (taken, frames) = (0, 0) }
            let end = min(position + 1 + random.below(random.perMille(300) ? 20 : 50_000), stream.count)
            pair.write(stream[position..<end])
            position = end == stream.count ? 0 : end
            allocations_begin()
            frames += pair.takeFrames()
            taken += Int(allocations_end())
        }
        #expect(frames >= AllocationLimit.frames)
        AllocationLimit.check(taken, of: frames, inDebug: 20)
    }

    /// A frame per message.
    @Test(arguments: types.dropFirst()) func framesInMessages(_ type: Int32) throws {
        let pair = try MachinePair(type: type)
        let messages = Self.lengths.map { patterned($0) }
        var (taken, frames) = (0, 0)
        for round in 0..<1_000_000 where frames < AllocationLimit.frames {
            if round == 10 { (taken, frames) = (0, 0) }
            for message in messages { pair.write(message[...]) }
            allocations_begin()
            let count = pair.takeFrames()
            taken += Int(allocations_end())
            guard count == messages.count else {
                Issue.record("\(count) frames in round \(round)")
                return
            }
            frames += count
        }
        AllocationLimit.check(taken, of: frames, inDebug: 20)
    }

    // MARK: To the machine

    /// Whole frames, whose checksums are completed, and super-frames, which are cut. The machine reads only when nothing more is taken, and then odd pieces.
    @Test(arguments: types) func framesToAMachine(_ type: Int32) throws {
        let pair = try MachinePair(type: type)
        let frames = Self.fill(pair)
        _ = Self.send(frames, to: pair, 2000)
        let stops = pair.figures.stops
        let (taken, sent) = Self.send(frames, to: pair, AllocationLimit.frames)
        #expect(sent >= AllocationLimit.frames)
        AllocationLimit.check(taken, of: sent, inDebug: 20)
        #expect(pair.figures.stops - stops > 10)
    }

    /// Puts a frame of each kind into a slot of its own, and sends it once.
    private static func fill(_ pair: MachinePair) -> [Outgoing] {
        let cutter = SegmentCutterTests()
        var frames: [Outgoing] = []
        for (kind, payload, size) in [
            (.tcp4, 6, 0), (.tcp6, 1440, 0), (.udp4, 1400, 0), (.tcp4, 65_000, 1448), (.tcp6, 65_000, 1428), (.udp4, 30_000, 1400), (.udp6, 5000, 536),
            (.tcp4, 65_000, 88),
        ] as [(SegmentCutterTests.Kind, Int, Int)] {
            let (bytes, offload) = cutter.make(kind, payload: patterned(payload), size: size)
            let slot = frames.count
            let verdict = pair.send(bytes, offload, slot: slot)
            #expect(verdict == .sent)
            pair.flush()
            _ = drain(pair)
            let frame = Frame(offset: slot * SlotLayout.size + linkHeadroom, length: bytes.count, offload: offload)
            frames.append(Outgoing(frame: frame, count: size == 0 ? 1 : (payload + size - 1) / size))
        }
        return frames
    }

    /// Sends by turns until the machine has been sent `most` frames. What that took, and how many there were.
    private static func send(_ frames: [Outgoing], to pair: MachinePair, _ most: Int) -> (taken: Int, sent: Int) {
        var (taken, sent) = (0, 0)
        for number in 0..<1_000_000 where sent < most {
            let next = frames[number % frames.count]
            allocations_begin()
            let verdict = pair.sendRaw(next.frame)
            if verdict != .sent || number % 3 == 2 { pair.flush() }
            taken += Int(allocations_end())
            switch verdict {
            case .sent: sent += next.count
            case .full: taken += drain(pair)
            case .refused, .closed:
                Issue.record("frame \(number) was refused")
                return (taken, sent)
            }
        }
        return (taken, sent)
    }

    /// The machine reads until the link has room again. What the link took from the heap.
    private static func drain(_ pair: MachinePair) -> Int {
        var taken = 0
        for _ in 0..<1_000_000 {
            _ = pair.read(7777)
            if pair.hasRoom { return taken }
            allocations_begin()
            _ = pair.attend(.output)
            taken += Int(allocations_end())
        }
        Issue.record("no room again")
        return taken
    }

    // MARK: Runs

    /// Bulk data whose memory is lent to the machine's socket, or copied where it cannot be.
    @Test(arguments: [true, false]) func segmentsThatAreLent(_ lendable: Bool) throws {
        let payload = 60_000, segments = 42
        let pair = try MachinePair.withRuns(lendable: lendable)
        // Each slot holds a run from here on; its headers are written anew each time that it is sent.
        for _ in 0..<LentSlots.count {
            let run = try #require(pair.sendRun(payload))
            #expect(run.verdict == .sent && run.segments.count == segments)
            pair.flush()
            _ = pair.read()
        }
        var (taken, sent) = (0, 0)
        for number in 0..<1_000_000 where sent < AllocationLimit.frames {
            if number == 100 { (taken, sent) = (0, 0) }
            allocations_begin()
            let slot = pair.reserveRun()
            taken += Int(allocations_end())
            guard let slot else {
                // All of them are lent.
                taken += Self.drain(pair)
                continue
            }
            allocations_begin()
            let verdict = pair.sendRaw(MachinePair.run(slot, payload))
            pair.flush()
            taken += Int(allocations_end())
            if verdict == .sent { sent += segments } else { taken += Self.drain(pair) }
        }
        #expect(sent >= AllocationLimit.frames && pair.lendsMemory)
        AllocationLimit.check(taken, of: sent, inDebug: 20)
    }
}

extension MachinePair {
    /// One round of a worker: how many frames the link has found.
    fileprivate func takeFrames() -> Int {
        batch.removeAll()
        return link.receive(into: &batch) ? batch.count : 0
    }

    fileprivate func reserveRun() -> Int? { link.reserveRun(1, &slots) }
}
