import Setup
import Testing

@testable import RepairHelper

@Suite struct RepairOptionsTests {
    private func parse(_ words: String...) throws -> RepairOptions.Outcome { try RepairOptions.parse(["passt-repair"] + words) }

    @Test func onePath() throws {
        #expect(try parse("/run/vm.repair") == .run(path: "/run/vm.repair"))
        #expect(try parse("relative") == .run(path: "relative"))
        #expect(try parse("--", "-h") == .run(path: "-h"))
    }

    @Test func questions() throws {
        for word in ["-V", "--version"] { #expect(try parse(word) == .printed("passt-repair \(Version.text) (swift-passt)\n")) }
        for word in ["-h", "--help"] { #expect(try parse(word) == .printed(RepairOptions.usage)) }
        #expect(RepairOptions.usage.hasPrefix("Usage: passt-repair "))
        #expect(RepairOptions.usage.hasSuffix("  -V, --version           Print the version and exit.\n"))
    }

    @Test func mistakes() {
        let path = "one PATH is needed, that of passt's --repair-path or of a directory where it will be"
        for words in [[], ["--"], [""], ["/a", "/b"], ["/a", "-h"]] {
            #expect(throws: SetupError(.options, path)) { try RepairOptions.parse(["passt-repair"] + words) }
        }
        for word in ["-x", "--repair", "-", "-hV"] {
            #expect(throws: SetupError(.options, "unknown option '\(word)', see passt-repair --help")) { try RepairOptions.parse(["passt-repair", word, "/a"]) }
        }
        // As if it were called without even a name.
        #expect(throws: SetupError(.options, path)) { try RepairOptions.parse([]) }
    }
}
