internal import Linux
internal import Wire

extension TCPTranslator where Sockets: ~Copyable {
    /// Milliseconds before a SYN is repeated or a closed window probed for the first time, and the most between two retransmissions.
    private static var firstTimeout: Int64 { 1000 }
    private static var lastTimeout: Int64 { 120_000 }
    /// A link that has no room for a SYN either ends an attempt all the same.
    private static var longestHandshake: UInt32 { 180_000 }
    private static var dataRetries: UInt8 { 15 }
    /// A window probe is repeated at `lastTimeout` from this retry on.
    static var slowestProbe: UInt8 { 7 }
    /// A guest that was silent for so long is asked whether it is still there, and one that has been for longer is given up (lesson 27).
    private static var idleBeforeProbe: UInt32 { 2 * 3600 * 1000 }
    private static var idleBeforeEnd: UInt32 { 4 * 3600 * 1000 }
    private static var probeInterval: UInt32 { 600 * 1000 }
    /// After a guest has perhaps been started anew: until those are asked of which nothing was heard since, between two such questions, and how long they go on.
    private static var restartPause: UInt32 { 1000 }
    private static var restartInterval: UInt32 { 10_000 }
    private static var restartPatience: UInt32 { 60_000 }
    /// Between two tries to tell the guest that its connection is gone, doubling; and how many there are.
    static var resetInterval: Int64 { 10 }
    private static var resetTries: UInt8 { 10 }

    mutating func startRetransmitTimer(_ index: Int, now: Int64) {
        let connection = table[index]
        let shift = Int64(min(connection.retransmissions, 16))
        let isData = connection.events.contains(.established) && connection.guestWindow > 0 && !connection.events.contains(.probing)
        let first = isData ? connection.guestPath.timeout(flight: connection.flight, segment: Int(connection.segmentSize)) : TCPTranslator.firstTimeout
        table[index].retransmitAt = now + min(first << shift, TCPTranslator.lastTimeout)
    }

    /// The guest still has an earlier connection between these ends, such as one in TIME-WAIT, and knows by our reset now that it is over: one SYN more goes out
    /// right behind that. Further ones wait as usual, since a guest may keep such connections in spite of resets (RFC 1337).
    mutating func repeatSyn<Link: GuestLink & ~Copyable>(_ index: Int, _ port: inout GuestPort<Link>, now: Int64) {
        guard table[index].events.contains(.opensToGuest), table[index].retransmissions == 0, table[index].refusals == 0 else { return }
        _ = retransmit(index, &port, now: now)
    }

    /// Sees to it that the connection is looked at when its next deadline comes.
    mutating func armTimer(_ index: Int, now: Int64) {
        let connection = table[index]
        var due = Int64.max
        if connection.retransmitAt != 0 { due = min(due, connection.retransmitAt) }
        if connection.acknowledgeAt != 0 { due = min(due, connection.acknowledgeAt) }
        if connection.restAt != 0 { due = min(due, connection.restAt) }
        if connection.checkAt != 0 { due = min(due, connection.checkAt) }
        if due == .max {
            if timers.deadline(index) == nil {
                // By how long ago it was, since the 32 bits of `heardAt` wrap.
                let silence = UInt32(truncatingIfNeeded: now) &- connection.heardAt
                let rest = silence < TCPTranslator.idleBeforeProbe ? TCPTranslator.idleBeforeProbe - silence : TCPTranslator.probeInterval
                timers.set(index, at: now + Int64(rest))
            }
            return
        }
        timers.setNoLater(index, than: due)
    }

    /// Does what is due.
    mutating func expireTimers<Link: GuestLink & ~Copyable>(_ port: inout GuestPort<Link>, now: Int64) {
        var budget = TimerWheel.mostPerRound
        while budget > 0, let index = timers.expire(at: now) {
            budget -= 1
            guard table.isUsed(index), !table[index].events.contains(.standsStill) else { continue }
            let connection = table[index]
            if connection.events.contains(.mustReset) {
                resetAgain(index, &port, now: now)
                continue
            }
            if connection.retransmitAt != 0, connection.retransmitAt <= now {
                table[index].retransmitAt = 0
                if !retransmit(index, &port, now: now) { continue }
            }
            if connection.acknowledgeAt != 0, connection.acknowledgeAt <= now {
                table[index].acknowledgeAt = 0
                if !acknowledgementIsDue(index, &port, now: now) { continue }
            }
            // Not where the socket has just been looked at.
            if table[index].checkAt != 0, table[index].checkAt <= now {
                table[index].checkAt = 0
                if connection.events.contains(.established) { look(index, now: now) }
            }
            if connection.restAt != 0, connection.restAt <= now {
                table[index].restAt = 0
                // The turn that follows takes it.
                if connection.flight > 0 { _ = takeAcknowledged(index) } else { table[index].events.insert(.leftInQueue) }
            }
            if !checkIdle(index, &port, now: now) { continue }
            touch(index)
            armTimer(index, now: now)
        }
    }

