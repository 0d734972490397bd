import Wire

/// Frames of a guest at 192.0.2.2 or 2001:db8::2 to what stands for loopback. L4 checksums are left out, but for packets in parts, where they are looked at.
struct LiveGuest {
    let isIPv4: Bool

    /// With the IPv4 header's checksum.
    static func sealed(_ frame: [UInt8]) -> [UInt8] {
        guard frame.count >= 34, frame[12] == 8, frame[13] == 0 else { return frame }
        var frame = frame
        (frame[24], frame[25]) = (0, 0)
        let sum = ~LocalTest.sum(frame[14..<34])
        (frame[24], frame[25]) = (UInt8(sum >> 8 & 0xff), UInt8(sum & 0xff))
        return frame
    }

    private var icmp: UInt8 { isIPv4 ? 1 : 58 }

    private func packet(_ proto: UInt8, _ payload: [UInt8]) -> [UInt8] {
        isIPv4 ? LiveGuest.sealed(AbuseFrame.ip4(proto, payload, fragment: 0x4000)) : AbuseFrame.ip6(proto, payload)
    }

    /// A SYN has the usual options, anything else `count` bytes of payload.
    func tcp(
        _ source: UInt16, _ destination: UInt16, _ flags: TCPFlags, sequence: UInt32, acknowledgment: UInt32 = 0, _ count: Int = 0
    ) -> [UInt8] {
        let isOpening = flags.contains(.syn)
        // A maximum segment size of 1380, and a window scale of 7.
        let rest: [UInt8] = isOpening ? [2, 4, 5, 0x64, 1, 3, 3, 7] : [UInt8](repeating: 5, count: count)
        var segment = AbuseFrame.tcp(Int(source), Int(destination), flags, sequence: sequence, acknowledgment: acknowledgment, rest)
        if isOpening { segment[12] = 0x70 }
        return packet(6, segment)
    }

    func udp(_ source: UInt16, _ destination: UInt16, _ count: Int) -> [UInt8] {
        packet(17, AbuseFrame.udp(Int(source), Int(destination), [UInt8](repeating: 6, count: count)))
    }

    func ping(_ identifier: Int) -> [UInt8] { packet(icmp, echo(identifier, 0)) }

    /// The guest wants nothing of what has come from `remote` for its `port`.
    func refusal(of remote: UInt16, at port: UInt16) -> [UInt8] {
        let datagram = AbuseFrame.udp(Int(remote), Int(port))
        let quoted = isIPv4
            ? AbuseFrame.ip4(17, datagram, from: AbuseFrame.router, to: AbuseFrame.guest)
            : AbuseFrame.ip6(17, datagram, from: AbuseFrame.router6, to: AbuseFrame.guest6)
        // "Port unreachable", in either family's numbers.
        let kind: [UInt8] = isIPv4 ? [3, 3] : [1, 4]
        return packet(icmp, kind + [UInt8](repeating: 0, count: 6) + Array(quoted[14...]))
    }

    // MARK: In parts

    func datagramInParts(_ source: UInt16, _ destination: UInt16, _ count: Int, number: Int) -> [[UInt8]] {
        inParts(17, summed(17, AbuseFrame.udp(Int(source), Int(destination), [UInt8](repeating: 6, count: count)), at: 6), number)
    }

    func pingInParts(_ identifier: Int, _ count: Int, number: Int) -> [[UInt8]] { inParts(icmp, echo(identifier, count), number) }

    /// The second one comes first.
    private func inParts(_ proto: UInt8, _ message: [UInt8], _ number: Int) -> [[UInt8]] {
        let first = Array(message.prefix(1400)), second = Array(message.dropFirst(1400))
        guard isIPv4 else {
            let identification = AbuseFrame.long(UInt32(truncatingIfNeeded: number))
            return [
                AbuseFrame.ip6(44, [proto, 0] + AbuseFrame.word(1400) + identification + second),
                AbuseFrame.ip6(44, [proto, 0] + AbuseFrame.word(1) + identification + first),
            ]
        }
        var parts = [AbuseFrame.ip4(proto, second, fragment: 1400 / 8), AbuseFrame.ip4(proto, first, fragment: 0x2000)]
        for index in parts.indices {
            parts[index].replaceSubrange(18..<20, with: AbuseFrame.word(number))
            parts[index] = LiveGuest.sealed(parts[index])
        }
        return parts
    }

    private func echo(_ identifier: Int, _ count: Int) -> [UInt8] {
        var message = AbuseFrame.echo(identifier) + [UInt8](repeating: 0x55, count: count)
        if !isIPv4 { message[0] = 128 }
        return summed(icmp, message, at: 2)
    }

    /// With its checksum at `field`. ICMP of IPv4 alone has no pseudo-header.
    private func summed(_ proto: UInt8, _ message: [UInt8], at field: Int) -> [UInt8] {
        let addresses = isIPv4 ? AbuseFrame.guest + AbuseFrame.router : AbuseFrame.guest6 + AbuseFrame.router6
        let pseudo: [UInt8] = proto == 1 ? [] : addresses + [0, proto] + AbuseFrame.word(message.count)
        let all = pseudo + message
        let sum = ~LocalTest.sum(all[...]) & 0xffff
        var message = message
        // 0 says of a datagram that there is none.
        message.replaceSubrange(field..<(field + 2), with: AbuseFrame.word(sum == 0 ? 0xffff : sum))
        return message
    }
}
