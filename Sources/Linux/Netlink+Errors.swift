internal import CLinux

/// What the kernel's refusals mean to whoever configures an interface.
extension Errno {
    public static let noSuchDevice = Errno(ENODEV)

    public var saysExists: Bool { code == EEXIST }
    /// The gateway of a route has no route itself.
    public var saysUnreachable: Bool { code == ENETUNREACH || code == EHOSTUNREACH }
    /// IPv6 is switched off for the interface or for the kernel, or its MTU is below what IPv6 needs.
    public var saysFamilyIsOff: Bool {
        code == EACCES || code == EAFNOSUPPORT || code == EOPNOTSUPP || code == ENODEV || code == ENOBUFS
    }
}
