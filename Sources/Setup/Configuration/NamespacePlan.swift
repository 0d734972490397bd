public import Linux
public import Settings
public import Wire

/// What the guest's namespace is to be configured with. Computed in the host's namespace, carried out in the guest's.
///
/// Without `--config-net` only loopback comes up, and the tap gets its MAC and queue length; it stays down and
/// without addresses, which are then the business of whoever runs DHCP and the like in there.
public struct NamespacePlan: Sendable, Equatable {
    /// nil where there is no tap.
    public var interface: String?
    public var mac: MACAddress?
    /// Packets that the tap holds while nobody reads. Linux' default of 1000 is less than one TCP window at an MTU of 1500.
    public var transmitQueueLength = NamespacePlan.defaultTransmitQueueLength
    /// Whether anything below is done.
    public var configures = false
    /// nil leaves the device's own.
    public var mtu: Int?
    /// Whether the interface gets a link-local address.
    public var hasIPv6 = false
    /// In the order in which they are added. Flags, scope and prefix are what the kernel is told.
    public var addresses: [InterfaceAddress] = []
    /// With one hop each; its interface index means nothing here.
    public var routes: [Route] = []

    public static let defaultTransmitQueueLength = 10000

    /// `network` and `interface` come from `Network.resolve` for the same host.
    public init(options: Options, host: Host, network: Network, interface: String?) {
        self.interface = interface
        mac = options.namespaceMAC
        guard options.configureNetwork else { return }
        configures = true
        mtu = network.mtu > 0 ? network.mtu : nil
        hasIPv6 = network.ipv6 != nil && network.mtuAllowsIPv6

        if let family = network.ipv4 {
            let assigned = family.address.map { NamespacePlan.address(IPAddress($0), family.prefixLength, .ipv4) }
            let copies = options.address4 == nil && options.prefixLength4 == nil && !options.noCopyAddresses
            addresses += NamespacePlan.addresses(assigned, copies ? host.template4 : nil)
            let copiesRoutes = options.gateway4 == nil && !options.noCopyRoutes
            routes += plannedRoutes(.ipv4, host.template4, copies: copiesRoutes, gateway: family.gateway.map { IPAddress($0) })
        }
        if hasIPv6, let family = network.ipv6 {
            let assigned = family.address.map { NamespacePlan.address(IPAddress($0), family.prefixLength, .ipv6) }
            let copies = options.address6 == nil && !options.noCopyAddresses
            // The kernel prefers the youngest of equals as source: the guest's own comes last.
            addresses += NamespacePlan.addresses(assigned, copies ? host.template6 : nil).reversed()
            let copiesRoutes = options.gateway6 == nil && !options.noCopyRoutes
            routes += plannedRoutes(.ipv6, host.template6, copies: copiesRoutes, gateway: family.gateway.map { IPAddress($0) })
        }
    }

    // MARK: Addresses

    private static func addresses(_ assigned: InterfaceAddress?, _ template: Template?) -> [InterfaceAddress] {
        guard let template, !template.addresses.isEmpty else { return assigned.map { [$0] } ?? [] }
        return template.addresses.map { own in
            var copy = address(own.address, own.prefixLength, own.family)
            copy.peer = own.peer
            copy.scope = own.scope
            return copy
        }
    }

    /// Permanent, and usable at once: nobody else is on this link who could have it too.
    private static func address(_ address: IPAddress, _ prefixLength: Int, _ family: IPFamily) -> InterfaceAddress {
        var result = InterfaceAddress(
            family: family, address: address, prefixLength: prefixLength, flags: family == .ipv6 ? .noDuplicateDetection : [])
        if let address = address.ipv4, prefixLength < 31 {
            result.broadcast = IPAddress(IPv4Address(address.bits | ~IPv4Address.mask(prefixLength)))
        }
        return result
    }

    // MARK: Routes

    private func plannedRoutes(_ family: IPFamily, _ template: Template?, copies: Bool, gateway: IPAddress?) -> [Route] {
        if copies, let template {
            let usable = template.routes.compactMap { copy($0) }
            // What needs no gateway first: it is what gateways are reached by.
            return usable.filter { $0.hops.first?.gateway == nil } + usable.filter { $0.hops.first?.gateway != nil }
        }
        // A host whose default route names no gateway reaches everything directly, and so does the guest.
        guard gateway != nil || template?.hasDefaultRoute == true else { return [] }
        var route = Route(family: family, hops: [NextHop(index: 0, gateway: gateway)])
        if family == .ipv4 && gateway == nil { route.scope = Route.linkScope }
        return [route]
    }

    /// The route as it makes sense on the guest's only interface; nil if it does not. Everything that ties it to the
    /// host is left behind: hop flags and objects, preferred source, expiry, other hops.
    private func copy(_ route: Route) -> Route? {
        guard let hop = route.hops.first, route.expires >= 0 else { return nil }
        if route.proto == Route.kernelProtocol && hop.gateway == nil && isMadeByKernel(route) { return nil }
        var copy = Route(family: route.family, destination: route.destination, prefixLength: route.prefixLength, hops: [NextHop(index: 0)])
        copy.metric = route.metric
        copy.tos = route.tos
        copy.proto = route.proto == Route.kernelProtocol ? Route.bootProtocol : route.proto
        copy.scope = route.scope
        copy.preference = route.preference
        copy.metrics = route.metrics.filter { metric in
            guard let mtu, metric.kind == Route.Metric.mtu || metric.kind == Route.Metric.maximumSegment else { return true }
            return metric.value <= mtu
        }
        if let gateway = hop.gateway {
            if gateway.isIPv4 == (route.family == .ipv4) {
                copy.hops = [NextHop(index: 0, gateway: gateway)]
            } else {
                // An IPv4 route through an IPv6 router: on this link every destination is answered for.
                copy.scope = Route.linkScope
            }
        }
        return copy
    }

    /// The route to the subnet of an address that is added anyway.
    private func isMadeByKernel(_ route: Route) -> Bool {
        guard let destination = route.destination else { return false }
        return addresses.contains { address in
            guard address.family == route.family, address.prefixLength == route.prefixLength else { return false }
            return destination.isIn(address.peer ?? address.address, prefix: address.prefixLength)
        }
    }
}
