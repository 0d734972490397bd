// Wire: bytes to values and values to bytes. Nothing here keeps state, reads a clock or calls the
// system, and every format is one file:
//
//     Ethernet > ARP | IPv4, IPv6 > TCP | UDP > DHCP, DHCPv6 | ICMP, ICMPv6, NDP
//
// A format is a small value with `init?(_ bytes: borrowing RawSpan, at: ...)`, which checks every
// length once and returns nil for what does not parse, and `write(to:at:)`, which emits it. Multi-byte
// numbers are in network byte order on the wire and in the machine's order in values. Behind a
// successful parse no accessor can trap; an offset that a caller made up can, and that is a bug.
//
// This file is the only one here that names unsafe operations: the loads are bounds-checked by the
// standard library, but their type has no safe spelling before Swift 6.4 (SE-0525).

extension RawSpan {
    /// The byte at `offset`.
    @inlinable @_noAllocation @_noLocks
    public func uint8(at offset: Int) -> UInt8 {
        // SAFETY: bounds-checked by the standard library; every bit pattern is a valid integer.
        unsafe unsafeLoadUnaligned(fromByteOffset: offset, as: UInt8.self)
    }

    /// Two bytes in network order.
    @inlinable @_noAllocation @_noLocks
    public func uint16(at offset: Int) -> UInt16 {
        // SAFETY: as in `uint8(at:)`.
        UInt16(bigEndian: unsafe unsafeLoadUnaligned(fromByteOffset: offset, as: UInt16.self))
    }

    /// Four bytes in network order.
    @inlinable @_noAllocation @_noLocks
    public func uint32(at offset: Int) -> UInt32 {
        // SAFETY: as in `uint8(at:)`.
        UInt32(bigEndian: unsafe unsafeLoadUnaligned(fromByteOffset: offset, as: UInt32.self))
    }

    /// Eight bytes in network order.
    @inlinable @_noAllocation @_noLocks
    public func uint64(at offset: Int) -> UInt64 {
        // SAFETY: as in `uint8(at:)`.
        UInt64(bigEndian: unsafe unsafeLoadUnaligned(fromByteOffset: offset, as: UInt64.self))
    }

    /// Two bytes in the machine's order, for headers shared with the kernel (virtio, netlink).
    @inlinable @_noAllocation @_noLocks
    public func nativeUInt16(at offset: Int) -> UInt16 {
        // SAFETY: as in `uint8(at:)`.
        unsafe unsafeLoadUnaligned(fromByteOffset: offset, as: UInt16.self)
    }

    /// Four bytes in the machine's order.
    @inlinable @_noAllocation @_noLocks
    public func nativeUInt32(at offset: Int) -> UInt32 {
        // SAFETY: as in `uint8(at:)`.
        unsafe unsafeLoadUnaligned(fromByteOffset: offset, as: UInt32.self)
    }

    /// Eight bytes in the machine's order.
    @inlinable @_noAllocation @_noLocks
    public func nativeUInt64(at offset: Int) -> UInt64 {
        // SAFETY: as in `uint8(at:)`.
        unsafe unsafeLoadUnaligned(fromByteOffset: offset, as: UInt64.self)
    }

    /// 64 bytes in the machine's order, eight in each lane.
    @inlinable @_noAllocation @_noLocks
    public func nativeVector(at offset: Int) -> SIMD8<UInt64> {
        // SAFETY: as in `uint8(at:)`.
        unsafe unsafeLoadUnaligned(fromByteOffset: offset, as: SIMD8<UInt64>.self)
    }

    /// Whether `count` bytes can be read at `offset`, whatever the two numbers are.
    @inlinable @_noAllocation @_noLocks
    public func has(_ count: Int, at offset: Int) -> Bool {
        let size = byteCount  // Read before: the closures behind && must not capture a span.
        return offset >= 0 && count >= 0 && offset <= size && size - offset >= count
    }
}

