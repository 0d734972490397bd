package import Settings

/// For fish: a file for each command.
package enum FishScript {
    package static func text(_ program: Program) -> String {
        let options = OptionSuggestion.all(program)
        var lines = ["# fish completion for \(program). \(origin)", "complete -c \(program) -f"]
        if program == .pasta {
            let valued = options.filter { $0.argument != nil }.flatMap(\.names).joined(separator: " ")
            lines.append(begun(valued))
            let condition = "__swift_pasta_has_command; or not string match -q -- \"-*\" (commandline -ct)"
            lines.append("complete -c pasta -x -n '\(condition)' -a '(__fish_complete_subcommand \(valued))'")
        }
        lines += options.flatMap { option in option.long.map { line("\(program)", option, $0) } }
        return lines.joined(separator: "\n") + "\n"
    }

    /// Behind the first word of the command, everything is the command's.
    private static func begun(_ valued: String) -> String {
        """
        function __swift_pasta_has_command
            set -l words (commandline -opc)
            set -e words[1]
            while set -q words[1]
                if contains -- $words[1] \(valued)
                    set -e words[1]
                else if test "$words[1]" = --
                    return 0
                else if not string match -q -- '-*' $words[1]
                    return 0
                end
                set -e words[1]
            end
            return 1
        end
        """
    }

    /// Another name for pasta.
    package static let alias = "complete -c passt4netns -w pasta\n"

    package static let qrap = """
        # fish completion for qrap.
        complete -c qrap -x -a '(__fish_complete_subcommand --fcs-skip=(string match -qr "^[0-9]+$" -- (commandline -opc)[2]; and echo 2; or echo 1))'

        """

    package static var pesto: String { plain("pesto", OptionSuggestion.pesto) }
    package static var passtRepair: String { plain("passt-repair", OptionSuggestion.passtRepair) }

    /// Words that are no options are files.
    private static func plain(_ program: String, _ options: [OptionSuggestion]) -> String {
        let lines = options.flatMap { option in option.long.map { line(program, option, $0) } }
        return (["# fish completion for \(program). \(origin)"] + lines).joined(separator: "\n") + "\n"
    }

    private static func line(_ program: String, _ option: OptionSuggestion, _ long: String) -> String {
        var words = ["complete", "-c", program]
        if program == "pasta" { words += ["-n", "'not __swift_pasta_has_command'"] }
        if let short = option.short, long == option.long[0] { words += ["-s", "\(short)"] }
        words += ["-l", String(long.dropFirst(2))]
        if option.argument != nil {
            switch option.kind {
            case .file: words += ["-r", "-F"]
            case .interface: words += ["-x", "-a", "'(__fish_print_interfaces)'"]
            case .user: words += ["-x", "-a", "'(__fish_complete_users)'"]
            case .networkNamespace: words += ["-r", "-F", "-a", "'(path basename /run/netns/* 2>/dev/null)'"]
            case .words(let values): words += values.isEmpty ? ["-x"] : ["-x", "-a", quoted(values.joined(separator: " "))]
            }
        }
        return (words + ["-d", quotedForFish(option.description)]).joined(separator: " ")
    }

    /// Fish has escapes inside of single quotes.
    private static func quotedForFish(_ text: String) -> String {
        "'" + text.map { "'\\".contains($0) ? "\\\($0)" : String($0) }.joined() + "'"
    }
}
