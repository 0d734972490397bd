/// Datagrams that leave as one message, which the kernel cuts: all of one size, but for the last, which may be shorter.
struct SegmentRun: BitwiseCopyable {
    /// UDP_MAX_SEGMENTS of the kernels that know the least.
    static var mostSegments: Int { 64 }
    /// What an IP packet of either family holds.
    static var mostBytes: Int { 65507 }

    /// Larger datagrams are sent alone.
    private let limit: Int
    private(set) var size = 0
    private(set) var count = 0
    private var byteCount = 0
    private var isClosed = false

    @_noAllocation @_noLocks
    init(limit: Int) { self.limit = min(limit, SegmentRun.mostBytes / 2) }

    /// Takes the first bytes of a payload, which is one datagram or, with `segmentSize` above 0, several of that size: how many bytes, which
    /// is none for an empty datagram; nil when the payload must begin a new message.
    @_noAllocation @_noLocks
    mutating func take(length: Int, segmentSize: Int) -> Int? {
        if isClosed { return nil }
        let isSingle = segmentSize <= 0 || segmentSize >= length
        let unit = isSingle ? length : segmentSize
        if count == 0 {
            size = unit
            if unit == 0 || unit > limit {
                count = 1
                isClosed = true
                return unit
            }
        } else if length == 0 || (isSingle ? length > size : unit != size) {
            return nil
        }
        let segments = min(SegmentRun.mostSegments - count, (SegmentRun.mostBytes - byteCount) / size)
        let taken = min(length, segments * size)
        if taken == 0 { return nil }
        count += (taken + size - 1) / size
        byteCount += taken
        isClosed = taken % size != 0 || taken < length
        return taken
    }
}
