// Ping: echo requests of the guest through the kernel's unprivileged ping sockets, one per (guest, identifier, remote).
//
//      guest  --echo request-->  PingTranslator      --sendmsg-->   socket
//      guest  <--echo reply----  PingFromHost        <--recvmmsg--  socket, or its error queue
//
// The socket is bound to the guest's identifier where no other socket has it; else the kernel chooses one, and replies get the
// guest's own back. `net.ipv4.ping_group_range` decides who may have such sockets at all.

internal import Linux
internal import Wire

/// An echo request of the guest, checked: the message lies in the batch that it came in.
struct GuestEcho: BitwiseCopyable {
    /// With the identifier as the guest's port, and 0 as the remote's.
    var key: FlowKey
    var sequence: UInt16
    /// From the ICMP header on.
    var messageOffset: Int
    var messageLength: Int
    var hopLimit: UInt8
    var typeOfService: UInt8
    /// Its frame was for more than one station.
    var isForMany = false
}

struct PingFlow: FlowEntry {
    let key: FlowKey
    /// The remote as the host sees it.
    let remote: IPAddress
    let socket: Descriptor
    /// Several may answer, and nobody reports errors: a group, or the broadcast address of a network that the host is in.
    let isGroup: Bool
    /// What the socket uses now.
    var hopLimit: UInt8
    var typeOfService: UInt8 = 0
    /// Something came back.
    var isAnswered = false
    /// Of the last request.
    var sequence: UInt16
    /// Milliseconds, when either side sent last.
    var usedAt: Int64
}

extension QuotedPacket {
    /// An echo request, whose header stands where ports stand elsewhere: type, code and an unknown checksum, then identifier and sequence.
    static func echo(_ key: FlowKey, sequence: UInt16) -> QuotedPacket {
        let isIPv4 = key.guest.isIPv4
        let header = FlowKey(guest: key.guest, guestPort: isIPv4 ? 8 << 8 : 128 << 8, remote: key.remote, remotePort: 0)
        return QuotedPacket(
            key: header, proto: IPProtocol(isIPv4 ? 1 : 58), length: 64, word: UInt32(key.guestPort) << 16 | UInt32(sequence))
    }
}
