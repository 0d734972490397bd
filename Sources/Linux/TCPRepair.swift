internal import CLinux
internal import Wire

/// What a connection's kernel keeps besides the bytes in its queues, so that another kernel can go on with it (TCP_REPAIR, net/ipv4/tcp.c).
/// Sequence numbers are the kernel's.
public struct TCPRepairState: Equatable, Sendable, BitwiseCopyable {
    /// Numbers behind the last byte of each queue.
    public var sendEnd: UInt32 = 0
    public var receiveEnd: UInt32 = 0
    /// Of the send queue, the bytes that were never sent.
    public var notSent: UInt32 = 0
    /// The largest segment that the peer takes.
    public var segmentSize: UInt32 = 0
    /// Agreed upon in the handshake (TCPI_OPT_...), and the two window scales.
    public var options: UInt8 = 0
    public var sendScale: UInt8 = 0
    public var receiveScale: UInt8 = 0
    public var timestamp: UInt32 = 0
    public var window = Window()

    /// `struct tcp_repair_window`.
    public struct Window: Equatable, Sendable, BitwiseCopyable {
        public var updatedAt: UInt32 = 0
        public var send: UInt32 = 0
        public var largestSend: UInt32 = 0
        public var receive: UInt32 = 0
        public var receiveFrom: UInt32 = 0

        public init() {}
    }

    public init() {}

    /// Since Linux 6.7, the lowest bit says whether the clock ticks in microseconds. Older kernels leave there what the clock shows.
    var markedTimestamp: UInt32 { options & TCPRepairState.microseconds != 0 ? timestamp | 1 : (timestamp &+ 1) & ~1 }

    fileprivate static var microseconds: UInt8 { 64 }
    fileprivate static var timestamps: UInt8 { 1 }
    fileprivate static var selectiveAcknowledgement: UInt8 { 2 }
    fileprivate static var windowScale: UInt8 { 4 }
}

public enum TCPQueue: Int32, Sendable {
    case none = 0
    case receive = 1
    case send = 2
}

/// A socket in repair mode, which only a helper with CAP_NET_ADMIN switches on and off (`RepairMode`); all else is for anybody.
extension Descriptor {
    // MARK: Standing still

    /// From now on nothing that comes is taken or answered, as if it was lost: the peer sends it again, to whoever goes on. Nothing may be acknowledged once
    /// the queues have been read, and a socket in repair mode still acknowledges. What asks for no privilege is a hop limit that no packet has but one of
    /// a neighbour that sends with 255 (IP_MINTTL, IPV6_MINHOPCOUNT; RFC 5082 has another use for it).
    public func dropInput() throws(Errno) { try setLeastHopLimit(255) }

    public func takeInputAgain() throws(Errno) { try setLeastHopLimit(0) }

    /// An IPv6 socket may have a peer of IPv4, whose packets have the other limit.
    private func setLeastHopLimit(_ limit: Int32) throws(Errno) {
        if (try localAddress()).isIPv6 { try set(Int32(IPPROTO_IPV6), IPV6_MINHOPCOUNT, limit) }
        try set(Int32(IPPROTO_IP), IP_MINTTL, limit)
    }

    // MARK: Reading

    public var isInRepairMode: Bool { (try? get(Int32(IPPROTO_TCP), TCP_REPAIR)) == 1 }

    /// The other end.
    public func peerAddress() throws(Errno) -> SocketAddress {
        var address = SocketAddress()
        var length = SocketAddress.capacity
        // SAFETY: the value has room for the larger of both structures.
        try Errno.check(unsafe linux_getpeername(number, &address, &length))
        return address
    }

    /// Nil where the connection is in another state than ESTABLISHED. The socket must be in repair mode, and sends nothing from here on: with another queue
    /// chosen than that for sending, the kernel's timers still would, behind what is told here (`tcp_write_xmit`).
    public func repairState() throws(Errno) -> TCPRepairState? {
        try chooseQueue(.receive)
        let receiveEnd = UInt32(bitPattern: try get(Int32(IPPROTO_TCP), TCP_QUEUE_SEQ))
        try chooseQueue(.send)
        var info = linux_tcp_info()
        var length = UInt32(MemoryLayout<linux_tcp_info>.size)
        // SAFETY: the kernel writes at most `length` bytes and says how many.
        try Errno.check(unsafe linux_getsockopt(number, Int32(IPPROTO_TCP), TCP_INFO, &info, &length))
        guard info.tcpi_state == 1 else { return nil }  // TCP_ESTABLISHED
        var state = TCPRepairState()
        state.receiveEnd = receiveEnd
        state.notSent = info.tcpi_notsent_bytes
        state.options = info.tcpi_options
        // SAFETY: the structure lives as long as the calls.
        (state.sendScale, state.receiveScale) = unsafe (linux_send_scale(&info), linux_receive_scale(&info))
        state.segmentSize = UInt32(bitPattern: try get(Int32(IPPROTO_TCP), TCP_MAXSEG))
        state.timestamp = UInt32(bitPattern: try get(Int32(IPPROTO_TCP), TCP_TIMESTAMP))
        var size = UInt32(MemoryLayout<TCPRepairState.Window>.size)
        // SAFETY: five words, as the kernel's structure has.
        try Errno.check(unsafe linux_getsockopt(number, Int32(IPPROTO_TCP), TCP_REPAIR_WINDOW, &state.window, &size))
        state.sendEnd = UInt32(bitPattern: try get(Int32(IPPROTO_TCP), TCP_QUEUE_SEQ))
        return state
    }

