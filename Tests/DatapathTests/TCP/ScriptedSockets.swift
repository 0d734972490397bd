// The translator without a kernel: `ScriptedSockets` is the host's side, `SegmentLink` the guest's, `TCPScript` moves time
// between them. Golden scripts (TCP...Tests) say what the guest sends and what must come back; the simulation
// (TCPSimulation) lets a model of a guest and a model of a far end talk through a bad link.

import Wire

@testable import Datapath
@testable import Linux

/// System calls that a translator would have made.
struct SocketCalls: Equatable {
    var send = 0
    var peek = 0
    var discard = 0
    /// getsockopt: TCP_INFO and SO_MEMINFO.
    var path = 0
    var sendBuffer = 0
    /// poll
    var awaitRoom = 0
    /// setsockopt
    var setPeekOffset = 0
    var completeHandshake = 0
    var setHyStart = 0
    var limitTimeout = 0
    /// Three setsockopts each.
    var keepAlive = 0
    var take = 0
    /// getsockopt
    var receiveMemory = 0

    var all: Int { take + receiveMemory + send + peek + discard + path + sendBuffer + awaitRoom + setPeekOffset + completeHandshake + setHyStart + limitTimeout + keepAlive }
}

/// Sockets of a host that does what a script says.
struct ScriptedSockets: HostSockets, ~Copyable {
    var all: [HostSocket] = []
    /// Sockets with an event that was not delivered yet.
    var ready: [Int] = []
    /// Misuse: calls for sockets that are closed, and the like.
    var faults: [String] = []
    /// What `connect` throws, and how many more times.
    var refusal: Errno?
    var refusals = Int.max
    var adoptionRefusal: Errno?
    var connectsAtOnce = true
    var hasPeekOffset = true
    var hasBytesAcknowledged = true
    var hasMemoryInfo = true
    /// Sockets have CUBIC, and may leave it.
    var hasCubic = true
    /// Linux 6.15.
    var hasTimeoutLimit = true
    /// Every now and then, nothing comes back for four looks.
    var hasOutages = false
    var roundTrip: UInt32 = 100
    var sendLimit = 70_000
    var bookkeeping = 1
    var pieceCost = 1
    var slowStartEnds = Int.max
    /// `setPeekOffset` fails from then on.
    var peekOffsetCalls = Int.max
    /// Error numbers that the next sends fail with; nil: this one does not.
    var sendErrors: [Int?] = []
    /// Per mille of sends that take less than there is room for, or nothing; by `random`.
    var trouble = 0
    /// Per mille of all calls before which the network and the far end have done something.
    var concurrency = 0
    var random = SeededRandom(0)
    /// Calls that cost a system call, by kind.
    var calls = SocketCalls()

    // Far above any real descriptor.
    static let base: Int32 = 1_000_000

    /// Open sockets.
    var openCount: Int { all.reduce(0) { $0 + ($1.isOpen ? 1 : 0) } }

    private mutating func make() -> Int {
        var socket = HostSocket(number: all.count)
        socket.roundTrip = roundTrip
        socket.sendLimit = sendLimit
        socket.bookkeeping = bookkeeping
        socket.pieceCost = pieceCost
        (socket.slowStartEnds, socket.repairEnds) = (slowStartEnds, slowStartEnds == .max ? .max : slowStartEnds + 20_000)
        all.append(socket)
        return all.count - 1
    }

    /// A socket as from accept().
    mutating func accept() -> Descriptor {
        let index = make()
        all[index].isConnected = true
        all[index].isAccepted = true
        return Descriptor(ScriptedSockets.base + Int32(index))
    }

    // MARK: What happens to sockets

    mutating func notify(_ index: Int) {
        guard all[index].isOpen, all[index].tag != 0, !all[index].isReady else { return }
        all[index].isReady = true
        ready.append(index)
    }

    mutating func succeed(_ index: Int) {
        guard all[index].isOpen else { return }
        all[index].isConnected = true
        notify(index)
    }

    /// The connection attempt fails, or the far end resets the connection.
    mutating func fail(_ index: Int, _ error: Errno) {
        guard all[index].isOpen else { return }
        all[index].error = error
        notify(index)
    }

