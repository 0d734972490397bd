// DHCP for IPv4 (RFC 2131) and the BOOTP that it grew out of (RFC 951): a fixed part, then options.

/// The fixed part of a message, 240 bytes with the cookie that announces options.
public struct DHCPMessage: Equatable, Sendable, BitwiseCopyable {
    public var isReply: Bool
    public var transaction: UInt32
    public var seconds: UInt16
    /// The client cannot receive unicast before it has its address.
    public var wantsBroadcast: Bool
    /// The client's address where it has one and answers ARP for it (ciaddr).
    public var clientAddress: IPv4Address
    /// What the client gets (yiaddr).
    public var yourAddress: IPv4Address
    /// The agent that relayed the message, if any (giaddr).
    public var relayAddress: IPv4Address
    public var clientMAC: MACAddress
    /// Where options begin in the bytes that were parsed.
    public var optionsOffset: Int

    @inlinable public static var length: Int { 240 }
    /// Messages are padded to this (RFC 951, section 3; RFC 1542, section 2.1).
    @inlinable public static var minimumLength: Int { 300 }
    @inlinable public static var serverPort: UInt16 { 67 }
    @inlinable public static var clientPort: UInt16 { 68 }

    @inlinable @_noAllocation @_noLocks
    public init(replyTo request: DHCPMessage, yourAddress: IPv4Address) {
        self = request
        isReply = true
        seconds = 0
        self.yourAddress = yourAddress
        optionsOffset = 0
    }

    /// `end` is where the UDP payload ends. Nil unless the message is for Ethernet and has the cookie.
    @inlinable @_noAllocation @_noLocks
    public init?(_ bytes: borrowing RawSpan, at offset: Int, end: Int) {
        guard end <= bytes.byteCount, offset >= 0, end &- offset >= DHCPMessage.length else { return nil }
        let operation = bytes.uint8(at: offset)
        guard operation == 1 || operation == 2 else { return nil }
        // Hardware type 1, six bytes long.
        guard bytes.uint16(at: offset + 1) == 0x0106 else { return nil }
        guard bytes.uint32(at: offset + 236) == 0x6382_5363 else { return nil }
        isReply = operation == 2
        transaction = bytes.uint32(at: offset + 4)
        seconds = bytes.uint16(at: offset + 8)
        wantsBroadcast = bytes.uint16(at: offset + 10) & 0x8000 != 0
        clientAddress = IPv4Address(bytes.uint32(at: offset + 12))
        yourAddress = IPv4Address(bytes.uint32(at: offset + 16))
        relayAddress = IPv4Address(bytes.uint32(at: offset + 24))
        clientMAC = MACAddress(bytes, at: offset + 28)
        optionsOffset = offset + DHCPMessage.length
    }

    /// Writes 240 bytes: no next server, no server name, no boot file.
    @inlinable @_noAllocation @_noLocks
    public func write(to bytes: inout MutableRawSpan, at offset: Int) {
        bytes.store(isReply ? UInt32(0x0201_0600) : 0x0101_0600, at: offset)
        bytes.store(transaction, at: offset + 4)
        bytes.store(seconds, at: offset + 8)
        bytes.store(wantsBroadcast ? UInt16(0x8000) : 0, at: offset + 10)
        bytes.store(clientAddress.bits, at: offset + 12)
        bytes.store(yourAddress.bits, at: offset + 16)
        bytes.store(UInt32(0), at: offset + 20)
        bytes.store(relayAddress.bits, at: offset + 24)
        clientMAC.write(to: &bytes, at: offset + 28)
        var position = offset + 34
        while position < offset + 236 {
            bytes.store(UInt16(0), at: position)
            position += 2
        }
        bytes.store(UInt32(0x6382_5363), at: offset + 236)
    }
}

/// The value of option 53 (RFC 2132, section 9.6).
public struct DHCPKind: Equatable, Hashable, Sendable, BitwiseCopyable {
    public var number: UInt8
    @inlinable @_noAllocation @_noLocks
    public init(_ number: UInt8) { self.number = number }
    @inlinable @_noAllocation @_noLocks
    public static func == (a: DHCPKind, b: DHCPKind) -> Bool { a.number == b.number }

    @inlinable public static var discover: DHCPKind { DHCPKind(1) }
    @inlinable public static var offer: DHCPKind { DHCPKind(2) }
    @inlinable public static var request: DHCPKind { DHCPKind(3) }
    @inlinable public static var decline: DHCPKind { DHCPKind(4) }
    @inlinable public static var acknowledgment: DHCPKind { DHCPKind(5) }
    @inlinable public static var refusal: DHCPKind { DHCPKind(6) }
    @inlinable public static var release: DHCPKind { DHCPKind(7) }
    @inlinable public static var inform: DHCPKind { DHCPKind(8) }
}

