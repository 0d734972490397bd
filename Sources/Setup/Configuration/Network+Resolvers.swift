internal import Settings
internal import Wire

extension Network {
    /// Which resolvers the guest is told of, and where its forwarded queries go.
    mutating func setResolvers(_ options: Options, _ nameservers: [IPAddress], warnings: inout [String]) {
        advertiseResolvers = options.dhcpDNS ?? (options.program == .passt)
        let hosts4 = nameservers.compactMap(\.ipv4)
        let hosts6 = nameservers.filter { !$0.isIPv4 }.map(\.ipv6)
        // Names have no family: where all resolvers are of the other one, they are asked all the same.
        let asked4 = (options.dnsHost4 ?? hosts4.first).map { IPAddress($0) }
        let asked6 = (options.dnsHost6 ?? hosts6.first).map { IPAddress($0) }
        ipv4?.dnsHost = asked4 ?? asked6
        ipv6?.dnsHost = asked6 ?? asked4
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
            ipv4?.adopt(hosts4) { $0.isLoopback || $0 == .any }
            ipv6?.adopt(hosts6) { $0.isLoopback || $0 == .any }
            if (ipv4?.resolvers ?? []).isEmpty && (ipv6?.resolvers ?? []).isEmpty {
                warnings.append("No resolver to advertise to the guest, name one with --dns, or none at all with --dns none")
            }
        case .unset:
            break
        }
        if asked4 == nil && asked6 == nil && (ipv4?.dnsForward != nil || ipv6?.dnsForward != nil) {
            warnings.append("No resolver on the host to forward queries to, name one with --dns-host")
        }
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
    /// host's loopback or the address that the guest has itself, is advertised as the address whose queries are forwarded.
    /// Where none is named, that is the one that stands for host loopback; without such an address it is left out.
    fileprivate mutating func adopt(_ nameservers: [Address], isLocal: (Address) -> Bool) {
        for nameserver in nameservers {
            guard isLocal(nameserver) || nameserver == address else {
                if !resolvers.contains(nameserver) { resolvers.append(nameserver) }
                continue
            }
            guard let forwarded = dnsForward ?? mapHostLoopback else { continue }
            if !resolvers.contains(forwarded) { resolvers.append(forwarded) }
            dnsForward = forwarded
        }
    }
}
