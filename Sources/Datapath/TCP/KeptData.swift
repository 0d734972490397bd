internal import Linux

/// Bytes that cannot stay where they came from, each connection's in a place of its own: what a full socket has refused (`TCPBlocked`), and what a queue holds in very
/// small pieces (`TCPGathered`). The memory is taken where it is used first.
struct KeptData: ~Copyable {
    static var most: Int { 64 }
    /// Bytes for one connection: two of the largest segments.
    private static var room: Int { 1 << 17 }

    var bytes: Mapping
    /// What lies in each place, as offsets of `bytes`; and whether somebody has it.
    private var starts: FixedTable<Int>
    private var ends: FixedTable<Int>
    private var isTaken: FixedTable<Bool>

    init() throws(Errno) {
        let bytes = try Mapping(byteCount: KeptData.most * KeptData.room)
        let starts = try FixedTable<Int>(count: KeptData.most)
        let ends = try FixedTable<Int>(count: KeptData.most)
        let isTaken = try FixedTable<Bool>(count: KeptData.most)
        self.bytes = bytes
        self.starts = starts
        self.ends = ends
        self.isTaken = isTaken
    }

    /// The number of a place that nobody has; 0 where there is none.
    mutating func takePlace() -> UInt8 {
        for place in (0..<KeptData.most).reversed() where !isTaken[place] {
            isTaken[place] = true
            (starts[place], ends[place]) = (place * KeptData.room, place * KeptData.room)
            return UInt8(truncatingIfNeeded: place + 1)
        }
        return 0
    }

    /// Adds what lies behind the first `skipped` bytes of `list`, as far as there is room.
    mutating func append(_ list: borrowing ScatterList, skipping skipped: Int, to number: UInt8) {
        let place = Int(number) - 1
        ends[place] += list.copy(skipping: skipped, limit: (place + 1) * KeptData.room - ends[place], to: &bytes, at: ends[place])
    }

    /// Where in `bytes` there is room for more: behind what is left, and all of the place where nothing is.
    mutating func free(_ number: UInt8) -> Range<Int> {
        let place = Int(number) - 1
        let start = place * KeptData.room
        if starts[place] == ends[place] { (starts[place], ends[place]) = (start, start) }
        return ends[place]..<(start + KeptData.room)
    }

    /// `count` bytes more were put where `free` said.
    mutating func added(_ count: Int, to number: UInt8) { ends[Int(number) - 1] += count }

    /// Where in `bytes` what is left lies.
    func range(_ number: UInt8) -> Range<Int> { starts[Int(number) - 1]..<ends[Int(number) - 1] }

    mutating func remove(_ count: Int, from number: UInt8) { starts[Int(number) - 1] += count }

    mutating func forget(_ number: UInt8) { isTaken[Int(number) - 1] = false }
}
