// What may be called once the process is closed in. Each wrapper says beside its code what it needs, as an
// extension of `SystemCall`; parts of the program collect what they use, and the daemon collects the parts. A wrapper
// that is missing on these lists works in set-up only: later it ends the process.
//
// A permission may ask for values of arguments, where that is cheap and takes something away from an attacker.
// Only whole numbers can be looked at, never what a pointer points to.

/// A call of the kernel, by the number that it has on each architecture.
public struct SystemCall: Equatable, Hashable, Sendable {
    public enum Architecture: CaseIterable, Sendable {
        case x86_64
        case aarch64

        public static var current: Architecture {
            #if arch(x86_64)
            .x86_64
            #elseif arch(arm64)
            .aarch64
            #else
            #error("system calls have other numbers here")
            #endif
        }
    }

    public let name: String
    private let x86: UInt32
    private let arm: UInt32

    private init(_ name: String, _ x86: UInt32, _ arm: UInt32) {
        self.name = name
        self.x86 = x86
        self.arm = arm
    }

    public func number(on architecture: Architecture) -> UInt32 {
        switch architecture {
        case .x86_64: x86
        case .aarch64: arm
        }
    }
}

extension SystemCall {
    /// A call, alone or with what its arguments must be. Several permissions of one call are alternatives.
    public struct Permission: Equatable, Sendable {
        public let call: SystemCall
        /// All must hold.
        public let conditions: [Condition]

        init(_ call: SystemCall, _ conditions: Condition...) {
            self.call = call
            self.conditions = conditions
        }
    }

    /// The low 32 bits of an argument, which are all of an `int`, after taking away `ignored` bits, are one of `values`.
    public struct Condition: Equatable, Sendable {
        public let argument: Int
        public let ignored: UInt32
        public let values: [UInt32]

        init(_ argument: Int, _ values: [Int32], ignoring ignored: Int32 = 0) {
            self.argument = argument
            self.ignored = UInt32(bitPattern: ignored)
            self.values = values.map { UInt32(bitPattern: $0) }
        }
    }
}

// From the kernel's tables: arch/x86/entry/syscalls/syscall_64.tbl, include/uapi/asm-generic/unistd.h.
extension SystemCall {
    static var accept4: SystemCall { SystemCall("accept4", 288, 242) }
    static var bind: SystemCall { SystemCall("bind", 49, 200) }
    static var clockGettime: SystemCall { SystemCall("clock_gettime", 228, 113) }
    static var close: SystemCall { SystemCall("close", 3, 57) }
    static var connect: SystemCall { SystemCall("connect", 42, 203) }
    static var epollControl: SystemCall { SystemCall("epoll_ctl", 233, 21) }
    static var epollPwait2: SystemCall { SystemCall("epoll_pwait2", 441, 441) }
    /// For glibc's epoll_wait(): on aarch64 it is epoll_pwait.
    static var epollWait: SystemCall { SystemCall("epoll_wait", 232, 22) }
    static var exitGroup: SystemCall { SystemCall("exit_group", 231, 94) }
    static var ftruncate: SystemCall { SystemCall("ftruncate", 77, 46) }
    static var getpeername: SystemCall { SystemCall("getpeername", 52, 205) }
    static var getsockname: SystemCall { SystemCall("getsockname", 51, 204) }
    static var getsockopt: SystemCall { SystemCall("getsockopt", 55, 209) }
    static var kill: SystemCall { SystemCall("kill", 62, 129) }
    static var listen: SystemCall { SystemCall("listen", 50, 201) }
    static var lseek: SystemCall { SystemCall("lseek", 8, 62) }
    static var mmap: SystemCall { SystemCall("mmap", 9, 222) }
    static var munmap: SystemCall { SystemCall("munmap", 11, 215) }
    static var newfstatat: SystemCall { SystemCall("newfstatat", 262, 79) }
    static var pipe2: SystemCall { SystemCall("pipe2", 293, 59) }
    /// For glibc's poll(): on aarch64 it is ppoll.
    static var poll: SystemCall { SystemCall("poll", 7, 73) }
    /// What the kernel goes on with by itself where a call with a timeout was interrupted by a stop (`poll`; restart_syscall(2)).
    static var restart: SystemCall { SystemCall("restart_syscall", 219, 128) }
    static var pread64: SystemCall { SystemCall("pread64", 17, 67) }
    static var pwrite64: SystemCall { SystemCall("pwrite64", 18, 68) }
    static var read: SystemCall { SystemCall("read", 0, 63) }
    static var recvfrom: SystemCall { SystemCall("recvfrom", 45, 207) }
    static var recvmmsg: SystemCall { SystemCall("recvmmsg", 299, 243) }
    static var recvmsg: SystemCall { SystemCall("recvmsg", 47, 212) }
    static var schedYield: SystemCall { SystemCall("sched_yield", 24, 124) }
    static var sendfile: SystemCall { SystemCall("sendfile", 40, 71) }
    static var sendmmsg: SystemCall { SystemCall("sendmmsg", 307, 269) }
    static var sendmsg: SystemCall { SystemCall("sendmsg", 46, 211) }
    static var sendto: SystemCall { SystemCall("sendto", 44, 206) }
    static var setsockopt: SystemCall { SystemCall("setsockopt", 54, 208) }
    static var shutdown: SystemCall { SystemCall("shutdown", 48, 210) }
    static var socket: SystemCall { SystemCall("socket", 41, 198) }
    static var splice: SystemCall { SystemCall("splice", 275, 76) }
    static var wait4: SystemCall { SystemCall("wait4", 61, 260) }
    static var write: SystemCall { SystemCall("write", 1, 64) }
    static var writev: SystemCall { SystemCall("writev", 20, 66) }
}

extension SystemCall.Permission {
    /// setsockopt() for these options of a level.
    static func setting(_ level: Int32, _ options: Int32...) -> SystemCall.Permission {
        SystemCall.Permission(.setsockopt, SystemCall.Condition(1, [level]), SystemCall.Condition(2, options))
    }
}