    private mutating func resetAgain<Link: GuestLink & ~Copyable>(_ index: Int, _ port: inout GuestPort<Link>, now: Int64) {
        let tries = min(table[index].retransmissions + 1, TCPTranslator.resetTries)
        table[index].retransmissions = tries
        // A machine that stands still may go on at any time, and if it only waits for data it would wait for ever.
        if resetGuest(index, &port) || tries == TCPTranslator.resetTries && port.link.hasRoom {
            remove(index, &port)
        } else {
            timers.set(index, at: now + TCPTranslator.resetInterval << Int64(tries))
        }
    }

    /// The guest has not acknowledged in time. False when the connection is gone.
    private mutating func retransmit<Link: GuestLink & ~Copyable>(_ index: Int, _ port: inout GuestPort<Link>, now: Int64) -> Bool {
        table[index].retransmissions &+= 1
        if !table[index].events.contains(.established) {
            guard table[index].events.contains(.synSent) else { return true }
            // What the link refused was no try of those that count.
            if table[index].refusals > 0 { table[index].retransmissions -= 1 }
            let silence = UInt32(truncatingIfNeeded: now) &- table[index].heardAt
            guard table[index].retransmissions <= TCPTranslator.synRetries, silence < TCPTranslator.longestHandshake else {
                abort(index, &port)
                return false
            }
            port.counters.add(.tcpRetransmissionsToGuest)
            if table[index].events.contains(.opensToGuest) { sought = table[index].key.guest }
            sendSyn(index, &port, now: now)
            return true
        }
        // What cannot be sent at all, as to a machine that stands still, is no try; though the next segment still is one that was lost.
        if !port.link.hasRoom { table[index].retransmissions = max(table[index].retransmissions - 1, 1) }
        guard table[index].retransmissions <= TCPTranslator.dataRetries else {
            endByReset(index, &port, now: now)
            return false
        }
        table[index].events.subtract([.recovering, .resendsFirst])
        if table[index].guestWindow == 0 || table[index].events.contains(.probing) {
            probeWindow(index, &port, now: now)
            return isAlive(index)
        }
        guard table[index].flight > 0 else {
            table[index].retransmissions = 0
            return true
        }
        // Everything from here on is sent again, one segment at first.
        table[index].guestPath.lostAll(
            flight: table[index].flight, segment: Int(table[index].segmentSize), isFirst: table[index].retransmissions <= 1)
        table[index].next = table[index].unacknowledged
        startRetransmitTimer(index, now: now)
        return true
    }

    /// Sends one byte beyond the window, whose acknowledgement tells the window (lesson 9).
    private mutating func probeWindow<Link: GuestLink & ~Copyable>(_ index: Int, _ port: inout GuestPort<Link>, now: Int64) {
        startRetransmitTimer(index, now: now)
        let isAtEnd = table[index].events.contains(.finSent) && table[index].unacknowledged == table[index].highest + -1
        if isAtEnd {
            table[index].next = table[index].unacknowledged
            _ = sendFin(index, &port, now: now)
            return
        }
        table[index].next = table[index].unacknowledged
        table[index].events.insert(.probing)
        let step = transfer(index, limit: 1, &port, now: now)
        if case .gone = step { return }
        if table[index].events.contains(.wasRefused) {
            // Not sent: this was no probe.
            table[index].retransmissions -= 1
            table[index].retransmitAt = now + TCPTranslator.refusalInterval(table[index].refusals)
            return
        }
        discardAcknowledged(index, now: now)
        if table[index].flight == 0 {
            // There was nothing to probe with.
            table[index].events.remove(.probing)
            table[index].retransmissions = 0
            table[index].retransmitAt = 0
        }
    }

