import Wire

@testable import Datapath

/// One end of a connection in the guest: simple, but a correct TCP. It sends and reads at the pace of its application, keeps what
/// comes out of order, retransmits, probes closed windows and ends. Positions count from each side's SYN, which is 0.
struct ModelGuest {
    enum State { case closed, synSent, synReceived, established, dead }

    let port: UInt16
    let opens: Bool
    /// Bytes to send.
    let total: Int
    let segmentSize: Int
    /// The most in one frame: more than a segment where the guest has segmentation offload.
    let frameSize: Int
    let scale: Int?
    let capacity: Int
    let start: UInt32
    /// Ends its stream only after the far end has.
    let endsLast: Bool
    let acknowledgeDelay: Int64
    /// Probes closed windows by an old byte (as Linux), else by a new one.
    let probesOld: Bool
    /// Takes windows back now and then.
    let shrinks: Bool

    var state = State.closed
    var isReset = false
    var violation: String?
    var queued: [(TCPHeader, Range<Int>)] = []

    // Sending.
    var unacknowledged = 0
    var next = 0
    var highest = 0
    var edge = 1
    var peerScale = 0
    var written = 0
    var timeout: Int64 = 200
    var timerAt: Int64?
    var retries = 0
    var duplicates = 0
    /// How losses are repaired as Linux does it, which is not everybody's way; see `LossRecovery`.
    var recovery: LossRecovery?
    /// Retransmission timeouts that something was sent again for.
    var timeouts = 0

    // Receiving.
    var peerStart: UInt32?
    var received = 0
    var read = 0
    var outOfOrder: [Range<Int>] = []
    var end: Int?
    var hasEnd = false
    var edgeTold = 0
    /// As the peer was told last: what is expected, and where the window ends, which may have been taken back since.
    var told = (received: 0, edge: 0)
    var acknowledgeAt: Int64?
    var mustAcknowledge = false
    /// The application's next action.
    var actAt: Int64 = 0
    /// From when on, and for how long, the application does nothing.
    var pausesAt = Int64.max
    var pause: Int64 = 0
    /// Takes nothing that reaches beyond its window while something waits to be read (as Linux from 6.17 on).
    var isStrict = false
    /// Bytes that wait for their acknowledgement, at most: an application that has more to write reads nothing until there is room, as one that
    /// echoes does. 0: it writes and reads independently.
    var sendBuffer = 0
    /// Sends whole segments only, or half of the largest window that it has seen (RFC 9293, section 3.8.6.2.1).
    var avoidsSlivers = false
    var largestWindow = 0
    /// Milliseconds of silence before the peer is asked whether it lives.
    var keepAlive: Int64 = 7_200_000
    var asksAt = Int64.max

    init(
        port: UInt16, opens: Bool, total: Int, segmentSize: Int, frameSize: Int, scale: Int?, capacity: Int, start: UInt32, endsLast: Bool,
        acknowledgeDelay: Int64, probesOld: Bool, shrinks: Bool
    ) {
        self.port = port
        self.opens = opens
        self.total = total
        self.segmentSize = segmentSize
        self.frameSize = frameSize
        self.scale = scale
        self.capacity = capacity
        self.start = start
        self.endsLast = endsLast
        self.acknowledgeDelay = acknowledgeDelay
        self.probesOld = probesOld
        self.shrinks = shrinks
    }

    /// The same application again, in a new connection between the same ends.
    func successor(start: UInt32) -> ModelGuest {
        var other = ModelGuest(
            port: port, opens: true, total: total, segmentSize: segmentSize, frameSize: frameSize, scale: scale, capacity: capacity,
            start: start, endsLast: endsLast, acknowledgeDelay: acknowledgeDelay, probesOld: probesOld, shrinks: shrinks)
        other.keepAlive = keepAlive
        other.isStrict = isStrict
        other.avoidsSlivers = avoidsSlivers
        other.sendBuffer = sendBuffer
        if recovery != nil { other.recovery = LossRecovery() }
        return other
    }

