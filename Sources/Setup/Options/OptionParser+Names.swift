internal import Settings
internal import Wire

extension OptionParser {
    mutating func apply(_ key: OptionKey.Name, _ given: GivenOption) throws(SetupError) {
        switch key {
        case .dns: try addResolver(given)
        case .dnsForward: try OptionValue.assign(given, &options.dnsForward4, &options.dnsForward6)
        // Dialled from the host, where loopback is where many resolvers are.
        case .dnsHost: try OptionValue.assign(given, allowLoopback: true, &options.dnsHost4, &options.dnsHost6)
        case .search: try addSearchDomains(given)
        case .dhcpDNS: options.dhcpDNS = true
        case .noDHCPDNS: options.dhcpDNS = false
        case .dhcpSearch: options.dhcpSearch = true
        case .noDHCPSearch: options.dhcpSearch = false
        case .hostname: options.hostname = try OptionValue.hostName(given)
        case .fqdn: options.fqdn = try OptionValue.hostName(given)
        }
    }

    private mutating func addResolver(_ given: GivenOption) throws(SetupError) {
        if given.value == "none" { return try Self.exclude(given, &options.resolvers) }
        // Loopback included: the guest may run a resolver of its own.
        try Self.append([OptionValue.address(given, allowLoopback: true)], given, &options.resolvers)
    }

    /// One domain or several, with commas or blanks between them.
    private mutating func addSearchDomains(_ given: GivenOption) throws(SetupError) {
        if given.value == "none" { return try Self.exclude(given, &options.searchDomains) }
        var domains: [String] = []
        for word in given.value.split(whereSeparator: { $0 == "," || $0 == " " }) {
            guard let domain = DomainName.normalized(word) else {
                throw given.refused("\(OptionValue.quoted(String(word))) is not a domain name")
            }
            domains.append(domain)
        }
        if domains.isEmpty { throw given.refused("a domain name or 'none' is needed") }
        try Self.append(domains, given, &options.searchDomains)
    }

    private static func append<Value>(_ values: [Value], _ given: GivenOption, _ list: inout ListOption<Value>) throws(SetupError) {
        switch list {
        case .unset: list = .values(values)
        case .values(let before): list = .values(before + values)
        case .none: throw given.refused("excluded by \(given.name) none")
        }
    }

    private static func exclude<Value>(_ given: GivenOption, _ list: inout ListOption<Value>) throws(SetupError) {
        if case .values = list { throw given.refused("there are other values of \(given.name)") }
        list = .none
    }
}
