internal import CLinux

/// Time since some point in the past that never runs backwards, in nanoseconds.
public func monotonicNanoseconds() -> Int64 {
    var now = timespec()
    // SAFETY: the kernel fills the value.
    _ = unsafe clock_gettime(CLOCK_MONOTONIC, &now)
    return Int64(now.tv_sec) &* 1_000_000_000 &+ Int64(now.tv_nsec)
}

/// Nanoseconds since 1970, for capture files and log lines.
public func realtimeNanoseconds() -> Int64 {
    var now = timespec()
    // SAFETY: the kernel fills the value.
    _ = unsafe clock_gettime(CLOCK_REALTIME, &now)
    return Int64(now.tv_sec) &* 1_000_000_000 &+ Int64(now.tv_nsec)
}

/// Two random words from the kernel, for keyed hashes.
public func randomKey() -> (UInt64, UInt64) {
    var key: (UInt64, UInt64) = (0, 0)
    // SAFETY: sixteen bytes go into a value of sixteen bytes; a request this small is never cut short once the kernel's pool is ready.
    unsafe withUnsafeMutableBytes(of: &key) { buffer in
        while unsafe getrandom(buffer.baseAddress, buffer.count, 0) != buffer.count {}
    }
    return key
}

extension SystemCall {
    /// Mostly answered without the kernel, but not on every machine.
    public static var clock: [Permission] { [Permission(.clockGettime), Permission(.schedYield)] }
}

/// Lets whoever waits for this processor have it first.
public func yieldProcessor() { _ = linux_sched_yield() }
