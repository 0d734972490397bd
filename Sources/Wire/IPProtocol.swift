/// A protocol number of IPv4, or a next header value of IPv6 (IANA "Assigned Internet Protocol Numbers").
public struct IPProtocol: Equatable, Hashable, Sendable, BitwiseCopyable {
    public var number: UInt8

    @inlinable @_noAllocation @_noLocks
    public init(_ number: UInt8) { self.number = number }

    @inlinable @_noAllocation @_noLocks
    public static func == (a: IPProtocol, b: IPProtocol) -> Bool { a.number == b.number }

    // The getters are marked so that other files of this module may use them in their marked functions.
    @inlinable public static var hopByHop: IPProtocol { @_noAllocation @_noLocks get { IPProtocol(0) } }
    @inlinable public static var icmp: IPProtocol { @_noAllocation @_noLocks get { IPProtocol(1) } }
    @inlinable public static var tcp: IPProtocol { @_noAllocation @_noLocks get { IPProtocol(6) } }
    @inlinable public static var udp: IPProtocol { @_noAllocation @_noLocks get { IPProtocol(17) } }
    @inlinable public static var routing: IPProtocol { @_noAllocation @_noLocks get { IPProtocol(43) } }
    @inlinable public static var fragment: IPProtocol { @_noAllocation @_noLocks get { IPProtocol(44) } }
    @inlinable public static var icmpv6: IPProtocol { @_noAllocation @_noLocks get { IPProtocol(58) } }
    @inlinable public static var noNextHeader: IPProtocol { @_noAllocation @_noLocks get { IPProtocol(59) } }
    @inlinable public static var destinationOptions: IPProtocol { @_noAllocation @_noLocks get { IPProtocol(60) } }
}
