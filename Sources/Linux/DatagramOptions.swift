internal import CLinux

/// Options of UDP and ping sockets, each of which has a number per family.
extension Descriptor {
    /// ICMP errors about what was sent are kept, with who reported them: see `nextQueuedError`.
    public func setReportErrors(isIPv4: Bool) throws(Errno) {
        try set(isIPv4, (IP_RECVERR, IPV6_RECVERR), 1)
    }

    /// Datagrams may be fragmented on their way, and are at the start of it where they exceed the MTU.
    public func setMayFragment(isIPv4: Bool) throws(Errno) {
        try set(isIPv4, (IP_MTU_DISCOVER, IPV6_MTU_DISCOVER), IP_PMTUDISC_DONT)
    }

    /// 1 to 255.
    public func setHopLimit(_ value: UInt8, isIPv4: Bool) throws(Errno) {
        try set(isIPv4, (IP_TTL, IPV6_UNICAST_HOPS), Int32(value))
    }

    public func hopLimit(isIPv4: Bool) throws(Errno) -> UInt8 {
        UInt8(clamping: try get(Int32(isIPv4 ? IPPROTO_IP : IPPROTO_IPV6), isIPv4 ? IP_TTL : IPV6_UNICAST_HOPS))
    }

    public func setMulticastHopLimit(_ value: UInt8, isIPv4: Bool) throws(Errno) {
        try set(isIPv4, (IP_MULTICAST_TTL, IPV6_MULTICAST_HOPS), Int32(value))
    }

    /// DSCP and ECN.
    public func setTypeOfService(_ value: UInt8, isIPv4: Bool) throws(Errno) {
        try set(isIPv4, (IP_TOS, IPV6_TCLASS), Int32(value))
    }

    /// May be bound to addresses that the host does not have.
    public func setFreebind(isIPv4: Bool) throws(Errno) {
        try set(isIPv4, (IP_FREEBIND, IPV6_FREEBIND), 1)
    }

    /// Datagrams tell which address they were sent to.
    public func setPacketInformation(isIPv4: Bool) throws(Errno) {
        try set(isIPv4, (IP_PKTINFO, IPV6_RECVPKTINFO), 1)
    }

    /// Takes part in no group that the socket has not joined itself.
    public func setOwnGroupsOnly(isIPv4: Bool) throws(Errno) {
        try set(isIPv4, (IP_MULTICAST_ALL, LinuxOption.ipv6MulticastAll), 0)
    }

    public func setMulticastInterface(index: Int32, isIPv4: Bool) throws(Errno) {
        if !isIPv4 {
            try set(Int32(IPPROTO_IPV6), IPV6_MULTICAST_IF, index)
            return
        }
        var request = ip_mreqn()
        request.imr_ifindex = index
        // SAFETY: the kernel reads the structure during the call.
        try Errno.check(
            unsafe linux_setsockopt(number, Int32(IPPROTO_IP), IP_MULTICAST_IF, &request, UInt32(MemoryLayout<ip_mreqn>.size)))
    }

    /// Off, a socket bound to all addresses serves IPv4, too.
    public func setIPv6Only(_ on: Bool = true) throws(Errno) { try set(Int32(IPPROTO_IPV6), IPV6_V6ONLY, on ? 1 : 0) }
    public func setReuseAddress(_ on: Bool = true) throws(Errno) { try set(SOL_SOCKET, SO_REUSEADDR, on ? 1 : 0) }
    public func setBroadcast() throws(Errno) { try set(SOL_SOCKET, SO_BROADCAST, 1) }

    /// Datagrams of one sender and size may arrive as one.
    public func setCoalescing() throws(Errno) { try set(Int32(IPPROTO_UDP), UDP_GRO, 1) }

    /// Whether the kernel can cut a message into datagrams (UDP_SEGMENT).
    public var canSegment: Bool { (try? get(Int32(IPPROTO_UDP), UDP_SEGMENT)) != nil }

    private func set(_ isIPv4: Bool, _ options: (Int32, Int32), _ value: Int32) throws(Errno) {
        try set(Int32(isIPv4 ? IPPROTO_IP : IPPROTO_IPV6), isIPv4 ? options.0 : options.1, value)
    }
}

enum LinuxOption {
    /// IPV6_MULTICAST_ALL; headers before Linux 4.20 lack it.
    static let ipv6MulticastAll: Int32 = 29
}

extension SystemCall {
    /// With `sockets`.
    public static var datagramOptions: [Permission] {
        [
            .setting(SOL_SOCKET, SO_REUSEADDR, SO_BROADCAST),
            .setting(Int32(IPPROTO_UDP), UDP_GRO),
            .setting(
                Int32(IPPROTO_IP), IP_RECVERR, IP_MTU_DISCOVER, IP_TTL, IP_MULTICAST_TTL, IP_TOS, IP_FREEBIND, IP_PKTINFO, IP_MULTICAST_ALL,
                IP_MULTICAST_IF),
            .setting(
                Int32(IPPROTO_IPV6), IPV6_RECVERR, IPV6_MTU_DISCOVER, IPV6_UNICAST_HOPS, IPV6_MULTICAST_HOPS, IPV6_TCLASS, IPV6_FREEBIND,
                IPV6_RECVPKTINFO, LinuxOption.ipv6MulticastAll, IPV6_MULTICAST_IF, IPV6_V6ONLY),
        ]
    }
}
