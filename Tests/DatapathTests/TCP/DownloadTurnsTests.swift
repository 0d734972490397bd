import Testing

@testable import Datapath

/// Who may send, of several downloads.
@Suite struct DownloadTurnsTests {
    private static let share = 128 << 10

    /// Rounds of downloads that always have more, until `bytes` have been sent: who sent how much, and in how many turns.
    private func rounds(_ count: Int, until bytes: Int, perMillisecond: Int = 4 << 20) throws -> (sent: [Int], turns: [Int]) {
        var turns = try DownloadTurns(capacity: count)
        var sent = [Int](repeating: 0, count: count)
        var order: [Int] = []
        while sent.reduce(0, +) < bytes {
            let now = Int64(sent.reduce(0, +) / perMillisecond)
            var senders = 0
            // As timers do, in changing order.
            for index in (now % 2 == 0 ? Array(0..<count) : (0..<count).reversed()) where turns.begin(index, now: now) {
                senders += 1
                if order.last != index { order.append(index) }
                sent[index] += Self.share
                turns.sent(Self.share, by: index, hasMore: true, now: now)
            }
            // Never a round without anybody.
            #expect(senders >= 1)
        }
        return (sent, order)
    }

    @Test func oneAloneIsNeverStopped() throws {
        let (sent, turns) = try rounds(1, until: 256 << 20)
        #expect(sent == [256 << 20] && turns == [0])
    }

    @Test(arguments: [2, 4, 5, 16, 100])
    func eachHasTheSame(_ count: Int) throws {
        let circles = 8
        let turn = min(max(DownloadTurns.circle / count, DownloadTurns.shortest), DownloadTurns.longest)
        let (sent, turns) = try rounds(count, until: circles * count * turn)
        // The first one began when nobody waited yet.
        #expect(try #require(sent.max()) - #require(sent.min()) <= 2 * turn + DownloadTurns.longest, "\(sent)")
        // In turn, with long turns.
        for start in 0..<turns.count - count { #expect(Set(turns[start..<start + count]).count == count) }
        #expect(turns.count <= (circles + 1) * count, "\(turns.count)")
    }

    /// Where little passes in a millisecond, others wait no longer for it.
    @Test func aTurnEndsInTime() throws {
        let (sent, turns) = try rounds(2, until: 64 << 20, perMillisecond: 256 << 10)
        #expect(turns.count >= (64 << 20) / ((256 << 10) * Int(DownloadTurns.milliseconds + 1)), "\(sent)")
    }

    /// Which of 0 to 3 may send, if all ask in turn.
    private func allowed(_ turns: inout DownloadTurns, now: Int64 = 0) -> [Int] {
        var result: [Int] = []
        for index in 0..<4 where turns.begin(index, now: now) { result.append(index) }
        return result
    }

    @Test func whoHasNoMoreOrIsGonePassesItsTurnOn() throws {
        var turns = try DownloadTurns(capacity: 4)
        let first = allowed(&turns)
        // What those send who must wait, as before they had much, ends nobody's turn.
        turns.sent(100, by: 1, hasMore: false, now: 0)
        let second = allowed(&turns)
        turns.sent(100, by: 0, hasMore: false, now: 0)
        let third = allowed(&turns)
        turns.forget(2)
        turns.forget(1)
        let fourth = allowed(&turns)
        for index in [0, 1, 3] { turns.forget(index) }
        let last = turns.begin(2, now: 0)
        #expect([first, second, third, fourth] == [[0], [0], [1], [3]] && last)
    }

    /// One whose turn it is and that never asks does not stop the others.
    @Test func whoDoesNotAskIsPassedOver() throws {
        var turns = try DownloadTurns(capacity: 2)
        let first = turns.begin(0, now: 0)
        let early = turns.begin(1, now: DownloadTurns.milliseconds - 1)
        let late = turns.begin(1, now: DownloadTurns.milliseconds)
        #expect(first && !early && late)
    }
}
