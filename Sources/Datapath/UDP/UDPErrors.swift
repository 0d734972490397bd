internal import Linux
internal import Wire

extension UDPTranslator {
    /// Entries of one socket's error queue before others have their turn.
    private static var mostErrors: Int { 64 }

    /// Tells the guest what the socket's error queue tells, and empties it (lesson 35).
    mutating func takeErrors<Link: GuestLink & ~Copyable>(_ index: Int, _ port: inout GuestPort<Link>) {
        let flow = table[index]
        let guest = flow.key.guest
        var count = 0
        while count < UDPTranslator.mostErrors {
            // What has come back of the datagram goes straight to where it is quoted.
            let slot = port.reserve()
            let (start, most) = (slot + SlotLayout.quotedPayload(guest), SlotLayout.mostQuotedPayload(guest))
            guard let queued = flow.socket.nextQueuedError(quoting: most, into: port.arena, at: start) else { break }
            count += 1
            guard !flow.flags.contains(.group), let error = ICMPError(queued, isIPv4: guest.isIPv4) else { continue }
            let offender = translation.offender(of: queued, towards: flow.remote, as: flow.key.remote)
            // Where not all has come back, the kernel does not say how long it was: most likely as long as the last one.
            let length = max(queued.quotedLength, Int(flow.lastLength))
            port.sendICMPError(error, from: offender, quoting: QuotedPacket(flow.key, udpPayload: length, quoted: queued.quotedLength), in: slot)
        }
        // An error without an entry would be reported for ever.
        if count == 0 { _ = flow.socket.takeSocketError() }
    }
}

extension ICMPError {
    /// What to tell the guest of an error that a socket has kept; nil for what is none of its business.
    ///
    /// "Too big" of a router is not passed on: our kernel has taken note and cuts what follows, while the guest would cut
    /// what is put together here.
    init?(_ queued: QueuedError, isIPv4: Bool) {
        switch queued.origin {
        case .icmp where isIPv4:
            let isFragmentation = queued.type == 3 && queued.code == 4
            guard queued.type == 3 || queued.type == 11 || queued.type == 12, !isFragmentation else { return nil }
            self.init(type: queued.type, code: queued.code)
        case .icmpv6 where !isIPv4:
            guard queued.type == 1 || queued.type == 3 || queued.type == 4 else { return nil }
            self.init(type: queued.type, code: queued.code)
        case .icmp, .icmpv6:
            // About a query that was forwarded to a resolver of the other family.
            guard let problem = queued.error.code == 111 ? .port : Unreachable(queued.error) else { return nil }  // ECONNREFUSED
            self = problem.error(isIPv4: isIPv4)
        case .local:
            if queued.error.code == 90 {  // EMSGSIZE
                self.init(type: isIPv4 ? 3 : 2, code: isIPv4 ? 4 : 0, rest: isIPv4 ? queued.information & 0xffff : queued.information)
            } else if let problem = Unreachable(queued.error) {
                self = problem.error(isIPv4: isIPv4)
            } else {
                return nil
            }
        default: return nil
        }
    }
}

extension AddressTranslation {
    /// Who the guest is told has reported the error: the remote itself under the name that the guest has for it, a router as it is.
    @_noAllocation @_noLocks
    func offender(of queued: QueuedError, towards remote: Endpoint, as seen: IPAddress) -> IPAddress {
        guard let offender = queued.offender, offender != remote.address, offender.isIPv4 == seen.isIPv4, offender.isSaneSource || offender.isLoopback
        else { return seen }
        return toGuest(offender) ?? seen
    }
}
