public import Linux

/// The user and group to be instead of the present ones. Root's rights over the whole machine are kept only
/// if `--runas 0` says so; root of a user namespace is nobody special and stays what it is.
public struct UserIdentity: Equatable, Sendable {
    public var user: UInt32
    public var group: UInt32

    public init(user: UInt32, group: UInt32) {
        self.user = user
        self.group = group
    }

    /// What the kernel and most systems call nobody.
    static let nobody = UserIdentity(user: 65534, group: 65534)
    /// -1 means "unchanged" to the kernel.
    private static let invalid = UInt32.max

    /// Who to become: `--runas UID[:GID]` or `LOGIN[:GROUP]`, else `nobody` for root of the machine, else nil: stay.
    public static func resolve(runAs: String?) throws(SetupError) -> UserIdentity? {
        guard runAs != nil || (Credentials.user == 0 && isInitialUserNamespace()) else { return nil }
        let files = AccountFiles(
            passwd: (try? Descriptor.contents(of: "/etc/passwd")) ?? [], group: (try? Descriptor.contents(of: "/etc/group")) ?? [])
        if let runAs { return try parse(runAs, files) }
        return files.account(named: "nobody").map { UserIdentity(user: $0.user, group: $0.group) } ?? nobody
    }

    /// A number without a group takes the group of the account of that number, else the same number.
    static func parse(_ text: String, _ files: AccountFiles) throws(SetupError) -> UserIdentity {
        let parts = text.split(separator: ":", maxSplits: 1, omittingEmptySubsequences: false)
        var identity: UserIdentity
        if let number = UInt32(parts[0]) {
            identity = UserIdentity(user: number, group: files.account(number: number)?.group ?? number)
        } else if let account = files.account(named: parts[0]) {
            identity = UserIdentity(user: account.user, group: account.group)
        } else {
            throw SetupError(.options, "Unknown user \(parts[0]) in option --runas \(text)")
        }
        if parts.count == 2 {
            guard let group = UInt32(parts[1]) ?? files.group(named: parts[1]) else {
                throw SetupError(.options, "Unknown group \(parts[1]) in option --runas \(text)")
            }
            identity.group = group
        }
        if identity.user == invalid || identity.group == invalid {
            throw SetupError(.options, "Invalid number in option --runas \(text)")
        }
        return identity
    }

    /// A kernel without user namespaces has no such file, and where /proc is hidden nobody can tell: then root may be root of the machine.
    static func isInitialUserNamespace(_ map: String = "/proc/self/uid_map") -> Bool {
        guard let map = try? Descriptor.contents(of: map) else { return true }
        return isIdentityMap(map)
    }

    /// The initial user namespace maps all numbers to themselves, in one line: inside, outside, count.
    static func isIdentityMap(_ map: [UInt8]) -> Bool {
        let fields = String(decoding: map, as: UTF8.self).split { $0 == " " || $0 == "\n" }
        return fields == ["0", "0", "4294967295"]
    }

    /// Who we are already.
    public var isCurrent: Bool { user == Credentials.user && group == Credentials.group }

    /// Acts as this user, without supplementary groups, which are left for good. `Credentials.resume` is the way back.
    func assume() throws(SetupError) {
        do throws(Errno) {
            try leaveGroups()
            try Credentials.assume(user: user, group: group)
            // See `drop`: a child's files in /proc are to be its own.
            try Process.setDumpable(true)
        } catch {
            throw refusal(error)
        }
    }

    private func leaveGroups() throws(Errno) {
        do throws(Errno) { try Credentials.leaveGroups() } catch {
            // Where a user namespace forbids it: there are none, or one stays who one is.
            if Credentials.hasGroups && !isCurrent { throw error }
        }
    }

    /// What somebody can do who may not change users.
    static func adviceWithoutRight(user: UInt32) -> String {
        user == 0
            ? "root has no right to change its user here (CAP_SETUID, CAP_SETGID), --runas 0 keeps who we are" : "--runas takes root's rights"
    }

    private func refusal(_ error: Errno) -> SetupError {
        let hint: String? = switch error.code {
        case 1: UserIdentity.adviceWithoutRight(user: Credentials.user)  // EPERM
        case 22: "this user namespace has no such number, --runas 0 keeps who we are"  // EINVAL
        default: nil
        }
        return SetupError(.isolation, "Couldn't change to user \(user), group \(group)", error, hint: hint)
    }

    /// In a user namespace whose root is mapped: the way back to who was left for a moment ends, and all rights inside stay.
    public static func becomeRootInside() throws(SetupError) {
        do throws(Errno) {
            try Credentials.setGroup(0)
            try Credentials.setUser(0, keepCapabilities: true)
        } catch {
            throw SetupError(.isolation, "Couldn't become root of the namespace", error)
        }
    }

    /// Becomes this user, for good, without supplementary groups and with no capabilities but `kept`.
    /// Right afterwards the process is dumpable again: the kernel makes the files in /proc of one that changed its user
    /// root's own, and ID maps could not be written. `Isolation.close` ends that.
    public func drop(keeping kept: Capabilities = []) throws(SetupError) {
        do throws(Errno) {
            try leaveGroups()
            try Credentials.setGroup(group)
            try Credentials.setUser(user, keepCapabilities: !kept.isEmpty)
            try Credentials.limitCapabilities(to: kept)
            try Process.setDumpable(true)
        } catch {
            throw refusal(error)
        }
    }
}
