import CLinux
import Linux
import Testing

@testable import Setup

private let accounts = AccountFiles(
    passwd: Array(
        """
        root:x:0:0:root:/root:/bin/sh
        # a comment
        broken:x:twelve:12::/:
        short:x
        nobody:x:65534:65533:nobody:/nonexistent:/usr/sbin/nologin
        user:x:1000:100::/home/user:/bin/sh
        no-newline:x:7:8::/:
        """.utf8),
    group: Array("root:x:0:\nusers:x:100:user\nempty:x::\n4294967295:x:5:\n".utf8))

@Suite struct ProcessTests {
    @Test(arguments: [
        ("1000", 1000, 100), ("4711", 4711, 4711), ("1000:5", 1000, 5), ("user", 1000, 100), ("user:root", 1000, 0), ("nobody:users", 65534, 100),
        ("no-newline", 7, 8), ("0", 0, 0),
    ] as [(String, UInt32, UInt32)])
    func runAs(_ text: String, _ user: UInt32, _ group: UInt32) throws {
        #expect(try UserIdentity.parse(text, accounts) == UserIdentity(user: user, group: group))
    }

    @Test(arguments: [
        ("ghost", "Unknown user ghost in option --runas ghost"),
        ("", "Unknown user  in option --runas "),
        ("broken", "Unknown user broken in option --runas broken"),
        ("short", "Unknown user short in option --runas short"),
        ("user:ghosts", "Unknown group ghosts in option --runas user:ghosts"),
        ("user:empty", "Unknown group empty in option --runas user:empty"),
        ("user:", "Unknown group  in option --runas user:"),
        ("4294967295", "Invalid number in option --runas 4294967295"),
        ("1:4294967295", "Invalid number in option --runas 1:4294967295"),
    ])
    func runAsErrors(_ text: String, _ message: String) {
        #expect(throws: SetupError(.options, message)) { try UserIdentity.parse(text, accounts) }
    }

    @Test(arguments: [
        ("         0          0 4294967295\n", true), ("         0       1000          1\n", false), ("", false),
        ("         0          0 4294967295\n 1 1 1\n", false),
    ])
    func initialUserNamespace(_ map: String, _ expected: Bool) {
        #expect(UserIdentity.isIdentityMap(Array(map.utf8)) == expected)
    }

    /// Root that cannot tell where it is must not stay root.
    @Test func anUnreadableMapMayBeTheMachines() throws {
        #expect(UserIdentity.isInitialUserNamespace("/nonexistent/uid_map"))
        try withTemporaryDirectory { directory in
            try write("         0       1000          1\n", to: "\(directory)/uid_map")
            #expect(!UserIdentity.isInitialUserNamespace("\(directory)/uid_map"))
        }
    }

    /// A background process that is killed before it is ready can say nothing itself.
    @Test(arguments: [
        (.exited(1), nil), (.exited(2), "Couldn't go to the background: the process ended with status 2"),
        (.killed(signal: 9), "Couldn't go to the background: the process ended by signal 9, as where memory is short"),
        (.killed(signal: 31), "Couldn't go to the background: the process ended by signal 31, as a filter of system calls does (systemd has SystemCallFilter=)"),
        (.killed(signal: 11), "Couldn't go to the background: the process ended by signal 11"), (.none, nil),
    ] as [(ChildStatus, String?)])
    func anEndBeforeItWasReady(_ status: ChildStatus, _ expected: String?) {
        #expect(Daemonizer.complaint(status) == expected)
    }

    @Test func lesson46_descriptorsNamedAnywhereAreKept() {
        let paths: [String?] = [
            "/proc/self/fd/0", "/dev/fd/17", nil, "/proc/\(Process.identifier)/fd/5", "/run/netns/6", "/proc/self/fd/x", "/proc/self/fd/", "9",
            "/proc/1/fd/8", "/proc/self/fd/99999999999",
        ]
        #expect(StandardDescriptors.mentioned(in: paths) == [Descriptor(0), Descriptor(17), Descriptor(5)])
    }

    @Test func lesson46_closesOnlyTheRangeOneByOne() throws {
        // Far away from what other tests use, which run beside this one, and no farther than the kernel's table may well grow.
        let top = Int32(truncatingIfNeeded: min(sysconf(Int32(_SC_OPEN_MAX)), 1 << 20)) - 10
        let base = try Descriptor.open("/dev/null", O_RDWR)
        defer { base.close() }
        let numbers = try [top, top + 1, top + 3].map { try base.duplicate(atLeast: $0) }
        try #require(numbers.map(\.number) == [top, top + 1, top + 3])
        try StandardDescriptors.closeOneByOne(UInt32(top + 1)...UInt32(top + 9))
        #expect(numbers.map(\.isInUse) == [true, false, false])
        numbers[0].close()
    }

    @Test func pidFileIsTruncatedAndComplete() throws {
        try withTemporaryDirectory { directory in
            let path = "\(directory)/pid"
            try write("left over from before\n", to: path)
            let file = try PidFile(path: path)
            #expect(try text(of: path) == "")
            try file.write(4711)
            #expect(try text(of: path) == "4711\n")
        }
    }

    @Test func pidFileErrorNamesOptionAndValue() {
        #expect(throws: SetupError(.process, "Couldn't open PID file for option --pid /nonexistent/p: No such file or directory")) {
            try PidFile(path: "/nonexistent/p")
        }
        #expect(throws: SetupError(.process, "Couldn't write PID file for option --pid /dev/full: No space left on device")) {
            try PidFile(path: "/dev/full").write(1)
        }
    }

    @Test func signalMasksInStatus() {
        let status = Array("Name:\tx\nSigBlk:\t0000000000000002\nSigIgn:\t0000000000381000\nSigCgt:\t00000001a00f0a02\nCapInh:\t0\n".utf8)
        #expect(SpawnedCommand.mask("\nSigIgn:", status.span) == 0x381000)
        #expect(SpawnedCommand.mask("\nSigCgt:", status.span) == 0x1_a00f_0a02)
        #expect(SpawnedCommand.mask("\nSigAbc:", status.span) == 0)
        #expect(SpawnedCommand.mask("\nSigCgt:", Array("\nSigCg".utf8).span) == 0)
    }

    @Test(arguments: [
        (ChildStatus.exited(7), 7), (.killed(signal: 9), 137), (.stopped(signal: 19), nil), (.none, 1),
    ] as [(ChildStatus, Int32?)])
    func exitStatus(_ status: ChildStatus, _ expected: Int32?) {
        #expect(status.exitStatus == expected)
    }
}
