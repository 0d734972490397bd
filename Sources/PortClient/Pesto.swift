internal import Linux
internal import Settings
internal import Setup
internal import Wire

/// What `pesto` does.
public enum Pesto {
    /// Returns the exit status.
    public static func run(_ arguments: [String]) -> Int32 {
        do throws(SetupError) {
            switch try PestoOptions.parse(arguments) {
            case .printed(let text):
                print(text, on: 1)
                return 0
            case .invalid:
                return 1
            case .run(let options):
                return try run(options)
            }
        } catch {
            print("pesto: \(error.message)\n", on: 2)
            return 1
        }
    }

    private static func run(_ options: PestoOptions) throws(SetupError) -> Int32 {
        let connection = try PortConnection(to: options.path)
        defer { connection.close() }
        if options.shows { show(connection.tables) }
        if options.actions.isEmpty { return 0 }
        var tables = connection.tables
        for action in options.actions {
            for warning in try apply(action, to: &tables, options.isVerbose) { print("pesto: \(warning)\n", on: 2) }
        }
        try check(tables)
        if let answer = try connection.send(tables) { try judge(answer, tables) }
        if options.isVerbose { print("Done\n", on: 1) }
        guard options.shows else { return 0 }
        let after = try PortConnection(to: options.path)
        defer { after.close() }
        print("After that:\n", on: 1)
        show(after.tables)
        return 0
    }

    // MARK: Actions

    /// Returns what the user may want to know.
    static func apply(_ action: PestoOptions.Action, to tables: inout [PortTable], _ isVerbose: Bool = false) throws(SetupError) -> [String] {
        switch action {
        case .clear(let name):
            guard let index = tables.firstIndex(where: { $0.name == name }) else {
                throw SetupError(.options, "--clear '\(name)': there is \(tables.map(\.name).joined(separator: " and ")) only")
            }
            if isVerbose { print("Clearing \(name)\n", on: 1) }
            tables[index].clear()
            return []
        case .add(let rules, let text):
            if isVerbose { print("Adding \(text)\n", on: 1) }
            return try add(rules, text, to: &tables)
        case .delete(let rules, let text):
            if isVerbose { print("Deleting \(text)\n", on: 1) }
            var wasThere = false
            for rule in rules {
                let index = try table(of: rule, text, tables)
                if tables[index].delete(PortControlRule(rule)) { wasThere = true }
            }
            return wasThere || rules.isEmpty ? [] : ["\(text): nothing of it was forwarded"]
        }
    }

    private static func add(_ rules: [ForwardRule], _ text: String, to tables: inout [PortTable]) throws(SetupError) -> [String] {
        var isLeftOut = false
        for rule in rules {
            let index = try table(of: rule, text, tables)
            let wanted = PortControlRule(rule)
            if let objection = tables[index].objection(to: wanted) { throw SetupError(.options, "\(text): \(objection)") }
            guard tables[index].hasFamily(of: wanted) else {
                isLeftOut = true
                continue
            }
            if let other = tables[index].add(wanted) {
                if other.scans != wanted.scans {
                    throw SetupError(.options, "\(text): '\(other.scans ? "auto" : "all")' is in force already, and must be deleted before")
                }
                throw SetupError(.options, "\(text): port \(max(other.first, wanted.first)) leads elsewhere already, by \(other.text)")
            }
        }
        // Callers name both families, whichever the guest has.
        return isLeftOut ? ["\(text): left out, since the guest does not have this family"] : []
    }

    private static func table(of rule: ForwardRule, _ text: String, _ tables: [PortTable]) throws(SetupError) -> Int {
        guard let index = tables.firstIndex(where: { $0.known == rule.kind.table }) else {
            throw SetupError(.options, "\(text): only for pasta, a virtual machine's loopback cannot lead to the host")
        }
        return index
    }

    // MARK: The whole

    private static func check(_ tables: [PortTable]) throws(SetupError) {
        for table in tables where table.rules.count > PortControl.mostRules {
            throw SetupError(.options, "\(table.name) would have \(table.rules.count) ranges of ports, which is more than \(PortControl.mostRules)")
        }
        let rules = tables.flatMap { table in
            table.rules.compactMap { rule in table.known.map { ForwardRule(rule, PortOption.Kind($0, isTCP: rule.isTCP)) } }
        }
        let endsAtLoopback = tables.contains { $0.capabilities.contains(.endsAtLoopback) }
        guard let circle = PortCircle.find(rules, endsAtLoopback: endsAtLoopback) else { return }
        throw SetupError(
            .options, "-\(circle.inbound.kind.letter) \(circle.inbound.text) and -\(circle.outbound.kind.letter) \(circle.outbound.text): "
                + "connections to port \(circle.port) would come back for ever")
    }

    /// Throws what the other end could not do, and why.
    static func judge(_ answer: PortControlAnswer, _ tables: [PortTable]) throws(SetupError) {
        let table = tables.first { $0.known == answer.table }
        let letter = answer.table.map { PortOption.Kind($0, isTCP: answer.isTCP).letter } ?? "?"
        let rules = table.map { PortConnection.inOrder($0.rules) } ?? []
        let rule = Int(answer.rule) < rules.count ? rules[Int(answer.rule)] : nil
        let unchanged = ", nothing was changed"
        let port = "Failed to bind port \(answer.port) (\(Errno(answer.code).text))"
        let reason = switch answer.outcome {
        case .done: ""
        case .unreadable: "The other end does not understand what it was told" + unchanged
        case .late: "The other end has waited too long" + unchanged
        case .failed: port + " for option '-\(letter) \(rule?.text ?? "\(answer.port)")'" + unchanged + remedy(answer, tables)
        case .nothingBound: "Failed to bind any port for option '-\(letter) \(rule?.text ?? "all")'" + unchanged
        case .lost: port + ", and a port from before could not be opened again" + remedy(answer, tables)
        case .noInterface: "There is no interface \(rule?.interface.text ?? "of this name")" + unchanged
        case .tooMany: "Too many different rules with 'auto'" + unchanged
        }
        if answer.outcome != .done { throw SetupError(.sockets, reason) }
    }

    /// What can be done about a port that could not be opened, behind a colon; empty where nothing is known.
    private static func remedy(_ answer: PortControlAnswer, _ tables: [PortTable]) -> String {
        let program = tables.contains { $0.known == .splice } ? "pasta" : "passt"
        let refusal = BindRefusal(isTCP: answer.isTCP, isOutbound: answer.table == .splice, running: program)
        return refusal.remedy(Errno(answer.code), answer.port).map { ": " + $0 } ?? ""
    }

    private static func show(_ tables: [PortTable]) {
        for line in tables.flatMap(\.description) { print(line + "\n", on: 1) }
    }

    private static func print(_ text: String, on descriptor: Int32) { try? Descriptor(descriptor).write(text) }
}
