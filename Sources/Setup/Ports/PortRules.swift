package import Settings
internal import Wire

/// The rules of all port options so far, in order.
struct PortRules {
    private(set) var rules: [ForwardRule] = []
    private var given: [PortOption.Kind: (isNone: Bool, name: String)] = [:]

    /// Adds one option. What repeats an earlier rule is left out; what contradicts one is refused.
    mutating func add(_ kind: PortOption.Kind, _ option: GivenOption, program: Program) throws(SetupError) {
        let added: [ForwardRule]
        let isNone: Bool
        do throws(PortSpecError) {
            let spec = try PortSpec(option.value)
            isNone = spec.isNone
            added = try spec.rules(kind, text: option.value)
        } catch {
            throw option.refused(error.reason)
        }
        if let before = given[kind], before.isNone != isNone {
            throw option.refused(isNone ? "there are other values of \(option.name)" : "excluded by \(option.name) none")
        }
        given[kind] = (isNone, option.name)
        if program == .passt, added.contains(where: \.scans) {
            throw option.refused("'auto' is for namespaces, which passt has none of")
        }
        for rule in added { try add(rule, option) }
    }

    private mutating func add(_ rule: ForwardRule, _ option: GivenOption) throws(SetupError) {
        var pieces = [rule.ports]
        for earlier in rules where earlier.listensLike(rule) && earlier.isBestEffort == rule.isBestEffort && earlier.ports.overlaps(rule.ports) {
            if earlier.scans != rule.scans { throw option.refused("'all' and 'auto' exclude each other, as in \(option.name) \(OptionValue.quoted(earlier.text))") }
            guard earlier.targetOffset == rule.targetOffset, earlier.targetAddress == rule.targetAddress else {
                let port = max(earlier.first, rule.first)
                throw option.refused("port \(port) leads elsewhere by \(option.name) \(OptionValue.quoted(earlier.text))")
            }
            pieces = pieces.flatMap { $0.pieces(without: [earlier.ports]) }
        }
        for piece in pieces {
            var part = rule
            part.first = piece.lowerBound
            part.last = piece.upperBound
            rules.append(part)
        }
    }
}

extension ForwardRule {
    /// The rules that the value of one option stands for; none for `none`.
    package static func parse(_ kind: PortOption.Kind, option name: String, _ value: String) throws(SetupError) -> [ForwardRule] {
        do throws(PortSpecError) {
            return try PortSpec(value).rules(kind, text: value)
        } catch {
            throw GivenOption(name: name, value: value).refused(error.reason)
        }
    }

    /// Whether both want the same sockets, where their ports are the same.
    fileprivate func listensLike(_ other: ForwardRule) -> Bool {
        kind == other.kind && address == other.address && interface == other.interface
    }
}
