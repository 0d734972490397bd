internal import Linux

// Who decides how long slow start lasts.
//
// CUBIC ends slow start early where a round's acknowledgements come spread over half a round trip (HyStart's "ACK train", tcp_cubic.c; RFC 9406
// names its successor): to it, that is a queue on the path. On the host's socket it is none. What the socket sends has come from the guest, whose own
// slow start has spread it already, and a path that reorders or jitters spreads it more; the socket then leaves slow start at a fraction of what the
// path carries, and no later acknowledgement mends that. The guest's stack sees the path's own acknowledgements and decides by them, and the socket's
// window cannot grow beyond twice what the guest sends (`tcp_is_cwnd_limited`). So one of the two is enough, and it is the guest's:
//
//      CUBIC  --a far connection outgrows its initial window-->  NewReno  --slow start has ended, and nothing is being repaired-->  CUBIC
//
// NewReno's slow start lasts until something is lost. CUBIC returns once the loss is repaired and not before: with it the kernel forgets what it would
// go back to if the loss turns out to be none (`tcp_init_congestion_control`). Other congestion controls are left alone.

extension TCPTranslator where Sockets: ~Copyable {
    /// Segments of an initial window (RFC 6928). Requests do not outgrow it, so they cost nothing here; and HyStart begins at sixteen.
    private static var initialWindow: UInt32 { 10 }

    /// What a look at the socket has told. Two calls per connection that outgrows its initial window, and one when its slow start has ended.
    mutating func attendSlowStart(_ index: Int, _ path: TCPPath) {
        let connection = table[index]
        if connection.events.contains(.guestDecidesSlowStart) {
            guard path.hasLeftSlowStart, !path.isRepairing else { return }
            _ = sockets.setHyStart(true, on: connection.socket)
            table[index].events.remove(.guestDecidesSlowStart)
            table[index].events.insert(.keepsCongestionControl)
        } else if !connection.isNear, !path.hasLeftSlowStart, path.congestionWindow > TCPTranslator.initialWindow,
            !connection.events.contains(.keepsCongestionControl)
        {
            table[index].events.insert(sockets.setHyStart(false, on: connection.socket) ? .guestDecidesSlowStart : .keepsCongestionControl)
        }
    }
}
