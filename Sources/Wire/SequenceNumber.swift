/// A position in a TCP byte stream: 32 bits that wrap (RFC 9293, section 3.4).
///
/// `a < b` means that `a` comes before `b` within half the space, which holds for any two numbers of one
/// window. It is no total order: do not sort by it.
public struct SequenceNumber: Equatable, Hashable, Sendable, BitwiseCopyable {
    public var value: UInt32

    @inlinable @_noAllocation @_noLocks
    public init(_ value: UInt32) { self.value = value }

    @inlinable @_noAllocation @_noLocks
    public static func == (a: SequenceNumber, b: SequenceNumber) -> Bool { a.value == b.value }

    @inlinable @_noAllocation @_noLocks
    public static func < (a: SequenceNumber, b: SequenceNumber) -> Bool { Int32(bitPattern: a.value &- b.value) < 0 }
    @inlinable @_noAllocation @_noLocks
    public static func <= (a: SequenceNumber, b: SequenceNumber) -> Bool { Int32(bitPattern: a.value &- b.value) <= 0 }
    @inlinable @_noAllocation @_noLocks
    public static func > (a: SequenceNumber, b: SequenceNumber) -> Bool { b < a }
    @inlinable @_noAllocation @_noLocks
    public static func >= (a: SequenceNumber, b: SequenceNumber) -> Bool { b <= a }

    /// The position `count` bytes later; `count` may be negative.
    @inlinable @_noAllocation @_noLocks
    public static func + (a: SequenceNumber, count: Int) -> SequenceNumber {
        SequenceNumber(a.value &+ UInt32(truncatingIfNeeded: count))
    }
    @inlinable @_noAllocation @_noLocks
    public static func += (a: inout SequenceNumber, count: Int) { a = a + count }

    /// Bytes from `b` to `a`, negative when `a` comes first.
    @inlinable @_noAllocation @_noLocks
    public static func - (a: SequenceNumber, b: SequenceNumber) -> Int {
        Int(Int32(bitPattern: a.value &- b.value))
    }
}
