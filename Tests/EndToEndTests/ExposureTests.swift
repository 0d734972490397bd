import Foundation
import Testing

/// Nothing is exposed by accident: who reaches what, from every side, compared with the lists in Documentation/Exposure.md.
@Suite struct ExposureTests {
    /// Services, and where they are.
    private static let ports = ["host": 4100, "host loopback": 4101, "host resolver": 4102, "guest": 4000, "guest loopback": 4201]
    /// What may lead to one of them.
    private static let forwarded = 8080

    /// How a program is called, and the headline of its list.
    private struct Call: CustomTestStringConvertible {
        let headline: String
        var options: [String] = []
        var isPasst = false

        /// By automatic ports.
        var followsServices: Bool { !isPasst && !options.contains("-t") }
        var testDescription: String { headline }
    }

    private static let none = ["-t", "none", "-u", "none", "-T", "none", "-U", "none"]
    private static let calls = [
        Call(headline: "By default", options: ["--config-net"]),
        Call(headline: "With every port option none", options: ["--config-net"] + none),
        Call(headline: "Sealed", options: ["--config-net", "--no-map-gw"] + none),
        Call(headline: "With -t 8080:4000 -u 8080:4000 -T none -U none", options: ["--config-net", "-t", "8080:4000", "-u", "8080:4000", "-T", "none", "-U", "none"]),
        Call(headline: "With --splice-only", options: ["--splice-only"]),
        Call(headline: "passt", isPasst: true),
    ]

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

    // MARK: Who asks

    private enum Side: String {
        case remote, host, guest
    }

    /// The guest, a namespace or a machine.
    private struct Inside {
        let interface: String
        let start: ([String]) throws -> Child
    }

    private static func inside(_ call: Call, _ network: Network) throws -> Inside {
        guard call.isPasst else {
            let guest = try network.guest(call.options, automatic: true)
            return Inside(interface: "wan0") { try guest.start($0) }
        }
        let socket = network.path("s")
        _ = try network.passt(["-f", "--socket", socket] + call.options)
        let machine = try Machine(network, "vm", socket: socket)
        try machine.configure()
        // As by DHCPv6.
        try machine.host.sh("ip addr add \(Family.v6.hostAddress)/128 dev eth0 nodad").check()
        return Inside(interface: "eth0") { try machine.host.start($0) }
    }

    private static func start(_ words: [String], on side: Side, _ network: Network, _ inside: Inside) throws -> Child {
        let words = ["python3", Helpers.path("probe.py")] + words
        return switch side {
        case .remote: try network.remote.start(words)
        case .host: try network.host.start(words)
        case .guest: try inside.start(words)
        }
    }

    private typealias Place = (side: Side, name: String, address: String)

    /// Who asks at which address, and how the document calls that. `linkLocal` is the host's.
    private static func places(_ family: Family, linkLocal: String) -> [Place] {
        let both: [Place] = [
            (.remote, "host's address", family.hostAddress), (.remote, "host's other address", family.otherHostAddress),
            (.host, "loopback", family.loopback), (.host, "host's address", family.hostAddress), (.host, "host's other address", family.otherHostAddress),
            (.guest, "loopback", family.loopback), (.guest, "guest's address", family.hostAddress), (.guest, "host's other address", family.otherHostAddress),
            (.guest, "gateway", family.gateway),
        ]
        let ipv4: [Place] = [(.host, "127.0.0.53", "127.0.0.53"), (.guest, "127.0.0.53", "127.0.0.53")]
        let ipv6: [Place] = [(.guest, "host's link-local address", linkLocal)]
        return both + (family == .v4 ? ipv4 : ipv6)
    }

    private static func linkLocal(_ host: Host) throws -> String {
        let words = try host.run(["ip", "-6", "-o", "addr", "show", "dev", "wan0", "scope", "link"]).check().text.split(separator: " ")
        return String(try #require(words.first { $0.hasPrefix("fe80:") }?.split(separator: "/").first))
    }

    // MARK: The test

    private struct Question {
        let place: String
        let family: Family
        let asking: Child
    }

    @Test("Who reaches what", arguments: calls) private func lesson39_whoReachesWhat(_ call: Call) throws {
        let written = try Self.written(call.headline)
        try withNetwork { network in
            _ = try network.addFarSide()
            let inside = try Self.inside(call, network)
            let services: [(side: Side, name: String, addresses: [String])] = [
                (.host, "host", ["0.0.0.0", "::"]), (.host, "host loopback", ["127.0.0.1", "::1"]), (.host, "host resolver", ["127.0.0.53"]),
                (.guest, "guest", ["0.0.0.0", "::"]), (.guest, "guest loopback", ["127.0.0.1", "::1"]),
            ]
            for (side, name, addresses) in services {
                let port = try #require(Self.ports[name])
                let service = try Self.start(["serve", name, "\(port)"] + addresses, on: side, network, inside)
                try require(name) { service.standardOutput.contains("ready") || service.poll() != nil }
                if service.poll() != nil { throw Failure(service.standardError) }
            }
            // Two looks at both sides.
            if call.followsServices { try network.run(["sleep", "2.5"]) }

            let ports = (Self.ports.values + [Self.forwarded]).map { "\($0)" }
            let linkLocal = try Self.linkLocal(network.host) + "%" + inside.interface
            let questions: [Question] = try Family.allCases.flatMap { family in
                try Self.places(family, linkLocal: linkLocal).map { (place: Place) throws -> Question in
                    let asking = try Self.start(["ask", place.address] + ports, on: place.side, network, inside)
                    return Question(place: "\(place.side.rawValue), \(place.name)", family: family, asking: asking)
                }
            }
            #expect(Set(questions.map(\.place)) == Set(written.keys))
            for question in questions {
                let lines = try question.asking.wait().check().lines
                for kind in ["tcp", "udp"] {
                    let found = Set(lines.filter { $0.hasPrefix(kind) }.map { $0.split(separator: " ", maxSplits: 2)[2].description })
                    #expect(found == written[question.place], "\(kind) \(question.family): \(question.place)")
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
