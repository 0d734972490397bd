import Settings
import Wire

/// What the DHCPv6 server has to give, encoded once.
struct DHCPv6Offer: Sendable {
    let address: IPv6Address
    /// The resolvers as a whole option; empty without any.
    let resolvers: [UInt8]
    /// Comes last, since it takes what room there is.
    let search: SearchOption
    /// Our FQDN option (RFC 4704, section 4) without flags; empty without FQDN.
    let fqdn: [UInt8]
    /// Our identifier: the option with a DUID made of the gateway's link-layer address (RFC 8415, section 11.4),
    /// so that it is the same after a restart and clients go on renewing.
    let serverIdentifier: [UInt8]

    static func isServed(_ network: Network) -> Bool { network.dhcpv6 && network.ipv6?.address != nil }

    /// Nil where no DHCPv6 is served: switched off, or nothing to give.
    init?(_ network: Network) {
        guard DHCPv6Offer.isServed(network), let family = network.ipv6, let address = family.address else { return nil }
        self.address = address
        var value: [UInt8] = []
        if network.advertiseResolvers {
            for resolver in family.resolvers.prefix(32) { value.append(resolver) }
        }
        resolvers = value.isEmpty ? [] : DHCPv6Option.wire(DHCPv6Option.resolvers, value)
        search = .dhcpv6(network.advertiseSearch ? network.searchDomains.compactMap { DomainName($0) } : [])
        fqdn = network.fqdn.flatMap { DomainName($0) }.map { DHCPv6Option.wire(DHCPv6Option.fqdn, [0] + $0.wire) } ?? []
        var identifier: [UInt8] = [0, 3, 0, 1]
        identifier.append(network.gatewayMAC)
        serverIdentifier = DHCPv6Option.wire(DHCPv6Option.serverIdentifier, identifier)
    }
}
