internal import CLinux

/// Readiness of descriptors, each named by a 64-bit tag that its event carries back.
public struct Epoll: Sendable, BitwiseCopyable {
    public let descriptor: Descriptor

    public struct Events: OptionSet, Sendable, BitwiseCopyable {
        public let rawValue: UInt32
        @inlinable public init(rawValue: UInt32) { self.rawValue = rawValue }

        @inlinable public static var input: Events { Events(rawValue: 0x001) }
        /// A stream has urgent data that was not taken yet.
        @inlinable public static var priority: Events { Events(rawValue: 0x002) }
        @inlinable public static var output: Events { Events(rawValue: 0x004) }
        /// An error, or something in the error queue. Always reported.
        @inlinable public static var error: Events { Events(rawValue: 0x008) }
        /// Both directions are closed. Always reported.
        @inlinable public static var hangUp: Events { Events(rawValue: 0x010) }
        /// The peer will send no more.
        @inlinable public static var readHangUp: Events { Events(rawValue: 0x2000) }
        @inlinable public static var oneShot: Events { Events(rawValue: 1 << 30) }
        @inlinable public static var edge: Events { Events(rawValue: 1 << 31) }
    }

    public init() throws(Errno) {
        descriptor = Descriptor(try Errno.check(linux_epoll_create()))
    }

    public func add(_ other: Descriptor, _ events: Events, tag: UInt64) throws(Errno) {
        try control(EPOLL_CTL_ADD, other, events, tag)
    }

    public func modify(_ other: Descriptor, _ events: Events, tag: UInt64) throws(Errno) {
        try control(EPOLL_CTL_MOD, other, events, tag)
    }

    public func remove(_ other: Descriptor) throws(Errno) {
        try control(EPOLL_CTL_DEL, other, [], 0)
    }

    private func control(_ operation: Int32, _ other: Descriptor, _ events: Events, _ tag: UInt64) throws(Errno) {
        var event = unsafe epoll_event(events: events.rawValue, data: epoll_data(u64: tag))
        // SAFETY: the kernel copies the event during the call.
        try Errno.check(unsafe linux_epoll_ctl(descriptor.number, operation, other.number, &event))
    }
}

/// Room for the events of one round.
@safe
public struct EventList: ~Copyable {
    // The kernel packs the event on x86-64 only, so its layout is asked for and not assumed.
    // SAFETY: only sizes are asked for; the type counts as unsafe for the pointer in its union.
    private static var stride: Int { unsafe MemoryLayout<epoll_event>.stride }
    private static var dataOffset: Int { unsafe MemoryLayout<epoll_event>.size - MemoryLayout<UInt64>.size }

    private let events: Mapping
    public let capacity: Int
    public private(set) var count = 0
    /// Set once the kernel has refused epoll_pwait2 (before Linux 5.11): timeouts are then whole milliseconds.
    private var lacksNanoseconds = false

    public init(capacity: Int = 64) throws(Errno) {
        self.capacity = capacity
        events = try Mapping(byteCount: capacity * EventList.stride)
    }

    /// Waits at most `nanoseconds`, without end when negative. A signal ends the wait with no events.
    public mutating func wait(on epoll: Epoll, nanoseconds: Int64) throws(Errno) {
        let limit = Int32(truncatingIfNeeded: capacity)
        let number = epoll.descriptor.number
        // SAFETY: the mapping has room for `capacity` events, which the kernel fills.
        let buffer = unsafe events.base.assumingMemoryBound(to: epoll_event.self)
        var result = -ENOSYS
        if !lacksNanoseconds {
            result = unsafe linux_epoll_pwait2(number, buffer, limit, nanoseconds)
            if result == -ENOSYS || result == -EPERM { lacksNanoseconds = true }
        }
        if lacksNanoseconds {
            let milliseconds = nanoseconds < 0 ? -1 : min((nanoseconds + 999_999) / 1_000_000, 1 << 30)
            result = unsafe linux_epoll_wait(number, buffer, limit, Int32(truncatingIfNeeded: milliseconds))
        }
        count = result == -EINTR ? 0 : Int(try Errno.check(result))
    }

    public mutating func removeAll() { count = 0 }

    public subscript(index: Int) -> (tag: UInt64, events: Epoll.Events) {
        let start = index * EventList.stride
        // SAFETY: bounds-checked loads of plain numbers.
        let mask = unsafe events.bytes.unsafeLoadUnaligned(fromByteOffset: start, as: UInt32.self)
        let tag = unsafe events.bytes.unsafeLoadUnaligned(fromByteOffset: start + EventList.dataOffset, as: UInt64.self)
        return (tag, Epoll.Events(rawValue: mask))
    }
}

extension SystemCall {
    /// The second is for kernels before 5.11.
    public static var readiness: [Permission] { [Permission(.epollPwait2), Permission(.epollWait), Permission(.epollControl)] }
}
