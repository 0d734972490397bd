internal import Settings

/// For bash, with or without the package bash-completion.
package enum BashScript {
    package static func text() -> String {
        """
        # bash completion for passt, pasta, pesto, passt-repair and qrap. \(origin)

        # Sets `cur` and `prev`: bash takes the '=' of --option=value for a word of its own.
        _swift_passt_words() {
            cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD - 1]}
            if [[ $cur == = ]]; then
                cur=
            elif [[ $prev == = ]] && ((COMP_CWORD > 1)); then
                prev=${COMP_WORDS[COMP_CWORD - 2]}
            fi
        }

        # Sets `first` to where the first word stands that is neither an option nor the value of one. $1: what takes a value,
        # $2: the letters of $1.
        _swift_passt_first() {
            local word
            first=1
            while ((first < COMP_CWORD)); do
                word=${COMP_WORDS[first]}
                case $word in
                --) ((first++)); return ;;
                --*)
                    if [[ ${COMP_WORDS[first + 1]} == = ]]; then ((first += 2)); elif [[ $1 == *" $word "* ]]; then ((first++)); fi ;;
                -?*) [[ ${word:1} == *[$2] && ${word:1:-1} != *[$2]* ]] && ((first++)) ;;
                *) return ;;
                esac
                ((first++))
            done
        }

        # The command from word $1 on, by its own completion where there is one.
        _swift_passt_command() {
            if ((COMP_CWORD == $1)); then
                mapfile -t COMPREPLY < <(compgen -c -- "$cur")
            elif declare -F _command_offset >/dev/null; then
                _command_offset "$1"
            else
                mapfile -t COMPREPLY < <(compgen -f -- "$cur")
                compopt -o filenames 2>/dev/null || :
            fi
        }

        _swift_passt_files() {
            mapfile -t COMPREPLY < <(compgen -f -- "$cur")
            compopt -o filenames 2>/dev/null || :
        }

        \(function(.pasta))

        \(function(.passt))

        \(function("pesto", OptionSuggestion.pesto, rest: "_swift_passt_files"))

        \(function("passt_repair", OptionSuggestion.passtRepair, rest: "_swift_passt_files"))

        _swift_qrap() {
            local cur prev first=1
            _swift_passt_words
            [[ ${COMP_WORDS[1]} == +([0-9]) ]] && first=2
            _swift_passt_command "$first"
        }

        complete -F _swift_pasta \(Program.pasta.names.joined(separator: " "))
        complete -F _swift_passt \(Program.passt.names.joined(separator: " "))
        complete -F _swift_pesto pesto
        complete -F _swift_passt_repair passt-repair
        complete -F _swift_qrap qrap

        """
    }

    private static func function(_ program: Program) -> String {
        program == .pasta
            ? function("pasta", OptionSuggestion.all(program), rest: "_swift_passt_command \"$COMP_CWORD\"", behind: "_swift_passt_command \"$first\"")
            : function("passt", OptionSuggestion.all(program))
    }

    /// `rest`: what completes a word that is no option; `behind`: what completes those that stand behind such a word.
    private static func function(_ name: String, _ options: [OptionSuggestion], rest: String? = nil, behind: String = ":") -> String {
        let valued = options.filter { $0.argument != nil }
        var lines = ["_swift_\(name)() {"]
        lines.append("    local cur prev first")
        lines.append("    _swift_passt_words")
        lines.append("    _swift_passt_first " + quoted(" " + valued.flatMap(\.long).joined(separator: " ") + " ") + " " + quoted(String(valued.compactMap(\.short))))
        lines.append("    if ((first < COMP_CWORD)); then")
        lines.append("        " + behind)
        lines.append("        return")
        lines.append("    fi")
        lines.append("    case $prev in")
        var kinds: [ValueKind] = []
        for option in valued where !kinds.contains(option.kind) { kinds.append(option.kind) }
        for kind in kinds {
            let names = valued.filter { $0.kind == kind }.flatMap(\.names)
            lines.append("    " + names.joined(separator: " | ") + ")")
            lines.append("        " + reply(kind))
            lines.append("        return ;;")
        }
        lines.append("    esac")
        // Only where it starts with a dash: an empty word may become anything.
        lines.append("    if [[ $cur == -* ]]; then")
        lines.append("        mapfile -t COMPREPLY < <(compgen -W " + quoted(options.flatMap(\.names).joined(separator: " ")) + " -- \"$cur\")")
        if let rest {
            lines.append("    else")
            lines.append("        " + rest)
        }
        lines.append("    fi")
        lines.append("}")
        return lines.joined(separator: "\n")
    }

    private static func reply(_ kind: ValueKind) -> String {
        switch kind {
        case .file: "_swift_passt_files"
        case .interface: "mapfile -t COMPREPLY < <(compgen -W \"$(command ls /sys/class/net 2>/dev/null)\" -- \"$cur\")"
        case .user: "mapfile -t COMPREPLY < <(compgen -u -- \"$cur\")"
        case .networkNamespace: "mapfile -t COMPREPLY < <(compgen -W \"$(command ls /run/netns 2>/dev/null)\" -- \"$cur\"; compgen -f -- \"$cur\")"
        case .words(let words): words.isEmpty ? "COMPREPLY=()" : "mapfile -t COMPREPLY < <(compgen -W \(quoted(words.joined(separator: " "))) -- \"$cur\")"
        }
    }
}
