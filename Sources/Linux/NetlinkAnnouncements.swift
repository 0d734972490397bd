internal import CLinux
public import Wire

/// What the kernel tells all who listen.
public enum Announcement: Sendable, BitwiseCopyable {
    /// A deleted entry has neither MAC nor state.
    case neighbour(Neighbour)
    /// The host has this address no more, on one of its interfaces.
    case addressGone(IPAddress)
    /// It has this one, which others can reach, on the interface of this index.
    case addressCame(IPAddress, index: Int32)
    /// There is an interface of this name, new or as before.
    case linkCame(InterfaceName, index: Int32)
    /// Nothing more follows of what was asked for by `ask`. Not complete: the kernel has refused the rest.
    case endOfList(isComplete: Bool)
}

/// Changes of the neighbour table, and addresses and interfaces that come and go, as the kernel announces them (RTMGRP_NEIGH and the like). A socket of its own.
public struct AnnouncementListener: Sendable {
    /// Readable when there is something to read; whoever keeps the listener closes it.
    public let descriptor: Descriptor

    /// Listens in the calling thread's network namespace. Open it before dumping the table, so that no change is lost in between.
    public init() throws(Errno) {
        (descriptor, _) = try Descriptor.netlink(groups: UInt32(RTMGRP_LINK | RTMGRP_NEIGH | RTMGRP_IPV4_IFADDR | RTMGRP_IPV6_IFADDR), nonBlocking: true)
    }

    /// Reads one datagram: its bytes, 0 when there is none, or `-errno`. ENOBUFS says that announcements were lost.
    public func receive(into bytes: inout MutableRawSpan) -> Int {
        let result = descriptor.receiveNetlink(into: &bytes, flags: Int32(MSG_DONTWAIT))
        return result == -Int(EAGAIN) ? 0 : result
    }

    /// What can be asked for once announcements were lost.
    public enum List: UInt8, Sendable { case links, addresses, neighbours }

    /// Has the kernel say all of `list`, as if each entry were new, and then `.endOfList`. One at a time. False: it will not. (sendmsg)
    public func ask(for list: List) -> Bool {
        let type = switch list {
        case .links: RTM_GETLINK
        case .addresses: RTM_GETADDR
        case .neighbours: RTM_GETNEIGH
        }
        // `struct nlmsghdr` and `struct rtgenmsg`, of any family, in the machine's order.
        var request = InlineArray<20, UInt8>(repeating: 0)
        var span = request.mutableSpan
        // SAFETY: every bit pattern is a UInt8.
        var bytes = unsafe span.mutableBytes
        bytes.store(UInt32(bigEndian: 20), at: 0)
        bytes.store(UInt16(bigEndian: UInt16(truncatingIfNeeded: Int(type))), at: 4)
        bytes.store(UInt16(bigEndian: UInt16(NLM_F_REQUEST | NLM_F_ROOT | NLM_F_MATCH)), at: 6)
        return descriptor.sendNetlink(bytes.bytes) == 20
    }

    /// The next one in a datagram from `offset` on, which moves behind it; nil at the end.
    @_noAllocation @_noLocks
    public static func next(in bytes: borrowing RawSpan, at offset: inout Int) -> Announcement? {
        while let header = NetlinkHeader(bytes, at: offset) {
            offset = header.next
            if header.type == NLMSG_DONE || header.type == NLMSG_ERROR {
                return .endOfList(isComplete: header.type == NLMSG_DONE && header.error(bytes) == 0)
            }
            if let neighbour = Neighbour(bytes, header) { return .neighbour(neighbour) }
            if let address = InterfaceAddress.gone(bytes, header) { return .addressGone(address) }
            if let (name, index) = Link.came(bytes, header) { return .linkCame(name, index: index) }
            if let (address, index) = InterfaceAddress.came(bytes, header) { return .addressCame(address, index: index) }
        }
        return nil
    }
}

extension Descriptor {
    /// A routing socket and its port number, bound so that `groups` are received.
    static func netlink(groups: UInt32, nonBlocking: Bool) throws(Errno) -> (Descriptor, UInt32) {
        let flags = SOCK_RAW.rawValue | SOCK_CLOEXEC.rawValue | (nonBlocking ? SOCK_NONBLOCK.rawValue : 0)
        let descriptor = Descriptor(try Errno.check(linux_socket(AF_NETLINK, Int32(flags), NETLINK_ROUTE)))
        do throws(Errno) {
            var address = sockaddr_nl()
            address.nl_family = UInt16(AF_NETLINK)
            address.nl_groups = groups
            var length = UInt32(MemoryLayout<sockaddr_nl>.size)
            // SAFETY: both calls stay within the structure, whose size they are given.
            try Errno.check(unsafe linux_bind(descriptor.number, &address, length))
            try Errno.check(unsafe linux_getsockname(descriptor.number, &address, &length))
            return (descriptor, address.nl_pid)
        } catch {
            descriptor.close()
            throw error
        }
    }

    /// Switches an option of SOL_NETLINK on; kernels without it are left as they are.
    func setNetlinkOption(_ option: Int32) {
        var on: Int32 = 1
        // SAFETY: the kernel reads the four bytes of `on`.
        _ = unsafe linux_setsockopt(number, SOL_NETLINK, option, &on, UInt32(MemoryLayout<Int32>.size))
    }

    /// Sends one request to the kernel: its length, or `-errno`. (sendmsg)
    func sendNetlink(_ bytes: borrowing RawSpan) -> Int {
        let number = number
        // SAFETY: the kernel reads the span's bytes and the empty destination, both alive during the call, with their sizes.
        return unsafe bytes.withUnsafeBytes { buffer in
            var message = unsafe msghdr()
            var vector = unsafe iovec(iov_base: UnsafeMutableRawPointer(mutating: buffer.baseAddress), iov_len: buffer.count)
            return unsafe withUnsafeMutablePointer(to: &vector) { vector in
                unsafe message.msg_iov = vector
                unsafe message.msg_iovlen = 1
                return restarting { unsafe linux_sendmsg(number, &message, 0) }
            }
        }
    }

    /// One datagram that the kernel itself sent: its bytes, or `-errno`; EMSGSIZE when it did not fit.
    func receiveNetlink(into bytes: inout MutableRawSpan, flags: Int32) -> Int {
        let number = number
        // SAFETY: the message points to the span and to `sender`, both alive during the call, with their sizes.
        return unsafe bytes.withUnsafeMutableBytes { buffer in
            while true {
                var sender = sockaddr_nl()
                var message = unsafe msghdr()
                var vector = unsafe iovec(iov_base: buffer.baseAddress, iov_len: buffer.count)
                let result = unsafe withUnsafeMutablePointer(to: &sender) { sender in
                    unsafe withUnsafeMutablePointer(to: &vector) { vector in
                        unsafe message.msg_name = UnsafeMutableRawPointer(sender)
                        unsafe message.msg_namelen = UInt32(MemoryLayout<sockaddr_nl>.size)
                        unsafe message.msg_iov = vector
                        unsafe message.msg_iovlen = 1
                        return restarting { unsafe linux_recvmsg(number, &message, flags) }
                    }
                }
                if result < 0 { return result }
                // Any process with the right capability may write to our port.
                if sender.nl_pid != 0 { continue }
                if unsafe message.msg_flags & Int32(MSG_TRUNC) != 0 { return -Int(EMSGSIZE) }
                return result
            }
        }
    }
}

extension SystemCall {
    /// Listening to what was opened before, and asking.
    public static var announcements: [Permission] { [Permission(.recvmsg), Permission(.sendmsg)] }
}
