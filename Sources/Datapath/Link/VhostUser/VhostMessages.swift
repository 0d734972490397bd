internal import Linux
internal import Wire

/// Messages of a front-end as they come over its socket, whole or in pieces, with the descriptors beside them.
struct VhostMessages: ~Copyable {
    enum Step {
        /// Its body lies in `buffer`, at `body`.
        case message(VhostUserHeader)
        /// No more for now.
        case nothing
        case ended
        case broken
    }

    private(set) var buffer: Mapping
    var descriptors = PassedDescriptors()
    private var header: VhostUserHeader?
    private var received = 0

    static var body: Int { VhostUserHeader.length }
    private static var reply: Int { VhostUserHeader.length + VhostUserHeader.longestBody }

    init() throws(Errno) { buffer = try Mapping(byteCount: 4096) }

    /// Takes the next message, which ends with `finish`.
    mutating func receive(on socket: Descriptor) -> Step {
        while true {
            let wanted = VhostMessages.body + Int(header?.size ?? 0)
            let outcome = received == wanted
                ? Outcome(1) : descriptors.receive(on: socket, into: &buffer, offset: received, length: wanted - received)
            if outcome.wouldBlock { return .nothing }
            guard outcome.raw > 0 else { return outcome.raw == -24 ? .broken : .ended }  // EMFILE: more descriptors than any message has
            if received < wanted { received += outcome.count }
            if received < wanted { continue }
            if let header { return .message(header) }
            header = VhostUserHeader(buffer.bytes)
            if header == nil { return .broken }
        }
    }

    /// Done with the message. Descriptors that nobody took are closed.
    mutating func finish() {
        header = nil
        received = 0
        descriptors.closeAll()
    }

    /// Answers with a number. False when it does not leave at once: a front-end waits for answers, and has little in its queue.
    mutating func reply(to request: UInt32, _ number: UInt64, on socket: Descriptor) -> Bool {
        var bytes = buffer.mutableBytes
        VhostUserHeader(replyTo: request, size: 8).write(to: &bytes, at: VhostMessages.reply)
        bytes.storeNative(number, at: VhostMessages.reply + VhostUserHeader.length)
        let length = VhostUserHeader.length + 8
        return socket.write(from: buffer, offset: VhostMessages.reply, length: length).count == length
    }
}
