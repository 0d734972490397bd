// Configuration: from what was asked for and what the host looks like to what the guest gets.
//
//     Network+Resolve     every default of addresses, gateways, mapping and handlers, decided once
//     Network+Resolvers   the same for name resolution
//     Network+Clashes     what was asked for and cannot be had, because an address has another meaning already
//     NamespacePlan       what a namespace is to be configured with: addresses, routes, link; pure
//     NamespacePlan+Apply carries the plan out, in two round trips where nothing goes wrong

public import Linux
public import Settings
public import Wire

/// What `Network.resolve` decided, and what the user should know about it.
public struct ResolvedNetwork: Sendable, Equatable {
    public var network: Network
    /// The name of the interface in the guest's namespace.
    public var namespaceInterface: String
    /// Worth a line even with `--quiet`.
    public var warnings: [String] = []
    /// Worth a line without.
    public var information: [String] = []
    /// For those who want to know, as with `--debug`.
    public var notes: [String] = []
}

/// The guest's network on a host that has none to copy: a link of its own.
enum LocalMode {
    static var address: IPv4Address { IPv4Address(0xa9fe_0201) }  // 169.254.2.1
    static var gateway: IPv4Address { IPv4Address(0xa9fe_0202) }  // 169.254.2.2
    static var router: IPv6Address { IPv6Address(high: 0xfe80 << 48, low: 1) }
    static var prefixLength: Int { 16 }
    static var interface: String { "tap0" }

    /// A router on the guest's link that nobody else can be, for a guest with that address.
    static func standIn(for guest: IPv4Address) -> IPv4Address { guest == gateway ? address : gateway }
}

extension Network {
    /// Options first, else what the host has, else defaults. `nameservers` and `searchDomains` are those of the
    /// host's resolv.conf, in its order; `unread` is why that could not be read.
    public static func resolve(
        options: Options, host: Host, nameservers: [IPAddress], searchDomains: [String], unread: Errno? = nil
    ) -> ResolvedNetwork {
        let mac = options.gatewayMAC ?? defaultGatewayMAC
        var network = Network(gatewayMAC: mac, routerLinkLocal: .any, mtu: options.mtu ?? defaultMTU)
        var result = ResolvedNetwork(network: network, namespaceInterface: LocalMode.interface)

        network.ipv4 = host.hasIPv4 ? family4(options, host) : nil
        network.ipv6 = host.hasIPv6 ? family6(options, host) : nil
        network.routerLinkLocal = routerLinkLocal(network, host)
        network.guestMAC = options.namespaceMAC
        network.hostname = options.hostname
        network.fqdn = options.fqdn
        network.freebind = options.freebind
        network.retries = host.retries
        network.setHandlers(options)
        network.setResolvers(options, nameservers, unread, warnings: &result.warnings)
        network.setSearchDomains(options, searchDomains)
        result.warnings += network.clashes(options)
        if let line = localMode(options, host, network) {
            // What is not there yet, or a host without a network, which may be meant.
            if options.interface != nil { result.warnings.append(line) } else { result.information.append(line) }
        }
        if options.configureNetwork && network.ipv6 != nil && !network.mtuAllowsIPv6 {
            result.warnings.append("MTU \(network.mtu) is below the 1280 that IPv6 needs: IPv6 is not configured in the namespace")
        }

        result.network = network
        result.namespaceInterface = options.namespaceInterface ?? host.template?.link.name ?? LocalMode.interface
        result.notes = notes(options, host)
        return result
    }

    private static func family4(_ options: Options, _ host: Host) -> Family<IPv4Address> {
        let template = host.template4
        let own = template?.address?.address.ipv4
        let address = options.address4 ?? own ?? LocalMode.address
        let prefix: Int
        if let length = options.prefixLength4 {
            prefix = length
        } else if options.address4 == nil {
            prefix = own == nil ? LocalMode.prefixLength : template?.address?.prefixLength ?? LocalMode.prefixLength
        } else if let subnet = template?.address, subnet.prefixLength > 0, subnet.covers(IPAddress(address)) {
            prefix = subnet.prefixLength
        } else {
            prefix = classPrefixLength(address)
        }

        let gateway = options.gateway4 ?? (template == nil ? LocalMode.gateway : template?.gateway?.ipv4)
        var family = Family(address: address, prefixLength: prefix, gateway: gateway)
        family.leadsOut = gateway != nil || template?.leadsOut(from: IPAddress(address), prefixLength: prefix) == true
        // A gateway only to DHCP: a namespace that is configured gets the host's route as it is, and nothing is mapped to this address unasked.
        if gateway == nil && family.leadsOut { family.standIn = LocalMode.standIn(for: address) }
        family.isFixed = options.address4 != nil || options.configureNetwork
        family.mapGuestAddress = choose(options.mapGuestAddress4, default: nil)
        family.hostAddress = options.address4.flatMap { host.has(IPAddress($0)) ? $0 : nil } ?? template?.address?.address.ipv4
        // A default gives way to what was asked for.
        family.mapHostLoopback = choose(options.mapHostLoopback4, default: options.noMapGateway || gateway == family.mapGuestAddress ? nil : gateway)
        family.outboundAddress = options.outbound4
        family.outboundInterface = host.outbound4?.name
        family.outboundInterfaceIndex = host.outbound4?.index
        family.setTemplate((template ?? host.template)?.link)
        family.dnsForward = options.dnsForward4
        return family
    }

