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
    /// From when on, and for how long, it neither reads nor writes.
    var pausesAt = Int64.max
    var pause: Int64 = 0
}

/// What a seed makes of the link, of the host's kernel, and of both ends of up to three connections.
///
/// Seeds from 4 000 000 on add to what the ones below have: sockets that take less than they should or nothing at all, buffers that change,
/// frames cut in two, pauses of both ends, black holes, keep-alive probes, SYNs that cross, addresses used again in one batch, full
/// tables, and kernels whose peek offset fails in the middle. From 8 000 000 on, the link has slots for runs as well. From 9 000 000 on, guests read
/// only when they can write; from 10 000 000 on, far ends send urgent data instead;
/// from 11 000 000 on, in small pieces; from 12 000 000 on, far ends and networks do something between any two system calls, and guests send no slivers;
/// from 13_000_000 on, frames of guests that repair losses as Linux does are lost or late on links that are clean otherwise.
struct SimulationPlan {
    enum Abort { case nobody, guest, host }

    struct Connection {
        var guest: ModelGuest
        var farEnd: ModelFarEnd
        var abort: Abort
        var abortsAt: Int64
        /// Both sides open at once.
        var crosses = false
        /// The guest starts anew, from the same port, in the batch in which it has ended.
        var startsAnew = false
    }

    /// Nothing is lost, late, or refused: then nothing may be sent twice, and nothing may take long.
    let isClean: Bool
    /// Per mille of frames.
    let loss, duplication, lateness, refusal: Int
    let jitter: Int
    let isFar, hasBytesAcknowledged, hasPeekOffset, hasMemoryInfo: Bool
    let mtu, sendLimit: Int
    let farTime: UInt32
    let begin: Int64
    let offloads: LinkOffloads
    private(set) var connections: [Connection] = []

    // What only later seeds have.
    private(set) var cuts = 0
    private(set) var socketTrouble = 0
    private(set) var bufferChanges = 0
    private(set) var urgency = 0
    private(set) var pieceCost = 1
    private(set) var concurrency = 0
    /// Per mille of the guest's frames with data that are lost, or overtaken by the next ones; on a link that is clean otherwise, it may be.
    private(set) var guestLoss = 0
    private(set) var guestLateness = 0
    /// Rounds take long.
    private(set) var isOftenLate = false
    private(set) var peekOffsetCalls = Int.max
    private(set) var capacity = 8
    private(set) var blackHole = Int64.max...Int64.max
    private(set) var hasPauses = false

    /// Nothing stands still for as long as a guest's timer runs: no timer was needed.
    var isPrompt: Bool { concurrency > 0 && !isFar && guestLoss == 0 }
    /// No timer of the guest's expires but for frames of its own that are lost: nothing else is, or takes long.
    var countsTimeouts: Bool { guestLoss + guestLateness > 0 && isClean && !isFar && !hasPauses && socketTrouble + bufferChanges == 0 }

    init(_ seed: UInt64, _ random: inout SeededRandom) {
        isClean = random.below(3) == 0
        loss = isClean ? 0 : random.pick([0, 10, 50, 120])
        duplication = isClean ? 0 : random.pick([0, 20, 100])
        lateness = isClean ? 0 : random.pick([0, 20, 200])
        refusal = isClean ? 0 : random.pick([0, 0, 30])
        jitter = random.pick([0, 1, 10])
        isFar = random.below(2) == 0
        hasBytesAcknowledged = random.below(5) > 0
        mtu = random.pick([576, 1280, 1500, 9000, 65520])
        hasPeekOffset = random.below(4) > 0
        hasMemoryInfo = random.below(5) > 0
        sendLimit = random.pick([40_000, 100_000, 1_000_000])
        farTime = isFar ? UInt32(random.pick([2000, 20_000, 80_000])) : 100
        begin = random.pick([1_000_000, (1 << 32) - 2000, 1 << 40])
        let hasOffloads = random.below(2) == 0
        offloads = seed >= 8_000_000 ? TCPScript.allOffloads.union(.runs) : hasOffloads ? TCPScript.allOffloads : [.checksum]
        let hasAborts = random.below(8) == 0
        let shrinks = !isClean && random.below(5) == 0
        for number in 0..<(1 + random.below(3)) { addConnection(number, hasAborts: hasAborts, shrinks: shrinks, &random) }
        if seed >= 4_000_000 { addTrouble(seed) }
        if seed >= 10_000_000 { urgency = [30, 300, 1000][Int(seed % 3)] }
        // And buffers of which each byte takes a multiple.
        if seed / 1_000_000 == 11 { (urgency, pieceCost) = ([0, 300][Int(seed % 2)], [20, 300][Int(seed / 2 % 2)]) }
        if seed >= 11_000_000 { isOftenLate = seed / 4 % 2 == 0 }
        if seed >= 12_000_000 { (urgency, concurrency) = (0, [30, 300, 1000][Int(seed % 3)]) }
        if seed >= 13_000_000 { (guestLoss, guestLateness) = ([0, 2, 20, 100][Int(seed % 4)], [30, 0, 300][Int(seed % 3)]) }
        for index in connections.indices {
            connections[index].guest.isStrict = seed % 3 == 0
            connections[index].guest.avoidsSlivers = seed >= 12_000_000
            if seed >= 13_000_000 { connections[index].guest.recovery = LossRecovery() }
            if seed / 1_000_000 == 9 { connections[index].guest.sendBuffer = 5000 << Int(seed % 5) }
        }
    }

