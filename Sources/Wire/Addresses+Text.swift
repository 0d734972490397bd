// Text forms of addresses: strict when reading, canonical when writing. Nothing here is for the data path.

extension IPv4Address: CustomStringConvertible {
    /// Four decimal numbers of 0 to 255 without leading zeros, and nothing else.
    public init?(_ text: some StringProtocol) {
        var bits: UInt32 = 0
        var parts = 0
        var value: UInt32 = 0
        var digits = 0
        for byte in text.utf8 {
            if byte == UInt8(ascii: ".") {
                guard digits > 0, parts < 3 else { return nil }
                bits = bits << 8 | value
                parts += 1
                value = 0
                digits = 0
            } else {
                guard byte >= UInt8(ascii: "0"), byte <= UInt8(ascii: "9") else { return nil }
                if digits > 0 && value == 0 { return nil }
                value = value * 10 + UInt32(byte - UInt8(ascii: "0"))
                digits += 1
                if value > 255 { return nil }
            }
        }
        guard parts == 3, digits > 0 else { return nil }
        self.init(bits << 8 | value)
    }

    /// `192.0.2.1`.
    public var description: String {
        "\(bits >> 24).\(bits >> 16 & 0xff).\(bits >> 8 & 0xff).\(bits & 0xff)"
    }
}

extension IPv6Address: CustomStringConvertible {
    /// The forms of RFC 4291, section 2.2: groups of one to four digits, one `::` for at least one group of
    /// zeros, the last two groups in IPv4's form if wanted. No scope, no brackets, no prefix length.
    public init?(_ text: some StringProtocol) {
        let colon = UInt8(ascii: ":")
        let bytes = Array(text.utf8)
        guard bytes.count >= 2, bytes.count <= 45 else { return nil }
        var groups: [UInt16] = []
        var gap: Int?
        var position = 0
        if bytes[0] == colon {
            guard bytes[1] == colon else { return nil }
            gap = 0
            position = 2
        }
        while position < bytes.count {
            let rest = bytes[position...]
            let end = rest.firstIndex(of: colon) ?? bytes.count
            if rest.contains(UInt8(ascii: ".")) && end == bytes.count {
                guard let tail = IPv4Address(String(decoding: rest, as: UTF8.self)) else { return nil }
                groups += [UInt16(tail.bits >> 16), UInt16(tail.bits & 0xffff)]
                break
            }
            guard let group = IPv6Address.group(bytes[position..<end]) else { return nil }
            groups.append(group)
            if end == bytes.count { break }
            position = end + 1
            // A colon ends the text only as part of "::".
            guard position < bytes.count else { return nil }
            if bytes[position] == colon {
                guard gap == nil else { return nil }
                gap = groups.count
                position += 1
            }
        }
        if let gap {
            guard groups.count < 8 else { return nil }
            groups.insert(contentsOf: repeatElement(0, count: 8 - groups.count), at: gap)
        }
        guard groups.count == 8 else { return nil }
        self.init(
            high: groups[..<4].reduce(0) { $0 << 16 | UInt64($1) },
            low: groups[4...].reduce(0) { $0 << 16 | UInt64($1) })
    }

    private static func group(_ digits: ArraySlice<UInt8>) -> UInt16? {
        guard !digits.isEmpty, digits.count <= 4 else { return nil }
        var value: UInt16 = 0
        for digit in digits {
            guard let number = hexadecimal(digit) else { return nil }
            value = value << 4 | UInt16(number)
        }
        return value
    }

    /// The canonical form of RFC 5952; mapped IPv4 addresses keep their IPv4 tail.
    public var description: String {
        if isIPv4Mapped { return "::ffff:\(IPv4Address(UInt32(truncatingIfNeeded: low)))" }
        let groups = (0..<8).map { (index: Int) -> UInt16 in
            let half = index < 4 ? high : low
            return UInt16(truncatingIfNeeded: half >> (48 - index % 4 * 16))
        }
        // The first longest run of at least two zero groups becomes "::".
        var best = 0..<0
        var start = 0
        while start < 8 {
            var end = start
            while end < 8 && groups[end] == 0 { end += 1 }
            if end - start >= 2 && end - start > best.count { best = start..<end }
            start = max(end, start + 1)
        }
        let text = { (range: Range<Int>) in
            groups[range].map { String($0, radix: 16) }.joined(separator: ":")
        }
        if best.isEmpty { return text(0..<8) }
        return text(0..<best.lowerBound) + "::" + text(best.upperBound..<8)
    }
}

extension IPAddress: CustomStringConvertible {
    /// Either family's form.
    public init?(_ text: some StringProtocol) {
        if let address = IPv4Address(text) {
            self.init(address)
        } else if let address = IPv6Address(text) {
            self.init(address)
        } else {
            return nil
        }
    }

    public var description: String { ipv4?.description ?? ipv6.description }
}

extension Endpoint: CustomStringConvertible {
    /// `192.0.2.1:80` or `[2001:db8::1]:80`.
    public var description: String {
        address.isIPv4 ? "\(address):\(port)" : "[\(address)]:\(port)"
    }
}

extension MACAddress: CustomStringConvertible {
    /// Six groups of two hexadecimal digits between colons.
    public init?(_ text: some StringProtocol) {
        let bytes = Array(text.utf8)
        guard bytes.count == 17 else { return nil }
        var bits: UInt64 = 0
        for (position, byte) in bytes.enumerated() {
            if position % 3 == 2 {
                guard byte == UInt8(ascii: ":") else { return nil }
            } else {
                guard let digit = hexadecimal(byte) else { return nil }
                bits = bits << 4 | UInt64(digit)
            }
        }
        self.init(bits)
    }

    /// `9a:55:9a:55:9a:55`.
    public var description: String {
        (0..<6).map { index in
            let byte = bits >> UInt64(40 - index * 8) & 0xff
            return (byte < 16 ? "0" : "") + String(byte, radix: 16)
        }.joined(separator: ":")
    }
}

/// The value of an ASCII hexadecimal digit.
private func hexadecimal(_ byte: UInt8) -> UInt8? {
    switch byte {
    case UInt8(ascii: "0")...UInt8(ascii: "9"): byte - UInt8(ascii: "0")
    case UInt8(ascii: "a")...UInt8(ascii: "f"): byte - UInt8(ascii: "a") + 10
    case UInt8(ascii: "A")...UInt8(ascii: "F"): byte - UInt8(ascii: "A") + 10
    default: nil
    }
}
