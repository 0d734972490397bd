import Testing

@testable import Datapath
@testable import Linux

/// What a far end has acknowledged is what the guest is told; see `TCPDataTests` and `TCPCostTests` for when.
@Suite struct TCPFarPathTests {
    /// The kernel counts in 64 bits, and sequence numbers have 32: an upload stood still there.
    @Test func anUploadGoesOnBehindFourGigabytes() throws {
        var script = try TCPScript { $0.roundTrip = 50_000 }
        script.open()
        script.tcp.sockets.all[0].acknowledgedBefore = 1 << 32
        script.guest("PA", seq: 1, ack: 1, count: 1000)
        #expect(script.round().isEmpty)
        script.tcp.sockets.drain(0)
        #expect(script.pass(60) == ["+52 A 1:0 ack 1001"])
    }

    /// A path turns out to be far when the guest has been told of more than the far end has. That is not taken back.
    @Test func anAcknowledgementDoesNotGoBackWhereThePathBecomesLonger() throws {
        var script = try TCPScript()
        script.open()
        script.guest("PA", seq: 1, ack: 1, count: 1000)
        #expect(script.answer() == ["A 1:0 ack 1001"])
        script.tcp.sockets.all[0].roundTrip = 5000
        // A near path that owes something is looked at after a second; see `TCPOutage`.
        #expect(script.pass(1100).isEmpty)
        #expect(!script.connection().isNear)
        script.guest("PA", seq: 1001, ack: 1, count: 1000)
        #expect(script.round().isEmpty)
        script.arrive(10)
        #expect(script.round() == ["PA 1:10 ack 1001"])
        script.guest("A", seq: 2001, ack: 11)
        #expect(script.round().isEmpty)
        script.tcp.sockets.drain(0)
        #expect(script.pass(200).map { $0.split(separator: " ", maxSplits: 1)[1] } == ["A 11:0 ack 2001"])
    }
}
