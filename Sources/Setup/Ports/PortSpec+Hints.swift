internal import Wire

/// Other programs write ports in other ways, which many have in their fingers: what such a value is in this grammar.
extension PortSpec {
    /// What to say behind the reason why `text` was refused; nil where it looks like no other grammar.
    static func hint(_ text: String) -> String? {
        if namesProtocol(text) { return "ports have no protocol: -t is TCP, -u is UDP" }
        if let value = withSlash(text), isGood(value) { return "an address stands before a slash: " + OptionValue.shown(value) }
        if namesInterface(text), isGood("%" + text) { return "an interface is written " + OptionValue.shown("%" + text) }
        return nil
    }

    /// `8080/tcp`, `8080:80/udp`, `tcp/8080`.
    private static func namesProtocol(_ text: String) -> Bool {
        ["tcp", "udp"].contains { text.hasSuffix("/" + $0) || text.hasPrefix($0 + "/") }
    }

    /// `127.0.0.1:8080:80` or `[::1]:80` in this grammar; nil for anything else.
    private static func withSlash(_ text: String) -> String? {
        var rest = text[...]
        if text.hasPrefix("[") { rest = text.drop { $0 != "]" } }
        guard let colon = rest.firstIndex(of: ":"), (try? address(text[..<colon])) != nil else { return nil }
        return "\(text[..<colon])/\(text[text.index(after: colon)...])"
    }

    /// `eth0/80`, where a name of an interface stands before the slash, and none of a host.
    private static func namesInterface(_ text: String) -> Bool {
        guard let slash = text.firstIndex(of: "/"), let first = text.utf8.first else { return false }
        let name = text[..<slash]
        let isLetter = (0x41...0x5a).contains(first) || (0x61...0x7a).contains(first)
        return isLetter && !name.utf8.contains(UInt8(ascii: ".")) && !["localhost", "all", "auto", "none"].contains(name)
    }

    private static func isGood(_ text: String) -> Bool {
        var spec = PortSpec()
        return (try? spec.read(whole: text)) != nil
    }
}
