import Wire

extension LocalServices {
    /// Answers an ARP request for any address but that of the guest, as soon as it has it. Announcements ask nothing (RFC 5227, section
    /// 2.3), and who probes for an address that he wants (section 2.1.1) hears only about addresses that are
    /// certainly taken. Replies are padded to Ethernet's minimum.
    public func arp(_ frame: borrowing RawSpan, into reply: inout MutableRawSpan) -> Int? {
        guard answersARP, reply.byteCount >= LocalServices.maximumReply,
            let ethernet = EthernetHeader(frame), ethernet.type == .arp, !ethernet.source.isMulticast,
            let question = ARPPacket(frame, at: EthernetHeader.length), question.operation == .request
        else { return nil }
        let target = question.target
        guard target != question.sender, target != guest4 || answersForOffer(to: IPAddress(question.sender)), !question.senderMAC.isMulticast,
            !target.isMulticast, !target.isThisNetwork, target != .broadcast
        else { return nil }
        if question.sender == .any {
            // Either address may be the one that the host knows: something between may send with its own.
            let wanted = IPAddress(target)
            guard isTaken(wanted, for: ethernet.source), isTaken(wanted, for: question.senderMAC) else { return nil }
        }

        let mac = linkLayer(of: IPAddress(target), for: question.senderMAC)
        EthernetHeader(destination: ethernet.source, source: mac, type: .arp).write(to: &reply)
        ARPPacket(
            .reply, senderMAC: mac, sender: target, targetMAC: question.senderMAC, target: question.sender
        ).write(to: &reply, at: EthernetHeader.length)
        var position = EthernetHeader.length + ARPPacket.length
        while position < EthernetHeader.minimumFrame {
            reply.store(UInt8(0), at: position)
            position += 1
        }
        return position
    }
}
