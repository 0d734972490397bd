import Testing
import Wire

@testable import Datapath
@testable import Linux

/// Pieces that come in any order, beside a plain map of which bytes are there.
@Suite struct LatePiecesTests {
    @Test(arguments: 0..<6) func anyOrder(_ seed: UInt64) throws {
        var random = SeededRandom(seed)
        var late = try LatePieces()
        var list = try ScatterList(capacity: 2)
        var source = try Mapping(byteCount: LatePieces.room)
        var bytes = source.mutableBytes
        for offset in 0..<LatePieces.room { bytes.store(UInt8(truncatingIfNeeded: offset &* 7 ^ offset >> 8), at: offset) }
        let place = late.takePlace()
        var isThere = [Bool](repeating: false, count: LatePieces.room)
        let step = [10, 1000, 20_000][Int(seed % 3)]
        var base = 0
        for _ in 0..<60 {
            let offset = base + random.below(LatePieces.room - base), length = 1 + random.below(step)
            let held = min(length, LatePieces.room - offset)
            list.removeAll()
            _ = list.append(source, offset: offset, length: held)
            let pieces = Self.pieces(isThere)
            let touches = (max(offset - 1, 0)..<min(offset + held + 1, LatePieces.room)).contains { isThere[$0] }
            late.insert(list, at: offset, place)
            if touches || pieces < LatePieces.mostPieces { for index in offset..<(offset + held) { isThere[index] = true } }
            if random.below(20) == 0 {
                base = min(base + random.below(4000), LatePieces.room - 1)
                late.drop(before: base, place)
                // A piece that reaches beyond stays whole.
                let start = Self.start(isThere, before: base)
                for index in 0..<start { isThere[index] = false }
                for index in start..<base where !isThere[base] { isThere[index] = false }
            }
            let from = base + random.below(LatePieces.room - base)
            let range = late.range(from: from, place)
            var end = from
            while end < LatePieces.room, isThere[end] { end += 1 }
            #expect((range?.count ?? 0) == end - from)
            if let range {
                let first = late.bytes.bytes.uint8(at: range.lowerBound)
                let last = late.bytes.bytes.uint8(at: range.upperBound - 1)
                #expect(first == UInt8(truncatingIfNeeded: from &* 7 ^ from >> 8) && last == UInt8(truncatingIfNeeded: (end - 1) &* 7 ^ (end - 1) >> 8))
            }
            let isEmpty = late.isEmpty(place)
            #expect(isEmpty == !isThere.contains(true))
        }
    }

    private static func pieces(_ isThere: [Bool]) -> Int { zip([false] + isThere, isThere).count { !$0 && $1 } }

    /// Where the piece that reaches beyond `offset` begins; `offset` where there is none.
    private static func start(_ isThere: [Bool], before offset: Int) -> Int {
        guard isThere[offset] else { return offset }
        var start = offset
        while start > 0, isThere[start - 1] { start -= 1 }
        return start
    }

    @Test func beyondTheRoom() throws {
        var late = try LatePieces()
        var list = try ScatterList(capacity: 2)
        let source = try Mapping(byteCount: 3000)
        let place = late.takePlace()
        _ = list.append(source, offset: 0, length: 3000)
        for offset in [-1, -5000, LatePieces.room, LatePieces.room + 1, .max] { late.insert(list, at: offset, place) }
        let isEmpty = late.isEmpty(place)
        #expect(isEmpty)
        late.insert(list, at: LatePieces.room - 1000, place)
        let ends = late.ends(at: LatePieces.room, place), count = late.range(from: LatePieces.room - 1, place)?.count
        #expect(ends && count == 1)
    }
}
