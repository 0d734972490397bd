internal import CLinux
internal import Linux
public import Settings
internal import Wire

/// Whether sockets can be bound as --outbound, --outbound-if4 and --outbound-if6 ask for. It is tried once, since later it would only show
/// in connections that fail. A right that we still have may hide what an old kernel forbids without.
public enum OutboundProbe {
    /// Returns what the user should know of. Throws where nothing of a family could leave.
    public static func run(_ network: Network) throws(SetupError) -> [String] {
        // Without an interface, nothing leaves by them.
        if network.spliceOnly { return [] }
        var warnings: [String] = []
        if let ipv4 = network.ipv4 {
            try probe(ipv4.outboundInterface, ipv4.outboundInterfaceIndex, IPAddress(IPv4Address.any))
            warnings += probe(ipv4.outboundAddress.map { IPAddress($0) }, network, scope: ipv4.linkIndex)
        }
        if let ipv6 = network.ipv6 {
            try probe(ipv6.outboundInterface, ipv6.outboundInterfaceIndex, IPAddress(IPv6Address.any))
            warnings += probe(ipv6.outboundAddress.map { IPAddress($0) }, network, scope: ipv6.linkIndex)
        }
        return warnings
    }

    private static func probe(_ name: String?, _ index: Int32?, _ any: IPAddress) throws(SetupError) {
        guard let name, let index else { return }
        do throws(Errno) {
            let socket = try Descriptor.socket(.datagram, for: any)
            defer { socket.close() }
            try socket.bindToInterface(index: index)
        } catch {
            throw SetupError(
                .discovery, "Couldn't bind a socket to interface \(name) for option --outbound-if\(any.isIPv4 ? 4 : 6)", error, hint: hint(error))
        }
    }

    static func hint(_ error: Errno) -> String? {
        let instead = "--outbound with an address of the interface does without"
        switch error.code {
        case EPERM: return "which takes root's rights before Linux 5.7, \(instead)"
        case ENOPROTOOPT: return "which takes Linux 5.1, \(instead)"
        default: return nil
        }
    }

    private static func probe(_ address: IPAddress?, _ network: Network, scope: Int32) -> [String] {
        guard let address, !network.freebind else { return [] }
        do throws(Errno) {
            let socket = try Descriptor.socket(.datagram, for: address)
            defer { socket.close() }
            try socket.bind(SocketAddress(Endpoint(address, 0), scope: address.isLinkLocal ? scope : 0))
        } catch {
            guard error.code == EADDRNOTAVAIL else { return [] }
            return ["--outbound \(address): the host has no such address, so nothing can leave until it has"]
        }
        return []
    }
}
