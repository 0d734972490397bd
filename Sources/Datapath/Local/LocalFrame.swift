import Wire

// Headers around an answer whose payload is already in place, with their checksums. Each function returns the
// length of the whole frame.

enum LocalFrame {
    /// Where payloads begin.
    static var icmpv6: Int { EthernetHeader.length + IPv6Header.length }
    static var udp4: Int { EthernetHeader.length + IPv4Header.length + UDPHeader.length }
    static var udp6: Int { EthernetHeader.length + IPv6Header.length + UDPHeader.length }

    /// Around an ICMPv6 message of `length` bytes at `icmpv6`. The hop limit is what neighbour discovery
    /// insists on (RFC 4861, section 3.1): nobody beyond the link can have sent it.
    static func finishICMPv6(
        _ frame: inout MutableRawSpan, to mac: MACAddress, from sender: MACAddress,
        source: IPv6Address, destination: IPv6Address, length: Int
    ) -> Int {
        EthernetHeader(destination: mac, source: sender, type: .ipv6).write(to: &frame)
        IPv6Header(source: source, destination: destination, nextHeader: .icmpv6, payloadLength: length, hopLimit: 255)
            .write(to: &frame, at: EthernetHeader.length)
        frame.store(UInt16(0), at: icmpv6 + ICMPv6Header.checksumOffset)
        let pseudo = Checksum.pseudoHeader(source, destination, .icmpv6, length: length)
        let checksum = Checksum.full(frame, at: icmpv6, count: length, pseudoHeader: pseudo)
        frame.store(checksum, at: icmpv6 + ICMPv6Header.checksumOffset)
        return icmpv6 + length
    }

    /// Around a UDP payload of `length` bytes at `udp4`.
    static func finishUDP4(
        _ frame: inout MutableRawSpan, to mac: MACAddress, from sender: MACAddress,
        source: IPv4Address, destination: IPv4Address, ports: (source: UInt16, destination: UInt16), length: Int
    ) -> Int {
        EthernetHeader(destination: mac, source: sender, type: .ipv4).write(to: &frame)
        let header = UDPHeader(sourcePort: ports.source, destinationPort: ports.destination, payloadLength: length)
        IPv4Header(source: source, destination: destination, proto: .udp, payloadLength: header.datagramLength)
            .write(to: &frame, at: EthernetHeader.length)
        let start = udp4 - UDPHeader.length
        header.write(to: &frame, at: start)
        let pseudo = Checksum.pseudoHeader(source, destination, .udp, length: header.datagramLength)
        finishUDP(&frame, at: start, pseudo, header.datagramLength)
        return udp4 + length
    }

    /// Around a UDP payload of `length` bytes at `udp6`.
    static func finishUDP6(
        _ frame: inout MutableRawSpan, to mac: MACAddress, from sender: MACAddress,
        source: IPv6Address, destination: IPv6Address, ports: (source: UInt16, destination: UInt16), length: Int
    ) -> Int {
        EthernetHeader(destination: mac, source: sender, type: .ipv6).write(to: &frame)
        let header = UDPHeader(sourcePort: ports.source, destinationPort: ports.destination, payloadLength: length)
        IPv6Header(source: source, destination: destination, nextHeader: .udp, payloadLength: header.datagramLength)
            .write(to: &frame, at: EthernetHeader.length)
        let start = udp6 - UDPHeader.length
        header.write(to: &frame, at: start)
        let pseudo = Checksum.pseudoHeader(source, destination, .udp, length: header.datagramLength)
        finishUDP(&frame, at: start, pseudo, header.datagramLength)
        return udp6 + length
    }

    private static func finishUDP(_ frame: inout MutableRawSpan, at start: Int, _ pseudo: UInt16, _ length: Int) {
        var checksum = Checksum(pseudo)
        checksum.add(frame.checksumSum(at: start, count: length))
        frame.store(checksum.nonZeroValue, at: start + UDPHeader.checksumOffset)
    }
}

/// Appends to an answer up to a limit: what does not fit is left out as a whole.
struct AnswerWriter: BitwiseCopyable {
    var position: Int
    let limit: Int

    /// Whether `count` more bytes fit; they are taken if so, and begin at the returned position.
    mutating func take(_ count: Int) -> Int? {
        guard count <= limit - position else { return nil }
        defer { position += count }
        return position
    }

    @discardableResult
    mutating func put(_ bytes: [UInt8], _ reply: inout MutableRawSpan) -> Bool {
        guard let start = take(bytes.count) else { return false }
        reply.store(bytes, at: start)
        return true
    }

    /// Copies `count` bytes of the question, which are known to be there.
    @discardableResult
    mutating func copy(
        _ frame: borrowing RawSpan, at offset: Int, count: Int, _ reply: inout MutableRawSpan
    ) -> Bool {
        guard let start = take(count) else { return false }
        var index = 0
        while index < count {
            reply.store(frame.uint8(at: offset + index), at: start + index)
            index += 1
        }
        return true
    }
}
