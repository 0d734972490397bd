internal import Linux
internal import Wire

/// Who gives way where there is no room for another connection.
///
/// A connection that is not open yet has cost its opener one packet, and so thousands of them nothing: their number is limited, and the
/// oldest gives way. One that is open is kept, whatever comes. The guest and those who connect to it can take seven eighths of the table
/// each, so that neither can lock the other out.
extension TCPTranslator where Sockets: ~Copyable {
    private var mostHalfOpen: Int { max(table.capacity / 16, 16) }
    private var mostOfOneSide: Int { table.capacity - table.capacity / 8 }

    /// Whether there is room in the table for one more.
    mutating func makeRoom<Link: GuestLink & ~Copyable>(inbound: Bool, _ port: inout GuestPort<Link>) -> Bool {
        if !inbound && openings <= 0 { return false }
        let begun = inbound ? halfOpenIn.count : halfOpenOut.count
        if begun >= mostHalfOpen { _ = endOldest(inbound: inbound, &port) }
        let own = inbound ? inboundCount : table.count - inboundCount
        if own >= mostOfOneSide { return endOldest(inbound: inbound, &port) }
        return table.count < table.capacity || endOldest(inbound: halfOpenIn.count > halfOpenOut.count, &port)
    }

    /// Ends the oldest connection of a side that is not open yet. False when there is none.
    mutating func endOldest<Link: GuestLink & ~Copyable>(inbound: Bool, _ port: inout GuestPort<Link>) -> Bool {
        guard let index = inbound ? halfOpenIn.oldest : halfOpenOut.oldest else { return false }
        port.counters.add(.tcpGaveWay)
        if !inbound {
            if table[index].events.contains(.synSent) { _ = resetGuest(index, &port) } else { refuse(table[index], &port) }
        }
        abort(index, &port)
        return true
    }

    /// Whether the oldest connection that others have opened has got no answer to its first SYN.
    var hasSilentClient: Bool {
        guard let index = halfOpenIn.oldest else { return false }
        return table[index].retransmissions > 0
    }

    /// It is open, or gone.
    mutating func forgetHalfOpen(_ index: Int) {
        halfOpenOut.remove(index)
        halfOpenIn.remove(index)
    }

    /// A socket that connects, for which an older one may have to go.
    mutating func connect<Link: GuestLink & ~Copyable>(
        _ index: Int, to remote: Endpoint, typeOfService: UInt8, _ port: inout GuestPort<Link>
    ) throws(Errno) -> Descriptor {
        let family = translation.family(of: remote.address)
        let tag = TCPTranslator.tag(index, generation: table.generation(of: index))
        do throws(Errno) {
            return try sockets.connect(to: remote, family, typeOfService: typeOfService, tag: tag)
        } catch {
            guard error.isLackOfDescriptors else { throw error }
            lacksDescriptors = true
            if postponed.closingCount > 0 {
                closePostponed()
                return try sockets.connect(to: remote, family, typeOfService: typeOfService, tag: tag)
            }
            guard endOldest(inbound: halfOpenIn.count > halfOpenOut.count, &port) else { throw error }
            return try sockets.connect(to: remote, family, typeOfService: typeOfService, tag: tag)
        }
    }
}
