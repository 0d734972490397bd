// Discovery: what the host looks like, found out in the host's namespace before anything else is opened.
//
//     HostFacts         what the kernel says: interfaces, addresses, routes, as read
//     Host              the interface of each family that the guest's configuration is modelled on
//     Host+Selection    the rules by which it, its address and its gateway are chosen
//     OutboundProbe     whether sockets can be bound as options ask for
//
// Host and what it chooses by is pure, so that the rules are tested on tables of made-up hosts.

public import Linux
public import Settings

/// What netlink says about the host.
public struct HostFacts: Sendable, Equatable {
    public var links: [Link]
    public var addresses: [InterfaceAddress]
    /// The main tables of both families.
    public var routes: [Route]
    public var supportsIPv6: Bool
    /// Indexes by names that are not those of `links`: an interface may have others (altname in ip-link(8)). Of names that were asked for only.
    public var otherNames: [String: Int32] = [:]
    /// How often the kernel sends something again before it gives a connection up, where timeouts are its own (`net.ipv4.tcp_retries2`).
    public var retries: Int

    public init(
        links: [Link], addresses: [InterfaceAddress], routes: [Route], supportsIPv6: Bool = true,
        retries: Int = Network.defaultRetries
    ) {
        (self.links, self.addresses) = (links, addresses)
        (self.routes, self.supportsIPv6) = (routes, supportsIPv6)
        self.retries = retries
    }

    /// Asks the kernel, in the calling thread's namespace. `names` are those by which options speak of interfaces.
    public static func read(names: [String] = []) throws(SetupError) -> HostFacts {
        do throws(Errno) {
            var supportsIPv6 = IPFamily.ipv6.isSupported
            var netlink = try NetlinkSocket()
            let links = try netlink.links()
            let addresses = try netlink.addresses(supportsIPv6 ? nil : .ipv4)
            if supportsIPv6, isIPv6SwitchedOff, !addresses.contains(where: { $0.family == .ipv6 }) { supportsIPv6 = false }
            let routes = try netlink.routes(.ipv4) + (supportsIPv6 ? netlink.routes(.ipv6) : [])
            var facts = HostFacts(
                links: links, addresses: addresses, routes: routes, supportsIPv6: supportsIPv6,
                retries: Descriptor.setting("net/ipv4/tcp_retries2") ?? Network.defaultRetries)
            for name in names where facts.link(named: name) == nil { facts.otherNames[name] = InterfaceNames.index(of: name) }
            return facts
        } catch {
            throw SetupError(.discovery, "Failed to read the host's network configuration", error, hint: error.hintOfNetlink)
        }
    }

    /// For all interfaces, unless one of them says otherwise, and then that one has an address.
    private static var isIPv6SwitchedOff: Bool {
        Descriptor.setting("net/ipv6/conf/all/disable_ipv6") == 1
    }

    public func link(named name: String) -> Link? { links.first { $0.name == name } ?? otherNames[name].flatMap { link($0) } }
    public func link(_ index: Int32) -> Link? { links.first { $0.index == index } }
}
