import CLinux
import Linux
import Settings
import Testing

@testable import Setup

@Suite struct NamespaceTests {
    @Test(arguments: [
        ("/run/netns/name", "/run/netns", "name"), ("name", ".", "name"), ("/name", "/", "name"), ("a/b", "a", "b"),
    ])
    func splitting(_ path: String, _ directory: String, _ name: String) {
        #expect(NamespaceWatch.split(path) == (directory, name))
    }

    @Test(arguments: [
        ("/proc/123/ns/net", 123), ("/proc/self/ns/net", nil), ("/proc/123/ns/user", nil), ("/proc/0/ns/net", nil), ("/proc/1/task/1/ns/net", nil),
        ("proc/123/ns/net", nil),
    ] as [(String, Int32?)])
    func processOfPath(_ path: String, _ expected: Int32?) {
        #expect(NamespaceWatch.process(of: path) == expected)
    }

    @Test func openingSaysWhatIsWrong() {
        #expect(throws: SetupError(.namespace, "Couldn't open network namespace /nonexistent: No such file or directory")) {
            try TargetNamespace.open(.path("/nonexistent"), userNamespace: nil, netnsOnly: false)
        }
        #expect(throws: SetupError(.namespace, "/dev/null is not a namespace")) {
            try TargetNamespace.open(.path("/dev/null"), userNamespace: nil, netnsOnly: false)
        }
        #expect(throws: SetupError(.namespace, "/proc/self/ns/mnt is not a network namespace")) {
            try TargetNamespace.open(.path("/proc/self/ns/mnt"), userNamespace: nil, netnsOnly: false)
        }
        #expect(throws: SetupError(.namespace, "/proc/self/ns/net is not a user namespace")) {
            try TargetNamespace.open(.path("/proc/self/ns/net"), userNamespace: "/proc/self/ns/net", netnsOnly: false)
        }
    }

    @Test(arguments: [
        (.file("/run/netns/blue"), false, false, "if root made it ('ip netns add'), this takes root's rights, else name its user namespace with --userns"),
        (.file("/run/netns/blue"), true, false, "if root made it ('ip netns add'), this takes root's rights and no --userns"),
        (.file("/run/netns/blue"), false, true, "if root made it ('ip netns add'), this takes root's rights"),
        (.file("/run/user/1000/netns/x"), false, false, "name the user namespace that it belongs to with --userns"),
        (.file("/run/user/1000/netns/x"), true, true, "it belongs to another user namespace than this one"),
        (
            .file("/run/user/1000/netns/x"), false, true,
            "it belongs to another user namespace than the one that --userns names, which pasta is in already"
        ),
        (.process(7), true, false, "it belongs to another user namespace than this one"),
        (.process(7), false, true, "it belongs to another user namespace than the one that --userns names, which pasta is in already"),
        (.process(7), false, false, "this takes root's rights, or those over the user namespace in which it was made"),
    ] as [(TargetNamespace.Origin, Bool, Bool, String)])
    func whoseNamespaceItIs(_ origin: TargetNamespace.Origin, _ hasUser: Bool, _ isNamed: Bool, _ expected: String) {
        let target = TargetNamespace(user: hasUser ? Descriptor(3) : nil, network: .none, origin: origin, isUserNamed: isNamed)
        #expect(NamespaceHelper.hint(target) == expected)
    }

    /// --userns excludes --netns-only: a process's own user namespace is taken without either, a file tells of none.
    @Test(arguments: [
        (
            .file("/run/netns/blue"),
            "if root made it ('ip netns add'), this takes root's rights, else name its user namespace with --userns instead of --netns-only"
        ),
        (.file("/run/user/1000/netns/x"), "name the user namespace that it belongs to with --userns instead of --netns-only"),
        (
            .process(7),
            "this takes root's rights, or those over the user namespace in which it was made: leave out --netns-only if the process has a user namespace of its own"
        ),
    ] as [(TargetNamespace.Origin, String)])
    func whatIsAdvisedBesideNetnsOnly(_ origin: TargetNamespace.Origin, _ expected: String) {
        let target = TargetNamespace(user: nil, network: .none, origin: origin, isNetworkOnly: true)
        #expect(NamespaceHelper.hint(target) == expected)
    }

    /// It would be the host that is configured, or a process that has not come as far as to have a namespace.
    @Test func ownNetworkIsRefused() {
        let own = Process.identifier
        let refusal = "Process \(own) has no network namespace of its own: it is in the one that pasta is in, and has not made one (yet)"
        for (user, netnsOnly) in [(nil, false), (nil, true), ("/proc/self/ns/user", false)] as [(String?, Bool)] {
            #expect(throws: SetupError(.namespace, refusal)) {
                try TargetNamespace.open(.process(own), userNamespace: user, netnsOnly: netnsOnly)
            }
        }
        #expect(throws: SetupError(.namespace, "/proc/self/ns/net is the network namespace that pasta is in already")) {
            try TargetNamespace.open(.path("/proc/self/ns/net"), userNamespace: nil, netnsOnly: true)
        }
        let path = "/proc/\(own)/ns/net"
        #expect(throws: SetupError(.namespace, path + " is the network namespace that pasta is in already: the process has not made one (yet)")) {
            try TargetNamespace.open(.path(path), userNamespace: nil, netnsOnly: false)
        }
    }

    /// What /proc does not show may be there all the same (hidepid=2). Nobody may signal process 1 but root, and that is an answer, too.
    @Test func aHiddenProcessHasNotEnded() {
        #expect(TargetNamespace.isRunning("/proc/1/ns/net") && TargetNamespace.isRunning("/proc/\(Process.identifier)/ns/user"))
        #expect(!TargetNamespace.isRunning("/proc/99999999/ns/net") && !TargetNamespace.isRunning("/proc/self/ns/net") && !TargetNamespace.isRunning("/proc"))
        #expect(throws: SetupError(.namespace, "Couldn't open network namespace /proc/99999999/ns/net: No such file or directory, the process has ended")) {
            try TargetNamespace.open(.process(99_999_999), userNamespace: nil, netnsOnly: false)
        }
    }

    @Test func ownUserNamespaceIsNotEnteredAgain() throws {
        let child = try Process.fork(into: .network)
        if child == 0 {
            try? Process.dieWithParent()
            while true { pause() }
        }
        defer {
            try? Process.signal(child, SIGKILL)
            _ = try? Process.wait(for: child)
        }
        let target = try TargetNamespace.open(.process(child), userNamespace: nil, netnsOnly: false)
        defer { target.close() }
        #expect(target.user == nil)
        #expect(target.origin == .process(child))
    }

    /// Any file can play the namespace for the watch.
    private func withWatch(_ body: (_ directory: String, NamespaceWatch) throws -> Void) throws {
        try withTemporaryDirectory { directory in
            let path = "\(directory)/ns"
            try write("", to: path)
            let target = TargetNamespace(user: nil, network: try Descriptor.open(path, O_RDONLY), origin: .file(path))
            defer { target.close() }
            let watch = try #require(try NamespaceWatch(target))
            defer { watch.descriptor.close() }
            try body(directory, watch)
        }
    }

    @Test func lesson45_removalAmongSeveralEvents() throws {
        try withWatch { directory, watch in
            #expect(!watch.isGone())
            for name in ["a", "nsx", "n"] {
                try write("", to: "\(directory)/\(name)")
                unsafe unlink("\(directory)/\(name)")
            }
            #expect(!watch.isGone())
            for name in ["b", "ns", "c"] {
                try write("", to: "\(directory)/\(name)")
                unsafe unlink("\(directory)/\(name)")
            }
            #expect(watch.isGone())
        }
    }

    @Test func lesson45_movedAwayIsGone() throws {
        try withWatch { directory, watch in
            unsafe rename("\(directory)/ns", "\(directory)/other")
            #expect(watch.isGone())
        }
    }

    @Test func lesson45_missingDirectoryHasTheWordsCallersMatch() throws {
        let network = try Descriptor.open("/proc/self/ns/net", O_RDONLY)
        defer { network.close() }
        let target = TargetNamespace(user: nil, network: network, origin: .file("/nonexistent/ns"))
        #expect(throws: SetupError(.namespace, "netns dir open: No such file or directory, exiting")) { try NamespaceWatch(target) }
    }

    @Test func goneBeforeTheWatch() throws {
        let network = try Descriptor.open("/proc/self/ns/net", O_RDONLY)
        defer { network.close() }
        let target = TargetNamespace(user: nil, network: network, origin: .file("/tmp/no-such-namespace"))
        #expect(throws: SetupError(.namespace, "Network namespace /tmp/no-such-namespace has gone away")) { try NamespaceWatch(target) }
    }

    @Test(arguments: [
        (ENOENT, true), (ENOTDIR, true), (ESRCH, true), (ENOMEM, false), (EIO, false), (ESTALE, false), (EINTR, false), (ELOOP, false), (ENFILE, false),
    ] as [(Int32, Bool)])
    func whatTellsTheEnd(_ code: Int32, _ isEnd: Bool) { #expect(NamespaceWatch.isEnd(Errno(code)) == isEnd) }

    /// A link that leads to itself cannot be followed, as with a lack of memory or a file server that is away for a moment, which a test cannot have.
    @Test func lesson45_whatCannotBeLookedAtIsNotGone() throws {
        try withWatch { directory, watch in
            #expect(watch.isThere)
            unsafe unlink("\(directory)/ns")
            #expect(!watch.isThere)
            try #require(unsafe symlink("ns", "\(directory)/ns") == 0)
            #expect(watch.isThere)
            // Another identity.
            unsafe unlink("\(directory)/ns")
            try write("", to: "\(directory)/ns")
            #expect(!watch.isThere)
        }
    }

    @Test func commandNeedsNoWatch() throws {
        let target = TargetNamespace(user: nil, network: .none, origin: .command)
        #expect(try NamespaceWatch(target) == nil)
    }

    @Test func channelCarriesManyDescriptorsAndBytes() throws {
        let (one, other) = try DescriptorPassing.pair()
        defer { other.close() }
        let null = try Descriptor.open("/dev/null", O_RDWR)
        defer { null.close() }
        let bytes = (0..<70_000).map { UInt8(truncatingIfNeeded: $0 &* 7) }
        try HelperChannel(socket: one).send(bytes, [Descriptor](repeating: null, count: 300))
        try HelperChannel(socket: one).send([])
        try HelperChannel(socket: one).finish()
        one.close()
        let channel = HelperChannel(socket: other)
        let message = try #require(try channel.receive())
        #expect(message.bytes == bytes)
        #expect(message.descriptors.count == 300)
        #expect(try message.descriptors.allSatisfy { try $0.identity() == null.identity() })
        for descriptor in message.descriptors { descriptor.close() }
        #expect(try channel.receive() == DescriptorMessage([]))
        #expect(try channel.receive() == nil)
        #expect(throws: SetupError(.namespace, "The other process ended unexpectedly")) { try channel.receive() }
    }

    @Test(arguments: [(false, "with status 3"), (true, "by signal 9, as where memory is short")])
    func channelTellsHowTheOtherProcessEnded(_ killed: Bool, _ how: String) throws {
        let (ours, theirs) = try DescriptorPassing.pair()
        defer { ours.close() }
        let child = try Process.fork()
        if child == 0 {
            if killed { try? Process.signal(Process.identifier, SIGKILL) }
            Process.exit(3)
        }
        theirs.close()
        #expect(throws: SetupError(.namespace, "The other process ended unexpectedly, \(how)")) {
            try HelperChannel(socket: ours, to: child).receive()
        }
    }

    /// Helpers that were forked in between have copies of what is open.
    @Test func theEndOfAChannelIsSeenInSpiteOfCopies() throws {
        let (one, other) = try DescriptorPassing.pair()
        let copy = try one.duplicate()
        defer { copy.close(); other.close() }
        // Else this would be waited for.
        try other.setNonBlocking()
        HelperChannel(socket: one).end()
        #expect(throws: SetupError(.namespace, "The other process ended unexpectedly")) { try HelperChannel(socket: other).receive() }
    }

    @Test func channelCarriesErrors() throws {
        let (one, other) = try DescriptorPassing.pair()
        defer { one.close(); other.close() }
        HelperChannel(socket: one).fail(SetupError(.sockets, "Failed to bind"))
        #expect(throws: SetupError(.sockets, "Failed to bind")) { try HelperChannel(socket: other).receive() }
    }

    @Test(arguments: [
        (EPERM, 0, nil, nil, "Couldn't create user namespace: Operation not permitted, set kernel.unprivileged_userns_clone=1 with sysctl"),
        (ENOSPC, nil, 0, nil, "Couldn't create user namespace: No space left on device, user.max_user_namespaces is 0, raise it with sysctl"),
        (EUSERS, nil, nil, nil, "Couldn't create user namespace: Too many users, too many namespaces, or too deeply nested"),
        (
            EPERM, nil, 9, 1,
            "Couldn't create user namespace: Operation not permitted, AppArmor forbids it: give this program a profile with userns (share/doc/swift-passt/apparmor/swift-passt is one), or set kernel.apparmor_restrict_unprivileged_userns=0 with sysctl"
        ),
        (
            EPERM, 1, 9, 0,
            "Couldn't create user namespace: Operation not permitted, forbidden by a security module or by the container around us, which must permit clone, unshare and mount: --security-opt seccomp=unconfined, or a profile with them"
        ),
        (
            EAGAIN, nil, 9, nil,
            "Couldn't create user namespace: Resource temporarily unavailable, too many processes, see 'ulimit -u' and the container's limit of pids"
        ),
        (ENOMEM, 0, 0, 1, "Couldn't create user namespace: Cannot allocate memory"),
    ] as [(Int32, Int?, Int?, Int?, String)])
    func refusalTellsWhatToChange(_ code: Int32, _ clone: Int?, _ maximum: Int?, _ appArmor: Int?, _ expected: String) {
        var settings = UserNamespaceRefusal.Settings(unprivilegedClone: clone, appArmorRestriction: appArmor)
        if let maximum { settings.limits = [UserNamespaceRefusal.Limit(kind: "user", most: maximum)] }
        #expect(UserNamespaceRefusal.explain(Errno(code), settings) == expected)
    }

    /// A command gets six kinds of namespaces at once, and any of them may be what there is none of.
    @Test func theLowestLimitIsNamed() {
        var settings = UserNamespaceRefusal.Settings()
        settings.limits = [("user", 9), ("net", 0), ("mnt", 9), ("pid", 0)].map { UserNamespaceRefusal.Limit(kind: $0.0, most: $0.1) }
        #expect(UserNamespaceRefusal.hint(Errno(ENOSPC), making: [.user, .network], settings) == "user.max_net_namespaces is 0, raise it with sysctl")
        settings.limits[1].most = 9
        settings.limits[3].most = 8
        #expect(UserNamespaceRefusal.hint(Errno(ENOSPC), making: [.user, .network], settings) == "user.max_pid_namespaces is 8, raise it with sysctl")
    }

    /// Only kinds that were asked for are looked at.
    @Test func limitsAreReadByKind() {
        #expect(UserNamespaceRefusal.Settings.current([]).limits.isEmpty)
        let kinds = UserNamespaceRefusal.Settings.current([.network, .mount]).limits.map(\.kind)
        #expect(kinds.allSatisfy { ["net", "mnt"].contains($0) })
    }

    /// Ubuntu 24.04: everybody may make a user namespace, and only who has a profile may use it.
    @Test func lackOfAProfileIsToldWhereMapsAreWritten() {
        var settings = UserNamespaceRefusal.Settings()
        #expect(UserNamespaceRefusal.hint(mapping: Errno(EINVAL), settings) == nil)
        for code in [EPERM, EACCES] {
            settings.appArmorRestriction = 0
            #expect(UserNamespaceRefusal.hint(mapping: Errno(code), settings) == "forbidden by a security module or by the container around us")
            settings.appArmorRestriction = 1
            #expect(UserNamespaceRefusal.hint(mapping: Errno(code), settings)?.hasSuffix("set kernel.apparmor_restrict_unprivileged_userns=0 with sysctl") == true)
        }
    }
}
