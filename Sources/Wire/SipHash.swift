/// SipHash-2-4 (Aumasson and Bernstein, 2012) over 64-bit words: a keyed hash that somebody who does not know
/// the key can neither predict nor steer. It places flows in their table and makes initial sequence numbers.
public struct SipHash: Equatable, Sendable, BitwiseCopyable {
    @usableFromInline var v0: UInt64
    @usableFromInline var v1: UInt64
    @usableFromInline var v2: UInt64
    @usableFromInline var v3: UInt64
    @usableFromInline var byteCount: UInt64 = 0

    /// The key's sixteen bytes are read as two little-endian words.
    @inlinable @_noAllocation @_noLocks
    public init(key0: UInt64, key1: UInt64) {
        v0 = key0 ^ 0x736f_6d65_7073_6575
        v1 = key1 ^ 0x646f_7261_6e64_6f6d
        v2 = key0 ^ 0x6c79_6765_6e65_7261
        v3 = key1 ^ 0x7465_6462_7974_6573
    }

    // Inlined by force, so that the state stays in registers from the key to the result.

    /// Adds eight bytes of the message, read as a little-endian word.
    @inlinable @inline(__always) @_noAllocation @_noLocks
    public mutating func combine(_ word: UInt64) {
        v3 ^= word
        round()
        round()
        v0 ^= word
        byteCount &+= 8
    }

    @inlinable @inline(__always) @_noAllocation @_noLocks
    public mutating func combine(_ address: IPAddress) {
        combine(address.high)
        combine(address.low)
    }

    /// The hash of what was combined, followed by `tailCount` (0 to 7) bytes in the low end of `tail`.
    @inlinable @inline(__always) @_noAllocation @_noLocks
    public func finalize(tail: UInt64 = 0, tailCount: Int = 0) -> UInt64 {
        var state = self
        let count = byteCount &+ UInt64(truncatingIfNeeded: tailCount)
        state.combine(count << 56 | tail & 0xff_ffff_ffff_ffff)
        state.v2 ^= 0xff
        state.round()
        state.round()
        state.round()
        state.round()
        return state.v0 ^ state.v1 ^ state.v2 ^ state.v3
    }

    @inlinable @inline(__always) @_noAllocation @_noLocks
    mutating func round() {
        v0 &+= v1
        v1 = v1 &<< 13 | v1 &>> 51
        v1 ^= v0
        v0 = v0 &<< 32 | v0 &>> 32
        v2 &+= v3
        v3 = v3 &<< 16 | v3 &>> 48
        v3 ^= v2
        v0 &+= v3
        v3 = v3 &<< 21 | v3 &>> 43
        v3 ^= v0
        v2 &+= v1
        v1 = v1 &<< 17 | v1 &>> 47
        v1 ^= v2
        v2 = v2 &<< 32 | v2 &>> 32
    }
}
