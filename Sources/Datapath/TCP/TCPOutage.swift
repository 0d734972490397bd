internal import Linux

// How soon a path that was gone is used again.
//
// Nobody tells a sender that the path is back: it finds out by sending again, and the kernel waits twice as long each time, up to two minutes. Who was cut
// off for ten seconds is cut off for up to ten more. While nothing comes back, the longest wait is therefore kept at a fifth of the silence so far:
//
//      silence   0.2 .. 5 s    10 s    30 s    100 s    10 min
//      at most          1 s     2 s     6 s     20 s     2 min, as the system says
//
// The waits still grow with the silence, by a fifth of it instead of all of it, and a network in trouble gets a segment per connection and second at most.
// RFC 6298 (section 2.5) wants no limit below a minute: it is left here on purpose, for what users see. Linux lets a socket have a limit of its own since
// version 6.15; before, all stays as the kernel does it.

extension TCPTranslator where Sockets: ~Copyable {
    /// Seconds between two tries, as the kernel has it by itself.
    private static var largestLimit: UInt32 { 120 }

    /// What a look at the socket has told. Two or three calls per outage at first, and one for each quarter that it lasts longer.
    mutating func attendOutage(_ index: Int, _ path: TCPPath) {
        let connection = table[index]
        guard connection.events.contains(.established) else { return }
        // A window that was closed behind data: the kernel gives up after twice the longest timeout there (`tcp_rtx_probe0_timed_out`).
        guard path.timeouts > 0, path.sendWindow != 0 else {
            if connection.timeoutLimit > 0 { endOutage(index) }
            return
        }
        let limit = UInt8(truncatingIfNeeded: min(max(path.silence / 5000, 1), TCPTranslator.largestLimit))
        guard limit > connection.timeoutLimit + connection.timeoutLimit / 4 else { return }
        if sockets.limitTimeout(limit, on: connection.socket) { table[index].timeoutLimit = limit }
    }

    private mutating func endOutage(_ index: Int) {
        table[index].timeoutLimit = 0
        _ = sockets.limitTimeout(nil, on: table[index].socket)
    }

}

/// How long the kernel tries to reach a peer that is silent, and how often.
///
/// It counts tries, and would give a connection up much earlier if they followed each other faster. So while they do, the time is set that the system's own
/// count stands for.
struct Patience {
    private let retransmissions: Int
    /// What a timeout doubles up to by itself, in milliseconds; 0 where the kernel does not tell, nil before it was asked.
    private var systemLimit: Int32?
    /// The timeout that the kernel reckons with, in milliseconds (`TCP_RTO_MIN`).
    private static var first: Int64 { 200 }

    init(retransmissions: Int) { self.retransmissions = min(max(retransmissions, 1), 255) }

    /// Milliseconds that `retransmissions` take from the first on, as in the kernel's `tcp_model_timeout`: each waits twice as long as the one
    /// before, up to `limit`.
    static func span(of retransmissions: Int, limit: Int64) -> Int64 {
        var (sum, timeout) = (Int64(0), first)
        for _ in 0...retransmissions {
            sum += min(timeout, limit)
            timeout = min(timeout * 2, limit)
        }
        return sum
    }

    mutating func limitTimeout(_ seconds: UInt8?, on socket: Descriptor) -> Bool {
        let system = systemLimit ?? socket.longestTimeout() ?? 0
        systemLimit = system
        guard system > 0 else { return false }
        do throws(Errno) {
            if let seconds {
                // First, since the next timeout may be counted right away.
                try socket.setUserTimeout(Int32(clamping: Patience.span(of: retransmissions, limit: Int64(system))))
                try socket.setLongestTimeout(min(Int32(seconds) * 1000, system))
            } else {
                try socket.setLongestTimeout(system)
                try socket.setUserTimeout(0)
            }
            return true
        } catch {
            try? socket.setUserTimeout(0)
            return false
        }
    }
}
