internal import CLinux
internal import Wire

/// `struct nlmsghdr`, and where the message lies. What it says about its length was checked against the bytes there are.
struct NetlinkHeader: BitwiseCopyable {
    static var size: Int { 16 }

    let type: Int32
    let flags: Int32
    let sequence: UInt32
    let port: UInt32
    /// The payload's first byte, and the first byte behind it.
    let start: Int
    let end: Int
    /// Where the next message begins.
    let next: Int

    /// nil when the rest is no whole message.
    @_noAllocation @_noLocks
    init?(_ bytes: borrowing RawSpan, at offset: Int) {
        guard bytes.has(NetlinkHeader.size, at: offset) else { return nil }
        let length = Int(bytes.nativeUInt32(at: offset))
        guard length >= NetlinkHeader.size, bytes.has(length, at: offset) else { return nil }
        type = Int32(bytes.nativeUInt16(at: offset + 4))
        flags = Int32(bytes.nativeUInt16(at: offset + 6))
        sequence = bytes.nativeUInt32(at: offset + 8)
        port = bytes.nativeUInt32(at: offset + 12)
        start = offset + NetlinkHeader.size
        end = offset + length
        next = offset + (length + 3) & ~3
    }

    /// The attributes behind a fixed part of `size` bytes; nil when that part itself is short.
    @_noAllocation @_noLocks
    func attributes(behind size: Int) -> NetlinkAttributes? {
        end - start >= size ? NetlinkAttributes(start: start + (size + 3) & ~3, end: end) : nil
    }

    /// The error of NLMSG_ERROR and of NLMSG_DONE; 0 for none.
    @_noAllocation @_noLocks
    func error(_ bytes: borrowing RawSpan) -> Int32 {
        guard end - start >= 4 else { return 0 }
        let code = Int32(bitPattern: bytes.nativeUInt32(at: start))
        return code == .min ? EINVAL : -code
    }
}

/// `struct rtattr` with its payload's place.
struct NetlinkAttribute: BitwiseCopyable {
    let type: Int
    let start: Int
    let count: Int

    @_noAllocation @_noLocks
    func uint8(_ bytes: borrowing RawSpan) -> UInt8? { count >= 1 ? bytes.uint8(at: start) : nil }
    @_noAllocation @_noLocks
    func uint32(_ bytes: borrowing RawSpan) -> UInt32? { count >= 4 ? bytes.nativeUInt32(at: start) : nil }
    @_noAllocation @_noLocks
    func mac(_ bytes: borrowing RawSpan) -> MACAddress? { count == 6 ? MACAddress(bytes, at: start) : nil }

    /// An address by its size. A mapped IPv4 address is not an IPv6 address of any interface, so it is none.
    @_noAllocation @_noLocks
    func address(_ bytes: borrowing RawSpan) -> IPAddress? {
        if count == 4 { return IPAddress(IPv4Address(bytes.uint32(at: start))) }
        guard count == 16 else { return nil }
        let address = IPv6Address(bytes, at: start)
        return address.isIPv4Mapped ? nil : IPAddress(address)
    }

    /// `struct rtvia`: a family, then the address.
    func via(_ bytes: borrowing RawSpan) -> IPAddress? {
        count > 2 ? NetlinkAttribute(type: type, start: start + 2, count: count - 2).address(bytes) : nil
    }

    /// The attributes inside this one.
    var nested: NetlinkAttributes { NetlinkAttributes(start: start, end: start + count) }
}

/// Walks through attributes, and stops at the first that does not fit.
struct NetlinkAttributes: BitwiseCopyable {
    private var offset: Int
    private let end: Int

    /// `end` must lie within the bytes that `next` will be given.
    @_noAllocation @_noLocks
    init(start: Int, end: Int) {
        offset = start
        self.end = end
    }

