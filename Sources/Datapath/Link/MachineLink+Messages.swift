internal import Linux
internal import Wire

/// A frame per message: QEMU's `-netdev dgram`, the sockets of vfkit and krunkit, and those of bess (SOCK_SEQPACKET), as User-Mode Linux has them.
///
/// Frames to the guest pass through the backlog, from which as many leave with one call as the socket takes. Its queue holds ten
/// datagrams by default (net.unix.max_dgram_qlen).
extension MachineLink {
    /// Messages that one call brings.
    static var mostMessages: Int { 16 }
    static var messageStride: Int { 65600 }

    mutating func flushMessages() {
        let wasEmpty = backlog.isEmpty
        backlog.append(pieces, skipping: 0)
        guard wasEmpty else { return }
        writeMessages()
        if backlog.isEmpty { return }
        figures.stops += 1
        watchOutput(true)
    }

    mutating func writeMessages() {
        while !backlog.isEmpty, client.isOpen {
            let outcome = backlog.writeMessages(to: client, &messages)
            figures.batchesToGuest += 1
            if outcome.count > 0 { continue }
            if outcome.wouldBlock { return }
            switch outcome.raw {
            case -32, -104, -107, -111:  // EPIPE, ECONNRESET, ENOTCONN, ECONNREFUSED: nobody is there any more
                hasLostGuest = true
                backlog.removeAll()
            default: backlog.skipMessage()  // EMSGSIZE, ENOBUFS: this one cannot be sent
            }
        }
    }

    mutating func receiveMessages(into batch: inout FrameBatch) -> Bool {
        let most = min(max(batch.limit, 1), MachineLink.mostMessages)
        incoming.removeAll()
        for number in 0..<most {
            incoming.append(batch.arena, offset: number * MachineLink.messageStride, length: largestFrame)
        }
        let outcome = incoming.receive(on: client)
        if outcome.wouldBlock { return true }
        guard outcome.raw > 0 else { return false }
        figures.batchesFromGuest += 1
        for number in 0..<outcome.count {
            let length = incoming.length(number)
            // A connection's end reads as a message of nothing.
            if length == 0, kind == .messages { return false }
            // Shorter ones are no frames, but may be a greeting: vfkit's is "VFKT".
            if length < StreamFraming.shortest || incoming.isTruncated(number) { continue }
            batch.append(at: number * MachineLink.messageStride, length: length)
        }
        return true
    }
}
