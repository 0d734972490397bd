internal import Linux
internal import Settings
internal import Wire

extension Network {
    /// Which resolvers the guest is told of, and where its forwarded queries go. `unread`: why the host's are not known.
    mutating func setResolvers(_ options: Options, _ nameservers: [IPAddress], _ unread: Errno?, warnings: inout [String]) {
        let reason = unread.map { " (/etc/resolv.conf: \($0.text))" } ?? ""
        advertiseResolvers = options.dhcpDNS ?? (options.program == .passt)
        let hosts4 = nameservers.compactMap(\.ipv4)
        let hosts6 = nameservers.filter { !$0.isIPv4 }.map(\.ipv6)
        // Names have no family: where nobody of one's own is named, one of the other family is asked all the same.
        let given4 = options.dnsHost4.map { IPAddress($0) }
        let given6 = options.dnsHost6.map { IPAddress($0) }
        let (first4, first6) = (hosts4.first.map { IPAddress($0) }, hosts6.first.map { IPAddress($0) })
        ipv4?.dnsHost = given4 ?? given6 ?? first4 ?? first6
        ipv6?.dnsHost = given6 ?? given4 ?? first6 ?? first4
        // A resolver at the address that stands for host loopback is meant as a resolver, not as the host.
        if let mapped = ipv4?.mapHostLoopback { ipv4?.mappedIsResolver = hosts4.contains(mapped) }
        if let mapped = ipv6?.mapHostLoopback { ipv6?.mappedIsResolver = hosts6.contains(mapped) }

        switch options.resolvers {
        case .none:
            break
        case .values(let given):
            ipv4?.resolvers = given.compactMap(\.ipv4)
            ipv6?.resolvers = given.filter { !$0.isIPv4 }.map(\.ipv6)
        case .unset where advertiseResolvers:
            adoptResolvers(hosts4, hosts6, options)
            if (ipv4?.resolvers ?? []).isEmpty && (ipv6?.resolvers ?? []).isEmpty {
                warnings.append("No resolver to advertise to the guest, name one with --dns, or none at all with --dns none\(reason)")
            }
        case .unset:
            break
        }
        if ipv4?.dnsHost == nil && ipv6?.dnsHost == nil && (ipv4?.dnsForward != nil || ipv6?.dnsForward != nil) {
            warnings.append("No resolver on the host to forward queries to, name one with --dns-host\(reason)")
        }
        // What is known of the options alone was warned of by the parser.
        if (given4 ?? given6) != nil, advertiseResolvers, !options.spliceOnly, ipv4?.dnsForward == nil, ipv6?.dnsForward == nil {
            warnings.append("--dns-host has no effect without --dns-forward, for the guest asks its resolvers directly")
        }
    }

    /// The host's resolvers, as the guest can reach them. Without a gateway there is still the router, whose address leads nowhere else; but not for who wants nothing of the host's to be
    /// found at an address that was not asked for.
    private mutating func adoptResolvers(_ hosts4: [IPv4Address], _ hosts6: [IPv6Address], _ options: Options) {
        let hostIsGiven = options.dnsHost4 != nil || options.dnsHost6 != nil
        let router4 = options.noMapGateway || options.mapHostLoopback4 == .none ? nil : ipv4?.standIn
        let router6 = options.noMapGateway || options.mapHostLoopback6 == .none || ipv6?.gateway != nil || ipv6?.leadsOut != true ? nil : routerLinkLocal
        ipv4?.adopt(hosts4, router: router4, hostIsGiven: hostIsGiven) { IPAddress($0) }
        ipv6?.adopt(hosts6, router: router6, hostIsGiven: hostIsGiven) { IPAddress($0) }
        // Clients of DHCP often know IPv4 only. Who has IPv6 has the other as well, if the guest does, and needs no second way to the same resolver.
        ipv4?.adoptOther(router: router4)
        if (ipv4?.resolvers ?? []).isEmpty { ipv6?.adoptOther(router: router6) }
    }

    mutating func setSearchDomains(_ options: Options, _ domains: [String]) {
        advertiseSearch = options.dhcpSearch ?? (options.program == .passt)
        switch options.searchDomains {
        case .none: searchDomains = []
        case .values(let given): searchDomains = given
        case .unset: searchDomains = advertiseSearch ? domains : []
        }
    }
}

extension Network.Family {
    /// Takes over the host's resolvers. One that the guest cannot reach under its own address, because it is the
    /// host's loopback or the address that the guest has itself, is advertised as the address whose queries are forwarded, and is whom they are forwarded to where no option says so.
    /// Where no such address is named, it is the one that stands for host loopback, or else `router`; without any, the resolver is left out.
    fileprivate mutating func adopt(_ nameservers: [Address], router: Address?, hostIsGiven: Bool, _ convert: (Address) -> IPAddress) {
        let forwarded = dnsForward ?? mapHostLoopback ?? router
        for nameserver in nameservers {
            guard convert(nameserver).isLoopback || convert(nameserver).isAny || nameserver == address else {
                if !resolvers.contains(nameserver) { resolvers.append(nameserver) }
                continue
            }
            // One that has the address itself, as home routers do, was there first.
            guard let forwarded, !resolvers.contains(forwarded) else { continue }
            resolvers.append(forwarded)
            if !hostIsGiven && dnsForward == nil { dnsHost = convert(nameserver) }
            dnsForward = forwarded
        }
    }

    /// Where there is none of this family, names are asked of one of the other, by the same address.
    fileprivate mutating func adoptOther(router: Address?) {
        guard resolvers.isEmpty, dnsHost != nil, let forwarded = dnsForward ?? mapHostLoopback ?? router else { return }
        resolvers = [forwarded]
        dnsForward = forwarded
    }
}
