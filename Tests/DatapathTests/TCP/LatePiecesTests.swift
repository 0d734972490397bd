import Testing
import Wire

@testable import Datapath
@testable import Linux

/// Pieces that come in any order, beside a plain map of which bytes are there. Numbers wrap around meanwhile.
@Suite struct LatePiecesTests {
    static let origin = SequenceNumber(UInt32.max - 100_000)

    @Test(arguments: 0..<6) func anyOrder(_ seed: UInt64) throws {
        var random = SeededRandom(seed)
        var late = try LatePieces()
        var list = try ScatterList(capacity: 2)
        let span = 2 * LatePieces.room
        var source = try Mapping(byteCount: span)
        var bytes = source.mutableBytes
        for offset in 0..<span { bytes.store(Self.byte(offset), at: offset) }
        let place = late.takePlace()
        var isThere = [Bool](repeating: false, count: span)
        let step = [10, 1000, 20_000][Int(seed % 3)]
        var base = 0
        for _ in 0..<40 {
            let offset = base + random.below(min(LatePieces.room * 3 / 2, span - base)), length = min(1 + random.below(step), span - offset)
            list.removeAll()
            _ = list.append(source, offset: offset, length: length)
            let isAllKept = late.insert(list, at: Self.origin + offset, place)
            var wanted = isThere
            for index in offset..<(offset + length) { wanted[index] = true }
            Self.insert(offset, length, &isThere)
            #expect(isAllKept == (isThere == wanted))
            if random.below(20) == 0 {
                base = min(base + random.below(40_000), span - 1)
                late.drop(before: Self.origin + base, place)
                // A piece that reaches beyond stays whole.
                let start = Self.start(isThere, before: base)
                for index in 0..<start { isThere[index] = false }
                for index in start..<base where !isThere[base] { isThere[index] = false }
            }
            let from = base + random.below(span - base)
            var end = from
            while end < span, isThere[end] { end += 1 }
            let count = late.count(from: Self.origin + from, place)
            #expect(count == end - from)
            list.removeAll()
            late.add(count, from: Self.origin + from, place, to: &list)
            var found: [UInt8] = []
            list.copyBytes(into: &found)
            #expect(found == (from..<end).map(Self.byte))
            let isEmpty = late.isEmpty(place)
            #expect(isEmpty == !isThere.contains(true))
        }
    }

    private static func byte(_ offset: Int) -> UInt8 { UInt8(truncatingIfNeeded: offset &* 7 ^ offset >> 8) }

    /// The same by the plain map: no more from the first to the last than there is room, what comes first being kept, and no piece too many.
    private static func insert(_ offset: Int, _ length: Int, _ isThere: inout [Bool]) {
        var end = offset + length
        if let first = isThere.firstIndex(of: true) {
            if offset < first {
                for index in min(offset + LatePieces.room, isThere.count)..<isThere.count { isThere[index] = false }
            } else {
                end = min(end, first + LatePieces.room)
            }
        }
        guard offset < end else { return }
        let touches = (max(offset - 1, 0)..<min(end + 1, isThere.count)).contains { isThere[$0] }
        guard touches || pieces(isThere) < LatePieces.mostPieces else { return }
        for index in offset..<end { isThere[index] = true }
    }

    private static func pieces(_ isThere: [Bool]) -> Int { zip([false] + isThere, isThere).count { !$0 && $1 } }

    /// Where the piece that reaches beyond `offset` begins; `offset` where there is none.
    private static func start(_ isThere: [Bool], before offset: Int) -> Int {
        guard isThere[offset] else { return offset }
        var start = offset
        while start > 0, isThere[start - 1] { start -= 1 }
        return start
    }

    /// A nearer piece takes the room of those that are too far behind it, and of one that reaches too far.
    @Test func whatIsNeededFirstIsKept() throws {
        var late = try LatePieces()
        var list = try ScatterList(capacity: 2)
        let source = try Mapping(byteCount: LatePieces.room + 3000)
        let place = late.takePlace()
        _ = list.append(source, offset: 0, length: LatePieces.room + 3000)
        late.insert(list, at: Self.origin + 5000, place)
        let all = late.count(from: Self.origin + 5000, place)
        #expect(all == LatePieces.room)
        list.removeAll()
        _ = list.append(source, offset: 0, length: 3000)
        late.insert(list, at: Self.origin + 1000, place)
        let near = late.count(from: Self.origin + 1000, place), far = late.count(from: Self.origin + 5000, place)
        #expect(near == 3000 && far == LatePieces.room - 4000)
        late.insert(list, at: Self.origin + -LatePieces.room, place)
        let isGone = late.count(from: Self.origin + 1000, place) == 0, ends = late.ends(at: Self.origin + (3000 - LatePieces.room), place)
        #expect(isGone && ends)
    }
}
