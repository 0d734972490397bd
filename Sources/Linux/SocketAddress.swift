internal import CLinux
public import Wire

/// An address and a port in the form that the kernel takes: `sockaddr_in` or `sockaddr_in6`, by `family`.
///
/// The fields lie where both structures have them: family, port, then either the IPv4 address or the flow
/// information, then the sixteen bytes of an IPv6 address and its scope.
public struct SocketAddress: Sendable, BitwiseCopyable, Equatable {
    var family: UInt16
    var port: UInt16
    var ipv4OrFlow: UInt32
    var high: UInt64
    var low: UInt64
    public var scope: UInt32
    private var padding: UInt32 = 0

    /// `scope` is an interface index, for link-local IPv6 addresses only.
    @_noAllocation @_noLocks
    public init(_ endpoint: Endpoint, scope: Int32 = 0) {
        port = endpoint.port.bigEndian
        if let address = endpoint.address.ipv4 {
            family = UInt16(AF_INET)
            ipv4OrFlow = address.bits.bigEndian
            (high, low, self.scope) = (0, 0, 0)
        } else {
            family = UInt16(AF_INET6)
            ipv4OrFlow = 0
            high = endpoint.address.high.bigEndian
            low = endpoint.address.low.bigEndian
            self.scope = UInt32(bitPattern: scope)
        }
    }

    /// For the kernel to fill.
    @_noAllocation @_noLocks
    public init() {
        (family, port, ipv4OrFlow, high, low, scope) = (0, 0, 0, 0, 0, 0)
    }

    /// What the structure takes, in bytes: 16 or 28.
    var length: UInt32 { family == UInt16(AF_INET) ? 16 : 28 }
    static var capacity: UInt32 { 28 }

    /// Of an IPv6 socket, whichever family the address in it is of.
    var isIPv6: Bool { family == UInt16(AF_INET6) }

    /// nil for another family than the two.
    public var endpoint: Endpoint? {
        if family == UInt16(AF_INET) {
            return Endpoint(IPAddress(IPv4Address(UInt32(bigEndian: ipv4OrFlow))), UInt16(bigEndian: port))
        }
        guard family == UInt16(AF_INET6) else { return nil }
        let address = IPv6Address(high: UInt64(bigEndian: high), low: UInt64(bigEndian: low))
        return Endpoint(IPAddress(address), UInt16(bigEndian: port))
    }
}
