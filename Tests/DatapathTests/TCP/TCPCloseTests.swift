import Testing
import Wire

@testable import Datapath
@testable import Linux

@Suite struct TCPCloseTests {
    @Test func guestClosesFirst() throws {
        var script = try TCPScript()
        script.open()
        script.guest("FPA", seq: 1, ack: 1, count: 100)
        #expect(script.answer() == ["A 1:0 ack 102"])
        #expect(script.tcp.sockets.all[0].isFinished)
        // The other half goes on.
        script.arrive(500)
        #expect(script.round() == ["PA 1:500 ack 102"])
        script.guest("A", seq: 102, ack: 501)
        #expect(script.round().isEmpty)
        script.tcp.sockets.end(0)
        #expect(script.round() == ["FA 501:0 ack 102"])
        script.guest("A", seq: 102, ack: 502)
        #expect(script.round().isEmpty)
        script.expectEmpty()
        #expect(!script.tcp.sockets.all[0].isAborted)
        #expect(!script.tcp.sockets.all[0].wasUnreadAtClose, "a close with unread data resets the far end")
    }

    @Test func hostClosesFirst() throws {
        var script = try TCPScript()
        script.open()
        script.arrive(500)
        script.tcp.sockets.end(0)
        #expect(script.round() == ["FPA 1:500 ack 1"])
        script.guest("A", seq: 1, ack: 502)
        script.guest("PA", seq: 1, ack: 502, count: 10)
        #expect(script.answer() == ["A 502:0 ack 11"])
        #expect(script.pass(60_000).isEmpty)
        script.guest("FA", seq: 11, ack: 502)
        #expect(script.answer() == ["A 502:0 ack 12"])
        script.expectEmpty()
        #expect(!script.tcp.sockets.all[0].wasUnreadAtClose)
    }

    @Test func bothCloseAtOnce() throws {
        var script = try TCPScript()
        script.open()
        script.tcp.sockets.end(0)
        script.guest("FA", seq: 1, ack: 1)
        let sent = script.round()
        #expect(sent.last == "FA 1:0 ack 2")
        script.guest("A", seq: 2, ack: 2)
        #expect(script.round().isEmpty)
        script.expectEmpty()
    }

    /// On a far path the guest's FIN counts as delivered when the far end has it all; until then the connection stays.
    @Test func closingWaitsForTheFarEnd() throws {
        var script = try TCPScript { $0.roundTrip = 20_000 }
        script.open()
        script.tcp.sockets.end(0)
        #expect(script.round() == ["FA 1:0 ack 1"])
        script.guest("FPA", seq: 1, ack: 2, count: 100)
        // What the far end has to acknowledge must be sent to it first.
        #expect(script.tcp.sockets.all[0].isFinished)
        #expect(script.round() == ["A 2:0 ack 1"])
        #expect(script.pass(100).isEmpty)
        #expect(script.tcp.table.count == 1)
        script.tcp.sockets.drain(0)
        #expect(script.pass(10).map { $0.split(separator: " ", maxSplits: 1)[1] } == ["A 2:0 ack 102"])
        _ = script.round()
        script.expectEmpty()
    }

    @Test func guestResets() throws {
        var script = try TCPScript()
        script.open()
        script.guest("PA", seq: 1, ack: 1, count: 100)
        script.guest("R", seq: 101)
        #expect(script.round().isEmpty)
        #expect(script.tcp.sockets.all[0].isAborted)
        #expect(script.tcp.sockets.all[0].taken.count == 100)
        script.expectEmpty()
    }

    @Test func hostResets() throws {
        var script = try TCPScript()
        script.open()
        script.arrive(100)
        script.tcp.sockets.fail(0, Errno(104))
        // What came before the reset is delivered.
        #expect(script.round() == ["PA 1:100 ack 1", "RA 101:0 ack 1"])
        script.expectEmpty()
    }

