internal import Linux

// Whose turn it is, among downloads.
//
// Each time the guest's reader sleeps and is woken, the processor is handed over. A single download wakes its reader seldom, since more comes before it has
// read the last. Four that take turns of 128 KiB wake one with each turn, and need half as much processor time again for each byte. So a download that has
// much to send keeps its turn for some rounds, while the others wait for theirs in order of arrival; frames of the guest, timers and everything that is no
// bulk transfer have their place in each round as ever.
//
//      rounds    A A A A A A | B B B B B B | C C C C C C | A ...
//      in each   the guest's acknowledgements, sockets, timers, and 128 KiB or so of whose turn it is
//
// A turn ends when there is nothing more to send, or no room for it; after 16 MiB, or less where more than four take part, so that a whole circle takes about
// as long as that of four; and after five milliseconds.

struct DownloadTurns: ~Copyable {
    /// Index + 1 of the connection whose turn it is; 0: nobody's.
    private var holder = 0
    /// Bytes that it may still send.
    private var left = 0
    /// When its turn began, in milliseconds.
    private var began: Int64 = 0
    private var waiting: UsageOrder

    static var longest: Int { 16 << 20 }
    static var circle: Int { 64 << 20 }
    static var shortest: Int { 128 << 10 }
    static var milliseconds: Int64 { 5 }

    init(capacity: Int) throws(Errno) { waiting = try UsageOrder(capacity: capacity) }

    /// Nobody has much to send.
    var areFree: Bool { holder == 0 }

    /// Whether a connection that has much to send may do so. If not, it is asked again when others are done, and must ask in each round.
    mutating func begin(_ index: Int, now: Int64) -> Bool {
        if holder == 0 {
            start(index, now: now)
        } else if holder != index + 1, now - began >= DownloadTurns.milliseconds {
            pass(now: now)
        }
        if holder == index + 1 { return true }
        if !waiting.contains(index) { waiting.use(index) }
        return false
    }

    /// A connection has sent `count` bytes, and may have more.
    mutating func sent(_ count: Int, by index: Int, hasMore: Bool, now: Int64) {
        guard holder == index + 1 else { return }
        left -= count
        if hasMore, left > 0 { return }
        if hasMore { waiting.use(index) }
        pass(now: now)
    }

    /// A connection is gone.
    mutating func forget(_ index: Int) {
        waiting.remove(index)
        if holder == index + 1 { pass(now: began) }
    }

    private mutating func pass(now: Int64) {
        guard let next = waiting.oldest else { return holder = 0 }
        start(next, now: now)
    }

    private mutating func start(_ index: Int, now: Int64) {
        waiting.remove(index)
        holder = index + 1
        began = now
        left = min(max(DownloadTurns.circle / (waiting.count + 1), DownloadTurns.shortest), DownloadTurns.longest)
    }
}
