import Settings
import Wire

/// What the DHCP server has to give, encoded once.
struct DHCPOffer: Sendable {
    let address: IPv4Address
    let prefixLength: Int
    /// The server is the router, if there is one.
    let server: IPv4Address
    /// Whole options, the most important ones first; who has little room gets fewer.
    let options: [[UInt8]]
    /// The first search domain by itself, a whole option, for clients that know no list of them; empty without any.
    let domain: [UInt8]
    /// Comes last, since it takes what room there is.
    let search: SearchOption
    /// Our answers to option 81 without flags, in the DNS's form and in the older one as text; nil without FQDN.
    let fqdn: (wire: [UInt8], text: [UInt8])?

    /// Nil where no DHCP is served: switched off, or nothing to give.
    init?(_ network: Network) {
        guard let family = network.ipv4, network.dhcp, let address = family.address else { return nil }
        self.address = address
        prefixLength = min(max(family.prefixLength, 0), 32)
        server = DHCPOffer.server(family, for: address)
        var options: [[UInt8]] = []
        options.append(DHCPOffer.option(DHCPOption.subnetMask, [IPv4Address(IPv4Address.mask(prefixLength))]))
        if let router = family.router { options.append(DHCPOffer.option(DHCPOption.router, [router])) }
        if !server.isIn(address, prefix: prefixLength) {
            options.append(DHCPOffer.routes(toOffLink: server, isRouter: family.router != nil))
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
        let domains = network.advertiseSearch ? network.searchDomains.filter { DomainName($0) != nil } : []
        domain = DHCPOffer.domain(domains.first)
        search = .dhcp(domains.compactMap { DomainName($0) })
        fqdn = DHCPOffer.fqdn(network.fqdn)
    }

    private static func option(_ code: UInt8, _ addresses: [IPv4Address]) -> [UInt8] {
        var bytes: [UInt8] = [code, UInt8(addresses.count * 4)]
        for address in addresses { bytes.append(network: address.bits) }
        return bytes
    }

    /// A server outside of the subnet needs a route of its own first (RFC 3442): it is on the link, and if it is the router, all else is behind it.
    private static func routes(toOffLink server: IPv4Address, isRouter: Bool) -> [UInt8] {
        var bytes: [UInt8] = [DHCPOption.classlessRoutes, isRouter ? 14 : 9, 32]
        bytes.append(network: server.bits)
        bytes.append(network: UInt32(0))
        guard isRouter else { return bytes }
        bytes.append(0)
        bytes.append(network: server.bits)
        return bytes
    }

    /// The address that we have towards a guest with that one: the router's, if there is one.
    static func server(_ family: Network.Family<IPv4Address>, for address: IPv4Address) -> IPv4Address {
        family.router ?? neighbour(of: address, prefixLength: min(max(family.prefixLength, 0), 32))
    }

    /// Where there is no router, as on a host without a way out, the server has an address all the same that the guest finds on its link: to renew its lease it asks there, and
    /// everybody only when that fails (RFC 2131, section 4.4.5). Any other one of its subnet will do, whoever has it: only what goes to the server's port there is taken for us.
    private static func neighbour(of address: IPv4Address, prefixLength: Int) -> IPv4Address {
        let (next, hostBits) = (address.bits ^ 1, ~IPv4Address.mask(prefixLength))
        // The first and the last one of a subnet are nobody's, but for those of two (RFC 3021).
        let isNobodys = prefixLength < 31 && (next & hostBits == 0 || next & hostBits == hostBits)
        return IPv4Address(isNobodys ? address.bits ^ 3 : next)
    }

    /// RFC 2132, section 3.17: a name as text.
    private static func domain(_ name: String?) -> [UInt8] {
        guard let name else { return [] }
        var text = Array(name.utf8)
        if text.last == UInt8(ascii: ".") { text.removeLast() }
        return [DHCPOption.domainName, UInt8(text.count)] + text
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
