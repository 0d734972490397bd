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

    /// Bulk transfers do not spend processor time on asking, nor in rounds that move nothing; short messages behind them do again.
    @Test func isNothingInBulk() {
        var wait = EagerWait()
        for _ in 0..<10 { wait.slept(40_000) }
        for round in 1...4 {
            #expect(wait.span(bytes: UInt64(round) << 18) == 0)
            #expect(wait.span(bytes: UInt64(round) << 18) == 0)
        }
        for _ in 0..<3 { _ = wait.span(bytes: 1 << 20) }
        #expect(wait.span(bytes: 1 << 20 + 100) == 100_000)
    }

    /// One answer of some length is no bulk transfer: the request that follows does not wait.
    @Test func isUnchangedBehindALongAnswer() {
        var wait = EagerWait()
        for _ in 0..<10 { wait.slept(40_000) }
        #expect(wait.span(bytes: 50_000) == 0)
        #expect(wait.span(bytes: 50_000) == 100_000)
        #expect(wait.span(bytes: 50_200) == 100_000)
    }
}
