internal import CLoad

/// Bytes as they arrived, in slots of 100 ms since the first.
struct Arrivals: Sendable {
    static let slot: Int64 = 100_000_000
    private(set) var bytes = 0
    private(set) var first: Int64 = 0
    private(set) var last: Int64 = 0
    private var slots = [Int](repeating: 0, count: 6000)

    mutating func add(_ count: Int, now: Int64) {
        if bytes == 0 { first = now }
        last = now
        bytes += count
        slots[min(slots.count - 1, Int((now - first) / Self.slot))] += count
    }

    var describe: Line {
        var line = Line()
        line.add("bytes", bytes)
        line.add("nanoseconds", last - first)
        line.add("slots", Array(slots[0...Int(min(5999, (last - first) / Self.slot))]))
        return line
    }
}

/// The stream that checked transfers carry: 64-bit words of xorshift, so that a byte that is wrong, missing, doubled or moved shows.
struct CheckedStream {
    private var state: UInt64
    private var word: UInt64 = 0
    private var left = 0

    init(seed: UInt64) { state = seed | 1 }

    private mutating func next() -> UInt8 {
        if left == 0 {
            state ^= state << 13
            state ^= state >> 7
            state ^= state << 17
            (word, left) = (state, 8)
        }
        left -= 1
        let byte = UInt8(truncatingIfNeeded: word)
        word >>= 8
        return byte
    }

    mutating func fill(_ bytes: inout [UInt8], count: Int) {
        for place in 0..<count { bytes[place] = next() }
    }

    /// The place of the first byte that differs.
    mutating func check(_ bytes: [UInt8], count: Int) -> Int? {
        for place in 0..<count where bytes[place] != next() { return place }
        return nil
    }
}

/// One bulk stream on a connected socket, either end. Each call returns what it saw as a line of JSON.
enum Flow {
    static let bufferSize = 256 * 1024

    /// Sends until `deadline`, ends sending, and waits until the other end has closed.
    static func source(_ socket: Socket, until deadline: Int64) -> Line {
        let buffer = [UInt8](repeating: 0x61, count: bufferSize)
        var failure = 0
        while load_now() < deadline {
            let sent = socket.send(buffer, count: bufferSize)
            if sent < 0 {
                failure = -sent
                break
            }
        }
        return finish(socket, failure, patience: 3000)
    }

    static func checkedSource(_ socket: Socket, bytes total: Int, seed: UInt64) -> Line {
        var buffer = [UInt8](repeating: 0, count: bufferSize)
        var stream = CheckedStream(seed: seed), left = total, failure = 0
        while left > 0, failure == 0 {
            let count = min(left, bufferSize)
            stream.fill(&buffer, count: count)
            if !socket.sendAll(buffer, count: count) { failure = 1 }
            left -= count
        }
        return finish(socket, failure, patience: 60_000)
    }

    /// Ends sending, waits for the other end at most `patience` milliseconds, and aborts if it still has not got everything.
    private static func finish(_ socket: Socket, _ failure: Int, patience: Int32) -> Line {
        let info = socket.information
        socket.endSending()
        socket.setTimeout(milliseconds: patience)
        var rest = [UInt8](repeating: 0, count: 64)
        let end = socket.receive(&rest)
        let last = socket.information
        if end < 0 { socket.abort() } else { socket.close() }
        var line = Line()
        line.add("error", failure != 0 ? failure : -min(end, 0))
        line.add("rtt_us", info.rtt)
        line.add("min_rtt_us", info.min_rtt)
        line.add("retransmissions", last.retransmissions)
        line.add("cwnd", info.window)
        line.add("mss", info.mss)
        return line
    }

    /// Receives until the other end has ended sending.
    static func sink(_ socket: Socket) -> Line {
        var buffer = [UInt8](repeating: 0, count: bufferSize)
        var arrivals = Arrivals(), failure = 0
        while true {
            let count = socket.receive(&buffer)
            if count <= 0 {
                failure = -count
                break
            }
            arrivals.add(count, now: load_now())
        }
        socket.close()
        var line = arrivals.describe
        line.add("error", failure)
        return line
    }

    static func checkedSink(_ socket: Socket, seed: UInt64) -> Line {
        var buffer = [UInt8](repeating: 0, count: bufferSize)
        var stream = CheckedStream(seed: seed), arrivals = Arrivals(), failure = 0, wrong = -1
        while true {
            let count = socket.receive(&buffer)
            if count <= 0 {
                failure = -count
                break
            }
            if wrong < 0, let place = stream.check(buffer, count: count) { wrong = arrivals.bytes + place }
            arrivals.add(count, now: load_now())
        }
        socket.close()
        var line = arrivals.describe
        line.add("error", failure)
        line.add("first_wrong_byte", wrong)
        return line
    }
}
