internal import Settings
internal import Wire

/// Who the guest is, as seen from its frames.
struct GuestIdentity: BitwiseCopyable {
    /// The addresses it used last as a source, or those that it has in any case: containers and routers behind it may have others (lesson 42).
    var ipv4: IPv4Address?
    var ipv6: IPv6Address?
    var linkLocal: IPv6Address?
    let hasIPv4, hasIPv6: Bool
    private let isFixed4, isFixed6: Bool
    private let offered6: IPv6Address?
    /// `ipv6` is more than what it is offered or is about to take.
    private(set) var hasShown6 = false

    init(_ network: Network) {
        ipv4 = network.ipv4?.address
        ipv6 = network.ipv6?.address
        hasIPv4 = network.ipv4 != nil
        hasIPv6 = network.ipv6 != nil
        isFixed4 = network.ipv4?.isFixed == true
        isFixed6 = network.ipv6?.isFixed == true
        offered6 = network.ipv6?.address
    }

    /// A packet came from `source`.
    @_noAllocation @_noLocks
    mutating func note(_ source: IPv4Address) {
        if !isFixed4 { ipv4 = source }
    }

    @_noAllocation @_noLocks
    mutating func note(_ source: IPv6Address) {
        if source.isLinkLocal { linkLocal = source } else if !isFixed6 { (ipv6, hasShown6) = (source, true) }
    }

    /// It looks whether anybody else has `address`, which it takes if not (RFC 4862, section 5.4). One that it makes itself, in the network that it is offered, may be
    /// the only one that it will have, and it may say nothing more before it is spoken to. One that it has sent from is better known, and so is the one that it is
    /// offered, once it takes that.
    @_noAllocation @_noLocks
    mutating func expect(_ address: IPv6Address) {
        guard !isFixed6, !hasShown6, let offered6, address.high == offered6.high else { return }
        ipv6 = address
        hasShown6 = address == offered6
    }

    /// Where a sender that the guest sees as `source` reaches it: its own address, or `target` if there is one. A link-local
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