    /// False when the connection is gone.
    private mutating func acknowledgementIsDue<Link: GuestLink & ~Copyable>(_ index: Int, _ port: inout GuestPort<Link>, now: Int64) -> Bool {
        guard table[index].events.contains(.established) else { return true }
        if table[index].events.contains(.triesAgain) || table[index].events.contains(.outputBlocked) && hasRoom(index) {
            table[index].events.remove(.triesAgain)
            if !roomAgain(index, &port, now: now) { return false }
        }
        table[index].roomLookAt = 0
        look(index, now: now)
        // What a blocked socket could take again is told with its event: before that, the guest would send in vain.
        let isScarce = needsRoomLook(table[index]) || table[index].events.contains(.awaitsRoom)
        if isScarce, !table[index].events.contains(.outputBlocked) { lookAtSendSpace(index, now: now) }
        table[index].vainLooks = needsRoomLook(table[index]) ? min(table[index].vainLooks + 1, 8) : 0
        if table[index].events.contains(.awaitsRoom), !table[index].events.contains(.outputBlocked), table[index].sendSpace > 65536 {
            table[index].events.remove(.awaitsRoom)
        }
        let connection = table[index]
        if connection.isNear, connection.expected != connection.acknowledged {
            // No data came for the acknowledgement to travel with: this is no conversation of requests and responses.
            table[index].events.remove(.interactive)
            table[index].quickAcknowledgements = 16
            table[index].events.insert(.mustAcknowledge)
        }
        if !connection.isNear, connection.farAcknowledged > connection.acknowledged { table[index].events.insert(.mustAcknowledge) }
        return true
    }

    /// The guest has asked for its address or its router, as it does when it has been started anew. What it has forgotten, it resets when asked (lesson 27); what it
    /// has not, is soon heard of. In between, nobody on the host's side would know.
    mutating func guestMayHaveRestarted(now: Int64) {
        let time = UInt32(truncatingIfNeeded: now)
        if let last = restartedAt, time &- last < TCPTranslator.restartInterval { return }
        restartedAt = time
        for index in 0..<table.highWater where table.isUsed(index) && table[index].events.contains(.established) {
            // Not all in the same moment.
            timers.setNoLater(index, than: now + Int64(TCPTranslator.restartPause) + Int64(index & 1023))
        }
    }

    /// Asks a connection that nothing was heard of since, where it is time to, and sees to it that it is asked when it is.
    private mutating func askAfterRestart<Link: GuestLink & ~Copyable>(_ index: Int, _ port: inout GuestPort<Link>, now: Int64) {
        guard let restartedAt, table[index].events.contains(.established) else { return }
        let time = UInt32(truncatingIfNeeded: now)
        let since = time &- restartedAt
        guard since < TCPTranslator.restartPatience, time &- table[index].heardAt > since else { return }
        let sinceAsked = time &- table[index].askedAt
        // What was asked after an earlier restart does not count.
        var rest: UInt32 = 0
        if sinceAsked <= since {
            if sinceAsked < TCPTranslator.restartInterval { rest = TCPTranslator.restartInterval - sinceAsked }
        } else if since < TCPTranslator.restartPause {
            rest = TCPTranslator.restartPause - since
        }
        if rest == 0 {
            sendKeepAlive(index, &port)
            table[index].askedAt = time
            rest = TCPTranslator.restartInterval
        }
        timers.setNoLater(index, than: now + Int64(rest))
    }

    /// False when the connection is gone.
    private mutating func checkIdle<Link: GuestLink & ~Copyable>(_ index: Int, _ port: inout GuestPort<Link>, now: Int64) -> Bool {
        let time = UInt32(truncatingIfNeeded: now)
        let silence = time &- table[index].heardAt
        let isEstablished = table[index].events.contains(.established)
        let sinceAsked = time &- table[index].askedAt
        // If this program stood still for hours, nobody was asked.
        let wasAsked = sinceAsked < silence && sinceAsked >= TCPTranslator.probeInterval
        if silence >= TCPTranslator.idleBeforeEnd, wasAsked || !isEstablished {
            endByReset(index, &port, now: now)
            return false
        }
        askAfterRestart(index, &port, now: now)
        if silence >= TCPTranslator.idleBeforeProbe, isEstablished {
            sendKeepAlive(index, &port)
            table[index].askedAt = time
            timers.set(index, at: now + Int64(TCPTranslator.probeInterval))
        }
        return true
    }
}
