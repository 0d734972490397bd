import Wire

@testable import Datapath

/// What a guest makes of the segments that come.
extension ModelGuest {
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
        let isNews = acknowledged > unacknowledged
        if isNews {
            unacknowledged = acknowledged
            next = max(next, acknowledged)
            timeout = 200
            retries = 0
            duplicates = 0
            timerAt = nil
            let new = min(segmentSize, written + 1 - highest)
            if let step = recovery?.progress(acknowledged, highest: highest, hasNew: new > 0 && newEdge - highest >= new) { take(step, &random) }
        } else if isBare, unacknowledged < highest, newEdge == edge {
            duplicates += 1
            if recovery == nil, duplicates == 3 { _ = sendOne(unacknowledged, limit: segmentSize, &random) }
            if let step = recovery?.duplicate(duplicates, highest: highest) { take(step, &random) }
        }
        if newEdge > edge || isNews {
            if unacknowledged == next { timerAt = nil; retries = 0; timeout = 200 }
            edge = newEdge
        }
    }

    private mutating func take(_ step: LossRecovery.Step, _ random: inout SeededRandom) {
        switch step {
        case .first: _ = sendOne(unacknowledged, limit: segmentSize, &random)
        case .all: next = unacknowledged
        case .new: next = max(next, highest)
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
