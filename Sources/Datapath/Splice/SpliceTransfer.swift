internal import Linux
internal import Wire

/// All spliced TCP connections of a worker.
struct SpliceTransfer: ~Copyable {
    var table: SpliceTable
    private(set) var pipes: PipePool
    private let epoll: Epoll
    /// Bytes since they were counted last.
    private var moved = 0
    /// When those that found no pipe try again, in milliseconds.
    private(set) var retryAt = Int64.max

    /// `mostPipes`: as many as there can be of use, unless said otherwise.
    init(epoll: Epoll, capacity: Int, mostPipes: Int? = nil) throws(Errno) {
        let table = try SpliceTable(capacity: capacity)
        let pipes = try PipePool(capacity: mostPipes ?? 2 * capacity)
        self.table = table
        self.pipes = pipes
        self.epoll = epoll
    }

    /// Pipes for a start, while their size may still be asked for.
    mutating func prepare() { pipes.prepare() }

    /// For both sockets' whole life.
    private static var watched: Epoll.Events { [.input, .priority, .output, .readHangUp, .edge] }
    /// What one call may move, in bytes: more than any pipe holds.
    private static var most: Int { 1 << 24 }
    /// Pipes full of data, and bytes, before others have their turn.
    private static var budget: Int { 16 }
    private static var share: Int { 4 << 20 }
    /// Milliseconds until a flow without a pipe tries again.
    private static var pause: Int64 { 50 }

    // MARK: Beginning and end

    /// Connects `far` to `destination` and passes on between both. Throws what connect(2) says at once, and then both sockets are still the caller's
    /// (lesson 30); ENFILE: the table is full. `staysHere`: the destination is on this very machine.
    mutating func open(
        near: Descriptor, far: Descriptor, to destination: SocketAddress, staysHere: Bool = true, isOutbound: Bool = false, _ counters: inout Counters
    ) throws(Errno) {
        if table.isFull { throw Errno(23) }  // ENFILE
        // There is no path to be estimated or shared, and a system's default that paces what it sends (bbr) halves the throughput.
        try? near.setCongestionControl(.reno)
        if staysHere { try? far.setCongestionControl(.reno) }
        _ = try far.connect(destination)
        guard let index = table.insert(SpliceFlow(near: near, far: far, isOutbound: isOutbound)) else { throw Errno(23) }
        do throws(Errno) {
            try watch(near, index, 0)
            try watch(far, index, 1)
            counters.add(.spliceOpened)
        } catch {
            // As good as no table space; the connection is under way, so it ends here.
            counters.add(.spliceOpened)
            abort(index, &counters)
        }
    }

    private func watch(_ socket: Descriptor, _ index: Int, _ side: Int) throws(Errno) {
        let tag = EventTag(.splice, index: index << 1 | side, generation: table[index].generation)
        try epoll.add(socket, SpliceTransfer.watched, tag: tag.bits)
    }

    func isCurrent(_ tag: EventTag) -> Bool { table.isCurrent(tag.index >> 1, generation: tag.generation) }

    /// Both sides have said all they had to say.
    private mutating func close(_ index: Int, _ counters: inout Counters) {
        let flow = table[index]
        release(flow.forth)
        release(flow.back)
        flow.near.close()
        flow.far.close()
        table.remove(index)
        counters.add(.spliceClosed)
    }

    /// One side has broken off, so the other side sees that, too (lesson 24).
    private mutating func abort(_ index: Int, _ counters: inout Counters) {
        try? table[index].near.setAbortOnClose()
        try? table[index].far.setAbortOnClose()
        counters.add(.spliceResets)
        close(index, &counters)
    }

    private mutating func release(_ direction: SpliceDirection) {
        guard direction.pipe != 0 else { return }
        pipes.giveBack(Int(direction.pipe) - 1, holding: Int(direction.held))
    }

    // MARK: Events

    /// Something happened on one side of a flow that `isCurrent`.
    mutating func handle(_ tag: EventTag, _ events: Epoll.Events, _ counters: inout Counters, now: Int64) {
        let index = tag.index >> 1
        let isFar = tag.index & 1 != 0
        var from = isFar ? table[index].back : table[index].forth
        var to = isFar ? table[index].forth : table[index].back
        let hasEnded = !events.isDisjoint(with: [.error, .hangUp])
        if hasEnded || !events.isDisjoint(with: [.input, .readHangUp]) { from.flags.insert(.readable) }
        if events.contains(.priority) { from.flags.insert(.urgent) }
        // A reset looks like an end to who does not ask for the error.
        if events.contains(.readHangUp), !events.contains(.error) { from.flags.insert(.ending) }
        if hasEnded || events.contains(.output) { to.flags.remove(.blocked) }
        if isFar, events.contains(.output), !events.contains(.error) { table[index].isConnected = true }
        if isFar { (table[index].back, table[index].forth) = (from, to) } else { (table[index].forth, table[index].back) = (from, to) }
        guard move(index, &counters, now: now), events.contains(.error) else { return }
        // What a slow reader has not taken yet comes first, and no further event tells of what lies behind it: reading meets the error then (lesson 30).
        let rest = isFar ? table[index].back : table[index].forth
        if rest.held > 0 || rest.flags.contains(.readable) {
            if isFar { table[index].back.flags.insert(.readable) } else { table[index].forth.flags.insert(.readable) }
            return
        }
        // An end that no call has met, as when this side had finished before.
        let socket = isFar ? table[index].far : table[index].near
        if socket.takeSocketError() != nil { abort(index, &counters) }
    }

