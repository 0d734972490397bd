import Glibc
import Testing
import Wire

@testable import Datapath
@testable import Linux

/// A path that is gone for a while, and how soon it is tried again.
@Suite struct TCPOutageTests {
    /// A connection whose far end has not acknowledged what the guest sent.
    private func waiting(_ roundTrip: UInt32 = 20_000, _ setUp: (inout ScriptedSockets) -> Void = { _ in }) throws -> TCPScript {
        var script = try TCPScript { $0.roundTrip = roundTrip; setUp(&$0) }
        script.open()
        script.guest("A", seq: 1, ack: 1, count: 1000)
        _ = script.round()
        return script
    }

    /// Two looks at a socket that nothing was heard of for so many milliseconds.
    private func look(_ script: inout TCPScript, timeouts: UInt8, silence: UInt32, window: UInt32? = 65535) -> UInt8? {
        script.tcp.sockets.all[0].timeouts = timeouts
        script.tcp.sockets.all[0].silence = silence
        script.tcp.sockets.all[0].farWindow = window
        _ = script.pass(2500)
        return script.tcp.sockets.all[0].timeoutLimit
    }

    @Test func theLongerTheSilenceTheLongerTheWait() throws {
        var script = try waiting()
        #expect(look(&script, timeouts: 0, silence: 150) == nil, "nothing is wrong yet")
        for (timeouts, silence, limit) in [
            (1, 250, 1), (5, 4900, 1), (7, 10_000, 2), (8, 14_900, 2), (9, 15_000, 3), (12, 30_000, 6), (12, 35_000, 6), (13, 100_000, 20),
            (15, 3_000_000, 120), (255, UInt32.max, 120),
        ] as [(UInt8, UInt32, UInt8)] {
            #expect(look(&script, timeouts: timeouts, silence: silence) == limit, "\(silence) ms")
        }
        #expect(script.tcp.sockets.calls.limitTimeout == 6)
        #expect(look(&script, timeouts: 0, silence: 20) == nil)
        #expect(script.tcp.sockets.calls.limitTimeout == 7)
        #expect(script.tcp.sockets.faults.isEmpty)
    }

    /// The kernel would give up early where a window was closed behind data that is under way.
    @Test func aClosedWindowIsNoOutage() throws {
        var script = try waiting()
        #expect(look(&script, timeouts: 3, silence: 2000, window: 0) == nil)
        #expect(look(&script, timeouts: 4, silence: 3000, window: nil) == 1, "kernels before 5.4 do not tell the window")
        #expect(look(&script, timeouts: 5, silence: 100, window: 0) == nil)
        #expect(script.tcp.sockets.calls.limitTimeout == 2)
    }

    /// Linux before 6.15.
    @Test func kernelsThatCannot() throws {
        var script = try waiting { $0.hasTimeoutLimit = false }
        #expect(look(&script, timeouts: 3, silence: 10_000) == nil)
        #expect(script.tcp.table[0].timeoutLimit == 0)
        script.tcp.sockets.drain(0)
        _ = script.pass(2500)
        #expect(script.tcp.table[0].acknowledged == script.tcp.table[0].expected)
    }

    /// On a near path nobody waits for the far end's acknowledgements. It is looked at until all is as before.
    @Test func nearPathsAreLookedAtUntilTheyAreWell() throws {
        var script = try waiting(100) { $0.sendLimit = 20_000 }
        var position = 1001
        while position < 24_001 {
            script.guest("A", seq: position, ack: 1, count: 1000)
            position += 1000
        }
        _ = script.round()
        #expect(look(&script, timeouts: 2, silence: 700) == 1)
        script.tcp.sockets.all[0].timeouts = 0
        script.tcp.sockets.drain(0)
        _ = script.pass(2500)
        #expect(script.tcp.sockets.all[0].timeoutLimit == nil)
        let calls = script.tcp.sockets.calls.path
        _ = script.pass(10_000)
        #expect(script.tcp.sockets.calls.path == calls, "and not any more then")
    }

    // MARK: The kernel

    @Test func aSystemsCountAsTime() {
        for (count, limit, span) in [(15, 120_000, 924_600), (8, 120_000, 102_200), (3, 120_000, 3000), (15, 1000, 14_400), (9, 120_000, 204_600)] {
            #expect(Patience.span(of: count, limit: Int64(limit)) == Int64(span))
        }
    }

    @Test func theKernelTakesTheLimitAndForgetsIt() throws {
        let socket = try Descriptor.socket(.stream, for: IPAddress(IPv4Address.any))
        defer { socket.close() }
        let system = socket.longestTimeout()
        var patience = Patience(retransmissions: 8)
        let isTaken = patience.limitTimeout(3, on: socket)
        #expect(isTaken == (system != nil))
        guard let system else { return }
        #expect(socket.longestTimeout() == min(3000, system))
        #expect(try socket.get(Int32(IPPROTO_TCP), TCP_USER_TIMEOUT) == Int32(Patience.span(of: 8, limit: Int64(system))))
        let isForgotten = patience.limitTimeout(nil, on: socket)
        #expect(isForgotten && socket.longestTimeout() == system)
        #expect(try socket.get(Int32(IPPROTO_TCP), TCP_USER_TIMEOUT) == 0)
    }
}
