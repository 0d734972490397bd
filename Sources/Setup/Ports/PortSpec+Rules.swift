internal import Settings
internal import Wire

extension PortSpec {
    /// The rules that the value stands for: single ports and ranges first, which must work, then `all` or `auto` for the others.
    func rules(_ kind: PortOption.Kind, text: String) throws(PortSpecError) -> [ForwardRule] {
        if isNone { return [] }
        var rules: [ForwardRule] = []
        for range in ranges {
            let pieces = PortSpec.pieces(of: range.ports, without: exclusions)
            if pieces.isEmpty { throw PortSpecError("the exclusions leave nothing of \(range.ports.lowerBound)-\(range.ports.upperBound)") }
            for piece in pieces {
                rules.append(ForwardRule(
                    kind, piece, address: address, interface: interface, targetOffset: range.targetOffset,
                    targetAddress: range.targetAddress, text: text))
            }
        }
        guard hasAll || hasAuto else { return rules }
        let pieces = PortSpec.pieces(of: PortSpec.allPorts, without: exclusions + ranges.map(\.ports))
        if pieces.isEmpty { throw PortSpecError("the exclusions leave no port") }
        for piece in pieces {
            rules.append(ForwardRule(
                kind, piece, address: address, interface: interface, targetAddress: allTarget, isBestEffort: true, scans: hasAuto, text: text))
        }
        return rules
    }

    /// What is left of `range`, in order.
    static func pieces(of range: ClosedRange<UInt16>, without holes: [ClosedRange<UInt16>]) -> [ClosedRange<UInt16>] {
        var pieces = [range]
        for hole in holes {
            pieces = pieces.flatMap { piece -> [ClosedRange<UInt16>] in
                guard piece.overlaps(hole) else { return [piece] }
                var rest: [ClosedRange<UInt16>] = []
                if piece.lowerBound < hole.lowerBound { rest.append(piece.lowerBound...(hole.lowerBound - 1)) }
                if piece.upperBound > hole.upperBound { rest.append((hole.upperBound + 1)...piece.upperBound) }
                return rest
            }
        }
        return pieces
    }
}