    /// Goes on with flows that had more to do than their turn allowed.
    mutating func endRound(_ counters: inout Counters, now: Int64) {
        if now >= retryAt {
            retryAt = .max
            // Whoever is starved again stands at the end, and has set the time of the next try.
            while retryAt == .max, let index = table.nextStarved() { _ = move(index, &counters, now: now) }
        }
        guard let last = table.lastReady else { return }
        while let index = table.nextReady() {
            _ = move(index, &counters, now: now)
            // Whoever has more to do again stands behind this one.
            if index == last { return }
        }
    }

    /// Nobody needs to wake us for what is left to do.
    var hasMore: Bool { table.hasReady }

    // MARK: Moving

    private enum Turn { case idle, more, starved, failed }

    /// Moves what can be moved, both ways. False when the flow has ended by that.
    private mutating func move(_ index: Int, _ counters: inout Counters, now: Int64) -> Bool {
        var flow = table[index]
        let forth = move(&flow.forth, from: flow.near, to: flow.far)
        // A server that answers and closes without having read all resets the connection behind its answer, which is still there to be read (lesson 30).
        var back = move(&flow.back, from: flow.far, to: flow.near)
        if forth == .failed, back != .failed { back = moveRest(&flow.back, from: flow.far, to: flow.near) }
        table[index].forth = flow.forth
        table[index].back = flow.back
        counters.add(.splicedBytes, moved)
        moved = 0
        if forth == .failed || back == .failed {
            abort(index, &counters)
            return false
        }
        if flow.forth.isDone, flow.back.isDone {
            close(index, &counters)
            return false
        }
        // shutdown(2) would end an attempt to connect.
        if flow.forth.isDone, flow.isConnected, !flow.forth.flags.contains(.told) {
            table[index].forth.flags.insert(.told)
            try? flow.far.shutdown(1)
        }
        if flow.back.isDone, !flow.back.flags.contains(.told) {
            table[index].back.flags.insert(.told)
            try? flow.near.shutdown(1)
        }
        if forth == .more || back == .more { table.queueReady(index) }
        if forth == .starved || back == .starved {
            table.queueStarved(index)
            retryAt = min(retryAt, now + SpliceTransfer.pause)
            counters.add(.spliceStarved)
        }
        return true
    }

    /// What is in the queue of a socket that takes no more: its own event may come behind the one that has found that out. The queue ends with the reset.
    private mutating func moveRest(_ direction: inout SpliceDirection, from source: Descriptor, to sink: Descriptor) -> Turn {
        if !direction.flags.contains(.ended) { direction.flags.insert(.readable) }
        var turn = Turn.more
        while turn == .more { turn = move(&direction, from: source, to: sink) }
        return turn
    }

    /// One direction's turn. The pipe is emptied before it is filled again, so that its content is always all that is on the way (lesson 28), and
    /// EAGAIN on filling can only mean that there is nothing.
    private mutating func move(_ direction: inout SpliceDirection, from source: Descriptor, to sink: Descriptor) -> Turn {
        let start = moved
        for _ in 0..<SpliceTransfer.budget where moved - start < SpliceTransfer.share {
            while direction.held > 0 {
                if direction.flags.contains(.blocked) { return .idle }
                let outcome = sink.drain(pipes[Int(direction.pipe) - 1], Int(direction.held))
                if outcome.wouldBlock {
                    direction.flags.insert(.blocked)
                    return .idle
                }
                // Nothing out of a pipe that holds something would be a miscount, and go on for ever.
                if outcome.raw <= 0 || outcome.raw > Int(direction.held) { return .failed }
                direction.held -= UInt32(truncatingIfNeeded: outcome.raw)
                moved += outcome.raw
            }
            guard direction.flags.contains(.readable) else {
                giveBackPipe(&direction)
                return .idle
            }
            if direction.pipe == 0 {
                guard let number = try? pipes.take() else { return .starved }
                direction.pipe = UInt32(truncatingIfNeeded: number + 1)
            }
            if !fill(&direction, from: source) { return .failed }
        }
        if direction.held == 0 { giveBackPipe(&direction) }
        return direction.held > 0 || direction.flags.contains(.readable) ? .more : .idle
    }

    /// Reads into an empty pipe, and learns whether there is more. False on errors.
    private func fill(_ direction: inout SpliceDirection, from source: Descriptor) -> Bool {
        let pipe = pipes[Int(direction.pipe) - 1]
        var outcome = source.fill(pipe, SpliceTransfer.most)
        if outcome.raw == 0 || outcome.wouldBlock && direction.flags.contains(.urgent) {
            // splice(2) never gets past urgent data, whether it lies in line or not, and says the same as where there is nothing. The event may come after the end.
            outcome = source.fillByte(pipe)
        }
        if outcome.wouldBlock {
            direction.flags.remove(.readable)
            return true
        }
        if outcome.raw < 0 || outcome.raw > SpliceTransfer.most { return false }
        direction.held = UInt32(truncatingIfNeeded: outcome.raw)
        if outcome.raw == 0 {
            direction.flags.remove(.readable)
            direction.flags.insert(.ended)
        } else if outcome.raw < pipe.slots, !direction.flags.contains(.urgent) {
            // Each slot holds a byte at least, so there was room for more: this was all that there is.
            direction.flags.remove(.readable)
            if direction.flags.contains(.ending) { direction.flags.insert(.ended) }
        }
        return true
    }

    private mutating func giveBackPipe(_ direction: inout SpliceDirection) {
        guard direction.pipe != 0 else { return }
        pipes.giveBack(Int(direction.pipe) - 1)
        direction.pipe = 0
    }
}

extension SpliceDirection {
    /// Everything was read and has arrived.
    fileprivate var isDone: Bool { flags.contains(.ended) && held == 0 }
}
