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

    /// The first one counts where it is certainly a probe, else the second.
    @Test(arguments: [(15_000, 0, 15, 15), (7_200_000, 1, 7200, 75), (60_400, 0, 60, 60), (1600, 1, 2, 2), (30_000, 0, 30, 30)] as [(Int64, Int, UInt16, UInt16)])
    func theFarEndIsAskedAsOften(_ silence: Int64, _ count: Int, _ time: UInt16, _ interval: UInt16) throws {
        var script = try TCPScript()
        script.open()
        let first = TCPKeepAliveTests.ask(&script, after: silence, count: count)
        #expect(first == (silence < 30_000 ? nil : [time, interval]))
        #expect(TCPKeepAliveTests.ask(&script, after: silence, count: count) == [time, interval])
        for _ in 0..<5 { _ = TCPKeepAliveTests.ask(&script, after: silence + 400, count: count) }
        #expect(script.tcp.sockets.calls.keepAlive == 1)
    }

    /// An application may have begun to ask long after it fell silent, and may change its mind.
    @Test func theLongestSilenceDoesNotCount() throws {
        var script = try TCPScript()
        script.open()
        #expect(TCPKeepAliveTests.ask(&script, after: 300_000) == [300, 75])
        #expect(TCPKeepAliveTests.ask(&script, after: 40_000) == [300, 75])
        #expect(TCPKeepAliveTests.ask(&script, after: 40_000) == [40, 40])
        #expect(TCPKeepAliveTests.ask(&script, after: 100_000) == [40, 40])
        #expect(TCPKeepAliveTests.ask(&script, after: 100_000) == [100, 75])
        #expect(script.tcp.sockets.calls.keepAlive == 3)
    }

    /// Probes that have waited somewhere come together, as after the program was stopped for a day; and other segments look the same now and then.
    @Test func whatComesTogetherTellsNothing() throws {
        var script = try TCPScript()
        script.open()
        for _ in 0..<5 { #expect(TCPKeepAliveTests.ask(&script, after: 400) == nil) }
        #expect(TCPKeepAliveTests.ask(&script, after: 3000) == nil)
        #expect(TCPKeepAliveTests.ask(&script, after: 12_000) == nil)
        let found = script.tcp.table.find(TCPScript.key())
        let index = try #require(found)
        for silence in [3_000_000, 100_000_000, 4_294_967_295] as [UInt32] {
            script.tcp.table[index].heardAt = UInt32(truncatingIfNeeded: script.now) &- silence
            script.guest("A", seq: 0, ack: 1)
            for _ in 0..<3 { script.guest("A", seq: 0, ack: 1) }
            let seconds = min(silence / 1000 + (silence % 1000 >= 500 ? 1 : 0), 32_767)
            #expect(TCPTranslator<ScriptedSockets>.seconds(silence) == UInt16(seconds))
        }
        #expect(script.tcp.sockets.all[0].keepAlive.map { $0.time } == 32_767)
    }

    /// What gives the connection up is the far end's silence.
    @Test func theGuestHearsThatNobodyIsThere() throws {
        var script = try TCPScript()
        script.open()
        _ = TCPKeepAliveTests.ask(&script, after: 60_000)
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
        script.move(to: script.now + 60_000)
        script.guest("A", seq: 0, ack: 1)
        #expect(script.tcp.sockets.calls.keepAlive == 0)
    }
}
