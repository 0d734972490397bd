internal import CLinux

/// Rights that the kernel hands out one by one (capabilities(7)).
public struct Capabilities: OptionSet, Sendable {
    public let rawValue: UInt64
    public init(rawValue: UInt64) { self.rawValue = rawValue }
    private init(number: Int32) { rawValue = 1 << UInt64(number) }

    public static let overrideFilePermissions = Capabilities(number: CAP_DAC_OVERRIDE)
    public static let setGroup = Capabilities(number: CAP_SETGID)
    public static let setUser = Capabilities(number: CAP_SETUID)
    /// Needed to map ID 0 of the parent into a new user namespace, since Linux 5.12.
    public static let setFileCapabilities = Capabilities(number: CAP_SETFCAP)
    public static let bindLowPorts = Capabilities(number: CAP_NET_BIND_SERVICE)
    public static let networkAdministration = Capabilities(number: CAP_NET_ADMIN)
    public static let rawSockets = Capabilities(number: CAP_NET_RAW)
    public static let trace = Capabilities(number: CAP_SYS_PTRACE)
    public static let changeRoot = Capabilities(number: CAP_SYS_CHROOT)
    /// setns, unshare and mount.
    public static let systemAdministration = Capabilities(number: CAP_SYS_ADMIN)
}

/// Who this process is for the kernel.
public enum Credentials {
    public static var user: UInt32 { geteuid() }
    public static var group: UInt32 { getegid() }

    /// The capabilities that can be used now.
    public static func capabilities() throws(Errno) -> Capabilities {
        try allCapabilities().effective
    }

    private static func allCapabilities() throws(Errno) -> (permitted: Capabilities, effective: Capabilities) {
        var permitted: UInt64 = 0
        var effective: UInt64 = 0
        // SAFETY: both values are written during the call.
        try Errno.check(unsafe linux_capget(&permitted, &effective))
        return (Capabilities(rawValue: permitted), Capabilities(rawValue: effective))
    }

    /// Keeps of the present capabilities only these, both permitted and effective; none are inheritable. (capget, capset)
    public static func limitCapabilities(to kept: Capabilities) throws(Errno) {
        let left = try allCapabilities().permitted.intersection(kept).rawValue
        try Errno.check(linux_capset(0, Int32(truncatingIfNeeded: left), Int32(truncatingIfNeeded: left >> 32)))
    }

    /// Leaves all supplementary groups. (setgroups)
    public static func leaveGroups() throws(Errno) { try Errno.check(linux_setgroups_none()) }

    /// Whether there are any. (getgroups)
    public static var hasGroups: Bool { getgroups(0, nil) > 0 }

    /// Acts as another user and group, and can come back: who we really are stays, so that processes of this user have no power over us.
    /// Capabilities cannot be used meanwhile. (setresgid, setresuid)
    public static func assume(user: UInt32, group: UInt32) throws(Errno) {
        try Errno.check(linux_setresgid_each(.max, group, .max))
        try Errno.check(linux_setresuid_each(.max, user, .max))
    }

    /// Comes back. (setresuid, setresgid)
    public static func resume(user: UInt32, group: UInt32) throws(Errno) {
        try Errno.check(linux_setresuid_each(.max, user, .max))
        try Errno.check(linux_setresgid_each(.max, group, .max))
    }

    /// Real, effective and saved group. (setresgid)
    public static func setGroup(_ group: UInt32) throws(Errno) { try Errno.check(linux_setresgid(group)) }

    /// Real, effective and saved user. Permitted capabilities survive if `keepCapabilities` is set. (prctl, setresuid)
    public static func setUser(_ user: UInt32, keepCapabilities: Bool = false) throws(Errno) {
        try Errno.check(linux_prctl(PR_SET_KEEPCAPS, keepCapabilities ? 1 : 0, 0, 0, 0))
        try Errno.check(linux_setresuid(user))
        try Errno.check(linux_prctl(PR_SET_KEEPCAPS, 0, 0, 0, 0))
    }
}