    /// Data and a reset have arrived together, and the guest's next data hears of the reset first: the answer says why, as that to an upload which is too large.
    @Test(arguments: [false, true]) func lesson68_hostResetsBehindAnAnswerWhileTheGuestSends(_ wasFull: Bool) throws {
        var script = try TCPScript()
        script.open()
        if wasFull {
            script.tcp.sockets.all[0].sendLimit = 0
            script.guest("PA", seq: 1, ack: 1, count: 100)
            #expect(script.round() == ["A 1:0 ack 1"])
            script.tcp.sockets.all[0].sendLimit = 70_000
            script.tcp.sockets.sendErrors = [32]
            script.arrive(100)
            script.tcp.sockets.drain(0)
            script.tcp.sockets.notify(0)
            let sent = script.round()
            #expect(sent == ["PA 1:100 ack 1", "RA 101:0 ack 1"])
        } else {
            script.arrive(100)
            script.tcp.sockets.fail(0, Errno(104))
            script.guest("PA", seq: 1, ack: 1, count: 100)
            script.tcp.flushPending(&script.port, now: script.now)
            #expect(script.round() == ["PA 1:100 ack 1", "RA 101:0 ack 1"])
        }
        script.expectEmpty()
    }

    /// As much as the guest has room for: one that is busy sending reads nothing.
    @Test func anAnswerIsNoReasonToWait() throws {
        var script = try TCPScript()
        script.open(window: 1000, scale: nil)
        script.arrive(5000)
        script.tcp.sockets.fail(0, Errno(104))
        script.guest("PA", seq: 1, ack: 1, count: 100, window: 1000)
        script.tcp.flushPending(&script.port, now: script.now)
        #expect(script.round() == ["PA 1:1000 ack 1", "RA 1001:0 ack 1"])
        script.expectEmpty()
    }

    @Test func hostResetsAfterItsEnd() throws {
        var script = try TCPScript()
        script.open()
        script.tcp.sockets.end(0)
        #expect(script.round() == ["FA 1:0 ack 1"])
        script.guest("PA", seq: 1, ack: 2, count: 100)
        #expect(script.answer() == ["A 2:0 ack 101"])
        script.tcp.sockets.fail(0, Errno(104))
        #expect(script.round() == ["RA 2:0 ack 101"])
        script.expectEmpty()
    }

    @Test func hostTakesNoMore() throws {
        var script = try TCPScript()
        script.open()
        script.tcp.sockets.all[0].error = Errno(32)
        script.guest("PA", seq: 1, ack: 1, count: 100)
        #expect(script.round() == ["RA 1:0 ack 1"])
        script.expectEmpty()
    }

    @Test func lostFin() throws {
        var script = try TCPScript()
        script.open()
        script.tcp.sockets.end(0)
        _ = script.round()
        #expect(script.pass(3000) == ["+1000 FA 1:0 ack 1", "+3000 FA 1:0 ack 1"])
        script.guest("A", seq: 1, ack: 2)
        #expect(script.round().isEmpty)
        #expect(script.pass(60_000).isEmpty)
    }

    @Test func lostDataAndFin() throws {
        var script = try TCPScript(offloads: [])
        script.open()
        script.arrive(3000)
        script.tcp.sockets.end(0)
        _ = script.round()
        script.guest("A", seq: 1, ack: 1461)
        #expect(script.round().isEmpty)
        #expect(script.pass(1000) == ["+600 PA 1461:1460 ack 1"])
        script.guest("A", seq: 1, ack: 2921)
        // What follows is sent as it was, its end with it or behind it.
        let rest = script.round()
        #expect(rest.first!.contains("2921:80") && rest.last!.hasPrefix("F"))
        script.guest("A", seq: 1, ack: 3002)
        #expect(script.pass(10_000).isEmpty)
        #expect(script.connection().events.contains(.finAcknowledged))
    }

    /// The link had no room for the FIN: it is sent again, and nobody waits for ever.
    @Test func refusedFin() throws {
        var script = try TCPScript()
        script.open()
        script.tcp.sockets.end(0)
        script.port.link.refusals = 1
        #expect(script.round() == ["A 1:0 ack 1"])  // What the FIN would have acknowledged.
        #expect(script.pass(900) == ["+1 FA 1:0 ack 1"])
    }

