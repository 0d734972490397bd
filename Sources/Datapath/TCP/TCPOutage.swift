internal import Linux

// How soon a path that was gone is used again.
//
// Nobody tells a sender that the path is back: it finds out by sending again, and the kernel waits twice as long each time, up to two minutes. Who was cut
// off for ten seconds is cut off for up to ten more. While nothing comes back, the longest wait is therefore kept at a fifth of the outage so far, and at
// two round trips and a second at least, so that no answer is overtaken:
//
//      outage    1 .. 10 s    10 s    30 s    90 s    10 min
//      at most         1 s     2 s     6 s    18 s    117 s; the system says 120
//
// The waits still grow with the outage, by a fifth of it instead of all of it, and a network in trouble gets a segment per connection and second at most.
// RFC 6298 (section 2.5) wants no limit below a minute: it is left here on purpose, for what users see. Linux lets a socket have a limit of its own since
// version 6.15; before, all stays as the kernel does it.

extension TCPTranslator where Sockets: ~Copyable {
    /// Milliseconds until a socket is looked at whose peer has owed an acknowledgement for that long; one that has none to send is not looked at.
    static func checkInterval(after silence: UInt32) -> Int64 { 1000 + Int64(silence) / 4 }
    /// Seconds between two tries, as the kernel has it by itself.
    private static var largestLimit: UInt32 { 120 }

    /// What a look at the socket has told. Two calls when an outage is noticed, when it has become a quarter longer, and when it is over.
    mutating func attendOutage(_ index: Int, _ path: TCPPath, now: Int64) {
        guard table[index].events.contains(.established) else { return }
        // A window that was closed behind data: the kernel gives up after twice the longest timeout there (`tcp_rtx_probe0_timed_out`).
        guard path.timeouts > 0, path.sendWindow != 0 else { return endOutage(index) }
        if table[index].timeoutLimit == 0 { table[index].outageSince = UInt32(truncatingIfNeeded: now) }
        let connection = table[index]
        let outage = (UInt32(truncatingIfNeeded: now) &- connection.outageSince) / 5000
        let limit = UInt8(truncatingIfNeeded: min(max(outage, path.roundTrip / 500_000 + 1), TCPTranslator.largestLimit))
        guard limit > connection.timeoutLimit + connection.timeoutLimit / 4 else { return }
        if sockets.limitTimeout(limit, on: connection.socket) { table[index].timeoutLimit = limit }
    }

    /// What the socket does from here on is the system's matter again.
    mutating func endOutage(_ index: Int) {
        guard table[index].timeoutLimit > 0, sockets.limitTimeout(nil, on: table[index].socket) else { return }
        table[index].timeoutLimit = 0
    }

    /// The program ends, and the kernel goes on with what its sockets still have to send.
    mutating func endOutages() {
        for index in 0..<table.highWater where table.isUsed(index) { endOutage(index) }
    }
}

/// For how long the kernel tries to reach a peer that is silent.
///
/// It makes a time of the number that the system allows (`net.ipv4.tcp_retries2`), by the longest timeout, and compares that with how long the peer has been silent: with a
/// second at most, fifteen retransmissions are 14 seconds instead of 15 minutes. So the time that they stand for in this system is set explicitly.
struct Patience {
    private let retries: Int
    /// What a timeout doubles up to by itself, in milliseconds; 0 where the kernel does not tell, nil before it was asked.
    private var systemLimit: Int32?
    /// The timeout that the kernel reckons with, in milliseconds (`TCP_RTO_MIN`).
    private static var first: Int64 { 200 }

    init(retries: Int) { self.retries = min(max(retries, 1), 255) }

    /// Milliseconds that so many retransmissions take, as in the kernel's `tcp_model_timeout`: each waits twice as long as the one before, up to `limit`.
    static func span(of retries: Int, limit: Int64) -> Int64 {
        var (sum, timeout) = (Int64(0), first)
        for _ in 0...retries {
            sum += min(timeout, limit)
            timeout = min(timeout * 2, limit)
        }
        return sum
    }

    /// See `HostSockets`.
    mutating func limitTimeout(_ seconds: UInt8?, on socket: Descriptor) -> Bool {
        let system = systemLimit ?? socket.longestTimeout() ?? 0
        systemLimit = system
        guard system > 0 else { return false }
        guard let seconds else { return Patience.forget(system, socket) }
        do throws(Errno) {
            // First, since the next timeout may be counted right away.
            try socket.setUserTimeout(Int32(clamping: Patience.span(of: retries, limit: Int64(system))))
            try socket.setLongestTimeout(min(Int32(seconds) * 1000, system))
            return true
        } catch {
            _ = Patience.forget(system, socket)
            return false
        }
    }

    private static func forget(_ system: Int32, _ socket: Descriptor) -> Bool {
        (try? socket.setLongestTimeout(system)) != nil && (try? socket.setUserTimeout(0)) != nil
    }
}
