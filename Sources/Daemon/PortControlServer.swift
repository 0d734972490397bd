internal import Datapath
internal import Linux
internal import Settings
internal import Setup
internal import Wire

/// The other side of `--conf-path`: tells a client which ports are forwarded, takes what is to be forwarded instead, and answers when it is. One
/// client at a time, the others wait in the socket's queue. Nothing here waits or allocates.
struct PortControlServer: ~Copyable {
    private enum State: Equatable {
        case idle
        case receiving
        case updating
    }

    /// Nanoseconds that a client may take to say what it wants; and until a listener that could not accept is tried again.
    private static var patience: Int64 { 10_000_000_000 }
    private static var pause: Int64 { 100_000_000 }
    /// Nanoseconds for everybody else between two pieces of an update.
    private static var breath: Int64 { 200_000 }

    private let listener: Descriptor
    private var client = Descriptor.none
    private var buffer: Mapping
    private var count = 0
    private var state = State.idle
    /// When the state ends at the latest, in nanoseconds of the monotonic clock.
    private(set) var due = Int64.max
    private var isListening = true

    /// `listener` must be non-blocking, and be watched.
    init(_ listener: Descriptor) throws(Errno) {
        buffer = try Mapping(byteCount: max(PortControl.mostHelloBytes, PortControl.mostRequestBytes))
        self.listener = listener
    }

    static var systemCalls: [SystemCall.Permission] {
        SystemCall.accepting + SystemCall.sockets + SystemCall.datagramOptions + SystemCall.listening + SystemCall.naming + SystemCall.messages
    }

    /// To be called when the listener is readable.
    mutating func accept<Work: Worker & ~Copyable>(_ worker: inout Work) {
        guard state == .idle, isListening else { return }
        do throws(Errno) {
            guard let (socket, _) = try listener.accept() else { return }
            client = socket
            try worker.watch(client, number: Watched.controlClient)
        } catch {
            endClient()
            stopListening(&worker)
            due = monotonicNanoseconds() + Self.pause
            return
        }
        stopListening(&worker)
        state = .receiving
        due = monotonicNanoseconds() + Self.patience
        var bytes = buffer.mutableBytes
        let length = worker.writePortTables(to: &bytes)
        // A socket that is new has room for all of it.
        if client.send(buffer.bytes.extracting(0..<length)).count < length { return end(&worker) }
        count = 0
    }

    /// To be called when the client has sent something, or is gone.
    mutating func receive<Work: Worker & ~Copyable>(_ worker: inout Work) {
        guard state == .receiving else { return }
        while true {
            let taken: Int?
            do throws(Errno) { taken = try read() } catch { return end(&worker) }
            guard let taken else { return }
            // Gone.
            if taken == 0 { return end(&worker) }
            count += taken
            switch PortControl.state(ofRequest: buffer.bytes, count: count) {
            case .incomplete: continue
            case .impossible: return answer(PortControlAnswer(.unreadable), &worker)
            case .complete: return begin(&worker)
            }
        }
    }

    /// Another piece of the request; as `Descriptor.read`.
    private mutating func read() throws(Errno) -> Int? {
        let (client, start, size) = (client, count, buffer.byteCount)
        var room = buffer.mutableBytes
        var free = room._mutatingExtracting(start..<size)
        return try client.read(into: &free)
    }

    private mutating func begin<Work: Worker & ~Copyable>(_ worker: inout Work) {
        if let answer = worker.beginPortUpdate(buffer.bytes, count: count) { return self.answer(answer, &worker) }
        state = .updating
        due = 0
        // Whether it goes away or says more changes nothing any more.
        worker.unwatch(client)
    }

    /// What is to be done now, if anything is. Returns an answer that was given.
    mutating func proceed<Work: Worker & ~Copyable>(_ worker: inout Work, _ tell: (PortNews) -> Void) -> PortControlAnswer? {
        if due == .max { return nil }
        let now = monotonicNanoseconds()
        if now < due { return nil }
        switch state {
        case .updating:
            let answer = worker.continuePortUpdate(tell)
            // From now on: what was due before that is long over, and nobody else would have a turn.
            due = monotonicNanoseconds() + Self.breath
            guard let answer else { return nil }
            self.answer(answer, &worker)
            return answer
        case .receiving:
            answer(PortControlAnswer(.late), &worker)
        case .idle:
            end(&worker)
        }
        return nil
    }

    private mutating func answer<Work: Worker & ~Copyable>(_ answer: PortControlAnswer, _ worker: inout Work) {
        var bytes = buffer.mutableBytes
        answer.write(to: &bytes)
        // Whoever does not want to know is gone.
        _ = client.send(buffer.bytes.extracting(0..<PortControlAnswer.byteCount))
        end(&worker)
    }

    /// Everything is ready for the next client.
    private mutating func end<Work: Worker & ~Copyable>(_ worker: inout Work) {
        endClient()
        state = .idle
        due = .max
        if isListening { return }
        isListening = (try? worker.watch(listener, number: Watched.control)) != nil
        if !isListening { due = monotonicNanoseconds() + Self.pause }
    }

    private mutating func endClient() {
        client.close()
        client = .none
    }

    private mutating func stopListening<Work: Worker & ~Copyable>(_ worker: inout Work) {
        if isListening { worker.unwatch(listener) }
        isListening = false
    }
}