    mutating func arrive(_ bytes: ArraySlice<UInt8>, _ index: Int) {
        guard all[index].isOpen, !all[index].hasFin else { return }
        all[index].arrived.append(contentsOf: bytes)
        notify(index)
    }

    /// The last byte that has arrived is urgent.
    mutating func markUrgent(_ index: Int) {
        guard all[index].isOpen, !all[index].arrived.isEmpty else { return }
        all[index].mark = all[index].arrived.count - 1
        notify(index)
    }

    mutating func end(_ index: Int) {
        guard all[index].isOpen else { return }
        all[index].hasFin = true
        notify(index)
    }

    /// The far end acknowledges up to `count` more bytes.
    mutating func drain(_ index: Int, _ count: Int = .max) {
        all[index].drained += min(count, all[index].queued)
        if all[index].awaitsRoom, all[index].isWritable {
            all[index].awaitsRoom = false
            notify(index)
        }
    }

    /// Some socket has an output event to come.
    var owesAnEvent: Bool { all.contains { $0.isOpen && $0.owesEvent } }

    /// Memory comes free for some.
    mutating func payEvents(_ random: inout SeededRandom) {
        for index in all.indices where all[index].owesEvent && random.below(2) == 0 {
            all[index].owesEvent = false
            // Without room, the next acknowledgement tells.
            guard all[index].isWritable else { continue }
            all[index].awaitsRoom = false
            notify(index)
        }
    }

    /// What is under way arrives.
    mutating func land(_ index: Int, _ count: Int = .max) {
        let start = all[index].arrived.count
        let count = min(count, all[index].underWay)
        guard count > 0 else { return }
        all[index].underWay -= count
        arrive(Stream.toGuest[start..<(start + count)], index)
    }

    /// Between any two calls, the far end may acknowledge, and its data may arrive.
    private mutating func goOn(_ index: Int) {
        guard concurrency > 0, all[index].isConnected, random.perMille(concurrency) else { return }
        let most = random.pick([1000, 100_000, .max])
        if all[index].queued > 0 { drain(index, 1 + random.below(min(all[index].queued, most))) }
        if all[index].underWay > 0 { land(index, 1 + random.below(min(all[index].underWay, most))) }
    }

    // MARK: HostSockets

    private mutating func index(_ socket: Descriptor, _ call: StaticString) -> Int? {
        let index = Int(socket.number - ScriptedSockets.base)
        guard index >= 0, index < all.count, all[index].isOpen else {
            faults.append("\(call) on a socket that is not open: \(socket.number)")
            return nil
        }
        goOn(index)
        return index
    }

    mutating func connect(to remote: Endpoint, _ family: AddressTranslation.Family, typeOfService: UInt8, tag: UInt64) throws(Errno) -> Descriptor {
        if let refusal, refusals > 0 {
            refusals -= 1
            throw refusal
        }
        let index = make()
        all[index].remote = remote
        all[index].typeOfService = typeOfService
        all[index].tag = tag
        if connectsAtOnce { succeed(index) }
        return Descriptor(ScriptedSockets.base + Int32(index))
    }

    mutating func adopt(_ socket: Descriptor, tag: UInt64) throws(Errno) {
        if let adoptionRefusal { throw adoptionRefusal }
        guard let index = index(socket, "adopt") else { return }
        all[index].tag = tag
        notify(index)
    }

    mutating func connectionError(_ socket: Descriptor) -> Errno? {
        guard let index = index(socket, "connectionError") else { return nil }
        let error = all[index].error
        all[index].error = nil
        return error
    }

