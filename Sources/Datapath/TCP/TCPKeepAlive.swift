internal import Linux
internal import Wire

// A guest that has nothing to say may ask whether its connection still lives: by a segment that tells nothing new, numbered just before what is expected (RFC 9293,
// section 3.8.4). We answer for the far end, as for all that it has acknowledged. But what the guest wants to know, and to bring about, is on the path behind us: that
// the far end is still there, and that routers on the way do not forget the connection. So the socket asks in turn, as often as the guest does; its kernel gives the
// connection up when nothing comes back, and the guest hears of that by a reset.
//
//      guest  --probe-->   we  --probe-->   far end         every 60 s, say
//      guest  <--answer--  we  <--answer--  far end

extension TCPTranslator where Sockets: ~Copyable {
    /// Seconds between two unanswered probes, at most: what Linux waits by default.
    private static var longestInterval: UInt16 { 75 }

    /// Whether the guest asks for a sign of life.
    func isKeepAlive(_ header: TCPHeader, _ index: Int) -> Bool {
        header.sequence + 1 == table[index].expected && header.payloadLength <= 1 && !header.flags.contains(.fin)
    }

    /// Has the far end asked, too. To be called before `heardAt` tells of the probe. A guest whose window is closed may ask for that in the same way: Linux does where what
    /// it wants to send begins behind the window.
    mutating func askFarEnd(_ index: Int, now: Int64) {
        let connection = table[index]
        guard connection.windowEdge > connection.expected, connection.acknowledged == connection.expected, connection.socket.isOpen else { return }
        let silence = UInt32(truncatingIfNeeded: now) &- connection.heardAt
        let seconds = UInt16(clamping: max((silence + 500) / 1000, 1))
        // The first probe may follow a longer silence than those behind it.
        guard connection.keepAliveTime == 0 || seconds + 1 < connection.keepAliveTime else { return }
        table[index].keepAliveTime = min(seconds, UInt16(Int16.max))
        sockets.keepAlive(after: table[index].keepAliveTime, every: min(seconds, TCPTranslator.longestInterval), on: connection.socket)
    }
}
