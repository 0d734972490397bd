public import Wire

/// Where one forwarded port listens: at one socket, or at one for each family.
public struct ListeningPlaces: Equatable, Sendable, BitwiseCopyable {
    public struct Place: Equatable, Sendable, BitwiseCopyable {
        public let address: IPAddress
        /// For an address of IPv6: the other family's clients as well.
        public let hasIPv4: Bool
        public var hasIPv6: Bool { !address.isIPv4 }
    }

    /// nil: nobody has the family that is asked for.
    public let first: Place?
    public let second: Place?

    /// `address` and `target` as in `ForwardRule`; `hasIPv4` and `hasIPv6`: what the guest has.
    public init(isOutbound: Bool, address: IPAddress?, target: IPAddress?, hasIPv4: Bool, hasIPv6: Bool) {
        if let address {
            first = (address.isIPv4 ? hasIPv4 : hasIPv6) ? Place(address: address, hasIPv4: address.isIPv4) : nil
            second = nil
            return
        }
        let ipv4 = hasIPv4 && target?.isIPv4 != false
        let ipv6 = hasIPv6 && target?.isIPv4 != true
        guard isOutbound else {
            // One socket of IPv6 serves both.
            let any4 = ipv4 ? Place(address: IPAddress(IPv4Address.any), hasIPv4: true) : nil
            first = ipv6 ? Place(address: IPAddress(IPv6Address.any), hasIPv4: ipv4) : any4
            second = nil
            return
        }
        // Nobody but the namespace itself reaches these: each family's loopback has a socket of its own.
        let loopback4 = ipv4 ? Place(address: IPAddress(IPv4Address.loopback), hasIPv4: true) : nil
        let loopback6 = ipv6 ? Place(address: IPAddress(IPv6Address.loopback), hasIPv4: false) : nil
        first = loopback4 ?? loopback6
        second = loopback4 == nil ? nil : loopback6
    }
}
