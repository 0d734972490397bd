internal import Linux
internal import Wire

/// An ICMP error of either family, in numbers: type, code, and bytes 4 to 7 (an MTU, or 0).
struct ICMPError: BitwiseCopyable {
    var type: UInt8
    var code: UInt8
    var rest: UInt32 = 0
}

/// Why nothing can be reached, where ICMP has a word for it.
enum Unreachable {
    case network
    case host
    case port
    case prohibited

    /// nil for errors that say nothing of the kind.
    init?(_ error: Errno) {
        switch error.code {
        case 100, 101: self = .network  // ENETDOWN, ENETUNREACH
        case 110, 112, 113: self = .host  // ETIMEDOUT, EHOSTDOWN, EHOSTUNREACH
        case 1, 13: self = .prohibited  // EPERM, EACCES
        default: return nil
        }
    }

    func error(isIPv4: Bool) -> ICMPError {
        if isIPv4 {
            let code: UInt8 = switch self {
            case .network: ICMPv4Header.Unreachable.network
            case .host: ICMPv4Header.Unreachable.host
            case .port: ICMPv4Header.Unreachable.port
            case .prohibited: ICMPv4Header.Unreachable.prohibited
            }
            return ICMPError(type: ICMPv4Header.Kind.unreachable.number, code: code)
        }
        let code: UInt8 = switch self {
        case .network: ICMPv6Header.Unreachable.noRoute
        case .host: ICMPv6Header.Unreachable.address
        case .port: ICMPv6Header.Unreachable.port
        case .prohibited: ICMPv6Header.Unreachable.prohibited
        }
        return ICMPError(type: ICMPv6Header.Kind.unreachable.number, code: code)
    }
}

/// The start of a packet of the guest that an ICMP error quotes, made from what the flow knows of it.
struct QuotedPacket: BitwiseCopyable {
    var key: FlowKey
    var proto: IPProtocol
    /// Bytes of the packet's L4 header and payload, as its IP header said.
    var length: Int
    /// Bytes 4 to 7 of the L4 header: a TCP sequence number, or UDP length and checksum.
    var word: UInt32
    /// Bytes of the packet behind these that lie in the error's slot already (`SlotLayout.quotedPayload`).
    var payload = 0
}

extension SlotLayout {
    /// From a slot's start to what an ICMP error quotes of a UDP datagram's payload: behind two IP headers, the ICMP header and that of UDP.
    static func quotedPayload(_ guest: IPAddress) -> Int { ip + quoteHeaders(guest) }

    /// The most of it that an error holds: 576 bytes in all (RFC 1812, section 4.3.2.3), or 1280 (RFC 4443, section 2.4 (c)).
    static func mostQuotedPayload(_ guest: IPAddress) -> Int { (guest.isIPv4 ? 576 : 1280) - quoteHeaders(guest) }

    private static func quoteHeaders(_ guest: IPAddress) -> Int { 2 * ipHeaderLength(guest) + 8 + 8 }
}

extension GuestPort where Link: ~Copyable {
    /// Tells the guest that a packet of this flow did not arrive; we are who says so.
    mutating func sendUnreachable(_ problem: Unreachable, to key: FlowKey, proto: IPProtocol, quoting word: UInt32) {
        let quoted = QuotedPacket(key: key, proto: proto, length: 20, word: word)
        sendICMPError(problem.error(isIPv4: key.guest.isIPv4), from: key.remote, quoting: quoted)
    }

    /// Sends an ICMP error about `quoted` that `offender` reports. Eight bytes of L4 are what every receiver must understand (RFC 792, RFC 4443 section 3);
    /// where there is more to quote, it lies in `slot`.
    mutating func sendICMPError(_ error: ICMPError, from offender: IPAddress, quoting quoted: QuotedPacket, in slot: Int? = nil) {
        let key = quoted.key
        guard offender.isIPv4 == key.guest.isIPv4 else { return }
        guard errorLimit.take() else { return counters.add(.icmpErrorsHeldBack) }
        counters.add(.icmpErrorsToGuest)
        let slot = slot ?? reserve()
        let quotedLength = SlotLayout.ipHeaderLength(key.guest) + 8 + quoted.payload
        let proto: IPProtocol = key.guest.isIPv4 ? .icmp : .icmpv6
        let start = writeHeaders(slot: slot, source: offender, destination: key.guest, proto: proto, payloadLength: 8 + quotedLength)
        writeQuote(quoted, at: start + 8)
        var bytes = arena.mutableBytes
        if key.guest.isIPv4 {
            let header = ICMPv4Header(ICMPv4Header.Kind(error.type), code: error.code, rest: error.rest)
            header.writeWithChecksum(to: &bytes, at: start, messageLength: 8 + quotedLength)
        } else {
            let header = ICMPv6Header(ICMPv6Header.Kind(error.type), code: error.code, rest: error.rest)
            header.writeWithChecksum(
                to: &bytes, at: start, messageLength: 8 + quotedLength, source: offender.ipv6, destination: key.guest.ipv6)
        }
        _ = send(slot: slot, end: start + 8 + quotedLength, offload: VirtioNetHeader())
    }

    private mutating func writeQuote(_ quoted: QuotedPacket, at offset: Int) {
        let key = quoted.key
        var bytes = arena.mutableBytes
        var next = offset
        if let source = key.guest.ipv4, let destination = key.remote.ipv4 {
            IPv4Header(source: source, destination: destination, proto: quoted.proto, payloadLength: quoted.length).write(to: &bytes, at: next)
            next += IPv4Header.length
        } else {
            IPv6Header(source: key.guest.ipv6, destination: key.remote.ipv6, nextHeader: quoted.proto, payloadLength: quoted.length)
                .write(to: &bytes, at: next)
            next += IPv6Header.length
        }
        bytes.store(key.guestPort, at: next)
        bytes.store(key.remotePort, at: next + 2)
        bytes.store(quoted.word, at: next + 4)
    }
}
