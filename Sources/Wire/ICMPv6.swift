/// The first eight bytes of an ICMPv6 message (RFC 4443). What they hold after the checksum depends on the
/// type: identifier and sequence of an echo, the MTU of "packet too big", flags of neighbour discovery.
public struct ICMPv6Header: Equatable, Sendable, BitwiseCopyable {
    /// Message types that mean something here.
    public struct Kind: Equatable, Hashable, Sendable, BitwiseCopyable {
        public var number: UInt8
        @inlinable @_noAllocation @_noLocks
        public init(_ number: UInt8) { self.number = number }

        @inlinable @_noAllocation @_noLocks
        public static func == (a: Kind, b: Kind) -> Bool { a.number == b.number }

        @inlinable public static var unreachable: Kind { Kind(1) }
        @inlinable public static var packetTooBig: Kind { Kind(2) }
        @inlinable public static var timeExceeded: Kind { Kind(3) }
        @inlinable public static var parameterProblem: Kind { Kind(4) }
        @inlinable public static var echoRequest: Kind { Kind(128) }
        @inlinable public static var echoReply: Kind { Kind(129) }
        @inlinable public static var routerSolicitation: Kind { Kind(133) }
        @inlinable public static var routerAdvertisement: Kind { Kind(134) }
        @inlinable public static var neighbourSolicitation: Kind { Kind(135) }
        @inlinable public static var neighbourAdvertisement: Kind { Kind(136) }

        /// Error messages quote the packet they are about (RFC 4443, section 2.1).
        @inlinable public var isError: Bool { number < 128 }
    }

    /// Codes of `unreachable` (RFC 4443, section 3.1).
    public enum Unreachable {
        @inlinable public static var noRoute: UInt8 { 0 }
        @inlinable public static var prohibited: UInt8 { 1 }
        @inlinable public static var address: UInt8 { 3 }
        @inlinable public static var port: UInt8 { 4 }
    }

    public var kind: Kind
    public var code: UInt8
    public var checksum: UInt16
    /// Bytes 4 to 7.
    public var rest: UInt32

    @inlinable public static var length: Int { 8 }
    @inlinable public static var checksumOffset: Int { 2 }

    @inlinable @_noAllocation @_noLocks
    public init(_ kind: Kind, code: UInt8 = 0, rest: UInt32 = 0) {
        self.kind = kind
        self.code = code
        checksum = 0
        self.rest = rest
    }

    @inlinable @_noAllocation @_noLocks
    public static func echo(_ kind: Kind, identifier: UInt16, sequence: UInt16) -> ICMPv6Header {
        ICMPv6Header(kind, rest: UInt32(identifier) << 16 | UInt32(sequence))
    }

    @inlinable @_noAllocation @_noLocks
    public static func packetTooBig(mtu: UInt32) -> ICMPv6Header { ICMPv6Header(.packetTooBig, rest: mtu) }

    /// `end` is where the IP payload ends; what follows the header up to there is the message's body.
    @inlinable @_noAllocation @_noLocks
    public init?(_ bytes: borrowing RawSpan, at offset: Int, end: Int) {
        guard end <= bytes.byteCount, offset >= 0, end &- offset >= ICMPv6Header.length else { return nil }
        kind = Kind(bytes.uint8(at: offset))
        code = bytes.uint8(at: offset + 1)
        checksum = bytes.uint16(at: offset + 2)
        rest = bytes.uint32(at: offset + 4)
    }

    @inlinable
    public var identifier: UInt16 { UInt16(truncatingIfNeeded: rest >> 16) }
    @inlinable
    public var sequence: UInt16 { UInt16(truncatingIfNeeded: rest) }
    /// Of "packet too big".
    @inlinable
    public var mtu: UInt32 { rest }

    /// Writes eight bytes, with `checksum` as it is.
    @inlinable @_noAllocation @_noLocks
    public func write(to bytes: inout MutableRawSpan, at offset: Int) {
        bytes.store(kind.number, at: offset)
        bytes.store(code, at: offset + 1)
        bytes.store(checksum, at: offset + 2)
        bytes.store(rest, at: offset + 4)
    }

    /// Writes the header in front of a body that is already in place, with the checksum of the whole
    /// message of `messageLength` bytes between the two addresses (RFC 4443, section 2.3).
    @inlinable @_noAllocation @_noLocks
    public func writeWithChecksum(
        to bytes: inout MutableRawSpan, at offset: Int, messageLength: Int,
        source: IPv6Address, destination: IPv6Address
    ) {
        write(to: &bytes, at: offset)
        bytes.store(UInt16(0), at: offset + 2)
        let pseudo = Checksum.pseudoHeader(source, destination, .icmpv6, length: messageLength)
        let checksum = Checksum.full(bytes, at: offset, count: messageLength, pseudoHeader: pseudo)
        bytes.store(checksum, at: offset + 2)
    }
}
