internal import Linux
internal import Wire

/// Who gives way where there is no room for another flow.
///
/// A flow that nobody has answered has cost its opener one datagram, and so thousands of them nothing: the one that was idle the longest
/// gives way at once. One that was answered is kept unless it was idle for some time. The guest and those who send to it can take seven
/// eighths of the table each, so that neither can lock the other out.
extension UDPTranslator {
    private var mostOfOneSide: Int { table.capacity - table.capacity / 8 }

    /// Whether there is room in the table for one more.
    mutating func makeRoom<Link: GuestLink & ~Copyable>(inbound: Bool, _ port: inout GuestPort<Link>, now: Int64) -> Bool {
        if !inbound && openings <= 0 { return false }
        let own = inbound ? inboundCount : table.count - inboundCount
        let mayHaveMore = own < mostOfOneSide
        if mayHaveMore, table.count < table.capacity { return true }
        // Who has had his share gives way himself, or else the side that has more of those that wait.
        let fromOthers = mayHaveMore ? sharedWaiting.count + waitingIn.count > waitingOut.count : inbound
        if let oldest = fromOthers ? sharedWaiting.oldest ?? waitingIn.oldest : waitingOut.oldest {
            giveWay(oldest, &port, now: now)
            return true
        }
        if mayHaveMore || inbound, endIdle(sharedAnswered.oldest, &port, now: now) { return true }
        guard let oldest = answered.oldest, mayHaveMore || table[oldest].flags.contains(.inbound) == inbound else { return false }
        return endIdle(oldest, &port, now: now)
    }

    /// Gives a descriptor back: ends the oldest flow with a socket of its own of the side that has more of those that wait for an answer, or else one that
    /// is idle. False when there is none.
    mutating func endOldest<Link: GuestLink & ~Copyable>(_ port: inout GuestPort<Link>, now: Int64) -> Bool {
        guard let oldest = waitingIn.count > waitingOut.count ? waitingIn.oldest : waitingOut.oldest else {
            return endIdle(answered.oldest, &port, now: now)
        }
        giveWay(oldest, &port, now: now)
        return true
    }

    private mutating func endIdle<Link: GuestLink & ~Copyable>(_ index: Int?, _ port: inout GuestPort<Link>, now: Int64) -> Bool {
        guard let index, table[index].usedAt + timeouts.givesWay <= now else { return false }
        giveWay(index, &port, now: now)
        return true
    }

    private mutating func giveWay<Link: GuestLink & ~Copyable>(_ index: Int, _ port: inout GuestPort<Link>, now: Int64) {
        // What it has to send goes out first.
        if table[index].firstPending != 0 { flushPending(&port, now: now) }
        close(index, &port)
        port.counters.add(.udpGaveWay)
    }

    /// Something was sent either way.
    mutating func noteUse(_ index: Int) {
        let flags = table[index].flags
        if flags.contains(.byListener) {
            if flags.contains(.answered) { sharedAnswered.use(index) } else { sharedWaiting.use(index) }
        } else if flags.contains(.answered) {
            answered.use(index)
        } else if flags.contains(.inbound) {
            waitingIn.use(index)
        } else {
            waitingOut.use(index)
        }
    }

    mutating func forgetUse(_ index: Int) {
        sharedAnswered.remove(index)
        sharedWaiting.remove(index)
        answered.remove(index)
        waitingOut.remove(index)
        waitingIn.remove(index)
    }
}
