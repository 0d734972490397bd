// DHCP for IPv6 (RFC 8415): four bytes, then options, some of which hold options.

/// The head of a message between client and server (RFC 8415, section 8).
public struct DHCPv6Message: Equatable, Sendable, BitwiseCopyable {
    public struct Kind: Equatable, Hashable, Sendable, BitwiseCopyable {
        public var number: UInt8
        @inlinable @_noAllocation @_noLocks
        public init(_ number: UInt8) { self.number = number }
        @inlinable @_noAllocation @_noLocks
        public static func == (a: Kind, b: Kind) -> Bool { a.number == b.number }

        @inlinable public static var solicit: Kind { Kind(1) }
        @inlinable public static var advertise: Kind { Kind(2) }
        @inlinable public static var request: Kind { Kind(3) }
        @inlinable public static var confirm: Kind { Kind(4) }
        @inlinable public static var renew: Kind { Kind(5) }
        @inlinable public static var rebind: Kind { Kind(6) }
        @inlinable public static var reply: Kind { Kind(7) }
        @inlinable public static var release: Kind { Kind(8) }
        @inlinable public static var decline: Kind { Kind(9) }
        @inlinable public static var informationRequest: Kind { Kind(11) }
    }

    public var kind: Kind
    /// 24 bits.
    public var transaction: UInt32

    @inlinable public static var length: Int { 4 }
    @inlinable public static var clientPort: UInt16 { 546 }
    @inlinable public static var serverPort: UInt16 { 547 }
    /// ff02::1:2, all relay agents and servers.
    @inlinable public static var servers: IPv6Address { IPv6Address(high: 0xff02 << 48, low: 0x1_0002) }
    /// ff05::1:3, all servers of a site.
    @inlinable public static var siteServers: IPv6Address { IPv6Address(high: 0xff05 << 48, low: 0x1_0003) }

    @inlinable @_noAllocation @_noLocks
    public init(_ kind: Kind, transaction: UInt32) {
        self.kind = kind
        self.transaction = transaction & 0xff_ffff
    }

    /// `end` is where the UDP payload ends.
    @inlinable @_noAllocation @_noLocks
    public init?(_ bytes: borrowing RawSpan, at offset: Int, end: Int) {
        guard end <= bytes.byteCount, offset >= 0, end &- offset >= 4 else { return nil }
        let word = bytes.uint32(at: offset)
        kind = Kind(UInt8(truncatingIfNeeded: word >> 24))
        transaction = word & 0xff_ffff
    }

    @inlinable @_noAllocation @_noLocks
    public func write(to bytes: inout MutableRawSpan, at offset: Int) {
        bytes.store(UInt32(kind.number) << 24 | transaction, at: offset)
    }
}

/// One option (RFC 8415, section 21.1).
public struct DHCPv6Option: Equatable, Sendable, BitwiseCopyable {
    public var code: UInt16
    /// Where the value begins, and its bytes.
    public var offset: Int
    public var length: Int

    @inlinable public static var clientIdentifier: UInt16 { 1 }
    @inlinable public static var serverIdentifier: UInt16 { 2 }
    @inlinable public static var addresses: UInt16 { 3 }
    @inlinable public static var temporaryAddresses: UInt16 { 4 }
    @inlinable public static var address: UInt16 { 5 }
    @inlinable public static var optionRequest: UInt16 { 6 }
    @inlinable public static var preference: UInt16 { 7 }
    @inlinable public static var status: UInt16 { 13 }
    @inlinable public static var rapidCommit: UInt16 { 14 }
    @inlinable public static var resolvers: UInt16 { 23 }
    @inlinable public static var searchList: UInt16 { 24 }
    @inlinable public static var prefixes: UInt16 { 25 }
    @inlinable public static var fqdn: UInt16 { 39 }

    /// Code and length in front of every value.
    @inlinable public static var headerLength: Int { 4 }

    /// Nil at the end, and for an option that leaves its container; in the latter case `offset` is not the end.
    @inlinable @_noAllocation @_noLocks
    public init?(_ bytes: borrowing RawSpan, at position: Int, end: Int) {
        guard end <= bytes.byteCount, position >= 0, end &- position >= 4 else { return nil }
        code = bytes.uint16(at: position)
        length = Int(bytes.uint16(at: position + 2))
        offset = position + 4
        guard length <= end &- offset else { return nil }
    }

    @inlinable public var next: Int { @_noAllocation @_noLocks get { offset + length } }

    /// Writes code and length of an option whose value is written by the caller.
    @inlinable @_noAllocation @_noLocks
    public static func writeHeader(_ code: UInt16, length: Int, to bytes: inout MutableRawSpan, at offset: Int) {
        bytes.store(code, at: offset)
        bytes.store(UInt16(truncatingIfNeeded: length), at: offset + 2)
    }

    /// An option that is built beforehand.
    public static func wire(_ code: UInt16, _ value: [UInt8]) -> [UInt8] {
        var bytes: [UInt8] = []
        bytes.append(network: code)
        bytes.append(network: UInt16(truncatingIfNeeded: value.count))
        return bytes + value
    }
}

/// Why something was refused (RFC 8415, section 21.13).
public struct DHCPv6Status: Equatable, Sendable, BitwiseCopyable {
    public var number: UInt16
    @inlinable @_noAllocation @_noLocks
    public init(_ number: UInt16) { self.number = number }
    @inlinable @_noAllocation @_noLocks
    public static func == (a: DHCPv6Status, b: DHCPv6Status) -> Bool { a.number == b.number }
    @inlinable public static var success: DHCPv6Status { DHCPv6Status(0) }
    @inlinable public static var noAddresses: DHCPv6Status { DHCPv6Status(2) }
    @inlinable public static var noBinding: DHCPv6Status { DHCPv6Status(3) }
    @inlinable public static var notOnLink: DHCPv6Status { DHCPv6Status(4) }
    @inlinable public static var noPrefixes: DHCPv6Status { DHCPv6Status(6) }
}

/// What a server wants to know of a client's options, IAs apart.
public struct DHCPv6ClientOptions: Equatable, Sendable, BitwiseCopyable {
    public var clientIdentifier: DHCPv6Option?
    public var serverIdentifier: DHCPv6Option?
    public var wantsRapidCommit = false
    /// The flags of the client's FQDN option (RFC 4704, section 4.1).
    public var fqdnFlags: UInt8?
    /// The option request names the FQDN option.
    public var asksForFQDN = false
    public var hasAssociations = false

    /// Nil when an option leaves the message, or an identifier is empty or longer than a DUID can be
    /// (RFC 8415, section 11.1: 128 bytes and the type).
    @inlinable @_noAllocation @_noLocks
    public init?(_ bytes: borrowing RawSpan, at offset: Int, end: Int) {
        var position = offset
        while let option = DHCPv6Option(bytes, at: position, end: end) {
            position = option.next
            switch option.code {
            case 1:
                guard option.length >= 3, option.length <= 130 else { return nil }
                if case .none = clientIdentifier { clientIdentifier = option }
            case 2:
                if case .none = serverIdentifier { serverIdentifier = option }
            case 3, 4, 25: hasAssociations = true
            case 6:
                var index = 0
                while index + 1 < option.length {
                    if bytes.uint16(at: option.offset + index) == 39 { asksForFQDN = true }
                    index += 2
                }
            case 14: wantsRapidCommit = true
            case 39: if option.length >= 1 { fqdnFlags = bytes.uint8(at: option.offset) }
            default: break
            }
        }
        guard position == end else { return nil }
    }
}
