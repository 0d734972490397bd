import Wire

@testable import Datapath
@testable import Linux

/// The far end of a connection, and the network between it and the host's socket.
struct ModelFarEnd {
    /// Bytes to send.
    var total = 0
    /// The most that may lie unread in the host's socket.
    var capacity = 65_536
    /// Ends its stream only after the guest has.
    var endsLast = false
    /// Milliseconds between actions, at most.
    var pace = 5
    var drainStep = 100_000
    var actAt: Int64 = 0
    /// The socket's number, once it is there.
    var socket: Int?
    var connectsAt: Int64?
    var refuses = false
}

/// Model guests and model far ends with a translator between them, all from one seed.
struct TCPSimulation: ~Copyable {
    enum Abort { case nobody, guest, host }

    let seed: UInt64
    var random: SeededRandom
    var script: TCPScript
    var guests: [ModelGuest] = []
    var farEnds: [ModelFarEnd] = []
    private var aborts: [(who: Abort, at: Int64)] = []
    private var checks: [FlowChecks] = []
    /// Nothing is lost, late, or refused: then nothing may be sent twice, and nothing may take long.
    let isClean: Bool
    private let loss, duplication, lateness, refusal: Int
    private let isFar, hasBytesAcknowledged: Bool
    private let begin: Int64
    private let jitter: Int

    private struct Flight<Content> {
        var at: Int64
        var order: Int
        var connection: Int
        var content: Content
    }
    private var toHost: [Flight<(TCPHeader, Range<Int>)>] = []
    private var toGuest: [Flight<SeenSegment>] = []
    private var order = 0
    var trace: [String]?
    /// The first thing found wrong.
    private(set) var failure: String?

    init(seed: UInt64, traced: Bool = false) throws {
        self.seed = seed
        var random = SeededRandom(seed)
        let isClean = random.below(3) == 0
        self.isClean = isClean
        loss = isClean ? 0 : random.pick([0, 10, 50, 120])
        duplication = isClean ? 0 : random.pick([0, 20, 100])
        lateness = isClean ? 0 : random.pick([0, 20, 200])
        refusal = isClean ? 0 : random.pick([0, 0, 30])
        jitter = random.pick([0, 1, 10])
        let isFar = random.below(2) == 0
        self.isFar = isFar
        let bytesAcknowledged = random.below(5) > 0
        hasBytesAcknowledged = bytesAcknowledged
        let mtu = random.pick([576, 1280, 1500, 9000, 65520])
        let peekOffset = random.below(4) > 0
        let memoryInfo = random.below(5) > 0
        let sendLimit = random.pick([40_000, 100_000, 1_000_000])
        let farTime = isFar ? UInt32(random.pick([2000, 20_000, 80_000])) : 100
        begin = random.pick([1_000_000, (1 << 32) - 2000, 1 << 40])
        script = try TCPScript(
            mtu: mtu, capacity: 8, offloads: random.below(2) == 0 ? TCPScript.allOffloads : [.checksum], start: begin
        ) {
            $0.connectsAtOnce = false
            $0.hasPeekOffset = peekOffset
            $0.hasMemoryInfo = memoryInfo
            $0.hasBytesAcknowledged = bytesAcknowledged
            $0.sendLimit = sendLimit
            $0.roundTrip = farTime
        }
        let aborting = random.below(8) == 0
        let shrinks = !isClean && random.below(5) == 0
        for number in 0..<(1 + random.below(3)) {
            let last = random.below(3)
            let sizes = [0, 1, 100, 3000, 40_000, 200_000]
            let scale = random.pick([nil, 0, 2, 7, 9])
            let segmentSize = min(mtu - 40, random.pick([536, 1460, 65_000]))
            guests.append(
                ModelGuest(
                    port: UInt16(31_000 + number), opens: random.below(3) > 0, total: random.pick(sizes), segmentSize: segmentSize,
                    frameSize: max(segmentSize, random.pick([1, 30_000])), scale: scale,
                    capacity: min(random.pick([3000, 60_000, 400_000]), 65535 << (scale ?? 0)),
                    start: random.pick([UInt32(truncatingIfNeeded: random.next()), .max - 1000, 0x7fff_ff00]), endsLast: last == 0,
                    acknowledgeDelay: Int64(random.pick([0, 1, 40])), probesOld: random.below(2) == 0, shrinks: shrinks))
            farEnds.append(
                ModelFarEnd(
                    total: random.pick(sizes), capacity: random.pick([65_536, 200_000, 1_000_000]), endsLast: last == 1,
                    pace: random.pick([1, 5, 30]), drainStep: random.pick([1000, 30_000, 1_000_000])))
            let who: Abort = aborting ? random.pick([.nobody, .guest, .host]) : .nobody
            aborts.append((who, who == .nobody ? .max : begin + Int64(random.below(random.pick([50, 1000])))))
            var check = FlowChecks()
            check.isFar = isFar && bytesAcknowledged
            checks.append(check)
            farEnds[number].refuses = random.below(20) == 0
            guests[number].actAt = begin
            farEnds[number].actAt = begin
        }
        self.random = random
        if traced { trace = [] }
    }

