public import Settings

extension Program {
    /// The program that a command line is for: with `--vhost-user` among its first options it is passt, by whichever name. What follows may be a
    /// command's own.
    public init(arguments: [String]) throws(SetupError) {
        for argument in arguments.dropFirst() {
            guard argument.utf8.first == UInt8(ascii: "-"), argument != "--" else { break }
            if argument == "--vhost-user" {
                self = .passt
                return
            }
        }
        try self.init(calledAs: arguments.first ?? "")
    }

    /// The program that a name stands for: anything with "pasta" in it is pasta, and so is its old name "passt4netns";
    /// anything else with "passt" in it is passt. Directories do not count.
    public init(calledAs name: String) throws(SetupError) {
        let base = String(name.utf8.split(separator: UInt8(ascii: "/")).last.map(Substring.init) ?? "")
        if base.containsText("pasta") || base.containsText("passt4netns") {
            self = .pasta
        } else if base.containsText("passt") {
            self = .passt
        } else {
            throw SetupError(.options, "Cannot determine mode, invoke as \"passt\" or \"pasta\"")
        }
    }
}

extension String {
    fileprivate func containsText(_ part: String) -> Bool {
        var rest = utf8[...]
        while rest.count >= part.utf8.count {
            if rest.starts(with: part.utf8) { return true }
            rest = rest.dropFirst()
        }
        return false
    }
}
