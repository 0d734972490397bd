internal import CLinux

/// What the kernel's refusals mean to whoever configures an interface.
extension Errno {
    public var saysExists: Bool { code == EEXIST }
    /// The gateway of a route has no route itself.
    public var saysUnreachable: Bool { code == ENETUNREACH || code == EHOSTUNREACH }
    /// The family is switched off for the interface (EACCES), or the kernel has none of it.
    public var saysFamilyIsOff: Bool { code == EACCES || code == EAFNOSUPPORT || code == EOPNOTSUPP }
}
