internal import Linux

/// What came behind something that is missing: for each connection a place, in which everything lies as far from the place's beginning as it is in the stream from
/// the number that the place was taken for (`lateStart`). What is missing in between stays free.
///
///     place    |   missing   |  piece  | missing |   piece   |            room for as much as two of the largest segments have
struct LatePieces: ~Copyable {
    static var mostPlaces: Int { 32 }
    /// With more holes than this, what would make another one is dropped.
    static var mostPieces: Int { 16 }
    static var room: Int { 1 << 17 }

    private struct Piece: BitwiseCopyable {
        var start, end: Int
    }

    private(set) var bytes: Mapping
    /// Each place's in order, with something missing between any two.
    private var pieces: FixedTable<Piece>
    private var counts: FixedTable<Int>
    private var isTaken: FixedTable<Bool>

    init() throws(Errno) {
        let bytes = try Mapping(byteCount: LatePieces.mostPlaces * LatePieces.room)
        let pieces = try FixedTable<Piece>(count: LatePieces.mostPlaces * LatePieces.mostPieces)
        let counts = try FixedTable<Int>(count: LatePieces.mostPlaces)
        let isTaken = try FixedTable<Bool>(count: LatePieces.mostPlaces)
        self.bytes = bytes
        self.pieces = pieces
        self.counts = counts
        self.isTaken = isTaken
    }

    /// The number of a place that nobody has; 0 where there is none.
    mutating func takePlace() -> UInt8 {
        for place in 0..<LatePieces.mostPlaces where !isTaken[place] {
            isTaken[place] = true
            counts[place] = 0
            return UInt8(truncatingIfNeeded: place + 1)
        }
        return 0
    }

    mutating func forget(_ number: UInt8) { isTaken[Int(number) - 1] = false }

    func isEmpty(_ number: UInt8) -> Bool { counts[Int(number) - 1] == 0 }

    /// Whether a piece ends there.
    func ends(at offset: Int, _ number: UInt8) -> Bool {
        let (first, count) = own(number)
        for index in first..<(first + count) where pieces[index].end == offset { return true }
        return false
    }

    /// Puts what `list` has where it belongs, as far as there is room.
    mutating func insert(_ list: borrowing ScatterList, at offset: Int, _ number: UInt8) {
        guard (0..<LatePieces.room).contains(offset), list.byteCount > 0 else { return }
        let end = min(offset + list.byteCount, LatePieces.room)
        let (first, count) = own(number)
        // Those that it touches become one with it.
        var low = first
        while low < first + count, pieces[low].end < offset { low += 1 }
        var high = low
        var merged = Piece(start: offset, end: end)
        while high < first + count, pieces[high].start <= end {
            merged.start = min(merged.start, pieces[high].start)
            merged.end = max(merged.end, pieces[high].end)
            high += 1
        }
        if high == low {
            guard count < LatePieces.mostPieces else { return }
            for index in (low..<(first + count)).reversed() { pieces[index + 1] = pieces[index] }
        } else {
            for index in high..<(first + count) { pieces[index - (high - low) + 1] = pieces[index] }
        }
        pieces[low] = merged
        counts[Int(number) - 1] = count + 1 - (high - low)
        let place = (Int(number) - 1) * LatePieces.room
        _ = list.copy(skipping: 0, limit: end - offset, to: &bytes, at: place + offset)
    }

    /// Forgets what lies before `offset`.
    mutating func drop(before offset: Int, _ number: UInt8) {
        let (first, count) = own(number)
        var gone = first
        while gone < first + count, pieces[gone].end <= offset { gone += 1 }
        for index in gone..<(first + count) { pieces[index - (gone - first)] = pieces[index] }
        counts[Int(number) - 1] = count - (gone - first)
    }

    /// Where in `bytes` what follows `offset` without a hole lies; nil where that is missing.
    func range(from offset: Int, _ number: UInt8) -> Range<Int>? {
        let (first, count) = own(number)
        let place = (Int(number) - 1) * LatePieces.room
        for index in first..<(first + count) where pieces[index].start <= offset && pieces[index].end > offset {
            return (place + offset)..<(place + pieces[index].end)
        }
        return nil
    }

    private func own(_ number: UInt8) -> (first: Int, count: Int) {
        ((Int(number) - 1) * LatePieces.mostPieces, counts[Int(number) - 1])
    }
}
