internal import Settings
internal import Wire

extension PortSpec {
    /// The rules that the value stands for: single ports and ranges first, which must work, then `all` or `auto` for the others.
    func rules(_ kind: PortOption.Kind, text: String) throws(PortSpecError) -> [ForwardRule] {
        if isNone { return [] }
        var rules: [ForwardRule] = []
        for range in ranges {
            let pieces = range.ports.pieces(without: exclusions)
            if pieces.isEmpty { throw PortSpecError("the exclusions leave nothing of \(range.ports.lowerBound)-\(range.ports.upperBound)") }
            for piece in pieces {
                rules.append(ForwardRule(
                    kind, piece, address: address, interface: interface, targetOffset: range.targetOffset,
                    targetAddress: range.targetAddress, text: text))
            }
        }
        guard hasAll || hasAuto else { return rules }
        let pieces = PortSpec.allPorts.pieces(without: exclusions + ranges.map(\.ports))
        if pieces.isEmpty { throw PortSpecError("the exclusions leave no port") }
        for piece in pieces {
            rules.append(ForwardRule(
                kind, piece, address: address, interface: interface, targetAddress: allTarget, isBestEffort: true, scans: hasAuto, text: text))
        }
        return rules
    }
}
