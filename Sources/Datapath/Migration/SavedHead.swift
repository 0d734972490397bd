internal import Linux
internal import Wire

/// How a saved state begins: what it is, how many connections follow, and who the guest is.
///
///     | magic, 8 | version, 4 | connections, 4 | link address, 8 | IPv4 address, 4 | zero, 4 | IPv6 address, 16 | link-local address, 16 |
struct SavedHead: BitwiseCopyable, Equatable {
    static var byteCount: Int { 64 }
    /// "passtSw1"
    private static var magic: UInt64 { 0x7061_7373_7453_7731 }
    private static var version: UInt32 { 1 }

    var connections: Int
    /// The broadcast address where it is not known; the others are zero.
    var mac: MACAddress
    var ipv4: IPv4Address
    var ipv6, linkLocal: IPv6Address

    init(_ guest: GuestIdentity, mac: MACAddress, connections: Int) {
        self.connections = connections
        self.mac = mac
        ipv4 = guest.ipv4 ?? IPv4Address.any
        ipv6 = guest.ipv6 ?? IPv6Address.any
        linkLocal = guest.linkLocal ?? IPv6Address.any
    }

    /// Nil for a state of another program or version.
    init?(_ bytes: borrowing RawSpan) {
        guard bytes.has(SavedHead.byteCount, at: 0), bytes.uint64(at: 0) == SavedHead.magic, bytes.uint32(at: 8) == SavedHead.version else { return nil }
        connections = Int(bytes.uint32(at: 12))
        mac = MACAddress(bytes.uint64(at: 16))
        ipv4 = IPv4Address(bytes.uint32(at: 24))
        ipv6 = IPv6Address(bytes, at: 32)
        linkLocal = IPv6Address(bytes, at: 48)
    }

    func write(to bytes: inout MutableRawSpan) {
        bytes.store(SavedHead.magic, at: 0)
        bytes.store(SavedHead.version, at: 8)
        bytes.store(UInt32(truncatingIfNeeded: connections), at: 12)
        bytes.store(mac.bits, at: 16)
        bytes.store(ipv4.bits, at: 24)
        bytes.store(0 as UInt32, at: 28)
        bytes.store(ipv6.high, at: 32)
        bytes.store(ipv6.low, at: 40)
        bytes.store(linkLocal.high, at: 48)
        bytes.store(linkLocal.low, at: 56)
    }

    /// Without addresses that a guest cannot have here.
    func restricted(_ mayBeGuest: (IPAddress) -> Bool) -> SavedHead {
        var head = self
        if !mayBeGuest(IPAddress(ipv4)) { head.ipv4 = .any }
        if !mayBeGuest(IPAddress(ipv6)) { head.ipv6 = .any }
        if !mayBeGuest(IPAddress(linkLocal)) { head.linkLocal = .any }
        return head
    }

    /// As if the guest had spoken (`Forwarder+Frames`): nobody has to wait until it does.
    func tell(_ guest: inout GuestIdentity) {
        if guest.hasIPv4, ipv4 != .any { guest.note(ipv4) }
        if guest.hasIPv6, !ipv6.isAny { guest.note(ipv6) }
        if guest.hasIPv6, linkLocal.isLinkLocal { guest.note(linkLocal) }
    }
}
