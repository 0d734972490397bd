internal import Linux
internal import Wire

// Packets that are too large for the guest's interface (`GuestMTU`), cut as a router or a sending host would (RFC 791, section 3.2; RFC 8200, section 4.5):
//
//      slot      | room for headers | UDP or ICMP header, payload ...................... |
//      parts     | headers | first bytes |  | headers | next bytes |  | headers | rest |
//
// Parts are copies, behind the slots. Headers have no room between them where they lie, and links use what they were given until they are flushed. The checksum
// in the UDP or ICMP header is complete beforehand: it is that of the whole.

/// What stands behind an IP header, with what that header is to say.
struct WholePacket: BitwiseCopyable {
    var source: IPAddress
    var destination: IPAddress
    var proto: IPProtocol
    var flowLabel: UInt32 = 0
    /// Where it lies, in the arena.
    var start: Int
    var length: Int
}

extension GuestPort where Link: ~Copyable {
    /// Sends `packet` in parts of the size that the guest's interface takes. False when the link has refused one, without which the others are of no use.
    mutating func sendParts(_ packet: WholePacket) -> Bool {
        let isIPv4 = packet.destination.isIPv4
        let headers = SlotLayout.ipHeaderLength(packet.destination) + (isIPv4 ? 0 : IPv6FragmentHeader.length)
        // All but the last are multiples of eight, since positions are told in eights.
        let most = (mtu.packet(isIPv4: isIPv4) - headers) & ~7
        partsIdentification &+= 1
        var position = 0
        while position < packet.length {
            let count = min(most, packet.length - position)
            let slot = reservePart(EthernetHeader.length + headers + count)
            let ip = slot + SlotLayout.ip
            arena.move(from: packet.start + position, to: ip + headers, count: count)
            writeHeaders(of: position..<(position + count), packet, slot: slot)
            guard send(slot: slot, end: ip + headers + count, offload: VirtioNetHeader()) else { return false }
            position += count
        }
        counters.add(.packetsInParts)
        return true
    }

    /// Ethernet and IP headers of the part that these bytes of the packet are.
    private mutating func writeHeaders(of part: Range<Int>, _ packet: WholePacket, slot: Int) {
        let hasMore = part.upperBound < packet.length
        let (mac, gatewayMAC, identification) = (linkAddress(of: packet.destination), gatewayMAC, partsIdentification)
        let ip = slot + SlotLayout.ip
        var bytes = arena.mutableBytes
        guard let source = packet.source.ipv4, let destination = packet.destination.ipv4 else {
            EthernetHeader(destination: mac, source: gatewayMAC, type: .ipv6).write(to: &bytes, at: slot + linkHeadroom)
            IPv6Header(
                source: packet.source.ipv6, destination: packet.destination.ipv6, nextHeader: .fragment,
                payloadLength: IPv6FragmentHeader.length + part.count, flowLabel: packet.flowLabel
            ).write(to: &bytes, at: ip)
            IPv6FragmentHeader(
                nextHeader: packet.proto, fragmentOffset: part.lowerBound, moreFragments: hasMore, identification: identification
            ).write(to: &bytes, at: ip + IPv6Header.length)
            return
        }
        EthernetHeader(destination: mac, source: gatewayMAC, type: .ipv4).write(to: &bytes, at: slot + linkHeadroom)
        var header = IPv4Header(
            source: source, destination: destination, proto: packet.proto, payloadLength: part.count,
            identification: UInt16(truncatingIfNeeded: identification), dontFragment: false)
        header.fragmentOffset = part.lowerBound
        header.moreFragments = hasMore
        header.write(to: &bytes, at: ip)
    }
}
