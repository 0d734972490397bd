internal import CLinux

/// Kinds of namespaces, as bits for clone, unshare and setns.
public struct Namespaces: OptionSet, Sendable {
    public let rawValue: UInt32
    public init(rawValue: UInt32) { self.rawValue = rawValue }

    public static let user = Namespaces(rawValue: UInt32(CLONE_NEWUSER))
    public static let network = Namespaces(rawValue: UInt32(CLONE_NEWNET))
    public static let mount = Namespaces(rawValue: UInt32(CLONE_NEWNS))
    public static let ipc = Namespaces(rawValue: UInt32(CLONE_NEWIPC))
    public static let uts = Namespaces(rawValue: UInt32(CLONE_NEWUTS))
    public static let pid = Namespaces(rawValue: UInt32(CLONE_NEWPID))

    /// Moves this process into new namespaces; a new PID namespace takes its future children instead.
    public static func unshare(_ kinds: Namespaces) throws(Errno) {
        try Errno.check(linux_unshare(Int32(bitPattern: kinds.rawValue)))
    }

    /// Moves this process into the namespace that the descriptor refers to, which must be of that kind.
    public static func enter(_ namespace: Descriptor, _ kind: Namespaces) throws(Errno) {
        try Errno.check(linux_setns(namespace.number, Int32(bitPattern: kind.rawValue)))
    }

    /// The kind of namespace that a descriptor refers to; ENOTTY or EINVAL if it is something else. (ioctl, Linux 4.11)
    public static func kind(of descriptor: Descriptor) throws(Errno) -> Namespaces {
        let kind = try Errno.check(linux_ioctl_value(descriptor.number, linux_NS_GET_NSTYPE(), 0))
        return Namespaces(rawValue: UInt32(bitPattern: kind))
    }
}

/// Mounts, as far as hiding the file system needs them.
public enum Mounts {
    /// `options` are those of mount(2), MS_*.
    public static func mount(_ kind: String, at path: String, options: Int32, data: String = "") throws(Errno) {
        // SAFETY: the strings live as long as the call.
        try Errno.check(unsafe linux_mount(kind, path, kind, UInt(options), data))
    }

    /// Nothing mounted below `/` from now on is seen by other mount namespaces; theirs still appears here.
    public static func stopPropagation() throws(Errno) {
        // SAFETY: the strings live as long as the call.
        try Errno.check(unsafe linux_mount("none", "/", nil, UInt(MS_REC | MS_SLAVE), nil))
    }

    /// The current directory, a mount, becomes the root, and what was the root lies on top of it.
    public static func pivotToCurrentDirectory() throws(Errno) {
        // SAFETY: the strings live as long as the call.
        try Errno.check(unsafe linux_pivot_root(".", "."))
    }

    public static func detach(_ path: String) throws(Errno) {
        // SAFETY: the string lives as long as the call.
        try Errno.check(unsafe linux_umount(path, Int32(MNT_DETACH)))
    }
}
