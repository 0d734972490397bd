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

    @Test func zeroWindowIsProbedForEver() throws {
        var script = try TCPScript()
        script.open()
        script.guest("A", seq: 1, ack: 1, window: 0)
        script.arrive(100)
        #expect(script.round().isEmpty)
        var probes = 0
        for _ in 0..<100 {
            let sent = script.pass(120_000)
            probes += sent.count
            #expect(sent.allSatisfy { $0.hasSuffix("PA 1:1 ack 1") || $0.hasSuffix(" A 1:1 ack 1") })
            // The guest answers each probe: it lives.
            if !sent.isEmpty { script.guest("A", seq: 1, ack: 1, window: 0) }
        }
        #expect(probes > 90)
        try #require(script.tcp.table.count == 1)
        script.guest("A", seq: 1, ack: 1, window: 511)
        #expect(script.round() == ["PA 1:100 ack 1"])
        // And its loss is repaired in a second, not in two minutes.
        #expect(script.pass(1000) == ["+1000 PA 1:100 ack 1"])
    }

    @Test func probeThatIsTaken() throws {
        var script = try TCPScript()
        script.open()
        script.guest("A", seq: 1, ack: 1, window: 0)
        script.arrive(3)
        #expect(script.round().isEmpty)
        #expect(script.pass(1000) == ["+1000 PA 1:1 ack 1"])
        script.guest("A", seq: 1, ack: 2, window: 0)
        #expect(script.round().isEmpty)
        #expect(script.pass(1000) == ["+1000 PA 2:1 ack 1"])
        script.guest("A", seq: 1, ack: 3, window: 511)
        #expect(script.round() == ["PA 3:1 ack 1"])
        script.guest("A", seq: 1, ack: 4, window: 511)
        #expect(script.pass(10_000).isEmpty)
    }

    /// A guest that reads only once it has written opens its window only when it hears that its own data has arrived: an acknowledgement with the number
    /// behind the probe would be outside its window, and be dropped.
    @Test func lesson51_acknowledgementsAfterAProbeAreInsideTheWindow() throws {
        var script = try TCPScript()
        script.open()
        script.guest("A", seq: 1, ack: 1, window: 0)
        script.arrive(100)
        #expect(script.round().isEmpty)
        #expect(script.pass(1000) == ["+1000 PA 1:1 ack 1"])
        script.guest("A", seq: 1, ack: 1, window: 0)
        script.guest("PA", seq: 1, ack: 1, count: 10, window: 0)
        #expect(script.round() + script.pass(3) == ["+2 A 1:0 ack 11"])
        // What it sends again was not heard of.
        script.guest("PA", seq: 1, ack: 1, count: 10, window: 0)
        #expect(script.round() == ["A 1:0 ack 11"])
    }

    /// What drops a probe drops its acknowledgement, too.
    @Test func aProbeAcknowledgesNothing() throws {
        var script = try TCPScript()
        script.open()
        script.guest("A", seq: 1, ack: 1, window: 0)
        script.arrive(100)
        #expect(script.round().isEmpty)
        #expect(script.pass(999).isEmpty)
        script.guest("PA", seq: 1, ack: 1, count: 10, window: 0)
        #expect(script.round().isEmpty)
        #expect(script.pass(1) == ["+1 PA 1:1 ack 11", "+1 A 1:0 ack 11"])
    }

    /// A connection that has come from another host with a closed window and a probe under way has no timer of its own yet.
    @Test func aProbeUnderWayIsRepeatedWithoutATimer() throws {
        var script = try TCPScript()
        script.open()
        script.guest("A", seq: 1, ack: 1, window: 0)
        script.arrive(100)
        #expect(script.round().isEmpty)
        #expect(script.pass(1000) == ["+1000 PA 1:1 ack 1"])
        let found = script.tcp.table.find(TCPScript.key())
        let index = try #require(found)
        script.tcp.table[index].retransmitAt = 0
        script.tcp.timers.cancel(index)
        script.guest("A", seq: 1, ack: 1, window: 0)
        #expect(script.round().isEmpty)
        #expect(script.pass(10_000).contains { $0.hasSuffix("PA 1:1 ack 1") })
    }

    /// The socket is nearly full, and looked at seldom: what fits is acknowledged in the usual time.
    @Test func anAcknowledgementDoesNotWaitForALookForRoom() throws {
        var script = try TCPScript { $0.sendLimit = 40_000 }
        script.open()
        var sent = 0
        while script.connection().windowEdge - script.connection().expected > 600 {
            let count = min(script.connection().windowEdge - script.connection().expected - 500, 1460)
            script.guest("A", seq: 1 + sent, ack: 1, count: count)
            sent += count
            _ = script.round() + script.pass(5)
        }
        _ = script.pass(5000)
        let found = script.tcp.table.find(TCPScript.key())
        let index = try #require(found)
        script.tcp.table[index].events.insert(.interactive)
        let due = script.connection().acknowledgeAt - script.now
        try #require(due > 100, "\(due)")
        script.guest("PA", seq: 1 + sent, ack: 1, count: 100)
        #expect((script.round() + script.pass(3)).contains { $0.hasSuffix("ack \(sent + 101)") })
    }

    /// A window that was taken back: what says nothing new still has to be inside it.
    @Test func acknowledgementsAreInsideAWindowThatShrank() throws {
        var script = try TCPScript()
        script.open()
        script.arrive(1000)
        #expect(script.round() == ["PA 1:1000 ack 1"])
        script.guest("PA", seq: 1, ack: 1, count: 10, window: 1)
        #expect(script.round() + script.pass(3) == ["+2 A 129:0 ack 11"])
    }

    @Test func closedWindowWithNothingToSendIsLeftAlone() throws {
        var script = try TCPScript()
        script.open(window: 2560)
        script.arrive(2560)
        #expect(script.round().count > 0)
        script.guest("A", seq: 1, ack: 2561, window: 0)
        #expect(script.round().isEmpty)
        // No window, no data: no probes, and the connection lives on.
        #expect(script.pass(3_000_000).isEmpty)
        #expect(script.lastSteps < 10)
        #expect(script.tcp.table.count == 1)
    }

    @Test func endOfStreamIntoAClosedWindow() throws {
        var script = try TCPScript()
        script.open(window: 2560)
        script.arrive(2560)
        _ = script.round()
        script.guest("A", seq: 1, ack: 2561, window: 0)
        _ = script.round()
        script.tcp.sockets.end(0)
        let sent = script.round() + script.pass(1000)
        #expect(sent.last!.hasSuffix("FA 2561:0 ack 1"))
        script.guest("A", seq: 1, ack: 2562, window: 0)
        #expect(script.pass(100_000).isEmpty)
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

    @Test func partialSendIsRepairedAtOnce() throws {
        var script = try TCPScript { $0.sendLimit = 40_000 }
        script.open()
        script.tcp.sockets.all[0].sendLimit = 2000  // Less than was told.
        for start in [0, 1460, 2920] { script.guest("A", seq: 1 + start, ack: 1, count: 1460) }
        #expect(script.answer() == ["A 1:0 ack 2001"])
        #expect(script.port.counters[.tcpPartialSends] == 1)
        // More is not taken meanwhile, and each round says so.
        script.guest("A", seq: 4381, ack: 1, count: 1460)
        #expect(script.answer() == ["A 1:0 ack 2001"])
        script.tcp.sockets.all[0].sendLimit = 40_000
        script.tcp.sockets.drain(0, 1500)
        let sent = script.round()
        // The first opens the window, three equal ones follow.
        #expect(sent.count >= 4 && sent.allSatisfy { $0 == "A 1:0 ack 2001" })
        for start in [2000, 3460, 4920] { script.guest("A", seq: 1 + start, ack: 1, count: start == 4920 ? 920 : 1460) }
        _ = script.round()
        #expect(script.tcp.sockets.all[0].taken == Array(Stream.fromGuest[0..<5840]))
    }

    @Test func nothingTakenAtAll() throws {
        var script = try TCPScript { $0.sendLimit = 40_000 }
        script.open()
        script.tcp.sockets.all[0].sendLimit = 0
        script.guest("FPA", seq: 1, ack: 1, count: 1000)
        #expect(script.round() == ["A 1:0 ack 1"])
        #expect(!script.tcp.sockets.all[0].isFinished)
        script.tcp.sockets.all[0].sendLimit = 40_000
        script.tcp.sockets.drain(0)
        _ = script.round()
        script.guest("FPA", seq: 1, ack: 1, count: 1000)
        #expect(script.answer() == ["A 1:0 ack 1002"])
        #expect(script.tcp.sockets.all[0].isFinished)
    }

    @Test func windowFollowsTheSocketAndIsTold() throws {
        var script = try TCPScript { $0.sendLimit = 40_000 }
        script.open()
        var acknowledged = 1
        for _ in 0..<20 {
            script.guest("A", seq: acknowledged, ack: 1, count: 1460)
            acknowledged += 1460
            for segment in script.segments() {
                let edge = segment.header!.acknowledgment - SequenceNumber(script.guestStart) + segment.window << 8 - 1
                #expect(edge <= 40_000, "more than the socket takes")
            }
        }
        #expect(script.tcp.sockets.all[0].taken.count == 29_200)
        let known = script.connection().windowEdge - script.connection().expected
        #expect(known < 12_000)
        // The far end takes all: the guest hears of it without asking.
        script.tcp.sockets.drain(0)
        let told = script.pass(1000)
        #expect(told.count >= 1)
        #expect(script.connection().windowEdge - script.connection().expected >= 30_000)
    }

    /// The largest segment does not fit in the socket's buffer twice over: the window must reopen all the same.
    @Test func windowReopensWithLargeSegments() throws {
        var script = try TCPScript(mtu: 65520) { $0.sendLimit = 80_000 }
        script.open(mss: 65480)
        var position = 1
        for count in [65_000, 5000] {
            script.guest("A", seq: position, ack: 1, count: count)
            position += count
            _ = script.round()
        }
        let before = script.connection().windowEdge - script.connection().expected
        #expect(before < 1000)
        _ = script.pass(3)
        script.tcp.sockets.drain(0)
        _ = script.pass(100)
        #expect(script.connection().windowEdge - script.connection().expected >= 60_000)
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
        #expect(script.pass(1000) == ["+1000 PA 2001:500 ack 1"])
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

    @Test func windowOfZeroThenDataLostTogether() throws {
        var script = try TCPScript()
        script.open()
        script.arrive(5000)
        _ = script.round()
        // The guest shrinks its window to less than what is in flight, having taken nothing (lesson 10).
        script.guest("A", seq: 1, ack: 1, window: 0)
        let sent = script.round() + script.pass(1000)
        #expect(sent == ["+1000 PA 1:1 ack 1"])
        script.guest("A", seq: 1, ack: 1, window: 2)
        #expect(script.round() == ["PA 1:256 ack 1"])
        script.guest("A", seq: 1, ack: 257, window: 511)
        #expect(script.round() == ["PA 257:4744 ack 1"])
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
