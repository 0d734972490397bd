public import Linux
public import Settings
public import Wire

/// One family's model for the guest: a host interface, and what is to be copied from it.
public struct Template: Sendable, Equatable {
    public var link: Link
    /// The address that the guest gets; nil on an interface that has routes only, on a host without any address.
    public var address: InterfaceAddress?
    /// Next hop of the default route, if it has one of this family.
    public var gateway: IPAddress?
    /// All addresses worth copying, `address` first.
    public var addresses: [InterfaceAddress]
    /// Routes of the main table that lead out through the interface, each with the hop that does.
    public var routes: [Route]

    public var hasDefaultRoute: Bool { routes.contains { $0.prefixLength == 0 } }

    /// Whether more than its own subnet is reached from `address` through the interface: everything, or what other routes lead to. Link-local addresses lead no further, and
    /// unique local ones only to each other: who is told of a default router, as of one for homes with such networks, would take it for a way into the Internet.
    func leadsOut(from address: IPAddress?, prefixLength: Int) -> Bool {
        routes.contains { route in
            guard let destination = route.destination, route.prefixLength > 0 else { return true }
            if destination.isLinkLocal || destination.isMulticast || destination.isUniqueLocal { return false }
            guard let address else { return true }
            return route.prefixLength < prefixLength || !destination.isIn(address, prefix: prefixLength)
        }
    }
}

/// The host as this run sees it.
public struct Host: Sendable, Equatable {
    /// Whether the family is used at all; a kernel without IPv6 turns it off quietly.
    public var hasIPv4: Bool
    public var hasIPv6: Bool
    /// nil for a family that is off, and for one in local mode: nothing on the host to model it on.
    public var template4: Template?
    public var template6: Template?
    /// The template interface's own link-local address.
    public var linkLocal: IPv6Address?
    /// Of `--outbound-if4` and `--outbound-if6`.
    public var outbound4: Link?
    public var outbound6: Link?
    /// Where the guest's link-local addresses of IPv6 are on the host.
    public private(set) var linkOfIPv6: Link?
    /// Addresses of any of its interfaces.
    private var addresses: [IPAddress]
    /// See `HostFacts`.
    public var retries: Int

    /// Reads and decides. Runs in the host's namespace.
    public static func discover(options: Options) throws(SetupError) -> Host {
        let names = [options.interface, options.outboundInterface4, options.outboundInterface6].compactMap { $0 }
        return try Host(HostFacts.read(names: names), options: options)
    }

    /// Decides by what was read. Errors: an interface that does not exist, an outbound interface whose family has
    /// nothing to offer, and `--ipv6-only` on a host without IPv6.
    public init(_ facts: HostFacts, options: Options) throws(SetupError) {
        if options.ipv6Only && !facts.supportsIPv6 {
            throw SetupError(.discovery, "IPv6 is not available on this host, but --ipv6-only was given")
        }
        hasIPv4 = !options.ipv6Only
        hasIPv6 = !options.ipv4Only && facts.supportsIPv6
        retries = facts.retries
        addresses = facts.addresses.map(\.address)

        let template = try Host.link(options.interface, option: "--interface", facts)
        outbound4 = try Host.link(options.outboundInterface4, option: "--outbound-if4", facts)
        outbound6 = try Host.link(options.outboundInterface6, option: "--outbound-if6", facts)
        if hasIPv4 { template4 = facts.template(.ipv4, on: template ?? outbound4) }
        if hasIPv6 { template6 = facts.template(.ipv6, on: template ?? outbound6) }
        try Host.require(template4, on: hasIPv4 ? outbound4 : nil, template, .ipv4)
        try Host.require(template6, on: hasIPv6 ? outbound6 : nil, template, .ipv6)

        if hasIPv6 { linkOfIPv6 = outbound6 ?? (template6 ?? self.template)?.link }
        if let index = template6?.link.index {
            linkLocal = facts.addresses.first { $0.index == index && $0.family == .ipv6 && $0.address.isLinkLocal }?.address.ipv6
        }
    }

    /// The interface that the guest's is named after, and whose neighbours are its neighbours.
    public var template: Template? { template4 ?? template6 }

    func has(_ address: IPAddress) -> Bool { addresses.contains(address) }

    private static func link(_ name: String?, option: String, _ facts: HostFacts) throws(SetupError) -> Link? {
        guard let name else { return nil }
        if let link = facts.link(named: name) { return link }
        throw SetupError(.discovery, "Invalid interface name \(name) for option \(option), the host has no such interface")
    }

    /// With an outbound interface, a family has to have a model: on `named`, that of --interface, or else on that one.
    private static func require(_ template: Template?, on outbound: Link?, _ named: Link?, _ family: IPFamily) throws(SetupError) {
        guard let outbound, template == nil else { return }
        let option = named == nil ? "--outbound-if\(family == .ipv4 ? 4 : 6)" : "--interface"
        throw SetupError(.discovery, "External interface not usable: \((named ?? outbound).name) has neither address nor route for \(family.name), name another one with \(option) or none")
    }
}
