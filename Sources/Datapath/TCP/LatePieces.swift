internal import Linux
internal import Wire

/// What came behind something that is missing: for each connection a place that is a ring, in which every byte lies where its sequence number says, modulo the
/// ring's size. So nothing has to be moved when what is missing comes, nor when something comes that lies before all that is there:
///
///     place    |   missing   |  piece  | missing |   piece   |            as much from the first to the last as two of the largest segments have
struct LatePieces: ~Copyable {
    static var mostPlaces: Int { 32 }
    /// With more holes than this, what would make another one is dropped.
    static var mostPieces: Int { 16 }
    /// A power of two, so that it divides the space of sequence numbers.
    static var room: Int { 1 << 17 }

    private struct Piece: BitwiseCopyable {
        var start, end: SequenceNumber
    }

    private var bytes: Mapping
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

    mutating func forget(_ place: UInt8) { isTaken[Int(place) - 1] = false }

    func isEmpty(_ place: UInt8) -> Bool { counts[Int(place) - 1] == 0 }

    /// Whether a piece ends there.
    func ends(at number: SequenceNumber, _ place: UInt8) -> Bool {
        let (first, count) = own(place)
        for index in first..<(first + count) where pieces[index].end == number { return true }
        return false
    }

    /// Puts what `list` has where it belongs, as far as there is room. What is needed first is kept: what lies too far behind it gives way. False when anything was
    /// dropped.
    @discardableResult
    mutating func insert(_ list: borrowing ScatterList, at start: SequenceNumber, _ place: UInt8) -> Bool {
        guard list.byteCount > 0 else { return true }
        var end = start + min(list.byteCount, LatePieces.room)
        var isAllKept = true
        let (first, count) = own(place)
        if count > 0 {
            let lowest = pieces[first].start
            if start < lowest {
                isAllKept = pieces[first + count - 1].end <= start + LatePieces.room
                cut(behind: start + LatePieces.room, place)
            } else {
                end = lowest + min(end - lowest, LatePieces.room)
            }
            guard start < end else { return false }
        }
        guard join(Piece(start: start, end: end), place) else { return false }
        copy(list, to: start, count: end - start, place)
        return isAllKept && end - start == list.byteCount
    }

    /// Makes one piece of those that `new` touches. False where there are too many already.
    private mutating func join(_ new: Piece, _ place: UInt8) -> Bool {
        let (first, count) = own(place)
        var low = first
        while low < first + count, pieces[low].end < new.start { low += 1 }
        var high = low
        var merged = new
        while high < first + count, pieces[high].start <= new.end {
            if pieces[high].start < merged.start { merged.start = pieces[high].start }
            if pieces[high].end > merged.end { merged.end = pieces[high].end }
            high += 1
        }
        if high == low {
            guard count < LatePieces.mostPieces else { return false }
            for index in (low..<(first + count)).reversed() { pieces[index + 1] = pieces[index] }
        } else {
            for index in high..<(first + count) { pieces[index - (high - low) + 1] = pieces[index] }
        }
        pieces[low] = merged
        counts[Int(place) - 1] = count + 1 - (high - low)
        return true
    }

    private mutating func copy(_ list: borrowing ScatterList, to start: SequenceNumber, count: Int, _ place: UInt8) {
        let (offset, head) = LatePieces.parts(start, count, place)
        _ = list.copy(skipping: 0, limit: head, to: &bytes, at: offset)
        if head < count { _ = list.copy(skipping: head, limit: count - head, to: &bytes, at: LatePieces.start(place)) }
    }

    /// Forgets what lies before `number`, but for a piece that reaches beyond it.
    mutating func drop(before number: SequenceNumber, _ place: UInt8) {
        let (first, count) = own(place)
        var gone = first
        while gone < first + count, pieces[gone].end <= number { gone += 1 }
        for index in gone..<(first + count) { pieces[index - (gone - first)] = pieces[index] }
        counts[Int(place) - 1] = count - (gone - first)
    }

    private mutating func cut(behind end: SequenceNumber, _ place: UInt8) {
        var (first, count) = own(place)
        while count > 0, pieces[first + count - 1].start >= end { count -= 1 }
        counts[Int(place) - 1] = count
        guard count > 0 else { return }
        first += count - 1
        if pieces[first].end > end { pieces[first].end = end }
    }

    /// How many bytes from `number` on are there without a hole.
    func count(from number: SequenceNumber, _ place: UInt8) -> Int {
        let (first, count) = own(place)
        for index in first..<(first + count) where pieces[index].start <= number && pieces[index].end > number { return pieces[index].end - number }
        return 0
    }

    /// Adds `count` bytes from `number` on, which are there, to `list`, which needs room for two pieces.
    func add(_ count: Int, from number: SequenceNumber, _ place: UInt8, to list: inout ScatterList) {
        let (offset, head) = LatePieces.parts(number, count, place)
        _ = list.append(bytes, offset: offset, length: head)
        if head < count { _ = list.append(bytes, offset: LatePieces.start(place), length: count - head) }
    }

    private static func start(_ place: UInt8) -> Int { (Int(place) - 1) * room }

    /// Where `count` bytes from `number` on begin, and how many of them lie before the end of the ring.
    private static func parts(_ number: SequenceNumber, _ count: Int, _ place: UInt8) -> (offset: Int, head: Int) {
        let within = Int(number.value) & (room - 1)
        return (start(place) + within, min(count, room - within))
    }

    private func own(_ place: UInt8) -> (first: Int, count: Int) {
        ((Int(place) - 1) * LatePieces.mostPieces, counts[Int(place) - 1])
    }
}
