internal import Linux
internal import Wire

// Ranks are arrays of truths, the most important first; of equal ranks the kernel's first entry wins.

extension HostFacts {
    /// The model for `family`: on `link` if that is given, else on the interface of the best default route, of any
    /// route, or of any address. nil when there is nothing to copy.
    ///
    /// But for default routes, what is down or has no carrier is no model: when the network is not up yet, that is the bridge of containers that do not run,
    /// and its address would be all that the guest ever has. Without a model, everything goes where the host's own routes lead by then.
    func template(_ family: IPFamily, on link: Link?) -> Template? {
        guard let link = link ?? chooseLink(family) else { return nil }
        let path = defaultHop(family, on: link.index)
        let own = addresses.filter { $0.index == link.index && isUsable($0, family) }
        let through = routes(family, through: link.index)
        if own.isEmpty && through.isEmpty { return nil }

        let gateway = path?.hop.gateway
        let source = path?.route.preferredSource
        let best = best(own, source: source, gateway: gateway)
        var template = Template(link: link, address: best, gateway: nil, addresses: [], routes: through)
        if let gateway, gateway.isIPv4 == (family == .ipv4) { template.gateway = gateway }
        if let best {
            let rest = own.filter { $0 != best && isWorthCopying($0) }
            template.addresses = [best] + rest
        } else if let borrowed = borrowed(family, source: source) {
            template.address = borrowed
            template.addresses = [borrowed]
        }
        return template
    }

    private func chooseLink(_ family: IPFamily) -> Link? {
        if let hop = defaultHop(family, on: nil)?.hop { return link(hop.index) }
        let candidates = routes.filter { $0.family == family && isOfInterest($0) }
        for route in candidates {
            for hop in route.hops where !hop.isDead {
                if let link = link(hop.index), !link.isLoopback { return link }
            }
        }
        return links.first { link in
            !link.isLoopback && link.isUp && link.hasCarrier && addresses.contains { $0.index == link.index && isUsable($0, family) }
        }
    }

    /// The preferred default route and its way out, through one interface or through any but loopback. Live ones
    /// come first, then the lower metric, then the router's own preference; among hops, the weightier.
    private func defaultHop(_ family: IPFamily, on index: Int32?) -> (route: Route, hop: NextHop)? {
        var found: (route: Route, hop: NextHop)?
        for route in routes where route.family == family && route.prefixLength == 0 && route.type == Route.unicast {
            let hops = route.hops.filter { hop in
                if let index { return hop.index == index }
                return link(hop.index).map { !$0.isLoopback } ?? false
            }
            guard var hop = hops.first else { continue }
            for other in hops.dropFirst() where (hop.isDead && !other.isDead) || (hop.isDead == other.isDead && other.weight > hop.weight) {
                hop = other
            }
            if let best = found, !isBetter(route, hop, than: best) { continue }
            found = (route, hop)
        }
        return found
    }

    private func isBetter(_ route: Route, _ hop: NextHop, than best: (route: Route, hop: NextHop)) -> Bool {
        if hop.isDead != best.hop.isDead { return !hop.isDead }
        if (route.sourcePrefixLength == 0) != (best.route.sourcePrefixLength == 0) { return route.sourcePrefixLength == 0 }
        if route.metric != best.route.metric { return route.metric < best.route.metric }
        return route.preferenceRank > best.route.preferenceRank
    }

    /// Routes that say something about where an interface leads; every IPv6 interface has the others.
    private func isOfInterest(_ route: Route) -> Bool {
        guard route.type == Route.unicast, !route.isCloned else { return false }
        guard let destination = route.destination else { return true }
        if destination.isLoopback || destination.isMulticast { return false }
        return route.family == .ipv4 || !destination.isLinkLocal
    }

    private func routes(_ family: IPFamily, through index: Int32) -> [Route] {
        var through: [Route] = []
        for route in routes where route.family == family && isOfInterest(route) {
            guard let hop = route.hops.first(where: { $0.index == index }) else { continue }
            var route = route
            route.hops = [hop]
            through.append(route)
        }
        return through
    }

    /// Can be a guest's address: reachable from outside the host, and not refused by the link.
    private func isUsable(_ address: InterfaceAddress, _ family: IPFamily) -> Bool {
        guard address.family == family, address.scope < Route.hostScope else { return false }
        if address.address.isLoopback || address.address.isMulticast || address.address.isAny { return false }
        if address.flags.contains(.duplicate) { return false }
        return family == .ipv4 || !address.address.isLinkLocal
    }

    /// Addresses that come and go are not copied, since nobody takes them away again.
    private func isWorthCopying(_ address: InterfaceAddress) -> Bool {
        if address.flags.contains(.deprecated) || address.address.isLinkLocal { return false }
        return address.family == .ipv4 || (!address.flags.contains(.temporary) && !address.flags.contains(.tentative))
    }

    private func best(_ candidates: [InterfaceAddress], source: IPAddress?, gateway: IPAddress?) -> InterfaceAddress? {
        var best: (address: InterfaceAddress, rank: Int)?
        for candidate in candidates {
            let rank = rank(candidate, source: source, gateway: gateway)
            if let best, best.rank >= rank { continue }
            best = (candidate, rank)
        }
        return best?.address
    }

    private func rank(_ address: InterfaceAddress, source: IPAddress?, gateway: IPAddress?) -> Int {
        let truths = [
            !address.flags.contains(.deprecated),
            source == address.address,
            !address.address.isLinkLocal && !address.address.isUniqueLocal,
            address.family == .ipv4 || !address.flags.contains(.tentative),
            address.family == .ipv4 || !address.flags.contains(.temporary),
            gateway.map { address.covers($0) } ?? false,
            !address.flags.contains(.secondary),
        ]
        return truths.reduce(0) { $0 << 1 | ($1 ? 1 : 0) }
    }

    /// For an interface without addresses of its own: what the host uses there, as a single address.
    private func borrowed(_ family: IPFamily, source: IPAddress?) -> InterfaceAddress? {
        let all = addresses.filter { isUsable($0, family) && !$0.address.isLinkLocal }
        guard let found = all.first(where: { $0.address == source }) ?? best(all, source: nil, gateway: nil) else { return nil }
        return InterfaceAddress(index: found.index, family: family, address: found.address, prefixLength: family.bits, flags: found.flags)
    }
}

extension Route {
    /// High, medium, low (RFC 4191, section 2.1).
    fileprivate var preferenceRank: Int { preference == 1 ? 2 : preference == 3 ? 0 : 1 }
}

extension InterfaceAddress {
    /// Whether `other` lies in the address's own subnet.
    func covers(_ other: IPAddress) -> Bool {
        guard other.isIPv4 == address.isIPv4 else { return false }
        if other == peer { return true }
        return other.isIn(address, prefix: prefixLength)
    }
}

extension IPAddress {
    /// fc00::/7 (RFC 4193).
    var isUniqueLocal: Bool { high >> 57 == 0xfc >> 1 }

    /// Prefix lengths count from the start of the family's own addresses. False across families.
    func isIn(_ network: IPAddress, prefix: Int) -> Bool {
        guard isIPv4 == network.isIPv4 else { return false }
        if let own = ipv4, let other = network.ipv4 { return own.isIn(other, prefix: prefix) }
        return ipv6.isIn(network.ipv6, prefix: prefix)
    }
}
