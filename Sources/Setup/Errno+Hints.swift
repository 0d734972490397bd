internal import CLinux
public import Linux

/// What can be done about refusals of the kernel that say little by themselves; nil where nothing is known.
extension Errno {
    /// No process can be made.
    public var hintOfFork: String? {
        code == EAGAIN ? "too many processes, see 'ulimit -u' and the container's limit of pids" : nil
    }

    /// No netlink socket can be had.
    public var hintOfNetlink: String? {
        code == EAFNOSUPPORT ? "AF_NETLINK is forbidden here, for instance by RestrictAddressFamilies= of systemd, which must name it" : nil
    }

    /// Large tables find no place. They take address space beforehand, and memory only as they fill.
    public var hintOfMemory: String? {
        code == ENOMEM ? "address space is short, see vm.overcommit_memory (sysctl, not 2), 'ulimit -v' and the container's limit of memory" : nil
    }

    /// The kernel knows no filters of system calls.
    var hintOfFilter: String? {
        code == EINVAL ? "the kernel is built without CONFIG_SECCOMP_FILTER, which is needed" : nil
    }
}
