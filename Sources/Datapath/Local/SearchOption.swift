import Wire

/// The option that names search domains, encoded once. An answer takes as many whole domains as it has room for, from the first on.
struct SearchOption: Sendable {
    private let bytes: [UInt8]
    /// What the option takes with the first domain alone, with two, and so on.
    private let sizes: [Int]

    /// Of DHCP. Beyond 255 bytes the list goes on in another option of the same code.
    static func dhcp(_ names: [DomainName]) -> SearchOption {
        SearchOption(bytes: DomainName.dhcpSearchOptions(names), sizes: sizes(names) { $0 + 2 * (($0 + 254) / 255) })
    }

    /// Of DHCPv6.
    static func dhcpv6(_ names: [DomainName]) -> SearchOption {
        SearchOption(bytes: DHCPv6Option.wire(DHCPv6Option.searchList, DomainName.list(names)), sizes: sizes(names) { $0 + DHCPv6Option.headerLength })
    }

    private static func sizes(_ names: [DomainName], _ size: (Int) -> Int) -> [Int] {
        var length = 0
        return names.map { name in
            length += name.wire.count
            return size(length)
        }
    }

    func putDHCP(_ writer: inout AnswerWriter, _ reply: inout MutableRawSpan) {
        guard let (start, size) = put(&writer, &reply) else { return }
        // The last of several options may be shorter than it was encoded.
        let last = (size - 1) / 257 * 257
        reply.store(UInt8(truncatingIfNeeded: size - last - 2), at: start + last + 1)
    }

    func putDHCPv6(_ writer: inout AnswerWriter, _ reply: inout MutableRawSpan) {
        guard let (start, size) = put(&writer, &reply) else { return }
        reply.store(UInt16(truncatingIfNeeded: size - DHCPv6Option.headerLength), at: start + 2)
    }

    /// Where the option begins, and its size, which is not what it says of itself yet; nil where not even one domain fits.
    private func put(_ writer: inout AnswerWriter, _ reply: inout MutableRawSpan) -> (start: Int, size: Int)? {
        let room = writer.limit - writer.position
        var size = 0
        for more in sizes {
            if more > room { break }
            size = more
        }
        guard size > 0, let start = writer.take(size) else { return nil }
        var index = 0
        while index < size {
            reply.store(bytes[index], at: start + index)
            index += 1
        }
        return (start, size)
    }
}
