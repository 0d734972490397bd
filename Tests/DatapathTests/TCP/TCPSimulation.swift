import Wire

@testable import Datapath
@testable import Linux

/// Model guests and model far ends with a translator between them, all from one seed.
struct TCPSimulation: ~Copyable {
    let seed: UInt64
    let plan: SimulationPlan
    var random: SeededRandom
    /// For what only later seeds have.
    var more: SeededRandom
    var script: TCPScript
    var guests: [ModelGuest] = []
    var farEnds: [ModelFarEnd] = []
    var checks: [FlowChecks] = []
    private var aborts: [(who: SimulationPlan.Abort, at: Int64)] = []
    /// The script has ended this connection by a reset of one side.
    private var wasAborted: [Bool] = []
    /// Any of them, now or earlier.
    private var hadAborts = false
    private var startsAnew: [Bool] = []
    /// Since when a connection's socket is closed.
    private var endedAt: [Int64?] = []
    /// Connections whose guest has started anew: the guest, the bytes of its far end, and the socket, as they were.
    private var earlier: [(guest: ModelGuest, farEnd: ModelFarEnd, isExcused: Bool)] = []

    struct Flight<Content> {
        var at: Int64
        var order: Int
        var connection: Int
        var content: Content
    }
    var toHost: [Flight<(TCPHeader, Range<Int>)>] = []
    var toGuest: [Flight<SeenSegment>] = []
    var order = 0
    /// SYNs to the guest that were lost, by connection.
    var lostSyns: [Int] = []
    /// Frames with data that were lost, by connection.
    var lostFromGuest: [Int] = []
    private var refusalEnds: Int64 = 0
    /// Nobody has used it for so long that it has room for the next frame, whatever the seed says.
    private var isLinkEmpty = false
    var trace: [String]?
    /// The first thing found wrong.
    private(set) var failure: String?

    init(seed: UInt64, traced: Bool = false) throws {
        self.seed = seed
        var random = SeededRandom(seed)
        let plan = SimulationPlan(seed, &random)
        self.plan = plan
        script = try TCPScript(mtu: plan.mtu, capacity: plan.capacity, offloads: plan.offloads, start: plan.begin) {
            $0.connectsAtOnce = false
            $0.hasPeekOffset = plan.hasPeekOffset
            $0.hasMemoryInfo = plan.hasMemoryInfo
            $0.hasBytesAcknowledged = plan.hasBytesAcknowledged
            $0.sendLimit = plan.sendLimit
            $0.hasCubic = seed % 4 != 0
            $0.slowStartEnds = 15_000 + Int(seed % 7) * 20_000
            $0.roundTrip = plan.farTime
            $0.hasOutages = seed % 5 == 0
            $0.peekOffsetCalls = plan.peekOffsetCalls
            $0.trouble = plan.socketTrouble
            $0.concurrency = plan.concurrency
            $0.pieceCost = plan.pieceCost
            $0.random = SeededRandom(seed &+ 77)
        }
        for connection in plan.connections {
            guests.append(connection.guest)
            farEnds.append(connection.farEnd)
            aborts.append((connection.abort, connection.abortsAt))
            wasAborted.append(false)
            lostFromGuest.append(0)
            lostSyns.append(0)
            endedAt.append(nil)
            startsAnew.append(connection.startsAnew)
            checks.append(FlowChecks(isFar: plan.isFar && plan.hasBytesAcknowledged))
        }
        self.random = random
        more = SeededRandom(seed &+ 99)
        if traced { trace = [] }
    }

    var now: Int64 { script.now }

    mutating func note(_ text: String) {
        let time = now - plan.begin
        trace?.append("\(time) \(text)")
    }

    mutating func fail(_ text: String) {
        if failure == nil { failure = "seed \(seed), \(now - plan.begin) ms: \(text)" }
    }

    // MARK: The run

    /// Runs to the end; what went wrong, if anything.
    mutating func run() -> String? {
        for index in guests.indices {
            if guests[index].opens { guests[index].begin(now: now, &random) }
            if !guests[index].opens || plan.connections[index].crosses { openFromHost(index) }
        }
        var lastProgress = now
        var progress = -1
        var steps = 0
        while failure == nil {
            step()
            steps += 1
            let count = guests.reduce(0) { $0 + $1.progress } + script.tcp.sockets.all.reduce(0) { $0 + $1.taken.count + $1.arrived.count + $1.drained + $1.closes }
            if count != progress {
                progress = count
                lastProgress = now
            }
            if isOver { break }
            if now - lastProgress > patience { fail("no progress: \(status)") }
            // An application asks every millisecond at most.
            if steps > 200_000 + Int(now - plan.begin) { fail("too many steps: \(status)") }
            guard let wake = nextWakeUp else {
                fail("nothing will ever happen: \(status)")
                break
            }
            script.move(to: max(now, wake))
        }
        if failure == nil { checkEnd() }
        return failure
    }

