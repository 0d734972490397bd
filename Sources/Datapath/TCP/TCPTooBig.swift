internal import Linux
internal import Wire

// Segments that are too large for a link behind the guest.
//
// The largest segment of a connection is what the SYN of the guest's side asks for, which knows its own link only. A router between, as the guest itself may be one,
// drops what its next link does not take, since segments may not be cut on their way (DF, and IPv6 always), and says how much would pass:
//
//      remote ──> us ──segments of 8960──> guest ──X 1400 ──> container            SYN: "8960"
//                    <──"1400 bytes"──────
//                    ──segments of 1360──>       ──> 1400 ──>
//
// Without heed to that, every large segment is lost, as often as it is sent, and the connection stands still for good (RFC 1191; RFC 8201).

extension TCPTranslator where Sockets: ~Copyable {
    /// A router behind the guest has dropped `packet`: no more than `mtu` bytes would have passed. 0: an old router, which does not say.
    ///
    /// The segments become smaller and never larger again: a new connection may try. What names nothing that is in flight is made up, or was overtaken (RFC 5927, section 4.1).
    mutating func segmentWasTooBig(_ packet: RefusedPacket, mtu: Int, now: Int64) {
        guard let index = table.find(packet.key) else { return }
        let connection = table[index]
        let sequence = SequenceNumber(packet.word)
        guard connection.events.contains(.established), connection.events.isDisjoint(with: [.mustReset, .standsStill]),
            sequence >= connection.unacknowledged, sequence < connection.highest
        else { return }
        let isIPv4 = connection.key.guest.isIPv4
        let headers = SlotLayout.ipHeaderLength(connection.key.guest) + TCPHeader.length
        let passes = mtu == 0 && isIPv4 ? TCPTranslator.plateau(below: packet.length) : mtu
        let size = max(passes, isIPv4 ? GuestMTU.least4 : GuestMTU.least6) - headers
        // Each segment that was under way has such a message, and the first has made them smaller (RFC 1191, section 6.4).
        guard size < Int(connection.segmentSize) else { return }
        table[index].segmentSize = UInt16(truncatingIfNeeded: size)
        resendAll(index, now: now)
    }

    /// It was not congestion, so nothing waits (RFC 1191, section 6.4): everything from the first missing byte on is sent again, as after a timeout, but not one by one.
    private mutating func resendAll(_ index: Int, now: Int64) {
        // A closed window has its own time, and sends all again when it opens.
        guard table[index].guestWindow > 0, !table[index].events.contains(.probing) else { return }
        sendAllAgain(index)
        table[index].duplicateAcknowledgements = 0
        table[index].retransmissions = 0
        table[index].guestPath.lostForItsLength()
        startRetransmitTimer(index, now: now)
        touch(index)
    }

    /// The largest of the usual MTUs that is less than a packet's length (RFC 1191, section 7). Smaller ones than these are not believed anyway.
    private static func plateau(below length: Int) -> Int {
        let plateaus: InlineArray<7, Int> = [32000, 17914, 8166, 4352, 2002, 1492, 1006]
        for index in 0..<7 where plateaus[index] < length { return plateaus[index] }
        return 0
    }
}
