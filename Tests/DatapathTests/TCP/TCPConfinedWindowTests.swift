import Testing
import Wire

@testable import Datapath
@testable import Linux

/// The window that ends with what was dropped (`confinedEdge`), where the guest's frames have changed their order. See `TCPMissingTests` for the usual case.
@Suite struct TCPConfinedWindowTests {
    /// What was dropped first lies behind all that was dropped later.
    @Test func theFurthestComesFirst() throws {
        var script = try TCPScript()
        script.takeAllPlaces()
        script.open()
        for start in [7301, 1461, 2921] { script.guest("A", seq: start, ack: 1, count: 1460) }
        #expect(script.round() == Array(repeating: "A 1:0 ack 1", count: 3))
        script.guest("A", seq: 1, ack: 1, count: 1460)
        let partial = script.segments()
        try #require(partial.count == 1)
        #expect((8761..<(8761 + 256)).contains(script.edge(partial[0])))
    }

    /// The next segments of the guest's, by their numbers; 1460 bytes each.
    private static func send(_ numbers: [Int], _ script: inout TCPScript) -> [SeenSegment] {
        for number in numbers { script.guest("A", seq: 1 + 1460 * number, ack: 1, count: 1460) }
        return script.segments()
    }

    /// Two frames are lost, and what follows them is kept. A guest with plain Reno finds the second loss by what it sends that is new: the window is not taken back (RFC 9293,
    /// section 3.8.6).
    @Test func lesson60_whereAllIsKeptNothingIsTakenBack() throws {
        var script = try TCPScript { $0.sendLimit = 300_000 }
        script.open()
        let start = SequenceNumber(script.guestStart)
        let before = script.connection().windowEdge - start
        let equal = Self.send([1, 2, 3, 4] + Array(6...11), &script)
        #expect(equal.count == 10 && equal.allSatisfy { script.edge($0) == before })
        let partial = Self.send([0], &script)
        try #require(partial.count == 1)
        // Scaling rounds off less than 256.
        #expect(script.edge(partial[0]) > before - 256 && script.connection().expected - start == 1 + 1460 * 5)
        let more = Self.send([12, 13, 14], &script)
        #expect(more.count == 3 && more.allSatisfy { script.edge($0) == script.edge(partial[0]) })
        let last = Self.send([5], &script)
        try #require(last.count == 1)
        let acknowledged = last[0].header!.acknowledgment - start
        #expect(acknowledged == 1 + 1460 * 15 && script.edge(last[0]) > before - 256)
    }

    /// As much is asked for meanwhile as is kept in any case.
    @Test func itMayGrowByWhatIsKept() throws {
        var script = try TCPScript { $0.sendLimit = 1_000_000 }
        script.open()
        _ = Self.send([1, 3, 4, 5], &script)
        script.tcp.table[0].sendSpace = 500_000
        let partial = Self.send([0], &script)
        try #require(partial.count == 1)
        let end = 1 + 2 * 1460 + LatePieces.room
        #expect(((end - 255)...end).contains(script.edge(partial[0])))
    }

    /// More holes than are kept, more behind them than there is room for, or no place for what a hole has let go: some of it has to come again.
    @Test(arguments: [0, 1, 2, 3]) func whatIsDroppedConfinesIt(_ way: Int) throws {
        var script = try TCPScript { $0.sendLimit = 1_000_000 }
        script.open()
        script.tcp.table[0].windowEdge = script.connection().expected + 400_000
        var numbers: [Int]
        switch way {
        case 0: numbers = (0...LatePieces.mostPieces).map { 1 + 2 * $0 }
        case 1: numbers = [150, 1, 2]
        case 2: numbers = [1, 2, 150]
        default: numbers = [1, 2, 3, 5]
        }
        let equal = Self.send(numbers, &script)
        #expect(equal.count == numbers.count)
        if way == 3 { while script.tcp.kept.takePlace() != 0 {} }
        let partial = Self.send([0], &script)
        try #require(partial.count == 1)
        let end = 1 + 1460 * (numbers.max()! + 1)
        #expect((end..<(end + 256)).contains(script.edge(partial[0])))
        // What was dropped comes again, and the window opens.
        numbers = Array(1...numbers.max()!)
        let last = try #require(Self.send(numbers, &script).last)
        #expect(!script.connection().hasHole && script.edge(last) > end + 10_000)
    }
}