    /// Five hours where a side may have to find out that the other has gone, else what retransmission timeouts can add up to.
    private var patience: Int64 {
        let hasGone = guests.contains { $0.isReset } || hadAborts || farEnds.contains { $0.refuses }
            || script.tcp.sockets.all.contains { $0.hasLostPeekOffset }
        if hasGone { return 18_000_000 }
        // What a socket has refused by chance several times, the guest's timer repeats; and two in a row of the slowest repetitions may be lost.
        return (plan.isClean && plan.guestLoss == 0 ? plan.isPrompt ? 150 : 700 : 250_000) + (plan.hasPauses || plan.socketTrouble > 0 ? 10_000 : 0)
            + (plan.blackHole.upperBound == .max ? 0 : 100_000)
            // Whoever gave way, and has not heard of it, asks with its next SYN.
            + (script.port.counters[.tcpGaveWay] > 0 ? 3000 : 0)
    }

    private var isOver: Bool {
        guard script.tcp.table.count == 0, script.tcp.sockets.openCount == 0, toHost.isEmpty, toGuest.isEmpty else { return false }
        return guests.indices.allSatisfy { guests[$0].isDone || guests[$0].isReset || (guests[$0].state == .closed && wasRefused($0)) }
    }

    private var status: String {
        var text = "table \(script.tcp.table.count)"
        for guest in guests {
            text += "; \(guest.port) \(guest.state) acknowledged \(guest.unacknowledged)/\(guest.total + 2) received \(guest.bytesReceived) end \(guest.hasEnd)"
        }
        for farEnd in farEnds {
            guard let number = farEnd.socket else { continue }
            let socket = script.tcp.sockets.all[number]
            text += "; socket \(number) taken \(socket.taken.count) drained \(socket.drained) arrived \(socket.arrived.count)/\(farEnd.total) unread \(socket.unread) fin \(socket.hasFin) finished \(socket.isFinished) closes \(socket.closes)"
        }
        for index in 0..<script.tcp.table.highWater where script.tcp.table.isUsed(index) {
            let connection = script.tcp.table[index]
            text += "; flow \(connection.key.guestPort) events \(String(connection.events.rawValue, radix: 2)) flight \(connection.flight)"
            text += " unsent \(connection.highest - connection.next) window \(connection.guestWindow) due \(script.tcp.timers.deadline(index).map { $0 - now } ?? -1)"
            text += " retransmit \(connection.retransmitAt - now) times \(connection.retransmissions)"
        }
        text += "; timers \((script.tcp.timers.nextWakeUp ?? .max) &- now), guests \(guests.map { $0.wakeUp &- now })"
        text += ", far ends \(farEnds.indices.map { farWakeUp($0) &- now }), flights \(toHost.count) \(toGuest.count)"
        return text
    }

    private var nextWakeUp: Int64? {
        var wake = script.tcp.timers.nextWakeUp ?? .max
        for flight in toHost { wake = min(wake, flight.at) }
        for flight in toGuest { wake = min(wake, flight.at) }
        for guest in guests { wake = min(wake, guest.wakeUp) }
        for index in farEnds.indices { wake = min(wake, farWakeUp(index)) }
        for abort in aborts where abort.at > now { wake = min(wake, abort.at) }
        if script.tcp.sockets.owesAnEvent || !script.tcp.sockets.ready.isEmpty { wake = min(wake, now + 1) }
        return wake == .max ? nil : wake
    }

    private func farWakeUp(_ index: Int) -> Int64 {
        let farEnd = farEnds[index]
        if let at = farEnd.connectsAt { return at }
        guard let number = farEnd.socket else { return .max }
        let socket = script.tcp.sockets.all[number]
        guard socket.isConnected, socket.isOpen || socket.queued > 0 else { return .max }
        if farEnd.pausesAt <= now { return farEnd.actAt }
        let left = farEnd.total - socket.arrived.count
        let maySend = left > 0 && socket.unread < farEnd.capacity
        let mayEnd = left == 0 && !socket.hasFin && (!farEnd.endsLast || (socket.isFinished && socket.queued == 0))
        return socket.queued > 0 || maySend || mayEnd ? farEnd.actAt : .max
    }

    private mutating func openFromHost(_ index: Int) {
        let descriptor = script.tcp.sockets.accept()
        farEnds[index].socket = script.tcp.sockets.all.count - 1
        script.tcp.openToGuest(descriptor, key: guests[index].key, &script.port, now: now)
        collect()
    }

