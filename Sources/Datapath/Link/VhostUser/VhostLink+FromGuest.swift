internal import Linux
internal import Wire

/// Frames from the guest: each is a chain of buffers, copied into the batch at once, so that the guest has its buffers back.
extension VhostLink {
    private enum Taken {
        case frame(Int, VirtioNetHeader)
        /// Too short or too long for a frame.
        case nothing
        case broken
    }

    mutating func receive(into batch: inout FrameBatch) -> Bool {
        guard device.fromGuest.queue.isWatched else { return true }
        // To look for more costs nothing.
        batch.limit = batch.capacity
        let isEnabled = device.fromGuest.queue.isEnabled
        if isEnabled { device.fromGuest.queue.stopKicks(&device.memory) }
        // Of a ring that is started but not enabled, everything is thrown away, for which nobody is to wait.
        var left = isEnabled ? batch.capacity : device.fromGuest.queue.size
        while !batch.isFull, left > 0, let (head, chain) = device.fromGuest.queue.take(device.memory) {
            left -= 1
            if isEnabled {
                switch take(chain, into: &batch) {
                case .frame(let length, let offload): batch.append(length: length, offload: offload)
                case .nothing: figures.unusableFrames += 1
                case .broken: device.fromGuest.queue.breakDown()
                }
            }
            // Whatever it was, the driver has it back.
            device.fromGuest.queue.give(head, length: 0, &device.memory)
        }
        if !isEnabled { device.fromGuest.queue.awaitKick(&device.memory) }
        if device.fromGuest.queue.isBroken { tellBroken(device.fromGuest) }
        figures.batchesFromGuest += 1
        if device.fromGuest.queue.publish(&device.memory) { device.fromGuest.call.signal() }
        return true
    }

    /// Copies header and frame to where the next frame of the batch goes.
    private func take(_ chain: DescriptorChain, into batch: inout FrameBatch) -> Taken {
        let headerLength = device.headerLength
        let start = batch.nextOffset - headerLength
        var chain = chain
        var length = 0
        var isTooLong = false
        walk: while true {
            switch chain.step(device.memory) {
            case .buffer(let buffer):
                if buffer.isWritable { return .broken }
                if isTooLong || length + buffer.length > headerLength + largestFrame {
                    isTooLong = true
                } else if device.memory.copy(buffer.length, from: buffer.address, to: &batch.arena, at: start + length) {
                    length += buffer.length
                } else {
                    return .broken
                }
            case .end: break walk
            case .broken: return .broken
            }
        }
        guard !isTooLong, length > headerLength + EthernetHeader.length,
            let offload = VirtioNetHeader(batch.arena.bytes, at: start, isShort: headerLength == VirtioNetHeader.shortLength)
        else { return .nothing }
        return .frame(length - headerLength, offload)
    }
}
