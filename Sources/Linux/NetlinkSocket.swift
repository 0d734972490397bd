internal import CLinux
internal import Wire

/// A conversation with the kernel's routing tables. Open one, use it, let it go; it holds what belongs to one namespace.
///
/// Answers count only if the kernel sent them, to this socket, for the request that is waiting: sequence
/// number and port must match. A dump that the kernel says was interrupted by a change is repeated.
public struct NetlinkSocket: ~Copyable {
    private let descriptor: Descriptor
    private let port: UInt32
    private var sequence: UInt32 = 1
    /// The kernel fills at most 32 KiB per datagram of a dump.
    private var buffer = [UInt8](repeating: 0, count: 65536)

    /// Requests sent at once. Their errors must fit into the socket's receive buffer, since nobody reads meanwhile.
    static let batchLimit = 64
    /// Dumps of tables that change all the time are taken as they are after so many tries.
    private static let dumpAttempts = 16

    /// Opens a socket in the calling thread's network namespace.
    public init() throws(Errno) {
        (descriptor, port) = try Descriptor.netlink(groups: 0, nonBlocking: false)
        // Filtered dumps (since 4.20), and errors without a copy of the request. Nothing depends on either.
        descriptor.setNetlinkOption(Int32(NETLINK_GET_STRICT_CHK))
        descriptor.setNetlinkOption(Int32(NETLINK_CAP_ACK))
    }

    deinit { descriptor.close() }

    /// All interfaces, in the order of their indexes.
    public mutating func links() throws(Errno) -> [Link] {
        var request = NetlinkBatch()
        request.getLinks()
        return try dump(request) { bytes, header in Link(bytes, header) }
    }

    /// The interface of that name, or nil.
    public mutating func link(named name: String) throws(Errno) -> Link? {
        guard !name.isEmpty, name.utf8.count < Int(IFNAMSIZ) else { return nil }
        var request = NetlinkBatch()
        request.getLinks(named: name)
        do throws(Errno) {
            return try ask(request) { bytes, header in Link(bytes, header) }.first { $0.name == name }
        } catch {
            if error.code == ENODEV { return nil }
            throw error
        }
    }

    /// The addresses of all interfaces, of one family or both.
    public mutating func addresses(_ family: IPFamily? = nil) throws(Errno) -> [InterfaceAddress] {
        var request = NetlinkBatch()
        request.getAddresses(family)
        return try dump(request) { bytes, header in InterfaceAddress(bytes, header) }
            .filter { family == nil || $0.family == family }
    }

    /// One table of routes, without cached exceptions. A table that does not exist is empty.
    public mutating func routes(_ family: IPFamily, table: UInt32 = Route.mainTable) throws(Errno) -> [Route] {
        var request = NetlinkBatch()
        request.getRoutes(family, table: table)
        do throws(Errno) {
            return try dump(request) { bytes, header in
                guard let route = Route(bytes, header) else { return nil }
                return route.family == family && route.table == table && !route.isCloned ? route : nil
            }
        } catch {
            if error.code == ENOENT { return [] }
            throw error
        }
    }

    /// The neighbour table, of one family and interface or of all.
    public mutating func neighbours(_ family: IPFamily? = nil, index: Int32? = nil) throws(Errno) -> [Neighbour] {
        var request = NetlinkBatch()
        request.getNeighbours(family, index: index)
        return try dump(request) { bytes, header in Neighbour(bytes, header) }
            .filter { (index == nil || $0.index == index) && (family == nil || $0.address.isIPv4 == (family == .ipv4)) }
    }

    /// Sends all of `batch` and returns what became of each request: nil, or the kernel's error. Later requests are
    /// carried out even if earlier ones failed. Throws only when the conversation itself fails.
    public mutating func perform(_ batch: NetlinkBatch) throws(Errno) -> [Errno?] {
        var results = [Errno?](repeating: nil, count: batch.count)
        var first = 0
        while first < batch.count {
            let range = first..<min(first + NetlinkSocket.batchLimit, batch.count)
            let start = sequence
            sequence &+= UInt32(range.count)
            try send(batch.part(range, from: start, acknowledged: true))
            var isDone = false
            while !isDone {
                let count = try receive()
                let errors = NetlinkReply.errors(in: buffer[..<count], from: start, count: range.count, port: port)
                for (index, error) in errors {
                    results[first + index] = error
                    if index == range.count - 1 { isDone = true }
                }
            }
            first = range.upperBound
        }
        return results
    }

