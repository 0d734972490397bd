// The Internet checksum (RFC 1071): the ones' complement sum of 16-bit words. Because that sum does not
// care about the byte order it is made in, eight bytes are added at a time in the machine's order, and
// swapped once at the end.

/// A checksum in the making: add the pieces in the order in which they stand on the wire.
public struct Checksum: Equatable, Sendable, BitwiseCopyable {
    /// Sum of 16-bit words in network order, folded only when it is read.
    @usableFromInline var sum: UInt64
    /// Whether an odd number of bytes was added, so that the next piece begins in the middle of a word.
    @usableFromInline var isOdd = false

    /// Begins with a sum made elsewhere, such as a pseudo-header's.
    @inlinable @_noAllocation @_noLocks
    public init(_ partial: UInt16 = 0) { sum = UInt64(partial) }

    /// The sum so far in 16 bits, not complemented: what a partial checksum field holds.
    @inlinable
    public var partial: UInt16 { @_noAllocation @_noLocks get { Checksum.fold(sum) } }

    /// The checksum as it stands in a header.
    @inlinable
    public var value: UInt16 { @_noAllocation @_noLocks get { ~Checksum.fold(sum) } }

    /// The checksum as it stands in a UDP header, where zero means "none" (RFC 768).
    @inlinable
    public var nonZeroValue: UInt16 {
        @_noAllocation @_noLocks get {
            let value = self.value
            return value == 0 ? 0xffff : value
        }
    }

    @inlinable @_noAllocation @_noLocks
    public mutating func add(_ word: UInt16) { sum &+= UInt64(isOdd ? word.byteSwapped : word) }

    @inlinable @_noAllocation @_noLocks
    public mutating func add(_ address: IPv4Address) {
        let piece = UInt64(address.bits >> 16) &+ UInt64(address.bits & 0xffff)
        add(Checksum.fold(piece))
    }

    @inlinable @_noAllocation @_noLocks
    public mutating func add(_ address: IPv6Address) {
        var piece = address.high >> 32 &+ address.high & 0xffff_ffff
        piece &+= address.low >> 32 &+ address.low & 0xffff_ffff
        add(Checksum.fold(piece))
    }

    /// Adds `count` bytes at `offset`, which need no alignment. Precondition: they lie inside `bytes`.
    @inlinable @_noAllocation @_noLocks
    public mutating func add(_ bytes: borrowing RawSpan, at offset: Int, count: Int) {
        add(Checksum.sum(bytes, at: offset, count: count))
        if count & 1 != 0 { isOdd.toggle() }
    }

    /// The folded, not complemented sum of `count` bytes at `offset`, an odd last one padded with zero. Precondition: they lie inside `bytes`.
    @inlinable @_noAllocation @_noLocks
    public static func sum(_ bytes: borrowing RawSpan, at offset: Int, count: Int) -> UInt16 {
        // Eight lanes of 64 bits, in each the sum of all words and that of their upper halves. The first wraps around, and still their difference
        // is the sum of the lower halves: no carry to handle below 2^32 words.
        var all = SIMD8<UInt64>(), upper = SIMD8<UInt64>()
        let half = SIMD8<UInt64>(repeating: 32)
        var position = offset
        let end = offset &+ count
        while end &- position >= 64 {
            let words = bytes.nativeVector(at: position)
            all &+= words
            upper &+= words &>> half
            position &+= 64
        }
        var odd = upper.wrappedSum()
        var even = all.wrappedSum() &- odd << 32
        while end &- position >= 8 {
            let word = bytes.nativeUInt64(at: position)
            even &+= word & 0xffff_ffff
            odd &+= word >> 32
            position &+= 8
        }
        if end &- position >= 4 {
            even &+= UInt64(bytes.nativeUInt32(at: position))
            position &+= 4
        }
        if end &- position >= 2 {
            even &+= UInt64(bytes.nativeUInt16(at: position))
            position &+= 2
        }
        if end &- position == 1 {
            even &+= UInt64((UInt16(bytes.uint8(at: position)) << 8).bigEndian)
        }
        return UInt16(bigEndian: fold(UInt64(fold(even)) &+ UInt64(fold(odd))))
    }

