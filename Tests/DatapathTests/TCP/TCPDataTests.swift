import Testing
import Wire

@testable import Datapath
@testable import Linux

@Suite struct TCPDataTests {
    @Test func dataToTheHost() throws {
        var script = try TCPScript()
        script.open()
        script.guest("A", seq: 1, ack: 1, count: 1460)
        script.guest("PA", seq: 1461, ack: 1, count: 540)
        #expect(script.answer() == ["A 1:0 ack 2001"])
        #expect(script.tcp.sockets.all[0].taken == Array(Stream.fromGuest[0..<2000]))
        // The second half of this is new.
        script.guest("PA", seq: 1501, ack: 1, count: 1000)
        #expect(script.answer() == ["A 1:0 ack 2501"])
        #expect(script.tcp.sockets.all[0].taken == Array(Stream.fromGuest[0..<2500]))
    }

    @Test func dataToTheGuest() throws {
        var script = try TCPScript()
        script.open()
        script.arrive(10_000)
        script.runRound()
        let seen = script.takeSegments()
        #expect(seen.map(\.payload).flatMap { $0 } == Array(Stream.toGuest[0..<10_000]))
        #expect(seen.last!.flags.contains(.psh))
        #expect(seen.allSatisfy { $0.segmentSize == 1460 || $0.payload.count <= 1460 })
        script.guest("A", seq: 1, ack: 10_001)
        #expect(script.round().isEmpty)
        #expect(script.connection().retransmitAt == 0)
    }

    @Test func withoutSegmentationOffload() throws {
        var script = try TCPScript(offloads: [])
        script.open()
        script.arrive(4000)
        #expect(script.round() == ["A 1:1460 ack 1", "A 1461:1460 ack 1", "PA 2921:1080 ack 1"])
        script.guest("A", seq: 1, ack: 4001)
        #expect(script.round().isEmpty)
    }

    @Test func retransmissionTimes() throws {
        var script = try TCPScript()
        script.open()
        script.arrive(3000)
        _ = script.round()
        // One segment at a time, at 1, 3, 7 ... seconds, and 120 s at most between two.
        #expect(script.pass(31_000) == [1, 3, 7, 15, 31].map { "+\($0)000 PA 1:1460 ack 1" })
        #expect(script.pass(32_000) == ["+32000 PA 1:1460 ack 1"])
        #expect(script.pass(64_000) == ["+64000 PA 1:1460 ack 1"])
        #expect(script.pass(240_000) == ["+120000 PA 1:1460 ack 1", "+240000 PA 1:1460 ack 1"])
        // An answer brings everything back to normal.
        script.guest("A", seq: 1, ack: 1461)
        #expect(script.round() == ["PA 1461:1540 ack 1"])
        #expect(script.pass(1000) == ["+1000 PA 1461:1460 ack 1"])
        script.guest("A", seq: 1, ack: 3001)
        #expect(script.pass(60_000).isEmpty)
    }

    @Test func guestThatNeverAnswersIsGivenUp() throws {
        var script = try TCPScript()
        script.open()
        script.arrive(100)
        _ = script.round()
        let sent = script.pass(3_600_000)
        #expect(sent.count == 16 && sent.last!.hasSuffix("RA 101:0 ack 1"))
        #expect(script.tcp.sockets.all[0].isAborted)
        script.expectEmpty()
    }

    @Test func fastRetransmitAndPartialAcknowledgements() throws {
        var script = try TCPScript(offloads: [])
        script.open()
        script.arrive(14_600)
        // A turn ends after eight frames.
        script.runRound()
        script.runRound()
        #expect(script.takeSegments().count == 10)
        // Segments 1 and 4 were lost.
        for _ in 0..<2 { script.guest("A", seq: 1, ack: 1, window: 511) }
        #expect(script.round().isEmpty)
        script.guest("A", seq: 1, ack: 1, window: 511)
        #expect(script.round() == ["PA 1:1460 ack 1"])
        for _ in 0..<5 { script.guest("A", seq: 1, ack: 1, window: 511) }
        #expect(script.round().isEmpty)
        script.guest("A", seq: 1, ack: 4381, window: 511)
        #expect(script.round() == ["PA 4381:1460 ack 1"])
        script.guest("A", seq: 1, ack: 14_601, window: 511)
        #expect(script.round().isEmpty)
        #expect(!script.connection().events.contains(.recovering))
        #expect(script.pass(10_000).isEmpty)
    }

    @Test func fastRetransmitStaysInsideTheWindow() throws {
        var script = try TCPScript()
        script.open()
        script.arrive(14_600)
        _ = script.round()
        for _ in 0..<3 { script.guest("A", seq: 1, ack: 1, window: 511) }
        // In the same batch, the guest closes its window.
        script.guest("A", seq: 1, ack: 1, window: 0)
        #expect(script.round().isEmpty)
        script.guest("A", seq: 1, ack: 1, window: 3)
        let sent = script.pass(2000)
        #expect(sent.count > 0 && sent.allSatisfy { $0.hasSuffix("1:384 ack 1") })
    }

