import Linux
import Settings
import Setup
import Testing
import Wire

@testable import PortClient

@Suite struct PortTableTests {
    private static let all: PortTableHead.Capabilities = [.ipv4, .ipv6, .tcp, .udp, .scans, .interfaces, .answers]

    static func table(_ name: PortTableName = .host, _ capabilities: PortTableHead.Capabilities = all, _ values: String...) throws -> PortTable {
        var table = PortTable(head(name, capabilities), [])
        for value in values {
            for rule in try ForwardRule.parse(PortOption.Kind(name, isTCP: true), option: "-t", value) {
                add(PortControlRule(rule), &table)
            }
        }
        return table
    }

    /// As it comes over the wire.
    private static func head(_ name: PortTableName, _ capabilities: PortTableHead.Capabilities) -> PortTableHead {
        var memory = try! Mapping(byteCount: PortTableHead.byteCount)
        var bytes = memory.mutableBytes
        PortTableHead.write(name, capabilities, count: 0, to: &bytes, at: 0)
        let head = PortTableHead(number: memory.bytes.uint8(at: 0), memory.bytes.extracting(1..<PortTableHead.byteCount))!
        #expect(head.name == "\(name.text)" && head.capabilities == capabilities)
        return head
    }

    private func add(_ rule: PortControlRule, _ table: inout PortTable) { PortTableTests.add(rule, &table) }

    private static func add(_ rule: PortControlRule, _ table: inout PortTable) {
        let other = table.add(rule)
        #expect(other == nil)
    }

    private func lines(_ table: PortTable) -> [String] { table.description.dropFirst().map { String($0.dropFirst(4)) } }

    private func rules(_ value: String) throws -> [PortControlRule] {
        try ForwardRule.parse(.tcpIn, option: "-t", value).map { PortControlRule($0) }
    }

    @Test("Adding", arguments: [
        (["80"], ["-t 80"]), (["80", "80"], ["-t 80"]), (["80:8080", "80:8080"], ["-t 80:8080"]),
        (["80-90", "85-95"], ["-t 80-90", "-t 91-95"]), (["85-86:185-186", "80-90:180-190"], ["-t 85-86:185-186", "-t 80-84:180-184", "-t 87-90:187-190"]),
        // At other addresses, or by another protocol, they are others.
        (["80", "127.0.0.1/80", "[::1]/80:81", "%eth0/80"], ["-t 80", "-t 127.0.0.1/80", "-t [::1]/80:81", "-t %eth0/80"]),
        (["80:192.0.2.1/81", "80:192.0.2.1/81"], ["-t 80:192.0.2.1/81"]), (["80:[2001:db8::1]"], ["-t 80:[2001:db8::1]"]),
        (["auto", "80"], ["-t auto, as far as somebody listens there", "-t 80"]),
        (["all"], ["-t all, as far as they are free"]), (["127.0.0.1/all:192.0.2.1"], ["-t 127.0.0.1/all:192.0.2.1, as far as they are free"]),
        // These must all be had.
        (["1-65535"], ["-t 1-65535"]),
        (["all,~2-65535", "1"], ["-t 1, as far as they are free", "-t 1"]), (["none"], []),
    ] as [([String], [String])])
    func whatIsThereStays(_ values: [String], _ expected: [String]) throws {
        var table = try Self.table()
        for value in values { for rule in try rules(value) { add(rule, &table) } }
        #expect(lines(table) == expected)
    }

    @Test("Contradictions", arguments: [("80", "80:81"), ("80-90:180-190", "85:86"), ("80:192.0.2.1", "80"), ("80:192.0.2.1", "80:192.0.2.2"), ("auto", "all"), ("all", "auto")])
    func contradictionsAreFound(_ first: String, _ second: String) throws {
        var table = try Self.table(.host, Self.all, first)
        let other = table.add(try rules(second)[0])
        #expect(other != nil && other == table.rules[0])
    }

