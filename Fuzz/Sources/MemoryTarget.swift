import CLinux
import Settings
import Wire

@testable import Datapath
@testable import Linux

/// A forwarder on a machine's memory. Its rings are set up by messages that are right; the input then writes to the memory, offers chains, puts good frames into
/// buffers, and says whatever it likes to the back-end's socket.
///
/// An input is: one byte of what was agreed upon, and then steps, a byte each with what follows:
///
///     0   offset of two bytes, length, bytes     write to the memory
///     1   head                                   offer a chain of the ring from the guest
///     2   head                                   the same to the guest
///     3   length, bytes                          write to the socket
///     4   length, frame                          a good chain with that frame
///     5   what is left                           run
struct MemoryTarget {
    enum Layout {
        static var size: Int { 16 }
        static var byteCount: Int { 1 << 17 }
        static func ring(_ index: Int) -> Int { index * 0x1000 }
        static var available: Int { 0x200 }
        static var used: Int { 0x400 }
        static var frames: Int { 0x8000 }
        static var guest: UInt64 { 0x10_0000 }
        static var user: UInt64 { 0x7000_0000 }
    }

    private let peer = PeerOnLoopback()

    // As the daemon does.
    init() { Signals.ignore(13 /* SIGPIPE */) }

    func run(_ input: [UInt8]) {
        guard input.count > 1 else { return }
        let (ours, frontEnd) = fuzzSocketPair()
        var memory = try! Mapping(lendable: Layout.byteCount)
        let link = try! VhostLink(listener: .none, client: ours, isOneOff: true)
        var forwarder = fuzzForwarder(link)
        setUp(frontEnd, memory, input[0])
        var (position, round) = (1, 0)
        var next: [UInt16] = [0, 0]
        run(&forwarder, &round)
        while position < input.count, round < 64 {
            step(input, &position, &memory, &next, frontEnd)
            if position >= input.count || input[position] % 6 == 5 {
                position += 1
                if !run(&forwarder, &round) { break }
            }
        }
        for _ in 0..<3 where run(&forwarder, &round) {}
        try? Descriptor.closeAll(in: UInt32(ours.number)...UInt32.max)
    }

    @discardableResult
    func run<Link: GuestLink & ~Copyable>(_ forwarder: inout Forwarder<Link, KernelSockets>, _ round: inout Int) -> Bool {
        round += 1
        peer.answer(round)
        if let wake = try? forwarder.run(until: monotonicNanoseconds() + 20_000), case .guestGone = wake { return false }
        return true
    }

    private func step(_ input: [UInt8], _ position: inout Int, _ memory: inout Mapping, _ next: inout [UInt16], _ frontEnd: Descriptor) {
        func byte() -> Int {
            defer { position += 1 }
            return position < input.count ? Int(input[position]) : 0
        }
        func bytes(_ count: Int) -> ArraySlice<UInt8> {
            let start = min(position, input.count)
            position = min(start + count, input.count)
            return input[start..<position]
        }
        switch byte() % 6 {
        case 0:
            let offset = byte() << 8 | byte()
            store(bytes(byte()), at: offset, &memory)
        case 1: offer(byte(), 1, &memory, &next)
        case 2: offer(byte(), 0, &memory, &next)
        case 3:
            let text = bytes(byte())
            // SAFETY: bytes may be read as bytes.
            _ = try? frontEnd.write(unsafe text.span.bytes)
        case 4:
            let frame = bytes(byte())
            let head = Int(next[1]) % Layout.size
            store([UInt8](repeating: 0, count: 12) + frame, at: Layout.frames + head * 512, &memory)
            describe(Layout.guest + UInt64(Layout.frames + head * 512), 12 + frame.count, 0, at: Layout.ring(1) + head * 16, &memory)
            offer(head, 1, &memory, &next)
        default: break
        }
    }

    private func store(_ bytes: some Sequence<UInt8>, at offset: Int, _ memory: inout Mapping) {
        var span = memory.mutableBytes
        for (index, byte) in bytes.enumerated() where offset + index < Layout.byteCount { span.store(byte, at: offset + index) }
    }

    private func describe(_ address: UInt64, _ length: Int, _ flags: UInt16, at offset: Int, _ memory: inout Mapping) {
        var span = memory.mutableBytes
        span.storeNative(address, at: offset)
        span.storeNative(UInt32(length), at: offset + 8)
        span.storeNative(flags, at: offset + 12)
    }

    private func offer(_ head: Int, _ ring: Int, _ memory: inout Mapping, _ next: inout [UInt16]) {
        var span = memory.mutableBytes
        span.storeNative(UInt16(head), at: Layout.ring(ring) + Layout.available + 4 + 2 * (Int(next[ring]) % Layout.size))
        next[ring] &+= 1
        span.storeNative(next[ring], at: Layout.ring(ring) + Layout.available + 2)
    }

    // MARK: Messages

    private func setUp(_ frontEnd: Descriptor, _ memory: borrowing Mapping, _ agreed: UInt8) {
        shareMemory(frontEnd, memory, agreed)
        startRings(frontEnd)
    }

    func shareMemory(_ frontEnd: Descriptor, _ memory: borrowing Mapping, _ agreed: UInt8) {
        var features = VirtioFeatures([.version1])
        for (bit, feature) in [VirtioFeatures.mergeableBuffers, .eventIndex, .guestChecksum, [.guestTCP4, .guestTCP6], .protocolFeatures].enumerated()
        where agreed & 1 << UInt8(bit) != 0 { features.insert(feature) }
        say(2, number(features.rawValue), [], frontEnd)
        say(5, number(UInt64(1)) + [Layout.guest, UInt64(Layout.byteCount), Layout.user, 0].flatMap(number), [memory.file], frontEnd)
    }

    func startRings(_ frontEnd: Descriptor) {
        for ring in [1, 0] {
            let start = Layout.user + UInt64(Layout.ring(ring))
            say(8, number(UInt64(ring) | UInt64(Layout.size) << 32), [], frontEnd)
            say(9, [UInt64(ring), start, start + UInt64(Layout.used), start + UInt64(Layout.available), 0].flatMap(number), [], frontEnd)
            for request in [13, 12] as [UInt32] {
                let counter = try! Descriptor.eventCounter()
                say(request, number(UInt64(ring)), [counter], frontEnd)
                counter.close()
            }
            say(18, number(UInt64(ring) | 1 << 32), [], frontEnd)
        }
    }

    func say(_ request: UInt32, _ body: [UInt8], _ descriptors: [Descriptor], _ frontEnd: Descriptor) {
        let header = number(UInt64(request) | 1 << 32) + number(UInt64(body.count)).prefix(4)
        try? DescriptorPassing.send(DescriptorMessage(header + body, descriptors), over: frontEnd)
    }

    func number(_ value: UInt64) -> [UInt8] { (0..<8).map { UInt8(truncatingIfNeeded: value >> UInt64($0 * 8)) } }
}
