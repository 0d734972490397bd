import CLinux
import Wire

@testable import Datapath
@testable import Linux
@testable import RepairHelper

/// A machine that comes from another host, goes on here, and is saved again. Its connections get real sockets, by the leave of a real helper.
///
///     | what is done, 1 | state |     0x01: there is a helper    0x02: the machine runs here    0x04: it is saved    0x08: it runs again
struct StateTarget {
    private let machine = MemoryTarget()
    private let listener: Descriptor

    init() {
        let path = "\(Process.environment("FUZZ_DIRECTORY") ?? ".")/state.repair"
        try? UnixSocket.remove(path)
        listener = try! UnixSocket.bind(.stream, to: path)
        try! listener.listen()
        if try! Process.fork() == 0 { StateTarget.help(path) }
    }

    /// passt-repair, which connects again whenever a connection has ended.
    private static func help(_ path: String) -> Never {
        try? Process.dieWithParent()
        while true {
            guard let connection = try? Descriptor.connect(toLocal: path) else { Process.exit(1) }
            try? RepairService.serve(connection) { (socket, mode) throws(Errno) in try socket.setRepairMode(mode) }
            connection.close()
        }
    }

    func run(_ input: [UInt8]) {
        guard let steps = input.first else { return }
        let (ours, frontEnd) = fuzzSocketPair()
        defer { try? Descriptor.closeAll(in: UInt32(ours.number)...UInt32.max) }
        let memory = try! Mapping(lendable: MemoryTarget.Layout.byteCount)
        let link = try! VhostLink(listener: .none, client: ours, isOneOff: true)
        var forwarder = fuzzForwarder(link)
        if steps & 1 != 0 { try! forwarder.allowMigration(listener, .linger) }
        machine.shareMemory(frontEnd, memory, 0x3f)
        var round = 0
        load(input.dropFirst(), frontEnd)
        guard machine.run(&forwarder, &round) else { return }
        if steps & 2 != 0 { speak(frontEnd, &forwarder, &round) }
        guard steps & 4 != 0 else { return }
        save(frontEnd, &forwarder, &round)
        if steps & 8 != 0 { speak(frontEnd, &forwarder, &round) }
    }

    private func load(_ state: ArraySlice<UInt8>, _ frontEnd: Descriptor) {
        let pipe = try! Descriptor.pipe()
        machine.say(42, machine.number(1), [pipe.reading], frontEnd)
        pipe.reading.close()
        // Half of what a pipe takes at once, so that it also takes what is saved of it.
        let bytes = Array(state.prefix(1 << 15))
        // SAFETY: bytes may be read as bytes.
        if !bytes.isEmpty { _ = try? pipe.writing.write(unsafe bytes.span.bytes) }
        pipe.writing.close()
    }

    /// The rings run: the guest is ready to hear, by which it is here.
    private func speak<Link: GuestLink & ~Copyable>(
        _ frontEnd: Descriptor, _ forwarder: inout Forwarder<Link, KernelSockets>, _ round: inout Int
    ) {
        machine.startRings(frontEnd)
        for _ in 0..<3 where machine.run(&forwarder, &round) {}
    }

    private func save<Link: GuestLink & ~Copyable>(_ frontEnd: Descriptor, _ forwarder: inout Forwarder<Link, KernelSockets>, _ round: inout Int) {
        for ring in 0..<2 { machine.say(11, machine.number(UInt64(ring)), [], frontEnd) }
        let pipe = try! Descriptor.pipe()
        machine.say(42, machine.number(0), [pipe.writing], frontEnd)
        pipe.writing.close()
        machine.run(&forwarder, &round)
        pipe.reading.close()
    }
}
