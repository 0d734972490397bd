internal import Linux
internal import Wire

extension SlotLayout {
    /// From a slot's start to the payload of a UDP datagram.
    static func udpPayload(_ address: IPAddress) -> Int { ip + ipHeaderLength(address) + UDPHeader.length }

    /// The largest payload of a UDP datagram.
    static func mostUDPPayload(_ address: IPAddress) -> Int { mostPayload(address) - UDPHeader.length }

    /// The largest of several in one frame.
    static func mostUDPInFrame(_ address: IPAddress) -> Int { 65535 - ipHeaderLength(address) - UDPHeader.length }
}

extension GuestPort where Link: ~Copyable {
    /// A datagram with `payload` bytes that lie in the slot already, behind where the header goes. With a `segmentSize` above 0, the payload
    /// is several datagrams of that size, which the link must be able to take (`LinkOffloads.udpSegmentation`).
    ///
    /// What is too large for the guest's interface goes in parts, each of several datagrams by itself.
    mutating func sendUDP(key: FlowKey, slot: Int, payload: Int, segmentSize: Int) -> Bool {
        let isSeveral = segmentSize > 0 && payload > segmentSize
        // Another machine's driver may not take several at once, and a socket that gathers them goes on with that.
        let fits = UDPHeader.length + (isSeveral ? segmentSize : payload) <= mtu.payload(to: key.guest)
        guard fits, !isSeveral || offloads.contains(.udpSegmentation) else {
            return isSeveral ? sendEach(key: key, slot: slot, payload: payload, size: segmentSize) : sendUDPInParts(key: key, slot: slot, payload: payload)
        }
        let length = UDPHeader.length + payload
        let start = writeHeaders(
            slot: slot, source: key.remote, destination: key.guest, proto: .udp, payloadLength: length,
            datagrams: isSeveral ? (payload + segmentSize - 1) / segmentSize : 1, flowLabel: key.flowLabel(seed))
        let partial = Checksum.pseudoHeader(key.remote, key.guest, .udp, length: length)
        var bytes = arena.mutableBytes
        UDPHeader(sourcePort: key.remotePort, destinationPort: key.guestPort, payloadLength: payload, checksum: partial)
            .write(to: &bytes, at: start)
        let frameStart = slot + linkHeadroom
        var offload = VirtioNetHeader(checksumStart: start - frameStart, checksumOffset: UDPHeader.checksumOffset)
        if isSeveral {
            offload.segmentation = .udp
            offload.segmentSize = UInt16(truncatingIfNeeded: segmentSize)
        }
        offload.headerLength = UInt16(truncatingIfNeeded: start - frameStart + UDPHeader.length)
        return send(slot: slot, end: start + length, offload: offload)
    }

    /// Datagrams of `size` bytes, the last of which may be shorter, one by one. Headers are written over the end of the datagram before, of which the parts are copies;
    /// links that take no several at once have copied what was sent.
    private mutating func sendEach(key: FlowKey, slot: Int, payload: Int, size: Int) -> Bool {
        var done = 0
        while done < payload {
            guard sendUDP(key: key, slot: slot + done, payload: min(size, payload - done), segmentSize: 0) else { return false }
            done += size
        }
        return true
    }

    /// The checksum is that of the whole datagram, so nobody but us can complete it.
    private mutating func sendUDPInParts(key: FlowKey, slot: Int, payload: Int) -> Bool {
        let length = UDPHeader.length + payload
        let start = slot + SlotLayout.udpPayload(key.guest) - UDPHeader.length
        let partial = Checksum.pseudoHeader(key.remote, key.guest, .udp, length: length)
        var bytes = arena.mutableBytes
        UDPHeader(sourcePort: key.remotePort, destinationPort: key.guestPort, payloadLength: payload, checksum: partial)
            .write(to: &bytes, at: start)
        _ = Checksum.complete(in: &bytes, start: start, fieldOffset: UDPHeader.checksumOffset, end: start + length)
        return sendParts(
            WholePacket(source: key.remote, destination: key.guest, proto: .udp, flowLabel: key.flowLabel(seed), start: start, length: length))
    }
}