    private var now: Int64 { script.now }

    private mutating func note(_ text: String) {
        let time = now - begin
        trace?.append("\(time) \(text)")
    }

    private mutating func fail(_ text: String) {
        if failure == nil { failure = "seed \(seed), \(now - begin) ms: \(text)" }
    }

    // MARK: The run

    /// Runs to the end; what went wrong, if anything.
    mutating func run() -> String? {
        for index in guests.indices {
            if guests[index].opens { guests[index].begin(now: now, &random) } else { openFromHost(index) }
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
            if steps > 200_000 { fail("too many steps: \(status)") }
            guard let wake = nextWakeUp else {
                fail("nothing will ever happen: \(status)")
                break
            }
            script.move(to: max(now, wake))
        }
        if failure == nil { checkEnd() }
        return failure
    }

    private var hasAborts: Bool { aborts.contains { $0.who != .nobody } }
    /// Five hours where a flow may have to be found idle, else what retransmission timeouts can add up to.
    private var patience: Int64 { hasAborts || hasResets ? 18_000_000 : isClean ? 700 : 130_000 }
    private var hasResets: Bool { !isClean && guests.contains { $0.isReset } }

    private var isOver: Bool {
        guard script.tcp.table.count == 0, script.tcp.sockets.openCount == 0 else { return false }
        return guests.indices.allSatisfy { guests[$0].isDone || guests[$0].isReset || aborts[$0].who != .nobody || farEnds[$0].refuses } && toHost.isEmpty && toGuest.isEmpty
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
        return text
    }

    private var nextWakeUp: Int64? {
        var wake = script.tcp.timers.nextWakeUp ?? .max
        for flight in toHost { wake = min(wake, flight.at) }
        for flight in toGuest { wake = min(wake, flight.at) }
        for guest in guests { wake = min(wake, guest.wakeUp) }
        for index in farEnds.indices { wake = min(wake, farWakeUp(index)) }
        for abort in aborts where abort.at > now { wake = min(wake, abort.at) }
        return wake == .max ? nil : wake
    }

