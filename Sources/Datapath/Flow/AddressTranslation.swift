internal import Settings
internal import Wire

/// Which address means what on the other side. Plain numbers, so that asking costs nothing on the hot path.
///
///     guest sends to            host side                     host side source        guest sees
///     --map-host-loopback       loopback                      loopback, own address   --map-host-loopback
///     --map-guest-addr          the host's own address        anything else           itself
///     --dns-forward:53, :853    --dns-host, same port
///     anything else             itself
struct AddressTranslation: BitwiseCopyable {
    struct Family: BitwiseCopyable {
        /// The guest's assigned address, also the host's own unless an option says otherwise.
        var guest: IPAddress
        var hasGuest = false
        /// What `mapGuestAddress` stands for.
        fileprivate(set) var host: HostAddress
        var mapHostLoopback: IPAddress?
        var mapGuestAddress: IPAddress?
        /// What the host itself is called towards the guest where no mapping says so.
        var router: IPAddress?
        var dnsForward: IPAddress?
        var dnsHost: IPAddress?
        var outboundAddress: IPAddress?
        var outboundInterface: Int32?
        /// For link-local destinations and groups, which have no meaning without an interface.
        var linkInterface: Int32 = 0
        /// The mapped gateway is itself a resolver: its port 53 is not host loopback (lesson 49).
        var gatewayIsResolver = false
        var isOn = false

        /// What sockets towards `remote`, as the host names it, are bound to by option; nil: the host's routes decide, as for its own loopback in any case.
        func outboundInterface(towards remote: IPAddress) -> Int32? { remote.isLoopback ? nil : outboundInterface }

        /// Whether sockets towards `remote` are bound to the interface of that index.
        func needs(_ interface: Int32, towards remote: IPAddress) -> Bool {
            if outboundInterface(towards: remote) == interface { return true }
            return linkInterface == interface && (remote.isGroup || remote.needsScope)
        }
    }

    private(set) var ipv4: Family
    private(set) var ipv6: Family
    let freebind: Bool

    init(_ network: Network) {
        ipv4 = AddressTranslation.family(network.ipv4, unassigned: IPAddress(IPv4Address.any), loopback: IPAddress(IPv4Address.loopback)) { IPAddress($0) }
        ipv6 = AddressTranslation.family(network.ipv6, unassigned: IPAddress(IPv6Address.any), loopback: IPAddress(IPv6Address.loopback)) { IPAddress($0) }
        // Even without a gateway, IPv6 has a router on this link.
        if ipv6.isOn, ipv6.router == nil { ipv6.router = IPAddress(network.routerLinkLocal) }
        freebind = network.freebind
    }

    private static func family<Address>(
        _ family: Network.Family<Address>?, unassigned: IPAddress, loopback: IPAddress, _ convert: (Address) -> IPAddress
    ) -> Family {
        guard let family else { return Family(guest: unassigned, host: HostAddress(nil)) }
        var result = Family(guest: family.address.map(convert) ?? unassigned, host: HostAddress(family.hostAddress.map(convert)))
        result.hasGuest = family.address != nil
        result.mapHostLoopback = family.mapHostLoopback.map(convert)
        result.mapGuestAddress = family.mapGuestAddress.map(convert)
        result.router = family.router.map(convert)
        result.dnsForward = family.dnsForward.map(convert)
        result.dnsHost = family.dnsHost
        result.outboundAddress = family.outboundAddress.map(convert)
        result.outboundInterface = family.outboundInterfaceIndex
        result.linkInterface = family.linkIndex
        result.isOn = true
        result.gatewayIsResolver = family.mappedIsResolver
        return result
    }

    @inline(__always)
    func family(of address: IPAddress) -> Family { address.isIPv4 ? ipv4 : ipv6 }

    /// The interface that an address means by itself; 0 for one that is the same everywhere.
    @_noAllocation @_noLocks
    func scope(of address: IPAddress) -> Int32 { address.needsScope ? ipv6.linkInterface : 0 }

