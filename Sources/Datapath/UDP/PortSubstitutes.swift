internal import Linux
internal import Wire

/// Which of the host's ports stands for a port of the guest's that is not to be had: another program has it, or it takes a right that we have not. All flows of that port get the
/// same one, whoever they are with, as long as any of them lives (RFC 4787, REQ-1): who asks a server by which port the world sees them, and tells others of it (STUN),
/// could be reached by nobody otherwise. One per family of the host's sockets.
///
/// Each has one place, by its address and port. Where somebody else's is there, it does without: each of its flows has a port of its own then.
struct PortSubstitutes: ~Copyable {
    private struct Substitute: BitwiseCopyable {
        var guest: IPAddress
        var guestPort: UInt16
        var port: UInt16
        var flows: UInt32
    }

    private var table: FixedTable<Substitute>
    /// Places that are taken.
    private var count = 0

    init() throws(Errno) { table = try FixedTable<Substitute>(count: 2 << 16) }

    func find(_ guest: IPAddress, _ guestPort: UInt16, isIPv4: Bool) -> UInt16? {
        guard count > 0 else { return nil }
        let entry = table[PortSubstitutes.place(guest, guestPort, isIPv4)]
        return entry.flows > 0 && entry.guest == guest && entry.guestPort == guestPort ? entry.port : nil
    }

    /// One more flow has `port`. False where that is not noted.
    mutating func note(_ guest: IPAddress, _ guestPort: UInt16, isIPv4: Bool, port: UInt16) -> Bool {
        let place = PortSubstitutes.place(guest, guestPort, isIPv4)
        if table[place].flows == 0 {
            table[place] = Substitute(guest: guest, guestPort: guestPort, port: port, flows: 1)
            count += 1
            return true
        }
        guard find(guest, guestPort, isIPv4: isIPv4) == port else { return false }
        table[place].flows += 1
        return true
    }

    /// A flow that was noted has ended.
    mutating func release(_ guest: IPAddress, _ guestPort: UInt16, isIPv4: Bool) {
        let place = PortSubstitutes.place(guest, guestPort, isIPv4)
        guard table[place].flows > 0 else { return }
        table[place].flows -= 1
        if table[place].flows == 0 { count -= 1 }
    }

    /// Ports of one address are neighbours; those of another are elsewhere.
    private static func place(_ guest: IPAddress, _ port: UInt16, _ isIPv4: Bool) -> Int {
        let spread = UInt16(truncatingIfNeeded: ((guest.low ^ guest.high) &* 0x9e37_79b9_7f4a_7c15) >> 48)
        return Int(port ^ spread) << 1 | (isIPv4 ? 1 : 0)
    }
}
