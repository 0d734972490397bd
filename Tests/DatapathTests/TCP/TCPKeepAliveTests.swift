import Testing
import Wire

@testable import Datapath
@testable import Linux

/// A guest that asks whether its connection still lives means the far end, and the path to it.
@Suite struct TCPKeepAliveTests {
    /// What the socket was told after the guest was silent for some time, and sent a probe.
    private static func ask(_ script: inout TCPScript, after milliseconds: Int64, count: Int = 0) -> [UInt16]? {
        script.move(to: script.now + milliseconds)
        script.guest("A", seq: 0, ack: 1, count: count)
        #expect(script.round() == ["A 1:0 ack 1"])
        return script.tcp.sockets.all[0].keepAlive.map { [$0.time, $0.interval] }
    }

    @Test(arguments: [(15_000, 0, 15, 15), (7_200_000, 1, 7200, 75), (20, 0, 1, 1), (60_400, 0, 60, 60)])
    func theFarEndIsAskedAsOften(_ silence: Int64, _ count: Int, _ time: UInt16, _ interval: UInt16) throws {
        var script = try TCPScript()
        script.open()
        #expect(TCPKeepAliveTests.ask(&script, after: silence, count: count) == [time, interval])
        for _ in 0..<5 { _ = TCPKeepAliveTests.ask(&script, after: silence, count: count) }
        #expect(script.tcp.sockets.calls.keepAlive == 1)
    }

    /// An application may have begun to ask long after it fell silent.
    @Test func theLongestSilenceDoesNotCount() throws {
        var script = try TCPScript()
        script.open()
        #expect(TCPKeepAliveTests.ask(&script, after: 300_000) == [300, 75])
        #expect(TCPKeepAliveTests.ask(&script, after: 30_000) == [30, 30])
        #expect(TCPKeepAliveTests.ask(&script, after: 29_500) == [30, 30])
        #expect(script.tcp.sockets.calls.keepAlive == 2)
    }

    /// What gives the connection up is the far end's silence.
    @Test func theGuestHearsThatNobodyIsThere() throws {
        var script = try TCPScript()
        script.open()
        _ = TCPKeepAliveTests.ask(&script, after: 15_000)
        script.tcp.sockets.fail(0, Errno(110))
        #expect(script.round() == ["RA 1:0 ack 1"])
        script.expectEmpty()
    }

    /// Linux asks for a window in the same way, and means us.
    @Test func aClosedWindowIsNoSilence() throws {
        var script = try TCPScript()
        script.open()
        let found = script.tcp.table.find(TCPScript.key())
        let index = try #require(found)
        script.tcp.table[index].windowEdge = script.connection().expected
        script.move(to: script.now + 400)
        script.guest("A", seq: 0, ack: 1)
        #expect(script.tcp.sockets.calls.keepAlive == 0)
    }
}
