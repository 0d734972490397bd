internal import Foundation

/// Bars of chosen figures, as a share of what the path carries without any relay.
struct Chart {
    private static let colours = ["swift-passt": "#f05138", "passt": "#4c72b0", "slirp4netns": "#9aa0a6"]
    private static let width = 860.0, left = 250.0, right = 110.0, bar = 13.0, gap = 16.0, top = 66.0

    /// - Parameter chosen: the figures to show; those that were not measured are left out.
    static func svg(_ results: Results, _ peers: [String], chosen: (Figure) -> Bool, caption: String) -> String {
        let relays = Array(peers.dropFirst())
        let rows = results.figures.filter { figure in chosen(figure) && results.value(figure, peers[0]) != nil }
        let group = Double(relays.count) * bar + gap
        let height = top + Double(rows.count) * group + 30
        let scale = width - left - right
        var body = """
            <text x="16" y="26" font-size="16" font-weight="600" class="ink">Share of the path's own speed that reaches the guest</text>

            """
        for (index, relay) in relays.enumerated() {
            let x = 16 + Double(index) * 130
            body += "<rect x=\"\(x)\" y=\"38\" width=\"11\" height=\"11\" fill=\"\(colour(relay))\"/>"
            body += "<text x=\"\(x + 16)\" y=\"48\" class=\"ink\">\(escape(relay))</text>\n"
        }
        for share in stride(from: 0.0, through: 1.0, by: 0.25) {
            let x = left + share * scale
            body += "<line x1=\"\(x)\" y1=\"\(top - 6)\" x2=\"\(x)\" y2=\"\(height - 26)\" class=\"rule\"/>"
            body += "<text x=\"\(x)\" y=\"\(height - 10)\" text-anchor=\"middle\" class=\"faint\">\(Int(share * 100)) %</text>\n"
        }
        for (index, figure) in rows.enumerated() {
            let y = top + Double(index) * group
            let middle = y + Double(relays.count) * bar / 2
            body += "<text x=\"\(left - 10)\" y=\"\(middle - 2)\" text-anchor=\"end\" class=\"ink\">\(escape(figure.name))</text>"
            body += "<text x=\"\(left - 10)\" y=\"\(middle + 12)\" text-anchor=\"end\" class=\"faint\">\(escape(figure.setting))</text>\n"
            for (place, relay) in relays.enumerated() {
                guard let ratio = results.ratio(figure, relay, to: peers[0]) else { continue }
                let length = max(1, min(1, ratio) * scale), barTop = y + Double(place) * bar
                let label = "\(Table.short(results.value(figure, relay))) \(figure.unit)"
                body += "<rect x=\"\(left)\" y=\"\(barTop)\" width=\"\(length)\" height=\"\(bar - 2)\" fill=\"\(colour(relay))\"/>"
                body += "<text x=\"\(left + length + 5)\" y=\"\(barTop + 9.5)\" font-size=\"10\" class=\"faint\">\(escape(label))</text>\n"
            }
        }
        body += "<text x=\"\(width - 16)\" y=\"26\" text-anchor=\"end\" font-size=\"10\" class=\"faint\">\(escape(caption))</text>\n"
        return """
            <svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 \(width) \(height)" font-family="system-ui, sans-serif" font-size="12">
            <style>.ink{fill:#24292f}.faint{fill:#6e7781}.rule{stroke:#d0d7de;stroke-width:1}\
            @media(prefers-color-scheme:dark){.ink{fill:#e6edf3}.faint{fill:#8d96a0}.rule{stroke:#30363d}}</style>
            \(body)</svg>

            """
    }

    private static func colour(_ peer: String) -> String { colours[peer] ?? "#2a9d8f" }

    private static func escape(_ text: String) -> String {
        text.replacingOccurrences(of: "&", with: "&amp;").replacingOccurrences(of: "<", with: "&lt;").replacingOccurrences(of: ">", with: "&gt;")
    }
}
