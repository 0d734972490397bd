import Testing

@testable import Datapath
@testable import Linux

/// What waits until there is nothing else to do, and what ends the wait.
@Suite struct TCPPostponedTests {
    /// A connection whose handshake with the host's peer is not complete, since the worker has had no rest. Its socket is the first.
    private static func halfOpen() throws -> TCPScript {
        var script = try TCPScript()
        script.rests = false
        script.guest("S", seq: 0, mss: 1460)
        #expect(script.round() == ["SA 0:0 ack 1"])
        script.guest("A", seq: 1, ack: 1)
        #expect(script.round().isEmpty)
        #expect(script.tcp.postponed.handshakes.count == 1 && script.tcp.sockets.calls.completeHandshake == 0)
        return script
    }

    @Test func aPeerThatHasAnsweredWithinTheCallIsNotWaitedFor() throws {
        var script = try TCPScript()
        script.guest("S", seq: 0, mss: 1460)
        #expect(script.take() == ["SA 0:0 ack 1"])
        // The event that comes behind it says nothing new.
        #expect(script.round().isEmpty)
        #expect(script.tcp.sockets.calls.path == 1)
    }

    @Test func dataTakesTheHandshakesEndAlong() throws {
        var script = try Self.halfOpen()
        script.guest("PA", seq: 1, ack: 1, count: 10)
        _ = script.round()
        #expect(script.tcp.postponed.handshakes.count == 0)
        script.tcp.finishPostponed()
        #expect(script.tcp.sockets.calls.completeHandshake == 0)
    }

    @Test func aPeerThatSpeaksFirstHearsBeforeTheWorkerSleeps() throws {
        var script = try Self.halfOpen()
        script.tcp.finishPostponed()
        let isEmpty = script.tcp.postponed.isEmpty
        #expect(script.tcp.sockets.calls.completeHandshake == 1 && isEmpty)
        script.arrive(5)
        #expect(script.round() == ["PA 1:5 ack 1"])
    }

    @Test func aWorkerWithoutRestCompletesWithinAMillisecond() throws {
        var script = try Self.halfOpen()
        _ = script.round()
        #expect(script.tcp.sockets.calls.completeHandshake == 0)
        script.move(to: script.now + 1)
        _ = script.round()
        #expect(script.tcp.sockets.calls.completeHandshake == 1)
    }

    @Test func aConnectionThatEndsIsForgotten() throws {
        var script = try Self.halfOpen()
        script.guest("RA", seq: 1, ack: 1)
        let isEmpty = script.tcp.postponed.isEmpty
        #expect(isEmpty)
        script.expectEmpty()
    }

    /// Opens a connection, has it answered, and ends both directions.
    private static func conversation(_ script: inout TCPScript, port: UInt16, pauses: Bool = false) -> [String] {
        script.guest("S", seq: 0, mss: 1460, port: port)
        _ = script.round()
        let socket = script.tcp.sockets.all.count - 1
        script.guest("A", seq: 1, ack: 1, port: port)
        script.guest("PA", seq: 1, ack: 1, count: 10, port: port)
        _ = script.round()
        script.arrive(20, socket)
        var seen = script.round()
        if pauses { seen += script.pass(5).map { $0.split(separator: " ", maxSplits: 1).last.map(String.init) ?? "" } }
        script.tcp.sockets.end(socket)
        seen += script.round()
        script.guest("FA", seq: 11, ack: 22, port: port)
        _ = script.round()
        return seen
    }

    @Test func socketsOfWhatIsOverAreClosedInARest() throws {
        var script = try TCPScript(capacity: 128)
        script.rests = false
        _ = Self.conversation(&script, port: 1)
        #expect(script.tcp.table.count == 0 && script.tcp.sockets.openCount == 1)
        script.tcp.closePostponed()
        #expect(script.tcp.sockets.openCount == 0 && script.tcp.sockets.all[0].unread == 0 && !script.tcp.sockets.all[0].isAborted)
        // As many as there is room for, and no more; then all at once.
        for port in 1...65 as ClosedRange<UInt16> { _ = Self.conversation(&script, port: 100 + port) }
        #expect(script.tcp.sockets.openCount == 1)
        script.move(to: script.now + 1)
        _ = script.round()
        #expect(script.tcp.sockets.openCount == 0)
        script.expectEmpty()
    }

    /// A connection needs a descriptor that one which is over still has.
    @Test func whatIsOverGivesItsDescriptorUp() throws {
        var script = try TCPScript()
        script.rests = false
        _ = Self.conversation(&script, port: 1)
        script.tcp.sockets.refusal = Errno(24)  // EMFILE
        script.guest("S", seq: 0, port: 2)
        #expect(script.tcp.sockets.openCount == 0 && script.tcp.postponed.closingCount == 0)
    }

    @Test func anAnswerWaitsForTheEndWhereThatUsedToFollow() throws {
        var script = try TCPScript()
        for port in 1...4 as ClosedRange<UInt16> { #expect(Self.conversation(&script, port: port) == ["PA 1:20 ack 11", "FA 21:0 ack 11"]) }
        script.rests = false
        #expect(Self.conversation(&script, port: 5) == ["FPA 1:20 ack 11"])
    }

    @Test func anAnswerThatWaitsInVainGoesOutInTheNextRest() throws {
        var script = try TCPScript()
        for port in 1...8 as ClosedRange<UInt16> { _ = Self.conversation(&script, port: port) }
        #expect(script.tcp.postponed.expectation.isLikely)
        // The end comes later: each time counts for several.
        for port in 9...10 as ClosedRange<UInt16> {
            #expect(Self.conversation(&script, port: port, pauses: true) == ["PA 1:20 ack 11", "FA 21:0 ack 11"])
        }
        #expect(!script.tcp.postponed.expectation.isLikely && !script.tcp.hasAnswer)
    }

    /// Four connections whose first answers were their last, and a fifth, of port 5, whose answer waits for its end.
    private static func withAnswer() throws -> TCPScript {
        var script = try TCPScript()
        for port in 1...4 as ClosedRange<UInt16> { _ = Self.conversation(&script, port: port) }
        script.rests = false
        script.guest("S", seq: 0, mss: 1460, port: 5)
        _ = script.round()
        script.guest("PA", seq: 1, ack: 1, count: 10, port: 5)
        _ = script.round()
        script.arrive(20, 4)
        #expect(script.round().isEmpty && script.tcp.hasAnswer)
        return script
    }

    @Test func anAnswerWaitsForMicroseconds() throws {
        var script = try Self.withAnswer()
        var due: [Bool] = []
        for wait in [0, Postponed.answerPatience - 1, Postponed.answerPatience] { due.append(script.tcp.answerIsDue(1_000_000_000 + wait)) }
        #expect(due == [false, false, true])
        script.tcp.giveAnswer(&script.port, now: script.now)
        #expect(script.round() == ["PA 1:20 ack 11"])
    }

    /// The guest does not want to hear it any more. Its place in the table may be free, or another connection's.
    @Test func anAnswerOfAConnectionThatIsGoneIsForgotten() throws {
        var script = try Self.withAnswer()
        script.guest("RA", seq: 11, ack: 1, port: 5)
        let hasAnswer = script.tcp.hasAnswer
        try #require(!hasAnswer)
        script.tcp.giveAnswer(&script.port, now: script.now)
        #expect(script.round().isEmpty)
        script.expectEmpty()
    }
}
