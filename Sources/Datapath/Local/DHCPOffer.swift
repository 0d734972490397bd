import Settings
import Wire

/// What the DHCP server has to give, encoded once.
struct DHCPOffer: Sendable {
    let address: IPv4Address
    let prefixLength: Int
    /// The server is the gateway.
    let server: IPv4Address
    /// Whole options, the most important ones first; who has little room gets fewer.
    let options: [[UInt8]]
    /// Comes last, since it takes what room there is.
    let search: SearchOption
    /// Our answers to option 81 without flags, in the DNS's form and in the older one as text; nil without FQDN.
    let fqdn: (wire: [UInt8], text: [UInt8])?

    /// Nil where no DHCP is served: switched off, or nothing to give.
    init?(_ network: Network) {
        guard let family = network.ipv4, network.dhcp, let address = family.address, let gateway = family.gateway
        else { return nil }
        self.address = address
        server = gateway
        prefixLength = min(max(family.prefixLength, 0), 32)
        var options: [[UInt8]] = []
        options.append(DHCPOffer.option(DHCPOption.subnetMask, [IPv4Address(IPv4Address.mask(prefixLength))]))
        options.append(DHCPOffer.option(DHCPOption.router, [gateway]))
        if !gateway.isIn(address, prefix: prefixLength) {
            options.append(DHCPOffer.routes(viaOffLink: gateway))
        }
        if network.mtu >= 68 {
            options.append([DHCPOption.mtu, 2, UInt8(truncatingIfNeeded: network.mtu >> 8), UInt8(truncatingIfNeeded: network.mtu)])
        }
        if network.advertiseResolvers && !family.resolvers.isEmpty {
            options.append(DHCPOffer.option(DHCPOption.resolvers, Array(family.resolvers.prefix(63))))
        }
        if let hostname = network.hostname, DomainName(hostname) != nil {
            options.append([DHCPOption.hostname, UInt8(hostname.utf8.count)] + Array(hostname.utf8))
        }
        if (1...30).contains(prefixLength) {
            let broadcast = IPv4Address(address.bits | ~IPv4Address.mask(prefixLength))
            options.append(DHCPOffer.option(DHCPOption.broadcast, [broadcast]))
        }
        self.options = options
        search = .dhcp(network.advertiseSearch ? network.searchDomains.compactMap { DomainName($0) } : [])
        fqdn = DHCPOffer.fqdn(network.fqdn)
    }

    private static func option(_ code: UInt8, _ addresses: [IPv4Address]) -> [UInt8] {
        var bytes: [UInt8] = [code, UInt8(addresses.count * 4)]
        for address in addresses { bytes.append(network: address.bits) }
        return bytes
    }

    /// A gateway outside of the subnet needs a route of its own first (RFC 3442): it is on the link, all else behind it.
    private static func routes(viaOffLink gateway: IPv4Address) -> [UInt8] {
        var bytes: [UInt8] = [DHCPOption.classlessRoutes, 14, 32]
        bytes.append(network: gateway.bits)
        bytes.append(network: UInt32(0))
        bytes.append(0)
        bytes.append(network: gateway.bits)
        return bytes
    }

    /// RFC 4702, section 2: code, length, flags to be filled in, two obsolete codes, name.
    private static func fqdn(_ text: String?) -> (wire: [UInt8], text: [UInt8])? {
        guard let text, let name = DomainName(text), name.wire.count <= 252 else { return nil }
        let plain = Array(text.utf8)
        return (
            [DHCPOption.fqdn, UInt8(3 + name.wire.count), 0, 255, 255] + name.wire,
            [DHCPOption.fqdn, UInt8(3 + plain.count), 0, 255, 255] + plain
        )
    }
}
