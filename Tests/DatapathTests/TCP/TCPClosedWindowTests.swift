import Testing
import Wire

@testable import Datapath
@testable import Linux

/// Guests that take nothing for a while.
@Suite struct TCPClosedWindowTests {
    @Test func zeroWindowIsProbedForEver() throws {
        var script = try TCPScript()
        script.openClosed()
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

    /// The far end has ended, and then reset what it had sent: that is no end of the stream, however late the guest comes to it.
    @Test(arguments: [false, true]) func lesson63_aResetBehindAnEnd(_ isFar: Bool) throws {
        var script = try TCPScript { if isFar { $0.roundTrip = 50_000 } }
        script.openClosed()
        script.tcp.sockets.end(0)
        #expect(script.round().isEmpty)
        script.tcp.sockets.fail(0, Errno(32))
        #expect(script.round().isEmpty)
        script.guest("A", seq: 1, ack: 1, window: 511)
        let sent = script.round()
        #expect(sent == ["PA 1:100 ack 1", "RA 101:0 ack 1"])
        #expect(script.tcp.table.count == 0)
    }

    /// In one event, as when a server closes and a packet of the client's meets nobody.
    @Test func lesson63_anEndAndAResetAtOnce() throws {
        var script = try TCPScript()
        script.open()
        script.arrive(100)
        script.tcp.sockets.end(0)
        script.tcp.sockets.fail(0, Errno(104))
        #expect(script.round() == ["PA 1:100 ack 1", "RA 101:0 ack 1"])
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
        script.openProbed()
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
        script.openClosed()
        #expect(script.pass(999).isEmpty)
        script.guest("PA", seq: 1, ack: 1, count: 10, window: 0)
        #expect(script.round().isEmpty)
        #expect(script.pass(1) == ["+1 PA 1:1 ack 11", "+1 A 1:0 ack 11"])
    }

    /// Nor does it open our window, for which a guest may wait that reads only once it has written.
    @Test func aProbeTellsOfNoWindow() throws {
        var script = try TCPScript()
        script.openClosed()
        #expect(script.pass(999).isEmpty)
        script.tcp.table[0].windowEdge = script.connection().expected
        script.move(to: script.now + 1)
        let sent = script.segments()
        #expect(sent.map(\.payload.count) == [1, 0])
        #expect(sent.allSatisfy { $0.window > 0 })
    }

    /// A connection that has come from another host with a closed window and a probe under way has no timer of its own yet.
    @Test func aProbeUnderWayIsRepeatedWithoutATimer() throws {
        var script = try TCPScript()
        script.openProbed()
        let found = script.tcp.table.find(TCPScript.key())
        let index = try #require(found)
        script.tcp.table[index].retransmitAt = 0
        script.tcp.timers.cancel(index)
        script.guest("A", seq: 1, ack: 1, window: 0)
        #expect(script.round().isEmpty)
        #expect(script.pass(10_000).contains { $0.hasSuffix("PA 1:1 ack 1") })
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

    /// A few bytes met a window that had just closed, and the guest's stack dropped them. What follows is one segment only.
    @Test func whatMetAClosedWindowIsSentAgainWithoutATimer() throws {
        var script = try TCPScript()
        script.open()
        script.arrive(100)
        #expect(script.round() == ["PA 1:100 ack 1"])
        script.arrive(3)
        #expect(script.round() == ["PA 101:3 ack 1"])
        script.guest("A", seq: 1, ack: 101, window: 0)
        script.arrive(1000)
        #expect(script.round().isEmpty)
        script.guest("A", seq: 1, ack: 101, window: 10)
        #expect(script.round() == ["PA 101:1003 ack 1"])
        script.guest("A", seq: 1, ack: 1104, window: 10)
        #expect(script.round().isEmpty)
        #expect(script.connection().retransmitAt == 0)
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

    /// A segment that is sent again is dropped by a guest that has it, with whatever it says: news is told once more.
    @Test func newsInWhatIsSentAgainIsToldTwice() throws {
        var script = try TCPScript()
        script.open()
        script.arrive(100)
        #expect(script.round() == ["PA 1:100 ack 1"])
        #expect(script.pass(999).isEmpty)
        script.guest("PA", seq: 1, ack: 1, count: 10, window: 510)
        #expect(script.round().isEmpty)
        #expect(script.pass(1) == ["+1 PA 1:100 ack 11", "+1 A 101:0 ack 11"])
        // Nothing is new then.
        #expect(script.pass(2000) == ["+2000 PA 1:100 ack 11"])
    }
}

extension TCPScript {
    /// Opens, and has 100 bytes for a guest whose window is closed.
    mutating func openClosed() {
        open()
        guest("A", seq: 1, ack: 1, window: 0)
        arrive(100)
        #expect(round().isEmpty)
    }

    /// The same, and the first probe is under way.
    mutating func openProbed() {
        openClosed()
        #expect(pass(1000) == ["+1000 PA 1:1 ack 1"])
    }
}
