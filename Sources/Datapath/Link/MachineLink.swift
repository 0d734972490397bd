internal import Linux
internal import Wire

/// A virtual machine's socket: the framing of QEMU on a stream, or a frame per message (`MachineLink+Messages`). Machines come and go, one at
/// a time.
///
/// There is no virtio-net header, so what it would say is done here: checksums are completed, and super-frames cut to segments (`SegmentCutter`). Frames
/// to the guest are collected as pieces and leave with one call. What the socket then did not take waits in a
/// backlog of fixed size: frames that were accepted are never torn and never lost, and no large ones are accepted until the backlog is gone.
///
///     send: pieces  | length | headers | payload | length | headers | payload | ...
///     flush:        one sendmsg -------------------------> socket
///     runs:         lent, not copied --------------------> socket      (`MachineLink+Runs`)
///                   what was not taken  --> backlog -----> socket, as soon as it is writable
struct MachineLink: GuestLink, ~Copyable {
    let kind: UnixSocket.Kind
    var connection: MachineConnection
    var hasLostGuest = false
    private var watchesOutput = false
    private var starvation = Starvation.none
    var figures = LinkFigures()

    var pieces: ScatterList
    /// Prefix and headers of cut segments.
    var headers: Mapping
    var headerCount = 0
    var backlog: Backlog
    /// For sockets of messages.
    var messages: SendBatch
    var incoming: ReceiveBatch
    var lent = LentSlots()
    /// Until the kernel refuses it to this machine.
    var lendsMemory = true

    /// From this many bytes on, collected frames leave at once: a socket that is full is noticed while little has been accepted.
    private static var eagerFlush: Int { 256 << 10 }
    /// While there is a backlog, frames up to this length still go behind it: what the guest must hear to go on.
    private static var smallFrame: Int { 640 }
    /// And these, while the backlog is no longer than what one call will empty: datagrams, which nobody sends again, and which a bulk transfer of TCP, that makes
    /// the backlog, would keep away for as long as it lasts.
    private static var plainFrame: Int { 2048 }
    private static var emptiedAtOnce: Int { 256 << 10 }
    /// What the kernel may hold for the guest, if it lets us.
    private static var sendBuffer: Int { 1 << 20 }
    private static var headerStride: Int { 128 }

    /// With a `listener`, machines connect to it, and after the first one no other if `isOneOff`; with a `client`, that is the machine.
    init(_ kind: UnixSocket.Kind, listener: Descriptor, client: Descriptor, isOneOff: Bool) throws(Errno) {
        let pieces = try ScatterList(capacity: 1024)
        let headers = try Mapping(byteCount: 512 * MachineLink.headerStride)
        // What one call may leave, small frames behind it, and one frame that was cut into the smallest segments there are.
        let backlog = try Backlog(byteCount: 1 << 20)
        let messages = try SendBatch(payloads: 64, messages: 64)
        // A machine's frames are bytes: descriptors beside them are nothing that we asked for.
        let incoming = try ReceiveBatch(capacity: MachineLink.mostMessages, takesControls: false)
        self.messages = messages
        self.incoming = incoming
        self.kind = kind
        self.pieces = pieces
        self.headers = headers
        self.backlog = backlog
        connection = MachineConnection(listener: listener, client: client, isOneOff: isOneOff)
    }

    /// The kernel has no memory for what is to be sent. The socket says that there is room, so a moment is waited for instead.
    private enum Starvation { case none, new, known }

    var client: Descriptor { connection.client }
    var descriptor: Descriptor { client }
    var hasGuest: Bool { client.isOpen }
    var takesAnyLength: Bool { false }
    var offloads: LinkOffloads {
        let all: LinkOffloads = [.checksum, .tcpSegmentation, .udpSegmentation]
        return kind == .stream ? all.union(.runs) : all
    }
    var hasRoom: Bool { client.isOpen && backlog.isEmpty }

    /// As many frames as one read can bring.
    var batchSize: LinkBatch {
        let messages = MachineLink.mostMessages * MachineLink.messageStride
        if kind != .stream { return LinkBatch(frames: 64, bytes: messages, mostBytes: messages) }
        let bytes = 192 << 10
        let frames = (bytes + FrameBatch.room) / (StreamFraming.prefix + StreamFraming.shortest) + 1
        return LinkBatch(frames: frames, bytes: bytes, mostBytes: bytes)
    }

