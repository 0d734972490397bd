import Testing
import Wire

@testable import Datapath
@testable import Linux

/// Urgent data of the far end is part of the stream. Reading ends where it begins to be urgent, and no event tells that more lies behind.
@Suite struct TCPUrgentTests {
    @Test func whatLiesBehindIsSentAtOnce() throws {
        var script = try TCPScript()
        script.open()
        script.arrive(1000)
        script.tcp.sockets.markUrgent(0)
        script.arrive(500)
        #expect(script.round() == ["PA 1:999 ack 1", "PA 1000:501 ack 1"])
        script.guest("A", seq: 1, ack: 1501)
        #expect(script.round().isEmpty)
        // And what comes later as ever.
        script.arrive(100)
        #expect(script.round() == ["PA 1501:100 ack 1"])
    }

    /// Without a peek offset, what lies behind shows once the guest has everything before it.
    @Test func withoutPeekOffset() throws {
        var script = try TCPScript { $0.hasPeekOffset = false }
        script.open()
        script.arrive(1000)
        script.tcp.sockets.markUrgent(0)
        script.arrive(500)
        script.tcp.sockets.end(0)
        #expect(script.round() == ["PA 1:999 ack 1"])
        script.guest("A", seq: 1, ack: 500)
        #expect(script.round().isEmpty)
        script.guest("A", seq: 1, ack: 1000)
        #expect(script.round() == ["PA 1000:501 ack 1"])
        script.guest("A", seq: 1, ack: 1501)
        #expect(script.round() == ["FA 1501:0 ack 1"])
    }

    /// The end of the stream is not taken for the end of what a look shows.
    @Test func theEndIsBehindIt() throws {
        var script = try TCPScript()
        script.open()
        script.arrive(10)
        script.tcp.sockets.markUrgent(0)
        script.arrive(10)
        script.tcp.sockets.end(0)
        // Two looks are a turn.
        #expect(script.round() + script.round() == ["PA 1:9 ack 1", "PA 10:11 ack 1", "FA 21:0 ack 1"])
        script.guest("FA", seq: 1, ack: 22)
        _ = script.round()
        // Nothing unread is left, which the far end would take for a reset.
        #expect(!script.tcp.sockets.all[0].wasUnreadAtClose)
        script.expectEmpty()
    }
}
