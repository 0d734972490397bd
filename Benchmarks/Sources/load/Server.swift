internal import CLoad
internal import Synchronization

/// What finished jobs found out, for clients that ask.
final class Reports: Sendable {
    private let lines = Mutex<[UInt64: String]>([:])

    func put(_ id: UInt64, _ line: Line) { lines.withLock { $0[id] = line.json } }
    func take(_ id: UInt64) -> String? { lines.withLock { $0.removeValue(forKey: id) } }
}

/// Serves TCP and UDP on one port. Echoes are served in one loop, each bulk stream by a thread.
struct Server {
    private struct Connection {
        var request: Request?
        var received = 0
        var head = [UInt8](repeating: 0, count: Request.size)
    }

    private let listener: Socket
    private let epoll: Int32
    private var connections: [Connection?]
    private let reports = Reports()
    private var buffer = [UInt8](repeating: 0x62, count: 65536)

    init?(_ address: Address) {
        guard let listener = Socket.bound(SOCK_STREAM, address), let datagrams = Socket.bound(SOCK_DGRAM, address) else { return nil }
        self.listener = listener
        epoll = load_epoll()
        connections = Array(repeating: nil, count: 1 << 17)
        _ = load_blocking(listener.number, 0)
        _ = load_epoll_add(epoll, listener.number)
        let reports = reports
        Worker { DatagramServer(datagrams, reports).run() }.detach()
    }

    mutating func run() -> Never {
        var ready = [Int32](repeating: 0, count: 256)
        while true {
            let count = unsafe load_epoll_wait(epoll, &ready)  // SAFETY: the shim writes at most 256 numbers.
            for number in ready.prefix(max(0, Int(count))) {
                if number == listener.number { acceptAll() } else { serve(Socket(number: number)) }
            }
        }
    }

    private mutating func acceptAll() {
        while true {
            let socket = Socket(number: load_accept(listener.number))
            guard socket.isOpen, Int(socket.number) < connections.count else { return }
            socket.setNoDelay()
            connections[Int(socket.number)] = Connection()
            _ = load_epoll_add(epoll, socket.number)
            serve(socket)  // The request often is there already.
        }
    }

    private mutating func serve(_ socket: Socket) {
        let place = Int(socket.number)
        guard connections[place] != nil else { return }
        if let request = connections[place]?.request {
            echo(socket, place, request)
            return
        }
        let have = connections[place]?.received ?? 0
        let count = connections[place]?.head.withUnsafeCount { socket.receive(&$0, at: have) } ?? -1
        if count == -Int(EAGAIN) { return }
        guard count > 0 else { return end(socket) }
        connections[place]?.received += count
        guard have + count == Request.size else { return }
        guard let request = Request(connections[place]?.head ?? [], count: Request.size) else { return end(socket) }
        start(socket, place, request)
    }

    private mutating func start(_ socket: Socket, _ place: Int, _ request: Request) {
        switch request.job {
        case .echo:
            connections[place]?.request = request
            connections[place]?.received = 0
            _ = socket.send(buffer, count: 1)  // Ready.
        case .echoOnce:
            _ = socket.send(buffer, count: Int(request.messageSize))
            end(socket)
        case .report:
            let text = Array((reports.take(request.id) ?? "").utf8)
            _ = socket.send(text, count: text.count)
            end(socket)
        case .sink, .source, .checkedSink, .checkedSource:
            load_epoll_remove(epoll, socket.number)
            connections[place] = nil
            socket.setBlocking()
            socket.setCongestion(request.congestion)
            let reports = reports
            Worker { reports.put(request.id, Self.transfer(socket, request)) }.detach()
        }
    }

    private static func transfer(_ socket: Socket, _ request: Request) -> Line {
        switch request.job {
        case .source: Flow.source(socket, until: load_now() + Int64(clamping: request.amount))
        case .checkedSource: Flow.checkedSource(socket, bytes: Int(clamping: request.amount), seed: request.id)
        case .checkedSink: Flow.checkedSink(socket, seed: request.id)
        default: Flow.sink(socket)
        }
    }

    private mutating func echo(_ socket: Socket, _ place: Int, _ request: Request) {
        let size = Int(request.messageSize)
        let count = socket.receive(&buffer)
        if count == -Int(EAGAIN) { return }
        guard count > 0 else { return end(socket) }
        var received = (connections[place]?.received ?? 0) + count
        while received >= size {
            _ = socket.send(buffer, count: size)
            received -= size
        }
        connections[place]?.received = received
    }

    private mutating func end(_ socket: Socket) {
        connections[Int(socket.number)] = nil
        socket.close()
    }
}

extension [UInt8] {
    /// Lends the array to be filled in place.
    fileprivate mutating func withUnsafeCount(_ body: (inout [UInt8]) -> Int) -> Int { body(&self) }
}
