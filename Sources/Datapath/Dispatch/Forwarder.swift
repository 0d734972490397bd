// Dispatch: one worker. `Forwarder` owns the link, the translators and the timers, and turns events into calls;
// `Forwarder+Batch` takes the guest's frames, as many at once as is good (`BatchSize`); `Forwarder+Frames` takes them apart and hands each to who
// understands it; what carries on the frame before it goes a shorter way (`SegmentTrain`).
//
//      epoll_wait --> link readable: a batch of frames --> translators --> endRound: sends, acknowledgements
//                 --> socket event:  its flow's translator ------------------^
//                 --> timers
//
// A round handles every event that one wait returned, each within a budget, and then ends once for all.

internal import Linux
internal import Settings
internal import Wire

/// Why the loop came back to who runs it.
public enum Wake: Sendable, Equatable {
    /// A descriptor that was added with `watch` has something; its number there.
    case external(Int)
    /// The guest's side is gone.
    case guestGone
    /// The deadline that was given has come.
    case deadline
    /// Something that the user should hear of.
    case notice(WorkerNotice)
    case listenersEnded(EndedListeners)
    /// The link has something to tell.
    case guest(GuestNotice)
    /// It is time for `followPorts`.
    case portsDue
}

struct Forwarder<Link: GuestLink & ~Copyable, Sockets: HostSockets & ~Copyable>: ~Copyable {
    let epoll: Epoll
    var events: EventList
    var inbound: FrameBatch
    var fragments: FragmentTable
    var port: GuestPort<Link>
    var tcp: TCPTranslator<Sockets>
    var udp: UDPTranslator
    var ping: PingTranslator
    var guest: GuestIdentity
    var services: LocalServices
    var listeners: ListenerTable
    var bypass: Bypass
    /// When paused listeners are tried again, in milliseconds.
    var listenersResumeAt = Int64.max
    var portWatch: PortWatch
    var portTables: PortTables
    var migration: Migration
    /// When the guest hears of its router again, and how often it has.
    var nextAdvertisement: Int64
    /// When the guest was last asked for its link address, in milliseconds of the worker's clock.
    var askedForGuestAt = Int64.min / 2
    var advertisements = 0
    let enabled: EnabledHandlers
    /// The guest before its first frame.
    let unknownGuest: GuestIdentity
    /// As many as this process may have; see `Forwarder+Limits`.
    var descriptors: Int
    /// What it was at first, and when it became less, or was raised again, in milliseconds.
    let mostDescriptors: Int
    var limitLearnedAt: Int64 = 0
    var descriptorsAreScarce = false
    var batchSize: BatchSize
    /// Connections accepted per wake-up of a listener, likewise.
    var acceptLimit = 1
    var fullAccepts = 0
    private var nextEvent = 0
    /// When the last wait ended, in nanoseconds.
    private var woke: Int64 = 0
    private var eagerWait = EagerWait()
    /// Rounds in which what arrived while this program was stopped is taken before any time is up; 0 otherwise.
    private var roundsBehind = 0
    var notices = WorkerNotices()
    var endedListeners = EndedListeners()

    init(
        link: consuming Link, sockets: consuming Sockets, epoll: Epoll, network: Network, flows: Int, descriptors: Int = 1 << 30, now: Int64
    ) throws(Errno) {
        let key = randomKey()
        let seed = SipHash(key0: key.0, key1: key.1)
        let translation = AddressTranslation(network)
        let batch = link.batchSize
        var port = try GuestPort(link: link, guestMAC: network.guestMAC, gatewayMAC: network.gatewayMAC, mtu: network.mtu, seed: seed)
        let tcp = try TCPTranslator(
            sockets: sockets, translation: translation, mtu: network.mtu, capacity: flows, seed: seed, now: now)
        let udp = try UDPTranslator(epoll: epoll, translation: translation, capacity: flows, seed: seed, now: now)
        let ping = try PingTranslator(epoll: epoll, translation: translation, capacity: flows / 8, seed: seed, now: now)
        let listeners = try ListenerTable()
        let bypass = try Bypass(network, epoll: epoll, capacity: flows, seed: seed, now: now)
        let portWatch = try PortWatch()
        let portTables = try PortTables()
        let migration = try Migration()
        let inbound = try FrameBatch(capacity: batch.frames, mostBytes: batch.mostBytes)
        let fragments = try FragmentTable()
        let events = try EventList(capacity: 64)
        try port.link.watch(by: epoll)
        self.port = port
        self.tcp = tcp
        self.udp = udp
        self.ping = ping
        self.listeners = listeners
        self.bypass = bypass
        self.portWatch = portWatch
        self.portTables = portTables
        self.migration = migration
        self.inbound = inbound
        self.fragments = fragments
        batchSize = BatchSize(bytes: batch.bytes, mostBytes: batch.mostBytes)
        self.events = events
        self.epoll = epoll
        unknownGuest = GuestIdentity(network)
        guest = unknownGuest
        services = LocalServices(network)
        nextAdvertisement = network.ipv6 != nil && network.ndp && network.routerAdvertisements ? now + 1000 : .max
        enabled = EnabledHandlers(network)
        mostDescriptors = min(descriptors, 1 << 30)
        self.descriptors = mostDescriptors
    }

