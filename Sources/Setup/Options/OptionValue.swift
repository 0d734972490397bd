internal import Linux
internal import Settings
internal import Wire

/// An option as it was met, for messages about it.
struct GivenOption {
    /// With its dashes.
    let name: String
    let value: String

    /// "--mtu 'abc': not a number", always one line of bounded length, whatever the value is made of.
    func refused(_ reason: String) -> SetupError {
        SetupError(.options, "\(name) \(OptionValue.quoted(value)): \(reason)")
    }
}

/// Texts to values. Everything that can be refused without knowing the host is refused here.
enum OptionValue {
    /// In quotes, as `shown`.
    static func quoted(_ text: String) -> String { "'" + shown(text) + "'" }

    /// Cut after 200 characters, with control characters shown as their codes.
    static func shown(_ text: String) -> String {
        var result = ""
        for (index, scalar) in text.unicodeScalars.enumerated() {
            if index == 200 {
                result += "..."
                break
            }
            if scalar.value < 0x20 || (0x7f...0x9f).contains(scalar.value) || (0x2028...0x2029).contains(scalar.value) {
                result += "\\x" + String(scalar.value, radix: 16)
            } else {
                result.unicodeScalars.append(scalar)
            }
        }
        return result
    }

    /// Digits only: no sign, no blanks, no other base.
    static func decimal(_ text: some StringProtocol) -> Int? {
        guard (1...18).contains(text.utf8.count), text.utf8.allSatisfy({ (0x30...0x39).contains($0) }) else { return nil }
        return Int(text)
    }

    static func number(_ given: GivenOption, in range: ClosedRange<Int>) throws(SetupError) -> Int {
        guard let number = decimal(given.value) else { throw given.refused("not a number") }
        guard range.contains(number) else { throw given.refused("not between \(range.lowerBound) and \(range.upperBound)") }
        return number
    }

    static func filled(_ given: GivenOption) throws(SetupError) -> String {
        if given.value.isEmpty { throw given.refused("a path is needed") }
        return given.value
    }

    /// Of a UNIX socket.
    static func socketPath(_ given: GivenOption) throws(SetupError) -> String {
        try checkSocket(given.value, given)
        return given.value
    }

    /// The same, with what may stand before the path of a machine's socket.
    static func machinePath(_ given: GivenOption) throws(SetupError) -> String {
        try checkSocket(MachineSocket.kind(of: given.value).path, given)
        return given.value
    }

    private static func checkSocket(_ path: String, _ given: GivenOption) throws(SetupError) {
        // sun_path has 108 bytes and ends in a zero.
        if path.utf8.count > UnixSocket.longestPath { throw given.refused("a socket's path has \(UnixSocket.longestPath) bytes at most") }
        if path.isEmpty { throw given.refused("a path is needed") }
    }

    /// Either family. A mapped spelling is the IPv4 address that it means.
    static func address(_ given: GivenOption, allowLoopback: Bool = false) throws(SetupError) -> IPAddress {
        try address(given.value, given, allowLoopback: allowLoopback)
    }

    /// `text` is the part of the value that is the address.
    static func address(_ text: String, _ given: GivenOption, allowLoopback: Bool) throws(SetupError) -> IPAddress {
        let address: IPAddress
        if let ipv4 = IPv4Address(text) {
            address = IPAddress(ipv4)
        } else if let ipv6 = IPv6Address(text) {
            address = IPAddress(ipv6)
        } else {
            throw given.refused("not an IPv4 or IPv6 address")
        }
        if let reason = objection(to: address) { throw given.refused(reason) }
        if address.isLoopback && !allowLoopback { throw given.refused("a loopback address cannot be used here") }
        return address
    }

    /// Why no host can have this address, or nil.
    static func objection(to address: IPAddress) -> String? {
        if address.isAny { return "the unspecified address cannot be used here" }
        if address.isMulticast { return "a multicast address cannot be used here" }
        if let ipv4 = address.ipv4 {
            if ipv4 == .broadcast { return "the broadcast address cannot be used here" }
            if ipv4.isThisNetwork { return "0.0.0.0/8 cannot be used here" }
        } else if address.high == 0 && address.low >> 32 == 0 && !address.isLoopback {
            return "an IPv4-compatible IPv6 address cannot be used here"
        }
        return nil
    }

