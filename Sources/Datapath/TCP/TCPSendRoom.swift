internal import Linux
internal import Wire

// How much a socket's send buffer still holds, which is what the guest may be promised.

extension TCPTranslator where Sockets: ~Copyable {
    /// Asks the kernel how full the socket's buffer is, and finds out how much more of the guest's data that will hold.
    mutating func lookAtSendSpace(_ index: Int, now: Int64) {
        let used = table[index].sentSinceLook
        table[index].sentSinceLook = 0
        table[index].roomLookAt = 0
        if used > 0, !table[index].events.contains(.awaitsRoom) { table[index].vainLooks = 0 }
        guard var buffer = sockets.sendBuffer(table[index].socket) else {
            table[index].sendSpace = 65536
            return
        }
        // Where the buffer fills up, the kernel must know that we wait, or it will neither grow it nor tell. It takes note only while less
        // than half as much is free as is queued (`sk_stream_is_writeable`).
        if !buffer.isWritable, !table[index].events.contains(.awaitsRoom) {
            if sockets.awaitRoom(table[index].socket) {
                // The far end has made room between the two calls, so that nothing was noted and no event will tell (lesson 57).
                buffer = sockets.sendBuffer(table[index].socket) ?? buffer
            } else {
                table[index].events.insert(.awaitsRoom)
                table[index].vainLooks = 0
            }
        }
        if buffer.queued > TCPTranslator.tellingQueue { look(index, now: now) }
        let space = min(capacity(buffer, table[index]), 16 << 20)
        let segment = UInt32(table[index].guestSegmentSize)
        table[index].sendSpace = min(space, mostPromised(table[index], used: used))
        if table[index].sendSpace >= 2 * segment {
            table[index].sendsWholeSegments = true
        } else if table[index].sendsWholeSegments, buffer.queued == 0 {
            // A buffer that has become smaller than a segment, as for lack of memory, is fed with whole ones nevertheless: the guest would send nothing else before
            // its persist timer expires, a fifth of a second for each bufferful. What is too much is kept (`TCPBlocked`).
            table[index].sendSpace = max(space, segment)
        }
        // An empty buffer has no more room than this, whatever it once had. With data in it, this may be far too little: the queue is that of a moment ago, and
        // the far end has acknowledged most of it since. A guest would be thought to go on with half of that (lesson 58).
        let isEmpty = buffer.queued < min(buffer.limit / 8, TCPTranslator.tellingQueue)
        if table[index].largestSpace < space || isEmpty { table[index].largestSpace = table[index].sendsWholeSegments ? max(space, 2 * segment) : space }
    }

    /// Bytes in a send buffer from which on they tell what data takes there.
    private static var tellingQueue: UInt32 { 128 << 10 }

    /// The kernel found the socket full although there is room: it lacked memory, and no event tells the end of that where nothing is on its way.
    mutating func hasRoom(_ index: Int) -> Bool {
        // A kernel that does not tell is asked by trying.
        guard let buffer = sockets.sendBuffer(table[index].socket) else { return true }
        return buffer.free > 0 && buffer.isWritable
    }

    /// Bytes of data that what is free of the buffer can hold. The kernel counts its own bookkeeping as well: an eighth at most where it can fill its segments, and a
    /// multiple of the data where the guest writes a few bytes at a time, or the far end takes small segments only.
    private func capacity(_ buffer: SendBuffer, _ connection: TCPConnection) -> UInt32 {
        let most = buffer.free - buffer.free / 8
        let bytes = connection.expected - connection.farAcknowledged
        guard buffer.queued > TCPTranslator.tellingQueue, bytes > 0 else { return most }
        let held = UInt32(truncatingIfNeeded: min(Int(most), Int(buffer.free) * bytes / Int(buffer.queued)))
        // No event tells of room before the kernel has found the buffer full, so the guest must not stop before that. What is too much is kept (`TCPBlocked`).
        return buffer.isWritable ? max(held, min(most, leastPromised(connection) / 2)) : held
    }

    /// Twice as much as any guest needs to go on with.
    private func leastPromised(_ connection: TCPConnection) -> UInt32 { max(128 << 10, 4 * UInt32(connection.guestSegmentSize)) }

    /// What is promised cannot be taken back, and how much data the buffer will hold shows as it fills. So it is at most four times of what was used of the last
    /// promise, which doubles each time.
    private func mostPromised(_ connection: TCPConnection, used: UInt32) -> UInt32 {
        max(leastPromised(connection), used > .max / 4 ? .max : 4 * used)
    }

    /// Looks again once half of what was free has been used, and whenever the guest has so little window that it may stop.
    mutating func refreshSendSpace(_ index: Int, now: Int64) {
        let connection = table[index]
        guard !connection.events.contains(.outputBlocked), connection.sentSinceLook > 0 else { return }
        let enough = enoughWindow(connection)
        // Where the path is what holds the guest back, the buffer would not tell anything new.
        let isLow = connection.windowEdge - connection.expected < Int(enough) && connection.pathRoom >= enough
        if connection.sentSinceLook > connection.sendSpace || isLow { lookAtSendSpace(index, now: now) }
    }

    /// A window that any guest goes on with: its stack sends whole segments, or half of the largest window that it has seen
    /// (RFC 9293, section 3.8.6.2.1).
    func enoughWindow(_ connection: TCPConnection) -> UInt32 {
        min(2 * UInt32(connection.guestSegmentSize), connection.largestSpace / 2)
    }

    /// The window is so small that the guest may stop, and no event is certain to end that: a timer looks soon where the kernel would not
    /// tell, and seldom where it should.
    func needsRoomLook(_ connection: TCPConnection) -> Bool {
        connection.events.contains(.triesAgain)
            || connection.sendSpace < enoughWindow(connection) && !connection.events.contains(.finFromGuest)
    }
}
