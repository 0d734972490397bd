internal import CLinux
public import Linux

/// Command mode: a command in namespaces of its own, where it is root and process 1.
public enum NamespaceSpawner {
    /// Makes the namespaces and a child in them, which waits there for `release` and ends if we do. An empty command means
    /// $SHELL, else /bin/sh. With `netnsOnly` the present user namespace stays, and no IDs are mapped.
    ///
    /// The command gets back the caller's limit of open `files`. With `identity`, root in the namespace is this user outside, whoever we are.
    /// Call it before our own isolation, so that the command sees the caller's files.
    public static func spawn(
        command: [String], netnsOnly: Bool, as identity: UserIdentity?, signals: QuitSignals, files: OpenFileLimit?, log: Log
    ) throws(SetupError) -> SpawnedCommand {
        let words = command.isEmpty ? [shell()] : command
        var kinds: Namespaces = [.network, .mount, .ipc, .uts, .pid]
        if !netnsOnly { kinds.insert(.user) }
        let outside = identity ?? UserIdentity(user: Credentials.user, group: Credentials.group)
        let ours: Descriptor
        let theirs: Descriptor
        do throws(Errno) { (ours, theirs) = try DescriptorPassing.pair() } catch {
            throw SetupError(.namespace, "Couldn't create namespaces", error)
        }
        let child = try fork(into: kinds, as: identity)
        if child == 0 {
            ours.close()
            live(HelperChannel(socket: theirs), words, mapping: netnsOnly ? nil : outside, signals, files)
        }
        theirs.close()
        let channel = HelperChannel(socket: ours, to: child)
        do throws(SetupError) {
            guard let message = try channel.receive(), message.descriptors.count == (netnsOnly ? 1 : 2) else {
                throw SetupError(.namespace, "Couldn't create namespaces: the child ended unexpectedly")
            }
            if !message.bytes.isEmpty { log.debug(String(decoding: message.bytes, as: UTF8.self)) }
            return SpawnedCommand(
                processID: child,
                namespace: TargetNamespace(
                    user: netnsOnly ? nil : message.descriptors[1], network: message.descriptors[0], origin: .command),
                channel: channel)
        } catch {
            RunningHelper(processID: child, channel: channel).end()
            throw error
        }
    }

    /// The user namespace belongs to who makes it, and its root can only be who that is outside: so we act as this user for a moment.
    private static func fork(into kinds: Namespaces, as identity: UserIdentity?) throws(SetupError) -> Int32 {
        let (user, group) = (Credentials.user, Credentials.group)
        try identity?.assume()
        var child: Int32 = -1
        var failure: SetupError?
        do throws(Errno) { child = try Process.fork(into: kinds) } catch {
            failure = kinds.contains(.user)
                ? SetupError(.namespace, UserNamespaceRefusal.explain(error, making: kinds))
                : SetupError(
                    .namespace, "Couldn't create namespaces", error,
                    hint: error.code == EPERM ? "with --netns-only this takes root's rights" : UserNamespaceRefusal.hint(error, making: kinds))
        }
        if child == 0 { return 0 }
        if identity != nil {
            do throws(Errno) { try Credentials.resume(user: user, group: group) } catch {
                failure = SetupError(.isolation, "Couldn't change back to user \(user), group \(group)", error)
            }
        }
        if let failure { throw failure }
        return child
    }

    private static func shell() -> String {
        guard let shell = Process.environment("SHELL"), !shell.isEmpty else { return "/bin/sh" }
        return shell
    }

    /// The child's life up to the command's own.
    private static func live(
        _ channel: HelperChannel, _ words: [String], mapping: UserIdentity?, _ signals: QuitSignals, _ files: OpenFileLimit?
    ) -> Never {
        do throws(SetupError) {
            if let mapping {
                // A program that has capabilities of its own (setcap), or that its user may not read, is not, and its files in /proc are root's: no map could be written.
                // This child has no rights outside of its namespace that anybody could take from it.
                try? Process.setDumpable(true)
                try IDMaps.write(inside: (0, 0), outside: (mapping.user, mapping.group))
                try UserIdentity.becomeRootInside()
            }
            try? Process.dieWithParent()
            let notes = furnish(pingGroup: mapping == nil ? Credentials.group : 0)
            var namespaces = [try open("/proc/self/ns/net")]
            if mapping != nil { namespaces.append(try open("/proc/self/ns/user")) }
            try channel.send(Array(notes.utf8), namespaces)
        } catch {
            channel.fail(error)
            Process.exit(1)
        }
        // The end of the channel is the end of the parent.
        guard let message = try? channel.receive(), message.bytes == [1] else { Process.exit(1) }
        signals.restore()
        files?.restore()
        var error = Process.execute(words)
        if error.code == EACCES && !isInPath(words[0]) { error = Errno(ENOENT) }
        try? Descriptor(STDERR_FILENO).write("Couldn't run \(words[0]): \(error.text)\n")
        // As a shell would say it: not found, or found and not executable.
        Process.exit(error.code == ENOENT || error.code == ENOTDIR ? 127 : 126)
    }

    /// A directory of PATH that may not be searched, as is common after leaving root, counts as an existing command for execvp(), but
    /// not for people.
    private static func isInPath(_ name: String) -> Bool {
        if name.utf8.contains(UInt8(ascii: "/")) { return true }
        return (Process.environment("PATH") ?? "").split(separator: ":").contains { directory in
            (try? Descriptor.open("\(directory)/\(name)", O_PATH)).map { $0.close() } != nil
        }
    }

    private static func open(_ path: String) throws(SetupError) -> Descriptor {
        do throws(Errno) { return try Descriptor.open(path, O_RDONLY) } catch {
            throw SetupError(.namespace, "Couldn't open \(path)", error)
        }
    }

    /// A view of its own of processes, and pings without privileges. A container that hides parts of /proc forbids the first,
    /// which only means that the command sees more processes. Returns what did not work.
    private static func furnish(pingGroup: UInt32) -> String {
        var notes: [String] = []
        do throws(Errno) {
            try Mounts.stopPropagation()
            try Mounts.mount("proc", at: "/proc", options: Int32(MS_NOSUID | MS_NODEV | MS_NOEXEC))
        } catch {
            notes.append("Couldn't mount /proc for the command: \(error.text)")
        }
        do throws(Errno) {
            let range = try Descriptor.open("/proc/sys/net/ipv4/ping_group_range", O_WRONLY)
            defer { range.close() }
            try range.write("\(pingGroup) \(pingGroup)")
        } catch {
            notes.append("Couldn't set net.ipv4.ping_group_range for the command: \(error.text)")
        }
        return notes.joined(separator: "\n")
    }
}
