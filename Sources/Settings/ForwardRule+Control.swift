public import Wire

// Rules as clients of --conf-path see them.

extension PortControlRule {
    public init(_ rule: ForwardRule) {
        self.init(isTCP: rule.kind.isTCP, rule.ports, target: rule.target(of: rule.first))
        address = rule.address
        targetAddress = rule.targetAddress
        interface = rule.interface.flatMap { InterfaceName($0) } ?? InterfaceName()
        isBestEffort = rule.isBestEffort
        scans = rule.scans
    }

    /// Where it listens and where it leads, in the grammar of `-t`.
    public var text: String {
        var text = ""
        if let address { text += address.isIPv4 ? "\(address)" : "[\(address)]" }
        if !interface.isEmpty { text += "%\(interface.text)" }
        if !text.isEmpty { text += "/" }
        let ends = target...target &+ (last &- first)
        // What no list of ports says: which of them need not be had.
        let isAll = isBestEffort && ports == 1...UInt16.max && ends == ports
        text += isAll ? (scans ? "auto" : "all") : PortControlRule.text(ports)
        if let targetAddress {
            text += ":" + (targetAddress.isIPv4 ? "\(targetAddress)" : "[\(targetAddress)]")
            if ends != ports { text += "/" + PortControlRule.text(ends) }
        } else if ends != ports {
            text += ":" + PortControlRule.text(ends)
        }
        return text
    }

    private static func text(_ ports: ClosedRange<UInt16>) -> String {
        ports.count == 1 ? "\(ports.lowerBound)" : "\(ports.lowerBound)-\(ports.upperBound)"
    }
}

extension ForwardRule {
    public init(_ rule: PortControlRule, _ kind: PortOption.Kind) {
        self.init(
            kind, rule.ports, address: rule.address, interface: rule.interface.isEmpty ? nil : rule.interface.text,
            targetOffset: Int(rule.target) - Int(rule.first), targetAddress: rule.targetAddress, isBestEffort: rule.isBestEffort, scans: rule.scans,
            text: rule.text)
    }
}

extension PortOption.Kind {
    public init(_ table: PortTableName, isTCP: Bool) {
        switch table {
        case .host: self = isTCP ? .tcpIn : .udpIn
        case .splice: self = isTCP ? .tcpOut : .udpOut
        }
    }

    /// The table that its rules are in.
    public var table: PortTableName { isInbound ? .host : .splice }
}
