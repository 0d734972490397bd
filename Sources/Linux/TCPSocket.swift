internal import CLinux

/// What the kernel tells about a connection, of `struct tcp_info`. Fields that an older kernel does not know are nil.
public struct TCPPath: Sendable, BitwiseCopyable {
    /// The handshake is over, and the connection too young to have been closed by either end.
    public var isConnected: Bool
    /// Both ends have closed the connection, or one has aborted it: to the kernel, there is none between their addresses any more.
    public var isOver = false
    /// Smoothed round-trip time, microseconds.
    public var roundTrip: UInt32
    /// The smallest round-trip time seen lately, microseconds.
    public var minimumRoundTrip: UInt32?
    /// Bytes that the peer has acknowledged since the connection was made (and the SYN, where we sent it). Linux 4.1.
    public var bytesAcknowledged: UInt64?
    /// Bytes that have come in order since the connection was made here. Linux 4.1.
    public var bytesReceived: UInt64?
    /// Bytes in the send buffer that have never been sent. Linux 4.6.
    public var notSent: UInt32?
    /// Segments that were sent and not acknowledged.
    public var unacknowledged: UInt32
    /// What the peer would take now, in bytes. Linux 5.4.
    public var sendWindow: UInt32?
    /// The segment size towards the peer.
    public var sendSegmentSize: UInt32
    public var retransmissions: UInt32
    /// Retransmission timeouts in a row that nothing has answered.
    public var timeouts: UInt8
    /// Segments that may be under way.
    public var congestionWindow: UInt32
    /// Something was lost, or CUBIC has seen the path fill up.
    public var hasLeftSlowStart: Bool
    /// What counted as lost has not been made up for yet.
    public var isRepairing: Bool
}

/// Send buffer of a socket, in the kernel's own bookkeeping (SO_MEMINFO).
public struct SendBuffer: Sendable, BitwiseCopyable {
    public var limit: UInt32
    public var queued: UInt32

    public var free: UInt32 { limit > queued ? limit - queued : 0 }
    /// As `sk_stream_is_writeable`: an output event tells when this becomes true.
    public var isWritable: Bool { free >= queued / 2 }
}

extension Descriptor {
    /// nil when the socket is no TCP socket any more.
    public func tcpPath() -> TCPPath? {
        var info = linux_tcp_info()
        var length = UInt32(MemoryLayout<linux_tcp_info>.size)
        // SAFETY: the kernel writes at most `length` bytes and says how many.
        guard unsafe linux_getsockopt(number, Int32(IPPROTO_TCP), TCP_INFO, &info, &length) == 0 else { return nil }
        return TCPPath(
            isConnected: info.tcpi_state == 1,  // TCP_ESTABLISHED
            isOver: info.tcpi_state == 7,  // TCP_CLOSE
            roundTrip: info.tcpi_rtt,
            minimumRoundTrip: length >= TCPInfoLayout.minimumRoundTripEnd ? info.tcpi_min_rtt : nil,
            bytesAcknowledged: length >= TCPInfoLayout.bytesAcknowledgedEnd ? info.tcpi_bytes_acked : nil,
            bytesReceived: length >= TCPInfoLayout.bytesReceivedEnd ? info.tcpi_bytes_received : nil,
            notSent: length >= TCPInfoLayout.notSentEnd ? info.tcpi_notsent_bytes : nil,
            unacknowledged: info.tcpi_unacked,
            sendWindow: length >= TCPInfoLayout.sendWindowEnd ? info.tcpi_snd_wnd : nil,
            sendSegmentSize: info.tcpi_snd_mss,
            retransmissions: info.tcpi_total_retrans,
            timeouts: info.tcpi_retransmits,
            congestionWindow: info.tcpi_snd_cwnd,
            hasLeftSlowStart: info.tcpi_snd_ssthresh < 0x7fff_ffff,  // TCP_INFINITE_SSTHRESH
            isRepairing: info.tcpi_ca_state > 1)  // TCP_CA_CWR, TCP_CA_Recovery, TCP_CA_Loss
    }

    /// nil before Linux 4.12.
    public func sendBuffer() -> SendBuffer? {
        memoryInfo().map { SendBuffer(limit: $0[3], queued: $0[5]) }  // SK_MEMINFO_SNDBUF, SK_MEMINFO_WMEM_QUEUED
    }

    /// What the receive queue takes of the kernel's memory, in bytes; nil before Linux 4.12.
    public func receiveMemory() -> UInt32? { memoryInfo().map { $0[0] } }  // SK_MEMINFO_RMEM_ALLOC

    /// Where the next MSG_PEEK starts, counted from the first byte that is still queued.
    /// Throws EOPNOTSUPP where the kernel has it not for TCP (before Linux 6.9).
    public func setPeekOffset(_ offset: Int) throws(Errno) {
        try set(SOL_SOCKET, SO_PEEK_OFF, Int32(truncatingIfNeeded: offset))
    }