    private mutating func step() {
        deliverToGuests()
        for index in guests.indices {
            if aborts[index].at <= now { abort(index) }
            if guests[index].wakeUp <= now { guests[index].tick(now: now, &random) }
            if startsAnew[index], guests[index].isDone || guests[index].state == .dead { startAnew(index) }
            launch(index)
            if let violation = guests[index].violation { fail("guest \(guests[index].port): \(violation)") }
            if guests[index].isReset, !mayEndByReset(index) { fail("guest \(guests[index].port) was reset for nothing: \(status)") }
            if farWakeUp(index) <= now { act(index) }
        }
        // The link is full: the next frame to the guest is refused, whoever sends it. A link that nobody uses is empty after a while.
        if refusalEnds <= now, script.port.link.refusals > 0 { (script.port.link.refusals, isLinkEmpty) = (0, true) }
        if plan.refusal > 0, random.perMille(plan.refusal), !isLinkEmpty {
            script.port.link.refusals = 1
            refusalEnds = now + 300
        }
        deliverToHost()
        script.tcp.sockets.payEvents(&more)
        if plan.isOftenLate { script.tcp.isLate = now % 3 == 0 }
        script.runRound()
        if !script.port.link.seen.isEmpty { isLinkEmpty = false }
        collect()
        findSockets()
        for index in farEnds.indices where endedAt[index] == nil {
            if let number = farEnds[index].socket, script.tcp.sockets.all[number].closes > 0 { endedAt[index] = now }
        }
    }

    // MARK: Aborts and new beginnings

    private mutating func abort(_ index: Int) {
        aborts[index].at = .max
        if trace != nil { note("\(guests[index].port) \(aborts[index].who) aborts") }
        if aborts[index].who == .guest {
            guard guests[index].state != .closed, guests[index].state != .dead else { return }
            guests[index].abort(&random)
            wasAborted[index] = true
            hadAborts = true
        } else if let number = farEnds[index].socket, script.tcp.sockets.all[number].isOpen {
            script.tcp.sockets.fail(number, Errno(104))
            wasAborted[index] = true
            hadAborts = true
        }
    }

    /// Refused by a full table, or by what the far end does with everyone.
    private func wasRefused(_ index: Int) -> Bool {
        if farEnds[index].refuses { return true }
        // It has never heard of the connection: as often as we repeat a SYN, it was lost.
        if guests[index].state == .closed, lostSyns[index] > Int(TCPTranslator<ScriptedSockets>.synRetries) { return true }
        if script.port.counters[.tcpTableFull] > 0, guests[index].peerStart == nil { return true }
        // What is not open yet gives way to who comes later.
        return script.port.counters[.tcpGaveWay] > 0 && guests[index].bytesReceived == 0 && guests[index].unacknowledged <= 1
    }

    private func mayEndByReset(_ index: Int) -> Bool {
        if wasAborted[index] || wasRefused(index) { return true }
        guard let number = farEnds[index].socket else { return false }
        let socket = script.tcp.sockets.all[number]
        // It has ended in good order, and each answer that would have said so was lost until it was forgotten.
        if let end = endedAt[index], now - end > ClosedConnections.time, !socket.isAborted, socket.taken.count == guests[index].total { return true }
        return socket.hasLostPeekOffset
    }

    /// The guest opens a new connection between the same ends, in the batch of the last segment of the old one.
    private mutating func startAnew(_ index: Int) {
        startsAnew[index] = false
        earlier.append((guests[index], farEnds[index], mayEndByReset(index)))
        if let number = farEnds[index].socket { script.tcp.sockets.all[number].isEarlier = true }
        let rest = guests[index].queued
        guests[index] = guests[index].successor(start: guests[index].start &+ 1_000_000 &+ UInt32(more.below(1 << 20)))
        guests[index].actAt = now
        guests[index].begin(now: now, &random)
        guests[index].queued = rest + guests[index].queued
        farEnds[index].socket = nil
        endedAt[index] = nil
        farEnds[index].connectsAt = nil
        farEnds[index].actAt = now
        wasAborted[index] = false
        checks[index] = FlowChecks(isFar: plan.isFar && plan.hasBytesAcknowledged, isSuccessor: true)
        if trace != nil { note("\(guests[index].port) starts anew") }
    }

