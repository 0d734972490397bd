import Completion
import Settings
import Testing

/// The shells themselves read the completion files.
@Suite struct CompletionTests {
    @Test(arguments: CompletionFiles.all.map(\.path))
    func committedFilesAreTheTables(_ path: String) throws {
        let expected = try #require(CompletionFiles.all.first { $0.path == path })
        let file = "Packaging/completions/" + path
        #expect(try Package.text(file) == expected.text, "\(file) is out of date: swift run completions Packaging/completions")
    }

    @Test func everyOptionIsOffered() {
        for program in [Program.pasta, .passt] {
            let options = OptionSuggestion.all(program)
            #expect(options.count > 40)
            for option in options {
                #expect(!option.description.isEmpty && option.description.last?.isPunctuation == false, "\(option.long): \(option.description)")
            }
        }
    }

    // MARK: bash

    /// What bash offers for the words, of which the last is unfinished.
    private func bash(_ function: String, _ words: [String]) throws -> [String] {
        let script = """
            source "$1"; shift
            function=$1; shift
            COMP_WORDS=("$@") COMP_CWORD=$(($# - 1))
            "$function" && printf '%s\\n' "${COMPREPLY[@]}"
            """
        let output = try run(["bash", "--norc", "-uc", script, "bash", Package.path("Packaging/completions/bash/passt"), function] + words)
        #expect(output.status == 0, "\(output)")
        return output.lines
    }

    @Test(arguments: [
        (["pasta", "--conf"], ["--conf-path", "--config-net"]),
        (["pasta", "-f", "--map"], ["--map-host-loopback", "--map-guest-addr"]),
        (["pasta", "--map-host-loopback", "no"], ["none"]),
        (["pasta", "--map-host-loopback", "=", "n"], ["none"]),
        (["pasta", "--map-host-loopback", "="], ["none"]),
        (["pasta", "-t", ""], ["none", "auto", "all"]),
        (["pasta", "--interface", "l"], ["lo"]),
        (["pasta", "--runas", "roo"], ["root"]),
        (["pasta", "--pid", "/etc/host.con"], ["/etc/host.conf"]),
        (["pasta", "--mtu", ""], []),
        // Behind the command, everything is the command's.
        (["pasta", "--mtu", "1500", "cat", "/etc/host.con"], ["/etc/host.conf"]),
        (["pasta", "--mtu", "=", "1500", "cat", "/etc/host.con"], ["/etc/host.conf"]),
        (["pasta", "-fqm", "1500", "cat", "/etc/host.con"], ["/etc/host.conf"]),
        (["pasta", "-m1500", "cat", "/etc/host.con"], ["/etc/host.conf"]),
        (["pasta", "--", "cat", "--config-n"], []),
        (["pasta", "compge"], ["compgen"]),
    ])
    func bashCompletesPasta(_ words: [String], _ expected: [String]) throws {
        #expect(try bash("_swift_pasta", words) == expected, "\(words)")
    }

    @Test func bashCompletesTheOthers() throws {
        #expect(try bash("_swift_passt", ["passt", "--one"]) == ["--one-off"])
        #expect(try bash("_swift_passt", ["passt", "-t", ""]) == ["none", "all"])
        #expect(try bash("_swift_passt", ["passt", "--config-n"]).isEmpty)
        #expect(try bash("_swift_passt", ["passt", "x", "--one"]).isEmpty)
        #expect(try bash("_swift_pesto", ["pesto", "--cl"]) == ["--clear"])
        #expect(try bash("_swift_pesto", ["pesto", "-C", "S"]) == ["SPLICE"])
        #expect(try bash("_swift_pesto", ["pesto", "-A", "-t", "80", "/etc/host.con"]) == ["/etc/host.conf"])
        #expect(try bash("_swift_passt_repair", ["passt-repair", "--ve"]) == ["--version"])
        #expect(try bash("_swift_passt_repair", ["passt-repair", "/etc/host.con"]) == ["/etc/host.conf"])
        #expect(try bash("_swift_qrap", ["qrap", "5", "compge"]) == ["compgen"])
        #expect(try bash("_swift_qrap", ["qrap", "5", "kvm", "/etc/host.con"]) == ["/etc/host.conf"])
    }

