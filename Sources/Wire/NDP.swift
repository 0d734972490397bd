// Neighbour discovery (RFC 4861) behind its ICMPv6 header. Hop limits are the IPv6 header's and checked by whoever has it.

/// One option: its length on the wire counts units of eight bytes, here it is in bytes.
public struct NDPOption: Equatable, Sendable, BitwiseCopyable {
    public var kind: UInt8
    /// Where the option begins, its two bytes of kind and length included.
    public var offset: Int
    /// A multiple of eight, at least eight.
    public var length: Int

    @inlinable public static var sourceLinkLayer: UInt8 { 1 }
    @inlinable public static var targetLinkLayer: UInt8 { 2 }
    @inlinable public static var prefixInformation: UInt8 { 3 }
    @inlinable public static var mtu: UInt8 { 5 }
    @inlinable public static var resolvers: UInt8 { 25 }
    @inlinable public static var searchList: UInt8 { 31 }

    /// Nil where the list ends or is broken: with a length of zero or beyond the end.
    @inlinable @_noAllocation @_noLocks
    public init?(_ bytes: borrowing RawSpan, at offset: Int, end: Int) {
        guard end <= bytes.byteCount, offset >= 0, end &- offset >= 8 else { return nil }
        let length = Int(bytes.uint8(at: offset + 1)) &* 8
        guard length > 0, length <= end &- offset else { return nil }
        kind = bytes.uint8(at: offset)
        self.offset = offset
        self.length = length
    }

    /// The first option of a kind that holds a link-layer address. Invalid when any option is broken, for then
    /// the whole message is (RFC 4861, sections 6.1.1 and 7.1.1).
    @inlinable @_noAllocation @_noLocks
    static func linkLayer(_ wanted: UInt8, _ bytes: borrowing RawSpan, at offset: Int, end: Int) -> LinkLayer {
        var found: MACAddress?
        var position = offset
        while position < end {
            guard let option = NDPOption(bytes, at: position, end: end) else {
                return LinkLayer(isValid: false, address: nil)
            }
            if option.kind == wanted, case .none = found { found = MACAddress(bytes, at: position + 2) }
            position += option.length
        }
        return LinkLayer(isValid: true, address: found)
    }

    @usableFromInline struct LinkLayer: BitwiseCopyable {
        @usableFromInline var isValid: Bool
        @usableFromInline var address: MACAddress?
        @inlinable @_noAllocation @_noLocks
        init(isValid: Bool, address: MACAddress?) {
            self.isValid = isValid
            self.address = address
        }
    }
}

/// "Who has this address?" (RFC 4861, section 4.3).
public struct NeighbourSolicitation: Equatable, Sendable, BitwiseCopyable {
    public var target: IPv6Address
    public var sourceLinkLayer: MACAddress?

    @inlinable @_noAllocation @_noLocks
    public init(target: IPv6Address, sourceLinkLayer: MACAddress?) {
        self.target = target
        self.sourceLinkLayer = sourceLinkLayer
    }

    /// The bytes from the ICMPv6 header to the end of the IP payload.
    @inlinable @_noAllocation @_noLocks
    public init?(_ bytes: borrowing RawSpan, at offset: Int, end: Int) {
        guard end <= bytes.byteCount, offset >= 0, end &- offset >= 24 else { return nil }
        guard bytes.uint16(at: offset) == 135 << 8 else { return nil }
        target = IPv6Address(bytes, at: offset + 8)
        let option = NDPOption.linkLayer(1, bytes, at: offset + 24, end: end)
        guard option.isValid, target.high >> 56 != 0xff else { return nil }
        sourceLinkLayer = option.address
    }

    /// Bytes that `write` writes.
    @inlinable public var length: Int {
        if case .some = sourceLinkLayer { 32 } else { 24 }
    }

    /// Without checksum.
    @inlinable @_noAllocation @_noLocks
    public func write(to bytes: inout MutableRawSpan, at offset: Int) {
        bytes.store(UInt32(135 << 24), at: offset)
        bytes.store(UInt32(0), at: offset + 4)
        target.write(to: &bytes, at: offset + 8)
        guard let sourceLinkLayer else { return }
        bytes.store(UInt16(0x0101), at: offset + 24)
        sourceLinkLayer.write(to: &bytes, at: offset + 26)
    }
}

/// "I have it" (RFC 4861, section 4.4).
public struct NeighbourAdvertisement: Equatable, Sendable, BitwiseCopyable {
    public var target: IPv6Address
    public var isRouter: Bool
    /// Answers a question, and not one asked from the unspecified address.
    public var isSolicited: Bool
    /// Replaces what the receiver knew.
    public var overrides: Bool
    public var targetLinkLayer: MACAddress?

    @inlinable @_noAllocation @_noLocks
    public init(
        target: IPv6Address, isRouter: Bool, isSolicited: Bool, overrides: Bool, targetLinkLayer: MACAddress?
    ) {
        self.target = target
        self.isRouter = isRouter
        self.isSolicited = isSolicited
        self.overrides = overrides
        self.targetLinkLayer = targetLinkLayer
    }

    @inlinable @_noAllocation @_noLocks
    public init?(_ bytes: borrowing RawSpan, at offset: Int, end: Int) {
        guard end <= bytes.byteCount, offset >= 0, end &- offset >= 24 else { return nil }
        guard bytes.uint16(at: offset) == 136 << 8 else { return nil }
        let flags = bytes.uint8(at: offset + 4)
        target = IPv6Address(bytes, at: offset + 8)
        isRouter = flags & 0x80 != 0
        isSolicited = flags & 0x40 != 0
        overrides = flags & 0x20 != 0
        let option = NDPOption.linkLayer(2, bytes, at: offset + 24, end: end)
        guard option.isValid, target.high >> 56 != 0xff else { return nil }
        targetLinkLayer = option.address
    }

    /// Bytes that `write` writes.
    @inlinable public var length: Int {
        if case .some = targetLinkLayer { 32 } else { 24 }
    }

    /// Without checksum.
    @inlinable @_noAllocation @_noLocks
    public func write(to bytes: inout MutableRawSpan, at offset: Int) {
        bytes.store(UInt32(136 << 24), at: offset)
        let flags: UInt32 = (isRouter ? 0x8000_0000 : 0) | (isSolicited ? 0x4000_0000 : 0) | (overrides ? 0x2000_0000 : 0)
        bytes.store(flags, at: offset + 4)
        target.write(to: &bytes, at: offset + 8)
        guard let targetLinkLayer else { return }
        bytes.store(UInt16(0x0201), at: offset + 24)
        targetLinkLayer.write(to: &bytes, at: offset + 26)
    }
}
