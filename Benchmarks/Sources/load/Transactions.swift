internal import CLoad
private import Histogram

/// Times of transactions.
struct Latencies {
    private var histogram = Histogram<UInt64>(highestTrackableValue: 60_000_000_000, numberOfSignificantValueDigits: .three)
    private(set) var count = 0

    mutating func add(_ nanoseconds: Int64) {
        histogram.record(UInt64(max(1, nanoseconds)))
        count += 1
    }

    func describe(_ nanoseconds: Int64) -> Line {
        var line = Line()
        line.add("transactions", count)
        line.add("per_second", Double(count) * 1e9 / Double(max(1, nanoseconds)))
        for (name, percentile) in [("p50_us", 50), ("p90_us", 90), ("p99_us", 99), ("p999_us", 99.9), ("max_us", 100)] {
            line.add(name, Double(histogram.valueAtPercentile(percentile)) / 1000)
        }
        return line
    }
}

/// Transactions one after the other, for so long or so many.
enum TransactionClient {
    /// `size` bytes there and back on one connection.
    static func exchange(_ to: Address, size: Int, nanoseconds: Int64, count: Int) -> Line? {
        guard let socket = opened(to, size: size) else { return nil }
        let message = [UInt8](repeating: 0x63, count: size)
        var reply = message
        var latencies = Latencies()
        let start = load_now()
        var before = start
        while latencies.count < count, before - start < nanoseconds {
            guard socket.sendAll(message, count: size), socket.receiveAll(&reply, count: size) else { break }
            let after = load_now()
            latencies.add(after - before)
            before = after
        }
        var line = latencies.describe(load_now() - start)
        line.add("rtt_us", socket.information.rtt)
        socket.close()
        return line
    }

    /// Connects, asks, gets the answer and closes; the server closes first.
    static func connections(_ to: Address, size: Int, nanoseconds: Int64, count: Int) -> Line? {
        var request = Request(.echoOnce)
        request.messageSize = UInt32(clamping: size)
        let bytes = request.bytes
        var reply = [UInt8](repeating: 0, count: max(size, 1))
        var latencies = Latencies(), failed = 0
        let start = load_now()
        while latencies.count + failed < count, load_now() - start < nanoseconds {
            let before = load_now()
            guard let socket = Socket.tcp(to: to) else {
                failed += 1
                continue
            }
            let isGood = socket.sendAll(bytes, count: bytes.count) && socket.receiveAll(&reply, count: size) && socket.receive(&reply) == 0
            socket.close()
            if isGood { latencies.add(load_now() - before) } else { failed += 1 }
        }
        var line = latencies.describe(load_now() - start)
        line.add("failed", failed)
        return line
    }

    /// Opens `count` connections, says so, and keeps them until standard input ends.
    static func hold(_ to: Address, count: Int) {
        var sockets: [Socket] = []
        var failed = 0
        let start = load_now()
        while sockets.count + failed < count, failed < 100 {
            if let socket = opened(to, size: 1) { sockets.append(socket) } else { failed += 1 }
        }
        var line = Line()
        line.add("held", sockets.count)
        line.add("failed", failed)
        line.add("seconds", Double(load_now() - start) / 1e9)
        say(line.json)
        var byte: UInt8 = 0
        // SAFETY: one byte at most is written.
        while unsafe read(0, &byte, 1) > 0 {}
        for socket in sockets { socket.close() }
    }

    /// A connection on which the server echoes messages of `size` bytes.
    private static func opened(_ to: Address, size: Int) -> Socket? {
        guard let socket = Socket.tcp(to: to) else { return nil }
        socket.setNoDelay()
        socket.setTimeout(milliseconds: 10_000)
        var request = Request(.echo)
        request.messageSize = UInt32(clamping: size)
        var ready: [UInt8] = [0]
        guard socket.sendAll(request.bytes, count: Request.size), socket.receiveAll(&ready, count: 1) else {
            socket.close()
            return nil
        }
        return socket
    }
}
