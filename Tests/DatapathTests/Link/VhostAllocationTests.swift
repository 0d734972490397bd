import CAllocations
import Testing
import Wire

@testable import Datapath

/// Frames in a machine's memory take nothing from the heap, whatever its driver can do and however it uses its rings. See also `AllocationTests`.
@Suite struct VhostAllocationTests {
    private static let all: VirtioFeatures = [
        .version1, .mergeableBuffers, .protocolFeatures, .indirect, .eventIndex, .guestChecksum, .guestTCP4, .guestTCP6,
    ]

    @Test("Frames both ways", arguments: [
        // The guest cuts its frames into descriptors, in the ring or in a table; it lends buffers of some length, all few rounds.
        (all, [5, 7, 1, 13], false, 1526, 8), (all, [12, 1000], true, 4096, 1), ([.version1, .mergeableBuffers], [100], false, 1526, 1),
        ([.version1, .protocolFeatures], [12, 500], false, 4096, 1), ([.protocolFeatures], [10], false, 2048, 4),
    ] as [(VirtioFeatures, [Int], Bool, Int, Int)])
    func framesInSharedMemory(_ features: VirtioFeatures, _ pieces: [Int], _ table: Bool, _ buffer: Int, _ interval: Int) throws {
        let driver = try VhostDriver()
        driver.setUp(features)
        let merges = features.contains(.mergeableBuffers)
        let frame = [UInt8](repeating: 7, count: merges ? 5000 : 1500)
        let buffers = merges ? (12 + frame.count + buffer - 1) / buffer : 1
        // Where they come seldom, they are too few, and the link has to wait for them.
        let lent = interval == 1 ? buffers : buffers * interval * 3 / 4
        driver.lend(64, length: buffer)
        var (taken, frames, back, next) = (0, 0, 0, 64)
        for round in 0..<(AllocationLimit.frames / 2 + 100) {
            // The runtime makes the records of generic types on first use.
            if round == 100 { (taken, frames, back) = (0, 0, 0) }
            // So that a chain does not go beyond the ring's last descriptor.
            driver.transmit(frame, pieces: pieces, table: table, head: 8 * (round % 30))
            if round % interval == 0 {
                driver.lend(lent, length: buffer, first: next)
                next += lent
            }
            allocations_begin()
            frames += driver.pass(frame.count)
            taken += Int(allocations_end())
            back += driver.used(&driver.toGuest).count
        }
        #expect(frames == AllocationLimit.frames / 2 && back >= frames * buffers * 2 / 3)
        #expect(interval == 1 || back < frames * buffers)
        AllocationLimit.check(taken, of: frames, inDebug: 40)
    }
}
