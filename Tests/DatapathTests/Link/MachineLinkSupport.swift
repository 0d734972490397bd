import Glibc
import Linux
import Testing
import Wire

@testable import Datapath

/// A link over one end of a socket pair; the test is the machine at the other end.
final class MachinePair {
    var link: MachineLink
    let epoll: Epoll
    let machine: Int32
    var batch: FrameBatch
    var slots: Mapping
    /// Segments that were put into runs.
    var runs = 0

    convenience init(type: Int32 = Int32(SOCK_STREAM.rawValue)) throws {
        try self.init(type: type, slots: Mapping(byteCount: SlotLayout.count * SlotLayout.size))
    }

    init(type: Int32 = Int32(SOCK_STREAM.rawValue), slots: consuming Mapping) throws {
        var ends: [Int32] = [-1, -1]
        #expect(unsafe socketpair(AF_UNIX, type, 0, &ends) == 0)
        let ours = Descriptor(ends[0])
        try ours.setNonBlocking()
        let epoll = try Epoll()
        let kind: UnixSocket.Kind = type == Int32(SOCK_STREAM.rawValue) ? .stream : type == Int32(SOCK_DGRAM.rawValue) ? .datagrams : .messages
        var link = try MachineLink(kind, listener: .none, client: ours, isOneOff: true)
        try link.watch(by: epoll)
        let size = link.batchSize
        let batch = try FrameBatch(capacity: size.frames, mostBytes: size.mostBytes)
        self.epoll = epoll
        self.batch = batch
        self.slots = slots
        self.link = link
        machine = ends[1]
    }

    deinit { _ = close(machine) }

    /// The machine's kernel writes.
    func write(_ bytes: ArraySlice<UInt8>) {
        var left = bytes
        while !left.isEmpty {
            let count = unsafe left.withUnsafeBytes { unsafe Glibc.write(machine, $0.baseAddress, $0.count) }
            guard count > 0 else { break }
            left = left.dropFirst(count)
        }
    }

    /// What the machine finds on its socket now, at most `limit` bytes.
    func read(_ limit: Int = .max) -> [UInt8] {
        var result: [UInt8] = []
        var buffer = [UInt8](repeating: 0, count: 65536)
        while result.count < limit {
            let room = min(buffer.count, limit - result.count)
            let count = unsafe recv(machine, &buffer, room, Int32(MSG_DONTWAIT))
            guard count > 0 else { break }
            result += buffer[0..<count]
        }
        return result
    }

    /// One round: the frames that the link finds, and whether the guest is still there.
    func receive() -> (frames: [[UInt8]], isOpen: Bool) {
        batch.removeAll()
        let isOpen = link.receive(into: &batch)
        var frames: [[UInt8]] = []
        for index in 0..<batch.count {
            let frame = batch[index]
            let bytes = batch.arena.bytes
            var copy: [UInt8] = []
            for offset in frame.offset..<(frame.offset + frame.length) { copy.append(bytes.uint8(at: offset)) }
            frames.append(copy)
        }
        return (frames, isOpen)
    }

    /// Puts `frame` into a slot and sends it.
    func send(_ frame: [UInt8], _ offload: VirtioNetHeader = VirtioNetHeader(), slot: Int = 0, shift: Int = 0) -> LinkVerdict {
        let offset = slot * SlotLayout.size + linkHeadroom + shift
        var bytes = slots.mutableBytes
        for (index, byte) in frame.enumerated() { bytes.store(byte, at: offset + index) }
        return link.send(Frame(offset: offset, length: frame.count, offload: offload), in: &slots)
    }

    func flush() { link.flush(&slots) }
    func attend(_ events: Epoll.Events) -> LinkEvent { link.attend(0, events) }
    func notice() -> GuestNotice? { link.takeNotice() }
    func awaitAnother() -> Bool { link.awaitAnother() }
    var hasRoom: Bool { link.hasRoom }
    var figures: LinkFigures { link.figures }
}

/// The frame as it stands on a stream.
func onStream(_ frame: [UInt8]) -> [UInt8] {
    let length = UInt32(frame.count)
    return [24, 16, 8, 0].map { UInt8(truncatingIfNeeded: length >> $0) } + frame
}

/// The frames of a stream that ends between two of them.
func frames(of stream: [UInt8]) -> [[UInt8]] {
    var result: [[UInt8]] = []
    var offset = 0
    while offset + 4 <= stream.count {
        let length = stream[offset..<(offset + 4)].reduce(0) { $0 << 8 | Int($1) }
        guard offset + 4 + length <= stream.count else { break }
        result.append(Array(stream[(offset + 4)..<(offset + 4 + length)]))
        offset += 4 + length
    }
    #expect(offset == stream.count)
    return result
}

/// Bytes that no two places have alike.
func patterned(_ count: Int, seed: Int = 1) -> [UInt8] {
    (0..<count).map { UInt8(truncatingIfNeeded: ($0 &* 31) ^ ($0 >> 8) &+ seed) }
}
