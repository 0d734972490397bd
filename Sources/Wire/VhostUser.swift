/// Messages by which a virtual machine's monitor (the front-end) hands a device's memory and rings to another process (the back-end): the header, and the
/// bodies that a network device has. Numbers are in the machine's order. QEMU's docs/interop/vhost-user.rst describes the protocol.
///
///     | request, 4 | flags, 4 | size, 4 | body, size bytes |   and descriptors beside it
public struct VhostUserHeader: Equatable, Sendable, BitwiseCopyable {
    public static var length: Int { 12 }
    /// A table of eight regions has 264. More is no message.
    public static var longestBody: Int { 512 }

    public var request: UInt32
    public var flags: UInt32
    public var size: UInt32

    private static var version: UInt32 { 1 }
    private static var versionMask: UInt32 { 3 }
    private static var reply: UInt32 { 1 << 2 }
    private static var needsReply: UInt32 { 1 << 3 }

    /// The header of an answer.
    public init(replyTo request: UInt32, size: Int) {
        self.request = request
        flags = VhostUserHeader.version | VhostUserHeader.reply
        self.size = UInt32(truncatingIfNeeded: size)
    }

    /// Nil where there is too little, for another version, and for a body that is too long.
    public init?(_ bytes: borrowing RawSpan, at offset: Int = 0) {
        guard bytes.has(VhostUserHeader.length, at: offset) else { return nil }
        request = bytes.nativeUInt32(at: offset)
        flags = bytes.nativeUInt32(at: offset + 4)
        size = bytes.nativeUInt32(at: offset + 8)
        guard flags & VhostUserHeader.versionMask == VhostUserHeader.version, size <= VhostUserHeader.longestBody else { return nil }
    }

    public var needsReply: Bool { flags & VhostUserHeader.needsReply != 0 }

    public func write(to bytes: inout MutableRawSpan, at offset: Int = 0) {
        bytes.storeNative(request, at: offset)
        bytes.storeNative(flags, at: offset + 4)
        bytes.storeNative(size, at: offset + 8)
    }
}

/// What a front-end may ask for.
public enum VhostUserRequest: UInt32, Sendable {
    case getFeatures = 1
    case setFeatures = 2
    case setOwner = 3
    case resetOwner = 4
    case setMemoryTable = 5
    case setLogBase = 6
    case setLogDescriptor = 7
    case setRingSize = 8
    case setRingAddress = 9
    case setRingBase = 10
    case getRingBase = 11
    case setRingKick = 12
    case setRingCall = 13
    case setRingError = 14
    case getProtocolFeatures = 15
    case setProtocolFeatures = 16
    case getQueueCount = 17
    case setRingEnable = 18
    case sendRARP = 19
    case setBackendRequestDescriptor = 21
    case setDeviceStateDescriptor = 42
    case checkDeviceState = 43
}

/// One region of SET_MEM_TABLE.
public struct VhostUserRegion: Equatable, Sendable, BitwiseCopyable {
    public static var length: Int { 32 }

    public var guestAddress: UInt64
    public var byteCount: UInt64
    /// In the front-end's own memory, as addresses of rings are.
    public var userAddress: UInt64
    public var fileOffset: UInt64

    public init?(_ bytes: borrowing RawSpan, at offset: Int) {
        guard bytes.has(VhostUserRegion.length, at: offset) else { return nil }
        guestAddress = bytes.nativeUInt64(at: offset)
        byteCount = bytes.nativeUInt64(at: offset + 8)
        userAddress = bytes.nativeUInt64(at: offset + 16)
        fileOffset = bytes.nativeUInt64(at: offset + 24)
    }
}

/// A ring and a number: its size, where it begins, whether it is enabled.
public struct VhostUserRingState: Equatable, Sendable, BitwiseCopyable {
    public static var length: Int { 8 }

    public var ring: UInt32
    public var number: UInt32

    public init(ring: UInt32, number: UInt32) {
        self.ring = ring
        self.number = number
    }

    public init?(_ bytes: borrowing RawSpan, at offset: Int) {
        guard bytes.has(VhostUserRingState.length, at: offset) else { return nil }
        ring = bytes.nativeUInt32(at: offset)
        number = bytes.nativeUInt32(at: offset + 4)
    }

    /// Both as one number, as they stand in an answer.
    public var packed: UInt64 { UInt64(ring) | UInt64(number) << 32 }
}

/// Where the three parts of a ring lie, by addresses of the front-end.
public struct VhostUserRingAddress: Equatable, Sendable, BitwiseCopyable {
    public static var length: Int { 40 }

    public var ring: UInt32
    public var descriptors: UInt64
    public var used: UInt64
    public var available: UInt64

    public init?(_ bytes: borrowing RawSpan, at offset: Int) {
        guard bytes.has(VhostUserRingAddress.length, at: offset) else { return nil }
        ring = bytes.nativeUInt32(at: offset)
        // Flags and the log's address are of no use: whatever is written to is noted, by the guest's own addresses.
        descriptors = bytes.nativeUInt64(at: offset + 8)
        used = bytes.nativeUInt64(at: offset + 16)
        available = bytes.nativeUInt64(at: offset + 24)
    }
}

/// A log of pages that were written to, in the file beside the message.
public struct VhostUserLog: Equatable, Sendable, BitwiseCopyable {
    public static var length: Int { 16 }

    public var byteCount: UInt64
    public var fileOffset: UInt64

