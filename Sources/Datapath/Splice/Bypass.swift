internal import Linux
internal import Settings
internal import Wire

/// Who takes no detour over the guest's interface, and where to.
///
///     inbound     a client on the host's loopback, at a forwarded port    >  the namespace's own address, or its loopback if asked for
///     outbound    a client on the namespace's loopback, at -T or -U       >  the host's loopback, or the address that was given
///
/// By default the host's loopback leads to the namespace's address and not to its loopback, so that what listens on loopback in there
/// stays private (lesson 39).
struct Bypass: ~Copyable {
    var supply: SocketSupply?
    var connections: SpliceTransfer
    var inboundDatagrams: SpliceDatagrams
    var outboundDatagrams: SpliceDatagrams
    /// The helper is there.
    private var hasSupply = false
    /// Sockets of the host for the next outbound connection, made before it is accepted.
    private var spare4 = Descriptor.none
    private var spare6 = Descriptor.none
    private let takesInbound: Bool
    private let keepsLoopback: Bool
    /// There is no other way.
    let isOnlyWay: Bool

    init(_ network: Network, epoll: Epoll, capacity: Int, seed: SipHash, now: Int64) throws(Errno) {
        let connections = try SpliceTransfer(epoll: epoll, capacity: capacity)
        // And no more than an eighth of all descriptors.
        let clients = min(capacity, SpliceDatagrams.most, max(16, Int(clamping: OpenFileLimit.current / 8)))
        let inbound = try SpliceDatagrams(isOutbound: false, epoll: epoll, capacity: clients, seed: seed, now: now)
        let outbound = try SpliceDatagrams(isOutbound: true, epoll: epoll, capacity: clients, seed: seed, now: now)
        self.connections = connections
        inboundDatagrams = inbound
        outboundDatagrams = outbound
        takesInbound = !network.noSplice
        keepsLoopback = network.hostLoopbackToNamespaceLoopback
        isOnlyWay = network.spliceOnly
    }

    // MARK: Descriptors

    /// Held for clients in the namespace.
    var guestDescriptors: Int { 2 * connections.table.outboundCount + outboundDatagrams.table.count }

    /// Held for clients on the host.
    var clientDescriptors: Int { 2 * (connections.table.count - connections.table.outboundCount) + inboundDatagrams.table.count }

    /// All others.
    var spareDescriptors: Int { 2 * connections.pipes.count + readySockets }

    private var readySockets: Int {
        switch supply {
        case .some(let supply): supply.readyCount
        case nil: 0
        }
    }

    // MARK: The namespace's helper

    mutating func connect(_ channel: Descriptor, to epoll: Epoll) throws(Errno) {
        let supply = try SocketSupply(channel)
        try epoll.add(channel, .input, tag: EventTag(.supply).bits)
        connections.prepare()
        self.supply = consume supply
        hasSupply = true
    }

    /// Sockets have arrived. False where the helper is gone: then there is nothing more to wait for.
    mutating func receiveSockets(_ epoll: Epoll) -> Bool {
        supply?.receive()
        guard hasSupply, let channel = supply?.channel, supply?.isClosed == true else { return true }
        try? epoll.remove(channel)
        hasSupply = false
        return false
    }

    mutating func openListener(isTCP: Bool, _ address: IPAddress, port: UInt16) throws(Errno) -> Descriptor {
        guard let socket = try supply?.listener(isTCP: isTCP, address, port: port) else { throw Errno(107) }  // ENOTCONN
        return socket
    }

    // MARK: Which way

    /// Whether a client of this listener goes this way. What has a loopback address as its source has not left the host.
    func takes(_ client: IPAddress, _ listener: ListenerEntry) -> Bool {
        listener.isOutbound || isOnlyWay || (takesInbound && hasSupply && client.isLoopback)
    }

    /// Where an inbound client's connection ends; nil where there is nothing that could be reached. `contacted`: our address that it opened the
    /// connection to, if it is known.
    func inboundTarget(_ client: IPAddress, _ listener: ListenerEntry, contacted: IPAddress?, _ guest: GuestIdentity) -> Endpoint? {
        let isIPv4 = client.isIPv4
        // Without an interface, only what is on loopback has a way in.
        guard client.isLoopback else { return nil }
        let own = isIPv4 ? guest.ipv4.map({ IPAddress($0) }) : guest.ipv6.map({ IPAddress($0) })
        if let address = listener.target.address {
            // What is not the namespace's own may be anywhere from in there, even outside.
            guard address.isIPv4 == isIPv4, address.isLoopback || address == own || isOnlyWay else { return nil }
            return Endpoint(address, listener.target.port)
        }
        if keepsLoopback {
            let same = contacted.flatMap { $0.isLoopback && $0.isIPv4 == isIPv4 ? $0 : nil }
            return Endpoint(same ?? Bypass.loopback(isIPv4), listener.target.port)
        }
        return own.map { Endpoint($0, listener.target.port) }
    }

    func outboundTarget(_ client: IPAddress, _ listener: ListenerEntry) -> Endpoint? {
        let address = listener.target.address ?? Bypass.loopback(client.isIPv4)
        return Endpoint(address, listener.target.port)
    }

    static func loopback(_ isIPv4: Bool) -> IPAddress { isIPv4 ? IPAddress(IPv4Address.loopback) : IPAddress(IPv6Address.loopback) }

    // MARK: TCP

