internal import Linux
internal import Wire

/// All echo conversations of a worker.
struct PingTranslator: ~Copyable {
    var table: FlowTable<PingFlow>
    var timers: TimerWheel
    let epoll: Epoll
    var translation: AddressTranslation
    /// Milliseconds without traffic after which a flow ends.
    let timeout: Int64
    /// Set once the kernel has refused a ping socket (`net.ipv4.ping_group_range`): worth one warning.
    private(set) var isForbidden = false

    /// Flows that were answered, and those that were not; the one that was idle the longest is first.
    private(set) var answered: UsageOrder
    private(set) var waiting: UsageOrder
    /// Flows that the guest may still open in this batch: there are descriptors for no more.
    var openings = Int.max
    /// The kernel has refused a descriptor since this was last looked at.
    var lacksDescriptors = false
    private var outgoing: ScatterList
    var incoming: ReceiveBatch

    init(
        epoll: Epoll, translation: AddressTranslation, timeout: Int64 = 60_000, capacity: Int, seed: SipHash, now: Int64
    ) throws(Errno) {
        let table = try FlowTable<PingFlow>(capacity: capacity, seed: seed)
        let timers = try TimerWheel(capacity: capacity, now: now)
        let answered = try UsageOrder(capacity: capacity)
        let waiting = try UsageOrder(capacity: capacity)
        let outgoing = try ScatterList(capacity: 1)
        let incoming = try ReceiveBatch(capacity: PingTranslator.burst)
        self.table = table
        self.timers = timers
        self.answered = answered
        self.waiting = waiting
        self.outgoing = outgoing
        self.incoming = incoming
        self.epoll = epoll
        self.translation = translation
        self.timeout = timeout
    }

    /// Replies that one call takes.
    static var burst: Int { 2 }

    // MARK: Entry points

    /// An echo request of the guest, which is sent at once.
    mutating func fromGuest<Link: GuestLink & ~Copyable>(
        _ echo: GuestEcho, in arena: borrowing Mapping, _ port: inout GuestPort<Link>, now: Int64
    ) {
        port.counters.add(.pingRequests)
        guard let index = table.find(echo.key) ?? open(echo, &port, now: now) else { return }
        use(index, now: now)
        table[index].sequence = echo.sequence
        let flow = table[index]
        if echo.hopLimit != flow.hopLimit, echo.hopLimit > 0 {
            table[index].hopLimit = echo.hopLimit
            let isIPv4 = flow.remote.isIPv4
            if flow.remote.isMulticast {
                try? flow.socket.setMulticastHopLimit(echo.hopLimit, isIPv4: isIPv4)
            } else {
                try? flow.socket.setHopLimit(echo.hopLimit, isIPv4: isIPv4)
            }
        }
        if echo.typeOfService != flow.typeOfService {
            table[index].typeOfService = echo.typeOfService
            try? flow.socket.setTypeOfService(echo.typeOfService, isIPv4: flow.remote.isIPv4)
        }
        outgoing.removeAll()
        _ = outgoing.append(arena, offset: echo.messageOffset, length: echo.messageLength)
        var outcome = outgoing.send(on: flow.socket)
        if outcome.error != nil, !outcome.wouldBlock {
            // That of an earlier request, perhaps.
            takeErrors(index, &port)
            if outcome.error?.mayBeLostSource == true { reconnect(index) }
            outcome = outgoing.send(on: flow.socket)
        }
        if let error = outcome.error, !flow.isGroup, let problem = Unreachable(error) { report(problem, echo, &port) }
    }

    /// The host has lost `address`: flows that send from it choose another (`UDPSource`).
    mutating func abandon(_ address: IPAddress) {
        for index in 0..<table.highWater where table.isUsed(index) && table[index].remote.isIPv4 == address.isIPv4 {
            if table[index].socket.sends(from: address) { reconnect(index) }
        }
    }

    /// The host may have lost an address that flows send from.
    mutating func distrustSources() {
        for index in 0..<table.highWater where table.isUsed(index) { reconnect(index) }
    }

    /// The host's interface of index `interface` is gone (`UDPSource`).
    mutating func leave<Link: GuestLink & ~Copyable>(_ interface: Int32, _ port: inout GuestPort<Link>) {
        for index in 0..<table.highWater where table.isUsed(index) {
            if translation.family(of: table[index].remote).needs(interface, towards: table[index].remote) { close(index, &port) }
        }
    }

