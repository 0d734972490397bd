import CLinux
import Settings
import Wire

@testable import Datapath
@testable import Linux
@testable import Setup

/// Datagrams of a routing socket, first as they are taken apart, then as answers to a question, then as a host that a guest's network is modelled on.
func fuzzNetlink(_ input: [UInt8]) {
    // SAFETY: bytes may be read as bytes.
    let bytes = unsafe input.span.bytes
    var offset = 0
    var first: NetlinkHeader?
    while let header = NetlinkHeader(bytes, at: offset) {
        precondition(header.next > offset && header.end <= input.count)
        offset = header.next
        first = first ?? header
        _ = header.error(bytes)
    }
    var place = 0
    while let announcement = AnnouncementListener.next(in: bytes, at: &place) {
        if case .neighbour(let neighbour) = announcement { _ = neighbour.isValid }
    }
    guard let first else { return }
    for (position, _) in NetlinkReply.errors(in: input[...], from: first.sequence, count: 5, port: first.port) { precondition((0..<5).contains(position)) }
    model(
        HostFacts(
            links: answers(input, first) { Link($0, $1) }, addresses: answers(input, first) { InterfaceAddress($0, $1) },
            routes: answers(input, first) { Route($0, $1) }))
}

private func answers<Value>(_ input: [UInt8], _ first: NetlinkHeader, _ parse: (borrowing RawSpan, NetlinkHeader) -> Value?) -> [Value] {
    var reply = NetlinkReply(sequence: first.sequence, port: first.port)
    var values: [Value] = []
    reply.read(input[...], into: &values, parse)
    return values
}

/// All that is decided by what the kernel said, and what the kernel is then asked for.
private func model(_ facts: HostFacts) {
    var options = Options()
    options.configureNetwork = true
    for address in [nil, IPv4Address("192.0.2.9")] {
        options.address4 = address
        guard let host = try? Host(facts, options: options) else { return }
        let resolved = Network.resolve(options: options, host: host, nameservers: facts.addresses.map(\.address), searchDomains: [])
        _ = resolved.network.summary
        let plan = NamespacePlan(options: options, host: host, network: resolved.network, interface: resolved.namespaceInterface)
        var batch = NetlinkBatch()
        for address in plan.addresses { batch.add(address, to: 2) }
        for route in plan.routes { batch.add(route, through: 2) }
        // What we say is at least well-formed.
        let said = batch.part(0..<batch.count, from: 1, acknowledged: true)
        // SAFETY: bytes may be read as bytes.
        let bytes = unsafe said.span.bytes
        var (offset, count) = (0, 0)
        while let header = NetlinkHeader(bytes, at: offset) {
            offset = header.next
            count += 1
        }
        precondition(offset == said.count && count == batch.count)
    }
}

/// Datagrams of sock_diag(7): which sockets there are.
func fuzzDiagnosis(_ input: [UInt8]) {
    // SAFETY: bytes may be read as bytes.
    let bytes = unsafe input.span.bytes
    guard let first = NetlinkHeader(bytes, at: 0), var scan = try? PortScan() else { return }
    for isTCP in [true, false] {
        _ = SocketDiagnosis.read(bytes, sequence: first.sequence) { socket in
            precondition(socket.port != 0)
            scan.note(socket, isTCP: isTCP)
        }
    }
}

/// The tables of procfs, read in pieces that cut lines anywhere: the same sockets must be found as in one piece.
struct TableTarget {
    private let file: Descriptor

    init() { file = try! Descriptor.open(".build/fuzz/table", O_RDWR | O_CREAT | O_TRUNC, mode: 0o600) }

    func run(_ input: [UInt8]) {
        try! file.truncate(to: 0)
        // SAFETY: bytes may be read as bytes.
        let bytes = unsafe input.span.bytes
        _ = try! file.write(bytes, at: 0)
        let size = 200
        let isReadable = input.split(separator: 10, omittingEmptySubsequences: false).allSatisfy { $0.count < size }
        for isTCP in [true, false] {
            var (whole, pieces): ([BoundSocket], [BoundSocket]) = ([], [])
            _ = SocketTable.read(bytes, isTCP: isTCP) { whole.append($0) }
            var buffer = try! Mapping(byteCount: size)
            try! SocketTable(file).forEach(isTCP: isTCP, buffer: &buffer) { pieces.append($0) }
            // A line that is longer than the buffer is lost.
            precondition(pieces == whole || !isReadable)
            var scan = try! PortScan()
            for socket in whole { scan.note(socket, isTCP: isTCP) }
        }
    }
}

/// Events of a watched directory, in which anybody may make files.
func fuzzDirectory(_ input: [UInt8]) {
    // SAFETY: bytes may be read as bytes.
    _ = unsafe Inotify.change(of: "netns-5a1c".utf8CString.map { $0 }, in: input.span.bytes)
}
