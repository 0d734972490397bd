public import Linux
internal import Wire

/// What the namespace looks like now.
public struct ConfiguredNamespace: Sendable, Equatable {
    /// The tap's index and name there, and the MAC that it has now.
    public var tap: Link?
    public var warnings: [String] = []
}

extension NamespacePlan {
    /// Carries the plan out on `netlink`, a socket opened in the guest's namespace. Addresses and routes that are
    /// there already stay. Throws when the link or an address cannot be had; a route that cannot is a warning.
    public func apply(_ netlink: inout NetlinkSocket) throws(SetupError) -> ConfiguredNamespace {
        guard let interface else {
            var steps = ConfigurationSteps("lo")
            steps.add(.required("up")) { $0.set(link: Link.loopbackIndex, LinkChange(isUp: true)) }
            NamespacePlan.speedUpLoopback(&steps)
            return ConfiguredNamespace(warnings: try steps.run(&netlink))
        }
        var tap = try find(interface, &netlink)
        var steps = steps(tap)
        var warnings = try steps.run(&netlink)
        warnings += try addRoutes(steps.unreachable, to: tap, &netlink)
        if let mac { tap.mac = mac }
        return ConfiguredNamespace(tap: tap, warnings: warnings)
    }

    private func find(_ interface: String, _ netlink: inout NetlinkSocket) throws(SetupError) -> Link {
        do throws(Errno) {
            if let link = try netlink.link(named: interface) { return link }
        } catch {
            throw SetupError(.namespace, "Failed to find interface \(interface) in the namespace", error)
        }
        throw SetupError(.namespace, "No interface \(interface) in the namespace")
    }

    /// Everything in one batch. The kernel works through it in order.
    private func steps(_ tap: Link) -> ConfigurationSteps {
        var steps = ConfigurationSteps(tap.name)
        steps.add(.required("loopback")) { $0.set(link: Link.loopbackIndex, LinkChange(isUp: true)) }
        guard configures else {
            steps.add(.required("MAC address or queue length")) { batch in
                batch.set(link: tap.index, LinkChange(mac: mac, transmitQueueLength: transmitQueueLength))
            }
            return steps
        }
        NamespacePlan.speedUpLoopback(&steps)
        // The kernel's own link-local address would stay unusable for a second, while it looks for duplicates.
        steps.add(.optional) { $0.set(link: tap.index, LinkChange(makesLinkLocal: false)) }
        steps.add(.required("MAC address, MTU or state")) { batch in
            batch.set(link: tap.index, LinkChange(isUp: true, mac: mac, mtu: mtu, transmitQueueLength: transmitQueueLength))
        }
        if hasIPv6, let mac = mac ?? tap.mac {
            var linkLocal = InterfaceAddress(
                family: .ipv6, address: IPAddress(.linkLocal(mac)), prefixLength: 64, flags: .noDuplicateDetection)
            linkLocal.scope = Route.linkScope
            steps.add(.optional) { $0.add(linkLocal, to: tap.index) }
            // From here on as usual, should the interface go down and up again.
            steps.add(.optional) { $0.set(link: tap.index, LinkChange(makesLinkLocal: true)) }
        }
        for address in addresses { steps.add(.address(address)) { $0.add(address, to: tap.index) } }
        for route in routes { steps.add(.route(route)) { $0.add(route, through: tap.index) } }
        return steps
    }

    /// Streams from the namespace's loopback to the host's carry a fifth more in pieces of 256 KiB. A kernel may refuse.
    private static func speedUpLoopback(_ steps: inout ConfigurationSteps) {
        steps.add(.optional) { $0.set(link: Link.loopbackIndex, LinkChange(segmentationLimit: 256 << 10)) }
    }

