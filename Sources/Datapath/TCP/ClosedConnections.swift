internal import Linux
internal import Wire

/// Connections that have ended in good order, for as long as late segments of theirs may still come from the guest (TIME-WAIT of
/// RFC 9293, section 3.6). A guest whose FIN's acknowledgement was lost sends the FIN again: it must hear that all is well, not a reset.
///
/// Each has its place by its hash, and a later one takes an earlier one's: no timers, no search, no more memory than this.
struct ClosedConnections: ~Copyable {
    struct Entry: BitwiseCopyable {
        let key: FlowKey
        /// The numbers of the guest's SYN, of what we expect next, and of what we would send next.
        let initialFromGuest, expected, next: SequenceNumber
        /// 0 where there is none.
        var until: Int64
    }

    static var capacity: Int { 4096 }
    /// Milliseconds: Linux's own.
    static var time: Int64 { 60_000 }

    private var entries: FixedTable<Entry>
    private let seed: SipHash

    init(seed: SipHash) throws(Errno) {
        let entries = try FixedTable<Entry>(count: ClosedConnections.capacity)
        self.entries = entries
        self.seed = seed
    }

    private func place(_ key: FlowKey) -> Int { Int(truncatingIfNeeded: key.hash(seed) >> 32) & (ClosedConnections.capacity - 1) }

    mutating func insert(_ connection: TCPConnection, now: Int64) {
        entries[place(connection.key)] = Entry(
            key: connection.key, initialFromGuest: connection.initialFromGuest, expected: connection.expected, next: connection.highest,
            until: now + ClosedConnections.time)
    }

    func find(_ key: FlowKey, now: Int64) -> Entry? {
        let entry = entries[place(key)]
        return entry.until > now && entry.key == key ? entry : nil
    }

    mutating func remove(_ key: FlowKey) { entries[place(key)].until = 0 }
}

extension TCPTranslator where Sockets: ~Copyable {
    /// Deals with a segment of a connection that has ended in good order. False for all others.
    mutating func answerForClosed<Link: GuestLink & ~Copyable>(
        _ segment: GuestSegment, _ port: inout GuestPort<Link>, now: Int64
    ) -> Bool {
        let header = segment.header
        guard let entry = closed.find(segment.key, now: now) else { return false }
        if header.flags.contains(.rst) {
            closed.remove(segment.key)
            return true
        }
        if header.flags.contains(.syn) {
            // An old copy asks for nothing. Any other number is a new connection.
            if header.sequence == entry.initialFromGuest { return true }
            closed.remove(segment.key)
            return false
        }
        let length = header.sequenceLength
        guard header.flags.contains(.ack), header.sequence + length <= entry.expected, header.acknowledgment <= entry.next else { return false }
        // Bare acknowledgements are not answered: two sides that both believe to be right would never stop.
        guard length > 0 else { return true }
        port.sendSegment(
            TCPHeader(
                sourcePort: segment.key.remotePort, destinationPort: segment.key.guestPort, sequence: entry.next,
                acknowledgment: entry.expected, flags: .ack, window: 0),
            key: segment.key)
        return true
    }
}
