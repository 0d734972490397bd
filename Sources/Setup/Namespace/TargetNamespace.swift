// The guest's namespace, from three directions: a command is started in a new one, a running process has one, or a file
// stands for one. All three end as a TargetNamespace. This process never enters it: it stays in the host's network and
// sends helpers in, which open what is needed there and hand it out.

internal import CLinux
public import Linux
public import Settings

/// A network namespace, and the user namespace whose rights let us enter it.
public struct TargetNamespace: Sendable {
    /// What to enter first; nil: we have the rights already.
    public let user: Descriptor?
    public let network: Descriptor
    /// What says that the namespace is gone.
    public let origin: Origin
    /// The user namespace is that of an option, also where it is left out because we are in it.
    let isUserNamed: Bool
    /// --netns-only was given, which excludes an option for the user namespace.
    let isNetworkOnly: Bool

    public enum Origin: Sendable, Equatable {
        /// The end of our own child says it.
        case command
        case process(Int32)
        case file(String)
    }

    init(user: Descriptor?, network: Descriptor, origin: Origin, isUserNamed: Bool = false, isNetworkOnly: Bool = false) {
        self.user = user
        self.network = network
        self.origin = origin
        self.isUserNamed = isUserNamed
        self.isNetworkOnly = isNetworkOnly
    }

    /// Opens the namespaces of a running process or those that files stand for. `userNamespace` and `netnsOnly` are the options
    /// of these names; a namespace given by a file is entered with our own rights unless `userNamespace` says otherwise.
    /// A user namespace that we are in already is left out. Our own network is refused: it would be the host's that is configured, wherever we have the
    /// right. A `.command` target is NamespaceSpawner's matter.
    public static func open(_ target: Target, userNamespace: String?, netnsOnly: Bool) throws(SetupError) -> TargetNamespace {
        let network: Descriptor
        var user: Descriptor?
        let origin: Origin
        let refusal: String
        switch target {
        case .command:
            throw SetupError(.namespace, "A command's namespaces don't exist yet")
        case .process(let process):
            origin = .process(process)
            refusal = "Process \(process) has no network namespace of its own: it is in the one that pasta is in, and has not made one (yet)"
            network = try open("/proc/\(process)/ns/net", .network)
            if !netnsOnly { user = try open(userNamespace ?? "/proc/\(process)/ns/user", .user) }
        case .path(let path):
            origin = .file(path)
            let isProcess = NamespaceWatch.process(of: path) != nil
            refusal = "\(path) is the network namespace that pasta is in already" + (isProcess ? ": the process has not made one (yet)" : "")
            network = try open(path, .network)
            if !netnsOnly, let userNamespace { user = try open(userNamespace, .user) }
        }
        if isOwn(network, "net") {
            user?.close()
            network.close()
            throw SetupError(.namespace, refusal)
        }
        // Entering the user namespace that one is in is refused by the kernel, and needless.
        if let given = user, isOwn(given, "user") {
            given.close()
            user = nil
        }
        return TargetNamespace(user: user, network: network, origin: origin, isUserNamed: userNamespace != nil, isNetworkOnly: netnsOnly)
    }

    /// Whether it is the namespace of this kind that we are in. `kind` is its name in /proc/self/ns.
    private static func isOwn(_ namespace: Descriptor, _ kind: String) -> Bool {
        guard let own = try? Descriptor.open("/proc/self/ns/\(kind)", O_RDONLY) else { return false }
        defer { own.close() }
        guard let mine = try? own.identity(), let theirs = try? namespace.identity() else { return false }
        return mine == theirs
    }

    private static func open(_ path: String, _ kind: Namespaces) throws(SetupError) -> Descriptor {
        let name = kind == .network ? "network" : "user"
        let descriptor: Descriptor
        do throws(Errno) {
            // Never waits, should it be a pipe or a device.
            descriptor = try Descriptor.open(path, O_RDONLY | O_NONBLOCK | O_NOCTTY)
        } catch {
            throw SetupError(.namespace, "Couldn't open \(name) namespace \(path)", error, hint: hint(path, error))
        }
        do throws(Errno) {
            if try Namespaces.kind(of: descriptor) == kind { return descriptor }
        } catch {
            // A security module that forbids the question: entering it tells as well.
            if mayBeNamespace(error) { return descriptor }
            descriptor.close()
            throw SetupError(.namespace, "\(path) is not a namespace")
        }
        descriptor.close()
        throw SetupError(.namespace, "\(path) is not a \(name) namespace")
    }

    /// Whether a file that does not tell its kind may be one (ioctl_ns(2)): ENOTTY is said of any other.
    static func mayBeNamespace(_ error: Errno) -> Bool { error.code == EACCES || error.code == EPERM }

    /// What can be done about a file that cannot be opened.
    private static func hint(_ path: String, _ error: Errno) -> String? {
        let isProcess = path.hasPrefix("/proc/") && process(path) != nil
        switch error.code {
        case ENOENT where isProcess:
            return isRunning(path) ? "/proc hides the processes of others (hidepid), or shows other ones" : "the process has ended"
        case ENOENT where path.hasPrefix("/run/netns/"): return "'ip netns list' shows those that have names"
        case EACCES where isProcess: return "the process must be one of this user's"
        default: return nil
        }
    }

    /// Whether the process of a path such as `/proc/123/ns/net` is there, whatever /proc shows. One that may not be signalled is.
    static func isRunning(_ path: String) -> Bool {
        guard let process = process(path) else { return false }
        do throws(Errno) { try Process.signal(process, 0) } catch { return error.code == EPERM }
        return true
    }

    /// The number in such a path.
    private static func process(_ path: String) -> Int32? {
        let parts = path.split(separator: "/")
        return parts.count > 1 ? Int32(parts[1]).flatMap { $0 > 0 ? $0 : nil } : nil
    }

    public func close() {
        user?.close()
        network.close()
    }
}
