import Wire

@testable import Datapath

/// What must hold for every segment that the translator sends on one flow.
struct FlowChecks {
    var start: SequenceNumber?
    var isFar = false
    /// Another connection has used the same ends before, whose last segments may still come.
    var isSuccessor = false

    init(isFar: Bool, isSuccessor: Bool = false) {
        self.isFar = isFar
        self.isSuccessor = isSuccessor
    }

    /// One behind the highest position sent.
    private var highest = 0
    private var acknowledged = 0
    private var edge = 0
    /// One behind the highest position of the guest's that has come.
    private var seen = 0
    private var guestAcknowledged = 0
    /// The guest's window as the translator has heard it at its largest.
    private var guestEdge = 1 << 40
    private var heardWindow = false

    /// A segment of the guest reaches the translator.
    mutating func arrives(_ header: TCPHeader, count: Int, _ guest: ModelGuest) {
        guard let start, header.flags.contains(.ack), !header.flags.contains(.rst) else { return }
        let shift = header.flags.contains(.syn) ? 0 : guest.scale ?? 0
        let length = count + (header.flags.contains(.fin) ? 1 : 0)
        // What acknowledges something very old is not heeded (RFC 5961, section 5.2).
        guestAcknowledged = max(guestAcknowledged, header.acknowledgment - start)
        if length > 0, guestAcknowledged - (header.acknowledgment - start) <= 65535 << shift {
            seen = max(seen, header.sequence - SequenceNumber(guest.start) + length)
        }
        let heard = header.acknowledgment - start + Int(header.window) << shift
        guestEdge = heardWindow ? max(guestEdge, heard) : heard
        heardWindow = true
    }

    /// What is wrong with `segment`, if anything.
    mutating func check(_ segment: SeenSegment, _ guest: ModelGuest, _ socket: HostSocket) -> String? {
        guard let header = segment.header else { return nil }
        if header.flags.contains(.rst) { return nil }
        if header.flags.contains(.syn) {
            if start == nil { start = header.sequence }
            if header.flags.contains(.ack) {
                acknowledged = 1
                edge = 1 + Int(header.window)
            }
            highest = max(highest, 1)
            return start == header.sequence || socket.closes > 0 ? nil : "another initial number"
        }
        guard let start else { return isSuccessor ? nil : "data before SYN" }
        if socket.closes > 0, !socket.isOpen, highest == 0 { return nil }
        if !header.flags.contains(.ack) { return "no ACK" }
        let position = header.sequence - start
        let end = position + segment.payload.count
        let told = header.acknowledgment - SequenceNumber(guest.start)
        if told < acknowledged { return "acknowledgement goes back from \(acknowledged) to \(told)" }
        let taken = socket.taken.count + 1 + (socket.isFinished || socket.closes > 0 ? 1 : 0)
        if told > taken { return "acknowledges \(told), but the socket took \(taken)" }
        if isFar, socket.closes == 0, told > socket.drained + 1 + (socket.isFinished && socket.queued == 0 ? 1 : 0) {
            return "acknowledges \(told), but the far end has \(socket.drained + 1)"
        }
        let isProgress = told > acknowledged
        acknowledged = told
        let newEdge = told + segment.window << (guest.scale == nil ? 0 : 8)
        // Behind the guest's FIN, there is no more window to speak of. What has come behind something that is missing may end it.
        if newEdge < edge - 255, socket.isOpen, !(isProgress && newEdge >= seen && seen > told) { return "window goes back from \(edge) to \(newEdge)" }
        edge = isProgress ? newEdge : max(edge, newEdge)
        if position > highest { return "a gap: \(position) behind \(highest)" }
        if !segment.payload.isEmpty {
            if position < 1 || end - 1 > socket.arrived.count { return "bytes that never came" }
            if segment.payload != Array(Stream.toGuest[(position - 1)..<(end - 1)]) { return "wrong bytes at \(position)" }
            if end > guestEdge, segment.payload.count > 1 { return "\(end) is beyond the guest's window to \(guestEdge)" }
        }
        if header.flags.contains(.fin) {
            if !socket.hasFin || end - 1 != socket.arrived.count { return "an end at \(end - 1), of \(socket.arrived.count)" }
        }
        highest = max(highest, end + (header.flags.contains(.fin) ? 1 : 0))
        return nil
    }
}
