public import Wire

/// What the guest is told and what is translated, decided once at start: options, else the host's own configuration, else defaults.
public struct Network: Sendable, Equatable {
    /// One family's addresses. A family that is off has no value of this type at all.
    public struct Family<Address: Sendable & Equatable>: Sendable, Equatable {
        /// The guest's assigned address; nil where it only has what it makes itself (IPv6 local mode).
        public var address: Address?
        /// The host's own address, which `mapGuestAddress` leads to; nil where it has none.
        public var hostAddress: Address?
        /// An option names it, or it is set in the namespace: the guest has it, whatever else it is seen to send from.
        public var isFixed = false
        public var prefixLength: Int
        /// The address that we answer for as router; nil where the host has none.
        public var gateway: Address?
        /// The router that DHCP names where the host's way out has none, as through a tunnel: we answer for its address, and nothing of the host's is there.
        public var standIn: Address?
        /// Whom the guest takes for its router.
        public var router: Address? { gateway ?? standIn }
        /// The host has a way out of this family, with a gateway or, as through a tunnel, without.
        public var leadsOut: Bool
        /// Guest to this address becomes host loopback, and host loopback sources appear as it.
        public var mapHostLoopback: Address?
        /// `mapHostLoopback` is one of the host's resolvers too, as home routers are: its port 53 stays what it is.
        public var mappedIsResolver = false
        /// Guest to this address becomes the host's external address.
        public var mapGuestAddress: Address?
        /// Port 53 and 853 of this address are sent to `dnsHost`, which is of the other family where the host has no resolver of this one.
        public var dnsForward: Address?
        public var dnsHost: IPAddress?
        /// Sockets towards the outside are bound to this address.
        public var outboundAddress: Address?
        /// Sockets towards the outside are bound to this interface: its name, and its index in the host's namespace.
        public var outboundInterface: String?
        public var outboundInterfaceIndex: Int32?
        /// The host's interface that this family's addresses and routes are those of, and whose neighbours are the guest's.
        public var templateInterface: String?
        public var templateInterfaceIndex: Int32?
        /// Where link-local addresses and groups of this family are; 0: nowhere that is known.
        public var linkIndex: Int32 { outboundInterfaceIndex ?? templateInterfaceIndex ?? 0 }
        /// Advertised by DHCP and router advertisements or DHCPv6, as the guest can reach them.
        public var resolvers: [Address] = []

        public init(address: Address?, prefixLength: Int, gateway: Address?) {
            self.address = address
            hostAddress = address
            self.prefixLength = prefixLength
            self.gateway = gateway
            leadsOut = gateway != nil
        }
    }

    public var ipv4: Family<IPv4Address>?
    public var ipv6: Family<IPv6Address>?
    /// The link-local address that we, as the guest's router, answer for and advertise from.
    public var routerLinkLocal: IPv6Address
    /// Our side of the link.
    public var gatewayMAC: MACAddress
    /// The guest's side where it is known beforehand (pasta); else learned from its frames.
    public var guestMAC: MACAddress?
    /// What DHCP and router advertisements say; 0 says nothing.
    public var mtu: Int
    public var searchDomains: [String] = []
    public var hostname: String?
    public var fqdn: String?

    public var tcp = true
    public var udp = true
    public var icmp = true
    public var dhcp = true
    public var ndp = true
    public var routerAdvertisements = true
    public var dhcpv6 = true
    /// Resolvers and search list are part of DHCP, DHCPv6 and RA answers.
    public var advertiseResolvers = false
    public var advertiseSearch = false
    /// Bind flow sockets to addresses that the host does not have (IP_FREEBIND).
    public var freebind = false
    /// How often the host's kernel sends something again before it gives a connection up.
    public var retries = Network.defaultRetries

    /// What comes from the host's loopback goes to the namespace's loopback, not to its external address.
    public var hostLoopbackToNamespaceLoopback = false
    /// Loopback connections take the way over the guest's interface like all others.
    public var noSplice = false
    /// There is no interface.
    public var spliceOnly = false

    public init(gatewayMAC: MACAddress, routerLinkLocal: IPv6Address, mtu: Int) {
        self.gatewayMAC = gatewayMAC
        self.routerLinkLocal = routerLinkLocal
        self.mtu = mtu
    }

    /// 9a:55:9a:55:9a:55, upstream's default for the router's side.
    public static let defaultGatewayMAC = MACAddress(0x9a55_9a55_9a55)
    /// The kernel's own (`net.ipv4.tcp_retries2`): 15 minutes.
    public static let defaultRetries = 15
    /// The largest MTU whose frames still fit the 16-bit lengths of IP in whole words.
    public static let defaultMTU = 65520
}
