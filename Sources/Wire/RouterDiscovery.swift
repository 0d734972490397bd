/// "Which routers are there?" (RFC 4861, section 4.1).
public struct RouterSolicitation: Equatable, Sendable, BitwiseCopyable {
    public var sourceLinkLayer: MACAddress?

    /// The bytes from the ICMPv6 header to the end of the IP payload.
    @inlinable @_noAllocation @_noLocks
    public init?(_ bytes: borrowing RawSpan, at offset: Int, end: Int) {
        guard end <= bytes.byteCount, offset >= 0, end &- offset >= 8 else { return nil }
        guard bytes.uint16(at: offset) == 133 << 8 else { return nil }
        let option = NDPOption.linkLayer(1, bytes, at: offset + 8, end: end)
        guard option.isValid else { return nil }
        sourceLinkLayer = option.address
    }
}

/// The fixed part of a router's answer (RFC 4861, section 4.2); options follow.
public struct RouterAdvertisement: Equatable, Sendable, BitwiseCopyable {
    /// What hosts shall put into their packets; 0: unspecified.
    public var hopLimit: UInt8
    /// Addresses are to be had by DHCPv6.
    public var isManaged: Bool
    /// Other configuration is to be had by DHCPv6.
    public var hasOtherConfiguration: Bool
    /// Seconds as a default router; 0: none. Up to 65535 since RFC 8319.
    public var lifetime: UInt16

    @inlinable public static var length: Int { 16 }

    public init(hopLimit: UInt8, isManaged: Bool, hasOtherConfiguration: Bool, lifetime: UInt16) {
        self.hopLimit = hopLimit
        self.isManaged = isManaged
        self.hasOtherConfiguration = hasOtherConfiguration
        self.lifetime = lifetime
    }

    public init?(_ bytes: borrowing RawSpan, at offset: Int, end: Int) {
        guard end <= bytes.byteCount, offset >= 0, end &- offset >= RouterAdvertisement.length else { return nil }
        guard bytes.uint16(at: offset) == 134 << 8 else { return nil }
        hopLimit = bytes.uint8(at: offset + 4)
        let flags = bytes.uint8(at: offset + 5)
        isManaged = flags & 0x80 != 0
        hasOtherConfiguration = flags & 0x40 != 0
        lifetime = bytes.uint16(at: offset + 6)
    }

    /// All sixteen bytes, without checksum; the times for reachability are left to the hosts.
    public var wire: [UInt8] {
        var bytes: [UInt8] = [134, 0, 0, 0, hopLimit, (isManaged ? 0x80 : 0) | (hasOtherConfiguration ? 0x40 : 0)]
        bytes.append(network: lifetime)
        bytes.append(contentsOf: repeatElement(0, count: 8))
        return bytes
    }
}

extension NDPOption {
    /// A prefix that is on the link and from which hosts make addresses, for ever (RFC 4861, section 4.6.2).
    public static func prefixInformation(_ prefix: IPv6Address, length: UInt8) -> [UInt8] {
        // On-link and autonomous; valid and preferred lifetimes; reserved.
        var bytes: [UInt8] = [prefixInformation, 4, length, 0xc0]
        bytes.append(network: UInt32.max)
        bytes.append(network: UInt32.max)
        bytes.append(network: UInt32(0))
        let high = length >= 64 ? UInt64.max : ~(UInt64.max >> UInt64(length))
        let low = length >= 128 ? UInt64.max : length <= 64 ? 0 : ~(UInt64.max >> UInt64(length - 64))
        bytes.append(IPv6Address(high: prefix.high & high, low: prefix.low & low))
        return bytes
    }

    /// RFC 4861, section 4.6.1.
    public static func sourceLinkLayer(_ address: MACAddress) -> [UInt8] {
        var bytes: [UInt8] = [sourceLinkLayer, 1]
        bytes.append(address)
        return bytes
    }

    /// RFC 4861, section 4.6.4.
    public static func mtu(_ mtu: UInt32) -> [UInt8] {
        var bytes: [UInt8] = [NDPOption.mtu, 1, 0, 0]
        bytes.append(network: mtu)
        return bytes
    }

    /// Recursive resolvers, for ever (RFC 8106, section 5.1). As many as one option can hold; empty for none.
    public static func resolvers(_ addresses: [IPv6Address]) -> [UInt8] {
        let addresses = addresses.prefix(127)
        guard !addresses.isEmpty else { return [] }
        var bytes: [UInt8] = [resolvers, UInt8(1 + addresses.count * 2), 0, 0]
        bytes.append(network: UInt32.max)
        for address in addresses { bytes.append(address) }
        return bytes
    }

    /// Search domains, for ever (RFC 8106, section 5.2). As many, from the first on, as one option of at most `limit` bytes can hold; empty for none.
    public static func searchList(_ names: [DomainName], limit: Int = 255 * 8) -> [UInt8] {
        let room = (min(limit, 255 * 8) / 8 - 1) * 8
        var list: [UInt8] = []
        for name in names {
            if list.count + name.wire.count > room { break }
            list += name.wire
        }
        guard !list.isEmpty else { return [] }
        let units = (list.count + 7) / 8
        var bytes: [UInt8] = [searchList, UInt8(1 + units), 0, 0]
        bytes.append(network: UInt32.max)
        bytes += list
        bytes.append(contentsOf: repeatElement(0, count: units * 8 - list.count))
        return bytes
    }
}
