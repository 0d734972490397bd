internal import Settings

/// What `--help` and `--version` print.
enum OptionHelp {
    /// Who asks a back-end for its capabilities wants the kind of device (QEMU's docs/interop/vhost-user.json).
    static var capabilities: String { "{ \"type\": \"net\" }\n" }

    static func version(_ program: Program) -> String {
        """
        \(program) \(Version.text) (swift-passt)
        License: Apache-2.0, <https://www.apache.org/licenses/LICENSE-2.0>. There is no warranty.

        """
    }

    static func text(_ program: Program) -> String {
        var text = introduction(program)
        for group in OptionTable.groups {
            let entries = group.entries.filter { $0.programs.contains(program) && !$0.missing.contains(program) }
            if entries.isEmpty { continue }
            text += "\n\(group.title):\n"
            for entry in entries { text += describe(entry) }
        }
        return text
    }

    private static func introduction(_ program: Program) -> String {
        switch program {
        case .pasta: """
            Usage: pasta [OPTION]... [COMMAND [ARGUMENT]...]
                   pasta [OPTION]... PID
                   pasta [OPTION]... --netns PATH|NAME

            Connects a network namespace with the host's network, without privileges. The
            namespace is a new one in which COMMAND runs (default: $SHELL), or that of the
            process PID, or an existing file.

            """
        case .passt: """
            Usage: passt [OPTION]...

            Connects a virtual machine with the host's network, without privileges.

            """
        }
    }

    private static let margin = 30
    private static let width = 80

    /// The option's names in the left column, its text wrapped in the right one.
    private static func describe(_ entry: OptionEntry) -> String {
        var left = entry.short.map { "  -\($0), " } ?? "      "
        left += entry.name
        if let argument = entry.argument { left += " " + argument }
        var text = ""
        var line = left
        // A name that reaches into the right column has its line to itself.
        if line.count + 2 > margin {
            text += line + "\n"
            line = ""
        }
        line += String(repeating: " ", count: margin - line.count)
        var isFirst = true
        for word in entry.help.split(separator: " ") {
            if !isFirst && line.count + 1 + word.count > width {
                text += line + "\n"
                line = String(repeating: " ", count: margin)
                isFirst = true
            }
            if !isFirst { line += " " }
            line += word
            isFirst = false
        }
        return text + line + "\n"
    }
}

/// The release, as `--version` shows it.
public enum Version {
    public static let text = "0.1.0"
}
