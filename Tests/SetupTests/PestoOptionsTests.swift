import Settings
import Setup
import Testing

@testable import PortClient

/// Those of pesto.
extension OptionsTests {
    private func actions(_ line: String) throws -> [PestoOptions.Action] {
        guard case .run(let options) = try PestoOptions.parse(["pesto"] + line.split(separator: " ").map(String.init)) else { return [] }
        return options.actions
    }

    private func rule(_ kind: PortOption.Kind, _ text: String) throws -> [ForwardRule] { try ForwardRule.parse(kind, option: "-t", text) }

    /// Field guide 1.6: `-t 1024 -U 1025` is the same as `-C HOST -t 1024 -C SPLICE -U 1025`.
    @Test func withoutAnActionTablesAreReplaced() throws {
        let replaced = try actions("-t 1024 -U 1025 /s")
        #expect(replaced == [
            .clear("HOST"), .add(try rule(.tcpIn, "1024"), text: "-t 1024"), .clear("SPLICE"), .add(try rule(.udpOut, "1025"), text: "-U 1025"),
        ])
        #expect(try actions("-C HOST -t 1024 -C SPLICE -U 1025 /s") == replaced)
        // Once per table.
        #expect(try actions("-t 1 -u 2 -t 3 /s").count == 4)
        #expect(try actions("-t none /s") == [.clear("HOST"), .add([], text: "-t none")])
    }

    @Test func actionsGoInOrder() throws {
        let (one, two) = (try rule(.tcpIn, "1"), try rule(.tcpIn, "2"))
        #expect(try actions("--add -t 1 --delete -t 2 -A -t 2 /s") == [.add(one, text: "-t 1"), .delete(two, text: "-t 2"), .add(two, text: "-t 2")])
        #expect(try actions("-D -t 2 -C HOST -t 1 /s") == [.delete(two, text: "-t 2"), .clear("HOST"), .add(one, text: "-t 1")])
    }

    @Test func othersAreOptionsOfTheRun() throws {
        guard case .run(let options) = try PestoOptions.parse(["pesto", "-d", "--show", "--tcp-ports=80", "/run/x"]) else {
            Issue.record("no run")
            return
        }
        #expect(options.isVerbose && options.shows && options.path == "/run/x" && options.actions.count == 2)
        #expect(try PestoOptions.parse(["pesto", "-h", "-t"]) == .printed(PestoOptions.usage))
        guard case .run(let bare) = try PestoOptions.parse(["pesto", "/run/x"]) else {
            Issue.record("no run")
            return
        }
        #expect(bare.shows)
        for line in [["-t", "80"], [], ["/a", "/b"], [""], ["-A", "/a", "-t", "1"]] {
            #expect(throws: SetupError.self) { try PestoOptions.parse(["pesto"] + line) }
        }
        #expect(throws: SetupError(.options, "-t '0': port 0 is not between 1 and 65535")) { try PestoOptions.parse(["pesto", "-t", "0", "/s"]) }
    }
}
