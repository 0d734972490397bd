internal import Linux
internal import Wire

extension TCPTranslator where Sockets: ~Copyable {
    /// Milliseconds that an acknowledgement waits for data to travel with, on a near path. On a far one it waits for the far end anyway.
    private static var delay: Int64 { 2 }
    /// What a new connection's socket takes in any case (`net.ipv4.tcp_wmem` is 16 KiB before it is connected, and more behind that).
    private static var initialSpace: UInt32 { 32 << 10 }

    /// Sends an acknowledgement where one is owed now; else sees to it that one will be.
    mutating func acknowledgeIfDue<Link: GuestLink & ~Copyable>(_ index: Int, _ port: inout GuestPort<Link>, now: Int64) {
        refreshSendSpace(index, now: now)
        if table[index].sawHole { closeHole(index) }
        let connection = table[index]
        let owed = acknowledgeable(index) - connection.acknowledged
        if connection.events.contains(.mustAcknowledge) || isWindowWorthTelling(connection) || connection.repeats > 0 && owed > 0 {
            sendControl(index, .ack, &port)
        } else if owed > 0 {
            if owed >= 2 * Int(connection.segmentSize) || !connection.events.contains(.interactive) {
                if connection.quickAcknowledgements > 0 { table[index].quickAcknowledgements -= 1 }
                sendControl(index, .ack, &port)
            } else {
                lookNoLater(index, than: now + TCPTranslator.delay)
            }
        }
        repeatAcknowledgement(index, &port)
        if table[index].expected != table[index].acknowledged || table[index].events.contains(.mustAcknowledge) {
            lookNoLater(index, than: nextLook(table[index], now: now))
        } else if needsRoomLook(table[index]), table[index].acknowledgeAt == 0 {
            lookForRoom(index, now: now)
        }
    }

    /// Sees to it that room is looked for. Whatever is sent meanwhile does not put that off.
    private mutating func lookForRoom(_ index: Int, now: Int64) {
        let connection = table[index]
        if connection.roomLookAt == 0 {
            // Where the kernel will not tell of room, no later than twice the time that there has been none.
            let interval: Int64 = connection.events.contains(.awaitsRoom) ? 50 << Int64(min(connection.vainLooks, 5)) : 1 << Int64(connection.vainLooks)
            table[index].roomLookAt = now + interval
        }
        table[index].acknowledgeAt = table[index].roomLookAt
    }

    /// What is owed does not wait for a look that was only for room, which may be seconds away.
    private mutating func lookNoLater(_ index: Int, than deadline: Int64) {
        if table[index].acknowledgeAt == 0 || table[index].acknowledgeAt > deadline { table[index].acknowledgeAt = deadline }
    }

    /// The number up to which the guest's data counts as delivered.
    ///
    /// On a near path that is all that the kernel took. On a far one it is what the far end has acknowledged, so that the guest measures
    /// the path's round-trip time and not ours, and its retransmission and user timeouts see what really happens.
    ///
    /// A receiver that has closed its window for long would make a guest give up that sends again and again what lies here: it hears that it was taken. Of what is kept,
    /// the end stays with it, so that there is progress to tell of when the receiver goes on (lesson 52).
    private func acknowledgeable(_ index: Int) -> SequenceNumber {
        let connection = table[index]
        if connection.isHeldBack {
            let count = connection.refusedPlace == 0 ? 0 : kept.range(connection.refusedPlace).count
            return max(connection.expected + (count - min(count / 2, Int(connection.guestSegmentSize))), connection.acknowledged)
        }
        return max(connection.isNear ? connection.expected : connection.farAcknowledged, connection.acknowledged)
    }

    /// Milliseconds of a closed window after which a guest is no longer left to its retransmissions.
    private static var longestClosure: UInt32 { 30_000 }

    /// A look has found the far end's window closed, or open.
    private mutating func attendClosure(_ index: Int, _ path: TCPPath, now: Int64) {
        let silence = UInt32(truncatingIfNeeded: now) &- table[index].waitsSince
        let isHeldBack = path.sendWindow == 0 && silence >= TCPTranslator.longestClosure && table[index].events.contains(.established)
        if isHeldBack, !table[index].isHeldBack { table[index].events.insert(.mustAcknowledge) }
        table[index].isHeldBack = isHeldBack
    }

    private func max(_ a: SequenceNumber, _ b: SequenceNumber) -> SequenceNumber { a < b ? b : a }