    var finIsAcknowledged: Bool { unacknowledged == total + 2 }
    var isDone: Bool { finIsAcknowledged && hasEnd }
    var remotePort: UInt16 { port &- 30000 }
    var key: FlowKey { FlowKey(guest: TCPScript.guest, guestPort: port, remote: TCPScript.remote, remotePort: remotePort) }
    var progress: Int { unacknowledged + received + read + written + (hasEnd ? 1 : 0) + (isReset ? 1 : 0) }
    /// Bytes of the stream that have come in order.
    var bytesReceived: Int { max(received - 1 - (hasEnd ? 1 : 0), 0) }

    var wakeUp: Int64 {
        if state == .dead { return .max }
        var wake = min(timerAt ?? .max, acknowledgeAt ?? .max)
        if !appIsDone { wake = min(wake, actAt) }
        if !isDone { wake = min(wake, asksAt) }
        return wake
    }

    var appIsDone: Bool { written == total && hasEnd && read == bytesReceived }

    // MARK: Output

    func header(_ flags: TCPFlags, at position: Int, window: Int, count: Int = 0) -> TCPHeader {
        var all = flags
        if peerStart != nil { all.insert(.ack) }
        let isSyn = flags.contains(.syn)
        var header = TCPHeader(
            sourcePort: port, destinationPort: remotePort, sequence: SequenceNumber(start) + position,
            acknowledgment: SequenceNumber(peerStart ?? 0) + (peerStart == nil ? 0 : received), flags: all, window: UInt16(window),
            maximumSegmentSize: isSyn ? UInt16(segmentSize) : nil, windowScale: isSyn ? scale.map { UInt8($0) } : nil)
        header.payloadLength = count
        return header
    }

    /// The window field to send; by its own rules it is never taken back.
    mutating func takeWindow(_ random: inout SeededRandom, isSyn: Bool = false) -> Int {
        let free = capacity - (bytesReceived - read)
        let worth = free >= min(segmentSize, capacity / 2) ? free : 0
        let shift = isSyn ? 0 : scale ?? 0
        if shrinks, !isSyn, random.perMille(100) { return random.below(3) >> shift }
        let field = min(max(edgeTold - received, worth) >> shift, 65535)
        edgeTold = max(edgeTold, received + field << shift)
        return field
    }

    mutating func emit(_ flags: TCPFlags, at position: Int, count: Int, _ random: inout SeededRandom) {
        let window = takeWindow(&random, isSyn: flags.contains(.syn))
        // Rounding takes nothing back.
        told = (received, shrinks ? received + window << (flags.contains(.syn) ? 0 : scale ?? 0) : edgeTold)
        queued.append((header(flags, at: position, window: window, count: count), max(position - 1, 0)..<(max(position - 1, 0) + count)))
        highest = max(highest, position + count + (flags.contains(.fin) ? 1 : 0) + (flags.contains(.syn) ? 1 : 0))
        mustAcknowledge = false
        acknowledgeAt = nil
    }

    mutating func begin(now: Int64, _ random: inout SeededRandom) {
        guard opens, state == .closed else { return }
        state = .synSent
        emit(.syn, at: 0, count: 0, &random)
        next = 1
        timeout = 1000
        timerAt = now + timeout
    }

    mutating func abort(_ random: inout SeededRandom) {
        guard state != .dead, state != .closed else { return }
        queued.append((header(.rst, at: highest, window: 0), 0..<0))
        state = .dead
        isReset = true
    }

    /// One frame from `position` on; the FIN rides on the last.
    mutating func sendOne(_ position: Int, limit: Int, _ random: inout SeededRandom) -> Int {
        let count = max(min(written + 1 - position, frameSize, limit), 0)
        let isLast = position + count == total + 1 && written == total && mayEnd
        if count == 0 && !isLast { return 0 }
        emit(isLast ? [.fin, .ack] : .ack, at: position, count: count, &random)
        return count + (isLast ? 1 : 0)
    }