    private func farWakeUp(_ index: Int) -> Int64 {
        let farEnd = farEnds[index]
        if let at = farEnd.connectsAt { return at }
        guard let number = farEnd.socket else { return .max }
        let socket = script.tcp.sockets.all[number]
        let isDone = socket.hasFin && socket.queued == 0
        return !socket.isConnected || isDone ? .max : farEnd.actAt
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
            if aborts[index].at <= now {
                aborts[index].at = .max
                if trace != nil { note("\(guests[index].port) \(aborts[index].who) aborts") }
                if aborts[index].who == .guest { guests[index].abort(&random) }
                if aborts[index].who == .host, let number = farEnds[index].socket { script.tcp.sockets.fail(number, Errno(104)) }
            }
            if guests[index].wakeUp <= now { guests[index].tick(now: now, &random) }
            launch(index)
            if let violation = guests[index].violation { fail("guest \(guests[index].port): \(violation)") }
            if farWakeUp(index) <= now { act(index) }
        }
        if refusal > 0, random.perMille(refusal) { script.port.link.refusals = 1 }
        deliverToHost()
        script.runRound()
        script.port.link.refusals = 0
        collect()
        findSockets()
    }

    private mutating func findSockets() {
        for number in script.tcp.sockets.all.indices {
            let socket = script.tcp.sockets.all[number]
            guard let remote = socket.remote, let index = guests.firstIndex(where: { $0.remotePort == remote.port }) else { continue }
            if farEnds[index].socket == nil {
                farEnds[index].socket = number
                farEnds[index].connectsAt = now + Int64(random.below(30))
            } else if farEnds[index].socket != number, !socket.isConnected {
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
        farEnds[index].actAt = now + 1 + Int64(random.below(farEnds[index].pace))
        script.tcp.sockets.drain(number, 1 + random.below(farEnds[index].drainStep))
        let socket = script.tcp.sockets.all[number]
        let left = farEnds[index].total - socket.arrived.count
        let count = min(left, farEnds[index].capacity - socket.unread, 1 + random.below(random.pick([10, 3000, 100_000])))
        if count > 0 {
            script.tcp.sockets.arrive(Stream.toGuest[socket.arrived.count..<(socket.arrived.count + count)], number)
        }
        if left == max(count, 0), !socket.hasFin, !farEnds[index].endsLast || (socket.isFinished && socket.queued == 0) {
            script.tcp.sockets.end(number)
        }
    }

    // MARK: The link

    private mutating func delay() -> Int64 {
        if lateness > 0, random.perMille(lateness) { return Int64(random.below(80)) }
        return Int64(random.below(jitter + 1)) * (isClean ? 0 : 1)
    }

    private mutating func copies() -> Int {
        if loss > 0, random.perMille(loss) { return 0 }
        return duplication > 0 && random.perMille(duplication) ? 2 : 1
    }

    private mutating func launch(_ index: Int) {
        let segments = guests[index].queued
        guests[index].queued.removeAll()
        for segment in segments {
            let number = copies()
            if trace != nil { note("\(guests[index].port) > \(segment.0.flags.rawValue) \(segment.0.sequence - SequenceNumber(guests[index].start)):\(segment.1.count) ack \(segment.0.acknowledgment - SequenceNumber(guests[index].peerStart ?? 0)) win \(segment.0.window)\(number == 0 ? " lost" : "")") }
            for _ in 0..<number {
                order += 1
                toHost.append(Flight(at: now + delay(), order: order, connection: index, content: segment))
            }
        }
    }

    private mutating func deliverToHost() {
        let due = toHost.filter { $0.at <= script.now }.sorted { ($0.at, $0.order) < ($1.at, $1.order) }
        if due.isEmpty { return }
        let now = now
        toHost.removeAll { $0.at <= now }
        for flight in due {
            let (header, range) = flight.content
            checks[flight.connection].window(header, guests[flight.connection])
            script.deliver(header, Stream.fromGuest[range], guests[flight.connection].key)
        }
    }

    private mutating func deliverToGuests() {
        let due = toGuest.filter { $0.at <= script.now }.sorted { ($0.at, $0.order) < ($1.at, $1.order) }
        if due.isEmpty { return }
        let now = now
        toGuest.removeAll { $0.at <= now }
        for flight in due { guests[flight.connection].take(flight.content, now: now, &random) }
    }

    /// What the translator has sent in this step.
    private mutating func collect() {
        for segment in script.port.link.seen {
            guard let header = segment.header, let index = guests.firstIndex(where: { $0.port == header.destinationPort }) else {
                if segment.header != nil { fail("a segment to nobody") }
                continue
            }
            let number = copies()
            if trace != nil { note("\(guests[index].port) < \(header.flags.rawValue) \(header.sequence - SequenceNumber(checks[index].start?.value ?? header.sequence.value)):\(segment.payload.count) ack \(header.acknowledgment - SequenceNumber(guests[index].start)) win \(header.window)\(number == 0 ? " lost" : "")") }
            if let socket = farEnds[index].socket ?? script.tcp.sockets.all.firstIndex(where: { $0.remote?.port == guests[index].remotePort }) {
                if let wrong = checks[index].check(segment, guests[index], script.tcp.sockets.all[socket]) { fail("to \(guests[index].port): \(wrong)") }
            }
            for _ in 0..<number {
                order += 1
                toGuest.append(Flight(at: now + delay(), order: order, connection: index, content: segment))
            }
        }
        script.port.link.seen.removeAll()
    }

    // MARK: The end

    private mutating func checkEnd() {
        if script.tcp.timers.nextWakeUp != nil { fail("a timer is left") }
        if !script.tcp.sockets.faults.isEmpty { fail("misuse: \(script.tcp.sockets.faults)") }
        for socket in script.tcp.sockets.all where socket.closes != 1 { fail("socket \(socket.number) closed \(socket.closes) times") }
        if isClean, !hasAborts, script.port.counters[.tcpRetransmissionsToGuest] > 0 { fail("sent again on a clean link") }
        for index in guests.indices where aborts[index].who == .nobody {
            guard let number = farEnds[index].socket else { fail("never connected"); continue }
            let socket = script.tcp.sockets.all[number]
            if farEnds[index].refuses, guests[index].opens { continue }
            if socket.taken.count != guests[index].total { fail("host got \(socket.taken.count) of \(guests[index].total)") }
            if guests[index].bytesReceived != farEnds[index].total || !guests[index].hasEnd {
                fail("guest \(guests[index].port) got \(guests[index].bytesReceived) of \(farEnds[index].total), end \(guests[index].hasEnd), reset \(guests[index].isReset)")
            }
            if isClean && (guests[index].isReset || socket.isAborted) { fail("a reset on a clean link") }
            if socket.isAborted || socket.wasUnreadAtClose { fail("the far end sees a reset") }
            if socket.taken != Array(Stream.fromGuest[0..<guests[index].total]) { fail("bytes to the host differ") }
        }
    }
}

/// What must hold for every segment that the translator sends on one flow.
struct FlowChecks {
    var start: SequenceNumber?
    var isFar = false
    /// One behind the highest position sent.
    private var highest = 0
    private var acknowledged = 0
    private var edge = 0
    /// The guest's window as the translator has heard it at its largest.
    private var guestEdge = 1 << 40
    private var heardWindow = false

    /// A segment of the guest reaches the translator.
    mutating func window(_ header: TCPHeader, _ guest: ModelGuest) {
        guard let start, header.flags.contains(.ack), !header.flags.contains(.rst) else { return }
        let shift = header.flags.contains(.syn) ? 0 : guest.scale ?? 0
        let heard = header.acknowledgment - start + Int(header.window) << shift
        guestEdge = heardWindow ? max(guestEdge, heard) : heard
        heardWindow = true
    }

    /// What is wrong with `segment`, if anything.
    mutating func check(_ segment: SeenSegment, _ guest: ModelGuest, _ socket: HostSocket) -> String? {
        guard let header = segment.header else { return nil }
        if header.flags.contains(.rst) { return nil }
        if header.flags.contains(.syn) {
            if start == nil { start = header.sequence }
            if header.flags.contains(.ack) {
                acknowledged = 1
                edge = 1 + Int(header.window)
            }
            highest = max(highest, 1)
            return start == header.sequence || socket.closes > 0 ? nil : "another initial number"
        }
        guard let start else { return "data before SYN" }
        if socket.closes > 0, !socket.isOpen, highest == 0 { return nil }
        if !header.flags.contains(.ack) { return "no ACK" }
        let position = header.sequence - start
        let end = position + segment.payload.count
        let told = header.acknowledgment - SequenceNumber(guest.start)
        if told < acknowledged { return "acknowledgement goes back from \(acknowledged) to \(told)" }
        let taken = socket.taken.count + 1 + (socket.isFinished || socket.closes > 0 ? 1 : 0)
        if told > taken { return "acknowledges \(told), but the socket took \(taken)" }
        if isFar, socket.closes == 0, told > socket.drained + 1 + (socket.isFinished && socket.queued == 0 ? 1 : 0) {
            return "acknowledges \(told), but the far end has \(socket.drained + 1)"
        }
        acknowledged = told
        let newEdge = told + segment.window << (guest.scale == nil ? 0 : 8)
        if newEdge < edge - 255 { return "window goes back from \(edge) to \(newEdge)" }
        edge = max(edge, newEdge)
        if position > highest { return "a gap: \(position) behind \(highest)" }
        if !segment.payload.isEmpty {
            if position < 1 || end - 1 > socket.arrived.count { return "bytes that never came" }
            if segment.payload != Array(Stream.toGuest[(position - 1)..<(end - 1)]) { return "wrong bytes at \(position)" }
            if end > guestEdge, segment.payload.count > 1 { return "\(end) is beyond the guest's window to \(guestEdge)" }
        }
        if header.flags.contains(.fin) {
            if !socket.hasFin || end - 1 != socket.arrived.count { return "an end at \(end - 1), of \(socket.arrived.count)" }
        }
        highest = max(highest, end + (header.flags.contains(.fin) ? 1 : 0))
        return nil
    }
}