/// One option (RFC 2132, section 2).
public struct DHCPOption: Equatable, Sendable, BitwiseCopyable {
    public var code: UInt8
    /// Where the value begins, and its bytes.
    public var offset: Int
    public var length: Int

    @inlinable public static var subnetMask: UInt8 { 1 }
    @inlinable public static var router: UInt8 { 3 }
    @inlinable public static var resolvers: UInt8 { 6 }
    @inlinable public static var hostname: UInt8 { 12 }
    @inlinable public static var domainName: UInt8 { 15 }
    @inlinable public static var mtu: UInt8 { 26 }
    @inlinable public static var broadcast: UInt8 { 28 }
    @inlinable public static var requestedAddress: UInt8 { 50 }
    @inlinable public static var leaseTime: UInt8 { 51 }
    @inlinable public static var kind: UInt8 { 53 }
    @inlinable public static var serverIdentifier: UInt8 { 54 }
    @inlinable public static var parameterList: UInt8 { 55 }
    @inlinable public static var maximumSize: UInt8 { 57 }
    @inlinable public static var clientIdentifier: UInt8 { 61 }
    @inlinable public static var rapidCommit: UInt8 { 80 }
    @inlinable public static var fqdn: UInt8 { 81 }
    @inlinable public static var searchList: UInt8 { 119 }
    @inlinable public static var classlessRoutes: UInt8 { 121 }
    @inlinable public static var end: UInt8 { 255 }

    /// The next option at or behind `position`, over padding. Nil behind the end option and for an option that
    /// leaves the message, which ends it as well.
    @inlinable @_noAllocation @_noLocks
    public init?(_ bytes: borrowing RawSpan, from position: Int, end: Int) {
        guard end <= bytes.byteCount, position >= 0 else { return nil }
        var position = position
        while position < end && bytes.uint8(at: position) == 0 { position += 1 }
        guard end &- position >= 2 else { return nil }
        code = bytes.uint8(at: position)
        length = Int(bytes.uint8(at: position + 1))
        offset = position + 2
        guard code != 255, length <= end &- offset else { return nil }
    }

    /// Where the next option is to be looked for.
    @inlinable public var next: Int { @_noAllocation @_noLocks get { offset + length } }
}

/// What a server wants to know of a client's options. Of an option that comes twice the first counts.
public struct DHCPClientOptions: Equatable, Sendable, BitwiseCopyable {
    public var kind: DHCPKind?
    public var requestedAddress: IPv4Address?
    public var serverIdentifier: IPv4Address?
    /// The longest IP datagram that the client takes; at least 576 (RFC 2132, section 9.10).
    public var maximumSize: Int?
    /// Value of option 61, to be echoed (RFC 6842).
    public var clientIdentifier: DHCPOption?
    public var wantsRapidCommit = false
    /// The flags of the client's option 81 (RFC 4702, section 2.1).
    public var fqdnFlags: UInt8?
    /// The parameter list asks for option 81.
    public var asksForFQDN = false

    @inlinable @_noAllocation @_noLocks
    public init(_ bytes: borrowing RawSpan, at offset: Int, end: Int) {
        var position = offset
        while let option = DHCPOption(bytes, from: position, end: end) {
            position = option.next
            read(option, bytes)
        }
    }

    @inlinable @_noAllocation @_noLocks
    mutating func read(_ option: DHCPOption, _ bytes: borrowing RawSpan) {
        let length = option.length
        switch option.code {
        case 53:
            if length == 1, case .none = kind { kind = DHCPKind(bytes.uint8(at: option.offset)) }
        case 50:
            if length == 4, case .none = requestedAddress {
                requestedAddress = IPv4Address(bytes.uint32(at: option.offset))
            }
        case 54:
            if length == 4, case .none = serverIdentifier {
                serverIdentifier = IPv4Address(bytes.uint32(at: option.offset))
            }
        case 57:
            if length == 2, maximumSize == nil { maximumSize = max(576, Int(bytes.uint16(at: option.offset))) }
        case 61:
            if length >= 1, case .none = clientIdentifier { clientIdentifier = option }
        case 80:
            wantsRapidCommit = true
        case 81:
            if length >= 3, fqdnFlags == nil { fqdnFlags = bytes.uint8(at: option.offset) }
        case 55:
            var index = 0
            while index < length {
                if bytes.uint8(at: option.offset + index) == 81 { asksForFQDN = true }
                index += 1
            }
        default:
            break
        }
    }
}
