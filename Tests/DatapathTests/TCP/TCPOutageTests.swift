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

    /// What the socket's timeouts are limited to, so many milliseconds later.
    private func limit(_ script: inout TCPScript, after milliseconds: Int64, timeouts: UInt8, window: UInt32? = 65535) -> UInt8? {
        script.tcp.sockets.all[0].timeouts = timeouts
        script.tcp.sockets.all[0].farWindow = window
        _ = script.pass(milliseconds)
        return script.tcp.sockets.all[0].timeoutLimit
    }

    @Test func theLongerTheOutageTheLongerTheWait() throws {
        var script = try waiting()
        // However long there was nothing to say before.
        #expect(limit(&script, after: 1000, timeouts: 0) == nil)
        #expect(limit(&script, after: 1500, timeouts: 2) == 1)
        #expect(limit(&script, after: 7000, timeouts: 8) == 1)
        #expect(limit(&script, after: 4500, timeouts: 12) == 2)
        #expect(limit(&script, after: 20_000, timeouts: 15) == 6)
        #expect(limit(&script, after: 70_000, timeouts: 20) == 18)
        #expect(limit(&script, after: 600_000, timeouts: 25) == 117)
        #expect(limit(&script, after: 100_000, timeouts: 25) == 117)
        #expect(script.tcp.sockets.calls.limitTimeout == 17)
        #expect(limit(&script, after: 1500, timeouts: 0) == nil)
        #expect(script.tcp.sockets.calls.limitTimeout == 18)
        // The next one begins anew.
        #expect(limit(&script, after: 1500, timeouts: 1) == 1)
        #expect(script.tcp.sockets.faults.isEmpty)
    }

    /// An answer takes two seconds: nothing is gained by not waiting for it.
    @Test func noAnswerIsOvertaken() throws {
        var script = try waiting(2_000_000)
        #expect(limit(&script, after: 4000, timeouts: 1) == 5)
    }

    /// The kernel would give up early where a window was closed behind data that is under way.
    @Test func aClosedWindowIsNoOutage() throws {
        var script = try waiting()
        #expect(limit(&script, after: 2500, timeouts: 3, window: 0) == nil)
        #expect(limit(&script, after: 2500, timeouts: 4) == 1)
        #expect(limit(&script, after: 2500, timeouts: 5, window: 0) == nil)
        #expect(script.tcp.sockets.calls.limitTimeout == 2)
    }

    /// Linux before 6.15.
    @Test func kernelsThatCannot() throws {
        var script = try waiting { $0.hasTimeoutLimit = false }
        #expect(limit(&script, after: 12_000, timeouts: 3) == nil)
        #expect(script.tcp.table[0].timeoutLimit == 0)
        script.tcp.sockets.drain(0)
        _ = script.pass(2500)
        #expect(script.tcp.table[0].acknowledged == script.tcp.table[0].expected)
    }

    /// On a near path nobody waits for the far end's acknowledgements. It is looked at all the same, until nothing is owed.
    @Test func nearPathsAreLookedAtUntilTheyAreWell() throws {
        var script = try waiting(100)
        #expect(limit(&script, after: 2500, timeouts: 2) == 1)
        script.tcp.sockets.all[0].timeouts = 0
        script.tcp.sockets.drain(0)
        _ = script.pass(2500)
        #expect(script.tcp.sockets.all[0].timeoutLimit == nil)
        let calls = script.tcp.sockets.calls.path
        _ = script.pass(10_000)
        #expect(script.tcp.sockets.calls.path == calls, "and not any more then")
    }

    /// Sockets that we leave to the kernel are as any other program's.
    @Test func theEndOfTheProgram() throws {
        var script = try waiting()
        #expect(limit(&script, after: 2500, timeouts: 3) == 1)
        script.tcp.endOutages()
        #expect(script.tcp.sockets.all[0].timeoutLimit == nil)
        script.tcp.endOutages()
        #expect(script.tcp.sockets.calls.limitTimeout == 2)
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
        var patience = Patience(retries: 8)
        let isTaken = patience.limitTimeout(3, on: socket)
        #expect(isTaken == (system != nil))
        guard let system else { return }
        #expect(socket.longestTimeout() == min(3000, system))
        #expect(try socket.get(Int32(IPPROTO_TCP), TCP_USER_TIMEOUT) == Int32(Patience.span(of: 8, limit: Int64(system))))
        let isLonger = patience.limitTimeout(117, on: socket)
        #expect(isLonger && socket.longestTimeout() == min(117_000, system))
        let isForgotten = patience.limitTimeout(nil, on: socket)
        #expect(isForgotten && socket.longestTimeout() == system)
        #expect(try socket.get(Int32(IPPROTO_TCP), TCP_USER_TIMEOUT) == 0)
    }
}