    /// Forwards until something happens that is not the data path's: see `Wake`. `deadline` is in nanoseconds of the monotonic clock.
    mutating func run(until deadline: Int64?) throws(Errno) -> Wake {
        while true {
            while nextEvent < events.count {
                let event = events[nextEvent]
                nextEvent += 1
                let tag = EventTag(bits: event.tag)
                if tag.kind == .external { return .external(tag.index) }
                handle(tag, event.events, now: milliseconds())
            }
            let now = monotonicNanoseconds()
            attend(port.link.takeNews(), now: now / 1_000_000)
            if tcp.answerIsDue(now) { tcp.giveAnswer(&port, now: now / 1_000_000) }
            endRound(now: now / 1_000_000)
            if port.link.hasLostGuest { guestLeft() }
            if let notice = port.link.takeNotice() { return .guest(notice) }
            if port.isClosed { return .guestGone }
            if let deadline, now >= deadline { return .deadline }
            if now / 1_000_000 >= portWatch.due { return .portsDue }
            if ping.isForbidden { notices.note(.pingForbidden) }
            if let notice = notices.next() { return .notice(notice) }
            if endedListeners.count > 0 { return .listenersEnded(takeEndedListeners()) }
            nextEvent = 0
            let finished = monotonicNanoseconds()
            tcp.isLate = finished - woke > TCPTranslator<Sockets>.longRound
            try wait(now: finished, deadline: deadline)
            woke = monotonicNanoseconds()
            port.errorLimit.refill(now: woke / 1_000_000)
            port.counters.add(.wakeUps)
        }
    }

    /// Waits for events, and asks for them eagerly where they follow each other closely (`EagerWait`).
    private mutating func wait(now: Int64, deadline: Int64?) throws(Errno) {
        // Nobody waits, but everybody has their turn.
        if port.link.hasNews { return try events.wait(on: epoll, nanoseconds: 0) }
        let timeout = timeout(now: now, deadline: deadline)
        let bytes = port.counters[.bytesFromGuest] &+ port.counters[.bytesToGuest] &+ port.counters[.splicedBytes]
        let span = eagerWait.span(bytes: bytes)
        var present = now
        while present - now < (timeout < 0 ? span : min(span, timeout)) {
            try events.wait(on: epoll, nanoseconds: 0)
            if events.count > 0 || port.link.hasNews || tcp.answerIsDue(present) { return }
            tcp.closePostponed()
            // Whoever else needs this processor goes first: a client or a server on the same machine often does.
            yieldProcessor()
            present = monotonicNanoseconds()
        }
        if tcp.hasAnswer {
            // Needs the end of a round.
            tcp.giveAnswer(&port, now: present / 1_000_000)
            return events.removeAll()
        }
        tcp.finishPostponed()
        guard port.link.prepareToWait() else { return try events.wait(on: epoll, nanoseconds: 0) }
        try events.wait(on: epoll, nanoseconds: timeout < 0 ? timeout : max(timeout - (present - now), 0))
        let slept = monotonicNanoseconds() - now
        eagerWait.slept(slept)
        try attendStop(slept: slept, timeout: timeout)
    }

    /// A wait that has taken much longer than it should, or has ended without a reason, was interrupted by a stop (SIGSTOP). By the clock, much is over for which answers wait in the
    /// sockets: they come first.
    private mutating func attendStop(slept: Int64, timeout: Int64) throws(Errno) {
        let isLate = timeout < 0 ? events.count == 0 : slept > timeout + Forwarder.lateness
        guard isLate, slept > Forwarder.lateness else { return }
        roundsBehind = Forwarder.mostRoundsBehind
        if events.count == 0 { try events.wait(on: epoll, nanoseconds: 0) }
    }

