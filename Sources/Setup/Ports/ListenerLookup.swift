internal import CLinux
public import Linux
internal import Wire

/// How to look up who listens in a namespace, opened from inside.
public struct ListenerLookup: Sendable {
    public let sockets: BoundSockets
    /// Ports that the namespace's kernel gives to whoever does not ask for a certain one.
    public let ephemeral: ClosedRange<UInt16>

    /// Of the namespace that this process is in. nil where the kernel lets us look in no way.
    public static func own() -> ListenerLookup? {
        guard let sockets = try? BoundSockets.open() else { return nil }
        return ListenerLookup(sockets: sockets, ephemeral: ListenerPlan.ephemeralPorts())
    }

    /// The helper's part: its own namespace's, for `receive` at the other end.
    public static func send(over channel: HelperChannel) throws(SetupError) {
        guard let own = own() else { return try channel.send([]) }
        try channel.send(own.encoded, own.sockets.descriptors.filter(\.isOpen))
    }

    /// Of the helper's namespace. nil where the kernel lets it look in no way.
    public static func receive(from channel: HelperChannel) throws(SetupError) -> ListenerLookup? {
        guard let message = try channel.receive() else { return nil }
        return ListenerLookup(message)
    }

    private init(sockets: BoundSockets, ephemeral: ClosedRange<UInt16>) {
        self.sockets = sockets
        self.ephemeral = ephemeral
    }

    // The way, which of the four descriptors follow, then first and last port.
    private var encoded: [UInt8] {
        let present = sockets.descriptors.enumerated().reduce(UInt8(0)) { $1.element.isOpen ? $0 | 1 << UInt8($1.offset) : $0 }
        let ends = [ephemeral.lowerBound, ephemeral.upperBound]
        return [sockets.way.rawValue, present] + ends.flatMap { [UInt8($0 >> 8), UInt8($0 & 255)] }
    }

    private init?(_ result: DescriptorMessage) {
        let bytes = result.bytes
        var given = result.descriptors[...]
        guard bytes.count == 6, let way = BoundSockets.Way(rawValue: bytes[0]) else { return nil }
        let first = UInt16(bytes[2]) << 8 | UInt16(bytes[3])
        let last = UInt16(bytes[4]) << 8 | UInt16(bytes[5])
        let descriptors = (0..<4).map { bytes[1] & 1 << UInt8($0) != 0 ? given.popFirst() ?? .none : .none }
        guard first <= last, descriptors[0].isOpen else { return nil }
        self.init(sockets: BoundSockets(way, descriptors), ephemeral: first...last)
    }
}
