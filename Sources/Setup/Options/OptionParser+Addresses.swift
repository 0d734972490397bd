internal import Settings
internal import Wire

extension OptionParser {
    mutating func apply(_ key: OptionKey.Address, _ given: GivenOption) throws(SetupError) {
        switch key {
        case .address: try setAddress(given)
        case .netmask:
            netmask = given
            options.prefixLength4 = try OptionValue.prefixLength4(given)
        case .gateway: try OptionValue.assign(given, &options.gateway4, &options.gateway6)
        case .interface: options.interface = try OptionValue.interface(given)
        // A source address of 127.0.0.0/8 is pointless outside of tests, but not wrong.
        case .outbound: try OptionValue.assign(given, allowLoopback: true, &options.outbound4, &options.outbound6)
        case .outboundIf4: options.outboundInterface4 = try OptionValue.interface(given)
        case .outboundIf6: options.outboundInterface6 = try OptionValue.interface(given)
        case .mtu: options.mtu = try mtu(given)
        case .macAddr: options.gatewayMAC = try OptionValue.mac(given)
        case .mapHostLoopback: try OptionValue.assign(given, &options.mapHostLoopback4, &options.mapHostLoopback6)
        case .noMapGw: options.noMapGateway = true
        case .mapGuestAddr: try OptionValue.assign(given, &options.mapGuestAddress4, &options.mapGuestAddress6)
        case .ipv4Only: options.ipv4Only = true
        case .ipv6Only: options.ipv6Only = true
        case .freebind: options.freebind = true
        }
    }

    /// `ADDR` or `ADDR/LEN`.
    private mutating func setAddress(_ given: GivenOption) throws(SetupError) {
        let parts = given.value.split(separator: "/", maxSplits: 1, omittingEmptySubsequences: false)
        let text = String(parts[0])
        let address = try OptionValue.address(text, given, allowLoopback: false)
        if let ipv4 = address.ipv4 {
            if options.address4 != nil { throw given.refused("a second IPv4 address; only one can be given") }
            options.address4 = ipv4
            address4 = given
        } else {
            if options.address6 != nil { throw given.refused("a second IPv6 address; only one can be given") }
            options.address6 = address.ipv6
        }
        guard parts.count == 2 else { return }
        guard let length = OptionValue.decimal(parts[1]) else { throw given.refused("the prefix length is not a number") }
        if address.isIPv4 {
            guard (1...32).contains(length) else { throw given.refused("an IPv4 prefix length is between 1 and 32") }
            options.prefixLength4 = length
            addressWithPrefix = given
        } else if length != 64 {
            // Guests make their own addresses from the advertised prefix, which takes 64 bits (RFC 4862, RFC 4291).
            throw given.refused("an IPv6 prefix length can only be 64")
        }
    }

    private func mtu(_ given: GivenOption) throws(SetupError) -> Int {
        guard let mtu = OptionValue.decimal(given.value) else { throw given.refused("not a number") }
        if mtu > Options.maximumMTU { throw given.refused("MTU \(mtu) too large (max \(Options.maximumMTU))") }
        // RFC 791: every module must take 68 bytes unfragmented.
        if (1..<68).contains(mtu) { throw given.refused("MTU \(mtu) too small (min 68, or 0 for none)") }
        return mtu
    }
}
