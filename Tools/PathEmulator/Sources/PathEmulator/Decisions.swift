/// What happens to one packet of the wire.
public enum Fate: Equatable, Sendable {
    case pass, lost, held, doubled
}

/// The fates of the packets of one direction, computed from the seed and the packet's number alone, so that a run can be repeated.
public struct Decisions: Sendable {
    private let seed: UInt64
    private let loss: UInt64
    private let reordering: UInt64
    private let duplication: UInt64

    /// - Parameter seed: differs between the two directions.
    public init(seed: UInt64, conditions: Conditions) {
        self.seed = seed
        loss = Self.threshold(conditions.loss)
        reordering = Self.threshold(conditions.reordering)
        duplication = Self.threshold(conditions.duplication)
    }

    public func fate(of packet: UInt64) -> Fate {
        if loss > 0, draw(packet, 0) < loss { return .lost }
        if reordering > 0, draw(packet, 1) < reordering { return .held }
        if duplication > 0, draw(packet, 2) < duplication { return .doubled }
        return .pass
    }

    /// 53 bits of SplitMix64 for draw number `kind` of `packet`.
    private func draw(_ packet: UInt64, _ kind: UInt64) -> UInt64 {
        var z = seed &+ (packet &* 3 &+ kind &+ 1) &* 0x9e37_79b9_7f4a_7c15
        z = (z ^ (z >> 30)) &* 0xbf58_476d_1ce4_e5b9
        z = (z ^ (z >> 27)) &* 0x94d0_49bb_1331_11eb
        return (z ^ (z >> 31)) >> 11
    }

    private static func threshold(_ share: Double) -> UInt64 {
        UInt64(max(0, min(1, share)) * 9_007_199_254_740_992)
    }
}
