internal import CLinux

/// Clocks, and timers as descriptors.
public enum Timer {
    /// Nanoseconds since an arbitrary moment; never jumps. Not a system call on common machines. (clock_gettime)
    public static var now: Int64 { linux_clock(CLOCK_MONOTONIC) }
    /// Nanoseconds since 1970-01-01 00:00 UTC. (clock_gettime)
    public static var realTime: Int64 { linux_clock(CLOCK_REALTIME) }
    /// What local time is ahead of UTC by, in seconds. Reads files: not for a closed-in process.
    public static var localOffset: Int64 { Int64(linux_local_offset()) }

    /// A non-blocking descriptor that becomes readable every `interval` nanoseconds. (timerfd_create, timerfd_settime)
    public static func repeating(every interval: Int64) throws(Errno) -> Descriptor {
        let descriptor = try Descriptor(Errno.check(linux_timerfd_create()))
        let result = linux_timerfd_set(descriptor.number, interval, interval)
        if result < 0 { descriptor.close() }
        try Errno.check(result)
        return descriptor
    }

    /// How often it fired since the last call; 0: not yet. (read)
    public static func expirations(of descriptor: Descriptor) -> Int {
        var count: UInt64 = 0
        // SAFETY: the eight bytes of the counter are written during the call.
        let result = restarting { unsafe linux_read(descriptor.number, &count, 8) }
        return result == 8 ? Int(truncatingIfNeeded: count) : 0
    }
}
