/// What precedes every frame on a tap with `IFF_VNET_HDR` and in a virtio queue: who completes the checksum,
/// and how the frame is to be cut into segments (virtio 1.2, section 5.1.6). Numbers are in the machine's
/// order, as the kernel has them; that is little-endian, as virtio 1.x has them, on all machines served here.
public struct VirtioNetHeader: Equatable, Sendable, BitwiseCopyable {
    public struct Flags: OptionSet, Equatable, Sendable, BitwiseCopyable {
        public var rawValue: UInt8
        @inlinable @_noAllocation @_noLocks
        public init(rawValue: UInt8) { self.rawValue = rawValue }
        /// The checksum field holds a partial sum: sum from `checksumStart` on, store at `checksumOffset` behind it.
        @inlinable public static var needsChecksum: Flags { Flags(rawValue: 1) }
        /// The checksum was found right; nobody needs to look again.
        @inlinable public static var dataValid: Flags { Flags(rawValue: 2) }
    }

    /// How the frame is to be cut, without the ECN bit.
    public struct Segmentation: Equatable, Sendable, BitwiseCopyable {
        public var number: UInt8
        @inlinable @_noAllocation @_noLocks
        public init(_ number: UInt8) { self.number = number }

        @inlinable @_noAllocation @_noLocks
        public static func == (a: Segmentation, b: Segmentation) -> Bool { a.number == b.number }
        @inlinable public static var none: Segmentation { Segmentation(0) }
        @inlinable public static var tcp4: Segmentation { Segmentation(1) }
        /// UDP by IP fragments; long gone from Linux as a producer.
        @inlinable public static var udpFragments: Segmentation { Segmentation(3) }
        @inlinable public static var tcp6: Segmentation { Segmentation(4) }
        /// UDP cut into datagrams of `segmentSize` each, of either family.
        @inlinable public static var udp: Segmentation { Segmentation(5) }
    }

    public var flags: Flags
    public var segmentation: Segmentation
    /// The frame is a TCP super-segment with ECN's CWR set in its first segment only.
    public var isECN: Bool
    /// Bytes of all headers: a hint, not to be trusted.
    public var headerLength: UInt16
    /// Payload bytes per segment.
    public var segmentSize: UInt16
    public var checksumStart: UInt16
    public var checksumOffset: UInt16
    /// Buffers that the frame was spread over; only in the long form, where a receiver insists on at least 1.
    public var bufferCount: UInt16

    /// With `bufferCount`: vhost-user, and taps told so by TUNSETVNETHDRSZ.
    @inlinable public static var length: Int { 12 }
    /// Without it: the tap's default.
    @inlinable public static var shortLength: Int { 10 }

    /// A whole frame whose checksums are complete.
    @inlinable @_noAllocation @_noLocks
    public init() {
        flags = Flags(rawValue: 0)
        segmentation = .none
        isECN = false
        headerLength = 0
        segmentSize = 0
        checksumStart = 0
        checksumOffset = 0
        bufferCount = 1
    }

    /// A frame with a partial checksum of `start` and `offset` from the beginning of the frame.
    @inlinable @_noAllocation @_noLocks
    public init(checksumStart start: Int, checksumOffset offset: Int) {
        self.init()
        flags = .needsChecksum
        checksumStart = UInt16(truncatingIfNeeded: start)
        checksumOffset = UInt16(truncatingIfNeeded: offset)
    }

    /// Nil when the bytes end before it does.
    @inlinable @_noAllocation @_noLocks
    public init?(_ bytes: borrowing RawSpan, at offset: Int = 0, isShort: Bool = false) {
        let length = isShort ? VirtioNetHeader.shortLength : VirtioNetHeader.length
        guard bytes.has(length, at: offset) else { return nil }
        flags = Flags(rawValue: bytes.uint8(at: offset))
        let kind = bytes.uint8(at: offset + 1)
        segmentation = Segmentation(kind & 0x7f)
        isECN = kind & 0x80 != 0
        headerLength = bytes.nativeUInt16(at: offset + 2)
        segmentSize = bytes.nativeUInt16(at: offset + 4)
        checksumStart = bytes.nativeUInt16(at: offset + 6)
        checksumOffset = bytes.nativeUInt16(at: offset + 8)
        bufferCount = isShort ? 1 : bytes.nativeUInt16(at: offset + 10)
    }

    @inlinable @_noAllocation @_noLocks
    public func write(to bytes: inout MutableRawSpan, at offset: Int = 0, isShort: Bool = false) {
        bytes.store(flags.rawValue, at: offset)
        bytes.store(segmentation.number | (isECN ? 0x80 : 0), at: offset + 1)
        bytes.storeNative(headerLength, at: offset + 2)
        bytes.storeNative(segmentSize, at: offset + 4)
        bytes.storeNative(checksumStart, at: offset + 6)
        bytes.storeNative(checksumOffset, at: offset + 8)
        if !isShort { bytes.storeNative(bufferCount, at: offset + 10) }
    }
}