    /// All bytes of a queue, which stay in it, and which stays chosen. EFAULT, or less than there is, where `length` is too little. `inPieces`: one look may not show all of it,
    /// and the peek offset is on.
    public func peekQueue(_ queue: TCPQueue, into mapping: inout Mapping, offset: Int, length: Int, inPieces: Bool = false) throws(Errno) -> Int {
        precondition(mapping.holds(length, at: offset))
        try chooseQueue(queue)
        var (sum, count) = (0, 0)
        repeat {
            // SAFETY: the range was just checked, and access to the mapping is exclusive.
            count = restarting { unsafe linux_recv(number, mapping.base + offset + sum, length - sum, Int32(MSG_PEEK | MSG_DONTWAIT)) }
            sum += max(count, 0)
        } while inPieces && count > 0 && sum < length
        if count < 0, count != -11 { try Errno.check(count) }
        return sum
    }

    // MARK: Writing

    /// Makes a fresh socket, in repair mode, the local end of a connection that goes on; nothing is sent. Both queues are empty yet: `sendStart` and
    /// `receiveStart` are the numbers where they begin.
    public func takeUp(_ state: TCPRepairState, from local: SocketAddress, to peer: SocketAddress, sendStart: UInt32, receiveStart: UInt32) throws(Errno) {
        try chooseQueue(.receive)
        try set(Int32(IPPROTO_TCP), TCP_QUEUE_SEQ, Int32(bitPattern: receiveStart))
        try chooseQueue(.send)
        try set(Int32(IPPROTO_TCP), TCP_QUEUE_SEQ, Int32(bitPattern: sendStart))
        try chooseQueue(.none)
        try bind(local)
        _ = try connect(peer)
        try setRepairOption(2, state.segmentSize)  // TCPOPT_MSS
        if state.options & TCPRepairState.windowScale != 0 {
            try setRepairOption(3, UInt32(state.sendScale) | UInt32(state.receiveScale) << 16)  // TCPOPT_WINDOW
        }
        if state.options & TCPRepairState.selectiveAcknowledgement != 0 { try setRepairOption(4, 0) }  // TCPOPT_SACK_PERM
        if state.options & TCPRepairState.timestamps != 0 {
            try setRepairOption(8, 0)  // TCPOPT_TIMESTAMP
            try set(Int32(IPPROTO_TCP), TCP_TIMESTAMP, Int32(bitPattern: state.markedTimestamp))
        }
    }

    /// Puts bytes into a queue: those to send count as sent.
    public func fillQueue(_ queue: TCPQueue, _ bytes: borrowing RawSpan) throws(Errno) {
        try chooseQueue(queue)
        var done = 0
        while done < bytes.byteCount {
            let outcome = send(bytes.extracting(done..<bytes.byteCount))
            if let error = outcome.error { throw error }
            done += outcome.count
        }
        try chooseQueue(.none)
    }

    /// Lets the socket take as much at once, as far as the kernel allows (net.core.wmem_max), and lets the kernel decide again from then on. (SO_BUF_LOCK, since
    /// Linux 5.14)
    public func enlargeSendBuffer(_ byteCount: Int) throws(Errno) {
        try setSendBuffer(byteCount)
        try set(SOL_SOCKET, 72, 0)  // SO_BUF_LOCK
    }

    /// The last step before the repair mode ends.
    public func setRepairWindow(_ window: TCPRepairState.Window) throws(Errno) {
        var window = window
        // SAFETY: five words, as the kernel's structure has.
        try Errno.check(
            unsafe linux_setsockopt(number, Int32(IPPROTO_TCP), TCP_REPAIR_WINDOW, &window, UInt32(MemoryLayout<TCPRepairState.Window>.size)))
    }

    private func chooseQueue(_ queue: TCPQueue) throws(Errno) { try set(Int32(IPPROTO_TCP), TCP_REPAIR_QUEUE, queue.rawValue) }

    private func setRepairOption(_ code: UInt32, _ value: UInt32) throws(Errno) {
        var option = linux_tcp_repair_opt(opt_code: code, opt_val: value)
        // SAFETY: one structure, which the kernel reads during the call.
        try Errno.check(unsafe linux_setsockopt(number, Int32(IPPROTO_TCP), TCP_REPAIR_OPTIONS, &option, UInt32(MemoryLayout<linux_tcp_repair_opt>.size)))
    }
}

extension SystemCall {
    /// With `sockets`, `pieces`, `streams` and `accepting`.
    public static var repair: [Permission] {
        [
            .setting(Int32(IPPROTO_TCP), TCP_REPAIR_QUEUE, TCP_QUEUE_SEQ, TCP_REPAIR_OPTIONS, TCP_TIMESTAMP, TCP_REPAIR_WINDOW),
            .setting(Int32(IPPROTO_IP), IP_MINTTL), .setting(Int32(IPPROTO_IPV6), IPV6_MINHOPCOUNT), Permission(.getpeername), Permission(.sendto),
            .setting(SOL_SOCKET, SO_SNDBUF, 72), Permission(.ftruncate),
        ]
    }
}
