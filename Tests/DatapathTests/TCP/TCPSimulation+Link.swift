import Wire

@testable import Datapath
@testable import Linux

/// The link between guests and translator: what is lost, doubled, late, or cut in two.
extension TCPSimulation {
    private mutating func delay() -> Int64 {
        if plan.lateness > 0, random.perMille(plan.lateness) { return Int64(random.below(80)) }
        return Int64(random.below(plan.jitter + 1)) * (plan.isClean ? 0 : 1)
    }

    private mutating func copies() -> Int {
        if plan.blackHole.contains(now) { return 0 }
        if plan.loss > 0, random.perMille(plan.loss) { return 0 }
        return plan.duplication > 0 && random.perMille(plan.duplication) ? 2 : 1
    }

    /// Where a frame of `count` bytes is cut, if it is; the parts go their own ways.
    private mutating func cut(_ count: Int) -> Int? {
        plan.cuts > 0 && count > 1 && more.perMille(plan.cuts) ? 1 + more.below(count - 1) : nil
    }

    mutating func launch(_ index: Int) {
        let segments = guests[index].queued
        guests[index].queued.removeAll()
        for (header, range) in segments {
            guard let length = cut(range.count) else {
                launch(header, range, index)
                continue
            }
            var (first, second) = (header, header)
            first.flags.subtract([.fin, .psh])
            second.sequence = header.sequence + length
            launch(first, range.lowerBound..<(range.lowerBound + length), index)
            launch(second, (range.lowerBound + length)..<range.upperBound, index)
        }
    }

    private mutating func launch(_ header: TCPHeader, _ range: Range<Int>, _ index: Int) {
        var number = copies()
        if !range.isEmpty, plan.guestLoss > 0, more.perMille(plan.guestLoss) {
            number = 0
            lostFromGuest[index] += 1
        }
        let isOvertaken = !range.isEmpty && plan.guestLateness > 0 && more.perMille(plan.guestLateness)
        if trace != nil { note("\(guests[index].port) > \(header.flags.rawValue) \(header.sequence - SequenceNumber(guests[index].start)):\(range.count) ack \(header.acknowledgment - SequenceNumber(guests[index].peerStart ?? 0)) win \(header.window)\(number == 0 ? " lost" : "")") }
        for _ in 0..<number {
            order += 1
            toHost.append(Flight(at: now + delay(), order: order + (isOvertaken ? 1 + more.below(10) : 0), connection: index, content: (header, range)))
        }
    }

    mutating func deliverToHost() {
        let due = toHost.filter { $0.at <= script.now }.sorted { ($0.at, $0.order) < ($1.at, $1.order) }
        if due.isEmpty { return }
        let now = now
        toHost.removeAll { $0.at <= now }
        for flight in due {
            let (header, range) = flight.content
            checks[flight.connection].arrives(header, count: range.count, guests[flight.connection])
            script.deliver(header, Stream.fromGuest[range], guests[flight.connection].key)
        }
    }

    mutating func deliverToGuests() {
        let due = toGuest.filter { $0.at <= script.now }.sorted { ($0.at, $0.order) < ($1.at, $1.order) }
        if due.isEmpty { return }
        let now = now
        toGuest.removeAll { $0.at <= now }
        for flight in due { guests[flight.connection].take(flight.content, now: now, &random) }
    }

    /// What the translator has sent in this step.
    mutating func collect() {
        for segment in script.port.link.seen {
            guard let header = segment.header, let index = guests.firstIndex(where: { $0.port == header.destinationPort }) else {
                if segment.header != nil { fail("a segment to nobody") }
                continue
            }
            let socket = farEnds[index].socket ?? script.tcp.sockets.all.firstIndex { $0.remote?.port == guests[index].remotePort && !$0.isEarlier }
            if let socket, let wrong = checks[index].check(segment, guests[index], script.tcp.sockets.all[socket]) {
                fail("to \(guests[index].port): \(wrong)")
            }
            guard let length = cut(segment.payload.count) else {
                collect(segment, header, index)
                continue
            }
            var (first, second) = (segment, segment)
            first.header?.flags.subtract([.fin, .psh])
            first.payload = Array(segment.payload[..<length])
            second.header?.sequence = header.sequence + length
            second.payload = Array(segment.payload[length...])
            collect(first, first.header ?? header, index)
            collect(second, second.header ?? header, index)
        }
        script.port.link.seen.removeAll()
    }

    private mutating func collect(_ segment: SeenSegment, _ header: TCPHeader, _ index: Int) {
        let number = copies()
        if trace != nil { note("\(guests[index].port) < \(header.flags.rawValue) \(header.sequence - SequenceNumber(checks[index].start?.value ?? header.sequence.value)):\(segment.payload.count) ack \(header.acknowledgment - SequenceNumber(guests[index].start)) win \(header.window)\(number == 0 ? " lost" : "")") }
        if number == 0, header.flags == .syn { lostSyns[index] += 1 }
        for _ in 0..<number {
            order += 1
            toGuest.append(Flight(at: now + delay(), order: order, connection: index, content: segment))
        }
    }
}