    private typealias Parser<Value> = (borrowing RawSpan, NetlinkHeader) -> Value?

    private mutating func dump<Value>(_ request: NetlinkBatch, _ parse: Parser<Value>) throws(Errno) -> [Value] {
        var attempt = 1
        while true {
            var reply = NetlinkReply(sequence: sequence, port: port)
            let values = try collect(request, into: &reply, parse)
            if !reply.isInterrupted || attempt == NetlinkSocket.dumpAttempts { return values }
            attempt += 1
        }
    }

    /// One message, without a dump's end mark.
    private mutating func ask<Value>(_ request: NetlinkBatch, _ parse: Parser<Value>) throws(Errno) -> [Value] {
        var reply = NetlinkReply(sequence: sequence, port: port)
        reply.endsWithFirst = true
        return try collect(request, into: &reply, parse)
    }

    private mutating func collect<Value>(
        _ request: NetlinkBatch, into reply: inout NetlinkReply, _ parse: Parser<Value>
    ) throws(Errno) -> [Value] {
        try send(request.part(0..<1, from: sequence, acknowledged: false))
        sequence &+= 1
        var values: [Value] = []
        while !reply.isComplete {
            let count = try receive()
            reply.read(buffer[..<count], into: &values, parse)
        }
        if let error = reply.error { throw error }
        return values
    }

    private func send(_ bytes: [UInt8]) throws(Errno) {
        let number = descriptor.number
        // SAFETY: the kernel reads inside the array's bounds, during the call.
        let result = unsafe bytes.withUnsafeBytes { part in
            restarting { unsafe linux_send(number, part.baseAddress, part.count, 0) }
        }
        try Errno.check(result)
    }

    private mutating func receive() throws(Errno) -> Int {
        let socket = descriptor
        var span = buffer.mutableSpan
        // SAFETY: every bit pattern is a UInt8.
        var bytes = unsafe span.mutableBytes
        return try Errno.check(socket.receiveNetlink(into: &bytes, flags: 0))
    }
}

/// What has come in so far in answer to one request.
struct NetlinkReply {
    let sequence: UInt32
    let port: UInt32
    /// The request asked for one message.
    var endsWithFirst = false
    private(set) var isComplete = false
    /// The tables changed while the kernel read them.
    private(set) var isInterrupted = false
    private(set) var error: Errno?

    init(sequence: UInt32, port: UInt32) {
        self.sequence = sequence
        self.port = port
    }

    mutating func read<Value>(
        _ datagram: ArraySlice<UInt8>, into values: inout [Value], _ parse: (borrowing RawSpan, NetlinkHeader) -> Value?
    ) {
        // SAFETY: every bit pattern is a UInt8, of which the slice owns as many as the span has.
        let bytes = unsafe datagram.span.bytes
        var offset = 0
        while !isComplete, let header = NetlinkHeader(bytes, at: offset) {
            offset = header.next
            guard header.sequence == sequence, header.port == port else { continue }
            if header.flags & NLM_F_DUMP_INTR != 0 { isInterrupted = true }
            switch header.type {
            case NLMSG_DONE, NLMSG_ERROR:
                let code = header.error(bytes)
                if code > 0 { error = Errno(code) }
                isComplete = true
            case NLMSG_NOOP, NLMSG_OVERRUN:
                break
            default:
                if let value = parse(bytes, header) { values.append(value) }
                if endsWithFirst { isComplete = true }
            }
        }
    }

    /// The acknowledgements and errors in a datagram for the `count` requests numbered from `start`, by position.
    static func errors(in datagram: ArraySlice<UInt8>, from start: UInt32, count: Int, port: UInt32) -> [(Int, Errno?)] {
        // SAFETY: as in `read`.
        let bytes = unsafe datagram.span.bytes
        var found: [(Int, Errno?)] = []
        var offset = 0
        while let header = NetlinkHeader(bytes, at: offset) {
            offset = header.next
            let position = Int(header.sequence &- start)
            guard header.type == NLMSG_ERROR, header.port == port, position < count, header.end - header.start >= 4 else { continue }
            let code = header.error(bytes)
            found.append((position, code == 0 ? nil : Errno(code)))
        }
        return found
    }
}