    @_noAllocation @_noLocks
    mutating func next(_ bytes: borrowing RawSpan) -> NetlinkAttribute? {
        guard end - offset >= 4 else { return nil }
        let length = Int(bytes.nativeUInt16(at: offset))
        guard length >= 4, length <= end - offset else { return nil }
        // The two upper bits say "nested" and "network order".
        let type = Int(bytes.nativeUInt16(at: offset + 2) & 0x3fff)
        let attribute = NetlinkAttribute(type: type, start: offset + 4, count: length - 4)
        offset += (length + 3) & ~3
        return attribute
    }
}

extension Link {
    /// RTM_NEWLINK.
    init?(_ bytes: borrowing RawSpan, _ header: NetlinkHeader) {
        guard header.type == Int32(RTM_NEWLINK), var attributes = header.attributes(behind: 16) else { return nil }
        self.init(
            index: Int32(bitPattern: bytes.nativeUInt32(at: header.start + 4)), name: "",
            flags: bytes.nativeUInt32(at: header.start + 8), mtu: 0, mac: nil, type: bytes.nativeUInt16(at: header.start + 2))
        while let attribute = attributes.next(bytes) {
            switch attribute.type {
            case Int(IFLA_IFNAME): name = Link.name(bytes, attribute)
            case Int(IFLA_MTU): mtu = Int(attribute.uint32(bytes) ?? 0)
            case Int(IFLA_ADDRESS): mac = attribute.mac(bytes)
            default: break
            }
        }
        guard index > 0, !name.isEmpty else { return nil }
    }

    /// RTM_NEWLINK, as when an interface was made or has changed: what it is called.
    @_noAllocation @_noLocks
    static func came(_ bytes: borrowing RawSpan, _ header: NetlinkHeader) -> (name: InterfaceName, index: Int32)? {
        guard header.type == Int32(RTM_NEWLINK), var attributes = header.attributes(behind: 16) else { return nil }
        while let attribute = attributes.next(bytes) {
            guard attribute.type == Int(IFLA_IFNAME), let name = InterfaceName(bytes, at: attribute.start, count: attribute.count) else { continue }
            return (name, Int32(bitPattern: bytes.nativeUInt32(at: header.start + 4)))
        }
        return nil
    }

    private static func name(_ bytes: borrowing RawSpan, _ attribute: NetlinkAttribute) -> String {
        var characters: [UInt8] = []
        for position in attribute.start..<attribute.start + min(attribute.count, Int(IFNAMSIZ)) {
            let character = bytes.uint8(at: position)
            if character == 0 { break }
            characters.append(character)
        }
        return String(decoding: characters, as: UTF8.self)
    }
}

extension InterfaceAddress {
    /// RTM_NEWADDR.
    init?(_ bytes: borrowing RawSpan, _ header: NetlinkHeader) {
        guard header.type == Int32(RTM_NEWADDR), var attributes = header.attributes(behind: 8),
            let family = IPFamily(bytes.uint8(at: header.start))
        else { return nil }
        var local: IPAddress?
        var other: IPAddress?
        self.init(
            index: Int32(bitPattern: bytes.nativeUInt32(at: header.start + 4)), family: family, address: IPAddress(IPv4Address.any),
            prefixLength: Int(bytes.uint8(at: header.start + 1)), scope: bytes.uint8(at: header.start + 3),
            flags: Flags(rawValue: UInt32(bytes.uint8(at: header.start + 2))))
        while let attribute = attributes.next(bytes) {
            switch attribute.type {
            case Int(IFA_LOCAL): local = attribute.address(bytes)
            case Int(IFA_ADDRESS): other = attribute.address(bytes)
            case Int(IFA_BROADCAST): broadcast = attribute.address(bytes)
            case Int(IFA_FLAGS): flags = Flags(rawValue: attribute.uint32(bytes) ?? flags.rawValue)
            case Int(IFA_CACHEINFO) where attribute.count >= 8:
                let (preferred, valid) = (bytes.nativeUInt32(at: attribute.start), bytes.nativeUInt32(at: attribute.start + 4))
                preferredLifetime = preferred == .max ? nil : preferred
                validLifetime = valid == .max ? nil : valid
            default: break
            }
        }
        guard index > 0, prefixLength <= family.bits, let own = local ?? other, own.isIPv4 == (family == .ipv4) else { return nil }
        address = own
        if let other, other != own { peer = other }
    }

