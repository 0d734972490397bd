internal import Foundation

/// Measures one peer in one setting and adds what comes out to the results.
struct Measuring {
    let session: Session
    let lab: Lab
    let setting: String
    var results: Results

    private mutating func add(_ name: String, _ unit: String, _ value: Double?, betterLow: Bool = false, isWorstCase: Bool = false) {
        results.add(Figure(setting: setting, name: name, unit: unit, isBetterHigh: !betterLow, isWorstCase: isWorstCase), session.peer.name, value)
    }

    /// Each direction alone.
    mutating func bulk(streams: Int, seconds: Double, withCost: Bool = false, withRoundTrip: Bool = false) throws {
        let isOutward = session.way == .outward
        for (mode, name) in [("up", isOutward ? "guest > host" : "into namespace"), ("down", isOutward ? "host > guest" : "out of namespace")] {
            let before = session.relay?.processorTime
            let line = try session.run(mode, ["streams=\(streams)", "seconds=\(seconds)"], timeout: seconds + 40)
            let after = session.relay?.processorTime
            let bulk = try Bulk(line, mode)
            let label = streams == 1 ? name : "\(name), \(streams) streams"
            add(label, "Gbit/s", bulk.gigabits)
            add("\(label): worst of median", "", bulk.steadiness, isWorstCase: true)
            if bulk.failures > 0 { results.note("\(session.peer.name), \(setting), \(label): \(bulk.failures) streams did not end") }
            if withRoundTrip, mode == "up" { add("guest's smoothed RTT, sending", "ms", bulk.rtt) }
            if mode == "up", bulk.bytes > 0 { add("\(label): retransmissions", "/GB", bulk.retransmissions / (bulk.bytes / 1e9), betterLow: true) }
            if withCost, bulk.bytes > 0, let before, let after { add("\(label): processor time", "s/GB", (after - before) / (bulk.bytes / 1e9), betterLow: true) }
        }
    }

    mutating func bothWays(seconds: Double) throws {
        let line = try session.run("both", ["streams=1", "seconds=\(seconds)"], timeout: seconds + 40)
        add("both at once: guest > host", "Gbit/s", try Bulk(line, "up").gigabits)
        add("both at once: host > guest", "Gbit/s", try Bulk(line, "down").gigabits)
    }

    mutating func transactions(seconds: Double) throws {
        for (mode, name) in [("rr", "request/response"), ("crr", "connect/request/close")] {
            let line = try session.run(mode, ["seconds=\(seconds)"], timeout: seconds + 20)
            add(name, "/s", line["per_second"] as? Double)
            add("\(name): p50", "us", line["p50_us"] as? Double, betterLow: true)
            add("\(name): p99", "us", line["p99_us"] as? Double, betterLow: true)
            if let failed = line["failed"] as? Double, failed > 0 { results.note("\(session.peer.name), \(setting): \(Int(failed)) connections failed") }
        }
    }

    /// 1400-byte datagrams as fast as they go; what arrives counts.
    mutating func datagrams(seconds: Double) throws {
        let up = try session.run("udp-up", ["size=1400", "seconds=\(seconds)"])
        add("UDP guest > host", "kpps", ((up["receiver"] as? [String: Any])?["packets_per_second"] as? Double).map { $0 / 1000 } ?? 0)
        let down = try session.run("udp-down", ["size=1400", "seconds=\(seconds)"])
        add("UDP host > guest", "kpps", (down["packets_per_second"] as? Double).map { $0 / 1000 })
        let there = try session.run("udp-rr", ["size=24", "seconds=\(seconds)"])
        add("UDP request/response", "/s", there["per_second"] as? Double)
    }

    /// System calls of the relay for each transaction.
    mutating func systemCalls(transactions count: Int) throws {
        for (mode, name) in [("rr", "request/response"), ("crr", "connect/request/close")] {
            let calls = try session.systemCalls { _ = try session.run(mode, ["count=\(count)"], timeout: 60) }
            add("system calls per \(name)", "", calls.map { $0 / Double(count) }, betterLow: true)
        }
    }

