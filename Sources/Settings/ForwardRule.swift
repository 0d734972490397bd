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
    /// No option asks for it by itself: it may be left out as a whole.
    public var isImplied = false
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

extension Options {
    /// How many resolvers of a resolv.conf the C library asks.
    private static var mostResolvers: Int { 3 }

    /// A command reads the host's resolv.conf. What that names on a loopback address of its own, as systemd-resolved's 127.0.0.53, is found there in the namespace, too, where
    /// the host's services are shown there at all: `auto` leads to 127.0.0.1 only.
    public func resolverRules(_ nameservers: [IPAddress]) -> [ForwardRule] {
        guard case .command = target, !ipv6Only else { return [] }
        let rules = effectiveForwardRules
        let shown = [PortOption.Kind.tcpOut, .udpOut].filter { kind in
            rules.contains { $0.kind == kind && $0.scans && $0.ports.contains(53) && $0.address == nil && $0.targetAddress == nil }
        }
        let resolvers = nameservers.prefix(Options.mostResolvers).filter { $0.isIPv4 && $0.isLoopback && $0 != IPAddress(IPv4Address.loopback) }
        return resolvers.flatMap { address in
            shown.map { kind in
                var rule = ForwardRule(kind, 53...53, address: address, targetAddress: address, isBestEffort: true, text: "\(address)/53:\(address)")
                rule.isImplied = true
                return rule
            }
        }
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
