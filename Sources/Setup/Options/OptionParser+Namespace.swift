internal import Settings

extension OptionParser {
    mutating func apply(_ key: OptionKey.Namespace, _ given: GivenOption) throws(SetupError) {
        switch key {
        case .netns:
            if given.value.isEmpty { throw given.refused("a path or a name is needed") }
            netns = given
        case .userns: options.userNamespace = try OptionValue.filled(given)
        case .netnsOnly: options.netnsOnly = true
        case .noNetnsQuit: options.noNetnsQuit = true
        case .configNet: options.configureNetwork = true
        case .noCopyRoutes: options.noCopyRoutes = true
        case .noCopyAddrs: options.noCopyAddresses = true
        case .nsIfname: options.namespaceInterface = try OptionValue.interface(given)
        case .nsMacAddr: options.namespaceMAC = try OptionValue.mac(given)
        }
    }

    /// The arguments behind the options: for pasta a process number or a command, unless --netns says it all.
    mutating func setTarget(_ words: [String]) throws(SetupError) {
        guard let first = words.first else {
            if let netns { options.target = .path(try path(netns)) }
            return
        }
        let quoted = OptionValue.quoted(first)
        if options.program == .passt { throw SetupError(.options, "Extra argument \(quoted): passt takes options only") }
        if let netns { throw netns.refused("excludes a command or process number, here \(quoted)") }
        if words.count == 1 && !first.isEmpty && first.utf8.allSatisfy({ (0x30...0x39).contains($0) }) {
            guard let number = OptionValue.decimal(first), let process = Int32(exactly: number), process > 0 else {
                throw SetupError(.options, "PID \(quoted): not a process number")
            }
            options.target = .process(process)
        } else if first.isEmpty {
            throw SetupError(.options, "COMMAND \(quoted): a program is needed")
        } else {
            options.target = .command(words)
        }
    }

    /// A name without a slash is one that `ip netns add` made.
    private func path(_ netns: GivenOption) throws(SetupError) -> String {
        if netns.value.utf8.contains(UInt8(ascii: "/")) { return netns.value }
        if netns.value == "." || netns.value == ".." { throw netns.refused("not a namespace's name") }
        return "/run/netns/" + netns.value
    }
}
