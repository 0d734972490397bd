import Wire

extension LocalServices {
    /// Answers DHCP and BOOTP requests (RFC 2131, RFC 951). There is one address to give, and it is given to
    /// whoever asks, for ever; so nothing has to be remembered.
    public func dhcp(_ frame: borrowing RawSpan, into reply: inout MutableRawSpan) -> Int? {
        guard let offer = dhcpOffer, reply.byteCount >= LocalServices.maximumReply,
            let ethernet = EthernetHeader(frame), ethernet.type == .ipv4,
            let ip = IPv4Header(frame, at: EthernetHeader.length), ip.proto == .udp, !ip.isFragment,
            offer.serves(ip.destination),
            let udp = UDPHeader(frame, at: ip.payloadOffset, end: ip.payload.upperBound),
            udp.destinationPort == DHCPMessage.serverPort,
            let request = DHCPMessage(frame, at: udp.payloadOffset, end: udp.payload.upperBound),
            // No relay agent has any business here.
            !request.isReply, request.relayAddress == .any,
            !request.clientMAC.isMulticast, request.clientMAC != .zero
        else { return nil }
        let client = DHCPClientOptions(frame, at: request.optionsOffset, end: udp.payload.upperBound)
        guard let answer = DHCPAnswer(request, client, offer) else { return nil }

        let length = write(answer, to: request, client, offer, frame, &reply)
        // RFC 2131, section 4.1: to the address that the client has, else to all if it wants that, else to the
        // address that it is about to get, which it does not answer ARP for yet.
        var destination = offer.address
        if answer.isRefusal || request.wantsBroadcast && request.clientAddress == .any {
            destination = .broadcast
        } else if request.clientAddress != .any {
            destination = request.clientAddress
        }
        return LocalFrame.finishUDP4(
            &reply, to: destination == .broadcast ? .broadcast : request.clientMAC, from: gatewayMAC,
            source: offer.server, destination: destination,
            ports: (DHCPMessage.serverPort, DHCPMessage.clientPort), length: length)
    }

    /// Writes the message behind the UDP header and returns its length.
    private func write(
        _ answer: DHCPAnswer, to request: DHCPMessage, _ client: DHCPClientOptions, _ offer: DHCPOffer,
        _ frame: borrowing RawSpan, _ reply: inout MutableRawSpan
    ) -> Int {
        let start = LocalFrame.udp4
        var message = DHCPMessage(replyTo: request, yourAddress: answer.givesAddress ? offer.address : .any)
        if !answer.keepsClientAddress { message.clientAddress = .any }
        message.write(to: &reply, at: start)

        // The client's limit counts the IP and UDP headers; a byte is kept for the end option.
        let size = min(client.maximumSize ?? 576, 1500) - IPv4Header.length - UDPHeader.length
        var writer = AnswerWriter(position: start + DHCPMessage.length, limit: start + size - 1)
        if let kind = answer.kind {
            if let at = writer.take(3) {
                reply.store(DHCPOption.kind, at: at)
                reply.store(UInt8(1), at: at + 1)
                reply.store(kind.number, at: at + 2)
            }
            put(DHCPOption.serverIdentifier, offer.server.bits, &writer, &reply)
            if answer.givesAddress { put(DHCPOption.leaseTime, .max, &writer, &reply) }
            if answer.isRapid, let at = writer.take(2) { reply.store(UInt16(DHCPOption.rapidCommit) << 8, at: at) }
            if let identifier = client.clientIdentifier {
                writer.copy(frame, at: identifier.offset - 2, count: identifier.length + 2, &reply)
            }
        }
        if !answer.isRefusal {
            for option in offer.options { writer.put(option, &reply) }
            putFQDN(client, offer, &writer, &reply)
            writer.put(offer.domain, &reply)
            offer.search.putDHCP(&writer, &reply)
        }
        reply.store(DHCPOption.end, at: writer.position)
        var end = writer.position + 1
        while end < start + DHCPMessage.minimumLength {
            reply.store(UInt8(0), at: end)
            end += 1
        }
        return end - start
    }

    private func put(_ code: UInt8, _ value: UInt32, _ writer: inout AnswerWriter, _ reply: inout MutableRawSpan) {
        guard let at = writer.take(6) else { return }
        reply.store(code, at: at)
        reply.store(UInt8(4), at: at + 1)
        reply.store(value, at: at + 2)
    }

    /// We update no DNS server, and say so (RFC 4702, section 4): N is set, S is not, O tells a client that
    /// wanted S. The name is encoded as the client's was.
    private func putFQDN(
        _ client: DHCPClientOptions, _ offer: DHCPOffer, _ writer: inout AnswerWriter, _ reply: inout MutableRawSpan
    ) {
        guard let fqdn = offer.fqdn, client.fqdnFlags != nil || client.asksForFQDN else { return }
        let flags = client.fqdnFlags ?? 0x04
        let isWire = flags & 0x04 != 0
        let at = writer.position
        guard writer.put(isWire ? fqdn.wire : fqdn.text, &reply) else { return }
        reply.store(UInt8(0x08 | (isWire ? 0x04 : 0) | (flags & 0x01 != 0 ? 0x02 : 0)), at: at + 2)
    }
}

extension DHCPOffer {
    /// Whether a request to `destination` is meant for us, and not for a server somewhere behind us.
    func serves(_ destination: IPv4Address) -> Bool {
        // Prefixes of 31 and 32 bits have no broadcast address (RFC 3021).
        destination == .broadcast || destination == server
            || prefixLength < 31 && destination.bits == address.bits | ~IPv4Address.mask(prefixLength)
    }
}

/// What a request is answered with.
struct DHCPAnswer: Equatable {
    /// Nil in BOOTP.
    var kind: DHCPKind?
    var givesAddress = true
    var keepsClientAddress = false
    var isRapid = false
    var isRefusal: Bool { kind == .refusal }

    /// Nil for what is not answered.
    init?(_ request: DHCPMessage, _ client: DHCPClientOptions, _ offer: DHCPOffer) {
        // Meant for another server.
        if let server = client.serverIdentifier, server != offer.server { return nil }
        guard let question = client.kind else { return }  // BOOTP
        switch question {
        case .discover:
            isRapid = client.wantsRapidCommit  // RFC 4039
            kind = isRapid ? .acknowledgment : .offer
        case .request:
            // Selecting and rebooting name the address in an option, renewing and rebinding in the fixed part.
            let wanted = client.requestedAddress ?? request.clientAddress
            let isOurs = wanted == offer.address || wanted == .any
            kind = isOurs ? .acknowledgment : .refusal
            givesAddress = isOurs
            keepsClientAddress = isOurs
        case .inform:
            kind = .acknowledgment
            givesAddress = false
            keepsClientAddress = true
        default:
            // A release frees nothing, and who declines has no other address to expect.
            return nil
        }
    }
}