    // MARK: The host, which may change

    /// The host has `address` now.
    mutating func note(_ address: IPAddress, isOnTemplate: Bool) {
        if address.isIPv4 { ipv4.host.note(address, isOnTemplate: isOnTemplate) } else { ipv6.host.note(address, isOnTemplate: isOnTemplate) }
    }

    /// The host has lost `address`.
    mutating func forget(_ address: IPAddress) {
        if address.isIPv4 { ipv4.host.forget(address) } else { ipv6.host.forget(address) }
    }

    mutating func forgetAddresses() {
        ipv4.host.forgetAll()
        ipv6.host.forgetAll()
    }

    /// The interface of index `old` was made anew.
    mutating func renumber(_ old: Int32, to new: Int32) {
        AddressTranslation.renumber(old, to: new, &ipv4)
        AddressTranslation.renumber(old, to: new, &ipv6)
    }

    private static func renumber(_ old: Int32, to new: Int32, _ family: inout Family) {
        if family.linkInterface == old { family.linkInterface = new }
        if family.outboundInterface == old { family.outboundInterface = new }
    }

    // MARK: What means what

    /// Where a conversation with `remote`, as the guest names it, goes on the host; nil for what must not leave.
    @_noAllocation @_noLocks
    func toHost(_ remote: Endpoint) -> Endpoint? {
        let family = self.family(of: remote.address)
        let address = remote.address
        guard family.isOn, !address.isAny else { return nil }
        // The guest's own loopback is no address of this link.
        if address.isLoopback { return nil }
        if remote.isDNS, address == family.dnsForward {
            guard let host = family.dnsHost else { return nil }
            return Endpoint(host, remote.port)
        }
        if address == family.mapHostLoopback {
            if remote.isDNS && family.gatewayIsResolver { return remote }
            return Endpoint(address.isIPv4 ? IPAddress(IPv4Address.loopback) : IPAddress(IPv6Address.loopback), remote.port)
        }
        if address == family.mapGuestAddress { return family.host.address.map { Endpoint($0, remote.port) } }
        return remote
    }

    /// Whether `remote` is where names are asked for while the host has no resolver. Nobody is there, which the guest is to hear at once, and not to find out by
    /// the timeouts of its lookups.
    func lacksResolver(_ remote: Endpoint) -> Bool {
        let family = self.family(of: remote.address)
        return remote.isDNS && family.isOn && family.dnsHost == nil && remote.address == family.dnsForward
    }

    /// How the guest sees a host-side address that sends to it; nil for one that it could not answer.
    @_noAllocation @_noLocks
    func toGuest(_ source: IPAddress) -> IPAddress? {
        let family = self.family(of: source)
        if source.isLoopback { return family.mapHostLoopback }
        if family.hasGuest, source == family.guest { return family.mapGuestAddress ?? family.mapHostLoopback }
        return source
    }

    /// How the guest sees who opens a conversation with it: as itself, but for the host, whose own addresses the guest may have too. `local` is
    /// the address that was contacted. Being seen as an address opens no way to it: answers are matched to the flow. nil: nobody to answer to.
    @_noAllocation @_noLocks
    func inboundSource(_ source: IPAddress, local: IPAddress) -> IPAddress? {
        let family = self.family(of: source)
        guard family.isOn, !source.isAny, !source.isMulticast else { return nil }
        if source.isLoopback { return family.mapHostLoopback ?? family.mapGuestAddress ?? family.router }
        if source == local || family.hasGuest && source == family.guest {
            return family.mapGuestAddress ?? family.mapHostLoopback ?? family.router
        }
        return source
    }
}

extension Endpoint {
    /// DNS, also over TLS (RFC 7858).
    fileprivate var isDNS: Bool { @_noAllocation @_noLocks get { port == 53 || port == 853 } }
}
