import Linux
import Testing

@testable import Datapath

@Suite struct PipePoolTests {
    /// The large pipe is the only one that there will be, and is what most go through.
    @Test func theLargestPipeIsKept() throws {
        var pool = try PipePool(capacity: 64)
        pool.prepare()
        let large = try pool.take()
        let slots = pool[large].slots
        #expect(slots > 16)
        // Its connection ends with something in it; and others are given back behind it.
        #expect(pool[large].writing.write([UInt8](repeating: 7, count: 100_000)) == 100_000)
        let small = try pool.take()
        pool.giveBack(large, holding: 100_000)
        pool.giveBack(small)
        var taken: [Int] = []
        for _ in 0..<(PipePool.mostIdle + 2) { taken.append(try pool.take()) }
        #expect(taken[0] == large)
        for number in taken.reversed() { pool.giveBack(number) }
        let idle = pool.idleCount
        #expect(idle == PipePool.mostIdle)
        let again = try pool.take()
        #expect(again == large)
        #expect(pool[large].reading.receiveNothing)
    }
}
