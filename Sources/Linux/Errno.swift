// Linux: typed system calls and nothing about protocols. A wrapper takes and returns values, restarts
// after EINTR, turns EAGAIN into nil where waiting is normal, and throws everything else as `Errno`.
// Pointers stay inside this folder; what goes out is spans and numbers.
//
//     Descriptor   files, sockets, ioctl        Mapping      anonymous memory, tables over it
//     Epoll        readiness                    MessageBatch many datagrams in one call
//     Tap          the namespace's device       Netlink      links, addresses, routes, neighbours
//     Process      fork, wait, signals          Namespace    unshare, setns, mounts

internal import CLinux

/// An error number of the kernel.
public struct Errno: Error, Equatable, Hashable, Sendable, BitwiseCopyable {
    public let code: Int32

    @inlinable @_noAllocation @_noLocks
    public init(_ code: Int32) { self.code = code }

    /// The kernel's words for it.
    public var text: String {
        // SAFETY: strerror returns a valid string for every number; it is copied before anything else can run.
        unsafe String(cString: strerror(code))
    }

    /// Throws for the negative results of a shim in CLinux, which hold `-errno`.
    @inlinable @discardableResult
    public static func check(_ result: Int32) throws(Errno) -> Int32 {
        if result < 0 { throw Errno(-result) }
        return result
    }

    @inlinable @discardableResult
    public static func check(_ result: Int) throws(Errno) -> Int {
        if result < 0 { throw Errno(Int32(truncatingIfNeeded: -result)) }
        return result
    }
}

// What a later try may find better.
extension Errno {
    /// A connected datagram socket's source address may be gone: the kernel refuses it, or an attempt to find another has failed.
    public var mayBeLostSource: Bool { code == EINVAL || code == EADDRNOTAVAIL || code == EDESTADDRREQ }
    public var isLackOfDescriptors: Bool { code == EMFILE || code == ENFILE }
    /// By the rules of a security module, which stay as they are.
    public var isForbidden: Bool { code == EACCES || code == EPERM }
    /// What accept(2) says of a socket that does not listen any more.
    public var isNoListener: Bool { code == EINVAL }
    /// Of descriptors, those on their way to another process among them, or of memory.
    public var isLackOfResources: Bool { isLackOfDescriptors || code == ENOMEM || code == ENOBUFS || code == ETOOMANYREFS }
}

extension Errno {
    /// epoll can never watch this file: one that is always ready (EPERM), or an epoll in that place (EINVAL, ELOOP). Any other refusal, ENOSPC for
    /// `fs.epoll.max_user_watches` and ENOMEM as a rule, is not the file's fault.
    public var isFaultOfWatched: Bool { code == EPERM || code == EINVAL || code == ELOOP }
}

/// Calls again for as long as a signal interrupted the call.
@inline(__always) @usableFromInline
func restarting<Result: SignedInteger>(_ call: () -> Result) -> Result {
    while true {
        let result = call()
        if result != -Result(EINTR) { return result }
    }
}
