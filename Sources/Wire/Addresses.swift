// Addresses as plain numbers. An `IPAddress` holds either family in 16 bytes, IPv4 in its mapped form
// (RFC 4291, section 2.5.5.2), so that tables and rules need no case distinction and comparing is two
// integer compares. Text forms are in Addresses+Text.swift. `==` is written out in this module's small
// types because the compiler's own is not inlinable, so that the data path could not use it.

/// A 48-bit Ethernet address in the low bits.
public struct MACAddress: Equatable, Hashable, Sendable, BitwiseCopyable {
    public var bits: UInt64

    @inlinable @_noAllocation @_noLocks
    public init(_ bits: UInt64) { self.bits = bits & 0xffff_ffff_ffff }

    @inlinable @_noAllocation @_noLocks
    public static func == (a: MACAddress, b: MACAddress) -> Bool { a.bits == b.bits }

    @inlinable public static var broadcast: MACAddress { MACAddress(0xffff_ffff_ffff) }
    @inlinable public static var zero: MACAddress { MACAddress(0) }

    /// Set for broadcast as well.
    @inlinable public var isMulticast: Bool { bits & 0x0100_0000_0000 != 0 }

    /// The group address of an IPv6 multicast destination (RFC 2464, section 7).
    @inlinable @_noAllocation @_noLocks
    public static func multicast(_ address: IPv6Address) -> MACAddress {
        MACAddress(0x3333_0000_0000 | (address.low & 0xffff_ffff))
    }

    /// The group address of an IPv4 multicast destination (RFC 1112, section 6.4).
    @inlinable @_noAllocation @_noLocks
    public static func multicast(_ address: IPv4Address) -> MACAddress {
        MACAddress(0x0100_5e00_0000 | UInt64(address.bits & 0x7f_ffff))
    }

    @inlinable @_noAllocation @_noLocks
    public init(_ bytes: borrowing RawSpan, at offset: Int) {
        bits = UInt64(bytes.uint16(at: offset)) << 32 | UInt64(bytes.uint32(at: offset + 2))
    }

    @inlinable @_noAllocation @_noLocks
    public func write(to bytes: inout MutableRawSpan, at offset: Int) {
        bytes.store(UInt16(truncatingIfNeeded: bits >> 32), at: offset)
        bytes.store(UInt32(truncatingIfNeeded: bits), at: offset + 2)
    }
}

/// An IPv4 address as a number: 192.0.2.1 is 0xc0000201.
public struct IPv4Address: Equatable, Hashable, Sendable, BitwiseCopyable {
    public var bits: UInt32

    @inlinable @_noAllocation @_noLocks
    public init(_ bits: UInt32) { self.bits = bits }

    @inlinable @_noAllocation @_noLocks
    public static func == (a: IPv4Address, b: IPv4Address) -> Bool { a.bits == b.bits }

    @inlinable public static var any: IPv4Address { IPv4Address(0) }
    @inlinable public static var broadcast: IPv4Address { IPv4Address(0xffff_ffff) }
    @inlinable public static var loopback: IPv4Address { IPv4Address(0x7f00_0001) }

    @inlinable public var isLoopback: Bool { bits >> 24 == 127 }
    @inlinable public var isMulticast: Bool { bits >> 28 == 0xe }
    @inlinable public var isLinkLocal: Bool { bits >> 16 == 0xa9fe }
    /// 0.0.0.0/8, RFC 1122 section 3.2.1.3: "this network", never a destination.
    @inlinable public var isThisNetwork: Bool { bits >> 24 == 0 }

    /// The mask of a prefix length of 0 to 32.
    @inlinable @_noAllocation @_noLocks
    public static func mask(_ length: Int) -> UInt32 {
        length <= 0 ? 0 : length >= 32 ? .max : ~(.max >> UInt32(length))
    }

    @inlinable @_noAllocation @_noLocks
    public func isIn(_ network: IPv4Address, prefix: Int) -> Bool {
        (bits ^ network.bits) & IPv4Address.mask(prefix) == 0
    }
}

/// An IPv6 address as two numbers in reading order.
public struct IPv6Address: Equatable, Hashable, Sendable, BitwiseCopyable {
    public var high: UInt64
    public var low: UInt64

    @inlinable @_noAllocation @_noLocks
    public init(high: UInt64, low: UInt64) {
        self.high = high
        self.low = low
    }

    @inlinable @_noAllocation @_noLocks
    public static func == (a: IPv6Address, b: IPv6Address) -> Bool { a.high == b.high && a.low == b.low }

    @inlinable public static var any: IPv6Address { IPv6Address(high: 0, low: 0) }
    @inlinable public static var loopback: IPv6Address { IPv6Address(high: 0, low: 1) }
    /// ff02::1
    @inlinable public static var allNodes: IPv6Address { IPv6Address(high: 0xff02 << 48, low: 1) }
    /// ff02::2
    @inlinable public static var allRouters: IPv6Address { IPv6Address(high: 0xff02 << 48, low: 2) }

