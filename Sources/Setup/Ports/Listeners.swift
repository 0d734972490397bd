internal import CLinux
public import Linux
public import Settings
public import Wire

/// A bound socket, and where what comes in there goes to.
public struct Listener: Sendable, Equatable {
    public let socket: Descriptor
    public let isTCP: Bool
    /// Which families it serves.
    public let hasIPv4, hasIPv6: Bool
    public let port: UInt16
    public let targetPort: UInt16
    /// nil: the guest, whatever its address.
    public let targetAddress: IPAddress?
}

/// The host's side of forwarding to the guest. Sockets are bound with whatever rights the caller still has, so that ports below 1024
/// work wherever they can.
public struct ListenerPlan {
    /// What the guest has.
    public var hasIPv4, hasIPv6: Bool
    public var tcp, udp: Bool
    /// Bind to addresses that the host does not have (yet).
    public var freebind: Bool
    /// Ports that the kernel gives to outgoing connections.
    public var ephemeral: ClosedRange<UInt16>

    public init(network: Network) {
        hasIPv4 = network.ipv4 != nil
        hasIPv6 = network.ipv6 != nil && IPFamily.ipv6.isSupported
        tcp = network.tcp
        udp = network.udp
        freebind = network.freebind
        ephemeral = ListenerPlan.ephemeralPorts()
    }

    /// The kernel's default where its setting cannot be read.
    static func ephemeralPorts() -> ClosedRange<UInt16> {
        let text = (try? Descriptor.contents(of: "/proc/sys/net/ipv4/ip_local_port_range")).map { String(decoding: $0, as: UTF8.self) } ?? ""
        let ends = text.split { $0 == "\t" || $0 == " " || $0 == "\n" }.compactMap { UInt16($0) }
        return ends.count == 2 && ends[0] <= ends[1] ? ends[0]...ends[1] : 32768...60999
    }

    /// Binds everything, or nothing: what must be bound comes before what may be.
    public func open(_ rules: [ForwardRule]) throws(SetupError) -> [Listener] {
        var listeners: [Listener] = []
        do throws(SetupError) {
            for rule in rules where isWanted(rule) && !rule.isBestEffort { try openAll(rule, &listeners) }
            var counts: [PortOption: Int] = [:]
            for rule in rules where isWanted(rule) && rule.isBestEffort {
                let before = listeners.count
                try openMany(rule, &listeners)
                counts[PortOption(rule.kind, rule.text), default: 0] += listeners.count - before
            }
            for (option, count) in counts where count == 0 {
                throw SetupError(.sockets, "Failed to bind any port for option '-\(option.kind.letter) \(option.text)', exiting")
            }
            return listeners
        } catch {
            for listener in listeners { listener.socket.close() }
            throw error
        }
    }

    private func isWanted(_ rule: ForwardRule) -> Bool { rule.kind.isInbound && (rule.kind.isTCP ? tcp : udp) && !rule.scans }

    private func openAll(_ rule: ForwardRule, _ listeners: inout [Listener]) throws(SetupError) {
        for port in rule.ports {
            do throws(Errno) {
                listeners.append(try open(rule, port))
            } catch {
                throw SetupError(
                    .sockets, "Failed to bind port \(port) (\(error.text)) for option '-\(rule.kind.letter) \(rule.text)', exiting")
            }
        }
    }

    private func openMany(_ rule: ForwardRule, _ listeners: inout [Listener]) throws(SetupError) {
        for port in rule.ports where !ephemeral.contains(port) {
            do throws(Errno) {
                listeners.append(try open(rule, port))
            } catch {
                guard error.code == EMFILE || error.code == ENFILE || error.code == ENOMEM || error.code == ENOBUFS else { continue }
                throw SetupError(
                    .sockets, "Option '-\(rule.kind.letter) \(rule.text)' takes a file descriptor for each port, of which there are too few (see ulimit -Hn)",
                    error)
            }
        }
    }

    // MARK: One socket

    /// The families that a rule's socket serves.
    private func families(_ rule: ForwardRule) -> (ipv4: Bool, ipv6: Bool) {
        guard let address = rule.address ?? rule.targetAddress else { return (hasIPv4, hasIPv6) }
        return address.isIPv4 ? (hasIPv4, false) : (false, hasIPv6)
    }

    private func open(_ rule: ForwardRule, _ port: UInt16) throws(Errno) -> Listener {
        let families = families(rule)
        guard families.ipv4 || families.ipv6 else { throw Errno(EAFNOSUPPORT) }
        // One socket of IPv6 serves both.
        let address = rule.address ?? (families.ipv6 ? IPAddress(IPv6Address.any) : IPAddress(IPv4Address.any))
        var scope: Int32 = 0
        let socket = try Descriptor.socket(rule.kind.isTCP ? .stream : .datagram, for: address)
        do throws(Errno) {
            if let name = rule.interface {
                guard let index = InterfaceNames.index(of: name) else { throw Errno(ENODEV) }
                try socket.bindToInterface(index: index)
                if address.isLinkLocal { scope = index }
            }
            if !address.isIPv4 { try socket.setIPv6Only(!families.ipv4) }
            if freebind { try socket.setFreebind(isIPv4: address.isIPv4) }
            let place = SocketAddress(Endpoint(address, port), scope: scope)
            if rule.kind.isTCP {
                try socket.setReuseAddress()
                try socket.bind(place)
                try socket.listen()
            } else {
                try bindDatagrams(socket, place, isIPv4: address.isIPv4, serves4: families.ipv4)
            }
            return Listener(
                socket: socket, isTCP: rule.kind.isTCP, hasIPv4: families.ipv4, hasIPv6: families.ipv6, port: port,
                targetPort: rule.target(of: port), targetAddress: rule.targetAddress)
        } catch {
            socket.close()
            throw error
        }
    }

    private func bindDatagrams(_ socket: Descriptor, _ place: SocketAddress, isIPv4: Bool, serves4: Bool) throws(Errno) {
        // A socket for both families tells which IPv4 address was meant only if asked in IPv4's way.
        if serves4 { try socket.setPacketInformation(isIPv4: true) }
        if !isIPv4 { try socket.setPacketInformation(isIPv4: false) }
        // Groups are not for the guest (lesson 36).
        if serves4 { try? socket.setOwnGroupsOnly(isIPv4: true) }
        if !isIPv4 { try? socket.setOwnGroupsOnly(isIPv4: false) }
        try socket.bind(place)
        // Only now: who has the port before us keeps it, while the sockets of our own flows will share it.
        try socket.setReuseAddress()
    }
}