    public init?(_ bytes: borrowing RawSpan, at offset: Int) {
        guard bytes.has(VhostUserLog.length, at: offset) else { return nil }
        byteCount = bytes.nativeUInt64(at: offset)
        fileOffset = bytes.nativeUInt64(at: offset + 8)
    }
}

/// The device's state is wanted, or given, through the pipe whose end comes beside the message.
public struct VhostUserTransfer: Equatable, Sendable, BitwiseCopyable {
    public static var length: Int { 8 }
    /// The answer: the pipe is used that came, and none other.
    public static var usesGivenDescriptor: UInt64 { 1 << 8 }

    public var isSaving: Bool

    /// Nil for a direction that is none, and for another phase than that of a machine that stands still.
    public init?(_ bytes: borrowing RawSpan, at offset: Int) {
        guard bytes.has(VhostUserTransfer.length, at: offset) else { return nil }
        let (direction, phase) = (bytes.nativeUInt32(at: offset), bytes.nativeUInt32(at: offset + 4))
        guard direction < 2, phase == 0 else { return nil }
        isSaving = direction == 0
    }
}

/// A ring whose descriptor comes beside the message, or does not.
public struct VhostUserRingDescriptor: Equatable, Sendable, BitwiseCopyable {
    public var ring: UInt32
    /// None comes: the ring is to be polled, or nobody is to be called.
    public var isMissing: Bool

    public init?(_ bytes: borrowing RawSpan, at offset: Int) {
        guard bytes.has(8, at: offset) else { return nil }
        let number = bytes.nativeUInt64(at: offset)
        ring = UInt32(truncatingIfNeeded: number & 0xff)
        isMissing = number & 0x100 != 0
    }
}

/// Features that are agreed upon with the guest's driver (virtio 1.2, sections 5.1.3 and 6), and one of vhost-user's own.
public struct VirtioFeatures: OptionSet, Equatable, Sendable, BitwiseCopyable {
    public let rawValue: UInt64
    @inlinable public init(rawValue: UInt64) { self.rawValue = rawValue }

    /// The driver may leave checksums and segmentation to us.
    @inlinable public static var checksum: VirtioFeatures { VirtioFeatures(rawValue: 1 << 0) }
    @inlinable public static var hostTCP4: VirtioFeatures { VirtioFeatures(rawValue: 1 << 11) }
    @inlinable public static var hostTCP6: VirtioFeatures { VirtioFeatures(rawValue: 1 << 12) }
    @inlinable public static var hostECN: VirtioFeatures { VirtioFeatures(rawValue: 1 << 13) }
    @inlinable public static var hostUDP: VirtioFeatures { VirtioFeatures(rawValue: 1 << 56) }
    /// We may leave them to the driver.
    @inlinable public static var guestChecksum: VirtioFeatures { VirtioFeatures(rawValue: 1 << 1) }
    @inlinable public static var guestTCP4: VirtioFeatures { VirtioFeatures(rawValue: 1 << 7) }
    @inlinable public static var guestTCP6: VirtioFeatures { VirtioFeatures(rawValue: 1 << 8) }
    @inlinable public static var guestECN: VirtioFeatures { VirtioFeatures(rawValue: 1 << 9) }
    @inlinable public static var guestUDP4: VirtioFeatures { VirtioFeatures(rawValue: 1 << 54) }
    @inlinable public static var guestUDP6: VirtioFeatures { VirtioFeatures(rawValue: 1 << 55) }
    /// A frame may lie in several buffers.
    @inlinable public static var mergeableBuffers: VirtioFeatures { VirtioFeatures(rawValue: 1 << 15) }
    /// Of vhost: pages that are written to are noted in a log.
    @inlinable public static var log: VirtioFeatures { VirtioFeatures(rawValue: 1 << 26) }
    /// Headers and frames may be cut into descriptors as one likes; implied by `version1`.
    @inlinable public static var anyLayout: VirtioFeatures { VirtioFeatures(rawValue: 1 << 27) }
    @inlinable public static var indirect: VirtioFeatures { VirtioFeatures(rawValue: 1 << 28) }
    @inlinable public static var eventIndex: VirtioFeatures { VirtioFeatures(rawValue: 1 << 29) }
    @inlinable public static var protocolFeatures: VirtioFeatures { VirtioFeatures(rawValue: 1 << 30) }
    @inlinable public static var version1: VirtioFeatures { VirtioFeatures(rawValue: 1 << 32) }
}

/// Features of the protocol itself.
public struct VhostUserFeatures: OptionSet, Equatable, Sendable, BitwiseCopyable {
    public let rawValue: UInt64
    @inlinable public init(rawValue: UInt64) { self.rawValue = rawValue }

    /// The log is a file.
    @inlinable public static var sharedLog: VhostUserFeatures { VhostUserFeatures(rawValue: 1 << 1) }
    /// After a migration, the guest is to be announced.
    @inlinable public static var announcement: VhostUserFeatures { VhostUserFeatures(rawValue: 1 << 2) }
    /// What the device knows moves with the machine.
    @inlinable public static var deviceState: VhostUserFeatures { VhostUserFeatures(rawValue: 1 << 19) }
    /// Any message may ask to be confirmed.
    @inlinable public static var confirmation: VhostUserFeatures { VhostUserFeatures(rawValue: 1 << 3) }
    /// There is a channel by which the back-end could ask something of the front-end.
    @inlinable public static var backendRequests: VhostUserFeatures { VhostUserFeatures(rawValue: 1 << 5) }
}
