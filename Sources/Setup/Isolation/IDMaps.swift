internal import CLinux
internal import Linux

/// Who is who in a new user namespace.
enum IDMaps {
    /// Maps one user and one group of this process's new user namespace to those it had outside (user_namespaces(7)). Who has no
    /// rights outside must give up setgroups() first.
    static func write(
        inside: (user: UInt32, group: UInt32), outside: (user: UInt32, group: UInt32)
    ) throws(SetupError) {
        // Kernels before 3.19 do not have this file.
        try write("deny", to: "setgroups", optional: true)
        try write("\(inside.user) \(outside.user) 1\n", to: "uid_map")
        try write("\(inside.group) \(outside.group) 1\n", to: "gid_map")
    }

    private static func write(_ text: String, to name: String, optional: Bool = false) throws(SetupError) {
        do throws(Errno) {
            let file = try Descriptor.open("/proc/self/\(name)", O_WRONLY)
            defer { file.close() }
            try file.write(text)
        } catch {
            if optional && error.code == ENOENT { return }
            throw SetupError(.isolation, "Couldn't write /proc/self/\(name)", error, hint: UserNamespaceRefusal.hint(mapping: error))
        }
    }
}
