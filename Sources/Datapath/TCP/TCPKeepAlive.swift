internal import Linux
internal import Wire

// A guest that has nothing to say may ask whether its connection still lives: by a segment that tells nothing new, numbered just before what is expected (RFC 9293,
// section 3.8.4). We answer for the far end, as for all that it has acknowledged. But what the guest wants to know, and to bring about, is on the path behind us: that
// the far end is still there, and that routers on the way do not forget the connection. So the socket asks in turn, as often as the guest does; its kernel gives the
// connection up when nothing comes back, and the guest hears of that by a reset.
//
//      guest  --probe-->   we  --probe-->   far end         every 60 s, say
//      guest  <--answer--  we  <--answer--  far end
//
// How often that is, is told by the silence before a probe. Other segments can look the same: a byte that is sent again, a question for the window that our answer
// to the last one has crossed; and probes that have waited somewhere come together. So a short silence has to be seen twice in a row, a long one only to be changed.

extension TCPTranslator where Sockets: ~Copyable {
    /// Seconds between two unanswered probes, at most: what Linux waits by default.
    private static var longestInterval: UInt16 { 75 }
    /// Seconds of silence before what is certainly a probe.
    private static var certainSilence: UInt16 { 30 }

    /// Whether the guest asks for a sign of life.
    func isKeepAlive(_ header: TCPHeader, _ index: Int) -> Bool {
        header.sequence + 1 == table[index].expected && header.payloadLength <= 1 && !header.flags.contains(.fin)
    }

    /// Has the far end asked, too. To be called before `heardAt` tells of the probe. A guest whose window is closed may ask for that in the same way: Linux does where what
    /// it wants to send begins behind the window.
    mutating func askFarEnd(_ index: Int, now: Int64) {
        let connection = table[index]
        guard connection.windowEdge > connection.expected, connection.acknowledged == connection.expected, connection.socket.isOpen else { return }
        let seconds = TCPTranslator.seconds(UInt32(truncatingIfNeeded: now) &- connection.heardAt)
        guard seconds > 0 else { return }
        table[index].silence = seconds
        let isCertain = connection.keepAliveTime == 0 && seconds >= TCPTranslator.certainSilence
        guard isCertain || TCPTranslator.isAbout(seconds, connection.silence), !TCPTranslator.isAbout(seconds, connection.keepAliveTime) else { return }
        table[index].keepAliveTime = seconds
        sockets.keepAlive(after: seconds, every: min(seconds, TCPTranslator.longestInterval), on: connection.socket)
    }

    /// Rounded, and as much as the kernel takes at most.
    @_noAllocation @_noLocks
    static func seconds(_ milliseconds: UInt32) -> UInt16 { UInt16(truncatingIfNeeded: min(milliseconds / 1000 + (milliseconds % 1000 >= 500 ? 1 : 0), 32_767)) }

    /// The same but for what timers do: a second, or an eighth.
    @_noAllocation @_noLocks
    private static func isAbout(_ a: UInt16, _ b: UInt16) -> Bool {
        b > 0 && (a > b ? a - b : b - a) <= Swift.max(a / 8, 1)
    }
}