    mutating func send(_ list: inout ScatterList, on socket: Descriptor) -> Outcome {
        guard let index = index(socket, "send") else { return Outcome(-9) }
        if let error = all[index].error { return Outcome(-Int(error.code)) }
        if all[index].isFinished {
            faults.append("send after finish")
            return Outcome(-32)
        }
        var count = min(list.byteCount, max(all[index].sendLimit - all[index].booked, 0) / all[index].bookkeeping)
        calls.send += 1
        if !sendErrors.isEmpty, let error = sendErrors.removeFirst() { return Outcome(-error) }
        if trouble > 0, random.perMille(trouble) {
            let code = random.pick([0, 0, 4, 11, 12, 105])
            if code == 0 || code == 11 {
                all[index].awaitsRoom = true
                // Nothing tells of memory that has come free where nothing is on its way.
                all[index].owesEvent = all[index].queued > 0
            }
            if code != 0 { return Outcome(-code) }
            count = random.below(count)
        }
        if count < list.byteCount { all[index].awaitsRoom = true }
        if count == 0, list.byteCount > 0 { return Outcome(-11) }
        list.copyBytes(count, into: &all[index].taken)
        return Outcome(count)
    }

    mutating func peek(_ list: inout ScatterList, on socket: Descriptor) -> Outcome {
        guard let index = index(socket, "peek") else { return Outcome(-9) }
        all[index].peeks += 1
        calls.peek += 1
        let start = all[index].consumed + max(all[index].peekOffset, 0)
        guard start < all[index].arrived.count else {
            // An end that has come before the error is all that is seen there.
            if all[index].hasFin { return Outcome(0) }
            guard let error = all[index].error else { return Outcome(-11) }
            all[index].error = nil
            return Outcome(-Int(error.code))
        }
        // Reading ends where it gets to urgent data, unless it begins there.
        let end = all[index].mark.map { $0 > start && $0 >= all[index].consumed ? $0 : all[index].arrived.count } ?? all[index].arrived.count
        let count = list.fill(from: all[index].arrived[start..<end])
        if all[index].pieceCost > 4 { all[index].longestFineLook = max(all[index].longestFineLook, start + count - all[index].consumed) }
        if all[index].peekOffset >= 0 { all[index].peekOffset += count }
        return Outcome(count)
    }

    mutating func take(_ list: inout ScatterList, from socket: Descriptor) -> Outcome {
        guard let index = index(socket, "take") else { return Outcome(-9) }
        calls.take += 1
        let offset = all[index].peekOffset
        if offset >= 0 { all[index].peekOffset = 0 }
        let longest = all[index].longestFineLook
        let outcome = peek(&list, on: socket)
        all[index].longestFineLook = longest
        all[index].consumed += outcome.count
        if offset >= 0 { all[index].peekOffset = max(offset - outcome.count, 0) }
        return outcome
    }

    mutating func receiveMemory(_ socket: Descriptor) -> UInt32? {
        guard let index = index(socket, "receiveMemory") else { return nil }
        calls.receiveMemory += 1
        return hasMemoryInfo ? UInt32(all[index].unread * all[index].pieceCost) : nil
    }

    mutating func setPeekOffset(_ offset: Int, on socket: Descriptor) -> Bool {
        guard let index = index(socket, "setPeekOffset"), hasPeekOffset else { return false }
        calls.setPeekOffset += 1
        if offset < 0 { faults.append("peek offset \(offset)") }
        peekOffsetCalls -= 1
        if peekOffsetCalls < 0 {
            if all[index].peekOffset >= 0 { all[index].hasLostPeekOffset = true }
            return false
        }
        all[index].peekOffset = offset
        return true
    }

    mutating func discard(_ count: Int, on socket: Descriptor) -> Outcome {
        guard let index = index(socket, "discard") else { return Outcome(-9) }
        calls.discard += 1
        var taken = min(count, all[index].unread)
        if let mark = all[index].mark, mark > all[index].consumed { taken = min(taken, mark - all[index].consumed) }
        else if taken < count { faults.append("discard of \(count) where \(taken) are") }
        all[index].consumed += taken
        all[index].discards += 1
        if all[index].peekOffset >= 0 { all[index].peekOffset = max(all[index].peekOffset - taken, 0) }
        return Outcome(taken == 0 ? -11 : taken)
    }

    mutating func finish(_ socket: Descriptor) {
        guard let index = index(socket, "finish") else { return }
        if all[index].isFinished { faults.append("finish twice") }
        all[index].isFinished = true
        if all[index].hasFin { notify(index) }
    }

