internal import CLinux
internal import Wire

/// The kernel's list of sockets (NETLINK_SOCK_DIAG, sock_diag(7)), filtered by the kernel itself to those that others may turn to: its cost does not
/// grow with the number of connections. What is asked and answered belongs to the namespace that the socket was opened in.
struct SocketDiagnosis {
    let descriptor: Descriptor

    /// `struct nlmsghdr` and `struct inet_diag_req_v2`.
    static var requestSize: Int { 72 }
    // enum in include/net/tcp_states.h. UDP borrows from TCP: a socket that is not connected is "closed".
    private static var listening: UInt32 { 1 << 10 }
    private static var closed: UInt32 { 1 << 7 }

    init() throws(Errno) {
        let flags = SOCK_RAW.rawValue | SOCK_CLOEXEC.rawValue | SOCK_NONBLOCK.rawValue
        descriptor = Descriptor(try Errno.check(linux_socket(AF_NETLINK, Int32(flags), NETLINK_SOCK_DIAG)))
    }

    init(_ descriptor: Descriptor) { self.descriptor = descriptor }

    /// Whether the kernel answers for TCP and UDP of IPv4; otherwise this is closed.
    func works() -> Bool {
        do throws(Errno) {
            var buffer = try Mapping(byteCount: BoundSockets.bufferSize)
            for isTCP in [true, false] { try forEach(isTCP: isTCP, isIPv4: true, buffer: &buffer) { _ in } }
            return true
        } catch {
            descriptor.close()
            return false
        }
    }

    func forEach(isTCP: Bool, isIPv4: Bool, buffer: inout Mapping, _ note: (BoundSocket) -> Void) throws(Errno) {
        // An answer to an earlier question that was not read to its end has another number.
        let sequence: UInt32 = 1 + (isTCP ? 2 : 0) + (isIPv4 ? 1 : 0)
        try drain(&buffer)
        var request = buffer.mutableBytes
        SocketDiagnosis.write(isTCP: isTCP, isIPv4: isIPv4, sequence: sequence, to: &request)
        try Errno.check(descriptor.sendNetlink(buffer.bytes.extracting(0..<SocketDiagnosis.requestSize)))
        while true {
            var bytes = buffer.mutableBytes
            let count = try Errno.check(descriptor.receiveNetlink(into: &bytes, flags: Int32(MSG_DONTWAIT)))
            if let end = SocketDiagnosis.read(buffer.bytes.extracting(0..<count), sequence: sequence, note) {
                if end != 0 { throw Errno(end) }
                return
            }
        }
    }

    private func drain(_ buffer: inout Mapping) throws(Errno) {
        while true {
            var bytes = buffer.mutableBytes
            let count = descriptor.receiveNetlink(into: &bytes, flags: Int32(MSG_DONTWAIT))
            if count == -Int(EAGAIN) { return }
            try Errno.check(count)
        }
    }

    /// SOCK_DIAG_BY_FAMILY for all sockets in the one state that matters.
    static func write(isTCP: Bool, isIPv4: Bool, sequence: UInt32, to bytes: inout MutableRawSpan) {
        for offset in stride(from: 0, to: requestSize, by: 8) { bytes.store(UInt64(0), at: offset) }
        bytes.storeNative(UInt32(requestSize), at: 0)
        bytes.storeNative(UInt16(SOCK_DIAG_BY_FAMILY), at: 4)
        bytes.storeNative(UInt16(NLM_F_REQUEST | NLM_F_DUMP), at: 6)
        bytes.storeNative(sequence, at: 8)
        bytes.store(UInt8(isIPv4 ? AF_INET : AF_INET6), at: 16)
        bytes.store(UInt8(isTCP ? IPPROTO_TCP : IPPROTO_UDP), at: 17)
        bytes.storeNative(isTCP ? listening : closed, at: 20)
    }

    /// Passes on what a datagram holds; nil: more is to come, 0: that was all, otherwise the kernel's error.
    static func read(_ bytes: borrowing RawSpan, sequence: UInt32, _ note: (BoundSocket) -> Void) -> Int32? {
        var offset = 0
        while let header = NetlinkHeader(bytes, at: offset) {
            offset = header.next
            guard header.sequence == sequence else { continue }
            switch header.type {
            case NLMSG_DONE, NLMSG_ERROR: return max(header.error(bytes), 0)
            default: if let socket = BoundSocket(bytes, header) { note(socket) }
            }
        }
        return nil
    }
}

extension BoundSocket {
    /// `struct inet_diag_msg`: family, state, timer, retransmissions; ports and addresses of both ends; interface; cookie; five numbers. Attributes follow.
    @_noAllocation @_noLocks
    init?(_ bytes: borrowing RawSpan, _ header: NetlinkHeader) {
        guard header.type == Int32(SOCK_DIAG_BY_FAMILY), var attributes = header.attributes(behind: 72) else { return nil }
        let start = header.start
        let family = Int32(bytes.uint8(at: start))
        if family == AF_INET {
            address = IPAddress(IPv4Address(bytes.uint32(at: start + 8)))
        } else if family == AF_INET6 {
            address = IPAddress(IPv6Address(bytes, at: start + 8))
        } else {
            return nil
        }
        port = bytes.uint16(at: start + 4)
        interface = bytes.nativeUInt32(at: start + 40)
        // Kernels that do not say are older than any that we meet; then: as is usual.
        var isIPv6Only = false
        while let attribute = attributes.next(bytes) {
            if attribute.type == Int(INET_DIAG_SKV6ONLY), let value = attribute.uint8(bytes) { isIPv6Only = value != 0 }
        }
        servesBoth = !address.isIPv4 && address.isAny && !isIPv6Only
        if port == 0 { return nil }
    }
}
