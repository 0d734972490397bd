internal import Foundation

/// The processes of a running relay, as /proc shows them.
struct Relay {
    let child: Child
    let processes: [Int32]

    init(_ child: Child) {
        self.child = child
        var known: Set<Int32> = [child.pid]
        let all = (try? FileManager.default.contentsOfDirectory(atPath: "/proc"))?.compactMap { Int32($0) }.sorted() ?? []
        for _ in 0..<3 {  // A child may have a lower number than its parent.
            for pid in all where known.contains(Self.fields(pid).parent) { known.insert(pid) }
        }
        processes = known.sorted()
    }

    /// The program that runs, as the kernel names it.
    var executable: String {
        let links = processes.compactMap { try? FileManager.default.destinationOfSymbolicLink(atPath: "/proc/\($0)/exe") }
        return Set(links).sorted().joined(separator: " ")
    }

    /// Processor seconds so far, in user and kernel mode.
    var processorTime: Double { processes.reduce(0) { $0 + Self.fields($1).ticks } / 100 }

    /// Resident memory in megabytes.
    var resident: Double { sum("VmRSS:", of: processes.map { "/proc/\($0)/status" }) / 1024 }

    /// What of it is not the program's file, in megabytes.
    var own: Double { sum("RssAnon:", of: processes.map { "/proc/\($0)/status" }) / 1024 }

    /// Open descriptors.
    var descriptors: Double {
        processes.reduce(0) { $0 + Double((try? FileManager.default.contentsOfDirectory(atPath: "/proc/\($1)/fd").count) ?? 0) }
    }

    /// How often a thread of the relay went to sleep.
    var sleeps: Double {
        sum("voluntary_ctxt_switches:", of: processes.flatMap { pid in
            ((try? FileManager.default.contentsOfDirectory(atPath: "/proc/\(pid)/task")) ?? []).map { "/proc/\(pid)/task/\($0)/status" }
        })
    }

    private func sum(_ field: String, of paths: [String]) -> Double {
        var total = 0.0
        for path in paths {
            for line in (Shell.contents(path) ?? "").split(separator: "\n") where line.hasPrefix(field) {
                total += Double(line.split(whereSeparator: { $0 == " " || $0 == "\t" })[1]) ?? 0
            }
        }
        return total
    }

    private static func fields(_ pid: Int32) -> (parent: Int32, ticks: Double) {
        guard let text = Shell.contents("/proc/\(pid)/stat"), let end = text.lastIndex(of: ")") else { return (0, 0) }
        let words = text[text.index(after: end)...].split(separator: " ")  // From the state, which is field 3, on.
        guard words.count > 13 else { return (0, 0) }
        return (Int32(words[1]) ?? 0, (Double(words[11]) ?? 0) + (Double(words[12]) ?? 0))
    }
}
