// Local: what is answered here instead of being forwarded. The guest's link has one neighbour, us, who plays
// every other host on it, the router and the DHCP server. An answer follows from the question and from what was
// decided at start; those of ARP and NDP also from what is known of the host's neighbours, and from whether the
// guest has been seen with its address:
//
//     arp                      ARPService         who has an IPv4 address: we do
//     neighbourSolicitation    NDPService         who has an IPv6 address: we do
//     routerSolicitation       RouterService      here is your router, prefix, MTU, resolvers
//     dhcp                     DHCPService        here is your IPv4 address
//     dhcpv6                   DHCPv6Service      here is your IPv6 address
//
// All five have the same form: the whole Ethernet frame goes in, without any virtio header and with its
// protocol not yet checked, the whole reply frame comes out with complete checksums, and the result is its
// length; nil is "nothing to say", and then the reply's bytes are unspecified. `reply` needs
// `LocalServices.maximumReply` bytes. Nothing here allocates after `init`: what depends on options and
// names is encoded beforehand (DHCPOffer, DHCPv6Offer, the router advertisement).
//
// Checksums of questions are not looked at, since the guest's kernel may have left them to us.

public import Settings
import Wire

/// Answers for the guest's link. `neighbours` may be changed at any time, our own link-layer address by `move`, what is known of the guest by `note`; all else is
/// fixed.
public struct LocalServices: Sendable {
    /// Real link-layer addresses of hosts on the template interface's link.
    public var neighbours = NeighbourTable()

    /// Our own, which `move` may change, and what it was at first.
    private(set) var gatewayMAC: MACAddress
    let firstMAC: MACAddress
    let routerLinkLocal: IPv6Address
    let answersARP: Bool
    let answersNDP: Bool
    /// What the guest is offered, and whether it was seen to have that.
    let guest4: IPv4Address?
    let guest6: IPv6Address?
    private var guestHas4 = false
    private var guestHas6 = false
    /// From where we ask for others; nil where the guest is offered nothing.
    let asker4: IPv4Address?
    let gateway6: IPv6Address?
    let own: OwnAddresses
    /// A whole ICMPv6 message but for its checksum; empty where routers are not advertised.
    private(set) var advertisement: [UInt8]
    let dhcpOffer: DHCPOffer?
    let dhcpv6Offer: DHCPv6Offer?

    /// Bytes that any answer fits in.
    public static var maximumReply: Int { 1514 }

    public init(_ network: Network) {
        gatewayMAC = network.gatewayMAC
        firstMAC = network.gatewayMAC
        routerLinkLocal = network.routerLinkLocal
        answersARP = network.ipv4 != nil
        answersNDP = network.ipv6 != nil && network.ndp
        guest4 = network.ipv4?.address
        guest6 = network.ipv6?.address
        asker4 = network.ipv4.flatMap { family in family.address.map { DHCPOffer.server(family, for: $0) } }
        gateway6 = network.ipv6?.gateway
        own = OwnAddresses(network)
        advertisement = LocalServices.routerAdvertisement(network)
        dhcpOffer = DHCPOffer(network)
        dhcpv6Offer = DHCPv6Offer(network)
    }

    /// Uses another link-layer address from here on. What names us as a server of DHCPv6 stays what it is.
    mutating func move(to mac: MACAddress) {
        gatewayMAC = mac
        guard let place = LocalServices.placeOfMAC(advertisement) else { return }
        for index in 0..<6 { advertisement[place + index] = UInt8(truncatingIfNeeded: mac.bits >> UInt64(8 * (5 - index))) }
    }

    // MARK: The guest's own address

    /// The guest's link has somebody who sends from `source`.
    mutating func note(_ source: IPv4Address) {
        if !guestHas4, source == guest4 { guestHas4 = true }
    }

    mutating func note(_ source: IPv6Address) {
        if !guestHas6, source == guest6 { guestHas6 = true }
    }

    /// Another guest may be there.
    mutating func forgetGuest() { (guestHas4, guestHas6) = (false, false) }

    /// Whether `asker` hears from us at the address that the guest is offered. It mostly is the host's own, and a guest with another address finds the host
    /// there. But from when the guest has it on, it speaks for itself; who probes for it (from no address) is about to take it; and who claims to be us is not heard.
    func answersForOffer(to asker: IPAddress) -> Bool {
        let isInUse = asker.isIPv4 ? guestHas4 : guestHas6
        return !isInUse && !asker.isAny && !own.contains(asker)
    }

    // MARK: Who is who

    /// The link-layer address to name for `address`: a neighbour's own where it is known, so that what the
    /// guest sees agrees with what other hosts see; for addresses that we translate, and for whatever would
    /// clash with the asker's address, the gateway's.
    func linkLayer(of address: IPAddress, for asker: MACAddress) -> MACAddress {
        if own.contains(address) { return gatewayMAC }
        guard let mac = neighbours[address], mac != asker else { return gatewayMAC }
        return mac
    }

    /// Whether the guest may send from `address`: not as the router or another of those that we speak for, or what others send to the guest
    /// would go there.
    func mayBeGuest(_ address: IPAddress) -> Bool {
        let assigned = address.isIPv4 ? guest4.map { IPAddress($0) } : guest6.map { IPAddress($0) }
        return address == assigned || !own.contains(address)
    }

    /// Whether `asker`, who wants to use `address` himself, must be told that it is taken: only where that is certain. For all
    /// others we are merely the way to them. What the host merely remembers, as of the asker with the network card that it had before, is no
    /// conflict, nor what it knows of the asker: only another one's use is (RFC 4862, section 5.4.3; RFC 5227, section 2.1.1).
    func isTaken(_ address: IPAddress, for asker: MACAddress) -> Bool {
        if own.contains(address) { return true }
        guard let mac = neighbours.inUse(address) else { return false }
        return mac != asker
    }
}

/// Addresses that mean us, or that we translate, whatever the host's network says about them.
struct OwnAddresses: Sendable {
    private let ipv4: [IPAddress]
    private let ipv6: [IPAddress]

    init(_ network: Network) {
        let family4 = network.ipv4
        let family6 = network.ipv6
        ipv4 = [family4?.gateway, family4?.standIn, family4?.mapHostLoopback, family4?.mapGuestAddress, family4?.dnsForward]
            .compactMap { $0.map { IPAddress($0) } }
        ipv6 = [network.routerLinkLocal, family6?.gateway, family6?.mapHostLoopback, family6?.mapGuestAddress, family6?.dnsForward]
            .compactMap { $0.map { IPAddress($0) } }
    }

    func contains(_ address: IPAddress) -> Bool {
        for own in address.isIPv4 ? ipv4 : ipv6 where own == address { return true }
        return false
    }
}
