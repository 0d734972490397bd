import CLinux
import Settings
import Wire

@testable import Datapath
@testable import Linux

/// A forwarder on a stream socket, whose other end writes the input in pieces of any size and reads what it is sent, or does not.
///
/// An input is: one byte of what kind of machine it is, one that says where its writes are cut, and the stream.
struct MachineTarget {
    private enum Kind {
        /// It never reads.
        static var isDeaf: UInt8 { 1 }
        /// A frame per message in place of the stream; what is cut is then a message.
        static var sendsMessages: UInt8 { 2 }
        /// It closes its end where the input ends, in place of waiting.
        static var isBrief: UInt8 { 4 }
    }

    private let peer = PeerOnLoopback()

    // As the daemon does.
    init() { Signals.ignore(13 /* SIGPIPE */) }

    func run(_ input: [UInt8]) {
        guard input.count > 2 else { return }
        let (kind, seed, stream) = (input[0], Int(input[1]), input[2...])
        let messages = kind & Kind.sendsMessages != 0
        let (ours, machine) = fuzzSocketPair(messages ? SOCK_SEQPACKET : SOCK_STREAM)
        let link = try! MachineLink(messages ? .messages : .stream, listener: .none, client: ours, isOneOff: true)
        var forwarder = fuzzForwarder(link)
        var (offset, round, isGone) = (stream.startIndex, 0, false)
        while !isGone, round < 64 {
            round += 1
            let size = min(stream.endIndex - offset, 1 + seed * seed * round % 1999)
            if size > 0 { offset += write(stream[offset..<offset + size], to: machine) }
            if size == 0, kind & Kind.isBrief != 0 { machine.close() }
            if let wake = try? forwarder.run(until: monotonicNanoseconds() + 20_000), case .guestGone = wake { isGone = true }
            if kind & Kind.isDeaf == 0 { _ = try? machine.readAll(limit: 1 << 16) }
            peer.answer(round)
            if size == 0, round > 4 { break }
        }
        try? Descriptor.closeAll(in: UInt32(ours.number)...UInt32.max)
    }

    /// How much went. A machine that may not write any more is as one that says nothing more.
    private func write(_ bytes: ArraySlice<UInt8>, to machine: Descriptor) -> Int {
        do {
            // SAFETY: bytes may be read as bytes.
            return try machine.write(unsafe bytes.span.bytes) ?? 0
        } catch {
            return bytes.count
        }
    }
}

/// What frames connect to: port 80 of loopback, where somebody answers, and leaves.
final class PeerOnLoopback {
    private let listener = PeerOnLoopback.bound(.stream)
    private let datagrams = PeerOnLoopback.bound(.datagram)
    private var incoming = try! ReceiveBatch(capacity: 8)
    private let arena = try! Mapping(byteCount: 8)

    init() { try! listener.listen() }

    private static func bound(_ kind: Descriptor.SocketKind) -> Descriptor {
        let loopback = IPAddress(IPv4Address.loopback)
        let socket = try! Descriptor.socket(kind, for: loopback)
        try! socket.setReuseAddress()
        try! socket.bind(SocketAddress(Endpoint(loopback, 80)))
        return socket
    }

    func answer(_ round: Int) {
        answerDatagrams()
        while let (peer, _) = try? listener.accept() {
            _ = try? peer.write([UInt8](repeating: 7, count: 3000))
            if round % 2 == 0 { peer.close() }
        }
    }

    /// An empty datagram, a short one, several equal ones, and one that no frame of MTU 1500 holds.
    private func answerDatagrams() {
        incoming.removeAll()
        for _ in 0..<8 { incoming.append(arena, offset: 0, length: 8) }
        for number in 0..<incoming.receive(on: datagrams).count {
            guard let source = incoming.source(number) else { continue }
            // Connected, it takes the place of the first for what comes from there.
            let peer = PeerOnLoopback.bound(.datagram)
            guard (try? peer.connect(SocketAddress(source))) != nil else { continue }
            for length in [0, 5, 1200, 1200, 1200, 9000] { _ = try? peer.write([UInt8](repeating: 9, count: length)) }
        }
    }
}