    private func reconnect(_ index: Int) {
        let remote = table[index].remote
        guard translation.family(of: remote).outboundAddress == nil else { return }
        try? table[index].socket.reconnect(to: peer(remote), over: interface(towards: remote))
    }

    /// What a flow's socket is bound to. All are those on one link, whatever the routes say.
    private func interface(towards remote: IPAddress) -> Int32? {
        let family = translation.family(of: remote)
        if remote == IPAddress(IPv4Address.broadcast), family.linkInterface > 0 { return family.linkInterface }
        return family.outboundInterface(towards: remote)
    }

    /// What a flow's socket is connected to.
    private func peer(_ remote: IPAddress) -> SocketAddress {
        SocketAddress(Endpoint(remote, 0), scope: translation.scope(of: remote))
    }

    /// Something happened on the socket of `index`; the caller has checked that it is still the same flow.
    mutating func fromHost<Link: GuestLink & ~Copyable>(
        _ index: Int, _ events: Epoll.Events, _ port: inout GuestPort<Link>, now: Int64
    ) {
        if events.contains(.error) { takeErrors(index, &port) }
        if !events.isDisjoint(with: [.input, .hangUp]) { receive(index, &port, now: now) }
    }

    /// Ends a round. Nothing waits for it here.
    mutating func endRound<Link: GuestLink & ~Copyable>(_ port: inout GuestPort<Link>, now: Int64) {}

    mutating func expireTimers<Link: GuestLink & ~Copyable>(_ port: inout GuestPort<Link>, now: Int64) {
        var budget = TimerWheel.mostPerRound
        while budget > 0, let index = timers.expire(at: now) {
            budget -= 1
            let due = table[index].usedAt + timeout
            if due <= now { close(index, &port) } else { timers.set(index, at: due) }
        }
    }

    func report<Link: GuestLink & ~Copyable>(_ problem: Unreachable, _ echo: GuestEcho, _ port: inout GuestPort<Link>) {
        if echo.isForMany || echo.key.remote.isGroup { return }
        port.sendICMPError(
            problem.error(isIPv4: echo.key.guest.isIPv4), from: echo.key.remote, quoting: .echo(echo.key, sequence: echo.sequence))
    }

    // MARK: Opening and closing

    /// A new flow; nil when there can be none, which the guest has been told.
    private mutating func open<Link: GuestLink & ~Copyable>(
        _ echo: GuestEcho, _ port: inout GuestPort<Link>, now: Int64
    ) -> Int? {
        let key = echo.key
        guard key.guest.isSaneSource, key.guest.isIPv4 == key.remote.isIPv4, let remote = translation.toHost(key.remoteEndpoint)?.address
        else {
            port.counters.add(.droppedAddress)
            return nil
        }
        if openings <= 0 || (table.count == table.capacity && !endOldest(&port)) {
            port.counters.add(.pingTableFull)
            report(.prohibited, echo, &port)
            return nil
        }
        do throws(Errno) {
            let opened: (socket: Descriptor, isGroup: Bool)
            do throws(Errno) {
                opened = try openSocket(to: remote, identifier: key.guestPort)
            } catch {
                // Another flow may hold what is missing.
                guard error.isLackOfDescriptors else { throw error }
                lacksDescriptors = true
                guard endOldest(&port) else { throw error }
                opened = try openSocket(to: remote, identifier: key.guestPort)
            }
            openings -= 1
            return try insert(echo, remote, opened.socket, isGroup: opened.isGroup, &port, now: now)
        } catch {
            port.counters.add(.pingSocketFailed)
            report(Unreachable(error) ?? .prohibited, echo, &port)
            return nil
        }
    }

