internal import Linux
package import Settings
package import Setup
internal import Wire

/// What `pesto` is asked to do.
package struct PestoOptions: Equatable {
    package enum Action: Equatable {
        case add([ForwardRule], text: String)
        case delete([ForwardRule], text: String)
        /// A table by its name.
        case clear(String)
    }

    package enum Outcome: Equatable {
        case run(PestoOptions)
        /// A text for the standard output stream.
        case printed(String)
        /// The user has been told what is wrong.
        case invalid
    }

    package var path = ""
    package var isVerbose = false
    package var shows = false
    package var actions: [Action] = []

    /// An option, as getopt and shells' completions need it.
    package struct Entry: Sendable {
        package let short: Character
        package let long: String
        /// What the help calls the value; nil for an option without one.
        package let argument: String?
        package let help: String
    }

    package static let entries = [
        Entry(short: "A", long: "add", argument: nil, help: "Add the ports of what follows. Those that are there already stay."),
        Entry(short: "D", long: "delete", argument: nil, help: "Take away the ports of what follows."),
        Entry(short: "C", long: "clear", argument: "TABLE", help: "Take away all ports of a table, HOST or SPLICE, and add what follows."),
        Entry(short: "t", long: "tcp-ports", argument: "SPEC", help: "TCP ports of the host that lead to the guest (table HOST)."),
        Entry(short: "u", long: "udp-ports", argument: "SPEC", help: "UDP ports of the host that lead to the guest."),
        Entry(short: "T", long: "tcp-ns", argument: "SPEC", help: "TCP ports of the namespace's loopback that lead to the host's (table SPLICE)."),
        Entry(short: "U", long: "udp-ns", argument: "SPEC", help: "UDP ports of the namespace's loopback that lead to the host's."),
        Entry(short: "s", long: "show", argument: nil, help: "Print all ports, before and after what is done."),
        Entry(short: "d", long: "debug", argument: nil, help: "Print what is done."),
        Entry(short: "h", long: "help", argument: nil, help: "Print this text and exit."),
        Entry(short: "V", long: "version", argument: nil, help: "Print the version and exit."),
    ]

    package static var usage: String {
        var text = """
            Usage: pesto [OPTION]... PATH

            Changes the forwarded ports of a pasta or passt that was started with --conf-path PATH.
            What SPEC can be is said in pasta(1). Options are looked at in order; without --add,
            --delete and --clear, a table that is mentioned becomes what is given for it. Without
            any, ports are printed.


            """
        for entry in entries {
            let left = "  -\(entry.short), --\(entry.long)" + (entry.argument.map { " " + $0 } ?? "")
            text += left + String(repeating: " ", count: max(2, 26 - left.count)) + entry.help + "\n"
        }
        return text
    }

    private enum Mode { case replace, add, delete }

    /// Reads a command line, the program's name first. Not for two threads at a time.
    package static func parse(_ arguments: [String]) throws(SetupError) -> Outcome {
        var options = PestoOptions()
        var printed: String?
        var mode = Mode.replace
        var replaced: Set<String> = []
        let outcome = try OptionScanner.run(
            arguments, short: entries.reduce(into: "+") { $0 += "\($1.short)" + ($1.argument == nil ? "" : ":") },
            long: entries.map { LongOption(name: $0.long, takesValue: $0.argument != nil, result: Int32($0.short.asciiValue ?? 0)) }
        ) { (result, value) throws(SetupError) -> Bool in
            let value = value ?? ""
            switch UInt8(truncatingIfNeeded: result) {
            case UInt8(ascii: "h"): printed = usage
            case UInt8(ascii: "V"): printed = "pesto \(Version.text) (swift-passt)\n"
            case UInt8(ascii: "d"): options.isVerbose = true
            case UInt8(ascii: "s"): options.shows = true
            case UInt8(ascii: "A"): mode = .add
            case UInt8(ascii: "D"): mode = .delete
            case UInt8(ascii: "C"):
                options.actions.append(.clear(value))
                mode = .add
            case UInt8(ascii: "t"): try options.note(.tcpIn, value, mode, &replaced)
            case UInt8(ascii: "u"): try options.note(.udpIn, value, mode, &replaced)
            case UInt8(ascii: "T"): try options.note(.tcpOut, value, mode, &replaced)
            case UInt8(ascii: "U"): try options.note(.udpOut, value, mode, &replaced)
            default: break
            }
            return printed == nil
        }
        if let printed { return .printed(printed) }
        guard case .complete(let rest) = outcome else { return .invalid }
        guard arguments.count == rest + 1, let path = arguments.last, !path.isEmpty else {
            throw SetupError(.options, "one PATH is needed, that of pasta's or passt's --conf-path")
        }
        options.path = path
        if options.actions.isEmpty { options.shows = true }
        return .run(options)
    }

    private mutating func note(_ kind: PortOption.Kind, _ value: String, _ mode: Mode, _ replaced: inout Set<String>) throws(SetupError) {
        let rules = try ForwardRule.parse(kind, option: "-\(kind.letter)", value)
        let text = "-\(kind.letter) \(value)"
        switch mode {
        case .delete: actions.append(.delete(rules, text: text))
        case .add: actions.append(.add(rules, text: text))
        case .replace:
            let table = "\(kind.table.text)"
            if replaced.insert(table).inserted { actions.append(.clear(table)) }
            actions.append(.add(rules, text: text))
        }
    }
}
