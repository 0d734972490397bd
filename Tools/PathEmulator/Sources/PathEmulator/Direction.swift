/// What happened to the packets of the wire in one direction.
public struct Counters: Equatable, Sendable {
    public var packets = 0, bytes = 0, frames = 0
    public var lost = 0, held = 0, doubled = 0, cut = 0
    /// Dropped at the full queue of a limited rate; because the store was full; because the device refused the frame.
    public var overQueue = 0, overStore = 0, refused = 0

    var json: String {
        """
        {"packets":\(packets),"bytes":\(bytes),"frames":\(frames),"lost":\(lost),"held":\(held),"doubled":\(doubled),\
        "cut":\(cut),"over_queue":\(overQueue),"over_store":\(overStore),"refused":\(refused)}
        """
    }
}

/// One direction of the path: from one tap, through the conditions, to the other.
struct Direction: ~Copyable {
    let source: TapDevice
    let target: TapDevice
    private let seed: UInt64
    private(set) var conditions = Conditions()
    private var decisions: Decisions
    private var store: FrameStore
    private var queue: ReleaseQueue
    private var departures: Departures
    private var packetNumber: UInt64 = 0
    /// When the last packet that was admitted has left the queue.
    private var busyUntil: Int64 = 0
    /// Packets in one piece of a super-frame: what leaves in 100 us at the limited rate.
    private var pieceLimit = Int.max
    private let start: Int64
    var counters = Counters()

    init(from source: TapDevice, to target: TapDevice, seed: UInt64, start: Int64, slots: Int) throws(EmulatorError) {
        self.source = source
        self.target = target
        self.seed = seed
        self.start = start
        store = try FrameStore(slots: slots)
        decisions = Decisions(seed: seed, conditions: Conditions())
        queue = ReleaseQueue(capacity: slots)
        departures = Departures(capacity: slots)
    }

    mutating func change(_ new: Conditions) {
        conditions = new
        decisions = Decisions(seed: seed, conditions: new)
        pieceLimit = new.rate == 0 ? .max : max(1, Int(new.rate / 8 / 10_000 / 1514))
    }

    var nextRelease: Int64? { queue.next?.time }

    /// Reads and admits up to `budget` frames; true if there may be more.
    mutating func receive(budget: Int, now: Int64) -> Bool {
        for _ in 0..<budget {
            guard let slot = store.take() else {
                counters.overStore += 1
                return source.discardFrame()
            }
            let length = store.read(source, into: slot)
            guard length > SuperFrame.virtioHeader else {
                store.give(slot)
                return false
            }
            admit(slot, length, now: now)
        }
        return true
    }

    /// Writes what is due.
    mutating func release(now: Int64) {
        while let first = queue.next, first.time <= now {
            send(first.slot, Int(first.length))
            queue.removeFirst()
        }
    }

    private mutating func send(_ slot: Int32, _ length: Int) {
        if !store.write(slot, length, to: target) { counters.refused += 1 }
        store.give(slot)
    }

    private mutating func admit(_ slot: Int32, _ length: Int, now: Int64) {
        let frame = SuperFrame(store.bytes(slot, length))
        counters.frames += 1
        counters.packets += frame.packets
        counters.bytes += frame.wireBytes(of: 0..<frame.packets)
        if conditions.isCut || conditions.cuts.contains(where: { $0.contains(now - start) }) {
            counters.cut += frame.packets
            store.give(slot)
            return
        }
        let first = packetNumber
        packetNumber += UInt64(frame.packets)
        if frame.packets <= pieceLimit, !conditions.disturbs || allPass(first, frame.packets) {
            schedule(slot, length, frame.wireBytes(of: 0..<frame.packets), packets: frame.packets, extra: 0, now: now)
            return
        }
        cutUp(frame, slot, firstPacket: first, now: now)
        store.give(slot)
    }

    private func allPass(_ first: UInt64, _ count: Int) -> Bool {
        for number in first..<(first + UInt64(count)) where decisions.fate(of: number) != .pass { return false }
        return true
    }

    /// Sends the packets that fare alike together, the others alone.
    private mutating func cutUp(_ frame: SuperFrame, _ slot: Int32, firstPacket: UInt64, now: Int64) {
        var begin = 0
        for index in 0..<frame.packets {
            let fate = conditions.disturbs ? decisions.fate(of: firstPacket + UInt64(index)) : .pass
            if fate != .pass || index - begin == pieceLimit {
                sendPiece(frame, slot, begin..<index, extra: 0, now: now)
                begin = index
            }
            if fate == .pass { continue }
            begin = index + 1
            switch fate {
            case .lost: counters.lost += 1
            case .held:
                counters.held += 1
                sendPiece(frame, slot, index..<begin, extra: conditions.hold, now: now)
            case .doubled:
                counters.doubled += 1
                sendPiece(frame, slot, index..<begin, extra: 0, now: now)
                sendPiece(frame, slot, index..<begin, extra: 0, now: now)
            case .pass: break
            }
        }
        sendPiece(frame, slot, begin..<frame.packets, extra: 0, now: now)
    }

    private mutating func sendPiece(_ frame: SuperFrame, _ source: Int32, _ range: Range<Int>, extra: Int64, now: Int64) {
        guard !range.isEmpty else { return }
        guard let slot = store.take() else {
            counters.overStore += range.count
            return
        }
        let header = SuperFrame.virtioHeader + frame.headerLength
        let payload = frame.packets == 1 ? 0..<0 : frame.payload(of: range)
        store.copy(source, at: 0, to: slot, at: 0, count: header)
        store.copy(source, at: header + payload.lowerBound, to: slot, at: header, count: payload.count)
        var bytes = store.mutableBytes(slot, header)
        frame.rewrite(&bytes, for: range)
        schedule(slot, header + payload.count, frame.wireBytes(of: range), packets: range.count, extra: extra, now: now)
    }

    /// Gives the frame its release time, or drops it at a full queue.
    private mutating func schedule(_ slot: Int32, _ length: Int, _ wireBytes: Int, packets: Int, extra: Int64, now: Int64) {
        var time = now
        if conditions.rate > 0 {
            departures.forget(until: now)
            let backlog = Int64(Double(max(0, busyUntil - now)) * Double(conditions.rate) / 8e9)
            if conditions.queueBytes > 0 && backlog + Int64(wireBytes) > conditions.queueBytes
                || conditions.queuePackets > 0 && departures.packets + Int64(packets) > conditions.queuePackets {
                counters.overQueue += packets
                store.give(slot)
                return
            }
            busyUntil = max(now, busyUntil) + Int64(Double(wireBytes) * 8e9 / Double(conditions.rate))
            departures.add(time: busyUntil, packets: Int64(packets))
            time = busyUntil
        }
        time += conditions.delay + extra
        if time <= now, queue.isEmpty {
            send(slot, length)
        } else {
            queue.add(time: time, slot: slot, length: length)
        }
    }
}
