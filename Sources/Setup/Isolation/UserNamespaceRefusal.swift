internal import CLinux
internal import Linux

/// Why the kernel makes no namespaces for us, or lets us do nothing in them, as far as its settings tell. The number alone says little,
/// and people need to know which setting to change.
enum UserNamespaceRefusal {
    /// How many namespaces of a kind a user may have: user.max_KIND_namespaces.
    struct Limit {
        var kind: String
        var most: Int
    }

    /// Settings in /proc/sys that can forbid it; nil where the kernel has no such setting.
    struct Settings {
        var unprivilegedClone: Int?
        var appArmorRestriction: Int?
        /// Of the kinds that were asked for.
        var limits: [Limit] = []

        static func current(_ kinds: Namespaces) -> Settings {
            Settings(
                unprivilegedClone: Descriptor.setting("kernel/unprivileged_userns_clone"),
                appArmorRestriction: Descriptor.setting("kernel/apparmor_restrict_unprivileged_userns"),
                limits: UserNamespaceRefusal.names.filter { kinds.contains($0.kind) }.compactMap { name in
                    Descriptor.setting("user/max_\(name.text)_namespaces").map { Limit(kind: name.text, most: $0) }
                })
        }
    }

    /// The kinds as the kernel's limits call them.
    private static let names: [(kind: Namespaces, text: String)] = [
        (.user, "user"), (.network, "net"), (.mount, "mnt"), (.pid, "pid"), (.ipc, "ipc"), (.uts, "uts"),
    ]

    /// The line for a user namespace that could not be made, alone or with others.
    static func explain(_ error: Errno, making kinds: Namespaces = .user, _ settings: Settings? = nil) -> String {
        let what = "Couldn't create user namespace: \(error.text)"
        return hint(error, making: kinds, settings).map { "\(what), \($0)" } ?? what
    }

    /// Why these namespaces cannot be had, and what can be done about it.
    static func hint(_ error: Errno, making kinds: Namespaces, _ settings: Settings? = nil) -> String? {
        let settings = settings ?? .current(kinds)
        switch error.code {
        case EPERM where settings.unprivilegedClone == 0:
            return "set kernel.unprivileged_userns_clone=1 with sysctl"
        case ENOSPC, EUSERS:
            guard let limit = settings.limits.min(by: { $0.most < $1.most }) else { return "too many namespaces, or too deeply nested" }
            return "user.max_\(limit.kind)_namespaces is \(limit.most), raise it with sysctl"
        case EPERM, EACCES:
            return appArmor(settings)
                ?? "forbidden by a security module or by the container around us, which must permit clone, unshare and mount: "
                + "--security-opt seccomp=unconfined, or a profile with them"
        case EINVAL where kinds.contains(.user):
            return "the kernel is built without user namespaces"
        default:
            return error.hintOfFork
        }
    }

    /// The same for who is who in a user namespace that could be made: AppArmor lets everybody make one, and use it only with a profile.
    static func hint(mapping error: Errno, _ settings: Settings? = nil) -> String? {
        guard error.code == EPERM || error.code == EACCES else { return nil }
        return appArmor(settings ?? .current([])) ?? "forbidden by a security module or by the container around us"
    }

    private static func appArmor(_ settings: Settings) -> String? {
        guard let restriction = settings.appArmorRestriction, restriction != 0 else { return nil }
        return "AppArmor forbids it: give this program a profile with userns (share/doc/swift-passt/apparmor/swift-passt is one), "
            + "or set kernel.apparmor_restrict_unprivileged_userns=0 with sysctl"
    }
}