extension MutableRawSpan {
    // Reading back what was written. `bytes` would do the same, but ending a span's lifetime defeats
    // `@_noAllocation`.

    @inlinable @_noAllocation @_noLocks
    public func uint8(at offset: Int) -> UInt8 {
        // SAFETY: as in `RawSpan.uint8(at:)`.
        unsafe unsafeLoadUnaligned(fromByteOffset: offset, as: UInt8.self)
    }

    /// Two bytes in network order.
    @inlinable @_noAllocation @_noLocks
    public func uint16(at offset: Int) -> UInt16 {
        // SAFETY: as in `RawSpan.uint8(at:)`.
        UInt16(bigEndian: unsafe unsafeLoadUnaligned(fromByteOffset: offset, as: UInt16.self))
    }

    /// Four bytes in network order.
    @inlinable @_noAllocation @_noLocks
    public func uint32(at offset: Int) -> UInt32 {
        // SAFETY: as in `RawSpan.uint8(at:)`.
        UInt32(bigEndian: unsafe unsafeLoadUnaligned(fromByteOffset: offset, as: UInt32.self))
    }

    /// The folded, not complemented sum of `count` bytes at `offset` (`Checksum`). Precondition: they lie inside.
    @inlinable @_noAllocation @_noLocks
    public func checksumSum(at offset: Int, count: Int) -> UInt16 {
        // SAFETY: the span lives inside the closure only, and its loads are bounds-checked.
        unsafe withUnsafeBytes { unsafe Checksum.sum($0.bytes, at: offset, count: count) }
    }

    @inlinable @_noAllocation @_noLocks
    public mutating func store(_ value: UInt8, at offset: Int) {
        storeBytes(of: value, toByteOffset: offset, as: UInt8.self)
    }

    /// Two bytes in network order.
    @inlinable @_noAllocation @_noLocks
    public mutating func store(_ value: UInt16, at offset: Int) {
        storeBytes(of: value.bigEndian, toByteOffset: offset, as: UInt16.self)
    }

    /// Four bytes in network order.
    @inlinable @_noAllocation @_noLocks
    public mutating func store(_ value: UInt32, at offset: Int) {
        storeBytes(of: value.bigEndian, toByteOffset: offset, as: UInt32.self)
    }

    /// Eight bytes in network order.
    @inlinable @_noAllocation @_noLocks
    public mutating func store(_ value: UInt64, at offset: Int) {
        storeBytes(of: value.bigEndian, toByteOffset: offset, as: UInt64.self)
    }

    /// Two bytes in the machine's order.
    @inlinable @_noAllocation @_noLocks
    public mutating func storeNative(_ value: UInt16, at offset: Int) {
        storeBytes(of: value, toByteOffset: offset, as: UInt16.self)
    }

    /// Four bytes in the machine's order.
    @inlinable @_noAllocation @_noLocks
    public mutating func storeNative(_ value: UInt32, at offset: Int) {
        storeBytes(of: value, toByteOffset: offset, as: UInt32.self)
    }

    /// Eight bytes in the machine's order.
    @inlinable @_noAllocation @_noLocks
    public mutating func storeNative(_ value: UInt64, at offset: Int) {
        storeBytes(of: value, toByteOffset: offset, as: UInt64.self)
    }

    /// Whether `count` bytes can be written at `offset`.
    @inlinable @_noAllocation @_noLocks
    public func has(_ count: Int, at offset: Int) -> Bool {
        let size = byteCount  // Read before: the closures behind && must not capture a span.
        return offset >= 0 && count >= 0 && offset <= size && size - offset >= count
    }

    /// Copies all of `source` to `offset`.
    @inlinable @_noAllocation @_noLocks
    public mutating func store(_ source: borrowing RawSpan, at offset: Int) {
        var position = 0
        let count = source.byteCount
        while count - position >= 8 {
            store(source.uint64(at: position), at: offset + position)
            position += 8
        }
        while position < count {
            store(source.uint8(at: position), at: offset + position)
            position += 1
        }
    }
}