    @Test("Deleting", arguments: [
        (["80"], "80", []), (["80:8080"], "80", []), (["80:8080"], "80:8080", []), (["80-90:180-190"], "85", ["-t 80-84:180-184", "-t 86-90:186-190"]),
        (["80-90"], "70-80", ["-t 81-90"]), (["80:192.0.2.1/90"], "80", []), (["80:192.0.2.1/90"], "80:192.0.2.1/90", []),
        (["80", "127.0.0.1/80"], "127.0.0.1/80", ["-t 80"]), (["80", "auto,~3-65535"], "auto", ["-t 80"]), (["80-82", "auto,~81-65535", "443"], "all", []),
        (["auto"], "80", ["-t 1-79, as far as somebody listens there", "-t 81-65535, as far as somebody listens there"]),
        (["all,~3-65535"], "2", ["-t 1, as far as they are free"]),
    ] as [([String], String, [String])])
    func whatIsNamedGoes(_ values: [String], _ deleted: String, _ expected: [String]) throws {
        var table = try Self.table()
        for value in values { for rule in try rules(value) { add(rule, &table) } }
        for rule in try rules(deleted) {
            let wasThere = table.delete(rule)
            #expect(wasThere)
        }
        #expect(lines(table) == expected)
    }

    @Test("Nothing to delete", arguments: [
        ("80", "81"), ("80", "127.0.0.1/80"), ("80:8080", "80:8081"), ("80", "auto"), ("80:192.0.2.1", "80:192.0.2.2"), ("%eth0/80", "80"),
    ])
    func othersStay(_ value: String, _ deleted: String) throws {
        var table = try Self.table(.host, Self.all, value)
        for rule in try rules(deleted) {
            let wasThere = table.delete(rule)
            #expect(!wasThere)
        }
        #expect(table.rules == (try Self.table(.host, Self.all, value).rules))
    }

    /// What a table cannot have is refused; a family that the guest lacks is left out.
    @Test func capabilitiesCount() throws {
        func messages(_ name: PortTableName, _ without: PortTableHead.Capabilities, _ kind: PortOption.Kind, _ value: String) throws -> [String] {
            var tables = [try Self.table(name, Self.all.subtracting(without))]
            let rules = try ForwardRule.parse(kind, option: "-t", value)
            return try Pesto.apply(.add(rules, text: "-x \(value)"), to: &tables)
        }
        #expect(try messages(.host, [], .tcpIn, "%eth0/80,auto").isEmpty)
        #expect(try messages(.host, .ipv6, .tcpIn, "[::]/80") == ["-x [::]/80: left out, since the guest does not have this family"])
        #expect(try messages(.host, .ipv4, .tcpIn, "80:192.0.2.1").count == 1)
        #expect(try messages(.host, .ipv4, .tcpIn, "80").isEmpty)
        for (name, without, kind, value) in [
            (.host, .tcp, .tcpIn, "80"), (.host, .udp, .udpIn, "80"), (.host, .scans, .tcpIn, "auto"), (.splice, .interfaces, .tcpOut, "%lo/80"),
            (.host, [], .tcpOut, "80"),
        ] as [(PortTableName, PortTableHead.Capabilities, PortOption.Kind, String)] {
            #expect(throws: SetupError.self, "\(value)") { try messages(name, without, kind, value) }
        }
    }

    /// What the other end could not do: its words, and what can be done about it.
    @Test("Answers", arguments: [
        (
            PortControlAnswer(.failed, table: .host, port: 8080, code: 98), "8080",
            "Failed to bind port 8080 (Address already in use) for option '-t 8080', nothing was changed: something else listens there, 'ss -ltnp' shows what"
        ),
        (
            PortControlAnswer(.failed, table: .host, port: 8080, code: 99), "192.0.2.1/8080",
            "Failed to bind port 8080 (Cannot assign requested address) for option '-t 192.0.2.1/8080', nothing was changed: the host has no such address"
        ),
        (
            PortControlAnswer(.lost, table: .host, port: 80, code: 98), "80",
            "Failed to bind port 80 (Address already in use), and a port from before could not be opened again: something else listens there, 'ss -ltnp' shows what"
        ),
        (PortControlAnswer(.failed, table: .host, port: 80, code: 22), "80", "Failed to bind port 80 (Invalid argument) for option '-t 80', nothing was changed"),
        (PortControlAnswer(.nothingBound, table: .host), "all", "Failed to bind any port for option '-t all', nothing was changed"),
    ] as [(PortControlAnswer, String, String)])
    func refusalsSayWhatCanBeDone(_ answer: PortControlAnswer, _ value: String, _ expected: String) throws {
        let tables = [try Self.table(.host, Self.all, value)]
        #expect(throws: SetupError(.sockets, expected)) { try Pesto.judge(answer, tables) }
    }
}
