internal import CLinux
public import Linux
public import Settings
public import Wire

/// A bound socket, and where what comes in there goes to.
public struct Listener: Sendable, Equatable {
    public let socket: Descriptor
    public let isTCP: Bool
    /// In the guest's namespace, leading to the host.
    public var isOutbound = false
    /// What it is bound to.
    public let address: IPAddress
    /// Clients of IPv4 come by it; those of IPv6, wherever it is bound to an address of theirs.
    public let hasIPv4: Bool
    /// Index of the host's only interface to hear; 0: any.
    public var interface: Int32 = 0
    public let port: UInt16
    public let targetPort: UInt16
    /// nil: the guest, whatever its address.
    public let targetAddress: IPAddress?
}

/// Forwarded ports of one side. Sockets are bound with whatever rights the caller still has, so that ports below 1024 work wherever they can.
public struct ListenerPlan {
    /// What the guest has.
    public var hasIPv4, hasIPv6: Bool
    public var tcp, udp: Bool
    /// Bind to addresses that the host does not have (yet).
    public var freebind: Bool
    /// Ports that the kernel gives to outgoing connections.
    public var ephemeral: ClosedRange<UInt16>
    /// Whose sockets these are: those of the namespace, which lead to the host, or those of the host.
    public var isOutbound: Bool

    /// For the namespace that this process is in.
    public init(network: Network, isOutbound: Bool = false) {
        self.isOutbound = isOutbound
        hasIPv4 = network.ipv4 != nil
        hasIPv6 = network.ipv6 != nil && IPFamily.ipv6.isSupported
        tcp = network.tcp
        udp = network.udp
        freebind = network.freebind
        ephemeral = ListenerPlan.ephemeralPorts()
    }

    /// The kernel's own, for a namespace that nobody has changed.
    public static let usualEphemeralPorts: ClosedRange<UInt16> = 32768...60999

    /// The kernel's default where its setting cannot be read.
    static func ephemeralPorts() -> ClosedRange<UInt16> {
        let text = (try? Descriptor.contents(of: "/proc/sys/net/ipv4/ip_local_port_range")).map { String(decoding: $0, as: UTF8.self) } ?? ""
        let ends = text.split { $0 == "\t" || $0 == " " || $0 == "\n" }.compactMap { UInt16($0) }
        return ends.count == 2 && ends[0] <= ends[1] ? ends[0]...ends[1] : usualEphemeralPorts
    }

    /// Binds everything, or nothing: what must be bound comes before what may be.
    public func open(_ rules: [ForwardRule]) throws(SetupError) -> [Listener] {
        var listeners: [Listener] = []
        do throws(SetupError) {
            for rule in rules where isWanted(rule) && !rule.isBestEffort { try openAll(rule, &listeners) }
            var attempts: [PortOption: BindAttempts] = [:]
            for rule in rules where isWanted(rule) && rule.isBestEffort {
                try openMany(rule, &listeners, &attempts[PortOption(rule.kind, rule.text), default: BindAttempts()])
            }
            for rule in rules where rule.isImplied { attempts[PortOption(rule.kind, rule.text)] = nil }
            for (option, attempt) in attempts where attempt.opened == 0 {
                throw SetupError(
                    .sockets, "Failed to bind any port for option '-\(option.kind.letter) \(option.text)', exiting: "
                        + attempt.explain(refusal(option.kind), ephemeral: ephemeral))
            }
            return listeners
        } catch {
            for listener in listeners { listener.socket.close() }
            throw error
        }
    }

    private func isWanted(_ rule: ForwardRule) -> Bool { rule.kind.isInbound != isOutbound && (rule.kind.isTCP ? tcp : udp) && !rule.scans }

    /// Whether `open` has anything to do.
    public func opensAny(_ rules: [ForwardRule]) -> Bool { rules.contains { isWanted($0) } }

    private func openAll(_ rule: ForwardRule, _ listeners: inout [Listener]) throws(SetupError) {
        for port in rule.ports {
            do throws(Errno) {
                try open(rule, port, &listeners)
            } catch {
                // Callers look for these words; what can be done comes behind them.
                throw SetupError(
                    .sockets, "Failed to bind port \(port) (\(error.text)) for option '-\(rule.kind.letter) \(rule.text)', exiting"
                        + (refusal(rule.kind).remedy(error, port).map { ": " + $0 } ?? ""))
            }
        }
    }

    private func refusal(_ kind: PortOption.Kind) -> BindRefusal {
        BindRefusal(isTCP: kind.isTCP, isOutbound: isOutbound, freebind: freebind)
    }

    private func openMany(_ rule: ForwardRule, _ listeners: inout [Listener], _ attempts: inout BindAttempts) throws(SetupError) {
        let before = listeners.count
        defer { attempts.note(opened: listeners.count - before) }
        if rule.ports.overlaps(ephemeral) { attempts.noteLeftOut() }
        for port in rule.ports where !ephemeral.contains(port) {
            do throws(Errno) {
                try open(rule, port, &listeners)
            } catch {
                guard error.isLackOfResources else {
                    attempts.note(port, error)
                    continue
                }
                throw SetupError(
                    .sockets, "Option '-\(rule.kind.letter) \(rule.text)' takes a file descriptor for each port, of which there are too few (see ulimit -Hn)",
                    error)
            }
        }
    }

    // MARK: One port

    private func open(_ rule: ForwardRule, _ port: UInt16, _ listeners: inout [Listener]) throws(Errno) {
        let places = ListeningPlaces(
            isOutbound: isOutbound, address: rule.address, target: rule.targetAddress, hasIPv4: hasIPv4, hasIPv6: hasIPv6)
        guard let first = places.first else { throw Errno(EAFNOSUPPORT) }
        listeners.append(try open(rule, port, at: first))
        guard let second = places.second else { return }
        do throws(Errno) {
            listeners.append(try open(rule, port, at: second))
        } catch {
            // A namespace may do without IPv6.
            guard error.code == EADDRNOTAVAIL || error.code == EAFNOSUPPORT else { throw error }
        }
    }

    private func open(_ rule: ForwardRule, _ port: UInt16, at place: ListeningPlaces.Place) throws(Errno) -> Listener {
        var socket = ListenerSocket(isTCP: rule.kind.isTCP, address: place.address, port: port, servesIPv4: place.hasIPv4, freebind: freebind)
        if let name = rule.interface {
            guard let index = InterfaceNames.index(of: name) else { throw Errno(ENODEV) }
            socket.interface = index
        }
        return Listener(
            socket: try socket.open(), isTCP: rule.kind.isTCP, isOutbound: isOutbound, address: place.address, hasIPv4: place.hasIPv4,
            interface: socket.interface, port: port, targetPort: rule.target(of: port), targetAddress: rule.targetAddress)
    }
}
