/// A domain name in the DNS's own form: labels, each behind its length, and an empty one at the end
/// (RFC 1035, section 3.1). Names are never compressed: DHCPv6 and router advertisements forbid it.
public struct DomainName: Equatable, Hashable, Sendable {
    /// At most 255 bytes, the final zero included.
    public let wire: [UInt8]

    /// Labels of 1 to 63 letters, digits, hyphens (not at either end) and underscores, between dots; one dot
    /// at the end is allowed. Nil for anything else, the root included.
    public init?(_ text: some StringProtocol) {
        var bytes = Array(text.utf8)
        if bytes.last == UInt8(ascii: ".") { bytes.removeLast() }
        var wire: [UInt8] = []
        for label in bytes.split(separator: UInt8(ascii: "."), omittingEmptySubsequences: false) {
            guard (1...63).contains(label.count), label.allSatisfy(DomainName.isAllowed) else { return nil }
            guard label.first != UInt8(ascii: "-"), label.last != UInt8(ascii: "-") else { return nil }
            wire.append(UInt8(label.count))
            wire.append(contentsOf: label)
        }
        wire.append(0)
        guard wire.count <= 255 else { return nil }
        self.wire = wire
    }

    private static func isAllowed(_ byte: UInt8) -> Bool {
        switch byte {
        case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"): true
        case UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "-"), UInt8(ascii: "_"): true
        default: false
        }
    }

    /// The names one after another, as DHCPv6 (RFC 3646) and router advertisements (RFC 8106) list them.
    public static func list(_ names: [DomainName]) -> [UInt8] { names.flatMap(\.wire) }

    /// The list as DHCP options of code 119. What does not fit the 255 bytes of one option goes on in the next,
    /// in the middle of a name if need be (RFC 3397, section 2; RFC 3396).
    public static func dhcpSearchOptions(_ names: [DomainName]) -> [UInt8] {
        var rest = list(names)[...]
        var options: [UInt8] = []
        while !rest.isEmpty {
            let part = rest.prefix(255)
            options.append(119)
            options.append(UInt8(part.count))
            options.append(contentsOf: part)
            rest = rest.dropFirst(255)
        }
        return options
    }
}
