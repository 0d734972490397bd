public import Wire

/// Ports that lead to the other side, as the options `-t`, `-u`, `-T` and `-U` ask for them. One option makes one rule or several.
public struct ForwardRule: Sendable, Equatable {
    public var kind: PortOption.Kind
    /// Where we listen; nil: any address of both families.
    public var address: IPAddress?
    /// Only what arrives on this interface.
    public var interface: String?
    public var first: UInt16
    public var last: UInt16
    /// What is added to a port to have the one on the other side.
    public var targetOffset: Int
    /// Where connections end; nil: at the guest's address, or at loopback.
    public var targetAddress: IPAddress?
    /// Ports that cannot be bound are left out, as are those that the kernel gives to outgoing connections.
    public var isBestEffort: Bool
    /// Only ports on which the other side listens, which are looked for again and again.
    public var scans: Bool
    /// The option's value as it was written, for messages.
    public var text: String

    public init(
        _ kind: PortOption.Kind, _ ports: ClosedRange<UInt16>, address: IPAddress? = nil, interface: String? = nil, targetOffset: Int = 0,
        targetAddress: IPAddress? = nil, isBestEffort: Bool = false, scans: Bool = false, text: String
    ) {
        self.kind = kind
        self.address = address
        self.interface = interface
        first = ports.lowerBound
        last = ports.upperBound
        self.targetOffset = targetOffset
        self.targetAddress = targetAddress
        self.isBestEffort = isBestEffort
        self.scans = scans
        self.text = text
    }

    public var ports: ClosedRange<UInt16> { first...last }

    /// The port on the other side.
    public func target(of port: UInt16) -> UInt16 { UInt16(truncatingIfNeeded: Int(port) + targetOffset) }
}

extension PortOption.Kind {
    public var isTCP: Bool { self == .tcpIn || self == .tcpOut }
    public var isInbound: Bool { self == .tcpIn || self == .udpIn }

    /// The option's one-letter name.
    public var letter: String {
        switch self {
        case .tcpIn: "t"
        case .udpIn: "u"
        case .tcpOut: "T"
        case .udpOut: "U"
        }
    }
}

extension Options {
    /// The rules of all port options, and pasta's default for those that were not given: `auto`.
    public var effectiveForwardRules: [ForwardRule] {
        guard program == .pasta else { return forwardRules }
        let kinds: [PortOption.Kind] = [.tcpIn, .udpIn, .tcpOut, .udpOut]
        let missing = kinds.filter { kind in !portOptions.contains { $0.kind == kind } }
        return forwardRules + missing.map { ForwardRule($0, 1...UInt16.max, isBestEffort: true, scans: true, text: "auto") }
    }
}

extension ClosedRange<UInt16> {
    /// What is left of these ports, in order.
    package func pieces(without holes: [ClosedRange<UInt16>]) -> [ClosedRange<UInt16>] {
        var pieces = [self]
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