    private mutating func findSockets() {
        for number in script.tcp.sockets.all.indices {
            let socket = script.tcp.sockets.all[number]
            guard let remote = socket.remote, !socket.isEarlier, socket.isOpen, !socket.isConnected,
                let index = guests.firstIndex(where: { $0.remotePort == remote.port })
            else { continue }
            let isKnown = farEnds[index].socket.map { $0 == number || script.tcp.sockets.all[$0].isOpen } ?? false
            if !isKnown, !guests[index].isDone, !guests[index].isReset {
                // The first one, or another try of a guest that has not heard how the last one ended.
                farEnds[index].socket = number
                farEnds[index].connectsAt = now + Int64(random.below(30))
                checks[index] = FlowChecks(isFar: plan.isFar && plan.hasBytesAcknowledged, isSuccessor: checks[index].isSuccessor)
            } else if farEnds[index].socket != number {
                // A late copy of the guest's SYN.
                script.tcp.sockets.succeed(number)
            }
        }
    }

    /// The far end's turn: connects, takes, sends, ends.
    private mutating func act(_ index: Int) {
        guard let number = farEnds[index].socket else { return }
        if let at = farEnds[index].connectsAt {
            guard at <= now else { return }
            farEnds[index].connectsAt = nil
            if farEnds[index].refuses {
                script.tcp.sockets.fail(number, Errno(111))
            } else {
                script.tcp.sockets.succeed(number)
            }
            return
        }
        if farEnds[index].pausesAt <= now {
            farEnds[index].pausesAt = .max
            farEnds[index].actAt = now + farEnds[index].pause
            if farEnds[index].pause > 0 { return }
        }
        farEnds[index].actAt = now + 1 + Int64(random.below(farEnds[index].pace))
        if plan.bufferChanges > 0, more.perMille(plan.bufferChanges) {
            script.tcp.sockets.all[number].sendLimit = more.pick([5000, 40_000, 300_000])
        }
        let drained = 1 + random.below(farEnds[index].drainStep)
        if script.tcp.sockets.all[number].queued > 0 { script.tcp.sockets.drain(number, drained) }
        script.tcp.sockets.land(number)
        let socket = script.tcp.sockets.all[number]
        let left = farEnds[index].total - socket.arrived.count
        let count = min(left, farEnds[index].capacity - socket.unread, 1 + random.below(random.pick([10, 3000, 100_000])))
        if count > 0, plan.concurrency > 0 {
            script.tcp.sockets.all[number].underWay = count
            return
        }
        if count > 0 {
            script.tcp.sockets.arrive(Stream.toGuest[socket.arrived.count..<(socket.arrived.count + count)], number)
        }
        if count > 0, plan.urgency > 0, more.perMille(plan.urgency) { script.tcp.sockets.markUrgent(number) }
        if left == max(count, 0), !socket.hasFin, !farEnds[index].endsLast || (socket.isFinished && socket.queued == 0) {
            script.tcp.sockets.end(number)
        }
    }

    // MARK: The end

    private mutating func checkEnd() {
        if script.tcp.timers.nextWakeUp != nil { fail("a timer is left") }
        if !script.tcp.sockets.faults.isEmpty { fail("misuse: \(script.tcp.sockets.faults)") }
        for socket in script.tcp.sockets.all where socket.closes != 1 { fail("socket \(socket.number) closed \(socket.closes) times") }
        // A window that stays closed is probed more than once.
        let isCalm = plan.isClean && plan.guestLoss == 0 && !plan.hasPauses && !wasAborted.contains(true) && !guests.contains { $0.sendBuffer > 0 }
        if isCalm, script.port.counters[.tcpRetransmissionsToGuest] > 0 { fail("sent again on a clean link") }
        for index in guests.indices where plan.countsTimeouts && !startsAnew.contains(true) && guests[index].timeouts > lostFromGuest[index] {
            fail("guest \(guests[index].port): \(guests[index].timeouts) timeouts for \(lostFromGuest[index]) frames")
        }
        for index in guests.indices where !mayEndByReset(index) { checkConnection(guests[index], farEnds[index]) }
        for one in earlier where !one.isExcused { checkConnection(one.guest, one.farEnd) }
    }

    private mutating func checkConnection(_ guest: ModelGuest, _ farEnd: ModelFarEnd) {
        guard let number = farEnd.socket else { return fail("\(guest.port) never connected") }
        let socket = script.tcp.sockets.all[number]
        if socket.hasLostPeekOffset { return }
        if socket.taken.count != guest.total { fail("host got \(socket.taken.count) of \(guest.total)") }
        if guest.bytesReceived != farEnd.total || !guest.hasEnd {
            fail("guest \(guest.port) got \(guest.bytesReceived) of \(farEnd.total), end \(guest.hasEnd), reset \(guest.isReset)")
        }
        if guest.isReset { fail("guest \(guest.port) was reset") }
        if socket.isAborted || socket.wasUnreadAtClose { fail("the far end sees a reset") }
        if socket.taken != Array(Stream.fromGuest[0..<guest.total]) { fail("bytes to the host differ") }
    }
}
