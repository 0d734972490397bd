internal import CLoad
private import Synchronization

/// Bulk streams, each a thread, up, down or both ways at once.
enum BulkClient {
    private final class Results: Sendable {
        let lines = Mutex<[String]>([])
    }

    struct Plan: Sendable {
        var up = 0, down = 0
        var congestion: UInt8 = 0
        var nanoseconds: Int64 = 0
        /// Bytes per stream that are checked one by one, instead of a time.
        var checkedBytes = 0
        var id: UInt64 = 0
    }

    /// Runs all streams and returns `{"streams":[{"direction":...,"sender":{...},"receiver":{...}},...]}`.
    static func run(_ to: Address, _ plan: Plan) -> Line? {
        let results = Results()
        let start = load_now()
        let workers = (0..<(plan.up + plan.down)).map { index in
            Worker {
                let line = stream(to, plan, isUp: index < plan.up, id: plan.id &+ UInt64(index) &* 7919)
                results.lines.withLock { $0.append(line.json) }
            }
        }
        for worker in workers { worker.wait() }
        var line = Line()
        line.add("seconds", Double(load_now() - start) / 1e9)
        line.add("streams", raw: "[" + results.lines.withLock { $0.joined(separator: ",") } + "]")
        return line
    }

    private static func stream(_ to: Address, _ plan: Plan, isUp: Bool, id: UInt64) -> Line {
        var line = Line()
        line.add("direction", quoted: isUp ? "up" : "down")
        let isChecked = plan.checkedBytes > 0
        var request = Request(isUp ? (isChecked ? .checkedSink : .sink) : (isChecked ? .checkedSource : .source))
        request.congestion = plan.congestion
        request.amount = isChecked ? UInt64(plan.checkedBytes) : UInt64(plan.nanoseconds)
        request.id = id
        guard let socket = Socket.tcp(to: to, congestion: plan.congestion), socket.sendAll(request.bytes, count: Request.size) else {
            line.add("error", 1)
            return line
        }
        if isUp {
            let sent = isChecked ? Flow.checkedSource(socket, bytes: plan.checkedBytes, seed: id)
                : Flow.source(socket, until: load_now() + plan.nanoseconds)
            line.add("sender", raw: sent.json)
            line.add("receiver", raw: report(to, id: id))
        } else {
            let received = isChecked ? Flow.checkedSink(socket, seed: id) : Flow.sink(socket)
            line.add("receiver", raw: received.json)
            line.add("sender", raw: report(to, id: id))
        }
        return line
    }

    /// What the server found out about job `id`; it may need a moment to finish.
    static func report(_ to: Address, id: UInt64) -> String {
        var request = Request(.report)
        request.id = id
        let end = load_now() + 3_000_000_000
        while load_now() < end {
            if let socket = Socket.tcp(to: to) {
                defer { socket.close() }
                socket.setTimeout(milliseconds: 1000)
                var text = [UInt8](repeating: 0, count: 65536), length = 0
                if socket.sendAll(request.bytes, count: Request.size) {
                    while length < text.count {
                        let count = socket.receive(&text, at: length)
                        if count <= 0 { break }
                        length += count
                    }
                }
                if length > 0 { return String(decoding: text[0..<length], as: UTF8.self) }
            }
            load_sleep(50_000_000)
        }
        return "null"
    }
}
