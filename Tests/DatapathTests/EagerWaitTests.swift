@testable import Datapath
import Testing

@Suite struct EagerWaitTests {
    /// A conversation: every answer comes after 40 microseconds.
    @Test func growsWhereEventsFollowEachOther() {
        var wait = EagerWait()
        #expect(wait.span(bytes: 100) == 0)
        for _ in 0..<10 { wait.slept(40_000) }
        #expect(wait.span(bytes: 200) == 100_000)
    }

    @Test func isNothingForWhoSaysLittle() {
        var wait = EagerWait()
        for _ in 0..<10 { wait.slept(40_000) }
        for _ in 0..<4 { wait.slept(20_000_000) }
        #expect(wait.span(bytes: 100) == 0)
        wait.slept(20_000_000)
        #expect(wait.span(bytes: 200) == 0)
    }

    /// Bulk transfers do not spend processor time on asking, and a short message behind them does again.
    @Test func isNothingInBulk() {
        var wait = EagerWait()
        for _ in 0..<10 { wait.slept(40_000) }
        #expect(wait.span(bytes: 65536) == 0)
        #expect(wait.span(bytes: 131072) == 0)
        #expect(wait.span(bytes: 131172) == 100_000)
    }
}
