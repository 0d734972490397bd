internal import Foundation

/// One row of the table.
struct Figure: Hashable {
    let setting: String
    let name: String
    let unit: String
    var isBetterHigh = true
    /// A moment's failure, which a median of several runs would hide: the worst of them counts.
    var isWorstCase = false
}

/// Every value that was measured, in the order the figures came.
struct Results {
    private(set) var figures: [Figure] = []
    private var samples: [Figure: [String: [Double]]] = [:]
    private(set) var notes: [String] = []

    mutating func add(_ figure: Figure, _ peer: String, _ value: Double?) {
        guard let value, value.isFinite else { return }
        if samples[figure] == nil { figures.append(figure) }
        samples[figure, default: [:]][peer, default: []].append(value)
    }

    mutating func note(_ text: String) {
        if !notes.contains(text) { notes.append(text) }
        FileHandle.standardError.write(Data(("  " + text + "\n").utf8))
    }

    func values(_ figure: Figure, _ peer: String) -> [Double] { samples[figure]?[peer] ?? [] }
    /// The median of all runs, or the worst of them.
    func value(_ figure: Figure, _ peer: String) -> Double? {
        if figure.isWorstCase { return figure.isBetterHigh ? values(figure, peer).min() : values(figure, peer).max() }
        return median(values(figure, peer))
    }

    /// How much better `peer` is than `other`: above 1 is better, whichever way the figure counts.
    func ratio(_ figure: Figure, _ peer: String, to other: String) -> Double? {
        guard let ours = value(figure, peer), let theirs = value(figure, other) else { return nil }
        let (top, bottom) = figure.isBetterHigh ? (ours, theirs) : (theirs, ours)
        return bottom > 0 ? top / bottom : nil
    }
}

/// The figures as a Markdown table, with ratios.
enum Table {
    static func text(_ results: Results, _ peers: [String]) -> String {
        var rows = [["setting", "figure", "unit"] + peers]
        let others = peers.dropFirst().count > 1 ? Array(peers.dropFirst(2)) : []
        rows[0] += peers.count > 1 ? ["of no relay"] + others.map { "vs \($0)" } : []
        for figure in results.figures {
            var row = [figure.setting, figure.name, figure.unit]
            row += peers.map { short(results.value(figure, $0)) }
            if peers.count > 1 {
                row.append(short(results.ratio(figure, peers[1], to: peers[0])))
                row += others.map { results.ratio(figure, peers[1], to: $0).map { short($0) + "x" } ?? "-" }
            }
            rows.append(row)
        }
        let widths = rows[0].indices.map { column in rows.map { $0[column].count }.max() ?? 0 }
        func line(_ row: [String]) -> String {
            "| " + zip(row, widths).map { $0.padding(toLength: $1, withPad: " ", startingAt: 0) }.joined(separator: " | ") + " |\n"
        }
        let rule = "|" + widths.map { String(repeating: "-", count: $0 + 2) }.joined(separator: "|") + "|\n"
        return line(rows[0]) + rule + rows.dropFirst().map(line).joined()
    }

    /// Three figures that count.
    static func short(_ value: Double?) -> String {
        guard let value else { return "-" }
        let size = abs(value)
        return String(format: size >= 100 || size == 0 ? "%.0f" : size >= 10 ? "%.1f" : size >= 1 ? "%.2f" : "%.3f", value)
    }
}

/// Everything as JSON: identities, each sample, and what they come to.
enum Report {
    static func data(_ results: Results, _ peers: [String], identities: [String: [String: String]], machine: [String: String]) throws -> Data {
        let figures: [[String: Any]] = results.figures.map { figure in
            var samples: [String: [Double]] = [:], outcomes: [String: Double] = [:]
            for peer in peers where !results.values(figure, peer).isEmpty {
                samples[peer] = results.values(figure, peer)
                outcomes[peer] = results.value(figure, peer)
            }
            return ["setting": figure.setting, "figure": figure.name, "unit": figure.unit, "higher_is_better": figure.isBetterHigh,
                    "outcomes": outcomes, "samples": samples]
        }
        let all: [String: Any] = ["machine": machine, "peers": identities, "figures": figures, "notes": results.notes]
        return try JSONSerialization.data(withJSONObject: all, options: [.prettyPrinted, .sortedKeys])
    }
}
