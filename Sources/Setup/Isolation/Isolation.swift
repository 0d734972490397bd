// Isolation: what a guest could do with this process if it took it over, made as little as possible. Stages in call order:
//
//     limitCapabilities   first thing: rights that no option needs
//     UserIdentity.drop   not root of the machine
//     enterUserNamespace  rights over nothing but what is made here
//     detach, hideFiles   own mounts, messages, names; an empty root
//     (fork)              PID namespace, see Daemonizer
//     close               no new rights, no looking in
//     SeccompFilter       the last call before the loop; whatever else it would call ends it
//
// Whatever needs the caller's files, other namespaces or rights happens between the stages, before what takes it away.

internal import CLinux
public import Linux

public enum Isolation {
    /// Drops the capabilities that set-up has no use for. Those listed stay usable until `close`, if we have them.
    public static func limitCapabilities(to kept: Capabilities = setUp) throws(SetupError) {
        do throws(Errno) {
            try Credentials.limitCapabilities(to: kept)
        } catch {
            throw SetupError(.isolation, "Couldn't drop capabilities", error)
        }
    }

    /// What set-up may need of root, be it the machine's or a namespace's: identities, namespaces, their devices, the caller's files.
    public static let setUp: Capabilities = [
        .setUser, .setGroup, .setFileCapabilities, .systemAdministration, .networkAdministration, .rawSockets, .bindLowPorts,
        .trace, .overrideFilePermissions, .changeRoot,
    ]

    /// Moves this process into a user namespace of its own, in which it has all rights, over nothing. Returns false where the
    /// kernel does not permit that: then the rights that are left decide what the next stages can do.
    public static func enterUserNamespace(log: Log) throws(SetupError) -> Bool {
        let user = Credentials.user
        let group = Credentials.group
        do throws(Errno) {
            try Namespaces.unshare(.user)
        } catch {
            log.debug(UserNamespaceRefusal.explain(error))
            return false
        }
        do throws(SetupError) {
            try IDMaps.write(inside: (user, group), outside: (user, group))
        } catch {
            // Nothing from here on depends on it: open files stay open, whoever we seem to be.
            log.debug(error.message)
        }
        return true
    }

    /// Own mounts, System V messages and host name.
    public static func detach() throws(SetupError) {
        let kinds: Namespaces = [.mount, .ipc, .uts]
        do throws(Errno) {
            try Namespaces.unshare(kinds)
            try Mounts.stopPropagation()
        } catch {
            throw SetupError(.isolation, "Couldn't detach from the caller's mounts", error, hint: UserNamespaceRefusal.hint(error, making: kinds))
        }
    }

    /// Leaves an empty, read-only directory as the whole file system. Files that are open stay so. pivot_root() does not work where the
    /// root is the kernel's first one, as on an initial ramdisk; chroot() does, if `chrootFallback` accepts its weaker promise.
    public static func hideFiles(chrootFallback: Bool) throws(SetupError) {
        try mountEmptyDirectory()
        do throws(Errno) {
            try Mounts.pivotToCurrentDirectory()
        } catch {
            guard error.code == EINVAL else { throw SetupError(.isolation, "Couldn't change the root directory", error) }
            guard chrootFallback else {
                throw SetupError(.isolation, "Couldn't change the root directory with pivot_root(), --chroot-fallback uses chroot()", error)
            }
            do throws(Errno) { try Process.changeRoot(to: ".") } catch {
                throw SetupError(.isolation, "Couldn't change the root directory", error)
            }
            return
        }
        do throws(Errno) {
            // The old root lies on top of the new one.
            try Mounts.detach(".")
            try Process.changeDirectory(to: "/")
        } catch {
            throw SetupError(.isolation, "Couldn't let go of the file system", error)
        }
    }

    /// Over any directory that is there; nobody else sees it. Afterwards it is the current directory.
    private static func mountEmptyDirectory() throws(SetupError) {
        let options = Int32(MS_NODEV | MS_NOEXEC | MS_NOSUID | MS_RDONLY)
        var last = Errno(ENOENT)
        for place in ["/tmp", "/proc", "/run", "/dev", "/etc"] {
            do throws(Errno) {
                try Mounts.mount("tmpfs", at: place, options: options, data: "nr_inodes=2,nr_blocks=1,mode=0555")
                return try Process.changeDirectory(to: place)
            } catch {
                last = error
            }
        }
        throw SetupError(.isolation, "Couldn't mount an empty directory", last)
    }

    /// The last stage: no rights, no way to new ones, nobody looks in. With `kept` for what the data path needs.
    public static func close(keeping kept: Capabilities = []) throws(SetupError) {
        do throws(Errno) {
            try Process.forbidNewPrivileges()
            try Credentials.limitCapabilities(to: kept)
            try Process.setDumpable(false)
        } catch {
            throw SetupError(.isolation, "Couldn't drop privileges", error)
        }
    }
}
