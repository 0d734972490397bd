import Linux
import Testing
import Wire

@testable import Datapath

/// How much goes to a guest on whose link something was lost, and when it goes again.
@Suite struct GuestPathTests {
    /// Ten segments of 1460 bytes are in flight. The guest's windows count in 128 bytes.
    private static func script() throws -> TCPScript {
        var script = try TCPScript(offloads: [])
        script.open()
        script.arrive(200_000)
        script.guest("A", seq: 1, ack: 1, window: 115)
        script.runRound()
        script.runRound()
        let isFull = script.takeSegments().count == 10
        #expect(isFull)
        return script
    }

    private func acknowledge(_ script: inout TCPScript, _ number: Int, window: UInt16 = 65_535) -> [String] {
        script.guest("A", seq: 1, ack: number, window: window)
        script.runRound()
        return script.round().map { $0.split(separator: " ")[1] }.map(String.init)
    }

    @Test func untilSomethingIsLostTheWindowIsTheLimit() throws {
        var script = try Self.script()
        let sent = acknowledge(&script, 14_601)
        #expect(sent.count >= 8)
        #expect(script.connection().guestPath.limit == .max)
    }

    /// A network card with room for four frames loses the rest of a burst, and nothing follows that tells of it. Lesson 78.
    @Test func lesson78_afterATimeoutItBeginsWithOneSegment() throws {
        var script = try Self.script()
        #expect(script.pass(1000).map { $0.split(separator: " ").dropFirst().joined(separator: " ") } == ["PA 1:1460 ack 1"])
        var sizes: [Int] = []
        var end = 1461
        for _ in 0..<5 {
            let sent = acknowledge(&script, end)
            sizes.append(sent.count)
            end += sent.count * 1460
        }
        // One more with each answer, and from half of what was in flight on one more per window.
        #expect(sizes == [2, 3, 4, 5, 6])
    }

    /// Three equal answers: what is missing, nothing new before all of that has come, and half as much behind it. Lesson 79: guests without a queue for what comes behind
    /// a hole drop what is new.
    @Test func lesson79_whatIsMissingComesFirst() throws {
        var script = try Self.script()
        let first = acknowledge(&script, 2921, window: 92)
        #expect(first.isEmpty)
        for _ in 0..<3 { script.guest("A", seq: 1, ack: 2921, window: 92) }
        #expect(script.round() == ["PA 2921:1460 ack 1"])
        // A part of what was in flight, with a larger window: only what is missing next.
        #expect(acknowledge(&script, 7301) == ["7301:1460"])
        #expect(acknowledge(&script, 14_601).count == 2)
        #expect(acknowledge(&script, 17_521).count == 4)
        #expect(script.connection().guestPath.limit < 14_600)
    }

    /// A guest without that queue acknowledges what is sent again and no more. All goes again, and not one by one: its answer to a single segment is delayed.
    @Test func lesson79_aGuestThatKeepsNothingGetsItAllAgain() throws {
        var script = try Self.script()
        for _ in 0..<3 { script.guest("A", seq: 1, ack: 1, window: 115) }
        #expect(script.round() == ["PA 1:1460 ack 1"])
        #expect(acknowledge(&script, 1461, window: 115) == ["1461:1460", "2921:1460"])
        // The first of these is lost as well.
        for _ in 0..<3 { script.guest("A", seq: 1, ack: 1461, window: 115) }
        #expect(script.round() == ["A 1461:1460 ack 1", "PA 2921:1460 ack 1"])
        #expect(acknowledge(&script, 4381, window: 115).count == 3)
        #expect(acknowledge(&script, 8761, window: 115).count == 4)
        #expect(acknowledge(&script, 14_601, window: 115).count >= 4)
        #expect(script.connection().guestPath.keepsNothing)
        // Known by the next time. This time it has kept something after all.
        for _ in 0..<3 { script.guest("A", seq: 1, ack: 14_601, window: 115) }
        #expect(script.round().count == 2)
        _ = acknowledge(&script, 14_601 + 4 * 1460, window: 115)
        #expect(!script.connection().guestPath.keepsNothing)
    }

    /// With three segments in flight there are never three equal answers.
    @Test func littleInFlightNeedsFewerAnswers() throws {
        for (count, answers, isAgain) in [(3, 1, false), (3, 2, true), (2, 1, false), (2, 2, false), (4, 2, false), (4, 3, true)] {
            var script = try TCPScript(offloads: [])
            script.open()
            script.arrive(count * 1460)
            _ = script.round()
            for _ in 0..<answers { script.guest("A", seq: 1, ack: 1, window: 511) }
            script.runRound()
            #expect((script.takeSegments().count == 1) == isAgain, "\(count) segments, \(answers) answers")
        }
    }

