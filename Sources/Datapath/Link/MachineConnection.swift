internal import Linux

/// The connection of a virtual machine: an inherited one, or those that come to a listener, one at a time. Who else comes meanwhile is turned away.
struct MachineConnection: BitwiseCopyable {
    /// Indices of event tags.
    enum Part {
        static var client: Int { 0 }
        static var listener: Int { 1 }
        /// From here on they are the link's own.
        static var first: Int { 2 }
    }

    /// Where machines connect; none with an inherited connection.
    private let listener: Descriptor
    private(set) var client: Descriptor
    private let endsWithGuest: Bool
    private var epoll: Epoll?
    /// One bit for each kind of notice.
    private var notices: UInt8 = 0
    /// What the kernel has refused: the first of which nobody has heard.
    private var refusal: GuestNotice?

    /// With a `listener`, machines connect to it, and after the first one no other if `isOneOff`; with a `client`, that is the machine.
    init(listener: Descriptor, client: Descriptor, isOneOff: Bool) {
        self.listener = listener
        self.client = client
        endsWithGuest = isOneOff || !listener.isOpen
    }

    /// Begins to be watched, and an inherited connection with it.
    mutating func watch(by epoll: Epoll, _ figures: inout LinkFigures) throws(Errno) {
        self.epoll = epoll
        if listener.isOpen { try epoll.add(listener, .input, tag: EventTag(.link, index: Part.listener).bits) }
        if client.isOpen { try begin(client, &figures) }
    }

    /// Somebody connects: `arrived` when it is the machine now, because there was none.
    mutating func accept(_ figures: inout LinkFigures) -> LinkEvent {
        // Its successor is here before we have read its last words: it waits where it is until that is done.
        if client.isOpen, client.hasHungUp { return [] }
        let socket: Descriptor
        do throws(Errno) {
            guard let (next, _) = try listener.accept() else { return [] }
            socket = next
        } catch {
            // What went wrong with one connection says nothing of the next (accept(2)).
            guard error.isLackOfResources else { return [] }
            watchListener(false)
            return .waits
        }
        do throws(Errno) {
            if client.isOpen {
                figures.turnedAway += 1
                note(.turnedAway)
            } else {
                try begin(socket, &figures)
                note(.arrived)
                return .arrived
            }
        } catch {
            note(.unwatched(error))
        }
        socket.close()
        return []
    }

    /// After `waits`.
    func resume() { if listener.isOpen { watchListener(true) } }

    private func watchListener(_ on: Bool) {
        try? epoll?.modify(listener, on ? .input : [], tag: EventTag(.link, index: Part.listener).bits)
    }

    /// Takes in a machine's socket, from now on ours to close.
    private mutating func begin(_ socket: Descriptor, _ figures: inout LinkFigures) throws(Errno) {
        // Level-triggered (lesson 40): what one read leaves is found by the next wait.
        try epoll?.add(socket, .input, tag: EventTag(.link, index: Part.client).bits)
        client = socket
        figures.guests += 1
    }

    /// Whether readiness to write is of interest, too.
    func watchOutput(_ on: Bool) {
        try? epoll?.modify(client, on ? [.input, .output] : .input, tag: EventTag(.link, index: Part.client).bits)
    }

    /// The machine has gone. Whether another one may come.
    mutating func end() -> Bool {
        // Somebody else may hold the same socket, which epoll would then go on to watch.
        try? epoll?.remove(client)
        client.close()
        client = .none
        note(.left)
        return !endsWithGuest
    }

    // MARK: Notices

    /// In the order in which they make sense when several came in one round.
    private static var order: InlineArray<5, GuestNotice> {
        [.brokeFraming, .brokeRing, .left, .arrived, .turnedAway]
    }

    mutating func note(_ notice: GuestNotice) {
        for index in 0..<5 where MachineConnection.order[index] == notice {
            notices |= 1 << UInt8(index)
            return
        }
        if refusal == nil { refusal = notice }
    }

    mutating func takeNotice() -> GuestNotice? {
        // Why a machine has left, or has not come.
        if let first = refusal {
            refusal = nil
            return first
        }
        if notices == 0 { return nil }
        let index = notices.trailingZeroBitCount
        notices &= notices - 1
        return MachineConnection.order[index]
    }
}