    /// Makes sure, before a connection is accepted, that it will have a socket on the other side: what cannot be served waits in the listener's
    /// queue. Throws what is missing.
    mutating func reserve(_ listener: ListenerEntry) throws(Errno) {
        let (ipv4, ipv6) = Bypass.families(listener)
        if listener.isOutbound {
            if ipv4, !spare4.isOpen { spare4 = try Bypass.hostSocket(isIPv4: true) }
            if ipv6, !spare6.isOpen { spare6 = try Bypass.hostSocket(isIPv4: false) }
            return
        }
        guard takesInbound, hasSupply else { return }
        do throws(Errno) {
            if ipv4 { try supply?.reserve(isTCP: true, isIPv4: true) }
            if ipv6 { try supply?.reserve(isTCP: true, isIPv4: false) }
        } catch {
            // EAGAIN, ENOTCONN: the helper is stuck or gone, and the tap is left.
            if error.code != 11, error.code != 107 { throw error }
        }
    }

    /// Which families the far side may be of.
    private static func families(_ listener: ListenerEntry) -> (Bool, Bool) {
        if let target = listener.target.address { return (target.isIPv4, !target.isIPv4) }
        return (listener.address.isIPv4 || listener.address.isAny, !listener.address.isIPv4)
    }

    private static func hostSocket(isIPv4: Bool) throws(Errno) -> Descriptor {
        let socket = try Descriptor.socket(.stream, for: Bypass.loopback(isIPv4))
        socket.prepareStream()
        return socket
    }

    /// Takes an accepted connection over. False where this way does not lead anywhere, but another may.
    mutating func open(
        _ near: Descriptor, from client: IPAddress, _ listener: ListenerEntry, _ guest: GuestIdentity, _ counters: inout Counters
    ) -> Bool {
        var contacted: IPAddress? = listener.address
        // Nothing but keeping the address needs to know it.
        if keepsLoopback, !listener.isOutbound, listener.address.isAny { contacted = (try? near.localAddress())?.endpoint?.address }
        let target = listener.isOutbound
            ? outboundTarget(client, listener) : inboundTarget(client, listener, contacted: contacted, guest)
        guard let target else { return false }
        var far = Descriptor.none
        do throws(Errno) {
            far = try takeSocket(listener, isIPv4: target.address.isIPv4)
            // Only a target that is named may be on another host, and what comes in by this way leads there only where there is no other.
            let staysHere = listener.target.address == nil || target.address.isLoopback || !listener.isOutbound && !isOnlyWay
            try connections.open(
                near: near, far: far, to: SocketAddress(target), staysHere: staysHere, isOutbound: listener.isOutbound, &counters)
            return true
        } catch {
            far.close()
            counters.add(.spliceFailed)
            return false
        }
    }

    private mutating func takeSocket(_ listener: ListenerEntry, isIPv4: Bool) throws(Errno) -> Descriptor {
        guard listener.isOutbound else {
            guard let socket = try supply?.take(isTCP: true, isIPv4: isIPv4) else { throw Errno(107) }
            return socket
        }
        let spare = isIPv4 ? spare4 : spare6
        if !spare.isOpen { return try Bypass.hostSocket(isIPv4: isIPv4) }
        if isIPv4 { spare4 = .none } else { spare6 = .none }
        return spare
    }

    // MARK: Datagrams

    /// Takes over a datagram that has come to a listener of the host. False where this way does not lead anywhere. `arena` keeps it until `flushInbound`.
    mutating func passInbound(
        _ datagram: ArrivedDatagram, in arena: borrowing Mapping, _ listener: ListenerEntry, _ index: Int, _ guest: GuestIdentity,
        _ counters: inout Counters, now: Int64
    ) -> Bool {
        let (client, contacted) = (datagram.source, datagram.contacted)
        let key = FlowKey(guest: contacted, guestPort: listener.port, remote: client.address, remotePort: client.port)
        var flow = inboundDatagrams.find(key)
        if let found = flow, !inboundDatagrams.belongs(found, index, listener.generation) {
            inboundDatagrams.close(found, &counters)
            flow = nil
        }
        if flow == nil {
            guard let target = inboundTarget(client.address, listener, contacted: contacted, guest),
                let far = try? supply?.take(isTCP: false, isIPv4: target.address.isIPv4)
            else { return false }
            let isOpen = inboundDatagrams.open(
                key, far: far, to: target, listener: index, generation: listener.generation, &counters, now: now)
            if !isOpen {
                far.close()
                counters.add(.spliceFailed)
                return false
            }
            flow = inboundDatagrams.find(key)
        }
        guard let flow else { return false }
        inboundDatagrams.pass(flow, datagram, in: arena, &counters, now: now)
        return true
    }

    mutating func flushInbound(_ counters: inout Counters) { inboundDatagrams.flush(&counters) }

    mutating func handleDatagrams(_ tag: EventTag, _ listeners: borrowing ListenerTable, _ counters: inout Counters, now: Int64) {
        if tag.index & 1 == 0 {
            if inboundDatagrams.isCurrent(tag) { return inboundDatagrams.answer(tag, listeners, &counters, now: now) }
        } else if outboundDatagrams.isCurrent(tag) {
            return outboundDatagrams.answer(tag, listeners, &counters, now: now)
        }
        counters.add(.staleEvents)
    }

    // MARK: Rounds

    mutating func endRound(_ counters: inout Counters, now: Int64, timeIsUp: Bool) {
        connections.endRound(&counters, now: now)
        guard timeIsUp else { return }
        inboundDatagrams.expireTimers(&counters, now: now)
        outboundDatagrams.expireTimers(&counters, now: now)
    }

    /// When to come back at the latest, in milliseconds; `.max`: whenever there is an event.
    func nextWakeUp(now: Int64) -> Int64 {
        if connections.hasMore { return now }
        var due = connections.retryAt
        if let wake = inboundDatagrams.nextWakeUp { due = min(due, wake) }
        if let wake = outboundDatagrams.nextWakeUp { due = min(due, wake) }
        return due
    }
}
