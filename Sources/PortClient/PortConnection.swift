internal import Linux
internal import Setup
internal import Wire

/// One exchange with a program that runs: its tables, and once at most new ones for it.
struct PortConnection {
    /// Milliseconds that the other end may take: it may open many ports, and serve others first.
    private static let patience = 60_000

    private let socket: Descriptor
    let tables: [PortTable]

    /// Connects, and is told all tables.
    init(to path: String) throws(SetupError) {
        do throws(Errno) {
            socket = try Descriptor.connect(toLocal: path)
            try SocketCourier.limitWaiting(socket, milliseconds: PortConnection.patience)
        } catch {
            let hint: String? = switch error.code {
            case 2, 111: "is there a pasta or passt with --conf-path \(path)?"  // ENOENT, ECONNREFUSED
            case 13: "only the user whose pasta or passt it is may connect"  // EACCES
            default: nil
            }
            throw SetupError(.sockets, "Couldn't connect to \(path)", error, hint: hint)
        }
        do throws(SetupError) {
            tables = try PortConnection.readTables(socket)
        } catch {
            socket.close()
            throw error
        }
    }

    func close() { socket.close() }

    /// nil: the program gives no answers.
    func send(_ tables: [PortTable]) throws(SetupError) -> PortControlAnswer? {
        let request = try PortConnection.request(tables.filter(\.isChanged))
        try write(request)
        return tables.contains { $0.capabilities.contains(.answers) } ? try readAnswer() : nil
    }

    private static func request(_ tables: [PortTable]) throws(SetupError) -> Mapping {
        var request = try buffer(tables.reduce(1) { $0 + 5 + $1.rules.count * PortControlRule.byteCount })
        write(tables, to: &request)
        return request
    }

    private static func write(_ tables: [PortTable], to request: inout Mapping) {
        var bytes = request.mutableBytes
        var offset = 0
        for table in tables {
            bytes.store(table.number, at: offset)
            bytes.store(UInt32(table.rules.count), at: offset + 1)
            offset += 5
            for rule in inOrder(table.rules) {
                rule.write(to: &bytes, at: offset)
                offset += PortControlRule.byteCount
            }
        }
    }

    private func readAnswer() throws(SetupError) -> PortControlAnswer {
        let buffer = try PortConnection.read(PortControlAnswer.byteCount, socket)
        guard let answer = PortControlAnswer(buffer.bytes) else { throw PortConnection.unreadable }
        return answer
    }

    /// As the answer counts them.
    static func inOrder(_ rules: [PortControlRule]) -> [PortControlRule] { rules.filter { !$0.isBestEffort } + rules.filter(\.isBestEffort) }

    // MARK: Bytes

    private static var unreadable: SetupError { SetupError(.sockets, "What the other end says is not what pasta and passt say of their ports") }

    private static func readTables(_ socket: Descriptor) throws(SetupError) -> [PortTable] {
        let hello = try read(PortControl.helloByteCount, socket)
        switch PortControl.isOwnVersion(hello.bytes) {
        case nil: throw unreadable
        case false: throw SetupError(.sockets, "The other end speaks another version of the protocol: use the pesto that belongs to it")
        default: break
        }
        var tables: [PortTable] = []
        while let head = try readHead(socket) {
            let bytes = try read(head.count * PortControlRule.byteCount, socket)
            var rules: [PortControlRule] = []
            for index in 0..<head.count {
                guard let rule = PortControlRule(bytes.bytes, at: index * PortControlRule.byteCount) else { throw unreadable }
                rules.append(rule)
            }
            tables.append(PortTable(head, rules))
        }
        return tables
    }

    /// nil behind the last table.
    private static func readHead(_ socket: Descriptor) throws(SetupError) -> PortTableHead? {
        let first = try read(1, socket)
        let number = first.bytes.uint8(at: 0)
        if number == 0 { return nil }
        let rest = try read(PortTableHead.byteCount - 1, socket)
        guard let head = PortTableHead(number: number, rest.bytes) else { throw unreadable }
        return head
    }

    private static func buffer(_ size: Int) throws(SetupError) -> Mapping {
        do throws(Errno) { return try Mapping(byteCount: size) } catch { throw SetupError(.sockets, "Couldn't have memory", error) }
    }

    private static func read(_ count: Int, _ socket: Descriptor) throws(SetupError) -> Mapping {
        var buffer = try buffer(count)
        var length = 0
        while length < count {
            let taken: Int?
            do throws(Errno) { taken = try read(socket, &buffer, length..<count) } catch {
                throw SetupError(.sockets, "Couldn't read from the other end", error)
            }
            guard let taken else { throw SetupError(.sockets, "The other end does not answer") }
            if taken == 0 { throw SetupError(.sockets, "The other end has closed the connection") }
            length += taken
        }
        return buffer
    }

    private static func read(_ socket: Descriptor, _ buffer: inout Mapping, _ range: Range<Int>) throws(Errno) -> Int? {
        var bytes = buffer.mutableBytes
        var rest = bytes._mutatingExtracting(range)
        return try socket.read(into: &rest)
    }

    private func write(_ buffer: borrowing Mapping) throws(SetupError) {
        var length = 0
        while length < buffer.byteCount {
            let outcome = socket.send(waiting: buffer.bytes.extracting(length..<buffer.byteCount))
            if let error = outcome.error { throw SetupError(.sockets, "Couldn't write to the other end", error) }
            length += outcome.count
        }
    }
}
