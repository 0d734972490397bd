/// What an Ethernet frame carries (IEEE 802 "EtherType").
public struct EtherType: Equatable, Hashable, Sendable, BitwiseCopyable {
    public var number: UInt16

    @inlinable @_noAllocation @_noLocks
    public init(_ number: UInt16) { self.number = number }

    @inlinable @_noAllocation @_noLocks
    public static func == (a: EtherType, b: EtherType) -> Bool { a.number == b.number }

    @inlinable public static var ipv4: EtherType { EtherType(0x0800) }
    @inlinable public static var arp: EtherType { EtherType(0x0806) }
    @inlinable public static var ipv6: EtherType { EtherType(0x86dd) }
    /// A tag of four bytes, with the type of what follows at its end (IEEE 802.1Q).
    @inlinable public static var tagged: EtherType { EtherType(0x8100) }
}

/// The 14 bytes in front of every frame.
public struct EthernetHeader: Equatable, Sendable, BitwiseCopyable {
    public var destination: MACAddress
    public var source: MACAddress
    public var type: EtherType

    @inlinable public static var length: Int { 14 }
    /// Real Ethernet has no shorter frames (without the check sequence), and some receivers insist on it.
    @inlinable public static var minimumFrame: Int { 60 }

    @inlinable @_noAllocation @_noLocks
    public init(destination: MACAddress, source: MACAddress, type: EtherType) {
        self.destination = destination
        self.source = source
        self.type = type
    }

    @inlinable @_noAllocation @_noLocks
    public init?(_ bytes: borrowing RawSpan, at offset: Int = 0) {
        guard bytes.has(EthernetHeader.length, at: offset) else { return nil }
        destination = MACAddress(bytes, at: offset)
        source = MACAddress(bytes, at: offset + 6)
        type = EtherType(bytes.uint16(at: offset + 12))
    }

    @inlinable @_noAllocation @_noLocks
    public func write(to bytes: inout MutableRawSpan, at offset: Int = 0) {
        destination.write(to: &bytes, at: offset)
        source.write(to: &bytes, at: offset + 6)
        bytes.store(type.number, at: offset + 12)
    }
}
