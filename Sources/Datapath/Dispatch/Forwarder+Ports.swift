internal import Linux
internal import Settings
internal import Wire

/// What has become of an automatic port.
public struct PortNews: Sendable, BitwiseCopyable {
    public enum Event: Sendable, BitwiseCopyable { case opened, closed, failed }

    public internal(set) var event: Event
    public let isTCP: Bool
    /// From the host to the guest.
    public let isInbound: Bool
    public let isIPv4: Bool
    public let port: UInt16
    /// Why it could not be opened: a number of errno.
    public var code: Int32 = 0
}

/// Whose listeners are looked at.
public struct PortSides: OptionSet, Sendable, BitwiseCopyable {
    public let rawValue: UInt8
    public init(rawValue: UInt8) { self.rawValue = rawValue }
    public static var namespace: PortSides { PortSides(rawValue: 1) }
    public static var host: PortSides { PortSides(rawValue: 2) }
}

/// Automatic ports: our listeners follow those of the other side.
extension Forwarder where Link: ~Copyable, Sockets: ~Copyable {
    /// How many ports are opened and closed while the rest of the traffic waits.
    var portSlice: Int { 256 }

    /// Looks who listens in the namespace, or on the host, or both, and opens and closes what follows from it: `limit` ports at most, and the others a moment later, with the
    /// next call. What cannot be opened is tried again with the next look. `tell` hears of each change, and of failures once. Allocates nothing.
    mutating func followPorts(of sides: PortSides, now: Int64, limit: Int = .max, _ tell: (PortNews) -> Void) {
        portWatch.begin(sides)
        var left = limit
        while let (change, isInbound) = portWatch.next(ownOnHost: listeners.ownOnHost, ownInNamespace: listeners.ownInNamespace) {
            switch change {
            case .close(let index): closeAutomatic(index, tell)
            case .open(let group, let port, let isIPv4):
                openAutomatic(isInbound ? portWatch.inbound[group] : portWatch.outbound[group], port, isIPv4, isInbound: isInbound, tell)
            }
            left -= 1
            if left == 0 { return portWatch.wait(at: now) }
        }
        portWatch.wasRead(at: now)
    }

    private mutating func closeAutomatic(_ index: Int, _ tell: (PortNews) -> Void) {
        let entry = listeners[index]
        stopListening(index)
        tell(PortNews(event: .closed, isTCP: entry.isTCP, isInbound: !entry.isOutbound, isIPv4: entry.address.isIPv4, port: entry.port))
    }

    private mutating func openAutomatic(_ group: AutomaticGroup, _ number: UInt16, _ isIPv4: Bool, isInbound: Bool, _ tell: (PortNews) -> Void) {
        // Not a service, but the guest's own datagrams to a group.
        if !isInbound, !group.isTCP, udp.ports.isOurs(number, isIPv4: isIPv4) {
            _ = portWatch.failed()
            return
        }
        var news = PortNews(event: .opened, isTCP: group.isTCP, isInbound: isInbound, isIPv4: isIPv4, port: number)
        do throws(Errno) {
            portWatch.opened(isInbound ? try openOnHost(group, number, isIPv4) : try openInNamespace(group, number, isIPv4))
        } catch {
            // Each port behind this one would fail as well.
            if error.isLackOfDescriptors { portWatch.lackDescriptor() }
            guard portWatch.failed() else { return }
            (news.event, news.code) = (.failed, error.code)
        }
        tell(news)
    }

    private mutating func openOnHost(_ group: AutomaticGroup, _ number: UInt16, _ isIPv4: Bool) throws(Errno) -> Int {
        // Who listens everywhere in the namespace does not keep others from being served.
        guard listeners.automaticCount < descriptors / 2 else { throw Errno(24) }  // EMFILE
        let address = group.address ?? (isIPv4 ? IPAddress(IPv4Address.any) : IPAddress(IPv6Address.any))
        // Another group may have a socket at the same port, at one of the addresses of this one.
        let wanted = ListenerSocket(
            isTCP: group.isTCP, address: address, port: number, servesIPv4: isIPv4, freebind: tcp.translation.freebind,
            interface: group.interface, isBesideOwn: !group.isTCP && udp.ports.isOurs(number, isIPv4: isIPv4))
        let socket = try wanted.isBesideOwn ? udp.sharing.share(number) { () throws(Errno) in try wanted.open() } : wanted.open()
        return try listen(socket, group, address, number, isOutbound: false)
    }

    private mutating func openInNamespace(_ group: AutomaticGroup, _ number: UInt16, _ isIPv4: Bool) throws(Errno) -> Int {
        let address = group.address ?? (isIPv4 ? IPAddress(IPv4Address.loopback) : IPAddress(IPv6Address.loopback))
        return try listen(bypass.openListener(isTCP: group.isTCP, address, port: number), group, address, number, isOutbound: true)
    }

    private mutating func listen(
        _ socket: Descriptor, _ group: AutomaticGroup, _ address: IPAddress, _ number: UInt16, isOutbound: Bool
    ) throws(Errno) -> Int {
        let entry = ListenerEntry(
            socket, isTCP: group.isTCP, isOutbound: isOutbound, address: address, port: number, ListenerTarget(port: number, address: nil),
            interface: group.interface, isAutomatic: true)
        return try listenOrClose(entry)
    }
}