    private mutating func insert<Link: GuestLink & ~Copyable>(
        _ echo: GuestEcho, _ remote: IPAddress, _ socket: Descriptor, isGroup: Bool, _ port: inout GuestPort<Link>, now: Int64
    ) throws(Errno) -> Int {
        let flow = PingFlow(key: echo.key, remote: remote, socket: socket, isGroup: isGroup, hopLimit: 0, sequence: echo.sequence, usedAt: now)
        guard let index = table.insert(flow) else {
            socket.close()
            throw Errno(12)  // ENOMEM
        }
        do throws(Errno) {
            try epoll.add(socket, .input, tag: EventTag(.ping, index: index, generation: table.generation(of: index)).bits)
        } catch {
            table.remove(index)
            socket.close()
            throw error
        }
        timers.set(index, at: now + timeout)
        waiting.use(index)
        port.counters.add(.pingOpened)
        return index
    }

    private mutating func openSocket(to remote: IPAddress, identifier: UInt16) throws(Errno) -> (socket: Descriptor, isGroup: Bool) {
        let socket: Descriptor
        do throws(Errno) {
            socket = try Descriptor.socket(.ping, for: remote)
        } catch {
            if error.code == 13 || error.code == 1 { isForbidden = true }
            throw error
        }
        do throws(Errno) {
            let isIPv4 = remote.isIPv4
            try socket.setReportErrors(isIPv4: isIPv4)
            try socket.setMayFragment(isIPv4: isIPv4)
            // Ping sockets share identifiers unless told not to, and then one gets the other's replies.
            try socket.setReuseAddress(false)
            try bind(socket, identifier, towards: remote)
            var isGroup = remote.isGroup
            if remote.isMulticast {
                let interface = translation.family(of: remote).linkInterface
                if interface > 0 { try socket.setMulticastInterface(index: interface, isIPv4: isIPv4) }
            } else if isGroup {
                try socket.setBroadcast()
            }
            do throws(Errno) {
                _ = try socket.connect(peer(remote))
            } catch {
                // EACCES: the broadcast address of a network that the host is in, or a way that is forbidden, which it still is then.
                guard error.code == 13, isIPv4, !isGroup else { throw error }
                try socket.setBroadcast()
                _ = try socket.connect(peer(remote))
                isGroup = true
            }
            return (socket, isGroup)
        } catch {
            socket.close()
            throw error
        }
    }

    private func bind(_ socket: Descriptor, _ identifier: UInt16, towards remote: IPAddress) throws(Errno) {
        let family = translation.family(of: remote)
        var address = remote.isIPv4 ? IPAddress(IPv4Address.any) : IPAddress(IPv6Address.any)
        if let index = interface(towards: remote) { try socket.bindToInterface(index: index) }
        if !remote.isLoopback, let outbound = family.outboundAddress { address = outbound }
        let scope = translation.scope(of: address)
        do throws(Errno) {
            try socket.bind(SocketAddress(Endpoint(address, identifier), scope: scope))
        } catch {
            // EADDRINUSE: the kernel chooses another.
            guard error.code == 98 else { throw error }
            try socket.bind(SocketAddress(Endpoint(address, 0), scope: scope))
        }
    }

    mutating func use(_ index: Int, now: Int64) {
        table[index].usedAt = now
        if table[index].isAnswered { answered.use(index) } else { waiting.use(index) }
    }

    /// Something came back.
    mutating func noteAnswer(_ index: Int, now: Int64) {
        if !table[index].isAnswered {
            waiting.remove(index)
            table[index].isAnswered = true
        }
        use(index, now: now)
    }

    /// Ends the flow that was idle the longest among the answered ones or among the others, whichever are more. Nothing is lost with it: the
    /// next request of the same conversation makes it anew. False when there is none.
    mutating func endOldest<Link: GuestLink & ~Copyable>(_ port: inout GuestPort<Link>) -> Bool {
        guard let oldest = answered.count > waiting.count ? answered.oldest : waiting.oldest else { return false }
        close(oldest, &port)
        port.counters.add(.pingGaveWay)
        return true
    }

    /// The only way in which a flow ends. Closing takes the socket out of epoll, too.
    mutating func closeAll<Link: GuestLink & ~Copyable>(_ port: inout GuestPort<Link>) {
        for index in 0..<table.highWater where table.isUsed(index) { close(index, &port) }
    }

    private mutating func close<Link: GuestLink & ~Copyable>(_ index: Int, _ port: inout GuestPort<Link>) {
        table[index].socket.close()
        timers.cancel(index)
        answered.remove(index)
        waiting.remove(index)
        table.remove(index)
        port.counters.add(.pingClosed)
    }
}