    // MARK: Guests

    mutating func watch(by epoll: Epoll) throws(Errno) {
        try connection.watch(by: epoll, &figures)
        if client.isOpen { begin() }
    }

    private mutating func begin() {
        try? client.setSendBuffer(MachineLink.sendBuffer)
        lent = LentSlots()
        // Without that figure, nothing would ever be free again.
        lendsMemory = client.unreadByPeer() != nil
        watchesOutput = false
    }

    mutating func attend(_ part: Int, _ events: Epoll.Events) -> LinkEvent {
        if part == MachineConnection.Part.listener { return acceptGuest() }
        guard client.isOpen else { return [] }
        var result: LinkEvent = events.isDisjoint(with: [.input, .hangUp, .error]) ? [] : .frames
        if events.contains(.output), writeBacklog() { result.insert(.room) }
        return result
    }

    private mutating func acceptGuest() -> LinkEvent {
        let event = connection.accept(&figures)
        if event.contains(.arrived) { begin() }
        return event
    }

    mutating func resume() {
        connection.resume()
        guard starvation != .none else { return }
        starvation = .none
        watchOutput(true)
    }

    var hasNews: Bool { starvation == .new }

    mutating func takeNews() -> LinkEvent {
        guard starvation == .new else { return [] }
        starvation = .known
        return .waits
    }

    mutating func awaitAnother() -> Bool {
        hasLostGuest = false
        forgetPieces()
        backlog.removeAll()
        starvation = .none
        return connection.end()
    }

    mutating func takeNotice() -> GuestNotice? { connection.takeNotice() }

    // MARK: To the guest

    mutating func send(_ frame: Frame, in arena: inout Mapping) -> LinkVerdict {
        guard client.isOpen else { return .refused }
        if !backlog.isEmpty {
            let byteCount = backlog.byteCount + pieces.byteCount
            let isPlain = frame.length <= MachineLink.plainFrame && frame.offload.segmentation == .none && byteCount < MachineLink.emptiedAtOnce
            guard isPlain || frame.length <= MachineLink.smallFrame && byteCount < backlog.capacity / 2 else { return .full }
        }
        if frame.gap > 0 {
            if !sendRun(frame, &arena) { return .refused }
        } else if frame.offload.segmentation == .none {
            add(frame, &arena)
        } else if !cut(frame, &arena) {
            return .refused
        }
        if pieces.byteCount >= MachineLink.eagerFlush { sendPieces() }
        return .sent
    }

    /// The length goes where the frame has headroom, so that frame and length are one piece.
    private mutating func add(_ frame: Frame, _ arena: inout Mapping) {
        var bytes = arena.mutableBytes
        if frame.offload.flags.contains(.needsChecksum) {
            _ = Checksum.complete(
                in: &bytes, start: frame.offset + Int(frame.offload.checksumStart), fieldOffset: Int(frame.offload.checksumOffset),
                end: frame.offset + frame.length)
        }
        let start = frame.offset - StreamFraming.prefix
        bytes.store(UInt32(truncatingIfNeeded: frame.length), at: start)
        give(start, frame.length + StreamFraming.prefix, arena)
    }

    private mutating func cut(_ frame: Frame, _ arena: inout Mapping) -> Bool {
        guard let cutter = SegmentCutter(frame, arena.bytes) else { return false }
        for index in 0..<cutter.count {
            let offset = (headerCount + 1) * MachineLink.headerStride
            if pieces.count + 2 > pieces.capacity || offset > headers.byteCount { sendPieces() }
            let header = headerCount * MachineLink.headerStride
            headerCount += 1
            let (start, length) = cutter.payload(index)
            let frameLength = max(cutter.headerLength + length, EthernetHeader.minimumFrame)
            var bytes = headers.mutableBytes
            bytes.store(UInt32(truncatingIfNeeded: frameLength), at: header)
            let sum = Checksum.sum(arena.bytes, at: start, count: length)
            cutter.writeHeader(index, sum: sum, to: &bytes, at: header + StreamFraming.prefix)
            if frameLength == cutter.headerLength + length {
                _ = pieces.append(headers, offset: header, length: StreamFraming.prefix + cutter.headerLength)
                _ = pieces.append(arena, offset: start, length: length)
            } else {
                // A burst's last bytes, or datagrams of very few: padded, and so short that the copy does not matter.
                let payload = header + StreamFraming.prefix + cutter.headerLength
                for position in 0..<(frameLength - cutter.headerLength) {
                    bytes.store(position < length ? arena.bytes.uint8(at: start + position) : 0, at: payload + position)
                }
                _ = pieces.append(headers, offset: header, length: StreamFraming.prefix + frameLength)
            }
        }
        figures.segmentsToGuest += cutter.count
        return true
    }

