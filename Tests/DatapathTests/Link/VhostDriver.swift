import Glibc
import Linux
import Testing
import Wire

@testable import Datapath

/// A front-end and its guest's driver, on a link over a socket pair. The guest's memory is one file in two regions, which lie in another order for the guest.
@safe final class VhostDriver {
    /// Where a ring's parts are in the file, by a layout that has room for 256 entries.
    struct Ring {
        let index: Int
        var size = 256
        var descriptors: Int { index * 0x4000 }
        var available: Int { descriptors + 0x1000 }
        var used: Int { descriptors + 0x2000 }
        var nextAvailable: UInt16 = 0
        var seenUsed: UInt16 = 0
        let kick: Int32
        let call: Int32
        let error: Int32
    }

    static let byteCount = 4 << 20
    /// The first half of the file is behind the second one for the guest, right behind it.
    static let half = byteCount / 2
    static let guestBase: UInt64 = 0x1_0000_0000
    static let userBase: UInt64 = 0x7000_0000_0000

    var link: VhostLink
    let epoll: Epoll
    let frontEnd: Int32
    let file: Int32
    private let name: String
    // SAFETY: mapped from `init` to `deinit`; tests name offsets inside.
    private let memory: UnsafeMutableRawPointer
    var toGuest: Ring
    var fromGuest: Ring
    var batch: FrameBatch
    var slots: Mapping

    init() throws {
        var ends: [Int32] = [-1, -1]
        #expect(unsafe socketpair(AF_UNIX, Int32(SOCK_STREAM.rawValue), 0, &ends) == 0)
        name = "guest\(UInt64.random(in: 0 ... .max))"
        file = unsafe memfd_create(name, 0)
        #expect(ftruncate(file, VhostDriver.byteCount) == 0)
        unsafe memory = mmap(nil, VhostDriver.byteCount, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0)
        let ours = Descriptor(ends[0])
        try ours.setNonBlocking()
        let epoll = try Epoll()
        var link = try VhostLink(listener: .none, client: ours, isOneOff: true)
        try link.watch(by: epoll)
        let size = link.batchSize
        let batch = try FrameBatch(capacity: size.frames, mostBytes: size.mostBytes)
        let slots = try Mapping(byteCount: SlotLayout.count * SlotLayout.size)
        frontEnd = ends[1]
        func counter() throws -> Int32 { try Descriptor.eventCounter().number }
        toGuest = Ring(index: 0, kick: try counter(), call: try counter(), error: try counter())
        fromGuest = Ring(index: 1, kick: try counter(), call: try counter(), error: try counter())
        self.epoll = epoll
        self.batch = batch
        self.slots = slots
        self.link = link
    }

    deinit {
        for descriptor in [frontEnd, file] + [toGuest, fromGuest].flatMap({ [$0.kick, $0.call, $0.error] }) { _ = close(descriptor) }
        unsafe munmap(memory, VhostDriver.byteCount)
        _ = link.awaitAnother()
        epoll.descriptor.close()
    }

    // MARK: Addresses

    static func guest(_ offset: Int) -> UInt64 { guestBase + UInt64(offset < half ? offset + half : offset - half) }
    static func user(_ offset: Int) -> UInt64 { userBase + UInt64(offset) }

    func store<T: BitwiseCopyable>(_ value: T, at offset: Int) { unsafe (memory + offset).storeBytes(of: value, as: T.self) }
    func load<T: BitwiseCopyable>(_ type: T.Type, at offset: Int) -> T { unsafe (memory + offset).loadUnaligned(as: type) }
    func put(_ bytes: [UInt8], at offset: Int) { unsafe (memory + offset).copyMemory(from: bytes, byteCount: bytes.count) }
    /// How often the file is mapped in this process.
    var mappings: Int {
        let maps = (try? Descriptor.contents(of: "/proc/self/maps")) ?? []
        return String(decoding: maps, as: UTF8.self).split(separator: "\n").count { $0.contains(name) }
    }

    func bytes(_ count: Int, at offset: Int) -> [UInt8] { unsafe Array(UnsafeRawBufferPointer(start: memory + offset, count: count)) }