    private static func family6(_ options: Options, _ host: Host) -> Family<IPv6Address> {
        let template = host.template6
        let address = options.address6 ?? template?.address?.address.ipv6
        let gateway = options.gateway6 ?? (template == nil ? LocalMode.router : template?.gateway?.ipv6)
        // Hosts make addresses from advertised prefixes of 64 bits only (RFC 4862, section 5.5.3).
        var family = Family(address: address, prefixLength: 64, gateway: gateway)
        family.leadsOut = gateway != nil || template?.leadsOut(from: address.map { IPAddress($0) }, prefixLength: 64) == true
        family.isFixed = options.address6 != nil || options.configureNetwork && address != nil
        family.mapGuestAddress = choose(options.mapGuestAddress6, default: nil)
        family.hostAddress = options.address6.flatMap { host.has(IPAddress($0)) ? $0 : nil } ?? template?.address?.address.ipv6
        family.mapHostLoopback = choose(options.mapHostLoopback6, default: options.noMapGateway || gateway == family.mapGuestAddress ? nil : gateway)
        family.outboundAddress = options.outbound6
        family.outboundInterface = host.outbound6?.name
        family.outboundInterfaceIndex = host.outbound6?.index
        family.setTemplate((template ?? host.template)?.link)
        family.dnsForward = options.dnsForward6
        return family
    }

    /// Routers advertise from a link-local address: the gateway's if it is one, else one that fits our default MAC, whichever --mac-addr names: that
    /// may turn out to be the guest's, whose own link-local address fits it.
    private static func routerLinkLocal(_ network: Network, _ host: Host) -> IPv6Address {
        if let gateway = network.ipv6?.gateway, gateway.isLinkLocal { return gateway }
        return host.template6 == nil ? LocalMode.router : .linkLocal(defaultGatewayMAC)
    }

    private mutating func setHandlers(_ options: Options) {
        hostLoopbackToNamespaceLoopback = options.hostLoopbackToNamespaceLoopback
        noSplice = options.noSplice
        spliceOnly = options.spliceOnly
        tcp = !options.noTCP
        udp = !options.noUDP
        icmp = !options.noICMP
        dhcp = !options.noDHCP && ipv4?.address != nil
        ndp = !options.noNDP && !options.noICMP && ipv6 != nil
        routerAdvertisements = !options.noRA && ndp && !options.configureNetwork
        dhcpv6 = !options.noDHCPv6 && ipv6?.address != nil
    }

    /// RFC 8200, section 5: Linux does without IPv6 on links of a smaller MTU.
    var mtuAllowsIPv6: Bool { mtu == 0 || mtu >= 1280 }

    private static func choose<Address>(_ option: OptionalAddress<Address>, default value: Address?) -> Address? {
        switch option {
        case .unset: value
        case .none: nil
        case .address(let address): address
        }
    }

    /// The prefix length of the classes A, B and C (RFC 791, section 3.2), 32 for the rest.
    static func classPrefixLength(_ address: IPv4Address) -> Int {
        if address.bits >> 31 == 0 { return 8 }
        if address.bits >> 30 == 0b10 { return 16 }
        return address.bits >> 29 == 0b110 ? 24 : 32
    }

    /// What comes of a host, or of an interface that was named, that has nothing to model the guest on. One family without is nothing special.
    private static func localMode(_ options: Options, _ host: Host, _ network: Network) -> String? {
        if host.template != nil || options.spliceOnly { return nil }
        var parts: [String] = []
        if let ipv4 = network.ipv4 {
            parts += (ipv4.address.map { ["address \($0)"] } ?? []) + (ipv4.gateway.map { ["router \($0)"] } ?? [])
        }
        if let ipv6 = network.ipv6 {
            parts += (ipv6.address.map { ["address \($0)"] } ?? []) + (ipv6.gateway.map { ["router \($0)"] } ?? [])
        }
        let what = options.interface.map { "--interface \($0)" } ?? "The host"
        return "\(what) has no address and no route yet: the guest gets \(parts.isEmpty ? "none" : parts.joined(separator: ", "))"
    }

    private static func notes(_ options: Options, _ host: Host) -> [String] {
        var notes: [String] = []
        if host.hasIPv4 && host.template4 == nil { notes.append("No usable host interface for IPv4: the guest gets a local link") }
        if host.hasIPv6 && host.template6 == nil { notes.append("No usable host interface for IPv6: the guest gets a local link") }
        for template in [host.template4, host.template6] {
            guard let template else { continue }
            let address = template.address.map { "\($0.address)" } ?? "none"
            let gateway = template.gateway.map { "\($0)" } ?? "none"
            notes.append("Template interface \(template.link.name): address \(address), gateway \(gateway)")
        }
        return notes
    }
}

extension Network.Family {
    fileprivate mutating func setTemplate(_ link: Link?) {
        templateInterface = link?.name
        templateInterfaceIndex = link?.index
    }
}
