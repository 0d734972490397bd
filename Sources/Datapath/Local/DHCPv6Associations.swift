import Wire

/// The part of an answer that gives or refuses addresses: the identity associations of RFC 8415, section 12.
enum DHCPv6Service {
    /// More of them in one message have no use; the rest is not answered.
    static var maximumAssociations: Int { 8 }

    /// Bytes in front of an association's own options; nil for options that are none with addresses.
    static func headerLength(_ code: UInt16) -> Int? {
        switch code {
        case DHCPv6Option.addresses: 12
        case DHCPv6Option.temporaryAddresses: 4
        default: nil
        }
    }

    static func put(_ status: DHCPv6Status, _ writer: inout AnswerWriter, _ reply: inout MutableRawSpan) {
        guard let at = writer.take(6) else { return }
        DHCPv6Option.writeHeader(DHCPv6Option.status, length: 2, to: &reply, at: at)
        reply.store(status.number, at: at + 4)
    }

    /// Answers the associations among `options`: the first one for ordinary addresses gets `address`, others
    /// of its kind, temporary addresses and prefixes get a refusal.
    static func putAssociations(
        _ options: Range<Int>, _ frame: borrowing RawSpan, _ address: IPv6Address, endsOthers: Bool,
        _ writer: inout AnswerWriter, _ reply: inout MutableRawSpan
    ) {
        var isGiven = false
        var count = 0
        var position = options.lowerBound
        while count < maximumAssociations, let option = DHCPv6Option(frame, at: position, end: options.upperBound) {
            position = option.next
            switch option.code {
            case DHCPv6Option.addresses where option.length >= 12 && !isGiven:
                isGiven = true
                give(option, frame, address, endsOthers: endsOthers, &writer, &reply)
            case DHCPv6Option.addresses where option.length >= 12:
                refuse(option, frame, header: 12, .noAddresses, &writer, &reply)
            case DHCPv6Option.temporaryAddresses where option.length >= 4:
                refuse(option, frame, header: 4, .noAddresses, &writer, &reply)
            case DHCPv6Option.prefixes where option.length >= 12:
                refuse(option, frame, header: 12, .noPrefixes, &writer, &reply)
            default:
                continue
            }
            count += 1
        }
    }

    /// The association with our address and infinite times, and, where asked for, others that it names with
    /// lifetimes of zero, which ends them.
    private static func give(
        _ option: DHCPv6Option, _ frame: borrowing RawSpan, _ address: IPv6Address, endsOthers: Bool,
        _ writer: inout AnswerWriter, _ reply: inout MutableRawSpan
    ) {
        guard let at = writer.take(16 + 28) else { return }
        reply.store(frame.uint32(at: option.offset), at: at + 4)
        reply.store(UInt64.max, at: at + 8)  // T1, T2: never renew.
        put(address, lifetime: .max, &reply, at: at + 16)
        var inner = option.offset + 12
        var others = 0
        while endsOthers, others < 4, let entry = DHCPv6Option(frame, at: inner, end: option.next) {
            inner = entry.next
            guard entry.code == DHCPv6Option.address, entry.length >= 24 else { continue }
            let other = IPv6Address(frame, at: entry.offset)
            guard other != address, let start = writer.take(28) else { continue }
            put(other, lifetime: 0, &reply, at: start)
            others += 1
        }
        DHCPv6Option.writeHeader(option.code, length: writer.position - at - 4, to: &reply, at: at)
    }

    private static func put(_ address: IPv6Address, lifetime: UInt32, _ reply: inout MutableRawSpan, at offset: Int) {
        DHCPv6Option.writeHeader(DHCPv6Option.address, length: 24, to: &reply, at: offset)
        address.write(to: &reply, at: offset + 4)
        reply.store(lifetime, at: offset + 20)
        reply.store(lifetime, at: offset + 24)
    }

    private static func refuse(
        _ option: DHCPv6Option, _ frame: borrowing RawSpan, header: Int, _ status: DHCPv6Status,
        _ writer: inout AnswerWriter, _ reply: inout MutableRawSpan
    ) {
        guard let at = writer.take(4 + header + 6) else { return }
        DHCPv6Option.writeHeader(option.code, length: header + 6, to: &reply, at: at)
        reply.store(frame.uint32(at: option.offset), at: at + 4)
        if header == 12 { reply.store(UInt64(0), at: at + 8) }
        DHCPv6Option.writeHeader(DHCPv6Option.status, length: 2, to: &reply, at: at + 4 + header)
        reply.store(status.number, at: at + 8 + header)
    }
}
