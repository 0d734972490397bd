import Datapath
import Linux
import Setup
import Testing

@testable import Daemon

@Suite struct SystemCallListTests {
    /// Prints what pasta may call once it is closed in, with every option; upstream has 43 calls (field guide 1.1).
    @Test(arguments: SystemCall.Architecture.allCases)
    func lesson47_pastaNeedsFewCalls(_ architecture: SystemCall.Architecture) {
        let calls = SeccompFilter.calls(PastaDaemon.mostPermissions)
        print("pasta, \(architecture): \(calls.count) system calls")
        for call in calls {
            let some = PastaDaemon.mostPermissions.allSatisfy { $0.call != call || !$0.conditions.isEmpty }
            print("    \(call.number(on: architecture)) \(call.name)\(some ? ", with some arguments only" : "")")
        }
        #expect(calls.count < 43)
        #expect(Set(calls.map { $0.number(on: architecture) }).count == calls.count)
    }

    /// The same for passt; upstream has 34.
    @Test(arguments: SystemCall.Architecture.allCases)
    func lesson47_passtNeedsFewCalls(_ architecture: SystemCall.Architecture) {
        let calls = SeccompFilter.calls(PasstDaemon.mostPermissions)
        print("passt, \(architecture): \(calls.count) system calls")
        for call in calls { print("    \(call.number(on: architecture)) \(call.name)") }
        #expect(calls.count < 34)
        #expect(SeccompFilter(PasstDaemon.mostPermissions, on: architecture).program.count < 256)
        let names = Set(calls.map(\.name))
        #expect(names.isDisjoint(with: ["mmap", "munmap", "brk", "clone", "execve", "openat", "ioctl", "fcntl", "kill", "wait4", "setns", "unshare"]))
    }

    /// Over a machine's memory, that can be mapped in addition: as data, shared with whoever gave the file.
    @Test(arguments: SystemCall.Architecture.allCases)
    func lesson47_passtOverMemoryMapsDataOnly(_ architecture: SystemCall.Architecture) {
        let permissions = PasstDaemon.mostPermissionsOverMemory
        let calls = SeccompFilter.calls(permissions)
        print("passt --vhost-user, \(architecture): \(calls.count) system calls")
        for call in calls { print("    \(call.number(on: architecture)) \(call.name)") }
        #expect(calls.count <= 35)
        let names = Set(calls.map(\.name))
        #expect(names.isDisjoint(with: ["brk", "mprotect", "mremap", "clone", "execve", "openat", "ioctl", "fcntl", "kill", "wait4", "setns", "unshare", "sendfile"]))
        let mapping = permissions.filter { $0.call.name == "mmap" }
        #expect(mapping.count == 1)
        // PROT_READ | PROT_WRITE; MAP_SHARED | MAP_NORESERVE.
        #expect(mapping[0].conditions.map(\.argument) == [2, 3] && mapping[0].conditions.map(\.values) == [[3], [0x4001]])
        #expect(mapping[0].conditions.allSatisfy { $0.ignored == 0 })
    }

    /// Nothing that takes memory, starts programs, opens files or grants rights.
    @Test func lesson47_noCallTakesMemoryOrRights() {
        let names = SeccompFilter.calls(PastaDaemon.mostPermissions).map(\.name)
        for name in [
            "mmap", "munmap", "mremap", "brk", "mprotect", "madvise", "futex", "clone", "clone3", "execve", "open", "openat", "ioctl",
            "fcntl", "prctl", "ptrace", "setns", "unshare", "mount", "bpf", "socketpair",
        ] {
            #expect(!names.contains(name), "\(name)")
        }
    }

    /// The kernel takes 4096 instructions.
    @Test(arguments: SystemCall.Architecture.allCases)
    func theProgramIsShort(_ architecture: SystemCall.Architecture) {
        #expect(SeccompFilter(PastaDaemon.mostPermissions, on: architecture).program.count < 256)
    }

    /// Numbers in the kernel's own headers: asm/unistd_64.h of x86, and asm-generic/unistd.h, which is aarch64's.
    private static let golden: [String: (x86: UInt32, arm: UInt32)] = [
        "accept4": (288, 242),
        "bind": (49, 200),
        "clock_gettime": (228, 113),
        "close": (3, 57),
        "connect": (42, 203),
        "epoll_ctl": (233, 21),
        "epoll_pwait2": (441, 441),
        "epoll_wait": (232, 22),  // there: epoll_pwait
        "exit_group": (231, 94),
        "ftruncate": (77, 46),
        "getpeername": (52, 205),
        "getsockname": (51, 204),
        "getsockopt": (55, 209),
        "kill": (62, 129),
        "listen": (50, 201),
        "lseek": (8, 62),
        "mmap": (9, 222),
        "munmap": (11, 215),
        "newfstatat": (262, 79),  // there: fstatat
        "pipe2": (293, 59),
        "poll": (7, 73),  // there: ppoll
        "pread64": (17, 67),
        "pwrite64": (18, 68),
        "read": (0, 63),
        "recvfrom": (45, 207),
        "recvmmsg": (299, 243),
        "recvmsg": (47, 212),
        "restart_syscall": (219, 128),
        "sched_yield": (24, 124),
        "sendfile": (40, 71),
        "sendmmsg": (307, 269),
        "sendmsg": (46, 211),
        "sendto": (44, 206),
        "setsockopt": (54, 208),
        "shutdown": (48, 210),
        "socket": (41, 198),
        "splice": (275, 76),
        "wait4": (61, 260),
        "write": (1, 64),
        "writev": (20, 66),
    ]

    /// Each call of every list has a number on both architectures, and it is the kernel's.
    @Test func numbersAreTheKernels() throws {
        let calls = SeccompFilter.calls(PastaDaemon.mostPermissions + PasstDaemon.mostPermissions + PasstDaemon.mostPermissionsOverMemory)
        #expect(calls.count > 20)
        for call in calls {
            let expected = try #require(Self.golden[call.name], "\(call.name) is not among the golden numbers")
            #expect(call.number(on: .x86_64) == expected.x86 && call.number(on: .aarch64) == expected.arm, "\(call.name)")
        }
    }

    /// What is permitted is the same on both, down to the arguments: only numbers differ.
    @Test(arguments: [PastaDaemon.mostPermissions, PasstDaemon.mostPermissions, PasstDaemon.mostPermissionsOverMemory])
    func bothArchitecturesPermitTheSame(_ permissions: [SystemCall.Permission]) {
        let programs = SystemCall.Architecture.allCases.map { SeccompFilter(permissions, on: $0).program }
        #expect(programs[0].count == programs[1].count)
        let calls = SeccompFilter.calls(permissions)
        for (a, b) in zip(programs[0], programs[1]) where a != b {
            // The architecture itself, or the number of a call.
            #expect(a.code == b.code && a.ifTrue == b.ifTrue && a.ifFalse == b.ifFalse)
            let isArchitecture = a.constant == SystemCall.Architecture.x86_64.filterNumber && b.constant == SystemCall.Architecture.aarch64.filterNumber
            #expect(isArchitecture || calls.contains { $0.number(on: .x86_64) == a.constant && $0.number(on: .aarch64) == b.constant })
        }
    }
}
