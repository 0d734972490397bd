import Foundation
import Glibc
import Linux
import Testing
import Wire

@testable import Datapath

/// A client and a server on loopback, with a spliced connection between them.
struct SpliceLab: ~Copyable {
    let epoll: Epoll
    var events: EventList
    var transfer: SpliceTransfer
    var counters = Counters()
    var now: Int64 = 1000
    private let entrance: Descriptor
    private let service: Descriptor

    init(mostPipes: Int? = nil) throws {
        let epoll = try Epoll()
        let events = try EventList(capacity: 64)
        var transfer = try SpliceTransfer(epoll: epoll, capacity: 256, mostPipes: mostPipes)
        let entrance = try Self.listener()
        let service = try Self.listener()
        transfer.prepare()
        self.epoll = epoll
        self.events = events
        self.transfer = transfer
        self.entrance = entrance
        self.service = service
    }

    deinit {
        entrance.close()
        service.close()
        epoll.descriptor.close()
    }

    static let loopback = IPAddress(IPv4Address.loopback)

    private static func listener() throws -> Descriptor {
        let socket = try Descriptor.socket(.stream, for: loopback)
        // As `ListenerSocket`.
        socket.prepareStream()
        try socket.bind(SocketAddress(Endpoint(loopback, 0)))
        try socket.listen()
        return socket
    }

    /// Both ends of a new connection.
    mutating func connect() throws -> (client: Descriptor, server: Descriptor) {
        let client = try Descriptor.socket(.stream, for: Self.loopback)
        _ = try client.connect(try entrance.localAddress())
        let (near, _) = try #require(try entrance.accept())
        let far = try Descriptor.socket(.stream, for: Self.loopback)
        far.prepareStream()
        try transfer.open(near: near, far: far, to: try service.localAddress(), &counters)
        run()
        let (server, _) = try #require(try service.accept())
        return (client, server)
    }

    /// A client whose connection leads to where nobody listens.
    mutating func connectToNobody() throws -> Descriptor {
        let nobody = try Descriptor.socket(.stream, for: Self.loopback)
        try nobody.bind(SocketAddress(Endpoint(Self.loopback, 0)))
        defer { nobody.close() }
        let client = try Descriptor.socket(.stream, for: Self.loopback)
        _ = try client.connect(try entrance.localAddress())
        let (near, _) = try #require(try entrance.accept())
        let far = try Descriptor.socket(.stream, for: Self.loopback)
        try transfer.open(near: near, far: far, to: try nobody.localAddress(), &counters)
        return client
    }

    /// An accepted connection that is not spliced yet, and its client.
    func accept() throws -> (client: Descriptor, near: Descriptor) {
        let client = try Descriptor.socket(.stream, for: Self.loopback)
        _ = try client.connect(try entrance.localAddress())
        return (client, try #require(try entrance.accept()).0)
    }

    /// Handles events until there are none. How many there were.
    @discardableResult
    mutating func run() -> Int {
        var handled = 0
        for _ in 0..<10_000 {
            guard (try? events.wait(on: epoll, nanoseconds: 0)) != nil else { break }
            if events.count == 0, !transfer.hasMore { return handled }
            for index in 0..<events.count {
                let event = events[index]
                let tag = EventTag(bits: event.tag)
                if transfer.isCurrent(tag) { transfer.handle(tag, event.events, &counters, now: now) }
                handled += 1
            }
            transfer.endRound(&counters, now: now)
        }
        Issue.record("no end of events")
        return handled
    }
}

extension Descriptor {
    func write(_ bytes: [UInt8]) -> Int { unsafe bytes.withUnsafeBytes { unsafe Glibc.write(number, $0.baseAddress, $0.count) } }

    /// A read finds nothing, and no end.
    var receiveNothing: Bool {
        var byte: UInt8 = 0
        return unsafe Glibc.read(number, &byte, 1) < 0
    }

    /// As much as the kernel takes.
    func sendSome(_ bytes: ArraySlice<UInt8>, flags: Int32 = 0) -> Int {
        unsafe bytes.withUnsafeBytes { unsafe Glibc.send(number, $0.baseAddress, $0.count, flags | 0x4040) }
    }

    /// What is there; `isEnd` tells the end, `error` a reset.
    func receiveSome() -> (bytes: [UInt8], isEnd: Bool, error: Int32) {
        var result: [UInt8] = []
        var buffer = [UInt8](repeating: 0, count: 65536)
        while true {
            let count = unsafe recv(number, &buffer, buffer.count, 0x40)
            if count == 0 { return (result, true, 0) }
            if count < 0 { return (result, false, errno == EAGAIN ? 0 : errno) }
            result += buffer[0..<count]
        }
    }
}
