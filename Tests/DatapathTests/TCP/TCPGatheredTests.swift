import Testing
import Wire

@testable import Datapath
@testable import Linux

/// Queues of which each byte takes a hundred of the kernel's memory.
@Suite struct TCPGatheredTests {
    /// A guest that reads nothing while 40 000 bytes come one by one. Then all of it goes out, and never is much looked at in one call.
    @Test(arguments: [true, false]) func lesson54_aQueueInSmallPiecesIsNotLookedAt(_ hasPeekOffset: Bool) throws {
        var script = try TCPScript { $0.hasPeekOffset = hasPeekOffset; $0.pieceCost = 100 }
        script.openClosed()
        script.arrive(40_000)
        #expect(script.round().isEmpty)
        script.guest("A", seq: 1, ack: 1, window: 511)
        var got = 0
        for _ in 0..<10 {
            for segment in script.segments() {
                #expect(segment.payload == Array(Stream.toGuest[got..<(got + segment.payload.count)]))
                got += segment.payload.count
            }
            script.guest("A", seq: 1, ack: 1 + got, window: 511)
        }
        #expect(got == 40_100)
        #expect(script.tcp.sockets.all[0].longestFineLook <= 1)
        #expect(script.tcp.sockets.all[0].unread == 0)
        // Whatever comes later is looked at as ever.
        _ = script.round()
        #expect(script.connection().gatheredPlace == 0)
        let takes = script.tcp.sockets.calls.take
        script.arrive(100)
        #expect(script.round() == ["PA 40101:100 ack 1"])
        #expect(script.tcp.sockets.calls.take == takes)
    }

    /// Three gigabytes behind its beginning, the difference of a connection's numbers is no count of bytes any more.
    @Test func lesson54_aQueueIsExaminedHoweverMuchHasCome() throws {
        var script = try TCPScript { $0.pieceCost = 100 }
        script.openClosed()
        let before = 3 << 30
        script.tcp.sockets.all[0].receivedBefore = before
        script.tcp.table[0].initialToGuest = script.connection().initialToGuest + -before
        script.arrive(40_000)
        #expect(script.round().isEmpty)
        script.guest("A", seq: 1, ack: 1, window: 511)
        #expect(script.connection().gatheredPlace != 0)
        var got = 0
        for _ in 0..<10 {
            for segment in script.segments() { got += segment.payload.count }
            script.guest("A", seq: 1, ack: 1 + got, window: 511)
        }
        #expect(got == 40_100)
        #expect(script.tcp.sockets.all[0].longestFineLook <= 1)
    }

    /// The guest's window was open all the time, but a round took long.
    @Test(arguments: [true, false]) func lesson54_aQueueThatHasGrownUnseenIsExamined(_ isLate: Bool) throws {
        var script = try TCPScript { $0.pieceCost = 100 }
        script.open()
        script.arrive(40_000)
        script.tcp.isLate = isLate
        let sent = script.segments()
        #expect(sent.reduce(0) { $0 + $1.payload.count } > 10_000)
        #expect((script.connection().gatheredPlace != 0) == isLate)
        #expect((script.tcp.sockets.all[0].longestFineLook > 1) != isLate)
        // A conversation costs one look more.
        script.guest("A", seq: 1, ack: 40_001)
        _ = script.round()
        let calls = script.tcp.sockets.calls
        script.arrive(100)
        #expect(script.round() == ["PA 40001:100 ack 1"])
        #expect(script.tcp.sockets.calls.receiveMemory - calls.receiveMemory == (isLate ? 1 : 0))
        #expect(script.tcp.sockets.calls.take == calls.take)
    }

    /// Loss, an end, and a reset behind what was gathered.
    @Test(arguments: [true, false]) func whatWasGatheredIsSentAgain(_ fails: Bool) throws {
        var script = try TCPScript { $0.pieceCost = 100 }
        script.openClosed()
        script.arrive(2900)
        script.guest("A", seq: 1, ack: 1, window: 0)
        _ = script.round()
        script.tcp.sockets.all[0].pieceCost = 1000
        script.guest("A", seq: 1, ack: 1, window: 511)
        #expect(script.round() == ["PA 1:3000 ack 1"])
        #expect(script.pass(1000) == ["+1000 PA 1:1460 ack 1"])
        for _ in 0..<3 { script.guest("A", seq: 1, ack: 1461, window: 511) }
        #expect(script.round() == ["PA 1461:1540 ack 1"])
        if fails {
            script.tcp.sockets.fail(0, Errno(104))
            #expect(script.round() == ["RA 3001:0 ack 1"])
        } else {
            script.tcp.sockets.end(0)
            #expect(script.round() == ["FA 3001:0 ack 1"])
            #expect(script.pass(1000) == ["+1000 PA 1461:1460 ack 1"])
            script.guest("A", seq: 1, ack: 2921, window: 511)
            #expect(script.round() == ["PA 2921:80 ack 1", "FA 3001:0 ack 1"])
            script.guest("FA", seq: 1, ack: 3002, window: 511)
            _ = script.round()
            #expect(!script.tcp.sockets.all[0].wasUnreadAtClose)
        }
        script.expectEmpty()
    }

    /// More than a place holds, for a guest that takes little at a time.
    @Test func moreThanAPlaceHolds() throws {
        var script = try TCPScript { $0.pieceCost = 100 }
        script.openClosed()
        script.arrive(500_000)
        _ = script.round()
        var got = 0
        script.guest("A", seq: 1, ack: 1, window: 100)
        for step in 0..<5000 {
            let before = got
            for segment in script.segments() {
                #expect(segment.payload == Array(Stream.toGuest[got..<(got + segment.payload.count)]))
                got += segment.payload.count
            }
            // Nothing but what has come makes the guest say something.
            if got == before { break }
            script.guest("A", seq: 1, ack: 1 + got, window: UInt16(truncatingIfNeeded: 100 + step % 300))
        }
        #expect(got == 500_100)
        #expect(script.tcp.sockets.all[0].longestFineLook <= 1)
    }

    /// Without a place, little is looked at a time.
    @Test func withoutAPlaceLittleIsLookedAt() throws {
        var script = try TCPScript { $0.pieceCost = 100 }
        for _ in 0..<KeptData.most { _ = script.tcp.gathered.takePlace() }
        script.openClosed()
        script.arrive(40_000)
        _ = script.round()
        var got = 0
        for _ in 0..<2000 where got < 40_100 {
            script.guest("A", seq: 1, ack: 1 + got, window: 511)
            for segment in script.segments() { got += segment.payload.count }
        }
        #expect(got == 40_100)
        #expect(script.tcp.sockets.all[0].longestFineLook <= TCPTranslator<ScriptedSockets>.briefFlight)
    }

    /// Without any pause: what piles up while the guest reads is noticed, too.
    @Test func aSteadyStreamOfSmallPieces() throws {
        var script = try TCPScript { $0.pieceCost = 700 }
        script.open()
        var got = 0
        for _ in 0..<2000 {
            script.arrive(10)
            for segment in script.segments() { got += segment.payload.count }
            // The guest is never quite done.
            script.guest("A", seq: 1, ack: 1 + max(got - 10, 0))
        }
        #expect(got == 20_000)
        #expect(script.tcp.sockets.all[0].longestFineLook < 2000)
    }
}
