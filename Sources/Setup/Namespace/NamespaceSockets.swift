internal import CLinux
public import Linux
public import Settings
internal import Wire

/// Sockets of the guest's namespace, for connections that take no detour over the tap.
///
/// A helper stays in the namespace for the whole run and makes sockets on demand (`SocketCourier`). It gives away
/// everything else before it begins: the file system, open files, rights but the one to bind low ports, and all system calls that
/// this does not need. Nobody waits for that: orders wait in the channel.
public struct NamespaceSockets: Sendable {
    /// To be held by one `SocketCourier`. The helper ends when it is closed.
    public let channel: Descriptor
    /// The ports of `-T` and `-U`.
    public let listeners: [Listener]

    /// The helper's answers take microseconds; it is not waited for longer than this, in milliseconds.
    private static let patience = 500

    /// Waits for the listeners that the helper has opened, which serves from then on.
    public static func receive(from channel: HelperChannel) throws(SetupError) -> NamespaceSockets {
        guard let message = try channel.receive(), let sockets = decode(message, channel.socket) else {
            throw SetupError(.namespace, "Couldn't receive sockets from the namespace")
        }
        try limitWaiting(channel.socket)
        return sockets
    }

    private static func limitWaiting(_ channel: Descriptor) throws(SetupError) {
        do throws(Errno) { try SocketCourier.limitWaiting(channel, milliseconds: patience) } catch {
            throw SetupError(.namespace, "Couldn't set up the channel to the namespace", error)
        }
    }

    private static func decode(_ message: DescriptorMessage, _ channel: Descriptor) -> NamespaceSockets? {
        let encoded = message.bytes
        guard encoded.count == message.descriptors.count * Listener.encodedCount else { return nil }
        let listeners = message.descriptors.enumerated().map { index, socket in
            Listener(encoded.dropFirst(index * Listener.encodedCount).prefix(Listener.encodedCount), socket)
        }
        return NamespaceSockets(channel: channel, listeners: listeners)
    }

    // MARK: The helper

    /// The rest of the helper's life: it opens the ports of `rules`, hands them out, and makes sockets until the channel is closed.
    /// `null` is `/dev/null`; `identity`: who to be instead of root.
    public static func serve(
        over channel: HelperChannel, network: Network, rules: [ForwardRule], null: Descriptor, as identity: UserIdentity?
    ) throws(SetupError) -> Never {
        let listeners = try ListenerPlan(network: network, isOutbound: true).open(rules)
        try channel.send(listeners.flatMap { $0.encoded }, listeners.map(\.socket))
        try closeIn(channel.socket, null, identity)
        Process.exit(try work(for: channel.socket))
    }

    /// Until nobody is there any more to work for. Ends the process and returns only in form: the courier's memory could not be given back.
    private static func work(for channel: Descriptor) throws(SetupError) -> Int32 {
        var courier = try courier(channel)
        try SeccompFilter(SystemCall.socketMaking).prepared().install()
        while let order = courier.receiveOrder() {
            let error = carryOut(order, &courier)
            if !courier.answer(order, error) { break }
        }
        return Process.leave(0)
    }

    private static func courier(_ channel: Descriptor) throws(SetupError) -> SocketCourier {
        do throws(Errno) { return try SocketCourier(channel) } catch {
            throw SetupError(.namespace, "Couldn't close the namespace's helper in", error)
        }
    }

    private static func closeIn(_ channel: Descriptor, _ null: Descriptor, _ identity: UserIdentity?) throws(SetupError) {
        // First: where the kernel cannot close a range, /proc tells what there is.
        try StandardDescriptors.closeInherited(keeping: [channel, null])
        do throws(SetupError) {
            try Isolation.detach()
            try Isolation.hideFiles(chrootFallback: false)
        } catch {
            // Where the kernel does not allow that, what follows closes in all the same; the log was closed above.
        }
        // Numbers that the namespace's users do not have cannot be taken on in there.
        try? identity?.drop(keeping: .bindLowPorts)
        do throws(Errno) {
            // Nobody waits for the end of the caller's files, or for a terminal's signals, because of us.
            for number: Int32 in 0...2 { try null.replace(number) }
            null.close()
            try? Process.newSession()
            try Process.changeDirectory(to: "/")
        } catch {
            throw SetupError(.namespace, "Couldn't close the namespace's helper in", error)
        }
        // A service manager ends all processes of a group, each by itself; counters are asked of pasta by name, and are not ours to print.
        _ = try? Signals.setMask(SignalSet(SIGUSR1))
        try Isolation.close(keeping: .bindLowPorts)
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
        if order.isTCP { socket.prepareStream() }
        return socket
    }
}

extension Listener {
    /// Flags, port, target's port, then the two addresses.
    fileprivate static let encodedCount = 1 + 2 + 2 + 16 + 16

    fileprivate var encoded: [UInt8] {
        let flags: UInt8 = (isTCP ? 1 : 0) | (hasIPv4 ? 2 : 0) | (targetAddress != nil ? 4 : 0)
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
            socket: socket, isTCP: flags & 1 != 0, isOutbound: true, address: address, hasIPv4: flags & 2 != 0, port: port,
            targetPort: target, targetAddress: flags & 4 != 0 ? targetAddress : nil)
    }

    private static func bytes(_ value: UInt64, _ count: Int) -> [UInt8] {
        (0..<count).map { UInt8(truncatingIfNeeded: value >> UInt64(8 * (count - 1 - $0))) }
    }
}
