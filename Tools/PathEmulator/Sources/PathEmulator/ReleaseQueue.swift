/// A frame on its way.
struct Release: Sendable {
    var time: Int64
    /// Keeps frames of one time in the order they came.
    var order: UInt64
    var slot: Int32
    var length: Int32

    static func < (left: Release, right: Release) -> Bool {
        left.time != right.time ? left.time < right.time : left.order < right.order
    }
}

/// Frames by release time: a binary heap.
struct ReleaseQueue: Sendable {
    private var heap: [Release] = []
    private var arrivals: UInt64 = 0

    init(capacity: Int) { heap.reserveCapacity(capacity) }

    var next: Release? { heap.first }
    var isEmpty: Bool { heap.isEmpty }

    mutating func add(time: Int64, slot: Int32, length: Int) {
        arrivals += 1
        heap.append(Release(time: time, order: arrivals, slot: slot, length: Int32(length)))
        var child = heap.count - 1
        while child > 0 {
            let parent = (child - 1) / 2
            guard heap[child] < heap[parent] else { break }
            heap.swapAt(child, parent)
            child = parent
        }
    }

    mutating func removeFirst() {
        heap.swapAt(0, heap.count - 1)
        heap.removeLast()
        var parent = 0
        while true {
            var least = parent
            for child in (2 * parent + 1)...(2 * parent + 2) where child < heap.count && heap[child] < heap[least] { least = child }
            if least == parent { return }
            heap.swapAt(least, parent)
            parent = least
        }
    }
}

/// The packets that wait for a limited rate, as the times when they leave.
struct Departures: Sendable {
    private var ring: [(time: Int64, packets: Int64)]
    private var first = 0
    private var count = 0
    private(set) var packets: Int64 = 0

    init(capacity: Int) { ring = Array(repeating: (0, 0), count: capacity) }

    mutating func add(time: Int64, packets added: Int64) {
        guard count < ring.count else { return }
        ring[(first + count) % ring.count] = (time, added)
        count += 1
        packets += added
    }

    mutating func forget(until now: Int64) {
        while count > 0, ring[first].time <= now {
            packets -= ring[first].packets
            first = (first + 1) % ring.count
            count -= 1
        }
    }
}
