internal import CLinux
public import Wire

/// What to change about an interface; nil leaves it alone.
public struct LinkChange: Sendable, Equatable {
    public var isUp: Bool?
    public var mac: MACAddress?
    public var mtu: Int?
    public var transmitQueueLength: Int?
    /// Whether the kernel makes a link-local address when the interface comes up. Fails where IPv6 is off.
    public var makesLinkLocal: Bool?
    /// Bytes of TCP that the kernel hands to the device in one piece, at most; beyond 65536 is for devices that say so, and since Linux 5.19 (IPv6) and
    /// 6.3 (IPv4; what an older one does not know, it passes over).
    public var segmentationLimit: Int?

    public init(
        isUp: Bool? = nil, mac: MACAddress? = nil, mtu: Int? = nil, transmitQueueLength: Int? = nil, makesLinkLocal: Bool? = nil, segmentationLimit: Int? = nil
    ) {
        (self.isUp, self.mac, self.mtu) = (isUp, mac, mtu)
        (self.transmitQueueLength, self.makesLinkLocal) = (transmitQueueLength, makesLinkLocal)
        self.segmentationLimit = segmentationLimit
    }
}

/// Requests, one behind the other as they are sent. Their sequence numbers are filled in by the socket.
public struct NetlinkBatch: Sendable, Equatable {
    public private(set) var bytes: [UInt8] = []
    /// Where each request begins.
    public private(set) var starts: [Int] = []

    public init() {}

    public var count: Int { starts.count }

    /// RTM_SETLINK.
    public mutating func set(link index: Int32, _ change: LinkChange) {
        let up = UInt32(IFF_UP)
        begin(Int32(RTM_SETLINK), flags: 0)
        // struct ifinfomsg: family, padding, type; index; flags; which of them to change.
        append(UInt32(0))
        append(UInt32(bitPattern: index))
        append(change.isUp == true ? up : 0)
        append(change.isUp == nil ? 0 : up)
        if let mac = change.mac {
            let attribute = open(Int(IFLA_ADDRESS))
            for shift in stride(from: 40, through: 0, by: -8) { bytes.append(UInt8(truncatingIfNeeded: mac.bits >> UInt64(shift))) }
            close(attribute)
        }
        if let mtu = change.mtu { append(Int(IFLA_MTU), UInt32(clamping: mtu)) }
        if let length = change.transmitQueueLength { append(Int(IFLA_TXQLEN), UInt32(clamping: length)) }
        if let limit = change.segmentationLimit {
            append(Int(IFLA_GSO_MAX_SIZE), UInt32(clamping: limit))
            append(IFLA_GSO_IPV4_MAX_SIZE, UInt32(clamping: limit))
        }
        if let makes = change.makesLinkLocal {
            let specific = open(Int(IFLA_AF_SPEC) | Int(NLA_F_NESTED))
            let family = open(Int(AF_INET6) | Int(NLA_F_NESTED))
            let mode = makes ? IN6_ADDR_GEN_MODE_EUI64 : IN6_ADDR_GEN_MODE_NONE
            let attribute = open(Int(IFLA_INET6_ADDR_GEN_MODE))
            bytes.append(UInt8(truncatingIfNeeded: mode.rawValue))
            close(attribute)
            close(family)
            close(specific)
        }
        finish()
    }

    /// RTM_NEWADDR: a permanent address; the lifetimes and the index in `address` are not used.
    public mutating func add(_ address: InterfaceAddress, to index: Int32) {
        begin(Int32(RTM_NEWADDR), flags: NLM_F_CREATE | NLM_F_EXCL)
        // struct ifaddrmsg: family, prefix length, low flags, scope; index.
        bytes.append(address.family.number)
        bytes.append(UInt8(clamping: address.prefixLength))
        bytes.append(UInt8(truncatingIfNeeded: address.flags.rawValue))
        bytes.append(address.scope)
        append(UInt32(bitPattern: index))
        append(Int(IFA_LOCAL), address.address)
        append(Int(IFA_ADDRESS), address.peer ?? address.address)
        if let broadcast = address.broadcast { append(Int(IFA_BROADCAST), broadcast) }
        append(Int(IFA_FLAGS), address.flags.rawValue)
        finish()
    }

