internal import Linux
internal import Wire

/// Protocols that are not carried, such as SCTP, ESP or GRE: there are no sockets for them that do without privileges.
extension Forwarder where Link: ~Copyable, Sockets: ~Copyable {
    /// Says so, that the sender need not wait for its timers: "protocol unreachable" (RFC 1122, section 3.2.2.1), or in IPv6 that the next header is not known (RFC 8200,
    /// section 4; RFC 4443, section 3.4). Nothing is said of what was sent to many, and by nobody.
    mutating func refuseProtocol(_ payload: L4Payload, in frame: Frame) {
        port.counters.add(.droppedProtocol)
        let (start, length) = (frame.offset + payload.offset, payload.end - payload.offset)
        guard length >= 8, payload.proto != .noNextHeader,
            !frame.isForMany(inbound.arena.bytes), !payload.destination.isGroup, !payload.source.isAny
        else { return }
        // Whatever it is that stands where ports would.
        let key = FlowKey(
            guest: payload.source, guestPort: inbound.arena.bytes.uint16(at: start), remote: payload.destination,
            remotePort: inbound.arena.bytes.uint16(at: start + 2))
        let quoted = QuotedPacket(key: key, proto: payload.proto, length: length, word: inbound.arena.bytes.uint32(at: start + 4))
        port.sendICMPError(.unknownProtocol(isIPv4: payload.source.isIPv4), from: payload.destination, quoting: quoted)
    }
}

extension ICMPError {
    /// In IPv6, with where the unknown number stands in what is quoted: in its first header.
    fileprivate static func unknownProtocol(isIPv4: Bool) -> ICMPError {
        if isIPv4 { return ICMPError(type: ICMPv4Header.Kind.unreachable.number, code: ICMPv4Header.Unreachable.proto) }
        return ICMPError(type: ICMPv6Header.Kind.parameterProblem.number, code: 1, rest: 6)
    }
}