    /// Stores into one of the two families, of which each can be given once.
    static func assign(
        _ given: GivenOption, allowLoopback: Bool = false, _ ipv4: inout IPv4Address?, _ ipv6: inout IPv6Address?
    ) throws(SetupError) {
        let address = try address(given, allowLoopback: allowLoopback)
        if let address4 = address.ipv4 {
            if ipv4 != nil { throw given.refused("a second IPv4 address; only one can be given") }
            ipv4 = address4
        } else {
            if ipv6 != nil { throw given.refused("a second IPv6 address; only one can be given") }
            ipv6 = address.ipv6
        }
    }

    /// As above, where the later one counts and `none` clears both families.
    static func assign(
        _ given: GivenOption, _ ipv4: inout OptionalAddress<IPv4Address>, _ ipv6: inout OptionalAddress<IPv6Address>
    ) throws(SetupError) {
        if given.value == "none" {
            ipv4 = .none
            ipv6 = .none
            return
        }
        let address = try address(given)
        if let address4 = address.ipv4 { ipv4 = .address(address4) } else { ipv6 = .address(address.ipv6) }
    }

    /// Bits of an IPv4 prefix, from their number or from a mask.
    static func prefixLength4(_ given: GivenOption) throws(SetupError) -> Int {
        if let bits = decimal(given.value) {
            guard (1...32).contains(bits) else { throw given.refused("not between 1 and 32") }
            return bits
        }
        guard let mask = IPv4Address(given.value) else { throw given.refused("neither a number of bits nor an IPv4 mask") }
        let length = (~mask.bits).leadingZeroBitCount
        guard length > 0, mask.bits == IPv4Address.mask(length) else { throw given.refused("not a mask of leading ones") }
        return length
    }

    static func mac(_ given: GivenOption) throws(SetupError) -> MACAddress {
        guard let mac = MACAddress(given.value) else { throw given.refused("not a MAC address") }
        if mac.isMulticast { throw given.refused("a multicast MAC address cannot be used here") }
        if mac == .zero { throw given.refused("the zero MAC address cannot be used here") }
        return mac
    }

    /// As the kernel's dev_valid_name() has it: 1 to 15 bytes, not a dot or two, no slash, colon or blank.
    static func interface(_ given: GivenOption) throws(SetupError) -> String {
        guard isInterface(given.value) else {
            throw given.refused("Invalid interface name, which has 1 to 15 bytes without '/', ':' and blanks")
        }
        return given.value
    }

    static func isInterface(_ name: String) -> Bool {
        let isPlain = name.utf8.allSatisfy { $0 > 0x20 && $0 != 0x7f && $0 != UInt8(ascii: "/") && $0 != UInt8(ascii: ":") }
        return (1...15).contains(name.utf8.count) && isPlain && name != "." && name != ".."
    }

    static func hostName(_ given: GivenOption) throws(SetupError) -> String {
        guard let name = DomainName.normalized(given.value) else {
            throw given.refused("not a host name (letters, digits, hyphens and underscores, 63 per label, 253 in all)")
        }
        return name
    }

    /// Only the form: whether the user exists is found out when it is needed.
    static func user(_ given: GivenOption) throws(SetupError) -> String {
        let parts = given.value.split(separator: ":", omittingEmptySubsequences: false)
        guard parts.count <= 2, parts.allSatisfy(isUser) else { throw given.refused("not of the form USER[:GROUP]") }
        return given.value
    }

    /// A number that can be an ID, or a name as passwd(5) files have them.
    private static func isUser(_ text: Substring) -> Bool {
        guard let first = text.utf8.first, text.utf8.count <= 256, first != UInt8(ascii: "-") else { return false }
        if text.utf8.allSatisfy({ (0x30...0x39).contains($0) }) {
            // The largest number means "no change" to the kernel.
            return decimal(text).map { $0 < UInt32.max } ?? false
        }
        return text.utf8.allSatisfy { $0 > 0x20 && $0 != 0x7f && $0 != UInt8(ascii: "/") }
    }
}