    /// When to look again at what the far end has acknowledged.
    ///
    /// What was sent after a pause can be answered after a round trip at the earliest. While data flows, sixteen times per round trip. A
    /// far end that has been silent for longer than that is asked less and less: an eighth of its silence later.
    private func nextLook(_ connection: TCPConnection, now: Int64) -> Int64 {
        if connection.events.contains(.mustAcknowledge) { return now + TCPTranslator.refusalInterval(connection.refusals) }
        if connection.isNear { return now + TCPTranslator.delay }
        let roundTrip = Int64(connection.roundTrip) / 1000 + 1
        let silence = Int64(UInt32(truncatingIfNeeded: now) &- connection.waitsSince)
        if connection.events.contains(.awaitsFirst), silence < roundTrip { return now + roundTrip - silence + 1 }
        return now + lookInterval(connection) + min(max(silence - roundTrip, 0) / 8, 1000)
    }

    /// Milliseconds between two looks at a far end that acknowledges steadily.
    private func lookInterval(_ connection: TCPConnection) -> Int64 { Int64(connection.roundTrip) / 16000 + 1 }

    /// What a far path will carry until it is looked at again.
    ///
    /// What is more than that would wait in the socket's send buffer, where the guest takes it for a longer path: its round-trip time and its
    /// retransmission timeout would tell of a queue that is none of the path's. As much as was acknowledged since the last look, or is in one
    /// interval, may follow, and a quarter of it more, so that the path never waits for the guest. Where nothing waited, as much again: a
    /// connection that begins doubles with each round trip.
    private func pathRoom(_ connection: TCPConnection, _ path: TCPPath, acknowledged: Int) -> UInt32 {
        guard !connection.isNear, let notSent = path.notSent else { return .max }
        let flight = max(connection.expected - connection.farAcknowledged - Int(notSent), 0)
        let share = max(acknowledged, flight * Int(lookInterval(connection)) * 1000 / Int(connection.roundTrip))
        let least = max(Int(TCPTranslator.initialSpace), 2 * Int(connection.guestSegmentSize))
        let wanted = max(share + (notSent == 0 ? share : share / 4), least)
        return UInt32(truncatingIfNeeded: max(wanted - Int(notSent), 0))
    }

    /// Bytes more that the guest may send.
    private func space(_ connection: TCPConnection) -> UInt32 { min(connection.sendSpace, connection.pathRoom) }

    /// `expected` is about to move: from now on the far end owes an acknowledgement, if it did not before.
    mutating func farEndOwes(_ index: Int, now: Int64) {
        if table[index].checkAt == 0 { table[index].checkAt = now + TCPTranslator.checkInterval(after: 0) }
        guard table[index].farAcknowledged == table[index].expected else { return }
        table[index].waitsSince = UInt32(truncatingIfNeeded: now)
        table[index].events.insert(.awaitsFirst)
    }

    private func max(_ a: Int64, _ b: Int64) -> Int64 { a < b ? b : a }

    /// The far end has sent something. Where that may be the answer to what the guest has sent, its acknowledgement can travel with it.
    mutating func lookBehindInput(_ index: Int, now: Int64) {
        let connection = table[index]
        guard connection.events.contains(.awaitsFirst), !connection.isNear, connection.events.contains(.established) else { return }
        let silence = Int64(UInt32(truncatingIfNeeded: now) &- connection.waitsSince)
        guard silence >= Int64(connection.roundTrip) / 1000 else { return }
        table[index].events.remove(.awaitsFirst)
        look(index, now: now)
    }

    // MARK: Looking at the socket

