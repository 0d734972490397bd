internal import ArgumentParser
internal import Foundation

@main
struct Bench: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "bench", abstract: "Measures swift-passt beside its peers, in namespaces of its own.")

    @Flag(help: "A few minutes, one run.") var quick = false
    @Flag(help: "All figures, medians of three runs.") var full = false
    @Option(help: "Only settings whose name contains this, or start.") var only: String?
    @Option(help: "Another number of runs.") var runs: Int?
    @Option(help: "Only peers whose name contains one of these, with commas between.") var peers: String?
    @Option(help: "Another program with pasta's options, as NAME=PATH.") var also: [String] = []
    @Option(help: "Our program.") var pasta: String
    @Option(help: "Where results go.") var output: String
    @Option(help: "Also writes the chart there.") var chart: String?

    func run() throws {
        var plan = full ? Plan.full : Plan.quick
        if let runs { plan.runs = runs }
        let folder = URL(fileURLWithPath: CommandLine.arguments[0]).resolvingSymlinksInPath().deletingLastPathComponent()
        let lab = try Lab(load: folder.appendingPathComponent("load").path, emulator: folder.appendingPathComponent("path-emulator").path)
        defer { lab.end() }
        let wanted = peers?.split(separator: ",") ?? [""]
        let peers = Peer.all(ours: pasta, others: also).filter { peer in peer.kind == .none || wanted.contains { $0.isEmpty || peer.name == $0 } }
        var identities: [String: [String: String]] = [:]
        for peer in peers { identities[peer.name] = try peer.identity() }
        var results = Results()
        for peer in peers { results.add(Figure(setting: "program", name: "executable", unit: "MB", isBetterHigh: false), peer.name,
                                        identities[peer.name]?["bytes"].flatMap { Double($0) }.map { $0 / 1e6 }) }
        let begin = Shell.now
        if only == nil || only == "start" { startUps(plan, lab, peers, &results) }
        for run in 0..<plan.runs {
            for setting in plan.settings where run == 0 || setting.isRepeated {
                if let only, !setting.name.contains(only) { continue }
                for peer in peers where !setting.isOursAlone || peer.path == pasta { measure(setting, peer, lab, &results, &identities, begin: begin, run: run) }
            }
        }
        try write(results, peers.map(\.name), identities, lab.usualCongestion)
    }

    private func say(_ text: String) { FileHandle.standardError.write(Data((text + "\n").utf8)) }

    private func measure(_ setting: Plan.Setting, _ peer: Peer, _ lab: Lab, _ results: inout Results,
                         _ identities: inout [String: [String: String]], begin: Double, run: Int) {
        say(String(format: "%5.0f s  run %d  %@, %@", Shell.now - begin, run + 1, setting.name, peer.name))
        // slirp4netns has no short cut, and forwards ports in a way of its own.
        if setting.way != .outward, peer.kind == .slirp { return }
        do {
            guard try lab.join(setting.link) else { return results.note("\(setting.name): not granted by this kernel, left out") }
            let session = try Session(peer, lab, mtu: setting.link.mtu, six: setting.six, way: setting.way)
            defer { session.end() }
            if let relay = session.relay {
                // Proof that the program that runs is the one that was named.
                let runs = relay.executable
                identities[peer.name]?["running"] = runs
                let folder = identities[peer.name].flatMap { $0["file"] }.map { ($0 as NSString).deletingLastPathComponent } ?? ""
                guard runs.hasPrefix(folder) else { throw BenchError("runs \(runs), not something in \(folder)") }
                if let digest = try? Shell.must(["sha256sum", runs]) {
                    identities[peer.name]?["running_sha256"] = digest.split(separator: " ").first.map(String.init)
                }
            }
            var measuring = Measuring(session: session, lab: lab, setting: setting.name, results: results)
            defer { results = measuring.results }
            try setting.measure(&measuring)
        } catch {
            results.note("\(peer.name), \(setting.name): \(error)")
        }
    }

    private func startUps(_ plan: Plan, _ lab: Lab, _ peers: [Peer], _ results: inout Results) {
        let figure = Figure(setting: "start-up", name: "until the command runs", unit: "ms", isBetterHigh: false)
        do {
            _ = try lab.join(Link(mtu: 1500))
            for _ in 0..<plan.startUps {
                for peer in peers {
                    do { results.add(figure, peer.name, try peer.startUp(load: lab.load)) } catch { results.note("\(peer.name), start-up: \(error)") }
                }
            }
        } catch {
            results.note("start-up: \(error)")
        }
    }

    private func write(_ results: Results, _ names: [String], _ identities: [String: [String: String]], _ congestion: String) throws {
        let machine = [
            "kernel": try Shell.must(["uname", "-srm"]).trimmingCharacters(in: .whitespacesAndNewlines),
            "processors": String(ProcessInfo.processInfo.activeProcessorCount),
            "congestion_control": congestion, "mode": full ? "full" : "quick",
        ]
        let caption = "\(machine["kernel"] ?? ""), \(machine["processors"] ?? "") processors, \(congestion)"
        var text = Table.text(results, names) + "\n"
        for name in names {
            guard let identity = identities[name], !identity.isEmpty else { continue }
            text += "- \(name): \(identity["version"] ?? "") \(identity["package"] ?? ""), ran \(identity["running"] ?? "nothing"), sha256 \(identity["running_sha256"] ?? identity["sha256"] ?? "")\n"
        }
        text += results.notes.map { "- note: \($0)\n" }.joined()
        let svg = Chart.svg(results, names, chosen: Self.isInChart, caption: caption)
        let folder = URL(fileURLWithPath: output)
        try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
        try Data(text.utf8).write(to: folder.appendingPathComponent("table.md"))
        try Report.data(results, names, identities: identities, machine: machine).write(to: folder.appendingPathComponent("results.json"))
        try Data(svg.utf8).write(to: folder.appendingPathComponent("chart.svg"))
        if let chart { try Data(svg.utf8).write(to: URL(fileURLWithPath: chart)) }
        FileHandle.standardOutput.write(Data(text.utf8))
    }

    private static func isInChart(_ figure: Figure) -> Bool {
        let names = ["guest > host", "host > guest", "request/response", "connect/request/close", "UDP guest > host"]
        return names.contains(figure.name) && (figure.setting.hasPrefix("MTU") || figure.setting.hasPrefix("50 ms"))
    }
}
