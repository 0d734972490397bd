internal import CLinux

/// Congestion controls of the kernel that are chosen by name here (TCP_CONGESTION, tcp(7)).
public enum CongestionControl: UInt64, Sendable {
    // The letters in their order, as the number that lies in memory like that behind `bigEndian`; the kernel reads up to the zero.
    /// NewReno, which every kernel has and lets anybody choose.
    case reno = 0x7265_6e6f_0000_0000
    case cubic = 0x6375_6269_6300_0000
}

extension Descriptor {
    /// nil for any that has no name above.
    public func congestionControl() -> CongestionControl? {
        var name: UInt64 = 0
        var length = UInt32(MemoryLayout<UInt64>.size)
        // SAFETY: the kernel writes at most `length` bytes of the name, which it keeps in sixteen.
        guard unsafe linux_getsockopt(number, Int32(IPPROTO_TCP), TCP_CONGESTION, &name, &length) == 0 else { return nil }
        return CongestionControl(rawValue: UInt64(bigEndian: name))
    }

    /// Takes effect at once, on a connection that is made too. Throws EPERM where the administrator has named others
    /// (`net.ipv4.tcp_allowed_congestion_control`) or the route its own, ENOENT where the kernel lacks it.
    public func setCongestionControl(_ control: CongestionControl) throws(Errno) {
        var name = control.rawValue.bigEndian
        // SAFETY: the kernel reads eight bytes during the call.
        try Errno.check(unsafe linux_setsockopt(number, Int32(IPPROTO_TCP), TCP_CONGESTION, &name, UInt32(MemoryLayout<UInt64>.size)))
    }
}