    mutating func idle(seconds: Double) throws {
        guard let relay = session.relay else { return }
        Shell.sleep(1)
        let before = relay.sleeps
        Shell.sleep(seconds)
        add("idle wake-ups", "/s", (relay.sleeps - before) / seconds, betterLow: true)
    }

    /// `count` connections held open: memory and descriptors, how fast others are opened meanwhile, and what is left after.
    mutating func held(_ count: Int) throws {
        add("resident, idle", "MB", session.relay?.resident, betterLow: true)
        let descriptors = session.relay?.descriptors
        let client = try session.start("hold", ["count=\(count)"])
        defer { client.stop() }
        guard Shell.wait(60, until: { client.output.hasSuffix("\n") || !client.isRunning }) else { throw BenchError("hold: no answer") }
        let line = try JSONSerialization.jsonObject(with: Data(client.output.utf8)) as? [String: Any]
        let held = line?["held"] as? Double ?? 0
        if held < Double(count) { results.note("\(session.peer.name) held \(Int(held)) of \(count) connections") }
        add("connections held of \(count)", "", held)
        add("resident, \(count) connections", "MB", session.relay?.resident, betterLow: true)
        let rate = try session.run("crr", ["seconds=2"], timeout: 30)["per_second"] as? Double
        add("connect/request/close, \(count) held", "/s", rate)
        client.endInput()
        guard let relay = session.relay, let descriptors else { return }
        _ = Shell.wait(20) { relay.descriptors <= descriptors }
        add("descriptors that \(count) connections left", "", relay.descriptors - descriptors, betterLow: true)
    }

    /// What `count` connections, one after the other, leave behind.
    mutating func inTurn(_ count: Int) throws {
        guard let relay = session.relay else { return }
        // Tables fill with the first ones.
        _ = try session.run("crr", ["count=5000"], timeout: 60)
        let (descriptors, memory) = (relay.descriptors, relay.own)
        _ = try session.run("crr", ["count=\(count)"], timeout: 300)
        _ = Shell.wait(20) { relay.descriptors <= descriptors }
        add("descriptors that \(count) connections in turn left", "", relay.descriptors - descriptors, betterLow: true)
        add("memory that \(count) connections in turn left", "MB", relay.own - memory, betterLow: true)
    }

    /// What the guest's kernel thinks of the path.
    mutating func roundTrip() throws {
        let line = try session.run("rr", ["count=20"], timeout: 20)
        add("guest's smoothed RTT", "ms", (line["rtt_us"] as? Double).map { $0 / 1000 })
    }

    /// Transfers both ways of which every byte is checked.
    mutating func identical(bytes: Int) throws {
        for mode in ["up", "down"] {
            let line = try session.run("check-\(mode)", ["bytes=\(bytes)"], timeout: 180)
            let bulk = try Bulk(line, mode)
            let isWhole = bulk.isIdentical && Int(bulk.bytes) == bytes
            let name = "\(bytes >> 20) MiB \(mode == "up" ? "guest > host" : "host > guest")"
            add("\(name), identical", "", isWhole ? 1 : 0)
            add(name, "Gbit/s", bulk.gigabits)
            if !isWhole { results.note("\(session.peer.name): \(name) is NOT identical, \(Int(bulk.bytes)) bytes came") }
        }
    }

    /// Cuts the path under a running stream; how long after its return bytes arrive again.
    mutating func blackHole(seconds: Double) throws {
        let total = seconds + 12
        let client = try session.start("up", ["seconds=\(total)"])
        Shell.sleep(2)
        lab.emulator?.say("cut=on")
        Shell.sleep(seconds)
        lab.emulator?.say("cut=off")
        let output = client.finish(timeout: total + 40)
        guard let line = try JSONSerialization.jsonObject(with: Data(output.text.utf8)) as? [String: Any] else { throw BenchError(output.errors) }
        let slots = try Bulk(line, "up").slots
        let back = Int((2 + seconds) * 10) - 1
        let first = slots.indices.first { $0 >= back && slots[$0] > 0 }
        if first == nil { results.note("\(session.peer.name) does not come back after \(Int(seconds)) s") }
        add("until bytes arrive again", "s", first.map { max(0, Double($0 - back) / 10) }, betterLow: true)
    }
}
