// Completion: what shells offer for the command lines of all programs, made from their option tables so that it cannot
// miss an option. `swift run completions Packaging/completions` writes the files; a test compares them with the table.
//
//     OptionSuggestion   one option as a shell needs it: names, a short description, what its value can be
//     BashScript, ZshScript, FishScript   the same in the three languages

package import Settings
internal import PortClient
internal import RepairHelper
internal import Setup

/// What a value can be.
package enum ValueKind: Hashable {
    case file
    /// An interface of this host.
    case interface
    /// An account of this host.
    case user
    /// A name in /run/netns, or a file.
    case networkNamespace
    /// One of these words, or something that cannot be guessed.
    case words([String])
}

/// One option as a shell needs it.
package struct OptionSuggestion {
    package let short: Character?
    /// With the two dashes; the first is the usual one.
    package let long: [String]
    package let argument: String?
    package let kind: ValueKind
    package let description: String
    /// Whether it makes sense more than once.
    package let repeats: Bool
    /// Whether this build refuses it.
    package let isMissing: Bool

    /// As they are typed.
    package var names: [String] { (short.map { ["-\($0)"] } ?? []) + long }

    /// All options that this build of the program has, in the order of its help text.
    package static func all(_ program: Program) -> [OptionSuggestion] {
        known(program).filter { !$0.isMissing }
    }

    /// All options that the program knows, be it only to refuse them.
    package static func known(_ program: Program) -> [OptionSuggestion] {
        OptionTable.entries.filter { $0.programs.contains(program) }.map { entry in
            OptionSuggestion(
                short: entry.short,
                long: [entry.name] + OptionTable.aliases.filter { $0.value == entry.key }.map { "--" + $0.key }.sorted(),
                argument: entry.argument, kind: kind(entry, program), description: headline(entry.help),
                repeats: [.address(.address), .address(.gateway), .name(.dns), .name(.search)].contains(entry.key)
                    || entry.argument == "SPEC",
                isMissing: entry.missing.contains(program))
        }
    }

    /// Those of pesto.
    package static var pesto: [OptionSuggestion] {
        PestoOptions.entries.map { entry in
            let kind: ValueKind = switch entry.argument {
            case "SPEC": .words(["none", "auto", "all"])
            case "TABLE": .words(["HOST", "SPLICE"])
            default: .words([])
            }
            return OptionSuggestion(
                short: entry.short, long: ["--" + entry.long], argument: entry.argument, kind: kind, description: headline(entry.help),
                repeats: true, isMissing: false)
        }
    }

    /// Those of passt-repair.
    package static var passtRepair: [OptionSuggestion] {
        RepairOptions.entries.map { entry in
            OptionSuggestion(
                short: entry.short, long: ["--" + entry.long], argument: nil, kind: .words([]), description: headline(entry.help),
                repeats: false, isMissing: false)
        }
    }

    private static func kind(_ entry: OptionEntry, _ program: Program) -> ValueKind {
        switch entry.key {
        case .address(.interface), .address(.outboundIf4), .address(.outboundIf6): .interface
        case .namespace(.netns): .networkNamespace
        case .run(.runas): .user
        case .address(.mapHostLoopback), .address(.mapGuestAddr), .name(.dns), .name(.search): .words(["none"])
        case .port: .words(program == .pasta ? ["none", "auto", "all"] : ["none", "all"])
        default: entry.argument == "FILE" || entry.argument == "PATH" ? .file : .words([])
        }
    }

    /// The first statement of the text.
    private static func headline(_ text: String) -> String {
        var words: [Substring] = []
        for word in text.split(separator: " ") {
            guard let end = word.last, ".:;".contains(end) else {
                words.append(word)
                continue
            }
            words.append(word.dropLast())
            break
        }
        return words.joined(separator: " ")
    }
}

extension Program {
    /// The names that lead to it.
    package var names: [String] { self == .pasta ? ["pasta", "passt4netns"] : ["passt"] }
}

/// A word between single quotes, as all three shells read it.
func quoted(_ text: String) -> String {
    "'" + text.split(separator: "'", omittingEmptySubsequences: false).joined(separator: "'\\''") + "'"
}

let origin = "Made from the option table by `swift run completions`: not to be edited."