    private mutating func addConnection(_ number: Int, hasAborts: Bool, shrinks: Bool, _ random: inout SeededRandom) {
        let last = random.below(3)
        let sizes = [0, 1, 100, 3000, 40_000, 200_000]
        let scale = random.pick([nil, 0, 2, 7, 9])
        let segmentSize = min(mtu - 40, random.pick([536, 1460, 65_000]))
        var guest = ModelGuest(
            port: UInt16(31_000 + number), opens: random.below(3) > 0, total: random.pick(sizes), segmentSize: segmentSize,
            frameSize: max(segmentSize, random.pick([1, 30_000])), scale: scale,
            capacity: min(random.pick([3000, 60_000, 400_000]), 65535 << (scale ?? 0)),
            start: random.pick([UInt32(truncatingIfNeeded: random.next()), .max - 1000, 0x7fff_ff00]), endsLast: last == 0,
            acknowledgeDelay: Int64(random.pick([0, 1, 40])), probesOld: random.below(2) == 0, shrinks: shrinks)
        var farEnd = ModelFarEnd(
            total: random.pick(sizes), capacity: random.pick([65_536, 200_000, 1_000_000]), endsLast: last == 1,
            pace: random.pick([1, 5, 30]), drainStep: random.pick([1000, 30_000, 1_000_000]))
        let who: Abort = hasAborts ? random.pick([.nobody, .guest, .host]) : .nobody
        let abortsAt = who == .nobody ? .max : begin + Int64(random.below(random.pick([50, 1000])))
        farEnd.refuses = random.below(20) == 0
        guest.actAt = begin
        farEnd.actAt = begin
        connections.append(Connection(guest: guest, farEnd: farEnd, abort: who, abortsAt: abortsAt))
    }

    private mutating func addTrouble(_ seed: UInt64) {
        var random = SeededRandom(~seed)
        cuts = random.pick([0, 0, 50, 300])
        socketTrouble = random.pick([0, 0, 20, 200])
        bufferChanges = random.pick([0, 0, 100])
        if random.below(10) == 0 { peekOffsetCalls = 1 + random.below(8) }
        if random.below(10) == 0 { capacity = 2 }
        if !isClean, random.below(10) == 0 {
            let start = begin + Int64(random.below(2000))
            blackHole = start...(start + Int64(random.below(10_000)))
        }
        hasPauses = random.below(4) == 0
        let keepAlive = Int64(random.pick([7_200_000, 7_200_000, 50, 1000]))
        for index in connections.indices {
            connections[index].guest.keepAlive = keepAlive
            if hasPauses {
                connections[index].guest.pausesAt = begin + Int64(random.below(300))
                connections[index].guest.pause = Int64(random.pick([0, 100, 5000]))
                connections[index].farEnd.pausesAt = begin + Int64(random.below(300))
                connections[index].farEnd.pause = Int64(random.pick([0, 100, 5000]))
            }
            if connections[index].guest.opens, random.below(10) == 0 { connections[index].crosses = true }
            if isClean, !connections[index].farEnd.refuses, random.below(3) == 0 { connections[index].startsAnew = true }
        }
    }
}
