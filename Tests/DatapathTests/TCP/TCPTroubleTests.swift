import Testing
import Wire

@testable import Datapath
@testable import Linux

/// Kernels that refuse or lack something, links without room, and segments that come when all is over.
@Suite struct TCPTroubleTests {
    /// No memory, no buffers, a signal: the connection lives, and a timer tries again, since no event would.
    @Test(arguments: [12, 105, 4]) func sendThatFailsForAMoment(_ code: Int) throws {
        var script = try TCPScript()
        script.open()
        script.tcp.sockets.sendErrors = [code]
        script.guest("PA", seq: 1, ack: 1, count: 1000)
        #expect(script.round() == ["A 1:0 ack 1"])
        #expect(script.tcp.sockets.all[0].taken.isEmpty && script.tcp.table.count == 1)
        // It was kept. What may have followed is asked for as for a loss.
        let asked = script.pass(100)
        #expect(asked.count == 4 && asked.allSatisfy { $0.hasSuffix(" A 1:0 ack 1001") })
        #expect(script.tcp.sockets.all[0].taken == Array(Stream.fromGuest[0..<1000]))
        #expect(script.pass(1000).isEmpty)
    }

    /// A kernel that takes SO_PEEK_OFF once and then no more stands where it stood: what it would show are other bytes.
    @Test func peekOffsetThatFailsLater() throws {
        var script = try TCPScript { $0.peekOffsetCalls = 1 }
        script.open()
        for _ in 0..<2 {
            script.arrive(1000)
            _ = script.round()
        }
        #expect(script.tcp.sockets.all[0].peekOffset == 2000)
        // Everything is to be sent again, from the first byte.
        #expect(script.pass(1000) == ["+1000 RA 2001:0 ack 1"])
        #expect(script.tcp.sockets.all[0].isAborted)
        script.expectEmpty()
    }

    /// Without a peek offset, neither an end nor an error shows behind bytes that are still in flight.
    @Test func failureBehindDataInFlight() throws {
        var script = try TCPScript { $0.hasPeekOffset = false }
        script.open()
        script.arrive(2000)
        #expect(script.round() == ["PA 1:2000 ack 1"])
        script.tcp.sockets.fail(0, Errno(104))
        #expect(script.round() == ["RA 2001:0 ack 1"])
        script.expectEmpty()
    }

    // MARK: Behind the end

    private func closed() throws -> TCPScript {
        var script = try TCPScript()
        script.open()
        script.tcp.sockets.end(0)
        #expect(script.round() == ["FA 1:0 ack 1"])
        script.guest("FPA", seq: 1, ack: 2, count: 10)
        #expect(script.answer() == ["A 2:0 ack 12"])
        script.expectEmpty()
        return script
    }

    /// The last acknowledgement was lost, and the guest sends its FIN again: all is well, and it must not hear of a reset.
    @Test func lateFinIsAcknowledged() throws {
        var script = try closed()
        script.guest("FA", seq: 11, ack: 2)
        #expect(script.round() == ["A 2:0 ack 12"])
        script.guest("FPA", seq: 1, ack: 2, count: 10)
        #expect(script.round() == ["A 2:0 ack 12"])
        // Bare acknowledgements say nothing new, and late copies of the SYN do not open a connection.
        script.guest("A", seq: 12, ack: 2)
        script.guest("S", seq: 0)
        #expect(script.round().isEmpty && script.tcp.sockets.all.count == 1)
        script.move(to: script.now + ClosedConnections.time)
        script.guest("FA", seq: 11, ack: 2)
        #expect(script.round() == ["R 2:0"])
    }

    @Test func closedConnectionsGiveWayToNewOnes() throws {
        var script = try closed()
        script.guestStart = 7  // Below what it was.
        script.guest("S", seq: 0, mss: 1460)
        #expect(script.round() == ["SA 0:0 ack 1"])
        var other = try closed()
        other.guest("R", seq: 12)
        // Nothing is remembered behind a reset.
        other.guest("FA", seq: 11, ack: 2)
        #expect(other.round() == ["R 2:0"])
    }

