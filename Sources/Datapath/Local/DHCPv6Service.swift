import Wire

extension LocalServices {
    /// Answers DHCPv6 requests (RFC 8415, section 18.3). There is one address to give, for ever, to whoever
    /// asks first in a message; so nothing has to be remembered. The answer goes to where the request came from.
    public func dhcpv6(_ frame: borrowing RawSpan, into reply: inout MutableRawSpan) -> Int? {
        guard let offer = dhcpv6Offer, reply.byteCount >= LocalServices.maximumReply,
            let ethernet = EthernetHeader(frame), ethernet.type == .ipv6, !ethernet.source.isMulticast,
            let ip = IPv6Header(frame, at: EthernetHeader.length), !ip.source.isMulticast, !ip.source.isAny,
            ip.destination == DHCPv6Message.servers || ip.destination == routerLinkLocal,
            let upper = ip.upperLayer(frame), upper.proto == .udp, !upper.isFragment,
            let udp = UDPHeader(frame, at: upper.offset, end: upper.offset + upper.length),
            udp.destinationPort == DHCPv6Message.serverPort,
            let request = DHCPv6Message(frame, at: udp.payloadOffset, end: udp.payload.upperBound)
        else { return nil }
        let options = udp.payload.lowerBound + DHCPv6Message.length..<udp.payload.upperBound
        guard let client = DHCPv6ClientOptions(frame, at: options.lowerBound, end: options.upperBound),
            let answer = answer(request, client, options, frame, offer)
        else { return nil }

        let start = LocalFrame.udp6
        answer.message.write(to: &reply, at: start)
        // One packet of the smallest MTU holds everything.
        var writer = AnswerWriter(position: start + DHCPv6Message.length, limit: start + 1280 - 48)
        writer.put(offer.serverIdentifier, &reply)
        if let identifier = client.clientIdentifier {
            writer.copy(
                frame, at: identifier.offset - DHCPv6Option.headerLength,
                count: identifier.length + DHCPv6Option.headerLength, &reply)
        }
        write(answer, request, client, options, frame, offer, &writer, &reply)
        return LocalFrame.finishUDP6(
            &reply, to: ethernet.source, from: gatewayMAC, source: routerLinkLocal, destination: ip.source,
            ports: (DHCPv6Message.serverPort, DHCPv6Message.clientPort), length: writer.position - start)
    }

    private struct Answer {
        var message: DHCPv6Message
        var status: DHCPv6Status?
        /// Give the address, and what else was asked for of this kind.
        var hasAssociations = false
        /// Say of foreign addresses that they are not valid any more.
        var endsOthers = false
        /// Give resolvers, search list, name.
        var hasConfiguration = true
        var isRapid = false
    }

    /// Decides, after the checks of RFC 8415, section 16. Nil for what is not answered.
    private func answer(
        _ request: DHCPv6Message, _ client: DHCPv6ClientOptions, _ options: Range<Int>, _ frame: borrowing RawSpan,
        _ offer: DHCPv6Offer
    ) -> Answer? {
        var hasClient = false
        if case .some = client.clientIdentifier { hasClient = true }
        var server = Server.absent
        if let identifier = client.serverIdentifier { server = isOurs(identifier, frame) ? .us : .other }
        if server == .other { return nil }
        var answer = Answer(message: DHCPv6Message(.reply, transaction: request.transaction))

        switch request.kind {
        case .solicit:
            guard hasClient, server == .absent else { return nil }
            answer.hasAssociations = true
            answer.isRapid = client.wantsRapidCommit
            if !answer.isRapid { answer.message.kind = .advertise }
        case .request:
            guard hasClient, server == .us else { return nil }
            answer.hasAssociations = true
        case .renew, .rebind:
            guard hasClient, server == (request.kind == .renew ? .us : .absent) else { return nil }
            answer.hasAssociations = true
            answer.endsOthers = true
        case .confirm:
            guard hasClient, server == .absent,
                let isOurs = onlyNamesOurs(options, frame, offer)
            else { return nil }
            answer.status = isOurs ? .success : .notOnLink
            answer.hasConfiguration = false
        case .release, .decline:
            guard hasClient, server == .us else { return nil }
            answer.status = .success
            answer.hasConfiguration = false
        case .informationRequest:
            if client.hasAssociations { return nil }
        default:
            return nil
        }
        return answer
    }

    private enum Server { case absent, us, other }

    private func isOurs(_ identifier: DHCPv6Option, _ frame: borrowing RawSpan) -> Bool {
        guard identifier.length == 10, frame.uint32(at: identifier.offset) == 0x0003_0001 else { return false }
        return MACAddress(frame, at: identifier.offset + 4) == firstMAC
    }

    /// Whether all addresses in the request's associations are the one that we give; nil if there are none at all.
    private func onlyNamesOurs(_ options: Range<Int>, _ frame: borrowing RawSpan, _ offer: DHCPv6Offer) -> Bool? {
        var result: Bool?
        var position = options.lowerBound
        while let option = DHCPv6Option(frame, at: position, end: options.upperBound) {
            position = option.next
            guard let header = DHCPv6Service.headerLength(option.code), option.length >= header else { continue }
            var inner = option.offset + header
            while let address = DHCPv6Option(frame, at: inner, end: option.next) {
                inner = address.next
                guard address.code == DHCPv6Option.address, address.length >= 24 else { continue }
                let isOurs = IPv6Address(frame, at: address.offset) == offer.address
                result = (result ?? true) && isOurs
            }
        }
        return result
    }

    private func write(
        _ answer: Answer, _ request: DHCPv6Message, _ client: DHCPv6ClientOptions, _ options: Range<Int>,
        _ frame: borrowing RawSpan, _ offer: DHCPv6Offer, _ writer: inout AnswerWriter, _ reply: inout MutableRawSpan
    ) {
        if let status = answer.status { DHCPv6Service.put(status, &writer, &reply) }
        if answer.isRapid, let at = writer.take(4) {
            DHCPv6Option.writeHeader(DHCPv6Option.rapidCommit, length: 0, to: &reply, at: at)
        }
        if answer.message.kind == .advertise, let at = writer.take(5) {
            // The highest: no need to wait for offers of other servers.
            DHCPv6Option.writeHeader(DHCPv6Option.preference, length: 1, to: &reply, at: at)
            reply.store(UInt8(255), at: at + 4)
        }
        if answer.hasAssociations {
            DHCPv6Service.putAssociations(
                options, frame, offer.address, endsOthers: answer.endsOthers, &writer, &reply)
        }
        guard answer.hasConfiguration else { return }
        writer.put(offer.resolvers, &reply)
        putFQDN(client, offer, &writer, &reply)
        offer.search.putDHCPv6(&writer, &reply)
    }

    private func putFQDN(
        _ client: DHCPv6ClientOptions, _ offer: DHCPv6Offer, _ writer: inout AnswerWriter, _ reply: inout MutableRawSpan
    ) {
        guard !offer.fqdn.isEmpty, client.fqdnFlags != nil || client.asksForFQDN else { return }
        let at = writer.position
        guard writer.put(offer.fqdn, &reply) else { return }
        // N: we update no DNS server; O: although the client wanted that (RFC 4704, section 6).
        let wantsUpdate = (client.fqdnFlags ?? 0) & 0x01 != 0
        reply.store(UInt8(wantsUpdate ? 0x06 : 0x04), at: at + 4)
    }
}
