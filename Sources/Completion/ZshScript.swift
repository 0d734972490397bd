internal import Settings

/// For zsh: one function for all programs.
package enum ZshScript {
    package static func text() -> String {
        """
        #compdef \((Program.pasta.names + Program.passt.names).joined(separator: " ")) pesto passt-repair qrap
        # zsh completion for passt, pasta, pesto, passt-repair and qrap. \(origin)

        _swift_passt_netns() {
            local -a names
            names=(/run/netns/*(N:t))
            _alternative 'names:network namespace:compadd -a names' 'files:file:_files'
        }

        \(function("pasta", OptionSuggestion.all(.pasta), ["'(-)1:command:_swift_passt_target'", "'*::argument:_normal'"]))

        # A command, or the number of a process.
        _swift_passt_target() {
            _alternative 'commands:command:_command_names -e' 'processes:process:_pids'
        }

        \(function("passt", OptionSuggestion.all(.passt)))

        \(function("pesto", OptionSuggestion.pesto, ["'1:socket:_files'"]))

        \(function("passt_repair", OptionSuggestion.passtRepair, ["'1:socket or directory:_files'"]))

        _swift_qrap() {
            [[ $words[2] == <-> ]] && { shift words; (( CURRENT-- )); }
            _arguments -S '1:QEMU:_command_names -e' '*::argument:_normal'
        }

        case $service in
        qrap) _swift_qrap "$@" ;;
        passt) _swift_passt "$@" ;;
        pesto) _swift_pesto "$@" ;;
        passt-repair) _swift_passt_repair "$@" ;;
        *) _swift_pasta "$@" ;;
        esac

        """
    }

    private static func function(_ name: String, _ options: [OptionSuggestion], _ rest: [String] = []) -> String {
        let specifications = options.map(specification) + rest
        return "_swift_\(name)() {\n    _arguments -s -S -A '-*' \\\n" + specifications.map { "        \($0)" }.joined(separator: " \\\n") + "\n}"
    }

    /// In the notation of _arguments: `'(-m --mtu)'{-m+,--mtu=}'[description]:BYTES:action'`.
    private static func specification(_ option: OptionSuggestion) -> String {
        let names = option.names
        let text = "[\(escaped(option.description))]" + (option.argument.map { ":\(escaped($0)):\(action(option.kind))" } ?? "")
        let forms = names.map { name in option.argument == nil ? name : name + (name.hasPrefix("--") ? "=" : "+") }
        let prefix = option.repeats ? "'*'" : names.count > 1 ? "'(\(names.joined(separator: " ")))'" : ""
        return prefix + (forms.count > 1 ? "{\(forms.joined(separator: ","))}" : forms[0]) + quoted(text)
    }

    private static func escaped(_ text: String) -> String {
        text.map { "[]:\\".contains($0) ? "\\\($0)" : String($0) }.joined()
    }

    private static func action(_ kind: ValueKind) -> String {
        switch kind {
        case .file: "_files"
        case .interface: "_net_interfaces"
        case .user: "_users"
        case .networkNamespace: "_swift_passt_netns"
        case .words(let words): words.isEmpty ? " " : "(\(words.joined(separator: " ")))"
        }
    }
}