    // MARK: Messages

    func message(_ request: UInt32, _ body: [UInt8] = [], _ descriptors: [Int32] = [], flags: UInt32 = 1) -> [UInt8] {
        number(request) + number(flags) + number(UInt32(body.count)) + body
    }

    func number<T: FixedWidthInteger>(_ value: T) -> [UInt8] {
        (0..<(T.bitWidth / 8)).map { UInt8(truncatingIfNeeded: value >> T($0 * 8)) }
    }

    /// Sends a message and lets the link work on it.
    @discardableResult
    func say(_ request: UInt32, _ body: [UInt8] = [], _ descriptors: [Int32] = [], flags: UInt32 = 1) -> LinkEvent {
        #expect(throws: Never.self) {
            try DescriptorPassing.send(
                DescriptorMessage(message(request, body, flags: flags), descriptors.map { Descriptor($0) }), over: Descriptor(frontEnd))
        }
        return link.attend(0, .input)
    }

    /// Says that there are frames, as the event that it is.
    func kick() { #expect(link.attend(MachineConnection.Part.first + 1, .input) == []) }

    /// The body of an answer to `request`, or nothing.
    func answer(to request: UInt32) -> [UInt8]? {
        var buffer = [UInt8](repeating: 0, count: 1024)
        let count = unsafe recv(frontEnd, &buffer, buffer.count, Int32(MSG_DONTWAIT))
        guard count >= 12, Array(buffer[0..<4]) == number(request), Array(buffer[4..<8]) == number(UInt32(5)) else { return nil }
        #expect(Array(buffer[8..<12]) == number(UInt32(count - 12)))
        return Array(buffer[12..<count])
    }

    var regions: [UInt8] {
        let half = UInt64(VhostDriver.half)
        return table(
            VhostDriver.guest(0), half, VhostDriver.user(0), 0,
            VhostDriver.guest(VhostDriver.half), half, VhostDriver.user(VhostDriver.half), half)
    }

    /// The body of SET_MEM_TABLE: of each region the guest's address, the length, the front-end's address, the offset in its file.
    func table(_ numbers: UInt64...) -> [UInt8] {
        number(UInt32(numbers.count / 4)) + number(UInt32(0)) + numbers.flatMap { number($0) }
    }

    /// Everything that a front-end says until frames can pass. What the last message came to.
    @discardableResult
    func setUp(_ features: VirtioFeatures = [.version1, .mergeableBuffers, .protocolFeatures, .indirect, .eventIndex, .guestChecksum, .guestTCP4, .guestTCP6],
        size: Int = 256, isEnabled: Bool = true
    ) -> LinkEvent {
        say(3)
        say(2, number(features.rawValue))
        say(16, number(UInt64(8)))
        say(5, regions, [file, file])
        start(1, size: size)
        let event = start(0, size: size)
        guard isEnabled else { return event }
        say(18, number(UInt32(1)) + number(UInt32(1)))
        return say(18, number(UInt32(0)) + number(UInt32(1)))
    }

    /// A log for all pages up to the end of memory, as a file of its own, which begins at an offset.
    func startLog() -> Int32 {
        let log = unsafe memfd_create("log", 0)
        #expect(ftruncate(log, 4096 + Int(VhostDriver.guestBase >> 15) + VhostDriver.byteCount >> 15) == 0)
        say(6, number(UInt64(VhostDriver.guestBase >> 15) + UInt64(VhostDriver.byteCount >> 15)) + number(UInt64(4096)), [log])
        return log
    }

    /// Pages of the file that are noted, which is ended by that.
    func takeLog(_ log: Int32) -> Set<Int> {
        var pages: Set<Int> = []
        for page in 0..<(VhostDriver.byteCount / 4096) {
            let number = Int(VhostDriver.guest(page * 4096) / 4096)
            var byte: UInt8 = 0
            if unsafe pread(log, &byte, 1, 4096 + number / 8) == 1, byte & 1 << UInt8(number % 8) != 0 { pages.insert(page) }
        }
        #expect(ftruncate(log, 4096) == 0)
        #expect(ftruncate(log, 4096 + Int(VhostDriver.guestBase >> 15) + VhostDriver.byteCount >> 15) == 0)
        return pages
    }

    /// Starts a ring at its base; the driver's and the device's memory of it begin anew.
    @discardableResult
    func start(_ index: Int, size: Int = 256, base: UInt16 = 0, addressFirst: Bool = false) -> LinkEvent {
        var ring = index == 0 ? toGuest : fromGuest
        ring.size = size
        ring.nextAvailable = base
        ring.seenUsed = base
        store(base, at: ring.available + 2)
        store(base, at: ring.used + 2)
        store(UInt16(0), at: ring.available)
        if index == 0 { toGuest = ring } else { fromGuest = ring }
        return announce(index, base: base, addressFirst: addressFirst)
    }

    /// Says where a ring is, and starts it, whatever is in it.
    @discardableResult
    func announce(_ index: Int, base: UInt16, addressFirst: Bool = false) -> LinkEvent {
        let ring = index == 0 ? toGuest : fromGuest
        let which = number(UInt32(index))
        say(8, which + number(UInt32(ring.size)))
        let address = which + number(UInt32(0)) + [ring.descriptors, ring.used, ring.available, 0].flatMap { number(VhostDriver.user($0)) }
        if addressFirst { say(9, address) }
        say(10, which + number(UInt32(base)))
        if !addressFirst { say(9, address) }
        say(14, number(UInt64(index)), [ring.error])
        say(13, number(UInt64(index)), [ring.call])
        return say(12, number(UInt64(index)), [ring.kick])
    }

    // MARK: Rings

    struct Buffer {
        var offset: Int
        var length: Int
        var isWritable = false
    }

    func describe(_ address: UInt64, _ length: Int, _ flags: UInt16, _ next: Int, at offset: Int) {
        store(address, at: offset)
        store(UInt32(truncatingIfNeeded: length), at: offset + 8)
        store(flags, at: offset + 12)
        store(UInt16(truncatingIfNeeded: next), at: offset + 14)
    }

    /// Makes `head` available. Whoever looks sees the rest before.
    func offer(_ head: Int, _ ring: inout Ring) {
        store(UInt16(truncatingIfNeeded: head), at: ring.available + 4 + 2 * (Int(ring.nextAvailable) % ring.size))
        ring.nextAvailable &+= 1
        store(ring.nextAvailable, at: ring.available + 2)
    }

    /// A chain of buffers, from descriptor `head` on; or in a table of its own, at `table`.
    func chain(_ buffers: [Buffer], head: Int, _ ring: inout Ring, table: Int? = nil) {
        let start = table ?? ring.descriptors + 16 * head
        for (number, buffer) in buffers.enumerated() {
            let isLast = number == buffers.count - 1
            let flags: UInt16 = (isLast ? 0 : 1) | (buffer.isWritable ? 2 : 0)
            describe(VhostDriver.guest(buffer.offset), buffer.length, flags, (table == nil ? head : 0) + number + 1, at: start + 16 * number)
        }
        if let table { describe(VhostDriver.guest(table), 16 * buffers.count, 4, 0, at: ring.descriptors + 16 * head) }
        offer(head, &ring)
    }

    /// What came back since the last time.
    func used(_ ring: inout Ring) -> [(head: Int, length: Int)] {
        var result: [(head: Int, length: Int)] = []
        let index = load(UInt16.self, at: ring.used + 2)
        while ring.seenUsed != index {
            let entry = ring.used + 4 + 8 * (Int(ring.seenUsed) % ring.size)
            result.append((Int(load(UInt32.self, at: entry)), Int(load(UInt32.self, at: entry + 4))))
            ring.seenUsed &+= 1
        }
        return result
    }

    func count(_ counter: Int32) -> Int {
        var value: UInt64 = 0
        return unsafe read(counter, &value, 8) == 8 ? Int(value) : 0
    }

    // MARK: Frames

    /// A guest sends `frame`, in pieces of these lengths and the rest; the link takes it.
    func transmit(_ frame: [UInt8], _ header: VirtioNetHeader = VirtioNetHeader(), pieces: [Int] = [], table: Bool = false, head: Int = 0) {
        let whole = encoded(header) + frame
        put(whole, at: 0x10_0000)
        var buffers: [Buffer] = []
        var offset = 0
        for length in pieces + [whole.count] where offset < whole.count {
            let count = min(length, whole.count - offset)
            buffers.append(Buffer(offset: 0x10_0000 + offset, length: count))
            offset += count
        }
        chain(buffers, head: head, &fromGuest, table: table ? 0x8000 : nil)
    }

    func encoded(_ header: VirtioNetHeader) -> [UInt8] {
        var bytes = [UInt8](repeating: 0, count: link.device.headerLength)
        var span = bytes.mutableSpan
        var raw = unsafe span.mutableBytes
        header.write(to: &raw, at: 0, isShort: link.device.headerLength == 10)
        return bytes
    }

    func receive() -> [(frame: [UInt8], offload: VirtioNetHeader)] {
        batch.removeAll()
        let isOpen = link.receive(into: &batch)
        #expect(isOpen)
        var frames: [(frame: [UInt8], offload: VirtioNetHeader)] = []
        for index in 0..<batch.count {
            let frame = batch[index]
            frames.append((copy(batch.arena.bytes, frame.offset, frame.length), frame.offload))
        }
        return frames
    }

    private func copy(_ bytes: borrowing RawSpan, _ offset: Int, _ count: Int) -> [UInt8] {
        (0..<count).map { bytes.uint8(at: offset + $0) }
    }

    /// Buffers of the guest for `count` frames, one descriptor each.
    func lend(_ count: Int, length: Int, first: Int = 0) {
        for number in first..<(first + count) {
            let head = number % toGuest.size
            chain([Buffer(offset: 0x20_0000 + head * 4096, length: length, isWritable: true)], head: head, &toGuest)
        }
    }

    func send(_ frame: [UInt8], _ offload: VirtioNetHeader = VirtioNetHeader(), slot: Int = 0) -> LinkVerdict {
        let offset = slot * SlotLayout.size + linkHeadroom
        var bytes = slots.mutableBytes
        for (index, byte) in frame.enumerated() { bytes.store(byte, at: offset + index) }
        return link.send(Frame(offset: offset, length: frame.count, offload: offload), in: &slots)
    }

    /// One round of a worker: what the guest sent, and the same frame back to it. How many frames came.
    func pass(_ length: Int) -> Int {
        batch.removeAll()
        guard link.takeNews().contains(.frames), link.receive(into: &batch) else { return 0 }
        if link.hasRoom { _ = link.send(Frame(offset: linkHeadroom, length: length, offload: VirtioNetHeader()), in: &slots) }
        link.flush(&slots)
        _ = link.prepareToWait()
        return batch.count
    }

    func flush() { link.flush(&slots) }
    func prepareToWait() -> Bool { link.prepareToWait() }
    func takeNews() -> LinkEvent { link.takeNews() }
    func awaitAnother() -> Bool { link.awaitAnother() }

    /// Ends the transfer that is wanted: whether it is one that saves; nil where there is none.
    func endTransfer(_ isDone: Bool) -> Bool? {
        guard let transfer = link.takeTransfer() else { return nil }
        transfer.pipe.close()
        link.endTransfer(isDone)
        return transfer.isSaving
    }

    func attend() -> LinkEvent { link.attend(0, .input) }
    var notice: GuestNotice? { link.takeNotice() }
    var hasNews: Bool { link.hasNews }
    var hasRoom: Bool { link.hasRoom }
    var hasLostGuest: Bool { link.hasLostGuest }
    var figures: LinkFigures { link.figures }
    var offloads: LinkOffloads { link.offloads }
    var regionCount: Int { link.device.memory.count }
    func queue(_ index: Int) -> VirtQueue { index == 0 ? link.device.toGuest.queue : link.device.fromGuest.queue }
}
