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
        // One address for --map-host-loopback and --map-guest-addr is podman's usual line: it leads to the host's loopback, of which the manual speaks.
        return given.compactMap { option, address in
            guard let address, address == own else { return nil }
            return "\(option) \(address) is the guest's own address: it reaches itself there and nothing else"
        }
    }
}

extension OptionalAddress {
    fileprivate var given: Address? {
        if case .address(let address) = self { return address }
        return nil
    }
}