    /// The last but one of all that there is was lost. The far end waits for room in a queue that these two hold.
    @Test func oneAnswerOfTwoIsWaitedForBriefly() throws {
        var script = try TCPScript(offloads: [])
        script.open()
        script.arrive(2228)
        _ = script.round()
        script.guest("A", seq: 1, ack: 1, window: 511)
        #expect(script.round().isEmpty)
        #expect(script.pass(100) == ["+10 PA 1:1460 ack 1"])
        // It may be one that was under way before.
        script.guest("A", seq: 1, ack: 2229, window: 511)
        script.arrive(2000)
        _ = script.round()
        script.guest("A", seq: 1, ack: 2229, window: 511)
        _ = script.pass(5)
        script.guest("A", seq: 1, ack: 4229, window: 511)
        #expect(script.pass(2000).isEmpty)
    }

    /// A second before any answer was timed, then a third of it where the guest must not delay its answer, and two thirds where it may.
    @Test func timeoutsAreAsLongAsAnswersTake() throws {
        var path = GuestPath()
        func timeouts() -> [Int64] { [path.timeout(flight: 1460, segment: 1460), path.timeout(flight: 2920, segment: 1460)] }
        #expect(timeouts() == [1000, 1000])
        func take(_ milliseconds: Int64, at now: Int64) {
            path.sent(SequenceNumber(5), now: now)
            path.sent(SequenceNumber(9), now: now + 1)
            path.answered(SequenceNumber(4), now: now + milliseconds / 2)
            path.answered(SequenceNumber(5), now: now + milliseconds)
        }
        for round in 0..<20 { take(0, at: Int64(round)) }
        #expect(timeouts() == [600, 300])
        // A way of half a second.
        for round in 0..<40 { take(500, at: Int64(round) * 1000) }
        #expect(timeouts().allSatisfy { (500...700).contains($0) || $0 == 600 })
        // What was sent twice is not timed: its answer may be to either.
        path.sent(SequenceNumber(5), now: 0)
        path.lostAll(flight: 1460, segment: 1460, isFirst: true)
        let before = timeouts()
        path.answered(SequenceNumber(5), now: 60_000)
        #expect(timeouts() == before)
        // And nothing grows beyond its variables.
        for _ in 0..<100 { take(1 << 20, at: 0) }
        #expect(timeouts().allSatisfy { $0 >= 3900 && $0 <= 20_000 })
    }

    /// Whatever happens, a segment may be in flight, and nothing overflows.
    @Test func theLimitIsNeverLessThanASegment() {
        var random = SeededRandom(77)
        var path = GuestPath()
        for _ in 0..<20_000 {
            let segment = 1 + random.below(65_495)
            let flight = random.below(1 << 30)
            switch random.below(5) {
            case 0: path.lostOne(flight: flight, segment: segment)
            case 1: path.lostAll(flight: flight, segment: segment, isFirst: flight & 1 == 0)
            case 2: path.recovered(flight: flight, segment: segment)
            case 3: path.lostForItsLength()
            default: path.acknowledged(flight, segment: segment, isRepairing: flight & 1 == 0)
            }
            #expect(path.limit >= 1)
        }
    }

    /// Windows are filled with whole segments.
    @Test func noSliversAtTheEndOfAWindow() throws {
        var script = try TCPScript(offloads: [])
        script.open()
        script.guest("A", seq: 1, ack: 1, window: 40)
        script.arrive(20_000)
        #expect(script.segments().map(\.payload.count) == [1460, 1460, 1460])
        script.guest("A", seq: 1, ack: 1461, window: 40)
        #expect(script.segments().map(\.payload.count) == [1460])
        // A window of less than two segments is filled.
        script.guest("A", seq: 1, ack: 5841, window: 16)
        #expect(script.segments().map(\.payload.count) == [1460, 588])
        script.guest("A", seq: 1, ack: 7889, window: 6)
        #expect(script.segments().map(\.payload.count) == [768])
    }

    /// The far end has no window while its bytes lie in our queue. That the guest has not answered to the last few of them, as it may for half a second, keeps none of the others there.
    @Test(arguments: [true, false]) func lesson77_aDelayedAnswerDoesNotCloseTheFarEndsWindow(_ isMuch: Bool) throws {
        var script = try TCPScript(offloads: [])
        script.open()
        script.arrive(isMuch ? 40_000 : 6000)
        script.runRound()
        script.runRound()
        script.runRound()
        script.runRound()
        script.guest("A", seq: 1, ack: isMuch ? 39_981 : 5981, window: 65_535)
        _ = script.round()
        if !isMuch { _ = script.pass(220) }
        #expect(script.connection().queueStart - script.connection().unacknowledged == 0)
    }
}
