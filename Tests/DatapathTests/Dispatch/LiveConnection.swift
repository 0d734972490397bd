import Testing
import Wire

@testable import Datapath
@testable import Linux

/// A TCP connection through a `LiveForwarder`: the guest's end of it is played here, the far end is a socket.
struct LiveConnection {
    /// Who ends it, and how.
    enum Ending: CaseIterable {
        case guestResets, farEndResetsLater, guestEndsAndResets, farEndResets, guestEndsFirst, farEndEndsFirst
    }

    let guest: LiveGuest
    let port, remotePort: UInt16
    private var peer = Descriptor.none
    /// Of what the guest sends next.
    private var position: UInt32 = 1000

    private init(_ guest: LiveGuest, port: UInt16, remotePort: UInt16) {
        self.guest = guest
        self.port = port
        self.remotePort = remotePort
    }

    // MARK: Opening

    /// The guest connects to the forwarder's listener.
    static func open(_ forwarder: inout LiveForwarder, from port: UInt16) throws -> LiveConnection {
        var connection = LiveConnection(forwarder.guest, port: port, remotePort: forwarder.tcpPort)
        forwarder.watch(guest: port, remote: connection.remotePort)
        try forwarder.run([connection.segment(forwarder, .syn)])
        connection.position += 1
        try forwarder.run { $0.lastFlags == 0x12 && $0.acknowledgment == 1001 }
        try forwarder.run([connection.segment(forwarder, .ack)])
        // The end of the handshake may wait for the guest's data, see `Postponed`.
        connection.peer = try forwarder.accept()
        return connection
    }

    /// Somebody on the host connects to `place`, which leads to the guest's `port`.
    static func take(_ forwarder: inout LiveForwarder, at place: UInt16, for port: UInt16) throws -> LiveConnection {
        let client = try forwarder.client(.stream, of: place)
        let own = try #require(try client.localAddress().endpoint)
        var connection = LiveConnection(forwarder.guest, port: port, remotePort: own.port)
        connection.peer = client
        forwarder.watch(guest: port, remote: own.port)
        try forwarder.run { $0.lastFlags == 2 }
        try forwarder.run([connection.segment(forwarder, .syn | .ack)])
        connection.position += 1
        try forwarder.run { $0.acknowledgment == 1001 }
        return connection
    }

    private func segment(_ forwarder: borrowing LiveForwarder, _ flags: TCPFlags, _ count: Int = 0, to remote: UInt16? = nil) -> [UInt8] {
        guest.tcp(
            port, remote ?? remotePort, flags, sequence: position, acknowledgment: flags.contains(.ack) ? forwarder.sequence : 0, count)
    }

    // MARK: Data

    /// Much both ways. With `isLate`, every second segment of the guest's is, and what came before it is kept.
    mutating func exchange(_ forwarder: inout LiveForwarder, isLate: Bool) throws {
        for _ in 0..<4 {
            var batch: [[UInt8]] = []
            for _ in 0..<40 {
                batch.append(segment(forwarder, .ack | .psh, 500))
                position += 500
            }
            if isLate { for index in stride(from: 0, to: batch.count, by: 2) { batch.swapAt(index, index + 1) } }
            try forwarder.run(batch)
            _ = peer.discard(1 << 20)
        }
        let before = forwarder.sequence
        let answer = [UInt8](repeating: 7, count: 100_000)
        _ = peer.sendSome(answer[...])
        try forwarder.run { $0.sequence &- before >= 30_000 }
        try forwarder.run([segment(forwarder, .ack)], rounds: 2)
        try forwarder.run([segment(forwarder, .ack)], rounds: 2)
    }

    // MARK: The end

    mutating func end(_ forwarder: inout LiveForwarder, _ ending: Ending) throws {
        switch ending {
        case .guestResets:
            try forwarder.run([segment(forwarder, .rst)])
            peer.close()
        case .farEndResetsLater:
            try forwarder.run([segment(forwarder, .ack)])
            try peer.setAbortOnClose()
            peer.close()
        case .guestEndsAndResets:
            try forwarder.run([segment(forwarder, .fin | .ack)], rounds: 2)
            position += 1
            // And it finds nobody where it asks next.
            try forwarder.run([segment(forwarder, .rst), guest.tcp(port, 1, .syn, sequence: 5)], rounds: 3)
            peer.close()
        case .farEndResets:
            try peer.setAbortOnClose()
            peer.close()
            try forwarder.run { $0.seenFlags & 4 != 0 }
        case .guestEndsFirst:
            try forwarder.run([segment(forwarder, .fin | .ack)], rounds: 2)
            position += 1
            peer.close()
            try takeEnd(&forwarder)
        case .farEndEndsFirst:
            try peer.shutdown(1)
            try takeEnd(&forwarder)
            try forwarder.run([segment(forwarder, .fin | .ack)], rounds: 2)
            peer.close()
        }
        // Of no connection.
        try forwarder.run([segment(forwarder, .ack, 100, to: 9)])
    }

    /// The guest acknowledges all that comes, up to the far end's last word.
    private func takeEnd(_ forwarder: inout LiveForwarder) throws {
        for _ in 0..<10_000 where forwarder.seenFlags & 5 == 0 { try forwarder.run([segment(forwarder, .ack)]) }
        let hasEnded = forwarder.seenFlags & 5 != 0
        #expect(hasEnded)
        try forwarder.run([segment(forwarder, .ack)], rounds: 2)
    }
}
