internal import Linux
internal import Wire

extension SlotLayout {
    /// From a slot's start to the payload of a UDP datagram.
    static func udpPayload(_ address: IPAddress) -> Int { ip + ipHeaderLength(address) + UDPHeader.length }

    /// The largest payload of a UDP datagram in a slot.
    static func mostUDPPayload(_ address: IPAddress) -> Int { 65535 - ipHeaderLength(address) - UDPHeader.length }
}

extension GuestPort where Link: ~Copyable {
    /// A datagram with `payload` bytes that lie in the slot already, behind where the header goes. With a `segmentSize` above 0, the payload
    /// is several datagrams of that size, which the link must be able to take (`LinkOffloads.udpSegmentation`).
    mutating func sendUDP(key: FlowKey, slot: Int, payload: Int, segmentSize: Int) -> Bool {
        let length = UDPHeader.length + payload
        let start = writeHeaders(
            slot: slot, source: key.remote, destination: key.guest, proto: .udp, payloadLength: length, flowLabel: key.flowLabel(seed))
        let partial = Checksum.pseudoHeader(key.remote, key.guest, .udp, length: length)
        var bytes = arena.mutableBytes
        UDPHeader(sourcePort: key.remotePort, destinationPort: key.guestPort, payloadLength: payload, checksum: partial)
            .write(to: &bytes, at: start)
        let frameStart = slot + linkHeadroom
        var offload = VirtioNetHeader(checksumStart: start - frameStart, checksumOffset: UDPHeader.checksumOffset)
        if segmentSize > 0, payload > segmentSize {
            offload.segmentation = .udp
            offload.segmentSize = UInt16(truncatingIfNeeded: segmentSize)
        }
        offload.headerLength = UInt16(truncatingIfNeeded: start - frameStart + UDPHeader.length)
        return send(slot: slot, end: start + length, offload: offload)
    }
}
