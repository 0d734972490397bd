/// How much is taken from the guest in one round.
///
/// Frames: one, while the guest sends one at a time, which saves asking a second time in vain; more and more while it sends in bursts.
///
/// Bytes: so few that a batch stays in the processor's cache, and that others have their turn soon. But where several of the guest's uploads are mixed, few
/// bytes of each are in such a batch, and each takes a call and wakes a reader and, by the acknowledgement, a writer. So the limit doubles as long as it is
/// reached and nobody else has anything to do.
struct BatchSize: BitwiseCopyable {
    private(set) var frames = 1
    private(set) var bytes: Int
    private let usual: Int
    private let most: Int
    private var fullBatches = 0

    /// From this length on, a frame is one of a bulk transfer.
    static var long: Int { 4096 }

    init(bytes: Int, mostBytes: Int) {
        self.bytes = bytes
        usual = bytes
        most = mostBytes
    }

    /// A batch has come, of which `lastLength` is the length of the last frame. `isAlone`: nobody else had anything to do.
    @_noAllocation @_noLocks
    mutating func adapt(_ batch: borrowing FrameBatch, lastLength: Int, isAlone: Bool) {
        let isFull = batch.count >= frames || batch.end > bytes
        if !isAlone || batch.end <= usual {
            bytes = usual
        } else if batch.end > bytes {
            bytes = min(bytes * 2, most)
        }
        guard isFull else {
            frames = max(batch.count, 1)
            fullBatches = 0
            return
        }
        // One that was not full has cost a call to find that out. Full ones in a row mean a burst: then it pays to ask on.
        fullBatches += 1
        if lastLength > BatchSize.long || fullBatches >= 4 { frames = min(frames * 2, batch.capacity) }
    }
}