    @Test func bashKnowsTheCommands() throws {
        let output = try run(["bash", "--norc", "-c", "source \"$1\"; complete -p passt pasta passt4netns pesto passt-repair qrap", "bash", Package.path("Packaging/completions/bash/passt")])
        #expect(output.lines == [
            "complete -F _swift_passt passt", "complete -F _swift_pasta pasta", "complete -F _swift_pasta passt4netns",
            "complete -F _swift_pesto pesto", "complete -F _swift_passt_repair passt-repair", "complete -F _swift_qrap qrap",
        ])
    }

    // MARK: zsh

    @Test func zshReadsItsFile() throws {
        let check = try run(["zsh", "-n", Package.path("Packaging/completions/zsh/_passt")])
        #expect(check.status == 0 && check.text.isEmpty, "\(check)")
        let script = "fpath=(\"$1\" $fpath); autoload -Uz compinit; compinit -D -u; print -l $_comps[passt] $_comps[pasta] $_comps[passt4netns] $_comps[pesto] $_comps[passt-repair] $_comps[qrap]"
        let output = try run(["zsh", "-fc", script, "zsh", Package.path("Packaging/completions/zsh")])
        #expect(output.lines == ["_passt", "_passt", "_passt", "_passt", "_passt", "_passt"], "\(output)")
    }

    /// In a terminal of its own, with the tabulator key pressed.
    @Test(arguments: [
        ("pasta --config", "pasta --config-net "), ("passt --one-o", "passt --one-off "), ("pasta --map-host-loopback n", "pasta --map-host-loopback none "),
        ("pasta -f cat /etc/host.con", "pasta -f cat /etc/host.conf "), ("pesto -C SP", "pesto -C SPLICE "),
        ("passt-repair --ver", "passt-repair --version "), ("passt-repair /etc/host.con", "passt-repair /etc/host.conf "),
    ])
    func zshCompletes(_ typed: String, _ expected: String) throws {
        let script = """
            zmodload zsh/zpty
            zpty shell "PS1='@' zsh -fi"
            zpty -w shell "PS1=@; unsetopt zle_bracketed_paste beep; fpath=(${(q)1} \\$fpath); autoload -Uz compinit; compinit -D -u"
            zpty -w shell "show() { print -r \\"<\\$BUFFER>\\"; BUFFER=; zle accept-line }; zle -N show; bindkey '^X' show; print rea''dy"
            repeat 200; do zpty -rt shell line && text+=$line; [[ $text == *ready* ]] && break; sleep 0.05; done
            zpty -wn shell "$2"$'\\t\\x18'
            text=
            repeat 200; do zpty -rt shell line && text+=$line; [[ $text == *'<'*'>'* ]] && break; sleep 0.05; done
            zpty -d shell
            print -r -- "${${text##*<}%%>*}"
            """
        let output = try run(["zsh", "-fc", script, "zsh", Package.path("Packaging/completions/zsh"), typed])
        #expect(output.text == expected + "\n", "\(output)")
    }

    // MARK: fish

    @Test(arguments: [
        ("pasta", "pasta --conf", "--config-net"), ("pasta", "pasta --conf", "--conf-path"), ("passt", "passt --one-o", "--one-off"), ("pasta", "pasta --map-host-loopback n", "none"),
        ("pasta", "pasta --runas roo", "root"), ("pasta", "pasta --mtu 1500 cat /etc/host.con", "/etc/host.conf"),
        ("passt4netns", "passt4netns --conf", "--config-net"), ("pesto", "pesto --sho", "--show"), ("pesto", "pesto -C H", "HOST"), ("qrap", "qrap 5 cat /etc/host.con", "/etc/host.conf"),
        ("passt-repair", "passt-repair --ver", "--version"), ("passt-repair", "passt-repair /etc/host.con", "/etc/host.conf"),
    ])
    func fishCompletes(_ file: String, _ line: String, _ expected: String) throws {
        let check = try run(["fish", "-n", Package.path("Packaging/completions/fish/\(file).fish")])
        #expect(check.status == 0 && check.text.isEmpty, "\(check)")
        #expect(try fish(line).contains(expected), "\(line)")
    }

    /// No option of pasta's where the command's are due, and no command where an option is.
    @Test func fishKnowsWhereTheCommandBegins() throws {
        #expect(try fish("pasta cat --config-n").isEmpty)
        #expect(try fish("pasta --mtu 1500 -- cat --config-n").isEmpty)
        #expect(try fish("pasta --config-n") == ["--config-net"])
        #expect(try fish("pasta --mtu 1500 --config-n") == ["--config-net"])
    }

    /// What fish offers. It loads completions of programs that it finds only, so there are some of those names.
    private func fish(_ line: String) throws -> [String] {
        let script = """
            set home (mktemp -d); or exit
            mkdir $home/bin
            for name in passt pasta passt4netns pesto passt-repair qrap; ln -s /bin/true $home/bin/$name; end
            set -x PATH $home/bin $PATH
            set fish_complete_path $argv[1] $fish_complete_path
            set -x HOME $home
            complete -C $argv[2]
            rm -r $home
            """
        let output = try run(["fish", "--no-config", "-c", script, Package.path("Packaging/completions/fish"), line])
        #expect(output.status == 0, "\(output)")
        return output.lines.map { $0.split(separator: "\t").first.map(String.init) ?? "" }
    }
}
