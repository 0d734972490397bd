import Testing

/// What all tests that count allocations demand.
enum AllocationLimit {
    /// Frames to count over. A debug build takes longer for each, and only bounds what they take.
    static var frames: Int {
        #if DEBUG
        return 20_000
        #else
        return 100_000
        #endif
    }

    /// Nothing was taken. Without the optimizer, a literal of an option set and the iterator of an array take something for a moment: fewer than `most`
    /// times per frame.
    static func check(_ taken: Int, of frames: Int, inDebug most: Int = 2, _ location: SourceLocation = #_sourceLocation) {
        #if DEBUG
        #expect(taken < most * frames, sourceLocation: location)
        #else
        #expect(taken == 0, sourceLocation: location)
        #endif
    }
}
