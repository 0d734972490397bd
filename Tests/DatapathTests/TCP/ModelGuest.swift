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
    private var timeout: Int64 = 200
    private var timerAt: Int64?
    private(set) var retries = 0
    private var duplicates = 0

    // Receiving.
    var peerStart: UInt32?
    var received = 0
    var read = 0
    private var outOfOrder: [Range<Int>] = []
    private var end: Int?
    var hasEnd = false
    var edgeTold = 0
    /// As the peer was told last: what is expected, and where the window ends, which may have been taken back since.
    private var told = (received: 0, edge: 0)
    private var acknowledgeAt: Int64?
    private var mustAcknowledge = false
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
    private var largestWindow = 0
    /// Milliseconds of silence before the peer is asked whether it lives.
    var keepAlive: Int64 = 7_200_000
    private var asksAt = Int64.max

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

    private var appIsDone: Bool { written == total && hasEnd && read == bytesReceived }

    // MARK: Output

    private func header(_ flags: TCPFlags, at position: Int, window: Int, count: Int = 0) -> TCPHeader {
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
    private mutating func takeWindow(_ random: inout SeededRandom, isSyn: Bool = false) -> Int {
        let free = capacity - (bytesReceived - read)
        let worth = free >= min(segmentSize, capacity / 2) ? free : 0
        let shift = isSyn ? 0 : scale ?? 0
        if shrinks, !isSyn, random.perMille(100) { return random.below(3) >> shift }
        let field = min(max(edgeTold - received, worth) >> shift, 65535)
        edgeTold = max(edgeTold, received + field << shift)
        return field
    }

    private mutating func emit(_ flags: TCPFlags, at position: Int, count: Int, _ random: inout SeededRandom) {
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
    private mutating func sendOne(_ position: Int, limit: Int, _ random: inout SeededRandom) -> Int {
        let count = max(min(written + 1 - position, frameSize, limit), 0)
        let isLast = position + count == total + 1 && written == total && mayEnd
        if count == 0 && !isLast { return 0 }
        emit(isLast ? [.fin, .ack] : .ack, at: position, count: count, &random)
        return count + (isLast ? 1 : 0)
    }

    private var mayEnd: Bool { !endsLast || hasEnd }

    mutating func output(now: Int64, _ random: inout SeededRandom) {
        guard state == .established else { return }
        while next < total + 2, next < edge || (next == total + 1 && next <= edge) {
            // After a timeout, one frame until something is acknowledged.
            if retries > 0, next > unacknowledged { break }
            largestWindow = max(largestWindow, edge - unacknowledged)
            let room = edge - next
            if avoidsSlivers, room < min(segmentSize, largestWindow / 2), room < written + 1 - next { break }
            let sent = sendOne(next, limit: edge - next, &random)
            if sent == 0 { break }
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

    private mutating func expire(now: Int64, _ random: inout SeededRandom) {
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
                next = unacknowledged
                if edge <= next { next += sendOne(next, limit: max(1, segmentSize), &random) }
            }
        default: break
        }
    }

    private mutating func act(now: Int64, _ random: inout SeededRandom) {
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

    // MARK: Input

    mutating func take(_ segment: SeenSegment, now: Int64, _ random: inout SeededRandom) {
        guard let header = segment.header else { return }
        if state == .dead || (state == .closed && !header.flags.contains(.syn)) {
            if !header.flags.contains(.rst) { answerUnknown(header) }
            return
        }
        if header.flags.contains(.rst) { return takeReset(header) }
        if header.flags.contains(.syn) { return takeSyn(header, now: now, &random) }
        if state == .synSent, header.flags.contains(.ack), header.acknowledgment - SequenceNumber(start) != 1 {
            // Of an earlier connection (RFC 9293, section 3.10.7.3).
            answerUnknown(header)
        }
        guard let peerStart, state != .synSent else { return }
        asksAt = now + keepAlive
        let position = header.sequence - SequenceNumber(peerStart)
        guard isAcceptable(position, position + segment.payload.count + (header.flags.contains(.fin) ? 1 : 0)) else {
            mustAcknowledge = true
            return output(now: now, &random)
        }
        let acknowledged = header.acknowledgment - SequenceNumber(start)
        if acknowledged > highest {
            violation = "acknowledges \(acknowledged), sent \(highest)"
            return
        }
        if state == .synReceived, acknowledged >= 1 { establish() }
        takeAcknowledgement(acknowledged, header, isBare: segment.payload.isEmpty && !header.flags.contains(.fin), now: now, &random)
        takePayload(segment, position, now: now)
        output(now: now, &random)
    }

    /// RFC 9293, section 3.4, as Linux has it: what is outside the window is dropped with everything that it says.
    private func isAcceptable(_ position: Int, _ end: Int) -> Bool {
        let edge = max(told.edge, received)
        return end >= told.received && position <= edge && !(isStrict && end > edge && read < bytesReceived)
    }

    private mutating func answerUnknown(_ segment: TCPHeader) {
        var answer = header(.rst, at: 0, window: 0)
        answer.flags = .rst
        answer.sequence = segment.flags.contains(.ack) ? segment.acknowledgment : SequenceNumber(0)
        if !segment.flags.contains(.ack) {
            answer.flags = [.rst, .ack]
            answer.acknowledgment = segment.sequence + segment.sequenceLength
        }
        queued.append((answer, 0..<0))
    }

    private mutating func takeReset(_ header: TCPHeader) {
        if state == .synSent {
            guard header.flags.contains(.ack), header.acknowledgment - SequenceNumber(start) == 1 else { return }
        } else {
            let position = header.sequence - SequenceNumber(peerStart ?? 0)
            if position != received {
                // Who is not open yet says SYN again, when it is time.
                if state == .established, position > received, position <= edgeTold { mustAcknowledge = true; acknowledgeAt = 0 }
                return
            }
        }
        // Once all is said and acknowledged, it changes nothing.
        if isDone { return }
        state = .dead
        isReset = true
    }

    private mutating func takeSyn(_ header: TCPHeader, now: Int64, _ random: inout SeededRandom) {
        asksAt = now + keepAlive
        if state == .synSent, header.flags.contains(.ack) {
            guard header.acknowledgment - SequenceNumber(start) == 1 else { return answerUnknown(header) }
            peerStart = header.sequence.value
            received = 1
            unacknowledged = 1
            edge = 1 + Int(header.window)
            establish()
            peerScale = scale == nil ? 0 : Int(header.windowScale ?? 0)
            emit(.ack, at: 1, count: 0, &random)
            output(now: now, &random)
        } else if state == .closed || state == .synSent {
            // In the second case, both SYNs have crossed.
            guard !header.flags.contains(.ack) else { return }
            peerStart = header.sequence.value
            received = 1
            state = .synReceived
            peerScale = scale == nil ? 0 : Int(header.windowScale ?? 0)
            edge = 1 + Int(header.window)
            emit([.syn, .ack], at: 0, count: 0, &random)
            next = 1
            timeout = 1000
            timerAt = now + timeout
        } else if state == .synReceived, header.flags.contains(.ack), header.acknowledgment - SequenceNumber(start) == 1 {
            unacknowledged = 1
            establish()
            emit(.ack, at: highest, count: 0, &random)
            output(now: now, &random)
        } else if state == .synReceived {
            emit([.syn, .ack], at: 0, count: 0, &random)
        } else {
            emit(.ack, at: highest, count: 0, &random)
        }
    }

    private mutating func establish() {
        state = .established
        unacknowledged = max(unacknowledged, 1)
        next = max(next, 1)
        timeout = 200
        retries = 0
        timerAt = nil
    }

    private mutating func takeAcknowledgement(
        _ acknowledged: Int, _ header: TCPHeader, isBare: Bool, now: Int64, _ random: inout SeededRandom
    ) {
        guard acknowledged >= unacknowledged else { return }
        let newEdge = acknowledged + Int(header.window) << peerScale
        if acknowledged > unacknowledged {
            unacknowledged = acknowledged
            next = max(next, acknowledged)
            timeout = 200
            retries = 0
            duplicates = 0
            timerAt = nil
        } else if isBare, unacknowledged < highest, newEdge == edge {
            duplicates += 1
            if duplicates == 3 { _ = sendOne(unacknowledged, limit: segmentSize, &random) }
        }
        if newEdge > edge {
            if unacknowledged == next { timerAt = nil; retries = 0; timeout = 200 }
            edge = newEdge
        }
    }

    private mutating func takePayload(_ segment: SeenSegment, _ position: Int, now: Int64) {
        let hasFin = segment.flags.contains(.fin)
        if segment.payload.isEmpty && !hasFin {
            if position < received { mustAcknowledge = true }
            return
        }
        let window = capacity - (bytesReceived - read)
        let stop = min(position + segment.payload.count, received + window)
        if position > received || stop <= received && !segment.payload.isEmpty && !(hasFin && position + segment.payload.count == received) {
            mustAcknowledge = true
        }
        if stop > position { insert(position..<stop) }
        if hasFin, stop == position + segment.payload.count { end = stop }
        var advanced = false
        while let first = outOfOrder.first, first.lowerBound <= received {
            if first.upperBound > received {
                received = first.upperBound
                advanced = true
            }
            outOfOrder.removeFirst()
        }
        if !outOfOrder.isEmpty { mustAcknowledge = true }
        if let end, end == received, !hasEnd {
            received += 1
            hasEnd = true
            mustAcknowledge = true
        } else if hasEnd, hasFin {
            mustAcknowledge = true
        }
        if advanced, acknowledgeAt == nil {
            if acknowledgeDelay == 0 { mustAcknowledge = true } else { acknowledgeAt = now + acknowledgeDelay }
        }
    }

    private mutating func insert(_ range: Range<Int>) {
        outOfOrder.append(range)
        outOfOrder.sort { $0.lowerBound < $1.lowerBound }
    }
}
