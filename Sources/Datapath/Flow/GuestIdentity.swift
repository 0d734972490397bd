internal import Settings
internal import Wire

/// Who the guest is, as seen from its frames.
struct GuestIdentity: BitwiseCopyable {
    /// The addresses it used last as a source.
    var ipv4: IPv4Address?
    var ipv6: IPv6Address?
    var linkLocal: IPv6Address?
    let hasIPv4, hasIPv6: Bool

    init(_ network: Network) {
        ipv4 = network.ipv4?.address
        ipv6 = network.ipv6?.address
        hasIPv4 = network.ipv4 != nil
        hasIPv6 = network.ipv6 != nil
    }

    /// Where a sender that the guest sees as `source` reaches it: the address that it used last, or `target` if there is one. A link-local
    /// sender reaches the link-local address, which can be told from the MAC until it was seen. nil where there is none.
    @_noAllocation @_noLocks
    func destination(for source: IPAddress, target: IPAddress?, mac: MACAddress) -> IPAddress? {
        if let target { return target.isIPv4 == source.isIPv4 ? target : nil }
        if source.isIPv4 {
            guard let ipv4 else { return nil }
            return IPAddress(ipv4)
        }
        guard hasIPv6 else { return nil }
        if !source.isLinkLocal {
            guard let ipv6 else { return nil }
            return IPAddress(ipv6)
        }
        if let linkLocal { return IPAddress(linkLocal) }
        return mac.isMulticast ? nil : IPAddress(IPv6Address.linkLocal(mac))
    }
}
