import Wire

extension LocalServices {
    /// Answers a neighbour solicitation for any address but that of the guest, as soon as it has it (RFC 4861, section 7.2). Duplicate
    /// address detection, which asks from the unspecified address, hears only about addresses that are
    /// certainly taken (RFC 4862, section 5.4.3).
    public func neighbourSolicitation(_ frame: borrowing RawSpan, into reply: inout MutableRawSpan) -> Int? {
        guard answersNDP, reply.byteCount >= LocalServices.maximumReply,
            let ethernet = EthernetHeader(frame), ethernet.type == .ipv6, !ethernet.source.isMulticast,
            let ip = IPv6Header(frame, at: EthernetHeader.length), ip.hopLimit == 255, !ip.source.isMulticast,
            let upper = ip.upperLayer(frame), upper.proto == .icmpv6, !upper.isFragment,
            let question = NeighbourSolicitation(frame, at: upper.offset, end: upper.offset + upper.length)
        else { return nil }
        let target = question.target
        guard target != guest6 || answersForOffer(to: IPAddress(ip.source)), target != ip.source, target != .linkLocal(ethernet.source),
            !target.isAny, !target.isLoopback, !target.isIPv4Mapped
        else { return nil }
        let isProbe = ip.source.isAny
        if isProbe {
            guard case .none = question.sourceLinkLayer, ip.destination == target.solicitedNode,
                isTaken(IPAddress(target), for: ethernet.source)
            else { return nil }
        }

        // A host forgets a router that says it is none, so the flag goes with the address, always. For all addresses but ours we are a proxy, whose
        // word must not replace that of the host itself, which may be behind a bridge of the guest's (RFC 4861, section 7.2.8).
        let mac = linkLayer(of: IPAddress(target), for: ethernet.source)
        let answer = NeighbourAdvertisement(
            target: target, isRouter: target == routerLinkLocal || target == gateway6, isSolicited: !isProbe,
            overrides: own.contains(IPAddress(target)), targetLinkLayer: mac)
        answer.write(to: &reply, at: LocalFrame.icmpv6)
        return LocalFrame.finishICMPv6(
            &reply, to: isProbe ? .multicast(.allNodes) : ethernet.source, from: mac,
            source: target, destination: isProbe ? .allNodes : ip.source, length: answer.length)
    }
}
