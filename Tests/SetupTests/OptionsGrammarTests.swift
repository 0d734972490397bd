import Settings
@testable import Setup
import Testing

extension OptionsTests {
    // MARK: What getopt says

    @Test("glibc's own lines", arguments: [
        (["pasta", "--map-guest-addr-x", "1"], "pasta: unrecognized option '--map-guest-addr-x'"),
        (["/usr/bin/pasta", "--bogus"], "/usr/bin/pasta: unrecognized option '--bogus'"),
        (["pasta", "--map-gw"], "pasta: unrecognized option '--map-gw'"),
        (["pasta", "-f", "--bogus", "--version"], "pasta: unrecognized option '--bogus'"),
        (["pasta", "-X"], "pasta: invalid option -- 'X'"),
        (["pasta", "-m"], "pasta: option requires an argument -- 'm'"),
        (["pasta", "--mtu"], "pasta: option '--mtu' requires an argument"),
        (["pasta", "--quiet=yes"], "pasta: option '--quiet' doesn't allow an argument"),
        (["pasta", "--no-copy"], "pasta: option '--no-copy' is ambiguous; possibilities: '--no-copy-routes' '--no-copy-addrs'"),
    ])
    func getoptSpeaks(_ arguments: [String], _ line: String) throws {
        var result: ParseResult?
        let output = try capturingStandardError {
            result = try Options.parse(arguments: arguments, program: .pasta)
        }
        #expect(output.split(separator: "\n").contains(Substring(line)))
        #expect(result == .printed("", status: 1))
    }

    @Test func aFailedScanLeavesNoTrace() throws {
        _ = try capturingStandardError {
            _ = try Options.parse(arguments: ["pasta", "-fqX4", "--mtu", "1500"], program: .pasta)
        }
        var expected = Options()
        expected.mtu = 1500
        #expect(try Options.parse(arguments: ["pasta", "--mtu", "1500"], program: .pasta) == .run(expected))
        #expect(try Options.parse(arguments: ["pasta"], program: .pasta) == .run(Options()))
        #expect(try Options.parse(arguments: [], program: .pasta) == .run(Options()))
    }

    // MARK: Options that only print

    @Test("In the order of the line", arguments: [
        ["pasta", "--version"], ["pasta", "--host-lo-to-ns-lo", "--version"], ["pasta", "--version", "--bogus"],
        ["pasta", "--version", "--mtu", "abc"], ["pasta", "-4", "-6", "--version"], ["pasta", "--vers"],
    ])
    func version(_ arguments: [String]) throws {
        guard case .printed(let text, status: 0) = try Options.parse(arguments: arguments, program: .pasta) else {
            Issue.record("\(arguments) printed nothing")
            return
        }
        #expect(text.hasPrefix("pasta 0.1.0 (swift-passt)\n"))
        #expect(text.contains("Apache-2.0"))
        #expect(text.hasSuffix("\n"))
    }

