import Testing
import Wire

@testable import Datapath

@Suite struct BatchSizeTests {
    private static let usual = 192 << 10, most = 4 << 20

    /// Takes a batch of a guest that has `waiting` frames of `length` bytes each: how many were taken.
    private func take(_ size: inout BatchSize, _ waiting: Int, of length: Int, isAlone: Bool = true) throws -> Int {
        var batch = try FrameBatch(capacity: 64, mostBytes: Self.most)
        batch.limit = size.frames
        batch.byteLimit = size.bytes
        while batch.count < waiting, !batch.isFull { batch.append(length: length, offload: VirtioNetHeader()) }
        size.adapt(batch, lastLength: length, isAlone: isAlone)
        return batch.count
    }

    @Test func oneFrameAtATimeIsNotAskedForTwice() throws {
        var size = BatchSize(bytes: Self.usual, mostBytes: Self.most)
        for _ in 0..<10 {
            let count = try take(&size, 1, of: 100)
            #expect(count == 1)
        }
        #expect(size.frames <= 2)
    }

    @Test func burstsOfShortFramesGrowAfterFour() throws {
        var size = BatchSize(bytes: Self.usual, mostBytes: Self.most)
        var counts: [Int] = []
        for _ in 0..<12 { counts.append(try take(&size, 1000, of: 1500)) }
        #expect(counts == [1, 1, 1, 1, 2, 4, 8, 16, 32, 64, 64, 64] && size.bytes == Self.usual)
    }

    @Test func longFramesTakeMoreAndMoreWhereNobodyElseWaits() throws {
        var size = BatchSize(bytes: Self.usual, mostBytes: Self.most)
        var counts: [Int] = []
        for _ in 0..<10 { counts.append(try take(&size, 1000, of: 65000)) }
        #expect(counts == counts.sorted() && counts.last == 64 && counts[0] == 1)
        // Somebody else: back at once, and as long as that lasts.
        _ = try take(&size, 1000, of: 65000, isAlone: false)
        for _ in 0..<4 {
            let count = try take(&size, 1000, of: 65000, isAlone: false)
            #expect((3...4).contains(count))
        }
        // A guest that has less to send than that does not keep it either.
        for _ in 0..<10 { _ = try take(&size, 1000, of: 65000) }
        #expect(size.bytes == Self.most)
        _ = try take(&size, 2, of: 65000)
        #expect(size.bytes == Self.usual)
    }
}