    @inlinable @_noAllocation @_noLocks
    static func fold(_ sum: UInt64) -> UInt16 {
        var folded = (sum >> 32) &+ (sum & 0xffff_ffff)
        folded = (folded >> 16) &+ (folded & 0xffff)
        folded = (folded >> 16) &+ (folded & 0xffff)
        folded = (folded >> 16) &+ (folded & 0xffff)
        return UInt16(truncatingIfNeeded: folded)
    }
}

extension Checksum {
    /// The sum over source, destination, protocol and upper-layer length (RFC 9293, section 3.1; RFC 768),
    /// not complemented: what virtio-net wants in the checksum field of a frame marked `needsChecksum`.
    @inlinable @_noAllocation @_noLocks
    public static func pseudoHeader(
        _ source: IPv4Address, _ destination: IPv4Address, _ proto: IPProtocol, length: Int
    ) -> UInt16 {
        var sum = UInt64(source.bits) &+ UInt64(destination.bits) &+ UInt64(proto.number)
        sum &+= UInt64(truncatingIfNeeded: length) & 0xffff
        return fold(sum)
    }

    /// The same for IPv6 (RFC 8200, section 8.1).
    @inlinable @_noAllocation @_noLocks
    public static func pseudoHeader(
        _ source: IPv6Address, _ destination: IPv6Address, _ proto: IPProtocol, length: Int
    ) -> UInt16 {
        var checksum = Checksum()
        checksum.add(source)
        checksum.add(destination)
        checksum.sum &+= UInt64(proto.number) &+ UInt64(truncatingIfNeeded: length) & 0xffff_ffff
        return checksum.partial
    }

    /// The pseudo-header sum of whichever family the two addresses have. They must be of one family.
    @inlinable @_noAllocation @_noLocks
    public static func pseudoHeader(
        _ source: IPAddress, _ destination: IPAddress, _ proto: IPProtocol, length: Int
    ) -> UInt16 {
        guard let source4 = source.ipv4, let destination4 = destination.ipv4 else {
            return pseudoHeader(source.ipv6, destination.ipv6, proto, length: length)
        }
        return pseudoHeader(source4, destination4, proto, length: length)
    }

    /// The checksum of `count` bytes whose own checksum field is zero: an IPv4 header, an ICMP message, or,
    /// begun with the pseudo-header's sum, anything above IP.
    @inlinable @_noAllocation @_noLocks
    public static func full(
        _ bytes: borrowing RawSpan, at offset: Int, count: Int, pseudoHeader: UInt16 = 0
    ) -> UInt16 {
        var checksum = Checksum(pseudoHeader)
        checksum.add(bytes, at: offset, count: count)
        return checksum.value
    }

    /// The same over bytes that are being written.
    @inlinable @_noAllocation @_noLocks
    public static func full(
        _ bytes: borrowing MutableRawSpan, at offset: Int, count: Int, pseudoHeader: UInt16 = 0
    ) -> UInt16 {
        var checksum = Checksum(pseudoHeader)
        checksum.add(bytes.checksumSum(at: offset, count: count))
        return checksum.value
    }

    /// Finishes a partial checksum in place: sums everything from `start` up to `end`, the partial sum in the
    /// field included, and stores the result in the field at `start + fieldOffset`. False when the field
    /// lies outside, which guests can cause.
    @inlinable @_noAllocation @_noLocks
    public static func complete(
        in bytes: inout MutableRawSpan, start: Int, fieldOffset: Int, end: Int
    ) -> Bool {
        guard start >= 0, fieldOffset >= 0, end <= bytes.byteCount, start <= end, fieldOffset <= end - start - 2
        else { return false }
        let checksum = Checksum(bytes.checksumSum(at: start, count: end - start))
        // Zero would say "none" in UDP; for the others 0xffff is an equal spelling of it.
        bytes.store(checksum.nonZeroValue, at: start + fieldOffset)
        return true
    }
}