    /// Routes whose gateways were unreachable: again as long as that helps, since one may be what another needs. Then
    /// with the gateway declared reachable, and where the kernel cannot do that, with a route to the gateway first.
    private func addRoutes(_ pending: [Route], to tap: Link, _ netlink: inout NetlinkSocket) throws(SetupError) -> [String] {
        var pending = pending
        var warnings: [String] = []
        while !pending.isEmpty {
            var steps = ConfigurationSteps(tap.name)
            for route in pending { steps.add(.route(route)) { $0.add(route, through: tap.index) } }
            warnings += try steps.run(&netlink)
            if steps.unreachable.count == pending.count { break }
            pending = steps.unreachable
        }
        guard !pending.isEmpty else { return warnings }

        var forced = ConfigurationSteps(tap.name)
        for route in pending { forced.add(.route(route)) { $0.add(route, through: tap.index, isOnLink: true) } }
        forced.collectsFailures = true
        warnings += try forced.run(&netlink)
        guard !forced.unreachable.isEmpty else { return warnings }

        var last = ConfigurationSteps(tap.name)
        for route in forced.unreachable {
            if let host = NamespacePlan.hostRoute(to: route) { last.add(.optional) { $0.add(host, through: tap.index) } }
            last.add(.route(route)) { $0.add(route, through: tap.index) }
        }
        warnings += try last.run(&netlink)
        return warnings + last.unreachable.map { "Route to \(ConfigurationSteps.name($0)) not added: gateway unreachable" }
    }

    private static func hostRoute(to route: Route) -> Route? {
        guard let gateway = route.hops.first?.gateway else { return nil }
        var host = Route(family: route.family, destination: gateway, prefixLength: route.family.bits, hops: [NextHop(index: 0)])
        if route.family == .ipv4 { host.scope = Route.linkScope }
        return host
    }
}

/// A batch in the making, with what each request means if it fails.
struct ConfigurationSteps {
    enum Step {
        /// Failure ends the run, and says what was to be set.
        case required(String)
        /// Failure means nothing.
        case optional
        case address(InterfaceAddress)
        case route(Route)
    }

    private let interface: String
    private var batch = NetlinkBatch()
    private var steps: [Step] = []
    /// Routes that failed for want of a way to their gateway, or for any reason with `collectsFailures`.
    private(set) var unreachable: [Route] = []
    var collectsFailures = false

    init(_ interface: String) { self.interface = interface }

    mutating func add(_ step: Step, _ append: (inout NetlinkBatch) -> Void) {
        append(&batch)
        steps.append(step)
    }

    /// Sends everything, reads everything, and returns warnings.
    mutating func run(_ netlink: inout NetlinkSocket) throws(SetupError) -> [String] {
        var warnings: [String] = []
        for (step, error) in zip(steps, try results(&netlink)) {
            guard let error, !error.saysExists else { continue }
            switch step {
            case .optional:
                break
            case .required(let what):
                throw failure(what, error)
            case .address(let address):
                guard address.family == .ipv6, error.saysFamilyIsOff else { throw failure("address \(address.address)", error) }
                warnings.append("Address \(address.address) not added, IPv6 is disabled in the namespace: \(error.text)")
            case .route(let route):
                if error.saysUnreachable || collectsFailures {
                    unreachable.append(route)
                } else if route.family == .ipv4 || !error.saysFamilyIsOff {
                    warnings.append("Route to \(ConfigurationSteps.name(route)) not added: \(error.text)")
                }
            }
        }
        return warnings
    }

    private func results(_ netlink: inout NetlinkSocket) throws(SetupError) -> [Errno?] {
        do throws(Errno) {
            return try netlink.perform(batch)
        } catch {
            throw failure("netlink", error)
        }
    }

    private func failure(_ what: String, _ error: Errno) -> SetupError {
        SetupError(.namespace, "Failed to configure \(interface) in the namespace: \(what)", error)
    }

    static func name(_ route: Route) -> String {
        guard let destination = route.destination else { return "default" }
        return "\(destination)/\(route.prefixLength)"
    }
}