    /// RTM_NEWROUTE with the first of the route's hops, through the interface `index`. `isOnLink` tells the kernel
    /// to believe that the gateway is reachable directly.
    public mutating func add(_ route: Route, through index: Int32, isOnLink: Bool = false) {
        begin(Int32(RTM_NEWROUTE), flags: NLM_F_CREATE | NLM_F_EXCL)
        // struct rtmsg: family, lengths of destination and source, TOS; table, protocol, scope, type; flags.
        let gateway = route.hops.first?.gateway
        bytes.append(route.family.number)
        bytes.append(UInt8(clamping: route.prefixLength))
        bytes.append(0)
        bytes.append(route.tos)
        bytes.append(route.table < 256 ? UInt8(truncatingIfNeeded: route.table) : 0)
        bytes.append(route.proto)
        bytes.append(route.scope)
        bytes.append(route.type)
        append(isOnLink && gateway != nil ? UInt32(RTNH_F_ONLINK) : 0)
        if let destination = route.destination { append(Int(RTA_DST.rawValue), destination) }
        if let gateway { append(Int(RTA_GATEWAY.rawValue), gateway) }
        append(Int(RTA_OIF.rawValue), UInt32(bitPattern: index))
        if route.metric != 0 { append(Int(RTA_PRIORITY.rawValue), route.metric) }
        if let source = route.preferredSource { append(Int(RTA_PREFSRC.rawValue), source) }
        if route.table >= 256 { append(Int(RTA_TABLE.rawValue), route.table) }
        if let preference = route.preference {
            let attribute = open(Int(RTA_PREF.rawValue))
            bytes.append(preference)
            close(attribute)
        }
        if !route.metrics.isEmpty {
            let list = open(Int(RTA_METRICS.rawValue) | Int(NLA_F_NESTED))
            for metric in route.metrics { append(Int(metric.kind), metric.value) }
            close(list)
        }
        finish()
    }

    /// RTM_GETLINK: one interface by name, or all.
    mutating func getLinks(named name: String? = nil) {
        begin(Int32(RTM_GETLINK), flags: name == nil ? NLM_F_DUMP_ALL : 0)
        for _ in 0..<4 { append(UInt32(0)) }
        // Some of an answer's many counters stay away.
        append(Int(IFLA_EXT_MASK), UInt32(RTEXT_FILTER_SKIP_STATS))
        if let name {
            let attribute = open(Int(IFLA_IFNAME))
            bytes.append(contentsOf: name.utf8)
            bytes.append(0)
            close(attribute)
        }
        finish()
    }

    /// RTM_GETADDR; without a family, both.
    mutating func getAddresses(_ family: IPFamily?) {
        begin(Int32(RTM_GETADDR), flags: NLM_F_DUMP_ALL)
        append(family: family)
        append(UInt32(0))
        finish()
    }

    /// RTM_GETROUTE of one table. A kernel without strict checking sends all of them.
    mutating func getRoutes(_ family: IPFamily, table: UInt32) {
        begin(Int32(RTM_GETROUTE), flags: NLM_F_DUMP_ALL)
        append(family: family)
        bytes.append(table < 256 ? UInt8(truncatingIfNeeded: table) : 0)
        bytes.append(contentsOf: [0, 0, 0])
        append(UInt32(0))
        if table >= 256 { append(Int(RTA_TABLE.rawValue), table) }
        finish()
    }

    /// RTM_GETNEIGH.
    mutating func getNeighbours(_ family: IPFamily?, index: Int32?) {
        begin(Int32(RTM_GETNEIGH), flags: NLM_F_DUMP_ALL)
        append(family: family)
        append(UInt32(0))
        append(UInt32(0))
        if let index { append(Int(NDA_IFINDEX), UInt32(bitPattern: index)) }
        finish()
    }

