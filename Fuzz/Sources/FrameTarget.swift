import Settings
import Wire

@testable import Datapath
@testable import Linux

/// Frames from the input, and what the forwarder last said to the guest, so that an input can answer it.
///
/// An input is a row of: length (16 bits, little-endian), what to do with the frame (8 bits), a short virtio-net header (10 bytes),
/// and the frame.
struct FuzzLink: GuestLink, ~Copyable {
    private enum Repair {
        /// Recalculate the IPv4 header's checksum.
        static var checksum: UInt8 { 1 }
        /// Continue the last TCP segment to the guest: sequence and acknowledgement fit.
        static var answer: UInt8 { 2 }
    }

    /// Always readable.
    let descriptor: Descriptor
    let offloads: LinkOffloads
    private let input: [UInt8]
    private var offset = 0
    private var lastSequence: UInt32 = 0
    private var lastAcknowledgment: UInt32 = 0

    init(_ input: [UInt8], descriptor: Descriptor) {
        self.input = input
        self.descriptor = descriptor
        offloads = input.count % 2 == 0 ? [.checksum, .tcpSegmentation, .udpSegmentation] : []
    }

    var isDone: Bool { input.count - offset < 13 }

    mutating func receive(into batch: inout FrameBatch) -> Bool {
        while !batch.isFull, !isDone {
            let wanted = Int(input[offset]) | Int(input[offset + 1]) << 8
            let repair = input[offset + 2]
            let length = min(wanted, input.count - offset - 13, largestFrame)
            var frame = Array(input[(offset + 13)..<(offset + 13 + length)])
            // SAFETY: bytes may be read as bytes.
            let offload = VirtioNetHeader(unsafe input.span.bytes, at: offset + 3, isShort: true) ?? VirtioNetHeader()
            offset += 13 + length
            // As for a real tap, no frame is shorter than its Ethernet header.
            guard length > 14 else { continue }
            self.repair(&frame, repair)
            let start = batch.nextOffset
            var bytes = batch.arena.mutableBytes
            for index in 0..<length { bytes.storeBytes(of: frame[index], toByteOffset: start + index, as: UInt8.self) }
            batch.append(length: length, offload: offload)
        }
        return true
    }

    private func repair(_ frame: inout [UInt8], _ repair: UInt8) {
        let isIPv4 = frame[12] == 8
        let l4 = isIPv4 ? 34 : 54
        guard frame.count >= l4 + 20 else { return }
        if repair & Repair.answer != 0, frame[isIPv4 ? 23 : 20] == 6 {
            for index in 0..<4 {
                frame[l4 + 4 + index] = UInt8(truncatingIfNeeded: lastAcknowledgment >> UInt32(24 - 8 * index))
                frame[l4 + 8 + index] = UInt8(truncatingIfNeeded: lastSequence >> UInt32(24 - 8 * index))
            }
        }
        if repair & Repair.checksum != 0, isIPv4 {
            (frame[24], frame[25]) = (0, 0)
            var sum: UInt32 = 0
            for index in stride(from: 14, to: 34, by: 2) { sum += UInt32(frame[index]) << 8 | UInt32(frame[index + 1]) }
            sum = (sum & 0xffff) + (sum >> 16)
            sum = ~((sum & 0xffff) + (sum >> 16))
            (frame[24], frame[25]) = (UInt8(truncatingIfNeeded: sum >> 8), UInt8(truncatingIfNeeded: sum))
        }
    }

    mutating func send(_ frame: Frame, in arena: inout Mapping) -> LinkVerdict {
        precondition(frame.offset >= linkHeadroom && frame.length >= 14 && frame.length <= largestFrame)
        let bytes = arena.bytes
        let isIPv4 = bytes.uint8(at: frame.offset + 12) == 8
        let l4 = frame.offset + (isIPv4 ? 34 : 54)
        if !isIPv4, frame.length >= 74, bytes.uint8(at: frame.offset + 20) == 6 { note(bytes, l4, frame) }
        if isIPv4, frame.length >= 54, bytes.uint8(at: frame.offset + 23) == 6 { note(bytes, l4, frame) }
        return .sent
    }

    private mutating func note(_ bytes: borrowing RawSpan, _ l4: Int, _ frame: Frame) {
        let flags = bytes.uint8(at: l4 + 13)
        let payload = frame.offset + frame.length - l4 - Int(bytes.uint8(at: l4 + 12) >> 4) * 4
        lastSequence = bytes.uint32(at: l4 + 4) &+ UInt32(truncatingIfNeeded: max(payload, 0)) &+ (flags & 3 != 0 ? 1 : 0)
        lastAcknowledgment = bytes.uint32(at: l4 + 8)
    }

    mutating func flush(_ arena: inout Mapping) {}
}

/// A new forwarder for each input, over sockets of the kernel. What it connects to on loopback answers.
struct FrameTarget {
    private let readable: Descriptor
    private let peer = PeerOnLoopback()

    init() {
        let pipe = try! Descriptor.pipe()
        try! pipe.writing.write([1])
        readable = pipe.reading
    }

    func run(_ input: [UInt8]) {
        let epoll = try! Epoll()
        let now = monotonicNanoseconds()
        var forwarder = try! Forwarder(
            link: FuzzLink(input, descriptor: readable), sockets: KernelSockets(epoll: epoll, retries: 15), epoll: epoll, network: fuzzNetwork(),
            flows: 64, descriptors: input.count % 3 == 0 ? 40 : 1024, now: now / 1_000_000)
        if input.count % 5 == 0 { visit(&forwarder) }
        // Each round takes frames and lets sockets answer; the peer sends, and goes away.
        var roundsBehindInput = 0
        for round in 1...64 {
            _ = try? forwarder.run(until: monotonicNanoseconds() + 20_000)
            peer.answer(round)
            // What was answered to the last frame comes one round later.
            if forwarder.port.link.isDone { roundsBehindInput += 1 }
            if roundsBehindInput == 2 { break }
        }
        // Sockets of flows that are left, and peers, are nobody's from here on.
        try? Descriptor.closeAll(in: UInt32(epoll.descriptor.number)...UInt32.max)
    }

    /// Others turn to the guest as well: from port 5555 to its ports 8080, by TCP and UDP.
    private func visit(_ forwarder: inout Forwarder<FuzzLink, KernelSockets>) {
        let loopback = IPAddress(IPv4Address.loopback)
        for isTCP in [true, false] {
            let (socket, visitor) = (try! Descriptor.socket(isTCP ? .stream : .datagram, for: loopback), try! Descriptor.socket(isTCP ? .stream : .datagram, for: loopback))
            for (end, port) in [(socket, 8080), (visitor, 5555)] as [(Descriptor, UInt16)] {
                try! end.setReuseAddress()
                try! end.bind(SocketAddress(Endpoint(loopback, port)))
            }
            if isTCP { try! socket.listen() } else { try! socket.setPacketInformation(isIPv4: true) }
            _ = try! forwarder.listen(
                on: ForwardedPort(
                    socket: socket, isTCP: isTCP, isOutbound: false, address: loopback, port: 8080, targetPort: 8080, hasIPv4: true))
            _ = try? visitor.connect(SocketAddress(Endpoint(loopback, 8080)))
            _ = try? visitor.write([1, 2, 3])
            // The next input's visitor comes from the same port.
            if isTCP { try! visitor.setAbortOnClose() }
        }
    }
}
