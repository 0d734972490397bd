// UDP: each pair of a guest's endpoint and a remote one is a flow, and each flow is a socket of the host.
//
//      guest  --datagrams-->  UDPFromGuest   collected per flow, one sendmmsg a round  -->  socket
//      guest  <--datagrams--  UDPFromHost    recvmmsg straight into frames             <--  socket
//      guest  <--ICMP-------  UDPErrors      the socket's error queue                  <--  socket
//
// The socket is connected, so that it receives from its remote only and hears of ICMP errors, and bound to the
// guest's own port wherever that is free. Multicast and broadcast are answered by others than who was asked, TFTP from other ports: such
// a flow's socket is bound but not connected, and takes what is sent to the host itself, from anybody or from any port of the remote's.
//
// Nothing is kept here: what the socket does not take is lost, as is what the guest does not take. Datagrams keep their
// boundaries everywhere; runs of equal size travel as one (UDP_SEGMENT, UDP_GRO and virtio's USO).
//
//   UDPFlow         one flow, and what comes in
//   UDPInbound      what others send to forwarded ports
//   UDPSeparation   which of them have sockets of their own
//   UDPSource       which address of the host datagrams leave from, when that changes
//   UDPTranslator   the owner of it all, its entry points, and the end of a flow
//   UDPOpening      sockets: made, bound, connected
//   UDPTransfer     TFTP, whose answers come from other ports
//   PortClaims      which ports are ours and may be shared
//   PortSubstitutes which port stands for one that is not to be had
//   SegmentRun      which datagrams leave as one message
//   UDPOutput       building frames
//   UsageOrder      which flow was idle the longest
//   UDPLimits       which one gives way where there is no room

internal import Linux
internal import Wire

/// A datagram of the guest, checked: its payload lies in the batch that it came in.
struct GuestDatagram: BitwiseCopyable {
    var key: FlowKey
    var payloadOffset: Int
    var payloadLength: Int
    var hopLimit: UInt8
    var typeOfService: UInt8
    /// 0, or the payload is several datagrams of this size, the last of which may be shorter.
    var segmentSize: Int
    /// Its frame was for more than one station.
    var isForMany = false

    /// Bytes of the datagram, or of the first one of several.
    var datagramLength: Int { segmentSize > 0 ? min(segmentSize, payloadLength) : payloadLength }
}

struct UDPFlow: FlowEntry {
    struct Flags: OptionSet, BitwiseCopyable {
        let rawValue: UInt16
        /// The remote is a group: not connected, anybody may answer.
        static var group: Flags { Flags(rawValue: 1 << 0) }
        /// Something came back.
        static var answered: Flags { Flags(rawValue: 1 << 1) }
        /// The guest's port is claimed.
        static var claimsPort: Flags { Flags(rawValue: 1 << 2) }
        /// Opened by the remote.
        static var inbound: Flags { Flags(rawValue: 1 << 3) }
        /// The guest's port is one that we listen on: before it was connected, the socket may have taken what is a listener's.
        static var besideListener: Flags { Flags(rawValue: 1 << 4) }
        /// The socket is the listener's.
        static var byListener: Flags { Flags(rawValue: 1 << 5) }
        /// With `byListener`: there was no socket of its own to be had.
        static var staysWithListener: Flags { Flags(rawValue: 1 << 6) }
        /// The remote is a TFTP server: not connected, any port of its may answer.
        static var transfer: Flags { Flags(rawValue: 1 << 7) }
        /// The socket's port stands for the guest's, and is noted as such.
        static var hasSubstitute: Flags { Flags(rawValue: 1 << 8) }
    }

    let key: FlowKey
    /// The remote endpoint as the host sees it.
    let remote: Endpoint
    var socket: Descriptor
    /// With `inbound`: how it came, and the listener that it ends with.
    var origin = UDPOrigin()
    var flags: Flags
    /// What the socket uses now.
    var hopLimit: UInt8
    var typeOfService: UInt8 = 0
    /// Datagrams that came by the listener, up to as many as matter.
    var arrivals: UInt8 = 0
    /// Datagrams that the next call asks the socket for.
    var burst: UInt8 = 2
    /// Larger datagrams than this the kernel will not cut for this flow: they exceed the path's MTU. 0: it cuts none.
    var segmentLimit: UInt16 = .max
    /// Of the guest's last datagram.
    var lastLength: UInt16 = 0
    /// First and last of the guest's datagrams that wait for the end of the round: number + 1, 0 for none.
    var firstPending: UInt16 = 0
    var lastPending: UInt16 = 0
    /// Milliseconds, when either side sent last.
    var usedAt: Int64

    /// Of a flow with a socket of its own: it hears its remote only.
    var isConnected: Bool { flags.isDisjoint(with: [.group, .transfer]) }
}

/// How long flows last without traffic, in milliseconds.
struct UDPTimeouts: BitwiseCopyable {
    /// Only one side has sent.
    var oneWay: Int64 = 30_000
    /// Both have.
    var stream: Int64 = 120_000
    /// A resolver has answered, and the table is busy.
    var resolved: Int64 = 10_000
    /// Idle for this long, a flow gives way to a new one when there is no other room.
    var givesWay: Int64 = 10_000

    @_noAllocation @_noLocks
    func timeout(of flow: UDPFlow, isBusy: Bool) -> Int64 {
        guard flow.flags.contains(.answered) else { return oneWay }
        return isBusy && flow.key.remotePort == 53 ? resolved : stream
    }
}

extension IPAddress {
    /// Whether a packet may come from here: an address of one host, and no loopback.
    var isSaneSource: Bool { @_noAllocation @_noLocks get {
        if isAny || isLoopback || isMulticast { return false }
        guard isIPv4 else { return true }
        return (low >> 24) & 0xff != 0 && low & 0xffff_ffff != 0xffff_ffff
    } }

    /// Whether several hosts may answer.
    var isGroup: Bool { @_noAllocation @_noLocks get { isMulticast || (isIPv4 && low & 0xffff_ffff == 0xffff_ffff) } }
}
