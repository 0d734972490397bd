internal import Settings
internal import Wire

extension Network {
    /// Addresses that options give a second meaning, of which only the first can be had.
    func clashes(_ options: Options) -> [String] {
        if options.spliceOnly { return [] }
        var warnings: [String] = []
        if let ipv4 {
            warnings += Network.clashes(
                own: ipv4.address, gateway: options.gateway4, loopback: options.mapHostLoopback4, host: options.mapGuestAddress4,
                resolver: options.dnsForward4)
        }
        if let ipv6 {
            warnings += Network.clashes(
                own: ipv6.address, gateway: options.gateway6, loopback: options.mapHostLoopback6, host: options.mapGuestAddress6,
                resolver: options.dnsForward6)
        }
        return warnings
    }

    private static func clashes<Address: Sendable & Equatable & CustomStringConvertible>(
        own: Address?, gateway: Address?, loopback: OptionalAddress<Address>, host: OptionalAddress<Address>, resolver: Address?
    ) -> [String] {
        let given: [(option: String, address: Address?)] = [
            ("--gateway", gateway), ("--map-host-loopback", loopback.given), ("--map-guest-addr", host.given), ("--dns-forward", resolver),
        ]
        var warnings: [String] = []
        for (option, address) in given {
            guard let address, address == own else { continue }
            warnings.append("\(option) \(address) is the guest's own address: it reaches itself there and nothing else")
        }
        // No error: podman names an address of its own with the second option, and people make it lead to loopback with the first.
        if let address = loopback.given, address == host.given {
            warnings.append("--map-host-loopback and --map-guest-addr both name \(address): it leads to the host's loopback")
        }
        return warnings
    }
}

extension OptionalAddress {
    fileprivate var given: Address? {
        if case .address(let address) = self { return address }
        return nil
    }
}
