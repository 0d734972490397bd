internal import CLinux

/// One instruction of the kernel's classic packet filter language, as `struct sock_filter` holds it.
public struct FilterInstruction: Equatable, Sendable, BitwiseCopyable {
    public let code: UInt16
    /// Instructions to skip when a comparison holds, and when it does not.
    public let ifTrue: UInt8
    public let ifFalse: UInt8
    public let constant: UInt32

    private init(_ code: Int32, _ constant: UInt32, _ ifTrue: Int = 0, _ ifFalse: Int = 0) {
        self.code = UInt16(truncatingIfNeeded: code)
        self.constant = constant
        // A jump that does not fit is a bug of who builds the program, found when it is built.
        self.ifTrue = UInt8(ifTrue)
        self.ifFalse = UInt8(ifFalse)
    }

    /// A word of `struct seccomp_data`, by its offset.
    public static func load(_ offset: UInt32) -> Self { Self(BPF_LD | BPF_W | BPF_ABS, offset) }
    public static func and(_ mask: UInt32) -> Self { Self(BPF_ALU | BPF_AND | BPF_K, mask) }
    public static func equal(_ value: UInt32, then: Int = 0, else other: Int = 0) -> Self {
        Self(BPF_JMP | BPF_JEQ | BPF_K, value, then, other)
    }
    /// Whether any of these bits is set.
    public static func has(_ bits: UInt32, then: Int = 0, else other: Int = 0) -> Self {
        Self(BPF_JMP | BPF_JSET | BPF_K, bits, then, other)
    }
    public static var allow: Self { Self(BPF_RET | BPF_K, linux_SECCOMP_RET_ALLOW()) }
    /// Ends the process, not the thread only (Linux 4.14; before, the thread, and there is one).
    public static var kill: Self { Self(BPF_RET | BPF_K, linux_SECCOMP_RET_KILL_PROCESS()) }
}

/// What `FilterInstruction.load` finds where: linux/seccomp.h.
public enum SystemCallData {
    public static var number: UInt32 { 0 }
    public static var architecture: UInt32 { 4 }
    /// The low half of an argument; the kernel's numbers are in the machine's order, and both machines are little-endian.
    public static func argument(_ index: Int) -> UInt32 { 16 + 8 * UInt32(truncatingIfNeeded: index) }
}

extension SystemCall.Architecture {
    /// What the kernel calls it in filters.
    public var filterNumber: UInt32 {
        switch self {
        case .x86_64: linux_AUDIT_ARCH_X86_64()
        case .aarch64: linux_AUDIT_ARCH_AARCH64()
        }
    }
}

public enum SystemCallFilter {
    /// Throws EINVAL where the kernel is built without.
    public static func checkAvailable() throws(Errno) {
        let result = linux_prctl(PR_SET_SECCOMP, UInt(SECCOMP_MODE_FILTER), 0, 0, 0)
        // Nowhere is a program: who gets to look for it would take one.
        if result != -EFAULT { throw Errno(result < 0 ? -result : EINVAL) }
    }

    /// Everything that this thread, the only one, calls from here on must pass the program. It cannot be undone. (prctl)
    public static func install(_ program: [FilterInstruction]) throws(Errno) {
        let count = UInt16(clamping: program.count)
        // SAFETY: an instruction has the layout of `struct sock_filter`, and the kernel copies them during the call.
        try Errno.check(unsafe linux_seccomp_filter(program, count))
    }
}

public enum Heap {
    /// Takes memory from the kernel that later allocations can use without asking it again. Untouched it costs nothing. (brk)
    public static func reserve(byteCount: Int) throws(Errno) {
        try Errno.check(linux_reserve_heap(byteCount))
    }
}