    @inlinable public var isLoopback: Bool { high == 0 && low == 1 }
    @inlinable public var isAny: Bool { high == 0 && low == 0 }
    @inlinable public var isMulticast: Bool { high >> 56 == 0xff }
    @inlinable public var isLinkLocal: Bool { high >> 54 == 0xfe80 >> 6 }
    /// Multicast of link-local scope or less (RFC 4291, section 2.7).
    @inlinable public var isLinkLocalMulticast: Bool { isMulticast && (high >> 48) & 0xf <= 2 }
    @inlinable public var isIPv4Mapped: Bool { high == 0 && low >> 32 == 0xffff }

    /// ff02::1:ffXX:XXXX (RFC 4291, section 2.7.1).
    @inlinable public var solicitedNode: IPv6Address {
        IPv6Address(high: 0xff02 << 48, low: 0x1_ff00_0000 | (low & 0xff_ffff))
    }

    /// The link-local address that an interface makes from its MAC (RFC 4291, appendix A).
    @inlinable @_noAllocation @_noLocks
    public static func linkLocal(_ mac: MACAddress) -> IPv6Address {
        let upper = (mac.bits >> 24) ^ 0x02_0000
        return IPv6Address(high: 0xfe80 << 48, low: upper << 40 | 0xff_fe00_0000 | (mac.bits & 0xff_ffff))
    }

    @inlinable @_noAllocation @_noLocks
    public func isIn(_ network: IPv6Address, prefix: Int) -> Bool {
        let highMask: UInt64 = prefix <= 0 ? 0 : prefix >= 64 ? .max : ~(.max >> UInt64(prefix))
        let lowMask: UInt64 = prefix <= 64 ? 0 : prefix >= 128 ? .max : ~(.max >> UInt64(prefix - 64))
        return (high ^ network.high) & highMask == 0 && (low ^ network.low) & lowMask == 0
    }

    @inlinable @_noAllocation @_noLocks
    public init(_ bytes: borrowing RawSpan, at offset: Int) {
        high = bytes.uint64(at: offset)
        low = bytes.uint64(at: offset + 8)
    }

    @inlinable @_noAllocation @_noLocks
    public func write(to bytes: inout MutableRawSpan, at offset: Int) {
        bytes.store(high, at: offset)
        bytes.store(low, at: offset + 8)
    }
}

/// An address of either family; IPv4 is held in mapped form, which is the only spelling it has here.
public struct IPAddress: Equatable, Hashable, Sendable, BitwiseCopyable {
    public var high: UInt64
    public var low: UInt64

    @inlinable @_noAllocation @_noLocks
    public init(_ address: IPv4Address) {
        high = 0
        low = 0xffff_0000_0000 | UInt64(address.bits)
    }

    @inlinable @_noAllocation @_noLocks
    public init(_ address: IPv6Address) {
        high = address.high
        low = address.low
    }

    @inlinable @_noAllocation @_noLocks
    public static func == (a: IPAddress, b: IPAddress) -> Bool { a.high == b.high && a.low == b.low }

    @inlinable public var isIPv4: Bool { @_noAllocation @_noLocks get { high == 0 && low >> 32 == 0xffff } }
    @inlinable public var ipv4: IPv4Address? {
        @_noAllocation @_noLocks get { isIPv4 ? IPv4Address(UInt32(truncatingIfNeeded: low)) : nil }
    }
    /// The sixteen bytes as an IPv6 address, mapped for IPv4.
    @inlinable public var ipv6: IPv6Address { @_noAllocation @_noLocks get { IPv6Address(high: high, low: low) } }

    @inlinable public var isLoopback: Bool { isIPv4 ? (low >> 24) & 0xff == 127 : ipv6.isLoopback }
    @inlinable public var isMulticast: Bool { isIPv4 ? (low >> 28) & 0xf == 0xe : ipv6.isMulticast }
    @inlinable public var isLinkLocal: Bool { isIPv4 ? (low >> 16) & 0xffff == 0xa9fe : ipv6.isLinkLocal }
    /// 0.0.0.0 or `::`.
    @inlinable public var isAny: Bool { isIPv4 ? low & 0xffff_ffff == 0 : ipv6.isAny }
}

/// An address and a port.
public struct Endpoint: Equatable, Hashable, Sendable, BitwiseCopyable {
    public var address: IPAddress
    public var port: UInt16

    @inlinable @_noAllocation @_noLocks
    public init(_ address: IPAddress, _ port: UInt16) {
        self.address = address
        self.port = port
    }

    @inlinable @_noAllocation @_noLocks
    public static func == (a: Endpoint, b: Endpoint) -> Bool { a.address == b.address && a.port == b.port }
}
