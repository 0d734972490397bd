// PortClient: pesto, which changes the forwarded ports of a pasta or passt that runs.
//
//     PestoOptions      arguments to a list of actions
//     PortTable         a table of rules, and what actions do to it
//     PortConnection    what is said on the socket (Wire/PortControl.swift)
//     Pesto             all of it in order
//
// The program at the other end takes whole tables. What an action means is decided here, by who was told the tables as they are; nobody else can
// change them meanwhile, since one client is served at a time.

internal import Settings
package import Wire

/// One table of the program at the other end.
package struct PortTable: Equatable {
    package let name: String
    /// What it is called in requests.
    package let number: UInt8
    package let capabilities: PortTableHead.Capabilities
    package private(set) var rules: [PortControlRule]
    package private(set) var isChanged = false

    package init(_ head: PortTableHead, _ rules: [PortControlRule]) {
        name = head.name
        number = head.number
        capabilities = head.capabilities
        self.rules = rules
    }

    /// nil: one that is unknown here.
    package var known: PortTableName? { PortTableName.allCases.first { "\($0.text)" == name } }

    package mutating func clear() {
        rules = []
        isChanged = true
    }

    /// Why a rule cannot be in this table; nil: it can.
    package func objection(to rule: PortControlRule) -> String? {
        if !capabilities.contains(rule.isTCP ? .tcp : .udp) { return "\(rule.isTCP ? "TCP" : "UDP") is switched off" }
        if rule.scans && !capabilities.contains(.scans) { return "'auto' cannot be followed: nobody tells who listens" }
        if !rule.interface.isEmpty && !capabilities.contains(.interfaces) { return "an interface of the namespace can only be named when pasta starts" }
        return nil
    }

    /// Whether the guest has the family of a rule.
    package func hasFamily(of rule: PortControlRule) -> Bool {
        guard let address = rule.address ?? rule.targetAddress else { return true }
        return capabilities.contains(address.isIPv4 ? .ipv4 : .ipv6)
    }

    /// Adds what is not there yet. Returns the rule that contradicts it, if there is one: it leads elsewhere, or is `auto` where this is `all`.
    package mutating func add(_ rule: PortControlRule) -> PortControlRule? {
        isChanged = true
        var pieces = [rule]
        for other in rules where other.listensLike(rule) && other.isBestEffort == rule.isBestEffort && other.ports.overlaps(rule.ports) {
            let first = max(other.first, rule.first)
            guard other.targetAddress == rule.targetAddress, other.target(of: first) == rule.target(of: first), other.scans == rule.scans else {
                return other
            }
            pieces = pieces.flatMap { $0.without(other.ports) }
        }
        rules += pieces
        return nil
    }

    /// Takes ports away wherever they are: all that the rule names, or with `auto` those that follow others. False: there were none.
    package mutating func delete(_ rule: PortControlRule) -> Bool {
        isChanged = true
        var wasThere = false
        rules = rules.flatMap { other -> [PortControlRule] in
            guard other.listensLike(rule), other.ports.overlaps(rule.ports), !rule.scans || other.scans, rule.mayEnd(other) else { return [other] }
            wasThere = true
            return other.without(rule.ports)
        }
        return wasThere
    }

    /// As options, a line for each rule.
    package var description: [String] {
        if rules.isEmpty { return ["\(name): nothing"] }
        return ["\(name):"] + rules.map { rule in
            let letter = known.map { PortOption.Kind($0, isTCP: rule.isTCP).letter } ?? (rule.isTCP ? "tcp" : "udp")
            let kind = rule.scans ? ", as far as somebody listens there" : rule.isBestEffort ? ", as far as they are free" : ""
            return "    -\(letter) \(rule.text)\(kind)"
        }
    }
}

extension PortControlRule {
    /// Whether both want the same sockets, where their ports are the same.
    fileprivate func listensLike(_ other: PortControlRule) -> Bool {
        isTCP == other.isTCP && address == other.address && interface == other.interface
    }

    /// Whether deleting this takes away the other one: it leads to the same place, or does not say where to.
    fileprivate func mayEnd(_ other: PortControlRule) -> Bool {
        if targetAddress == nil && target == first { return true }
        let port = max(first, other.first)
        return targetAddress == other.targetAddress && target(of: port) == other.target(of: port)
    }

    fileprivate func without(_ hole: ClosedRange<UInt16>) -> [PortControlRule] { ports.pieces(without: [hole]).map(piece) }

    private func piece(_ ports: ClosedRange<UInt16>) -> PortControlRule {
        var piece = self
        piece.first = ports.lowerBound
        piece.last = ports.upperBound
        piece.target = target(of: ports.lowerBound)
        return piece
    }
}