    mutating func path(_ socket: Descriptor) -> TCPPath? {
        guard let index = index(socket, "path") else { return nil }
        calls.path += 1
        if all[index].drains == .beforePath { all[index].drained = max(all[index].drained, all[index].taken.count - 72) }
        let socket = all[index]
        // The kernel counts the SYN of a connection that it has opened, and a FIN.
        let syn = socket.isAccepted ? 0 : 1
        let fin = socket.isFinished && socket.queued == 0 ? 1 : 0
        return TCPPath(
            isConnected: socket.isConnected && socket.error == nil, isOver: socket.error != nil || socket.hasFin && socket.isFinished && socket.queued == 0, roundTrip: socket.roundTrip, minimumRoundTrip: hasBytesAcknowledged ? socket.roundTrip : nil,
            bytesAcknowledged: hasBytesAcknowledged ? UInt64(socket.acknowledgedBefore + socket.drained + syn + fin) : nil,
            bytesReceived: hasBytesAcknowledged ? UInt64(socket.receivedBefore + socket.arrived.count) : nil, notSent: UInt32(socket.notSent), unacknowledged: UInt32((socket.queued + 1459) / 1460), sendWindow: socket.farWindow,
            sendSegmentSize: 1460, retransmissions: 0, timeouts: hasOutages && calls.path / 4 % 3 == 1 ? 2 : socket.timeouts, congestionWindow: 10 + UInt32(socket.drained / 14600), hasLeftSlowStart: socket.hasLeftSlowStart,
            isRepairing: socket.isRepairing)
    }

    mutating func setHyStart(_ isOn: Bool, on socket: Descriptor) -> Bool {
        guard let index = index(socket, "setHyStart") else { return false }
        calls.setHyStart += 1
        guard hasCubic else { return false }
        if all[index].hasHyStart == isOn { faults.append("setHyStart that changes nothing") }
        if isOn, !all[index].hasLeftSlowStart || all[index].isRepairing { faults.append("setHyStart before slow start is over") }
        all[index].hasHyStart = isOn
        return true
    }

    mutating func limitTimeout(_ seconds: UInt8?, on socket: Descriptor) -> Bool {
        guard let index = index(socket, "limitTimeout"), hasTimeoutLimit else { return false }
        calls.limitTimeout += 1
        if all[index].timeoutLimit == seconds { faults.append("limitTimeout that changes nothing") }
        all[index].timeoutLimit = seconds
        return true
    }

    mutating func keepAlive(after time: UInt16, every interval: UInt16, on socket: Descriptor) {
        guard let index = index(socket, "keepAlive") else { return }
        calls.keepAlive += 1
        all[index].keepAlive = (time, interval)
    }

    mutating func completeHandshake(_ socket: Descriptor) {
        guard let index = index(socket, "completeHandshake") else { return }
        if all[index].isAccepted { faults.append("completeHandshake of an accepted socket") }
        calls.completeHandshake += 1
    }

    mutating func sendBuffer(_ socket: Descriptor) -> SendBuffer? {
        guard let index = index(socket, "sendBuffer") else { return nil }
        calls.sendBuffer += 1
        guard hasMemoryInfo else { return nil }
        return SendBuffer(limit: UInt32(all[index].sendLimit), queued: UInt32(all[index].booked))
    }

    @discardableResult
    mutating func awaitRoom(_ socket: Descriptor) -> Bool {
        guard let index = index(socket, "awaitRoom") else { return false }
        calls.awaitRoom += 1
        if all[index].drains == .beforeAwaitRoom { all[index].drained = all[index].taken.count }
        if !all[index].isWritable { all[index].awaitsRoom = true }
        return all[index].isWritable
    }

    mutating func close(_ socket: Descriptor) {
        guard let index = index(socket, "close") else { return }
        all[index].closes += 1
        // It goes on without us, until all has arrived or the system has lost patience.
        if all[index].timeoutLimit != nil { faults.append("close with a timeout limit") }
        all[index].wasUnreadAtClose = all[index].unread > 0
    }

    mutating func abort(_ socket: Descriptor) {
        guard let index = index(socket, "abort") else { return }
        all[index].closes += 1
        all[index].isAborted = true
    }
}
