// Netlink: the kernel's links, addresses, routes and neighbours as values, and requests to change them.
//
//     NetlinkValues    what is read and written: plain structs, absent attributes are nil
//     NetlinkParsing   message > values; nothing in a message is believed, a length least of all
//     NetlinkBatch     values > requests, several in one buffer
//     NetlinkSocket    the conversation: dumps, and batches that are answered once
//     NetlinkNeighbours   notifications, on a socket of their own so that they never mix with replies
//
// A socket belongs to the network namespace of the thread that opened it, wherever it is used from.
// Calls needed: socket, setsockopt, bind, getsockname, sendto, recvmsg; after start only recvmsg.

internal import CLinux
public import Wire

/// The two address families there are here.
public enum IPFamily: Sendable, Equatable, Hashable, BitwiseCopyable {
    case ipv4, ipv6

    /// Bits of an address.
    public var bits: Int { self == .ipv4 ? 32 : 128 }
    public var name: String { self == .ipv4 ? "IPv4" : "IPv6" }

    init?(_ number: UInt8) {
        switch Int32(number) {
        case AF_INET: self = .ipv4
        case AF_INET6: self = .ipv6
        default: return nil
        }
    }

    var number: UInt8 { UInt8(truncatingIfNeeded: self == .ipv4 ? AF_INET : AF_INET6) }

    /// Whether the kernel has the family at all, and lets us use it.
    public var isSupported: Bool {
        let socket = linux_socket(Int32(number), Int32(SOCK_DGRAM.rawValue | SOCK_CLOEXEC.rawValue), 0)
        guard socket >= 0 else { return false }
        Descriptor(socket).close()
        return true
    }
}

/// A network interface.
public struct Link: Sendable, Equatable {
    public var index: Int32
    public var name: String
    /// IFF_ flags.
    public var flags: UInt32
    public var mtu: Int
    /// nil where the link layer has no 48-bit addresses.
    public var mac: MACAddress?
    /// ARPHRD_ number.
    public var type: UInt16

    public init(index: Int32, name: String, flags: UInt32, mtu: Int, mac: MACAddress?, type: UInt16) {
        (self.index, self.name, self.flags) = (index, name, flags)
        (self.mtu, self.mac, self.type) = (mtu, mac, type)
    }

    public var isLoopback: Bool { flags & UInt32(IFF_LOOPBACK) != 0 }
    public var isUp: Bool { flags & UInt32(IFF_UP) != 0 }
    public var hasCarrier: Bool { flags & UInt32(IFF_RUNNING) != 0 }
    /// The same number in every namespace.
    public static let loopbackIndex: Int32 = 1
}

/// An address of an interface.
public struct InterfaceAddress: Sendable, Equatable {
    /// IFA_F_ flags.
    public struct Flags: OptionSet, Sendable, BitwiseCopyable {
        public let rawValue: UInt32
        public init(rawValue: UInt32) { self.rawValue = rawValue }

        /// IPv4: not the first of its subnet. The kernel uses the same bit for `temporary`.
        public static let secondary = Flags(rawValue: UInt32(IFA_F_SECONDARY))
        /// IPv6: a privacy address (RFC 8981).
        public static let temporary = Flags(rawValue: UInt32(IFA_F_SECONDARY))
        public static let noDuplicateDetection = Flags(rawValue: UInt32(IFA_F_NODAD))
        public static let duplicate = Flags(rawValue: UInt32(IFA_F_DADFAILED))
        public static let deprecated = Flags(rawValue: UInt32(IFA_F_DEPRECATED))
        public static let tentative = Flags(rawValue: UInt32(IFA_F_TENTATIVE))
        public static let permanent = Flags(rawValue: UInt32(IFA_F_PERMANENT))
    }

    public var index: Int32
    public var family: IPFamily
    public var address: IPAddress
    /// The other end of a point-to-point link, if the address names one.
    public var peer: IPAddress?
    public var broadcast: IPAddress?
    /// 0 to 32 or 128, as the family allows.
    public var prefixLength: Int
    public var scope: UInt8
    public var flags: Flags
    /// Seconds left; nil for ever.
    public var preferredLifetime: UInt32?
    public var validLifetime: UInt32?