    /// Nanoseconds that a wait may take longer than it was to.
    private static var lateness: Int64 { 1_000_000_000 }
    private static var mostRoundsBehind: Int { 1024 }

    private func milliseconds() -> Int64 { monotonicNanoseconds() / 1_000_000 }

    private mutating func handle(_ tag: EventTag, _ mask: Epoll.Events, now: Int64) {
        switch tag.kind {
        case .link:
            attend(port.link.attend(tag.index, mask), now: now)
        case .tcp where tcp.table.isCurrent(tag.index, generation: tag.generation):
            tcp.fromHost(tag.index, mask, &port, now: now)
        case .udp where udp.table.isCurrent(tag.index, generation: tag.generation):
            udp.fromHost(tag.index, mask, &port, now: now)
        case .ping where ping.table.isCurrent(tag.index, generation: tag.generation):
            ping.fromHost(tag.index, mask, &port, now: now)
        case .listener where listeners.isCurrent(tag.index, generation: tag.generation):
            acceptInbound(tag.index, mask, now: now)
        case .splice where bypass.connections.isCurrent(tag): bypass.connections.handle(tag, mask, &port.counters, now: now)
        case .spliceDatagrams: bypass.handleDatagrams(tag, listeners, &port.counters, now: now)
        case .supply: if !bypass.receiveSockets(epoll) { notices.note(.helperGone) }
        default: port.counters.add(.staleEvents)
        }
    }

    private mutating func attend(_ event: LinkEvent, now: Int64) {
        if event.isEmpty { return }
        if event.contains(.waits) { pauseListening(now: now) }
        if event.contains(.transfer) { transferState(now: now) }
        if event.contains(.arrived) { guestArrived(now: now) }
        if event.contains(.room) { tcp.linkHasRoom(&port, now: now) }
        if event.contains(.frames) { receive(now: now) }
    }

    private mutating func endRound(now: Int64) {
        if now >= listenersResumeAt { resumeListeners() }
        roundsBehind = events.count > 0 ? max(roundsBehind - 1, 0) : 0
        let timeIsUp = roundsBehind == 0
        if timeIsUp {
            tcp.expireTimers(&port, now: now)
            udp.expireTimers(&port, now: now)
            ping.expireTimers(&port, now: now)
            giveUpFragments(now: now)
        }
        tcp.endRound(&port, now: now)
        bypass.endRound(&port.counters, now: now, timeIsUp: timeIsUp)
        seekGuest(now: now)
        advertiseRouter(now: now)
        port.flush()
    }

    /// Nanoseconds until something is due; negative: nothing is. `mutating`: see `Forwarder+Limits`.
    private mutating func timeout(now: Int64, deadline: Int64?) -> Int64 {
        var due = deadline
        if let wake = tcp.timers.nextWakeUp { due = min(due ?? .max, wake * 1_000_000) }
        if let wake = udp.timers.nextWakeUp { due = min(due ?? .max, wake * 1_000_000) }
        if let wake = ping.timers.nextWakeUp { due = min(due ?? .max, wake * 1_000_000) }
        if let wake = fragments.nextWakeUp { due = min(due ?? .max, wake * 1_000_000) }
        let bypassWake = bypass.nextWakeUp(now: now / 1_000_000)
        if bypassWake != .max { due = min(due ?? .max, bypassWake * 1_000_000) }
        if listenersResumeAt != .max { due = min(due ?? .max, listenersResumeAt * 1_000_000) }
        if portWatch.due != .max { due = min(due ?? .max, portWatch.due * 1_000_000) }
        if nextAdvertisement != .max { due = min(due ?? .max, nextAdvertisement * 1_000_000) }
        guard let due else { return -1 }
        return max(due - now, 0)
    }
}

/// The handlers that options left on.
struct EnabledHandlers: BitwiseCopyable {
    let tcp, udp, icmp, dhcp, ndp, dhcpv6: Bool

    init(_ network: Network) {
        tcp = network.tcp
        udp = network.udp
        icmp = network.icmp
        dhcp = network.dhcp && network.ipv4 != nil
        ndp = network.ndp && network.ipv6 != nil
        dhcpv6 = network.dhcpv6 && network.ipv6 != nil
    }
}
