internal import Foundation

/// Between whom figures are taken.
enum Way {
    /// From the guest to a server in `remote`.
    case outward
    /// Through a forwarded port to a server in the guest, from `remote` or from the host's loopback. Without a relay, to a server on the host.
    case inward, loopback
}

/// One peer connecting the guest, and the clients that measure through it.
final class Session {
    let peer: Peer
    private let lab: Lab
    private(set) var relay: Relay?
    private let target: String
    private let client: String
    let way: Way
    private var server: Child?

    init(_ peer: Peer, _ lab: Lab, mtu: Int, six: Bool, way: Way) throws {
        self.peer = peer
        self.lab = lab
        self.way = way
        target = switch way {
        case .outward: six ? Lab.address6 : Lab.address4
        case .inward: six ? Lab.hostAddress6 : Lab.hostAddress4
        case .loopback: six ? "::1" : "127.0.0.1"
        }
        client = way == .inward ? "remote" : peer.kind == .none || way == .loopback ? "host" : "guest"
        if peer.kind != .none { try lab.renewGuest() }
        if way != .outward {
            let server = try Child(Lab.enter(peer.kind == .none ? "host" : "guest", [lab.load, "server"]), input: false)
            guard Shell.wait(3, until: { server.output == "ready\n" }) else { throw BenchError("the server does not start") }
            self.server = server
        }
        guard peer.kind != .none else { return }
        let child = try Child(Lab.enter("host", peer.command(mtu: mtu, port: way == .outward ? "none" : "5201")), input: false)
        let isUp = Shell.wait(10) {
            guard child.isRunning, let text = try? Shell.must(["ip", "-n", "guest", "-o", "addr", "show", "scope", "global"]) else { return false }
            return text.contains("inet ") && (!six || text.contains("inet6 "))
        }
        guard isUp, child.isRunning else {
            child.stop()
            throw BenchError("\(peer.name) does not connect the guest: \(child.errors.suffix(300))")
        }
        relay = Relay(child)
        Shell.sleep(0.2)
    }

    func end() {
        server?.stop()
        relay?.child.stop()
        // The device goes away with the relay, sometimes a moment later.
        _ = Shell.wait(3) { (try? Shell.must(["ip", "-n", "guest", "-o", "link"]).split(separator: "\n").count == 1) ?? true }
    }

    /// Runs the load generator and reads its line.
    func run(_ mode: String, _ words: [String] = [], timeout: Double = 30) throws -> [String: Any] {
        let text = try Shell.must(Lab.enter(client, [lab.load, mode, "to=\(target)"] + words), timeout: timeout)
        guard let line = try JSONSerialization.jsonObject(with: Data(text.utf8)) as? [String: Any] else { throw BenchError("not JSON: \(text)") }
        return line
    }

    /// Starts the load generator and lets it run.
    func start(_ mode: String, _ words: [String]) throws -> Child {
        try Child(Lab.enter(client, [lab.load, mode, "to=\(target)"] + words), input: true)
    }

    /// System calls of the relay while `work` runs; nil without a relay.
    func systemCalls(during work: () throws -> Void) throws -> Double? {
        guard let relay else { return nil }
        let file = "/run/strace.txt"
        let tracer = try Child(["strace", "-f", "-c", "-U", "calls,name", "-o", file] + relay.processes.flatMap { ["-p", String($0)] }, input: false)
        guard Shell.wait(3, until: { tracer.errors.contains("attached") }) else { throw BenchError("strace: \(tracer.errors)") }
        try work()
        tracer.stop(SIGINT)
        var total = 0.0
        for line in (Shell.contents(file) ?? "").split(separator: "\n") {
            let words = line.split(separator: " ")
            if words.count == 2, words[1] != "total", let calls = Double(words[0]) { total += calls }
        }
        return total
    }
}

/// What bulk streams of one direction achieved together.
struct Bulk {
    var gigabits = 0.0
    var bytes = 0.0
    var retransmissions = 0.0
    var rtt = 0.0
    var slots: [Double] = []
    var isIdentical = true
    var failures = 0

    /// - Parameter line: what the load generator printed.
    init(_ line: [String: Any], _ direction: String) throws {
        var nanoseconds = 0.0
        for stream in line["streams"] as? [[String: Any]] ?? [] where stream["direction"] as? String == direction {
            // A stream that never ended, or never began, has carried nothing that counts.
            guard let receiver = stream["receiver"] as? [String: Any], let count = receiver["bytes"] as? Double else {
                failures += 1
                continue
            }
            bytes += count
            nanoseconds = max(nanoseconds, receiver["nanoseconds"] as? Double ?? 0)
            if let wrong = receiver["first_wrong_byte"] as? Double, wrong >= 0 { isIdentical = false }
            for (index, slot) in (receiver["slots"] as? [Double] ?? []).enumerated() {
                if index < slots.count { slots[index] += slot } else { slots.append(slot) }
            }
            let sender = stream["sender"] as? [String: Any]
            retransmissions += sender?["retransmissions"] as? Double ?? 0
            rtt = max(rtt, (sender?["rtt_us"] as? Double ?? 0) / 1000)
        }
        gigabits = nanoseconds > 0 ? bytes * 8 / nanoseconds : 0
    }

    /// The worst second compared to the median second; of tenths of seconds if there are fewer than four whole seconds.
    var steadiness: Double {
        let whole = slots.dropLast()
        let width = whole.count >= 40 ? 10 : 1
        let windows = stride(from: 0, to: whole.count - width + 1, by: width).map { whole[$0..<($0 + width)].reduce(0, +) }
        guard windows.count > 2, let median = median(windows) else { return .nan }
        return median > 0 ? (windows.min() ?? 0) / median : 0
    }
}

func median(_ values: [Double]) -> Double? {
    let sorted = values.sorted()
    guard !sorted.isEmpty else { return nil }
    return (sorted[(sorted.count - 1) / 2] + sorted[sorted.count / 2]) / 2
}