    mutating func flush(_ arena: inout Mapping) {
        sendPieces()
        lent.endRound()
    }

    mutating func sendPieces() {
        if pieces.count == 0 { return }
        if kind != .stream {
            flushMessages()
        } else if !backlog.isEmpty {
            backlog.append(pieces, skipping: 0)
        } else if client.isOpen {
            let outcome = pieces.send(on: client)
            figures.batchesToGuest += 1
            lent.wrote(outcome.count)
            if outcome.count < pieces.byteCount, outcome.succeeded || MachineLink.isPassing(outcome) {
                keepPieces(behind: outcome.count, outcome)
            }
            // Any other error is the guest's end, which reading will find.
        }
        forgetPieces()
    }

    /// The socket is as before, and may take the same bytes later: there was no room, or no memory.
    static func isPassing(_ outcome: Outcome) -> Bool { outcome.wouldBlock || outcome.error?.isLackOfResources == true }

    private mutating func forgetPieces() {
        pieces.removeAll()
        headerCount = 0
    }

    /// The socket is full, or the kernel short of memory, as `outcome` tells: what lies behind the first `taken` bytes waits in the backlog.
    mutating func keepPieces(behind taken: Int, _ outcome: Outcome) {
        figures.stops += 1
        backlog.append(pieces, skipping: taken)
        forgetPieces()
        awaitOutput(outcome)
    }

    private mutating func awaitOutput(_ outcome: Outcome) {
        let starves = !outcome.succeeded && !outcome.wouldBlock
        if starves, starvation == .none { starvation = .new }
        watchOutput(!starves)
    }

    /// True once nothing is left.
    private mutating func writeBacklog() -> Bool {
        if kind != .stream {
            writeMessages()
        } else if !backlog.isEmpty {
            let outcome = backlog.write(to: client)
            figures.batchesToGuest += 1
            lent.wrote(outcome.count)
            // What was begun must be ended: a frame that lacks its rest would shift all that follow.
            if !outcome.succeeded, !MachineLink.isPassing(outcome) { backlog.removeAll() }
            if !backlog.isEmpty { awaitOutput(outcome) }
        }
        guard backlog.isEmpty else { return false }
        watchOutput(false)
        return true
    }

    mutating func watchOutput(_ on: Bool) {
        guard watchesOutput != on else { return }
        watchesOutput = on
        connection.watchOutput(on)
    }

    // MARK: From the guest

    mutating func receive(into batch: inout FrameBatch) -> Bool {
        guard client.isOpen else { return true }
        if kind != .stream { return receiveMessages(into: &batch) }
        let start = batch.fillOffset
        let outcome = client.read(into: &batch.arena, offset: start, length: batch.arena.byteCount - start)
        if outcome.wouldBlock { return true }
        guard outcome.raw > 0 else {
            batch.keep(0..<0)
            return false
        }
        figures.batchesFromGuest += 1
        let end = start + outcome.count
        var offset = 0
        while true {
            switch StreamFraming.piece(batch.arena.bytes, at: offset, end: end) {
            case .frame(let frame, let length):
                if length <= largestFrame { batch.append(at: frame, length: length) } else { figures.unusableFrames += 1 }
                offset = frame + length
            case .incomplete:
                batch.keep(offset..<end)
                return true
            case .broken:
                figures.brokeFraming += 1
                connection.note(.brokeFraming)
                batch.keep(0..<0)
                return false
            }
        }
    }
}