    /// Looks whether the socket can take more. Where it cannot, the kernel notes that someone waits: only then does it grow the send
    /// buffer with the path's window, and only then does an edge tell when there is room (`tcp_poll`, `tcp_check_space`).
    public func pollForOutput() -> Bool { awaitOutput(milliseconds: 0) }

    /// What every stream that we pass on needs, and those that a listener accepts have from it: what is written leaves as it is, since its sender's own stack
    /// has already decided on that; and urgent data is part of the stream, where it was sent. Without the latter, the byte before its end is kept aside, and
    /// whoever does not ask for it in particular loses it. Reading still ends there once, although more may follow.
    ///
    /// No kernel refuses either, and a connection would be worth more.
    public func prepareStream() {
        try? set(Int32(IPPROTO_TCP), TCP_NODELAY, 1)
        try? set(SOL_SOCKET, SO_OOBINLINE, 1)
    }

    /// Before bind(2) to an address without a port: the port is chosen by connect(2), which knows where it leads, so that connections to different places may share one.
    /// Otherwise an address has as many connections as ports, for all places together, TIME-WAIT included. No kernel refuses it.
    public func choosePortLate() { try? set(Int32(IPPROTO_IP), IP_BIND_ADDRESS_NO_PORT, 1) }

    /// Before connect(2): the acknowledgement that ends the handshake waits for data to travel with (in `tcp_rcv_synsent_state_process`, as with
    /// TCP_DEFER_ACCEPT), for 200 ms at most. The peer's kernel takes the connection for open only then.
    public func holdHandshake() throws(Errno) {
        try set(Int32(IPPROTO_TCP), TCP_QUICKACK, 0)
    }

    /// What `holdHandshake` holds is sent now.
    public func completeHandshake() throws(Errno) {
        try set(Int32(IPPROTO_TCP), TCP_QUICKACK, 1)
    }
}

extension Descriptor {
    /// Lets the socket ask for signs of life, or not; how often stays as it was.
    public func setKeepAlive(_ isOn: Bool) throws(Errno) { try set(SOL_SOCKET, SO_KEEPALIVE, isOn ? 1 : 0) }

    /// Asks the peer for a sign of life after `time` seconds without any, and every `interval` seconds from then on as long as there is none; at once where it has been silent for
    /// so long already.
    public func setKeepAlive(after time: Int32, every interval: Int32) throws(Errno) {
        try set(SOL_SOCKET, SO_KEEPALIVE, 1)
        try set(Int32(IPPROTO_TCP), TCP_KEEPINTVL, interval)
        // The last one, for this is what makes the kernel look at how long it was (`tcp_sock_set_keepidle_locked`).
        try set(Int32(IPPROTO_TCP), TCP_KEEPIDLE, time)
    }
}

/// Later than most C libraries (Linux 6.15).
private let TCP_RTO_MAX_MS: Int32 = 44

extension Descriptor {
    /// What a retransmission timeout doubles up to, in milliseconds. nil before Linux 6.15.
    public func longestTimeout() -> Int32? { try? get(Int32(IPPROTO_TCP), TCP_RTO_MAX_MS) }

    /// Counts from the next timeout on. 1000 to 120 000; EINVAL else, ENOPROTOOPT before Linux 6.15.
    public func setLongestTimeout(_ milliseconds: Int32) throws(Errno) {
        try set(Int32(IPPROTO_TCP), TCP_RTO_MAX_MS, milliseconds)
    }

    /// How long the peer may be silent before the connection is given up, in milliseconds; 0: as many retransmissions as the system allows.
    public func setUserTimeout(_ milliseconds: Int32) throws(Errno) {
        try set(Int32(IPPROTO_TCP), TCP_USER_TIMEOUT, milliseconds)
    }
}

/// Ends of the fields of `struct tcp_info` that newer kernels added, in bytes.
private enum TCPInfoLayout {
    static let notSentEnd: UInt32 = 148
    static let minimumRoundTripEnd: UInt32 = 152
    static let bytesAcknowledgedEnd: UInt32 = 128
    static let bytesReceivedEnd: UInt32 = 136
    static let sendWindowEnd: UInt32 = 232
}

extension SystemCall {
    /// With `sockets` and `pieces`.
    public static var streams: [Permission] {
        polling + [
            .setting(Int32(IPPROTO_IP), IP_BIND_ADDRESS_NO_PORT), .setting(SOL_SOCKET, SO_PEEK_OFF, SO_OOBINLINE, SO_KEEPALIVE),
            .setting(
                Int32(IPPROTO_TCP), TCP_NODELAY, TCP_QUICKACK, TCP_CONGESTION, TCP_USER_TIMEOUT, TCP_RTO_MAX_MS, TCP_KEEPIDLE, TCP_KEEPINTVL),
        ]
    }
}