    /// Segments that do not fit are of another connection, which does not exist.
    @Test func closedConnectionsAnswerForTheirOwn() throws {
        var script = try closed()
        script.guest("PA", seq: 500, ack: 2, count: 10)
        #expect(script.round() == ["R 2:0"])
        script.guest("FA", seq: 11, ack: 900)
        #expect(script.round() == ["R 900:0"])
    }

    /// A late copy of the guest's SYN is no new connection, even when both sides have sent their FIN.
    @Test func lateSynDoesNotEndAConnection() throws {
        var script = try TCPScript { $0.roundTrip = 20_000 }
        script.open()
        script.tcp.sockets.end(0)
        _ = script.round()
        script.guest("FPA", seq: 1, ack: 2, count: 10)
        _ = script.round()
        script.guest("S", seq: 0, mss: 1460)
        #expect(script.round() == ["A 2:0 ack 1"])
        #expect(script.tcp.sockets.all.count == 1 && script.tcp.table.count == 1)
        script.tcp.sockets.drain(0)
        #expect(script.pass(30).last?.hasSuffix("A 2:0 ack 12") == true)
        script.expectEmpty()
    }

    // MARK: A link without room

    /// The guest that only waits for data would never ask what has become of its connection.
    @Test func refusedResetIsSentAgain() throws {
        var script = try TCPScript()
        script.open()
        script.tcp.sockets.fail(0, Errno(104))
        script.port.link.refusals = 2
        #expect(script.round().isEmpty)
        // The host's side has ended already, the entry remains until the guest knows.
        #expect(script.tcp.sockets.all[0].closes == 1 && script.tcp.table.count == 1)
        #expect(script.pass(100) == ["+30 RA 1:0 ack 1"])
        script.expectEmpty()
    }

    @Test func refusedResetOfAGuestThatAsks() throws {
        var script = try TCPScript()
        script.open()
        script.tcp.sockets.fail(0, Errno(104))
        script.port.link.refusals = 1
        _ = script.round()
        script.guest("PA", seq: 1, ack: 1, count: 10)
        #expect(script.round() == ["R 1:0"])
        script.expectEmpty()
    }

    @Test func resetThatIsAlwaysRefusedIsGivenUp() throws {
        var script = try TCPScript()
        script.open()
        script.tcp.sockets.fail(0, Errno(104))
        script.port.link.refusals = .max
        #expect(script.pass(60_000).isEmpty)
        script.expectEmpty()
    }

    @Test func refusedSynsAreNoTries() throws {
        var script = try TCPScript()
        script.port.link.refusals = 5
        script.tcp.openToGuest(script.tcp.sockets.accept(), key: TCPScript.key(), &script.port, now: script.now)
        #expect(script.pass(1031) == ["+31 S 0:0", "+1031 S 0:0"])
        // A link that never has room ends the attempt, too.
        script.port.link.refusals = .max
        #expect(script.pass(200_000).isEmpty)
        script.expectEmpty()
    }

    @Test func refusedProbesAreNoProbes() throws {
        var script = try TCPScript()
        script.open()
        script.guest("A", seq: 1, ack: 1, window: 0)
        script.arrive(100)
        #expect(script.round().isEmpty)
        _ = script.pass(999)
        script.port.link.refusals = 1
        let sent = script.pass(20).filter { !$0.hasSuffix("1:0 ack 1") }
        #expect(sent.count == 1 && sent[0].hasSuffix(" PA 1:1 ack 1"))
    }

    /// Fast retransmit meets a link without room: it is tried again at once, and not when the timeout has run out.
    @Test(arguments: [true, false]) func whatIsSentAgainFirstIsNotForgotten(_ isEnd: Bool) throws {
        var script = try TCPScript(offloads: [])
        script.open()
        if isEnd { script.tcp.sockets.end(0) } else { script.arrive(8000) }
        _ = script.round()
        for _ in 0..<3 { script.guest("A", seq: 1, ack: 1, window: 511) }
        script.port.link.refusals = 1
        _ = script.round()
        #expect(script.pass(5) == [isEnd ? "+1 FA 1:0 ack 1" : "+1 PA 1:1460 ack 1"])
    }

