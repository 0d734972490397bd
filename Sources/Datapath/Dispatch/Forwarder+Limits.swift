internal import Linux
internal import Wire

/// Descriptors are what all protocols share, and the first thing that a flood uses up. Where they are scarce, the guest's new flow takes the place of
/// the oldest of those that nobody has answered yet, of whichever protocol has most of them; where there is none, it is refused. Neither the guest nor those who
/// connect to it can have more than seven eighths of all. What takes no detour counts as well: connections of the namespace's loopback are the guest's, those of the host's the others'.
extension Forwarder where Link: ~Copyable, Sockets: ~Copyable {
    /// Descriptors that are no flow's: standard ones, epoll, the link, signals, logs and the like.
    private static var others: Int { 24 }
    /// Milliseconds from one try whether there are more again to the next.
    private static var limitRetry: Int64 { 10_000 }

    // `mutating`, although they change nothing: to borrow `self`, the compiler copies all of it, seven kilobytes each time.

    /// No more than this many flows can be open at once, and either side can open no more than that less an eighth.
    private var mostFlows: Int { mutating get { max(descriptors - notFlows, 8) } }
    private var notFlows: Int { mutating get { Forwarder.others + port.link.moreDescriptors + listeners.count + bypass.spareDescriptors } }
    private var mostOfOneSide: Int {
        mutating get {
            let most = mostFlows
            return most - min(most / 8, 1024)
        }
    }
    private var clientDescriptors: Int { mutating get { tcp.inboundCount + bypass.clientDescriptors } }
    private var flowCount: Int {
        mutating get {
            tcp.table.count + tcp.postponed.closingCount + udp.socketCount + ping.table.count + bypass.guestDescriptors + bypass.clientDescriptors
        }
    }
    /// How many more the guest can open.
    var roomOfGuest: Int {
        mutating get {
            let count = flowCount
            return min(mostOfOneSide - (count - clientDescriptors), mostFlows - count)
        }
    }
    /// How many more those can open who connect to it.
    private var roomOfClients: Int { mutating get { min(mostOfOneSide - clientDescriptors, mostFlows - flowCount) } }

    /// `count` frames of the guest are about to be worked off, each of which may open a flow.
    mutating func limitFlows(by count: Int, now: Int64) {
        attendLimit(now: now)
        let isScarce = roomOfGuest < count
        if descriptorsAreScarce && !isScarce { allow(.max) }
        descriptorsAreScarce = isScarce
    }

    /// What was learned of a lack of descriptors, and tries whether it has passed.
    mutating func attendLimit(now: Int64) {
        if tcp.lacksDescriptors || udp.lacksDescriptors || ping.lacksDescriptors { learnLimit(now: now) }
        while descriptors < mostDescriptors, now - limitLearnedAt >= Forwarder.limitRetry {
            descriptors = min(2 * descriptors, mostDescriptors)
            limitLearnedAt += Forwarder.limitRetry
        }
    }

    /// Descriptors are scarce, and a frame is about to open a flow.
    mutating func admitFlow(now: Int64) {
        if roomOfGuest <= 0 {
            notices.note(.descriptorsUsedUp)
            _ = endOldest(now: now)
        }
        allow(max(roomOfGuest, 0))
    }

    /// How many descriptors the guest may still take. Where two are too many, the oldest of what can gives way.
    mutating func guestRoom(now: Int64) -> Int {
        attendLimit(now: now)
        for _ in 0..<2 where roomOfGuest < 2 { _ = endOldest(now: now) }
        return max(roomOfGuest, 0)
    }

    /// Whether there are descriptors for a client more, by the tap or the bypass. Where there are none, the oldest connection gives way that the guest has not answered for a second; a younger one is about to
    /// be open, and who comes waits.
    mutating func hasRoomForClient(now: Int64) -> Bool {
        attendLimit(now: now)
        if roomOfClients < 2, tcp.postponed.closingCount > 0 { tcp.closePostponed() }
        for _ in 0..<2 where roomOfClients < 2 && tcp.hasSilentClient { _ = tcp.endOldest(inbound: true, &port) }
        if roomOfClients >= 2 { return true }
        notices.note(.descriptorsUsedUp)
        return false
    }

    private mutating func allow(_ openings: Int) { (tcp.openings, udp.openings, ping.openings) = (openings, openings, openings) }

    /// The kernel refuses descriptors earlier than was expected: somebody has changed the limit, or the whole system had none left for a moment.
    private mutating func learnLimit(now: Int64) {
        notices.note(.descriptorsUsedUp)
        descriptors = min(descriptors, flowCount + notFlows)
        limitLearnedAt = now
        (tcp.lacksDescriptors, udp.lacksDescriptors, ping.lacksDescriptors) = (false, false, false)
    }

    /// Ends a flow that gives way to others. False when there is none.
    mutating func endOldest(now: Int64) -> Bool {
        let opening = max(tcp.halfOpenOut.count, tcp.halfOpenIn.count)
        let waiting = max(udp.waitingOut.count, udp.waitingIn.count)
        let pings = ping.table.count
        if opening > 0, opening >= waiting, opening >= pings {
            return tcp.endOldest(inbound: tcp.halfOpenIn.count > tcp.halfOpenOut.count, &port)
        }
        if pings > waiting { return ping.endOldest(&port) }
        return udp.endOldest(&port, now: now)
    }
}
