internal import Linux
internal import Wire

/// A question that is answered here; see `LocalServices`.
enum LocalQuestion {
    case arp
    case neighbour
    case router
    case dhcp
    case dhcpv6

    var counter: Counter {
        switch self {
        case .arp: .arpReplies
        case .neighbour: .neighbourAdvertisements
        case .router: .routerAdvertisements
        case .dhcp: .dhcpReplies
        case .dhcpv6: .dhcpv6Replies
        }
    }
}

extension Forwarder where Link: ~Copyable, Sockets: ~Copyable {
    /// What a datagram to our servers of DHCP asks; nil for all others. Those to servers elsewhere are forwarded as any datagram is: a guest that is a router itself
    /// may relay its clients' questions (RFC 1542, section 4; RFC 8415, section 19). `mutating`: see `Forwarder+Limits`.
    mutating func question(to destination: IPAddress, port: UInt16) -> LocalQuestion? {
        switch port {
        case DHCPMessage.serverPort where enabled.dhcp:
            guard let address = destination.ipv4 else { return nil }
            return address == .broadcast || services.dhcpOffer?.serves(address) == true ? .dhcp : nil
        case DHCPv6Message.serverPort where enabled.dhcpv6:
            let address = destination.ipv6
            return address == DHCPv6Message.servers || address == DHCPv6Message.siteServers || address == services.routerLinkLocal ? .dhcpv6 : nil
        default:
            return nil
        }
    }

    /// Answers where there is an answer.
    mutating func answer(_ question: LocalQuestion, _ frame: Frame) {
        port.answer(question, frame, inbound, services)
    }

    /// Tells the guest about its router from time to time, so that what it was told never expires (lesson 49): soon after the
    /// start and three times in short order, then less often (RFC 4861, section 6.2.4).
    mutating func advertiseRouter(now: Int64) {
        guard now >= nextAdvertisement else { return }
        advertisements += 1
        nextAdvertisement = now + (advertisements < 3 ? 16_000 : 300_000)
        if !port.advertise(services) { nextAdvertisement = .max }
    }
}

extension GuestPort where Link: ~Copyable {
    fileprivate mutating func answer(
        _ question: LocalQuestion, _ frame: Frame, _ batch: borrowing FrameBatch, _ services: borrowing LocalServices
    ) {
        let slot = reserve()
        var output = arena.mutableBytes
        let length = services.answer(question, frame, batch.arena.bytes, into: &output, at: slot + linkHeadroom)
        sendAnswer(length, slot, question.counter)
    }

    /// False where there is nothing to advertise.
    fileprivate mutating func advertise(_ services: borrowing LocalServices) -> Bool {
        let slot = reserve()
        var output = arena.mutableBytes
        let length = services.advertisement(into: &output, at: slot + linkHeadroom)
        sendAnswer(length, slot, .routerAdvertisements)
        return length != nil
    }

    private mutating func sendAnswer(_ length: Int?, _ slot: Int, _ counter: Counter) {
        guard let length else { return }
        counters.add(counter)
        _ = send(slot: slot, end: slot + linkHeadroom + length, offload: VirtioNetHeader())
    }
}

extension LocalServices {
    fileprivate func answer(
        _ question: LocalQuestion, _ frame: Frame, _ arena: borrowing RawSpan, into bytes: inout MutableRawSpan, at offset: Int
    ) -> Int? {
        let request = arena.extracting(frame.offset..<(frame.offset + frame.length))
        var reply = bytes._mutatingExtracting(offset..<(offset + LocalServices.maximumReply))
        switch question {
        case .arp: return arp(request, into: &reply)
        case .neighbour: return neighbourSolicitation(request, into: &reply)
        case .router: return routerSolicitation(request, into: &reply)
        case .dhcp: return dhcp(request, into: &reply)
        case .dhcpv6: return dhcpv6(request, into: &reply)
        }
    }

    fileprivate func advertisement(into bytes: inout MutableRawSpan, at offset: Int) -> Int? {
        var reply = bytes._mutatingExtracting(offset..<(offset + LocalServices.maximumReply))
        return routerAdvertisement(into: &reply)
    }
}
