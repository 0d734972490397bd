package import Setup

/// What `passt-repair` is asked to do. There is so little of it that getopt is not needed.
package enum RepairOptions {
    package enum Outcome: Equatable {
        case run(path: String)
        /// A text for the standard output stream.
        case printed(String)
    }

    /// An option, as the parser and shells' completions need it. None takes a value.
    package struct Entry: Sendable {
        package let short: Character
        package let long: String
        package let help: String
    }

    package static let entries = [
        Entry(short: "h", long: "help", help: "Print this text and exit."),
        Entry(short: "V", long: "version", help: "Print the version and exit."),
    ]

    package static var usage: String {
        var text = """
            Usage: passt-repair [OPTION]... PATH

            Switches TCP_REPAIR for a passt that was started with --repair-path, so that connections
            survive when its virtual machine moves to another host. PATH is that socket, or a
            directory: then the first socket in it whose name ends in .repair, once there is one.
            CAP_NET_ADMIN is needed. Ends when passt closes the connection.


            """
        for entry in entries {
            let left = "  -\(entry.short), --\(entry.long)"
            text += left + String(repeating: " ", count: max(2, 26 - left.count)) + entry.help + "\n"
        }
        return text
    }

    /// Reads a command line, the program's name first. Options come before PATH, and `--` ends them.
    package static func parse(_ arguments: [String]) throws(SetupError) -> Outcome {
        var rest = arguments.dropFirst()
        while let word = rest.first, word.hasPrefix("-") {
            rest = rest.dropFirst()
            if word == "--" { break }
            guard let entry = entries.first(where: { word == "-\($0.short)" || word == "--\($0.long)" }) else {
                throw SetupError(.options, "unknown option '\(word)', see passt-repair --help")
            }
            return .printed(entry.short == "V" ? "passt-repair \(Version.text) (swift-passt)\n" : usage)
        }
        guard rest.count == 1, let path = rest.first, !path.isEmpty else {
            throw SetupError(.options, "one PATH is needed, that of passt's --repair-path or of a directory where it will be")
        }
        return .run(path: path)
    }
}
