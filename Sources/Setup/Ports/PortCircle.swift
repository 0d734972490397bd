package import Settings
internal import Wire

/// Ports that would lead back to where a connection came from: in by -t, out by -T, and in again, for as long as there are descriptors.
/// Automatic ports never do, since they leave out our own listeners.
package enum PortCircle {
    /// Which of the host's ports come back to the host, in by one rule and out by another, and how far they are moved by that.
    private struct Turn {
        let inbound, outbound: ForwardRule
        let ports: ClosedRange<Int>
        let shift: Int
    }

    /// Turns after which nothing is believed to come back any more.
    private static let mostTurns = 16

    /// The rules by which a port leads back to itself, and the port. `endsAtLoopback`: what comes from the host's loopback arrives at the namespace's.
    package static func find(_ rules: [ForwardRule], endsAtLoopback: Bool) -> (inbound: ForwardRule, outbound: ForwardRule, port: Int)? {
        for isTCP in [true, false] {
            let rules = rules.filter { $0.kind.isTCP == isTCP && !$0.scans }
            let turns = turns(rules, endsAtLoopback)
            for turn in turns {
                for port in turn.ports where comesBack(port, turns) { return (turn.inbound, turn.outbound, port) }
            }
        }
        return nil
    }

    private static func turns(_ rules: [ForwardRule], _ endsAtLoopback: Bool) -> [Turn] {
        var turns: [Turn] = []
        for inbound in rules where inbound.kind.isInbound && inbound.hearsLoopback {
            for outbound in rules where !outbound.kind.isInbound && outbound.hears(inbound, endsAtLoopback) && outbound.endsAtLoopback(of: inbound) {
                let first = max(Int(inbound.first), Int(outbound.first) - inbound.targetOffset)
                let last = min(Int(inbound.last), Int(outbound.last) - inbound.targetOffset)
                guard first <= last else { continue }
                turns.append(Turn(inbound: inbound, outbound: outbound, ports: first...last, shift: inbound.targetOffset + outbound.targetOffset))
            }
        }
        return turns
    }

    private static func comesBack(_ start: Int, _ turns: [Turn]) -> Bool {
        var port = start
        for _ in 0..<mostTurns {
            guard let turn = turns.first(where: { $0.ports.contains(port) }) else { return false }
            port += turn.shift
            if port == start { return true }
        }
        return false
    }
}

extension ForwardRule {
    /// Whether something of the host's loopback can come in here.
    fileprivate var hearsLoopback: Bool {
        guard interface == nil || interface == "lo" else { return false }
        return address.map { $0.isAny || $0.isLoopback } ?? true
    }

    /// Whether the namespace's listener of this rule is where the other rule leads to.
    fileprivate func hears(_ inbound: ForwardRule, _ endsAtLoopback: Bool) -> Bool {
        if let target = inbound.targetAddress {
            guard let address else { return target.isLoopback }
            return address.isIPv4 == target.isIPv4 && (address.isAny || address == target)
        }
        guard let address else { return endsAtLoopback }
        // Connections keep their family on the way in.
        if let heard = inbound.address, heard.isIPv4 != address.isIPv4 { return false }
        return address.isAny || address.isLoopback == endsAtLoopback
    }

    /// Whether this leads to an address at which the other rule listens.
    fileprivate func endsAtLoopback(of inbound: ForwardRule) -> Bool {
        guard let target = targetAddress else { return true }
        guard target.isLoopback else { return false }
        return inbound.address.map { $0.isIPv4 == target.isIPv4 && ($0.isAny || $0 == target) } ?? true
    }
}