    @Test func mistakesBeforeVersionCount() {
        let error = #expect(throws: SetupError.self) {
            try Options.parse(arguments: ["pasta", "--mtu", "abc", "--version"], program: .pasta)
        }
        #expect(error?.message == "--mtu 'abc': not a number")
    }

    @Test("Help", arguments: [Program.pasta, .passt], ["-h", "--help", "--he"])
    func help(_ program: Program, _ option: String) throws {
        guard case .printed(let text, status: 0) = try Options.parse(arguments: ["\(program)", option], program: program) else {
            Issue.record("no help")
            return
        }
        #expect(text.hasPrefix("Usage: \(program) "))
        for line in text.split(separator: "\n") {
            #expect(line.count <= 80, "too wide: \(line)")
            #expect(line.last != " ", "blank at the end: \(line)")
        }
        for entry in OptionTable.entries {
            let isThere = text.contains("\(entry.name) ") || text.contains("\(entry.name)\n")
            let column = text.split(separator: "\n").contains { line in
                line.hasPrefix("      \(entry.name)") || line.hasPrefix("  -\(entry.short ?? "?"), \(entry.name)")
            }
            let expected = entry.programs.contains(program) && !entry.missing.contains(program)
            if expected { #expect(isThere && column, "\(entry.name) is not explained") }
        }
        #expect(text.contains("--one-off") == (program == .passt))
        #expect(text.contains("--netns ") == (program == .pasta))
        #expect(text.contains("--vhost-user") == (program == .passt))
        #expect(text.contains("--repair-path") == (program == .passt))
    }

    // MARK: The table

    @Test func everyOptionIsInTheTableOnce() {
        #expect(OptionTable.entries.count == OptionKey.all.count)
        #expect(Set(OptionTable.entries.map(\.key)) == Set(OptionKey.all))
        #expect(Set(OptionTable.entries.map(\.key.longName)).count == OptionTable.entries.count)
        for entry in OptionTable.entries { #expect(entry.help.hasSuffix("."), "\(entry.name)") }
    }

    /// The short options that callers may use, in getopt's notation.
    @Test func shortOptionsAreUpstreams() {
        func options(_ text: String) -> Set<String> {
            var result: Set<String> = []
            for character in text.dropFirst() {
                if character == ":", let last = result.first(where: { $0 == previous }) {
                    result.remove(last)
                    result.insert(last + ":")
                } else {
                    result.insert(String(character))
                }
                previous = String(character)
            }
            return result
        }
        var previous = ""
        let upstream = options("+dqfel:hs:c:F:I:p:P:m:a:n:M:g:i:o:D:S:H:461t:u:T:U:")
        let ours = options(OptionTable.shortOptions)
        #expect(OptionTable.shortOptions.hasPrefix("+"))
        #expect(ours == upstream)
    }

    @Test func valuesInMessagesAreBoundedAndPrintable() {
        let error = #expect(throws: SetupError.self) {
            try Options.parse(arguments: ["pasta", "--mtu", String(repeating: "x", count: 100_000)], program: .pasta)
        }
        #expect((error?.message.count ?? 0) < 250)
        let escape = #expect(throws: SetupError.self) {
            try Options.parse(arguments: ["pasta", "--mtu", "\u{1b}[2J\r\n"], program: .pasta)
        }
        #expect(escape?.message == "--mtu '\\x1b[2J\\xd\\xa': not a number")
    }

    // MARK: Names

    @Test("The mode is in the name", arguments: [
        ("pasta", Program.pasta), ("/usr/bin/pasta", .pasta), ("pasta.avx2", .pasta), ("mypasta-static", .pasta),
        ("passt", .passt), ("/usr/bin/passt.avx2", .passt), ("/opt/passt/pasta", .pasta), ("/opt/pasta/passt", .passt),
        ("pasta-passt", .pasta), ("passt-pasta", .pasta), ("passt4netns", .pasta), ("/usr/bin/passt4netns", .pasta),
        ("passt4vm", .passt), ("/opt/passt4netns/passt", .passt),
    ])
    func mode(_ name: String, _ program: Program) throws {
        #expect(try Program(calledAs: name) == program)
    }

    @Test func aBackEndPrintsWhatItIs() throws {
        let result = try Options.parse(arguments: ["passt", "--vhost-user", "--print-capabilities", "--bogus"], program: .passt)
        #expect(result == .printed("{ \"type\": \"net\" }\n", status: 0))
    }

    @Test("No mode", arguments: ["", "/", "bridge", "/opt/pasta/bridge", "past", "PASTA"])
    func noMode(_ name: String) {
        let error = #expect(throws: SetupError.self) { try Program(calledAs: name) }
        #expect(error?.message == "Cannot determine mode, invoke as \"passt\" or \"pasta\"")
    }

    @Test("Host names", arguments: [
        ("a", true), ("A-1", true), ("1.2", true), ("a.", true), ("", false), (".", false), (".a", false), ("a..", false),
        ("-a", false), ("a-", false), ("a_b", true), ("a b", false), ("ä", false),
        (String(repeating: "a", count: 63), true), (String(repeating: "a", count: 64), false),
        (String(repeating: "a.", count: 126) + "a", true), (String(repeating: "a.", count: 126) + "aa", false),
    ])
    func hostNames(_ name: String, _ isValid: Bool) {
        #expect((DomainName.normalized(name) != nil) == isValid)
    }
}
