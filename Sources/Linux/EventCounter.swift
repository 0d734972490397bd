internal import CLinux

/// Counters that wake up who waits for them (eventfd(2)): how a machine and its devices call each other.
extension Descriptor {
    /// A counter of 0, non-blocking. (eventfd)
    public static func eventCounter() throws(Errno) -> Descriptor {
        try Descriptor(Errno.check(linux_eventfd()))
    }

    /// Adds 1; without a descriptor, nobody wants to know. (write)
    public func signal() {
        guard isOpen else { return }
        var one: UInt64 = 1
        // SAFETY: eight bytes are read during the call.
        _ = restarting { unsafe linux_write(number, &one, 8) }
    }
}