    public init(
        index: Int32 = 0, family: IPFamily, address: IPAddress, prefixLength: Int, scope: UInt8 = 0, flags: Flags = []
    ) {
        (self.index, self.family, self.address) = (index, family, address)
        (self.prefixLength, self.scope, self.flags) = (prefixLength, scope, flags)
    }
}

/// One way out of a route.
public struct NextHop: Sendable, Equatable {
    public var index: Int32
    /// nil for a destination on the link. May be an IPv6 address on an IPv4 route (RFC 5549).
    public var gateway: IPAddress?
    /// Share of the traffic among the hops of a route, 1 to 256.
    public var weight: Int
    /// RTNH_F_ flags.
    public var flags: UInt32

    public init(index: Int32, gateway: IPAddress? = nil, weight: Int = 1, flags: UInt32 = 0) {
        (self.index, self.gateway, self.weight, self.flags) = (index, gateway, weight, flags)
    }

    /// Down, or without carrier.
    public var isDead: Bool { flags & UInt32(RTNH_F_DEAD | RTNH_F_LINKDOWN) != 0 }
}

/// A route.
public struct Route: Sendable, Equatable {
    public var family: IPFamily
    /// nil for the default route.
    public var destination: IPAddress?
    public var prefixLength: Int
    /// Above 0 for routes that hold for some sources only.
    public var sourcePrefixLength = 0
    /// One, or several for a multipath route; none for routes that lead nowhere.
    public var hops: [NextHop]
    /// RTA_PRIORITY; lower is preferred.
    public var metric: UInt32 = 0
    public var table: UInt32 = Route.mainTable
    public var type: UInt8 = Route.unicast
    public var scope: UInt8 = 0
    public var proto: UInt8 = Route.bootProtocol
    public var tos: UInt8 = 0
    /// RTM_F_ flags.
    public var flags: UInt32 = 0
    public var preferredSource: IPAddress?
    /// Seconds times USER_HZ, negative when over; 0 without an end.
    public var expires: Int32 = 0
    /// RTA_PREF: 0 medium, 1 high, 3 low (RFC 4191).
    public var preference: UInt8?
    /// RTAX_ metrics that are numbers, in the kernel's order.
    public var metrics: [Metric] = []

    public struct Metric: Sendable, Equatable {
        public var kind: UInt16
        public var value: UInt32

        public init(kind: UInt16, value: UInt32) { (self.kind, self.value) = (kind, value) }

        public static let mtu = UInt16(RTAX_MTU)
        public static let maximumSegment = UInt16(RTAX_ADVMSS)
    }

    public init(family: IPFamily, destination: IPAddress? = nil, prefixLength: Int = 0, hops: [NextHop]) {
        (self.family, self.destination, self.prefixLength, self.hops) = (family, destination, prefixLength, hops)
    }

    public static let mainTable = UInt32(RT_TABLE_MAIN.rawValue)
    public static let unicast = UInt8(RTN_UNICAST)
    public static let bootProtocol = UInt8(RTPROT_BOOT)
    /// Made by the kernel beside an address.
    public static let kernelProtocol = UInt8(RTPROT_KERNEL)
    public static let linkScope = UInt8(RT_SCOPE_LINK.rawValue)
    public static let hostScope = UInt8(RT_SCOPE_HOST.rawValue)

    /// An exception that the kernel cached, not a configured route.
    public var isCloned: Bool { flags & UInt32(RTM_F_CLONED) != 0 }
}

/// An entry of the neighbour table.
public struct Neighbour: Sendable, Equatable, BitwiseCopyable {
    public var index: Int32
    public var address: IPAddress
    /// nil while it is unknown.
    public var mac: MACAddress?
    /// NUD_ state bits.
    public var state: UInt16

    @inlinable @_noAllocation @_noLocks
    public init(index: Int32, address: IPAddress, mac: MACAddress?, state: UInt16) {
        (self.index, self.address, self.mac, self.state) = (index, address, mac, state)
    }

    /// The address was confirmed at some time and not refuted since.
    public var isValid: Bool {
        mac != nil && state & UInt16(NUD_REACHABLE | NUD_STALE | NUD_DELAY | NUD_PROBE | NUD_PERMANENT) != 0
    }

    /// Not merely remembered: it was confirmed a short time ago, somebody talks to it, or it was set by hand.
    public var isInUse: Bool { state & UInt16(NUD_REACHABLE | NUD_DELAY | NUD_PROBE | NUD_PERMANENT) != 0 }
}
