internal import CLinux

/// Whether the kernel leaves a connection's state to whoever holds its socket (TCP_REPAIR). Such a socket sends nothing, closing it tells the peer
/// nothing, and its sequence numbers and queues can be read and set.
public enum RepairMode: Int32, Sendable, CaseIterable {
    /// Back to normal, with a window probe to the peer.
    case off = 0
    case on = 1
    /// The same without a probe: the connection goes on elsewhere, or is not complete yet.
    case offWithoutProbe = -1
}

extension Descriptor {
    /// EPERM without CAP_NET_ADMIN in the user namespace that owns the socket's network namespace, and for sockets that listen. (setsockopt)
    public func setRepairMode(_ mode: RepairMode) throws(Errno) {
        try set(Int32(IPPROTO_TCP), TCP_REPAIR, mode.rawValue)
    }
}