    /// Asks the kernel for the path's round-trip time and for how far the far end is. Whether the connection is made.
    @discardableResult
    mutating func look(_ index: Int, now: Int64) -> Bool {
        let connection = table[index]
        var isConnected = false
        if let path = sockets.path(connection.socket) {
            isConnected = path.isConnected
            let roundTrip = path.minimumRoundTrip.map { min($0, path.roundTrip) } ?? path.roundTrip
            // Nothing was measured yet where a connection has come from another host.
            table[index].roundTrip = path.bytesAcknowledged == nil ? 0 : path.roundTrip == 0 ? connection.roundTrip : roundTrip
            attendOutage(index, path, now: now)
            if let bytes = path.bytesAcknowledged {
                if !connection.events.contains(.established), !connection.events.contains(.opensToGuest) {
                    table[index].acknowledgedBase = UInt8(truncatingIfNeeded: bytes)
                }
                let position = connection.initialFromGuest + 1 + Int(truncatingIfNeeded: bytes) + -Int(table[index].acknowledgedBase)
                let dataEnd = connection.events.contains(.finFromGuest) ? connection.expected + -1 : connection.expected
                let farAcknowledged = position >= dataEnd ? connection.expected : position
                if farAcknowledged > connection.farAcknowledged {
                    table[index].waitsSince = UInt32(truncatingIfNeeded: now)
                    table[index].events.remove(.awaitsFirst)
                }
                table[index].farAcknowledged = farAcknowledged
                attendClosure(index, path, now: now)
                attendSlowStart(index, path)
                table[index].pathRoom = pathRoom(table[index], path, acknowledged: farAcknowledged - connection.farAcknowledged)
            }
            // Nobody else looks where the path is near.
            let owes = path.unacknowledged > 0 || path.notSent ?? 0 > 0
            table[index].checkAt = owes ? now + TCPTranslator.checkInterval(after: UInt32(truncatingIfNeeded: now) &- table[index].waitsSince) : 0
        }
        if connection.largestSpace == 0 {
            table[index].sendSpace = TCPTranslator.initialSpace
            table[index].largestSpace = TCPTranslator.initialSpace
            table[index].sendsWholeSegments = TCPTranslator.initialSpace >= 2 * UInt32(connection.guestSegmentSize)
        }
        return isConnected
    }

    // MARK: Window

    /// The window has grown so much since the guest was told that it should know.
    private func isWindowWorthTelling(_ connection: TCPConnection) -> Bool {
        guard connection.events.contains(.established), !connection.events.contains(.finFromGuest), !connection.hasHole else { return false }
        let known = connection.windowEdge - connection.expected
        // Without window scaling, little can be told.
        let largest = 65535 << Int(connection.windowScale)
        let now = min(Int(space(connection)), connection.acknowledged + largest - connection.expected)
        // Nor can half of what there is ever be more than half of what can be told (RFC 9293, section 3.8.6.2.1).
        let enough = min(Int(enoughWindow(connection)), largest / 2)
        return known < enough ? now >= enough : now >= 2 * known && now - known >= enough
    }

    /// The window field to send, which may move the edge on and never back (RFC 9293, section 3.8.6), but behind something that was dropped (`confinedEdge`).
    mutating func takeWindow(_ index: Int, progresses: Bool) -> UInt16 {
        let connection = table[index]
        if connection.acknowledged > connection.expected {
            // The socket is full, and some of what waits for it is the guest's no more: a guest that sees no window waits for one, however long that takes.
            table[index].windowEdge = connection.acknowledged
            return 0
        }
        var edge = connection.windowEdge
        // Never open the window by less than a segment (lesson 11): the guest would send slivers.
        let space = space(connection)
        // While something is missing, no more is asked for than is sure to be kept.
        let offered = connection.expected + (connection.hasHole ? min(Int(space), LatePieces.room) : Int(space))
        // A guest counts only those answers that say nothing else.
        if progresses || !connection.hasHole {
            if connection.sendsAgain {
                edge = confinedEdge(index)
            } else if offered > edge, space >= UInt32(connection.guestSegmentSize) || space >= connection.largestSpace / 2 {
                edge = offered
            }
        }
        // But where it has no window at all, it cannot send again what is missing.
        if connection.hasHole, edge <= connection.expected { edge = confinedEdge(index) }
        let size = edge - connection.acknowledged
        let scale = UInt32(connection.windowScale)
        let field = min(max(size, 0) >> Int(scale), 65535)
        // What scaling rounds off is not taken back: the next segment may say it.
        table[index].windowEdge = size < 0 || size >= (field + 1) << Int(scale) ? connection.acknowledged + field << Int(scale) : edge
        return UInt16(truncatingIfNeeded: field)
    }

    private func max(_ a: Int, _ b: Int) -> Int { a < b ? b : a }

    /// What every segment says: the acknowledgement number and the window. Nothing is owed afterwards.
    mutating func takeAcknowledgement(_ index: Int) -> (SequenceNumber, UInt16) {
        let acknowledgment = acknowledgeable(index)
        let progresses = acknowledgment > table[index].acknowledged
        table[index].acknowledged = acknowledgment
        let window = takeWindow(index, progresses: progresses)
        table[index].events.remove(.mustAcknowledge)
        table[index].acknowledgeAt = 0
        return (table[index].acknowledged, window)
    }
}