    /// RTM_DELADDR: the address.
    @_noAllocation @_noLocks
    static func gone(_ bytes: borrowing RawSpan, _ header: NetlinkHeader) -> IPAddress? {
        guard header.type == Int32(RTM_DELADDR) else { return nil }
        return own(bytes, header)?.address
    }

    /// RTM_NEWADDR: an address that others may speak to, now and for some time.
    @_noAllocation @_noLocks
    static func came(_ bytes: borrowing RawSpan, _ header: NetlinkHeader) -> (address: IPAddress, index: Int32)? {
        guard header.type == Int32(RTM_NEWADDR), let (address, flags) = own(bytes, header),
            isForOthers(address, scope: bytes.uint8(at: header.start + 3), flags: flags)
        else { return nil }
        return (address, Int32(bitPattern: bytes.nativeUInt32(at: header.start + 4)))
    }

    /// Others may speak to it, now and for some time.
    public var isForOthers: Bool { InterfaceAddress.isForOthers(address, scope: scope, flags: flags.rawValue) }

    @_noAllocation @_noLocks
    private static func isForOthers(_ address: IPAddress, scope: UInt8, flags: UInt32) -> Bool {
        guard scope < UInt8(RT_SCOPE_HOST.rawValue), !address.isLoopback else { return false }
        // Not tried yet, taken by somebody else, about to go, or one of those that come and go.
        let unfit = UInt32(IFA_F_TENTATIVE | IFA_F_DADFAILED | IFA_F_DEPRECATED | IFA_F_TEMPORARY)
        return address.isIPv4 || !address.isLinkLocal && flags & unfit == 0
    }

    /// The address itself, not its peer's, and its flags.
    @_noAllocation @_noLocks
    private static func own(_ bytes: borrowing RawSpan, _ header: NetlinkHeader) -> (address: IPAddress, flags: UInt32)? {
        guard var attributes = header.attributes(behind: 8) else { return nil }
        var local: IPAddress?
        var other: IPAddress?
        var flags = UInt32(bytes.uint8(at: header.start + 2))
        while let attribute = attributes.next(bytes) {
            if attribute.type == Int(IFA_LOCAL) { local = attribute.address(bytes) }
            if attribute.type == Int(IFA_ADDRESS) { other = attribute.address(bytes) }
            if attribute.type == Int(IFA_FLAGS) { flags = attribute.uint32(bytes) ?? flags }
        }
        guard let address = local ?? other else { return nil }
        return (address, flags)
    }
}

extension Route {
    /// RTM_NEWROUTE.
    init?(_ bytes: borrowing RawSpan, _ header: NetlinkHeader) {
        guard header.type == Int32(RTM_NEWROUTE), var attributes = header.attributes(behind: 12),
            let family = IPFamily(bytes.uint8(at: header.start))
        else { return nil }
        self.init(family: family, prefixLength: Int(bytes.uint8(at: header.start + 1)), hops: [])
        sourcePrefixLength = Int(bytes.uint8(at: header.start + 2))
        tos = bytes.uint8(at: header.start + 3)
        table = UInt32(bytes.uint8(at: header.start + 4))
        proto = bytes.uint8(at: header.start + 5)
        scope = bytes.uint8(at: header.start + 6)
        type = bytes.uint8(at: header.start + 7)
        flags = bytes.nativeUInt32(at: header.start + 8)

        var single = NextHop(index: 0, flags: flags & 0xff)
        while let attribute = attributes.next(bytes) {
            switch Int32(truncatingIfNeeded: attribute.type) {
            case Int32(RTA_DST.rawValue): destination = attribute.address(bytes)
            case Int32(RTA_OIF.rawValue): single.index = Int32(bitPattern: attribute.uint32(bytes) ?? 0)
            case Int32(RTA_GATEWAY.rawValue): single.gateway = attribute.address(bytes)
            case Int32(RTA_VIA.rawValue): single.gateway = attribute.via(bytes)
            case Int32(RTA_PRIORITY.rawValue): metric = attribute.uint32(bytes) ?? 0
            case Int32(RTA_PREFSRC.rawValue): preferredSource = attribute.address(bytes)
            case Int32(RTA_TABLE.rawValue): table = attribute.uint32(bytes) ?? table
            case Int32(RTA_PREF.rawValue): preference = attribute.uint8(bytes)
            case Int32(RTA_METRICS.rawValue): metrics = Route.metrics(bytes, attribute)
            case Int32(RTA_MULTIPATH.rawValue): hops = Route.hops(bytes, attribute)
            case Int32(RTA_CACHEINFO.rawValue) where attribute.count >= 12:
                expires = Int32(bitPattern: bytes.nativeUInt32(at: attribute.start + 8))
            default: break
            }
        }
        if hops.isEmpty && single.index > 0 { hops = [single] }
        guard prefixLength <= family.bits, prefixLength == 0 || destination != nil else { return nil }
        if prefixLength == 0 { destination = nil }
        if let destination, destination.isIPv4 != (family == .ipv4) { return nil }
    }

