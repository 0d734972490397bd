internal import CLinux
public import Linux
public import Settings
internal import Wire

/// Sockets of the guest's namespace, for connections that take no detour over the tap.
///
/// A helper stays in the namespace for the whole run and makes sockets on demand (`SocketCourier`). It is given away
/// everything else before it begins: files, rights but the one to bind low ports, and all system calls that this does not need.
public struct NamespaceSockets: Sendable {
    /// To be held by one `SocketCourier`. The helper ends when it is closed.
    public let channel: Descriptor
    /// The ports of `-T` and `-U`.
    public let listeners: [Listener]
    /// Asks the kernel which sockets there are in the namespace (NETLINK_SOCK_DIAG); nil where it cannot tell.
    public let diagnostics: Descriptor?

    /// The helper's answers take microseconds; it is not waited for longer than this, in milliseconds.
    private static let patience = 2000

    /// Starts the helper. `null` is `/dev/null`.
    public static func open(
        in target: TargetNamespace, network: Network, rules: [ForwardRule], null: Descriptor
    ) throws(SetupError) -> NamespaceSockets {
        let helper = try NamespaceHelper.start(in: target) { (channel) throws(SetupError) in
            let listeners = try ListenerPlan(network: network, isOutbound: true).open(rules)
            var descriptors = listeners.map(\.socket)
            let diagnostics = try? Descriptor.diagnostics()
            if let diagnostics { descriptors.append(diagnostics) }
            try channel.send([diagnostics == nil ? 0 : 1] + listeners.flatMap { $0.encoded }, descriptors)
            try serve(channel.socket, null)
        }
        do throws(SetupError) {
            guard let message = try helper.channel.receive(), let sockets = decode(message, helper.channel.socket) else {
                throw SetupError(.namespace, "Couldn't receive sockets from the namespace")
            }
            try limitWaiting(helper.channel.socket)
            return sockets
        } catch {
            helper.end()
            throw error
        }
    }

    private static func limitWaiting(_ channel: Descriptor) throws(SetupError) {
        do throws(Errno) { try SocketCourier.limitWaiting(channel, milliseconds: patience) } catch {
            throw SetupError(.namespace, "Couldn't set up the channel to the namespace", error)
        }
    }

    private static func decode(_ message: DescriptorMessage, _ channel: Descriptor) -> NamespaceSockets? {
        guard let first = message.bytes.first else { return nil }
        var descriptors = message.descriptors
        let diagnostics = first == 1 ? descriptors.popLast() : nil
        let encoded = message.bytes.dropFirst()
        guard encoded.count == descriptors.count * Listener.encodedCount else { return nil }
        let listeners = descriptors.enumerated().map { index, socket in
            Listener(encoded.dropFirst(index * Listener.encodedCount).prefix(Listener.encodedCount), socket)
        }
        return NamespaceSockets(channel: channel, listeners: listeners, diagnostics: diagnostics)
    }

    // MARK: The helper

    /// The rest of the helper's life.
    private static func serve(_ channel: Descriptor, _ null: Descriptor) throws(SetupError) -> Never {
        var courier: SocketCourier
        do throws(Errno) {
            // Nobody waits for the end of the caller's files, or for a terminal's signals, because of us.
            for number: Int32 in 0...2 { try null.replace(number) }
            try? Process.newSession()
            try Process.changeDirectory(to: "/")
            courier = try SocketCourier(channel)
        } catch {
            throw SetupError(.namespace, "Couldn't close the namespace's helper in", error)
        }
        try StandardDescriptors.closeInherited(keeping: [channel])
        try Isolation.close(keeping: [.bindLowPorts])
        try SeccompFilter(SystemCall.socketMaking).prepared().install()
        while let order = courier.receiveOrder() {
            let error = carryOut(order, &courier)
            if !courier.answer(order, error) { break }
        }
        Process.exit(0)
    }

    private static func carryOut(_ order: SocketOrder, _ courier: inout SocketCourier) -> Errno? {
        do throws(Errno) {
            switch order.kind {
            case .sockets:
                for _ in 0..<min(Int(order.count), SocketCourier.most) { courier.enclose(try makeSocket(order)) }
            case .listener:
                let socket = ListenerSocket(isTCP: order.isTCP, address: order.address, port: order.port, servesIPv4: order.address.isIPv4)
                courier.enclose(try socket.open())
            case nil:
                throw Errno(EINVAL)
            }
            return nil
        } catch {
            return error
        }
    }

    private static func makeSocket(_ order: SocketOrder) throws(Errno) -> Descriptor {
        let socket = try Descriptor.socket(order.isTCP ? .stream : .datagram, for: order.address)
        if order.isTCP { try? socket.setNoDelay() }
        return socket
    }
}

extension Listener {
    /// Flags, port, target's port, then the two addresses.
    fileprivate static let encodedCount = 1 + 2 + 2 + 16 + 16

    fileprivate var encoded: [UInt8] {
        let flags: UInt8 = (isTCP ? 1 : 0) | (hasIPv4 ? 2 : 0) | (hasIPv6 ? 4 : 0) | (targetAddress != nil ? 8 : 0)
        let target = targetAddress ?? IPAddress(IPv6Address.any)
        return [flags] + Listener.bytes(UInt64(port), 2) + Listener.bytes(UInt64(targetPort), 2)
            + [address, target].flatMap { Listener.bytes($0.high, 8) + Listener.bytes($0.low, 8) }
    }

    fileprivate init(_ encoded: ArraySlice<UInt8>, _ socket: Descriptor) {
        var rest = encoded
        func take(_ count: Int) -> UInt64 {
            defer { rest = rest.dropFirst(count) }
            return rest.prefix(count).reduce(0) { $0 << 8 | UInt64($1) }
        }
        let flags = take(1)
        let (port, target) = (UInt16(truncatingIfNeeded: take(2)), UInt16(truncatingIfNeeded: take(2)))
        let address = IPAddress(IPv6Address(high: take(8), low: take(8)))
        let targetAddress = IPAddress(IPv6Address(high: take(8), low: take(8)))
        self.init(
            socket: socket, isTCP: flags & 1 != 0, isOutbound: true, address: address, hasIPv4: flags & 2 != 0, hasIPv6: flags & 4 != 0,
            port: port, targetPort: target, targetAddress: flags & 8 != 0 ? targetAddress : nil)
    }

    private static func bytes(_ value: UInt64, _ count: Int) -> [UInt8] {
        (0..<count).map { UInt8(truncatingIfNeeded: value >> UInt64(8 * (count - 1 - $0))) }
    }
}
