import Settings
import Wire

extension LocalServices {
    /// Answers a router solicitation (RFC 4861, section 6.2.6): to the asker where it has an address, else to all.
    public func routerSolicitation(_ frame: borrowing RawSpan, into reply: inout MutableRawSpan) -> Int? {
        guard !advertisement.isEmpty, reply.byteCount >= LocalServices.maximumReply,
            let ethernet = EthernetHeader(frame), ethernet.type == .ipv6, !ethernet.source.isMulticast,
            let ip = IPv6Header(frame, at: EthernetHeader.length), ip.hopLimit == 255, !ip.source.isMulticast,
            let upper = ip.upperLayer(frame), upper.proto == .icmpv6, !upper.isFragment,
            let question = RouterSolicitation(frame, at: upper.offset, end: upper.offset + upper.length)
        else { return nil }
        guard ip.source.isAny else { return advertise(to: ip.source, ethernet.source, &reply) }
        guard case .none = question.sourceLinkLayer else { return nil }
        return advertise(to: .allNodes, .multicast(.allNodes), &reply)
    }

    /// The advertisement that nobody asked for, to all hosts; nil where routers are not advertised. To be sent when
    /// the guest appears and again and again: lifetimes run out. See `Forwarder.advertiseRouter`.
    public func routerAdvertisement(into reply: inout MutableRawSpan) -> Int? {
        guard !advertisement.isEmpty, reply.byteCount >= LocalServices.maximumReply else { return nil }
        return advertise(to: .allNodes, .multicast(.allNodes), &reply)
    }

    private func advertise(to destination: IPv6Address, _ mac: MACAddress, _ reply: inout MutableRawSpan) -> Int {
        reply.store(advertisement, at: LocalFrame.icmpv6)
        return LocalFrame.finishICMPv6(
            &reply, to: mac, from: gatewayMAC, source: routerLinkLocal, destination: destination,
            length: advertisement.count)
    }

    /// Where it says which link-layer address we have.
    static func placeOfMAC(_ message: [UInt8]) -> Int? {
        var start = RouterAdvertisement.length
        while start + 8 <= message.count {
            let length = Int(message[start + 1]) * 8
            if length == 0 { return nil }
            if message[start] == NDPOption.sourceLinkLayer { return start + 2 }
            start += length
        }
        return nil
    }

    /// What is advertised, built once; empty where that is switched off.
    static func routerAdvertisement(_ network: Network) -> [UInt8] {
        guard let family = network.ipv6, network.ndp, network.routerAdvertisements else { return [] }
        // The longest lifetime there is (RFC 8319): we vanish together with the link or not at all. None where
        // the host has no way out.
        var message = RouterAdvertisement(
            hopLimit: 64, isManaged: DHCPv6Offer.isServed(network), hasOtherConfiguration: DHCPv6Offer.isServed(network),
            lifetime: family.leadsOut ? 65535 : 0
        ).wire
        if let address = family.address {
            message += NDPOption.prefixInformation(address, length: 64)
        }
        // Hosts ignore less than the minimum of IPv6.
        if network.mtu >= 1280 { message += NDPOption.mtu(UInt32(truncatingIfNeeded: network.mtu)) }
        message += NDPOption.sourceLinkLayer(network.gatewayMAC)
        // One packet of the smallest MTU holds everything, so that it always arrives.
        let limit = 1280 - IPv6Header.length
        if network.advertiseResolvers {
            message += NDPOption.resolvers(Array(family.resolvers.prefix(32)))
        }
        if network.advertiseSearch {
            message += NDPOption.searchList(network.searchDomains.compactMap { DomainName($0) }, limit: limit - message.count)
        }
        return message
    }
}
