internal import CLinux

/// A set of signals, as the kernel holds it.
public struct SignalSet: Equatable, Sendable {
    fileprivate var bits: UInt64 = 0

    public init(_ numbers: Int32...) {
        for number in numbers { insert(number) }
    }

    public mutating func insert(_ number: Int32) {
        if number > 0, number <= 64 { bits |= 1 << UInt64(number - 1) }
    }

    public func contains(_ number: Int32) -> Bool {
        number > 0 && number <= 64 && bits & 1 << UInt64(number - 1) != 0
    }
}

public enum Signals {
    /// Holds these signals back in addition to those held back already; returns the mask before. (rt_sigprocmask)
    @discardableResult
    public static func block(_ set: SignalSet) throws(Errno) -> SignalSet { try mask(SIG_BLOCK, set) }

    /// Holds back exactly these signals; returns the mask before. (rt_sigprocmask)
    @discardableResult
    public static func setMask(_ set: SignalSet) throws(Errno) -> SignalSet { try mask(SIG_SETMASK, set) }

    private static func mask(_ how: Int32, _ set: SignalSet) throws(Errno) -> SignalSet {
        var old = SignalSet()
        // SAFETY: the old set is written during the call.
        try Errno.check(unsafe linux_sigprocmask(how, set.bits, &old.bits))
        return old
    }

    /// A non-blocking descriptor that becomes readable when one of these signals, which must be blocked, is pending.
    public static func descriptor(for set: SignalSet) throws(Errno) -> Descriptor {
        try Descriptor(Errno.check(linux_signalfd(set.bits)))
    }

    /// Takes the next signal from such a descriptor, and whether a process has sent it, not the kernel or a terminal; nil when there is none.
    /// Allocates nothing. (read)
    public static func next(from descriptor: Descriptor) -> (number: Int32, isOfProcess: Bool)? {
        let result = restarting { linux_signalfd_next(descriptor.number) }
        return result > 0 ? (result & ~LINUX_SIGNAL_OF_PROCESS, result & LINUX_SIGNAL_OF_PROCESS != 0) : nil
    }

    public static func isIgnored(_ number: Int32) -> Bool { linux_signal_is_ignored(number) != 0 }
    public static func ignore(_ number: Int32) { linux_ignore_signal(number) }
    public static func setDefault(_ number: Int32) { linux_default_signal(number) }
}
