import Completion
import Foundation
import Settings
import Testing

/// The manual pages say what the option table says.
@Suite struct ManualTests {
    static let pages = ["passt.1", "pasta.1", "pesto.1", "passt-repair.1", "qrap.1"]

    /// An entry of an options list: `.It Fl t , Fl -tcp-ports Ar SPEC` and what follows up to the next one.
    struct Entry {
        var names: [String] = []
        var argument: String?
        var text = ""
    }

    static func path(_ page: String) -> String { Package.path("Documentation/man/" + page) }

    static func entries(_ page: String) throws -> [Entry] {
        var entries: [Entry] = []
        var isInside = false
        for line in try Package.text("Documentation/man/" + page).split(separator: "\n") {
            if line.hasPrefix(".It Fl ") {
                var entry = Entry()
                var words = line.split(separator: " ").dropFirst().map(String.init)
                while let word = words.first {
                    words.removeFirst()
                    if word == "Fl", let name = words.first {
                        entry.names.append("-" + name.replacingOccurrences(of: "\\-", with: "-"))
                        words.removeFirst()
                    } else if word == "Ar" {
                        entry.argument = words.joined(separator: " ")
                        break
                    }
                }
                entries.append(entry)
                isInside = true
            } else if line.hasPrefix(".It ") || line.hasPrefix(".El") || line.hasPrefix(".Sh") {
                isInside = false
            } else if isInside {
                entries[entries.count - 1].text += line + "\n"
            }
        }
        return entries
    }

    @Test(arguments: [Program.pasta, .passt])
    func everyOptionOfTheTableIsExplained(_ program: Program) throws {
        let entries = try Self.entries("\(program).1")
        for option in OptionSuggestion.known(program) {
            let name = option.long[0]
            let found = entries.filter { $0.names.contains(name) }
            #expect(found.count == 1, "\(program).1 explains \(name) \(found.count) times")
            guard let entry = found.first else { continue }
            #expect(Set(entry.names) == Set(option.names), "\(program).1")
            #expect(entry.argument == option.argument, "\(program).1: \(name)")
            #expect(entry.text.count > 10, "\(program).1: \(name) is not explained")
            // What the table calls missing is refused, and the page says so.
            #expect(entry.text.contains("Not in this build") == option.isMissing, "\(program).1: \(name)")
        }
    }

    @Test(arguments: [Program.pasta, .passt])
    func noOptionIsMadeUp(_ program: Program) throws {
        let known = Set(OptionSuggestion.known(program).flatMap(\.names))
        for entry in try Self.entries("\(program).1") {
            #expect(Set(entry.names).isSubset(of: known), "\(program).1")
        }
        // Nor in passing.
        let text = try Package.text("Documentation/man/\(program).1")
        for match in text.matches(of: /Fl (-[a-z0-9-]+)/) {
            #expect(known.contains("-" + match.1), "\(program).1 speaks of -\(match.1)")
        }
    }

    @Test(arguments: ["pesto.1", "passt-repair.1"])
    func everyOptionOfTheOthersIsExplained(_ page: String) throws {
        let entries = try Self.entries(page)
        let options = page == "pesto.1" ? OptionSuggestion.pesto : OptionSuggestion.passtRepair
        #expect(entries.count == options.count)
        for option in options {
            let entry = try #require(entries.first { $0.names.contains(option.long[0]) }, "\(option.long)")
            #expect(Set(entry.names) == Set(option.names))
            #expect(entry.argument == option.argument && entry.text.count > 10, "\(option.long)")
        }
    }

    @Test(arguments: pages)
    func pagesAreCleanMdoc(_ page: String) throws {
        let lint = try run(["mandoc", "-T", "lint", "-W", "warning", Self.path(page)])
        #expect(lint.status == 0 && lint.text.isEmpty, "\(lint)")
        // groff, by which most systems show them.
        let groff = try run(["sh", "-c", "man --warnings -E UTF-8 -l -Tutf8 -Z \"$1\" 2>&1 >/dev/null", "sh", Self.path(page)], environment: ["MANROFFSEQ": "", "LC_ALL": "C.UTF-8"])
        #expect(groff.status == 0 && groff.text.isEmpty, "\(groff)")
    }

    @Test(arguments: pages)
    func pagesAreComplete(_ page: String) throws {
        let text = try Package.text("Documentation/man/" + page)
        for section in ["NAME", "SYNOPSIS", "DESCRIPTION", "EXIT STATUS", "EXAMPLES", "SEE ALSO"] {
            #expect(text.contains(".Sh \(section)\n"), "\(section)")
        }
        if page != "qrap.1" {
            for section in ["OPTIONS", "FILES", "SIGNALS", "SECURITY CONSIDERATIONS", "COMPATIBILITY"] {
                #expect(text.contains(".Sh \(section)\n"), "\(section)")
            }
        }
        #expect(!text.utf8.contains { $0 > 127 }, "ASCII only: other characters have names in mdoc")
    }
}
