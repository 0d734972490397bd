internal import Linux
internal import Wire

/// Frames to the guest: copied into buffers that its driver has waiting.
///
///     slot            | header | frame ......................... |
///     buffers         | chain 0      | chain 1      | chain 2 ...  |     several only where the driver merges them
extension VhostLink {
    /// From this length on, the driver is told at once: it can work while we go on.
    private static var large: Int { 16 << 10 }

    var hasRoom: Bool {
        mutating get {
            if holds(neededRoom) { return true }
            want(neededRoom)
            return false
        }
    }

    /// Somebody waits for so much. Whoever waits for less does not have to wait for more, least of all for what the ring could never hold.
    private mutating func want(_ byteCount: Int) { wantedRoom = wantedRoom == 0 ? byteCount : min(wantedRoom, byteCount) }

    /// Bytes of the largest frame that may come. Where none is large, a driver may have little room, and where each frame has a chain of its own, it knows
    /// how long that must be.
    private var neededRoom: Int {
        let hasLarge = !device.offloads.isDisjoint(with: [.tcpSegmentation, .udpSegmentation])
        return hasLarge && device.features.contains(.mergeableBuffers) ? device.headerLength + largestFrame : 1
    }

    func holds(_ byteCount: Int) -> Bool {
        device.toGuest.queue.isRunning && device.toGuest.queue.holds(byteCount, limit: VhostLink.mostBuffers, device.memory)
    }

    mutating func send(_ frame: Frame, in arena: inout Mapping) -> LinkVerdict {
        guard device.toGuest.queue.isRunning else { return .refused }
        device.toGuest.queue.stopKicks(&device.memory)
        var queue = device.toGuest.queue
        let headerLength = device.headerLength
        let byteCount = headerLength + frame.length
        let found = collect(byteCount, from: &queue)
        if queue.isBroken {
            breakRing()
            return .refused
        }
        guard let (bufferCount, chainCount) = found else {
            want(device.features.contains(.mergeableBuffers) ? byteCount : 1)
            return .full
        }
        var header = frame.offload
        // Always set (lesson 43), and 1 where frames are not spread.
        header.bufferCount = UInt16(truncatingIfNeeded: chainCount)
        var bytes = arena.mutableBytes
        header.write(to: &bytes, at: frame.offset - headerLength, isShort: headerLength == VirtioNetHeader.shortLength)
        guard copy(byteCount, from: arena, at: frame.offset - headerLength, bufferCount) else {
            breakRing()
            return .refused
        }
        device.toGuest.queue = queue
        let isWhole = giveBack(byteCount, chainCount)
        if frame.length >= VhostLink.large { publishToGuest() }
        return isWhole ? .sent : .refused
    }

    /// Takes chains out of `queue` until they have room for `byteCount` bytes: how many buffers and chains, nil when there are not enough. A chain that is too
    /// short for a frame that needs it alone is taken nevertheless.
    private mutating func collect(_ byteCount: Int, from queue: inout VirtQueue) -> (buffers: Int, chains: Int)? {
        var (room, bufferCount, chainCount) = (0, 0, 0)
        let merges = device.features.contains(.mergeableBuffers)
        while room < byteCount {
            if chainCount == (merges ? chains.count : 1) { break }
            guard let (head, first) = queue.take(device.memory) else { return nil }
            var chain = first
            var length = 0
            walk: while true {
                switch chain.step(device.memory) {
                case .buffer(let buffer) where buffer.isWritable && bufferCount < buffers.count:
                    buffers[bufferCount] = buffer
                    bufferCount += 1
                    length += buffer.length
                case .end: break walk
                case .buffer, .broken:
                    queue.breakDown()
                    return nil
                }
            }
            chains[chainCount] = Chain(head: head, byteCount: length)
            chainCount += 1
            room += length
        }
        return (bufferCount, chainCount)
    }

    /// False where the guest lent us what it does not have.
    private mutating func copy(_ byteCount: Int, from arena: borrowing Mapping, at offset: Int, _ bufferCount: Int) -> Bool {
        var done = 0
        for index in 0..<bufferCount where done < byteCount {
            let buffer = buffers[index]
            let length = min(buffer.length, byteCount - done)
            guard device.memory.copy(length, from: arena, at: offset + done, to: buffer.address) else { return false }
            done += length
        }
        return true
    }

    /// False when the chains were too short for the frame: then they come back with nothing in them.
    private mutating func giveBack(_ byteCount: Int, _ chainCount: Int) -> Bool {
        var room = 0
        for index in 0..<chainCount { room += chains[index].byteCount }
        var left = room < byteCount ? 0 : byteCount
        for index in 0..<chainCount {
            let length = min(chains[index].byteCount, left)
            device.toGuest.queue.give(chains[index].head, length: length, &device.memory)
            left -= length
        }
        return room >= byteCount
    }

    private mutating func breakRing() {
        device.toGuest.queue.breakDown()
        tellBroken(device.toGuest)
    }

    mutating func flush(_ arena: inout Mapping) { publishToGuest() }

    private mutating func publishToGuest() {
        guard device.toGuest.queue.isReadable else { return }
        if device.toGuest.queue.publish(&device.memory) {
            figures.batchesToGuest += 1
            device.toGuest.call.signal()
        }
    }
}