    /// Nobody turns in circles while the link is full for long.
    @Test func linkThatStaysFullCostsLittle() throws {
        var script = try TCPScript()
        script.open()
        script.arrive(5000)
        script.port.link.refusals = .max
        _ = script.pass(10_000)
        #expect(script.lastSteps < 300)
        script.port.link.refusals = 0
        let sent = script.pass(200)
        #expect(sent.filter { $0.contains("PA 1:5000") || $0.contains("1:1460") }.count == 1)
    }

    /// Between the last look at the queue and a large step, more has come into the same buffer: what is left of that pins all of it, and closes the peer's
    /// window for good. Seen as a download that stood still with 10 240 bytes in the queue, all of them acknowledged.
    @Test func lesson50_whatCameBehindALargeStepIsNotLeft() throws {
        var script = try TCPScript()
        script.open(window: 65535, scale: 7)
        script.arrive(60_000)
        _ = script.round()
        script.guest("A", seq: 1, ack: 60_001, window: 2000)
        // It comes before the step and is told of after it.
        script.tcp.sockets.arrive(Stream.toGuest[60_000..<65_000], 0)
        let waiting = script.tcp.sockets.ready
        script.tcp.sockets.ready = []
        _ = script.round()
        #expect(script.tcp.sockets.all[0].unread == 5000)
        script.tcp.sockets.ready = waiting
        #expect(script.segments().map(\.payload.count) == [5000])
        script.guest("A", seq: 1, ack: 65_001, window: 2000)
        _ = script.round()
        #expect(script.tcp.sockets.all[0].unread == 0)
    }

    /// Little answers may stay in the queue for a while, but not for good.
    @Test func nothingStaysInTheQueueForGood() throws {
        var script = try TCPScript()
        script.open()
        for turn in 0..<3 {
            script.arrive(10)
            _ = script.round()
            script.guest("A", seq: 1, ack: 11 + 10 * turn)
            _ = script.round()
        }
        #expect(script.tcp.sockets.all[0].unread == 30 && script.tcp.sockets.calls.discard == 0)
        #expect(script.pass(199).isEmpty)
        #expect(script.tcp.sockets.all[0].unread == 30)
        #expect(script.pass(2).isEmpty)
        #expect(script.tcp.sockets.all[0].unread == 0 && script.tcp.sockets.calls.discard == 1)
        // And then there is nothing more to do.
        #expect(script.pass(10_000).isEmpty && script.lastSteps <= 1)
    }

    /// A machine stands still for an hour, while data is under way to it: not its fault, and its connections are not given up.
    @Test func aMachineThatStandsStillKeepsItsConnections() throws {
        var script = try TCPScript()
        script.open()
        script.arrive(1000)
        #expect(script.round() == ["PA 1:1000 ack 1"])
        script.port.link.isStopped = true
        #expect(script.pass(3_600_000).isEmpty)
        script.port.link.isStopped = false
        #expect(script.pass(10_000).contains { $0.hasSuffix("PA 1:1000 ack 1") })
        script.guest("A", seq: 1, ack: 1001)
        _ = script.round()
        #expect(script.connection().retransmitAt == 0)
    }

    /// And one that has ended meanwhile is told of when it goes on: it may be waiting for nothing but data.
    @Test func aMachineThatStandsStillHearsOfAResetLater() throws {
        var script = try TCPScript()
        script.open()
        script.tcp.sockets.all[0].sendLimit = 0
        script.guest("PA", seq: 1, ack: 1, count: 100)
        _ = script.round()
        script.port.link.isStopped = true
        script.tcp.sockets.sendErrors = [32]
        script.tcp.sockets.all[0].sendLimit = 70_000
        script.tcp.sockets.drain(0)
        #expect((script.round() + script.pass(3_600_000)).isEmpty)
        script.port.link.isStopped = false
        #expect(script.pass(11_000).contains { $0.hasSuffix("RA 1:0 ack 1") })
        script.expectEmpty()
    }
}