    @Test func challengeAcknowledgements() throws {
        var script = try TCPScript()
        script.open()
        script.guest("A", seq: 1, ack: 5)  // Never sent.
        #expect(script.round() == ["A 1:0 ack 1"])
        script.guest("S", seq: 50)
        #expect(script.round() == ["A 1:0 ack 1"])
        script.guest("R", seq: 50)
        #expect(script.round() == ["A 1:0 ack 1"])
        script.guest("R", seq: -50)
        #expect(script.round().isEmpty)
        // The right edge of the window itself: a guest that has filled the window and goes away.
        let edge = script.connection().windowEdge - SequenceNumber(script.guestStart)
        script.guest("R", seq: edge)
        #expect(script.round() == ["A 1:0 ack 1"])
        script.guest("R", seq: edge + 1)
        #expect(script.round().isEmpty)
        script.guest("PA", seq: 5000, ack: 1, count: 10)  // What precedes it is missing.
        #expect(script.round() == ["A 1:0 ack 1"])
        #expect(script.port.counters[.tcpOutOfOrder] == 1)
        #expect(script.tcp.table.count == 1 && script.tcp.sockets.all[0].taken.isEmpty)
    }

    /// What acknowledges less than any window reaches back to was made up by somebody else (RFC 5961, section 5.2).
    @Test func dataWithAVeryOldAcknowledgementIsNotTaken() throws {
        var script = try TCPScript()
        script.open(scale: 7)  // 8 388 480 bytes.
        script.guest("PA", seq: 1, ack: -9_000_000, count: 100)
        #expect(script.round() == ["A 1:0 ack 1"])
        #expect(script.tcp.sockets.all[0].taken.isEmpty)
        // Only late.
        script.guest("PA", seq: 1, ack: -8_000_000, count: 100)
        #expect(script.answer() == ["A 1:0 ack 101"])
        #expect(script.tcp.sockets.all[0].taken == Array(Stream.fromGuest[0..<100]))
    }

    @Test func farPathIsMirrored() throws {
        var script = try TCPScript { $0.roundTrip = 50_000 }
        script.open()
        script.guest("PA", seq: 1, ack: 1, count: 1000)
        #expect(script.round().isEmpty)
        #expect(script.pass(49).isEmpty)
        script.tcp.sockets.drain(0, 600)
        #expect(script.pass(4).map { $0.split(separator: " ", maxSplits: 1)[1] } == ["A 1:0 ack 601"])
        script.tcp.sockets.drain(0)
        #expect(script.pass(4).map { $0.split(separator: " ", maxSplits: 1)[1] } == ["A 1:0 ack 1001"])
        #expect(script.pass(1000).isEmpty && script.lastSteps < 20)
    }

    @Test func farPathWithoutWindowScaleDoesNotRepeatItself() throws {
        var script = try TCPScript { $0.roundTrip = 50_000; $0.sendLimit = 4 << 20 }
        script.open(scale: nil)
        var sent = 0
        for start in stride(from: 0, to: 58_400, by: 1460) {
            script.guest("A", seq: 1 + start, ack: 1, count: 1460)
            sent += script.round().count
        }
        // Windows, as the socket's buffer is found to be larger; three equal ones would be taken for a loss.
        #expect(sent <= 3)
    }

    @Test func olderKernels() throws {
        var script = try TCPScript { $0.roundTrip = 50_000; $0.hasBytesAcknowledged = false; $0.hasMemoryInfo = false }
        script.open()
        script.guest("PA", seq: 1, ack: 1, count: 1000)
        #expect(script.answer() == ["A 1:0 ack 1001"])
        for start in stride(from: 1000, to: 200_000, by: 1000) {
            script.guest("A", seq: 1 + start, ack: 1, count: 1000)
            _ = script.round()
            #expect(script.connection().windowEdge - script.connection().expected > 16_000)
        }
    }

    @Test func withoutPeekOffset() throws {
        var script = try TCPScript { $0.hasPeekOffset = false }
        script.open()
        script.arrive(2000)
        #expect(script.round() == ["PA 1:2000 ack 1"])
        // An event without news, while all of the queue is in flight: no end of the stream.
        script.tcp.sockets.notify(0)
        #expect(script.round().isEmpty)
        script.arrive(500)
        #expect(script.round() == ["PA 2001:500 ack 1"])
        script.guest("A", seq: 1, ack: 2001)
        #expect(script.round().isEmpty)
        #expect(script.pass(1000) == ["+600 PA 2001:500 ack 1"])
        script.tcp.sockets.end(0)
        let end = script.round()
        #expect(end.count == 1 && end[0].hasPrefix("FA 2501:0") || end[0].hasPrefix("FPA 2001:500"))
    }

    @Test func halfAnInitialWindowOfManyFramesIsOneBurst() throws {
        var script = try TCPScript()
        script.open(window: 65535, scale: 14)
        script.guest("A", seq: 1, ack: 1, window: 500)  // 8 MB
        script.arrive(2 << 20 - 1)
        // More than one turn's budget: nothing is forgotten, whatever else happens in the round.
        script.guest("PA", seq: 1, ack: 1, count: 10)
        var total = 0
        for _ in 0..<9 {
            script.runRound()
            total += script.takeSegments().reduce(0) { $0 + $1.payload.count }
        }
        #expect(total == script.tcp.sockets.all[0].arrived.count)
    }

    @Test func clockOfManyDaysDoesNotSpin() throws {
        for start in [Int64(1) << 32 - 500, Int64(1) << 32 + 5, Int64(1) << 33] {
            var script = try TCPScript(start: start)
            script.open()
            script.guest("PA", seq: 1, ack: 1, count: 10)
            _ = script.round()
            #expect(script.pass(60_000).count <= 1)
            #expect(script.lastSteps < 40)
        }
    }
}
