import Testing

@testable import Datapath

@Suite struct ErrorLimitTests {
    private func drain(_ limit: inout ErrorLimit) -> Int {
        var count = 0
        while count < 1000, limit.take() { count += 1 }
        return count
    }

    @Test func aBurstAndThenOneAMillisecond() {
        var limit = ErrorLimit()
        var taken = [drain(&limit)]
        for now in [5000, 5000, 5007, 5007, 5107, 5300, 5299, 9_000_000] as [Int64] {
            limit.refill(now: now)
            taken.append(drain(&limit))
        }
        #expect(taken == [100, 100, 0, 7, 0, 100, 100, 0, 100])
    }
}
