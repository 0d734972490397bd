internal import CLinux
internal import Linux

/// Why the kernel makes no user namespace for us, as far as its settings tell. The number alone says little, and people
/// need to know which setting to change.
enum UserNamespaceRefusal {
    /// Settings in /proc/sys that can forbid it; nil where the kernel has no such setting.
    struct Settings {
        var unprivilegedClone: Int?
        var maximum: Int?
        var appArmorRestriction: Int?

        static func current() -> Settings {
            Settings(
                unprivilegedClone: Descriptor.setting("kernel/unprivileged_userns_clone"), maximum: Descriptor.setting("user/max_user_namespaces"),
                appArmorRestriction: Descriptor.setting("kernel/apparmor_restrict_unprivileged_userns"))
        }
    }

    static func explain(_ error: Errno, _ settings: Settings = .current()) -> String {
        let what = "Couldn't create user namespace: \(error.text)"
        switch error.code {
        case EPERM where settings.unprivilegedClone == 0:
            return "\(what), set kernel.unprivileged_userns_clone=1 with sysctl"
        case ENOSPC, EUSERS:
            guard let maximum = settings.maximum else { return "\(what), too many user namespaces, or too deeply nested" }
            return "\(what), user.max_user_namespaces is \(maximum), raise it with sysctl"
        case EPERM, EACCES:
            if let restriction = settings.appArmorRestriction, restriction != 0 {
                return "\(what), AppArmor forbids it: give this program a profile with userns, "
                    + "or set kernel.apparmor_restrict_unprivileged_userns=0 with sysctl"
            }
            return "\(what), forbidden by a security module or by the container around us"
        case EINVAL:
            return "\(what), the kernel is built without user namespaces"
        default:
            return what
        }
    }
}
