import Foundation
import Testing

/// Nothing is exposed by accident: who reaches what, from every side, compared with the list in Documentation/Exposure.md.
@Suite struct ExposureTests {
    private static let ports = ["host": 4100, "host loopback": 4101, "guest": 4200, "guest loopback": 4201]

    /// Lines of the document under a headline: from where, at which address, and what answers there.
    private static func written(_ headline: String) throws -> [String: Set<String>] {
        let text = contents(Helpers.path("../../../Documentation/Exposure.md"))
        guard let start = text.range(of: "## \(headline)\n") else { throw Failure("no such list: \(headline)") }
        let section = text[start.upperBound...].components("## ")[0]
        var list: [String: Set<String>] = [:]
        for line in section.split(separator: "\n") where line.hasPrefix("    ") && line.contains("|") {
            let cells = line.split(separator: "|", omittingEmptySubsequences: false).map { $0.trimmed }
            list["\(cells[0]), \(cells[1])"] = Set(cells[2].components(", ").filter { !$0.isEmpty && $0 != "nothing" })
        }
        return list
    }

    @Test("Who reaches what", arguments: [
        ("By default", []), ("With every port option none", ["-t", "none", "-u", "none", "-T", "none", "-U", "none"]),
        ("Sealed", ["-t", "none", "-u", "none", "-T", "none", "-U", "none", "--no-map-gw"]),
    ])
    func lesson39_whoReachesWhat(_ headline: String, _ options: [String]) throws {
        let written = try Self.written(headline)
        try withNetwork { network in
            let guest = try network.guest(["--config-net"] + options, automatic: options.isEmpty)
            func serve(_ name: String, _ addresses: [String], _ start: ([String]) throws -> Child) throws {
                let child = try start(["python3", Helpers.path("probe.py"), "serve", name, "\(Self.ports[name]!)"] + addresses)
                try require(name) { child.standardOutput.contains("ready") || child.poll() != nil }
                if child.poll() != nil { throw Failure(child.standardError) }
            }
            try serve("guest", ["0.0.0.0", "::"]) { try guest.start($0) }
            try serve("guest loopback", ["127.0.0.1", "::1"]) { try guest.start($0) }
            try serve("host", ["0.0.0.0", "::"]) { try network.host.start($0) }
            try serve("host loopback", ["127.0.0.1", "::1"]) { try network.host.start($0) }
            // Two looks at both sides.
            if options.isEmpty { try network.run(["sleep", "2.5"]) }

            for family in Family.allCases {
                let asked: [(String, String, ([String]) throws -> Output)] = [
                    ("remote, host's address", family.hostAddress, { try network.remote.run($0) }),
                    ("host, loopback", family.loopback, { try network.host.run($0) }),
                    ("host, host's address", family.hostAddress, { try network.host.run($0) }),
                    ("guest, loopback", family.loopback, { try guest.run($0) }),
                    ("guest, guest's address", family.hostAddress, { try guest.run($0) }),
                    ("guest, gateway", family.gateway, { try guest.run($0) }),
                ]
                #expect(Set(asked.map(\.0)) == Set(written.keys))
                for (place, address, run) in asked {
                    let lines = try run(["python3", Helpers.path("probe.py"), "ask", address] + Self.ports.values.map { "\($0)" }).check().lines
                    for kind in ["tcp", "udp"] {
                        let found = Set(lines.filter { $0.hasPrefix(kind) }.map { $0.split(separator: " ", maxSplits: 2)[2].description })
                        #expect(found == written[place], "\(kind) \(family): \(place)")
                    }
                }
            }
        }
    }
}

extension StringProtocol {
    fileprivate var trimmed: String { String(drop { $0 == " " }.reversed().drop { $0 == " " }.reversed()) }
    fileprivate func components(_ separator: String) -> [String] {
        var rest = Substring(self)
        var found: [String] = []
        while let range = rest.range(of: separator) {
            found.append(String(rest[..<range.lowerBound]))
            rest = rest[range.upperBound...]
        }
        return found + [String(rest)]
    }
}