    var mayEnd: Bool { !endsLast || hasEnd }

    mutating func output(now: Int64, _ random: inout SeededRandom) {
        guard state == .established else { return }
        while next < total + 2, next < edge || (next == total + 1 && next <= edge) {
            // After a timeout, one frame until something is acknowledged.
            if retries > 0, next > unacknowledged { break }
            if let place = recovery?.place(next, highest: highest) {
                guard place < edge || place == total + 1 else { break }
                next = place
            }
            if let recovery, !recovery.maySend(next) { break }
            largestWindow = max(largestWindow, edge - unacknowledged)
            let room = edge - next
            if avoidsSlivers, room < min(segmentSize, largestWindow / 2), room < written + 1 - next { break }
            let sent = sendOne(next, limit: edge - next, &random)
            if sent == 0 { break }
            recovery?.sent(next..<(next + sent))
            next += sent
        }
        let hasData = next < written + 1 || (written == total && mayEnd && next == total + 1)
        if timerAt == nil, unacknowledged < next || hasData { timerAt = now + timeout }
        if mustAcknowledge { emit(.ack, at: highest, count: 0, &random) }
    }

    mutating func tick(now: Int64, _ random: inout SeededRandom) {
        if state == .dead { return }
        if now >= actAt, !appIsDone { act(now: now, &random) }
        if let at = acknowledgeAt, at <= now { mustAcknowledge = true }
        if let at = timerAt, at <= now {
            timerAt = nil
            expire(now: now, &random)
        }
        if now >= asksAt, !isDone {
            asksAt = now + min(keepAlive, 600_000)
            if state == .established, unacknowledged == highest { emit(.ack, at: highest - 1, count: 0, &random) }
        }
        output(now: now, &random)
    }

    mutating func expire(now: Int64, _ random: inout SeededRandom) {
        if retries < 30 { retries += 1 }
        timeout = min(timeout * 2, 60_000)
        duplicates = 0
        switch state {
        case .synSent:
            emit(.syn, at: 0, count: 0, &random)
            timerAt = now + timeout
        case .synReceived:
            emit([.syn, .ack], at: 0, count: 0, &random)
            timerAt = now + timeout
        case .established:
            if unacknowledged == next {
                // The window is closed: ask.
                if next >= total + 2 { return }
                if next < edge {
                    retries = 0
                    if avoidsSlivers { next += sendOne(next, limit: edge - next, &random) }
                    return
                }
                if probesOld || next >= written + 1 {
                    emit(.ack, at: unacknowledged - 1, count: 0, &random)
                } else {
                    emit(.ack, at: next, count: 1, &random)
                    next += 1
                }
            } else {
                timeouts += 1
                recovery?.timeout(highest: highest)
                next = unacknowledged
                if edge <= next { next += sendOne(next, limit: max(1, segmentSize), &random) }
            }
        default: break
        }
    }

    mutating func act(now: Int64, _ random: inout SeededRandom) {
        if pausesAt <= now {
            pausesAt = .max
            actAt = now + pause
            if pause > 0 { return }
        }
        written = min(total, written + 1 + random.below(random.pick([10, 2000, 100_000])))
        let unread = bytesReceived - read
        var count = min(unread, 1 + random.below(random.pick([100, 5000, 200_000])))
        if sendBuffer > 0 {
            written = min(written, max(unacknowledged - 1, 0) + sendBuffer)
            if written < total, written - max(unacknowledged - 1, 0) == sendBuffer { count = 0 }
        }
        let before = edgeTold - received
        read += count
        if count > 0, before < min(segmentSize, capacity / 2), capacity - (unread - count) >= min(2 * segmentSize, capacity / 2) {
            mustAcknowledge = true
        }
        actAt = now + Int64(random.below(random.pick([2, 5, 40])))
        if actAt == now, read == bytesReceived, written == total { actAt = now + 5 }
    }
}