    @Test func repeatedFinIsAnswered() throws {
        var script = try TCPScript()
        script.open()
        script.guest("FA", seq: 1, ack: 1)
        #expect(script.round() == ["A 1:0 ack 2"])
        script.guest("FA", seq: 1, ack: 1)
        #expect(script.round() == ["A 1:0 ack 2"])
        script.guest("PA", seq: 2, ack: 1, count: 10)  // Data behind the end.
        #expect(script.round() == ["A 1:0 ack 2"])
        #expect(script.tcp.sockets.faults == [])
    }

    @Test func sameAddressesInOneBatch() throws {
        var script = try TCPScript()
        script.open()
        script.guest("R", seq: 1)
        script.guest("S", seq: 0, mss: 1460)
        #expect(script.tcp.table.count == 1 && script.tcp.sockets.all.count == 2)
        #expect(script.tcp.sockets.all[0].isAborted && script.tcp.sockets.all[1].isOpen)
        #expect(script.round() == ["SA 0:0 ack 1"])
    }

    @Test(arguments: [UInt32(90_000), 7, 4_000_000_000]) func sameAddressesAfterTheEnd(_ newStart: UInt32) throws {
        var script = try TCPScript()
        script.open()
        script.tcp.sockets.end(0)
        _ = script.round()
        script.guest("FA", seq: 1, ack: 2)
        // In the same batch, whatever its number: both sides are done.
        script.guestStart = newStart
        script.guest("S", seq: 0, mss: 1460)
        let sent = script.round()
        #expect(sent.contains("SA 0:0 ack 1"))
        #expect(script.tcp.table.count == 1 && script.tcp.sockets.all.count == 2)
        #expect(script.tcp.sockets.all[0].closes == 1 && !script.tcp.sockets.all[0].isAborted)
    }

    /// The guest has ended, too, and has not acknowledged our end: a number behind all that it has sent is a new start, another one may be a late copy.
    @Test(arguments: [(90_000, 2), (7, 1)] as [(UInt32, Int)]) func sameAddressesBeforeOurEndIsAcknowledged(_ newStart: UInt32, _ sockets: Int) throws {
        var script = try TCPScript()
        script.open()
        script.tcp.sockets.end(0)
        #expect(script.round() == ["FA 1:0 ack 1"])
        script.guest("FA", seq: 1, ack: 1)
        script.guestStart = newStart
        script.guest("S", seq: 0, mss: 1460)
        let sent = script.round()
        #expect(sent.contains("SA 0:0 ack 1") == (sockets == 2), "\(sent)")
        #expect(script.tcp.table.count == 1 && script.tcp.sockets.all.count == sockets)
        #expect(script.tcp.sockets.all[0].closes == sockets - 1 && !script.tcp.sockets.all[0].isAborted)
    }

    @Test func idleGuestIsAskedAndGivenUp() throws {
        var script = try TCPScript()
        script.open()
        let hour: Int64 = 3_600_000
        #expect(script.pass(2 * hour - 1000).isEmpty)
        let asked = script.pass(2000)
        #expect(asked.count == 1 && asked[0].hasSuffix(" A 0:0 ack 1"))
        // It answers, and has two more hours.
        script.guest("A", seq: 1, ack: 1)
        #expect(script.round().isEmpty)
        #expect(script.pass(2 * hour - 3000).isEmpty)
        #expect(script.pass(3 * hour).last!.contains("RA "))
        #expect(script.tcp.sockets.all[0].isAborted)
        script.expectEmpty()
    }

    /// This program was stopped for hours, in which nobody could be asked: that comes first.
    @Test func lesson71_aStopIsNoSilence() throws {
        var script = try TCPScript()
        script.open()
        script.move(to: script.now + 5 * 3_600_000)
        #expect(script.round() == ["A 0:0 ack 1"])
        script.guest("A", seq: 1, ack: 1)
        #expect(script.round().isEmpty && script.pass(1_000_000).isEmpty)
        script.move(to: script.now + 5 * 3_600_000)
        #expect(script.round() == ["A 0:0 ack 1"])
        // Who does not answer is given up as ever.
        #expect(script.pass(3_600_000).last?.contains("RA ") == true)
        script.expectEmpty()
    }
}
