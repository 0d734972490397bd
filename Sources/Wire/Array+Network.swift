// For what is built once at start and copied into frames later: option blocks of DHCP and router advertisements.

extension [UInt8] {
    /// Two bytes in network order.
    public mutating func append(network value: UInt16) {
        append(UInt8(truncatingIfNeeded: value >> 8))
        append(UInt8(truncatingIfNeeded: value))
    }

    /// Four bytes in network order.
    public mutating func append(network value: UInt32) {
        append(network: UInt16(truncatingIfNeeded: value >> 16))
        append(network: UInt16(truncatingIfNeeded: value))
    }

    /// Sixteen bytes.
    public mutating func append(_ address: IPv6Address) {
        append(network: UInt32(truncatingIfNeeded: address.high >> 32))
        append(network: UInt32(truncatingIfNeeded: address.high))
        append(network: UInt32(truncatingIfNeeded: address.low >> 32))
        append(network: UInt32(truncatingIfNeeded: address.low))
    }

    /// Six bytes.
    public mutating func append(_ address: MACAddress) {
        append(network: UInt16(truncatingIfNeeded: address.bits >> 32))
        append(network: UInt32(truncatingIfNeeded: address.bits))
    }
}

extension MutableRawSpan {
    /// Copies all of `source` to `offset`.
    public mutating func store(_ source: [UInt8], at offset: Int) {
        var position = offset
        for byte in source {
            store(byte, at: position)
            position += 1
        }
    }
}
