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

    /// Both lists against the kernel's header for the machine that runs this.
    @Test func numbersAreTheKernels() throws {
        let expected: [(String, Int)]
        #if arch(x86_64)
        expected = [
            ("read", 0), ("write", 1), ("close", 3), ("poll", 7), ("lseek", 8), ("pread64", 17), ("pwrite64", 18), ("writev", 20),
            ("socket", 41), ("connect", 42), ("sendto", 44), ("recvfrom", 45), ("sendmsg", 46), ("recvmsg", 47), ("shutdown", 48),
            ("bind", 49), ("getsockname", 51), ("setsockopt", 54), ("getsockopt", 55), ("wait4", 61), ("kill", 62), ("ftruncate", 77),
            ("clock_gettime", 228), ("exit_group", 231), ("epoll_wait", 232), ("epoll_ctl", 233), ("newfstatat", 262), ("accept4", 288), ("recvmmsg", 299),
            ("sendmmsg", 307), ("epoll_pwait2", 441),
        ]
        #else
        expected = []
        #endif
        for (name, number) in expected {
            let call = try #require(SeccompFilter.calls(PastaDaemon.mostPermissions).first { $0.name == name }, "\(name)")
            #expect(call.number(on: .current) == UInt32(number))
        }
    }
}