    /// A series of `struct rtnexthop`, each with attributes.
    private static func hops(_ bytes: borrowing RawSpan, _ list: NetlinkAttribute) -> [NextHop] {
        var hops: [NextHop] = []
        var offset = list.start
        let end = list.start + list.count
        while end - offset >= 8 {
            let length = Int(bytes.nativeUInt16(at: offset))
            guard length >= 8, length <= end - offset else { break }
            var hop = NextHop(
                index: Int32(bitPattern: bytes.nativeUInt32(at: offset + 4)), weight: Int(bytes.uint8(at: offset + 3)) + 1,
                flags: UInt32(bytes.uint8(at: offset + 2)))
            var attributes = NetlinkAttributes(start: offset + 8, end: offset + length)
            while let attribute = attributes.next(bytes) {
                switch Int32(truncatingIfNeeded: attribute.type) {
                case Int32(RTA_GATEWAY.rawValue): hop.gateway = attribute.address(bytes)
                case Int32(RTA_VIA.rawValue): hop.gateway = attribute.via(bytes)
                default: break
                }
            }
            if hop.index > 0 { hops.append(hop) }
            offset += (length + 3) & ~3
        }
        return hops
    }

    private static func metrics(_ bytes: borrowing RawSpan, _ list: NetlinkAttribute) -> [Metric] {
        var metrics: [Metric] = []
        var attributes = list.nested
        while let attribute = attributes.next(bytes) {
            // The name of a congestion control, which need not exist elsewhere.
            if attribute.type == Int(RTAX_CC_ALGO) { continue }
            guard let value = attribute.uint32(bytes) else { continue }
            metrics.append(Metric(kind: UInt16(truncatingIfNeeded: attribute.type), value: value))
        }
        return metrics
    }
}

extension Neighbour {
    /// RTM_NEWNEIGH, and RTM_DELNEIGH as an entry without MAC and state.
    @_noAllocation @_noLocks
    init?(_ bytes: borrowing RawSpan, _ header: NetlinkHeader) {
        let isNew = header.type == Int32(RTM_NEWNEIGH)
        guard isNew || header.type == Int32(RTM_DELNEIGH), var attributes = header.attributes(behind: 12) else { return nil }
        var destination: IPAddress?
        var hardware: MACAddress?
        while let attribute = attributes.next(bytes) {
            if attribute.type == Int(NDA_DST) { destination = attribute.address(bytes) }
            if attribute.type == Int(NDA_LLADDR) { hardware = attribute.mac(bytes) }
        }
        guard let destination else { return nil }
        self.init(
            index: Int32(bitPattern: bytes.nativeUInt32(at: header.start + 4)), address: destination,
            mac: isNew ? hardware : nil, state: isNew ? bytes.nativeUInt16(at: header.start + 8) : 0)
    }
}
