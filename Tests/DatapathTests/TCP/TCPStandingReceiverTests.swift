import Testing
import Wire

@testable import Datapath
@testable import Linux

/// Receivers that keep their window closed for long, and guests that must not give up meanwhile.
@Suite struct TCPStandingReceiverTests {
    /// A receiver that stands still, as a container that is paused: a guest gives up after fifteen timeouts in vain, but waits for a window for ever. It is told of one of no size, with an
    /// acknowledgement that is news to it: Linux before 6.6 does not believe others.
    @Test func lesson67_aReceiverThatStandsStillIsWaitedFor() throws {
        var script = try TCPScript.nearlyFull(2000)
        script.tcp.sockets.all[0].farWindow = 0
        for start in [0, 1460, 2920] { script.guest("A", seq: 1 + start, ack: 1, count: 1460) }
        #expect(script.answer() == ["A 1:0 ack 2001"])
        #expect(script.pass(20_000).allSatisfy { $0.hasSuffix("A 1:0 ack 2001") })
        _ = script.pass(40_000)
        let told = script.connection().acknowledged - SequenceNumber(script.guestStart)
        #expect(told > 2001 && told < 4381)
        script.guest("A", seq: told, ack: 1, count: 4381 - told)
        let again = script.segments()
        // And probes are answered.
        script.guest("A", seq: told - 1, ack: 1)
        #expect(script.segments().contains { $0.window == 0 })
        #expect(!again.isEmpty && again.allSatisfy { $0.window == 0 && $0.header!.acknowledgment - SequenceNumber(script.guestStart) == told })
        // It goes on, and the guest hears of progress and of a window.
        script.tcp.sockets.all[0].farWindow = 65535
        script.tcp.sockets.all[0].sendLimit = 40_000
        script.tcp.sockets.drain(0)
        let after = script.segments()
        #expect(after.first.map { $0.window > 0 && $0.header!.acknowledgment - SequenceNumber(script.guestStart) == 4381 } == true)
        script.guest("A", seq: 4381, ack: 1, count: 1000)
        #expect(script.answer().last == "A 1:0 ack 5381")
        #expect(script.tcp.sockets.all[0].taken == Array(Stream.fromGuest[0..<5380]))
    }

    /// On a far path, what the socket holds is not acknowledged otherwise before the receiver has it.
    @Test func lesson67_aFarReceiverThatStandsStillIsWaitedFor() throws {
        var script = try TCPScript { $0.roundTrip = 50_000 }
        script.open()
        script.tcp.sockets.all[0].farWindow = 0
        script.guest("PA", seq: 1, ack: 1, count: 1000)
        #expect(script.pass(20_000).allSatisfy { $0.hasSuffix("A 1:0 ack 1") })
        #expect(script.pass(40_000).last?.hasSuffix("A 1:0 ack 1001") == true)
        script.tcp.sockets.all[0].farWindow = 65535
        script.tcp.sockets.drain(0)
        _ = script.pass(5000)
        script.guest("PA", seq: 1001, ack: 1, count: 1000)
        _ = script.round()
        #expect(script.connection().acknowledged - SequenceNumber(script.guestStart) == 1001)
    }
}
