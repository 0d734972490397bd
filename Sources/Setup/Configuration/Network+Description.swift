public import Settings
internal import Wire

extension Network {
    /// Everything that was decided, in lines for people (`--debug`).
    public var summary: [String] {
        var lines: [String] = []
        if let ipv4 { lines += Network.describe("IPv4", ipv4) }
        if let ipv6 {
            lines += Network.describe("IPv6", ipv6)
            lines.append("IPv6: router \(routerLinkLocal)")
        }
        lines.append("Link: MTU \(mtu), our MAC address \(gatewayMAC)\(guestMAC.map { ", the guest's \($0)" } ?? "")")
        let handlers = [
            (tcp, "TCP"), (udp, "UDP"), (icmp, "ping"), (ipv4 != nil, "ARP"), (dhcp, "DHCP"), (ndp, "NDP"),
            (routerAdvertisements, "router advertisements"), (dhcpv6, "DHCPv6"),
        ]
        lines.append("Handled: " + handlers.filter(\.0).map(\.1).joined(separator: ", "))
        if advertiseSearch, !searchDomains.isEmpty { lines.append("Search list: " + searchDomains.joined(separator: " ")) }
        return lines
    }

    /// What DHCP offers, in the form in which callers of passt read it from the standard error (krunai): the guest's address comes of nothing else for them.
    public var lease: [String] {
        guard dhcp, let ipv4, let address = ipv4.address else { return [] }
        let mask = IPv4Address(IPv4Address.mask(min(max(ipv4.prefixLength, 0), 32)))
        let router = ipv4.router.map { ["    router: \($0)"] } ?? []
        // The router last: nothing behind it is read.
        return ["DHCP:", "    assign: \(address)", "    mask: \(mask)"] + router
    }

    private static func describe<Address: CustomStringConvertible>(_ name: String, _ family: Family<Address>) -> [String] {
        var parts = [family.address.map { "guest \($0)/\(family.prefixLength)" } ?? "no address for the guest"]
        if let gateway = family.gateway { parts.append("gateway \(gateway)") }
        if let router = family.standIn { parts.append("router \(router) for want of a gateway") }
        if let address = family.outboundAddress { parts.append("sent from \(address)") }
        if let interface = family.outboundInterface { parts.append("sent through \(interface)") }
        var lines = ["\(name): " + parts.joined(separator: ", ")]
        if let address = family.mapHostLoopback {
            lines.append("\(name): \(address) is the host's loopback" + (family.mappedIsResolver ? ", except for names" : ""))
        }
        if let address = family.mapGuestAddress { lines.append("\(name): \(address) is the host") }
        if let address = family.dnsForward { lines.append("\(name): names asked of \(address) go to \(family.dnsHost.map { "\($0)" } ?? "nobody")") }
        if !family.resolvers.isEmpty { lines.append("\(name): resolvers " + family.resolvers.map { "\($0)" }.joined(separator: " ")) }
        return lines
    }
}
