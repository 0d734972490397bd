internal import Linux
internal import Wire

/// Bulk data for a machine on a stream. It lies in slots as it goes out, but for the headers of its segments, which are written here; then the slot's
/// memory is lent to the socket, and the machine makes the only copy when it reads.
extension MachineLink {
    /// Copying less is cheaper than lending it.
    private static var lendFrom: Int { 16 << 10 }

    mutating func reserveRun(_ count: Int, _ arena: inout Mapping) -> Int? {
        guard client.isOpen else { return nil }
        if lent.isExhausted(count) { flush(&arena) }
        if let slot = lent.reserve(count) { return slot }
        if let unread = client.unreadByPeer() { lent.isUnread(unread) }
        return lent.reserve(count)
    }

    /// Makes a run's segments where they lie, and sends them. False for what cannot be cut.
    mutating func sendRun(_ frame: Frame, _ arena: inout Mapping) -> Bool {
        guard let cutter = SegmentCutter(frame, arena.bytes), cutter.headerLength + StreamFraming.prefix == Int(frame.gap) else { return false }
        var bytes = arena.mutableBytes
        var padding = 0
        for index in 0..<cutter.count {
            let (start, length) = cutter.payload(index)
            let header = start - cutter.headerLength
            // Only the last one can be shorter than a frame may be, and where it ends there is room for a whole segment.
            padding = max(EthernetHeader.minimumFrame - cutter.headerLength - length, 0)
            for position in 0..<padding { bytes.store(0 as UInt8, at: start + length + position) }
            bytes.store(UInt32(truncatingIfNeeded: cutter.headerLength + length + padding), at: header - StreamFraming.prefix)
            cutter.writeHeader(index, sum: bytes.checksumSum(at: start, count: length), to: &bytes, at: header)
        }
        figures.segmentsToGuest += cutter.count
        give(frame.offset - StreamFraming.prefix, StreamFraming.prefix + frame.length + padding, arena)
        return true
    }

    /// Lends `length` bytes at `offset`, or notes them as a piece to be copied.
    mutating func give(_ offset: Int, _ length: Int, _ arena: borrowing Mapping) {
        let canBeLent = offset >= SlotLayout.runs && length >= MachineLink.lendFrom && lendsMemory && arena.isLendable
        if canBeLent || pieces.isFull { sendPieces() }
        // What goes before may wait in the backlog now.
        guard canBeLent, backlog.isEmpty, client.isOpen else {
            _ = pieces.append(arena, offset: offset, length: length)
            return
        }
        let outcome = client.lend(arena, offset: offset, length: length)
        figures.batchesToGuest += 1
        lent.wrote(outcome.count)
        if outcome.count > 0 { lent.lent(from: (offset - SlotLayout.runs) / SlotLayout.runSize) }
        if outcome.count == length { return }
        _ = pieces.append(arena, offset: offset + outcome.count, length: length - outcome.count)
        if outcome.succeeded || MachineLink.isPassing(outcome) { return keepPieces(behind: 0, outcome) }
        // Copying will tell whether it was the lending that was refused.
        lendsMemory = false
    }
}
