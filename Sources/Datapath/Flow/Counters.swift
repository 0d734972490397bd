/// Everything that is counted: why frames were dropped, and what happened. Tests assert on these, and users look at them
/// (`--stats`, SIGUSR1).
enum Counter: Int, CaseIterable {
    case framesFromGuest
    case bytesFromGuest
    case framesToGuest
    case bytesToGuest
    /// The guest's queue was full, or its interface down.
    case framesRefusedByGuest
    /// Datagrams and echo replies that were too large for the guest's interface.
    case packetsInParts
    // Dropped from the guest.
    case droppedMalformed
    case droppedNotForUs
    case droppedFragment
    case droppedProtocol
    case droppedAddress
    case droppedDisabled
    /// Packets made of the guest's fragments.
    case reassembled
    // Flows.
    case tcpOpened
    case tcpClosed
    case tcpTableFull
    case tcpAddressInUse
    case tcpSocketFailed
    case tcpGaveWay
    case tcpResetsToGuest
    case tcpRetransmissionsToGuest
    case tcpPartialSends
    case tcpOutOfOrder
    // Machines that move.
    case tcpMovedAway
    case tcpMovedHere
    case tcpLostOnTheWay
    case unknownStates
    case udpOpened
    case udpClosed
    case udpTableFull
    case udpSocketFailed
    case udpDatagramsFromGuest
    case udpDatagramsToGuest
    case udpSendFailed
    case udpGaveWay
    case udpStrays
    case udpTooLong
    case pingOpened
    case pingClosed
    case pingSocketFailed
    case pingTableFull
    case pingGaveWay
    case pingRequests
    case pingReplies
    case icmpErrorsToGuest
    case icmpErrorsHeldBack
    // Forwarded ports.
    case tcpAccepted
    case udpAccepted
    case inboundUnanswerable
    case inboundWithoutGuest
    case listenersPaused
    case listenersEnded
    // What takes no detour over the guest's interface.
    case splicedBytes
    case spliceOpened
    case spliceClosed
    case spliceResets
    case spliceFailed
    case spliceStarved
    case spliceClients
    case spliceClientsEnded
    case spliceDatagrams
    case spliceDatagramsLost
    // Local services.
    case arpReplies
    case neighbourAdvertisements
    case routerAdvertisements
    case dhcpReplies
    case dhcpv6Replies
    // The loop.
    case wakeUps
    case staleEvents

    /// In the words of `--stats`.
    var label: StaticString {
        switch self {
        case .framesFromGuest: "frames from guest"
        case .bytesFromGuest: "bytes from guest"
        case .framesToGuest: "frames to guest"
        case .bytesToGuest: "bytes to guest"
        case .framesRefusedByGuest: "frames refused by guest"
        case .packetsInParts: "packets to guest in fragments"
        case .droppedMalformed: "dropped: malformed"
        case .droppedNotForUs: "dropped: not for us"
        case .droppedFragment: "dropped: fragment"
        case .droppedProtocol: "dropped: unknown protocol"
        case .droppedAddress: "dropped: address without meaning"
        case .droppedDisabled: "dropped: handler disabled"
        case .reassembled: "packets made of fragments"
        case .tcpOpened: "TCP connections opened"
        case .tcpClosed: "TCP connections closed"
        case .tcpTableFull: "TCP connections refused: table full"
        case .tcpAddressInUse: "TCP connections refused: another between the same addresses"
        case .tcpSocketFailed: "TCP connections refused: no socket"
        case .tcpGaveWay: "TCP connections not open yet ended for new ones"
        case .tcpResetsToGuest: "TCP resets to guest"
        case .tcpRetransmissionsToGuest: "TCP retransmissions to guest"
        case .tcpPartialSends: "TCP partial sends to host"
        case .tcpOutOfOrder: "TCP segments from guest out of order"
        case .tcpMovedAway: "TCP connections saved for a move"
        case .tcpMovedHere: "TCP connections that have moved here"
        case .tcpLostOnTheWay: "TCP connections lost on the way here"
        case .unknownStates: "states of another program or version"
        case .udpOpened: "UDP flows opened"
        case .udpClosed: "UDP flows closed"
        case .udpTableFull: "UDP flows refused: table full"
        case .udpSocketFailed: "UDP flows refused: no socket"
        case .udpDatagramsFromGuest: "UDP datagrams from guest"
        case .udpDatagramsToGuest: "UDP datagrams to guest"
        case .udpSendFailed: "UDP datagrams not sent"
        case .udpGaveWay: "UDP flows ended for new ones"
        case .udpStrays: "UDP datagrams from others than asked"
        case .udpTooLong: "UDP datagrams to guest too long"
        case .pingOpened: "ping flows opened"
        case .pingClosed: "ping flows closed"
        case .pingSocketFailed: "ping flows refused: no socket"
        case .pingTableFull: "ping flows refused: table full"
        case .pingGaveWay: "ping flows ended for new ones"
        case .pingRequests: "pings from guest"
        case .pingReplies: "pings answered"
        case .icmpErrorsToGuest: "ICMP errors to guest"
        case .icmpErrorsHeldBack: "ICMP errors to guest beyond the limit"
        case .tcpAccepted: "TCP connections accepted for guest"
        case .udpAccepted: "UDP flows opened by others"
        case .inboundUnanswerable: "refused to guest: no address for one side"
        case .inboundWithoutGuest: "refused to guest: none is connected"
        case .listenersPaused: "pauses of listeners for lack of descriptors or memory"
        case .listenersEnded: "listeners that somebody else has ended"
        case .splicedBytes: "bytes spliced"
        case .spliceOpened: "spliced connections opened"
        case .spliceClosed: "spliced connections closed"
        case .spliceResets: "spliced connections reset"
        case .spliceFailed: "splicing refused: no socket, or no way to the target"
        case .spliceStarved: "spliced connections that waited for a pipe"
        case .spliceClients: "spliced UDP flows opened"
        case .spliceClientsEnded: "spliced UDP flows closed"
        case .spliceDatagrams: "spliced UDP datagrams"
        case .spliceDatagramsLost: "spliced UDP datagrams not sent"
        case .arpReplies: "ARP replies"
        case .neighbourAdvertisements: "neighbour advertisements"
        case .routerAdvertisements: "router advertisements"
        case .dhcpReplies: "DHCP replies"
        case .dhcpv6Replies: "DHCPv6 replies"
        case .wakeUps: "wake-ups"
        case .staleEvents: "stale events"
        }
    }
}

struct Counters: BitwiseCopyable {
    private var values = InlineArray<96, UInt64>(repeating: 0)

    init() {}

    subscript(counter: Counter) -> UInt64 {
        @inline(__always) get { values[counter.rawValue] }
        @inline(__always) set { values[counter.rawValue] = newValue }
    }

    @inline(__always)
    mutating func add(_ counter: Counter, _ amount: Int = 1) {
        values[counter.rawValue] &+= UInt64(truncatingIfNeeded: amount)
    }
}
