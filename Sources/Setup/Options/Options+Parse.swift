internal import Linux
public import Settings
internal import Wire

/// What the command line asks for: a run, or just a text.
public enum ParseResult: Sendable, Equatable {
    case run(Options)
    /// A text for the standard output stream, and the exit status. Empty with status 1 where getopt has told the user what is wrong.
    case printed(String, status: Int32)
}

extension Options {
    /// Reads a command line, the program's name first, in getopt's grammar and in its order.
    /// It may be called again, but not by two threads at a time.
    public static func parse(arguments: [String], program: Program) throws(SetupError) -> ParseResult {
        var parser = OptionParser(program)
        var printed: String?
        let outcome = try OptionScanner.run(
            arguments, short: OptionTable.shortOptions, long: OptionTable.longOptions
        ) { (result, value) throws(SetupError) -> Bool in
            guard let entry = OptionTable.entry(result) else { return true }
            printed = try parser.apply(entry, value ?? "")
            return printed == nil
        }
        switch outcome {
        case .stopped: return .printed(printed ?? "", status: 0)
        case .invalid: return .printed("", status: 1)
        case .complete(let rest):
            // Bytes that are no UTF-8 are this character by now, and a path with it leads elsewhere. A command's own arguments are passed on as they are.
            if let changed = arguments.prefix(rest).dropFirst().first(where: { $0.unicodeScalars.contains("\u{fffd}") }) {
                throw SetupError(.options, "\(OptionValue.quoted(changed)): not UTF-8")
            }
            try parser.setTarget(Array(arguments.dropFirst(rest)))
            try parser.checkConflicts()
            parser.options.warnings += parser.vainOptions()
            parser.options.applyImplied()
            return .run(parser.options)
        }
    }
}

/// The options so far, and what is needed to judge them together.
struct OptionParser {
    var options = Options()
    var ports = PortRules()
    /// As written, for messages: all of them in their order, and those that are spoken of by name.
    var given: [(key: OptionKey, option: GivenOption)] = []
    var netmask: GivenOption?
    var addressWithPrefix: GivenOption?
    var address4: GivenOption?
    var netns: GivenOption?

    init(_ program: Program) {
        options.program = program
    }

    /// Returns a text if the option asks for one to be printed and for nothing else.
    mutating func apply(_ entry: OptionEntry, _ value: String) throws(SetupError) -> String? {
        let program = options.program
        if !entry.programs.contains(program) {
            throw SetupError(.options, "\(entry.name) is an option of \(program == .pasta ? "passt" : "pasta"), not of \(program)")
        }
        if entry.missing.contains(program) {
            throw SetupError(.options, "\(entry.name) is not available in this build of \(program)")
        }
        let given = GivenOption(name: entry.name, value: value)
        switch entry.key {
        case .run(.help): return OptionHelp.text(program)
        case .run(.version): return OptionHelp.version(program)
        case .machine(.printCapabilities): return OptionHelp.capabilities
        case .run(let key): try apply(key, given)
        case .address(let key): try apply(key, given)
        case .name(let key): try apply(key, given)
        case .handler(let key): apply(key)
        case .namespace(let key): try apply(key, given)
        case .port(let key): try apply(key, given)
        case .machine(let key): try apply(key, given)
        }
        self.given.append((entry.key, given))
        return nil
    }

    /// What no single option can see.
    mutating func checkConflicts() throws(SetupError) {
        if options.quiet && options.debug { throw exclusive(options.trace ? "--trace" : "--debug", "--quiet") }
        if options.ipv4Only && options.ipv6Only { throw exclusive("--ipv4-only", "--ipv6-only") }
        if options.netnsOnly && options.userNamespace != nil { throw exclusive("--netns-only", "--userns") }
        if case .command = options.target, let path = options.userNamespace {
            throw SetupError(.options, "--userns '\(path)': only with --netns or a process number, a command gets a user namespace of its own")
        }
        if options.socketPath != nil && options.socketDescriptor != nil { throw exclusive("--socket", "--fd") }
        if options.vhostUser, let path = options.socketPath, MachineSocket.kind(of: path).kind != .stream {
            throw SetupError(.options, "--vhost-user needs a stream socket: a path without unixgram:// or unixpacket://")
        }
        if options.spliceOnly && options.noSplice { throw exclusive("--no-splice", "--splice-only") }
        if options.hostLoopbackToNamespaceLoopback && options.noSplice { throw exclusive("--host-lo-to-ns-lo", "--no-splice") }
        if !options.configureNetwork {
            if options.noCopyRoutes { throw SetupError(.options, "--no-copy-routes: only with --config-net") }
            if options.noCopyAddresses { throw SetupError(.options, "--no-copy-addrs: only with --config-net") }
        }
        for rule in options.forwardRules {
            guard let address = rule.address ?? rule.targetAddress else { continue }
            guard address.isIPv4 ? options.ipv6Only : options.ipv4Only else { continue }
            throw SetupError(.options, "-\(rule.kind.letter) \(OptionValue.quoted(rule.text)): \(address) cannot be used with --\(address.isIPv4 ? "ipv6" : "ipv4")-only")
        }
        if let circle = PortCircle.find(options.forwardRules, endsAtLoopback: options.hostLoopbackToNamespaceLoopback || options.spliceOnly) {
            let (inbound, outbound) = (circle.inbound, circle.outbound)
            throw SetupError(
                .options, "-\(inbound.kind.letter) \(OptionValue.quoted(inbound.text)) and -\(outbound.kind.letter) \(OptionValue.quoted(outbound.text)): "
                    + "connections to port \(circle.port) would come back for ever")
        }
        if let netmask, let addressWithPrefix {
            throw netmask.refused("Redundant prefix length specification, as in --address '\(addressWithPrefix.value)'")
        }
        if let address4, let address = options.address4, let length = options.prefixLength4, length <= 30,
            address.bits | IPv4Address.mask(length) == .max {
            throw address4.refused("the broadcast address of its /\(length) network cannot be used here")
        }
        if let mtu = options.mtu, (1..<1280).contains(mtu), !options.ipv4Only {
            options.warnings.append("--mtu \(mtu): IPv6 needs 1280 and will not work")
        }
    }

    private func exclusive(_ first: String, _ second: String) -> SetupError {
        SetupError(.options, "\(first) and \(second) exclude each other")
    }
}
