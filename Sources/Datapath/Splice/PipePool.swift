internal import Linux

/// Pipes, each of which carries what one direction of a connection has on its way. A connection holds one only while its receiver takes
/// nothing: usually what goes in comes out in the same breath, so that one pipe serves thousands of quiet connections, and a few keep
/// their pages warm.
struct PipePool: ~Copyable {
    /// Numbers of pipes, one for each direction of every flow at most.
    private var pipes: FixedTable<Pipe>
    /// Numbers that have no pipe.
    private var freeNumbers: FixedTable<UInt32>
    private var freeCount = 0
    private var untouched = 0
    /// Numbers of empty pipes, the largest last.
    private var idle: FixedTable<UInt32>
    private(set) var idleCount = 0
    /// Where goes what nobody wants any more.
    private var waste: Mapping

    /// Empty pipes that are kept. Every page of a pipe counts against what its user may have (`fs.pipe-user-pages-soft`).
    static var mostIdle: Int { 16 }

    init(capacity: Int) throws(Errno) {
        let pipes = try FixedTable<Pipe>(count: capacity)
        let freeNumbers = try FixedTable<UInt32>(count: capacity)
        let idle = try FixedTable<UInt32>(count: PipePool.mostIdle)
        let waste = try Mapping(byteCount: 1 << 16)
        self.pipes = pipes
        self.freeNumbers = freeNumbers
        self.idle = idle
        self.waste = waste
    }

    subscript(number: Int) -> Pipe { pipes[number] }

    /// Pipes that there are.
    var count: Int { untouched - freeCount }

    /// Makes some pipes beforehand, the first of them large: it is the one that is used most. Their sizes cannot be asked for later on.
    mutating func prepare() {
        for size in [1 << 16, 1 << 16, 1 << 16, PipePool.largeSize] {
            guard let pipe = try? Pipe(), let number = number(for: pipe.resized(to: size)) else { return }
            giveBack(number)
        }
    }

    private static var largeSize: Int { 1 << 20 }

    /// An empty pipe: of the largest, the one that was given back last. Errors are those of pipe2(2).
    mutating func take() throws(Errno) -> Int {
        if idleCount > 0 {
            idleCount -= 1
            return Int(idle[idleCount])
        }
        let pipe = try Pipe()
        guard let number = number(for: pipe) else {
            pipe.close()
            throw Errno(23)  // ENFILE
        }
        return number
    }

    private mutating func number(for pipe: Pipe) -> Int? {
        let number: Int
        if freeCount > 0 {
            freeCount -= 1
            number = Int(freeNumbers[freeCount])
        } else {
            guard untouched < pipes.count else { return nil }
            number = untouched
            untouched += 1
        }
        pipes[number] = pipe
        return number
    }

    /// Takes back a pipe that is empty. What is one too many is one of the smallest.
    mutating func giveBack(_ number: Int) {
        var place = idleCount
        while place > 0, pipes[Int(idle[place - 1])].slots > pipes[number].slots { place -= 1 }
        if idleCount == PipePool.mostIdle {
            guard place > 0 else { return discard(number) }
            discard(Int(idle[0]))
            for earlier in 1..<idleCount { idle[earlier - 1] = idle[earlier] }
            idleCount -= 1
            place -= 1
        }
        for later in stride(from: idleCount, to: place, by: -1) { idle[later] = idle[later - 1] }
        idle[place] = UInt32(truncatingIfNeeded: number)
        idleCount += 1
    }

    /// Takes back a pipe that still holds `count` bytes of a connection that is over. There is no way to another one as large.
    mutating func giveBack(_ number: Int, holding count: Int) {
        var left = count
        while left > 0 {
            let outcome = pipes[number].reading.read(into: &waste, offset: 0, length: min(left, waste.byteCount))
            guard outcome.raw > 0 else { return discard(number) }
            left -= outcome.raw
        }
        giveBack(number)
    }

    /// Closes a pipe, with what is in it.
    private mutating func discard(_ number: Int) {
        pipes[number].close()
        freeNumbers[freeCount] = UInt32(truncatingIfNeeded: number)
        freeCount += 1
    }
}