    /// The requests in `range`, numbered from `sequence`; only the last asks for an acknowledgement. The kernel works
    /// through a batch in order and reports errors unasked, so that one answer means that all of them are done.
    func part(_ range: Range<Int>, from sequence: UInt32, acknowledged: Bool) -> [UInt8] {
        guard let first = starts[range].first else { return [] }
        let end = range.upperBound < starts.count ? starts[range.upperBound] : bytes.count
        var part = NetlinkBatch()
        part.bytes = Array(bytes[first..<end])
        for (position, index) in range.enumerated() {
            part.patch(sequence &+ UInt32(truncatingIfNeeded: position), at: starts[index] - first + 8)
            if acknowledged && index == range.upperBound - 1 { part.bytes[starts[index] - first + 6] |= UInt8(NLM_F_ACK) }
        }
        return part.bytes
    }
}

/// NLM_F_DUMP, a macro of two.
private let NLM_F_DUMP_ALL = NLM_F_ROOT | NLM_F_MATCH
/// Not in the headers of older systems.
private let IFLA_GSO_IPV4_MAX_SIZE = 63

extension NetlinkBatch {
    private mutating func begin(_ type: Int32, flags: Int32) {
        starts.append(bytes.count)
        append(UInt32(0))
        append(UInt16(truncatingIfNeeded: type))
        append(UInt16(truncatingIfNeeded: flags | NLM_F_REQUEST))
        append(UInt32(0))
        append(UInt32(0))
    }

    private mutating func finish() {
        guard let start = starts.last else { return }
        patch(UInt32(truncatingIfNeeded: bytes.count - start), at: start)
    }

    /// A family and three zero bytes.
    private mutating func append(family: IPFamily?) {
        bytes.append(family?.number ?? 0)
        bytes.append(contentsOf: [0, 0, 0])
    }

    private mutating func open(_ type: Int) -> Int {
        append(UInt16(0))
        append(UInt16(truncatingIfNeeded: type))
        return bytes.count - 4
    }

    /// Fills in the length and pads to four bytes. A whole structure always was a multiple of four before.
    private mutating func close(_ start: Int) {
        let length = UInt16(truncatingIfNeeded: bytes.count - start).littleEndian
        bytes[start] = UInt8(truncatingIfNeeded: length)
        bytes[start + 1] = UInt8(truncatingIfNeeded: length >> 8)
        while bytes.count % 4 != 0 { bytes.append(0) }
    }

    private mutating func append(_ type: Int, _ value: UInt32) {
        let attribute = open(type)
        append(value)
        close(attribute)
    }

    private mutating func append(_ type: Int, _ address: IPAddress) {
        let attribute = open(type)
        if let address = address.ipv4 {
            for shift in stride(from: 24, through: 0, by: -8) { bytes.append(UInt8(truncatingIfNeeded: address.bits >> UInt32(shift))) }
        } else {
            for half in [address.high, address.low] {
                for shift in stride(from: 56, through: 0, by: -8) { bytes.append(UInt8(truncatingIfNeeded: half >> UInt64(shift))) }
            }
        }
        close(attribute)
    }

    /// In the machine's order: `littleEndian` turns the number so that its lowest byte is the first in memory.
    private mutating func append(_ value: UInt16) {
        for shift in [UInt16(0), 8] { bytes.append(UInt8(truncatingIfNeeded: value.littleEndian >> shift)) }
    }

    private mutating func append(_ value: UInt32) {
        for shift in [UInt32(0), 8, 16, 24] { bytes.append(UInt8(truncatingIfNeeded: value.littleEndian >> shift)) }
    }

    private mutating func patch(_ value: UInt32, at offset: Int) {
        for position in 0..<4 { bytes[offset + position] = UInt8(truncatingIfNeeded: value.littleEndian >> UInt32(8 * position)) }
    }
}
