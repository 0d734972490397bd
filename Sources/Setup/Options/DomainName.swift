/// Names as RFC 1123, section 2.1, and RFC 1035, section 2.3.1, have them.
enum DomainName {
    /// The name without the dot that may end it, or nil for what is none: labels of 1 to 63 letters, digits and inner hyphens,
    /// 253 characters in all. Underscores are taken as well: service names have them, and machines are called so.
    static func normalized(_ text: some StringProtocol) -> String? {
        var name = Substring(text)
        if name.utf8.last == UInt8(ascii: ".") { name = name.dropLast() }
        guard (1...253).contains(name.utf8.count) else { return nil }
        for label in name.utf8.split(separator: UInt8(ascii: "."), omittingEmptySubsequences: false) {
            guard (1...63).contains(label.count),
                label.first != UInt8(ascii: "-"), label.last != UInt8(ascii: "-"),
                label.allSatisfy({ isLetterOrDigit($0) || $0 == UInt8(ascii: "-") || $0 == UInt8(ascii: "_") })
            else { return nil }
        }
        return String(name)
    }

    private static func isLetterOrDigit(_ byte: UInt8) -> Bool {
        switch byte {
        case 0x30...0x39, 0x41...0x5a, 0x61...0x7a: true
        default: false
        }
    }
}
