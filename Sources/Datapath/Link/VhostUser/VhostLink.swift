// VhostUser: a virtual machine whose memory is shared with us (vhost-user). Its monitor, the front-end, is connected by a socket over which it sends messages
// only: where the memory is, which rings lie in it, which counters to wait for. Frames pass through the memory, without any system call but those that
// wake up who sleeps:
//
//     front-end --socket--> VhostMessages --> VhostDevice: memory, features, rings
//
//     guest     --> ring "from guest" (VirtQueue, DescriptorChain) --copied--> batch of frames          VhostLink+FromGuest
//               <-- ring "to guest"   <--copied-- frames of the slots                                   VhostLink+ToGuest
//               <-> kick, call: counters (eventfd), used only when the other side says that it wants to be woken up
//
// Before this process sleeps, it asks for kicks; before that, it looks at the rings whenever it has time (`hasNews`).
//
// The guest can write to all of that memory at any time. Numbers in it are loaded once and checked after that; frames are copied before they are looked at.
// A ring that holds something impossible is given up until the machine starts it anew.

internal import Linux
internal import Wire

struct VhostLink: GuestLink, ~Copyable {
    var connection: MachineConnection
    private var messages: VhostMessages
    var device = VhostDevice()
    var hasLostGuest = false
    var figures = LinkFigures()
    /// This machine's driver has put something impossible into a ring, and it was noted.
    private var hasToldBroken = false
    /// Somebody was told that there is no room for so many bytes; 0: nobody.
    var wantedRoom = 0
    /// Buffers of the frame that is being sent, and the chains that they belong to.
    var buffers: FixedTable<GuestBuffer>
    var chains: FixedTable<Chain>

    struct Chain: BitwiseCopyable {
        var head: UInt16
        var byteCount: Int
    }

    /// Buffers for one frame: the smallest ones that make sense.
    static var mostBuffers: Int { 1024 }
    /// Messages before others have their turn.
    private static var mostMessages: Int { 64 }

    /// As for `MachineLink`; the sockets are streams.
    init(listener: Descriptor, client: Descriptor, isOneOff: Bool) throws(Errno) {
        let messages = try VhostMessages()
        let buffers = try FixedTable<GuestBuffer>(count: VhostLink.mostBuffers)
        let chains = try FixedTable<Chain>(count: VhostLink.mostBuffers)
        self.messages = messages
        self.buffers = buffers
        self.chains = chains
        connection = MachineConnection(listener: listener, client: client, isOneOff: isOneOff)
    }

    var descriptor: Descriptor { connection.client }
    var hasGuest: Bool { connection.client.isOpen }
    var takesAnyLength: Bool { false }
    var offloads: LinkOffloads { device.offloads }
    /// Of both rings, and what one message may bring.
    var moreDescriptors: Int { 2 * 3 + PassedDescriptors.most }

    mutating func watch(by epoll: Epoll) throws(Errno) {
        try connection.watch(by: epoll, &figures)
        device.watch(by: epoll)
    }

    mutating func takeNotice() -> GuestNotice? { connection.takeNotice() }

    mutating func awaitAnother() -> Bool {
        hasLostGuest = false
        wantedRoom = 0
        hasToldBroken = false
        device.reset()
        messages.finish()
        return connection.end()
    }

    mutating func resume() { connection.resume() }

    mutating func takeTransfer() -> StateTransfer? { device.takeTransfer() }

    mutating func endTransfer(_ isDone: Bool) { device.endTransfer(isDone) }

    // MARK: The front-end

    mutating func attend(_ part: Int, _ events: Epoll.Events) -> LinkEvent {
        switch part {
        case MachineConnection.Part.listener: return connection.accept(&figures).intersection(.waits)
        case MachineConnection.Part.client where connection.client.isOpen: return serveMessages()
        case MachineConnection.Part.first + 1: device.fromGuest.queue.isKicked = true
        default: break  // The guest's buffers are looked at when there is something for them.
        }
        return []
    }

    /// The guest is there once its driver has started to receive, and not with its monitor.
    private mutating func serveMessages() -> LinkEvent {
        let wasRunning = device.toGuest.queue.isRunning
        var left = VhostLink.mostMessages
        while left > 0, device.transfer == nil, serveMessage() { left -= 1 }
        // A front-end that is gone wants no state any more.
        if hasLostGuest { return [] }
        if device.transfer != nil { return .transfer }
        return device.toGuest.queue.isRunning && !wasRunning ? [.arrived, .room] : []
    }

    /// False when there is none, or nobody any more.
    private mutating func serveMessage() -> Bool {
        switch messages.receive(on: connection.client) {
        case .message(let header): return serve(header)
        case .nothing: break
        case .ended: hasLostGuest = true
        case .broken: breakProtocol(0)
        }
        return false
    }

    /// False when the front-end cannot be understood, does not listen, or needs what the kernel refuses: then it has to go.
    private mutating func serve(_ header: VhostUserHeader) -> Bool {
        let result = device.serve(header, &messages)
        messages.finish()
        var isServed = false
        switch result {
        case .broken: break
        case .refused(let notice):
            connection.note(notice)
            hasLostGuest = true
            return false
        case .number(let number): isServed = messages.reply(to: header.request, number, on: connection.client)
        case .done: isServed = !header.needsReply || messages.reply(to: header.request, 0, on: connection.client)
        }
        if !isServed { breakProtocol(header.request) }
        return isServed
    }

    private mutating func breakProtocol(_ request: UInt32) {
        figures.brokeProtocol += 1
        connection.note(.brokeProtocol(request))
        hasLostGuest = true
    }

    /// A ring holds something impossible. Its front-end may want to know.
    mutating func tellBroken(_ ring: VhostDevice.Ring) {
        figures.brokeRing += 1
        // Once: a guest can do this as often as it likes, and what is noted goes to the host's log.
        if !hasToldBroken { connection.note(.brokeRing) }
        hasToldBroken = true
        ring.error.signal()
    }

    // MARK: Without events

    var hasNews: Bool { !findNews().isEmpty }

    mutating func takeNews() -> LinkEvent {
        let event = findNews()
        if event.contains(.room) { wantedRoom = 0 }
        return event
    }

    private func findNews() -> LinkEvent {
        var event: LinkEvent = []
        if hasLostGuest { return event }
        if device.fromGuest.queue.isWatched, !device.fromGuest.queue.isEmpty(device.memory) { event.insert(.frames) }
        if wantedRoom > 0, holds(wantedRoom) { event.insert(.room) }
        return event
    }

    mutating func prepareToWait() -> Bool {
        if device.fromGuest.queue.isWatched, !device.fromGuest.queue.askForKicks(&device.memory) { return false }
        if wantedRoom > 0, device.toGuest.queue.isRunning, !device.toGuest.queue.askForKicks(&device.memory) { return false }
        return !hasNews
    }
}
