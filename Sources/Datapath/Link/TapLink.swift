internal import Linux
internal import Wire

/// A tap device, with a virtio-net header before each frame where the kernel has that.
struct TapLink: GuestLink, ~Copyable {
    private let tap: Tap
    let offloads: LinkOffloads
    private(set) var figures = LinkFigures()

    init(_ tap: Tap) {
        self.tap = tap
        var offloads: LinkOffloads = []
        if tap.offloads.contains(.checksum) { offloads.insert(.checksum) }
        if tap.offloads.contains(.tcpSegmentation) { offloads.insert(.tcpSegmentation) }
        if tap.offloads.contains(.udpSegmentation) { offloads.insert(.udpSegmentation) }
        self.offloads = offloads
    }

    var descriptor: Descriptor { tap.descriptor }

    /// Where there is no device, nothing comes, and what is sent is refused.
    mutating func watch(by epoll: Epoll) throws(Errno) {
        if descriptor.isOpen { try epoll.add(descriptor, .input, tag: EventTag(.link).bits) }
    }

    mutating func receive(into batch: inout FrameBatch) -> Bool {
        let header = tap.headerLength
        // What is no frame counts, too: a guest that sends nothing else as fast as it is read would keep everybody waiting, timers and signals among them.
        var left = batch.capacity
        while !batch.isFull, left > 0 {
            left -= 1
            let offset = batch.nextOffset
            let outcome = tap.descriptor.read(into: &batch.arena, offset: offset - header, length: header + largestFrame)
            if outcome.raw <= 0 {
                if outcome.wouldBlock || outcome.raw == -5 { return true }  // EIO: the interface is down
                if outcome.raw == 0 || outcome.raw == -77 { return false }  // EBADFD: the device was deleted with its namespace
                // The device is as before, and the next frame wakes us up. With EINVAL this one is gone: the kernel has taken it out of the queue before it finds
                // that a virtio-net header cannot say how it is to be cut (`tun_put_user`).
                figures.unusableFrames += 1
                return true
            }
            guard outcome.count > header + EthernetHeader.length else {
                figures.unusableFrames += 1
                continue
            }
            var offload = VirtioNetHeader()
            if header > 0, let parsed = VirtioNetHeader(batch.arena.bytes, at: offset - header, isShort: true) { offload = parsed }
            batch.append(length: outcome.count - header, offload: offload)
        }
        return true
    }

    mutating func send(_ frame: Frame, in arena: inout Mapping) -> LinkVerdict {
        let header = tap.headerLength
        let start = frame.offset - header
        if header > 0 {
            var bytes = arena.mutableBytes
            frame.offload.write(to: &bytes, at: start, isShort: true)
        }
        let outcome = tap.descriptor.write(from: arena, offset: start, length: frame.length + header)
        if outcome.succeeded { return .sent }
        if outcome.wouldBlock || outcome.raw == -105 { return .full }  // EAGAIN, ENOBUFS
        return outcome.raw == -77 ? .closed : .refused  // EBADFD; EIO and EINVAL refuse one frame
    }

    mutating func flush(_ arena: inout Mapping) {}
}
