import Linux
import Testing
import Wire

@testable import Datapath

/// Frames through a guest's memory, both ways.
@Suite struct VhostFramesTests {
    /// However a driver cuts header and frame, and wherever the descriptors are.
    @Test(arguments: [[], [12], [1, 11], [5, 7, 1, 13], [26, 1], [100]], [false, true])
    func framesOfTheGuestArrive(_ pieces: [Int], _ table: Bool) throws {
        let driver = try VhostDriver()
        driver.setUp()
        var header = VirtioNetHeader(checksumStart: 34, checksumOffset: 16)
        header.segmentation = .tcp4
        header.segmentSize = 1460
        for (number, length) in [60, 61, 1514, 65000, largestFrame].enumerated() {
            let frame = patterned(length, seed: number)
            driver.transmit(frame, header, pieces: pieces, table: table, head: 10 * number)
            #expect(driver.hasNews)
            let received = driver.receive()
            #expect(received.count == 1 && received[0].frame == frame && received[0].offload == header)
            #expect(driver.used(&driver.fromGuest).map(\.head) == [10 * number])
            #expect(!driver.hasNews)
        }
        #expect(driver.figures.unusableFrames == 0)
    }

    /// What is no frame comes back all the same.
    @Test func whatIsNoFrameComesBack() throws {
        let driver = try VhostDriver()
        driver.setUp()
        for length in [0, 1, 14, largestFrame + 1, 200_000] {
            driver.transmit(patterned(length), head: 7)
            #expect(driver.receive().count == 0)
        }
        driver.transmit(patterned(15), head: 7)
        #expect(driver.receive().map(\.frame.count) == [15])
        #expect(driver.used(&driver.fromGuest).count == 6)
        #expect(driver.figures.unusableFrames == 5)
        #expect(driver.notice == nil)
    }

    /// A frame is spread over as many buffers as it needs, and the header says how many (lesson 43: always).
    @Test(arguments: [1526, 4096, 13, 12, 65550])
    func lesson43_framesForTheGuestAreSpread(_ length: Int) throws {
        let driver = try VhostDriver()
        driver.setUp()
        let frame = patterned(length < 100 ? 60 : 30_000)
        let whole = 12 + frame.count
        let buffers = (whole + length - 1) / length
        driver.lend(buffers + 2, length: min(length, 4096 * 16))
        var header = VirtioNetHeader(checksumStart: 34, checksumOffset: 16)
        header.segmentation = .tcp6
        header.segmentSize = 1440
        #expect(driver.send(frame, header) == .sent)
        if frame.count < 16384 { #expect(driver.used(&driver.toGuest).isEmpty) }
        driver.flush()
        let used = driver.used(&driver.toGuest)
        #expect(used.map(\.head) == Array(0..<buffers))
        #expect(used.map(\.length).reduce(0, +) == whole)
        var seen: [UInt8] = []
        for (head, count) in used { seen += driver.bytes(count, at: 0x20_0000 + head * 4096) }
        header.bufferCount = UInt16(buffers)
        #expect(seen == driver.encoded(header) + frame)
    }

    /// Without merging, one chain holds a frame, or does not.
    @Test func lesson43_withoutMergingThereIsOneBuffer() throws {
        let driver = try VhostDriver()
        driver.setUp([.version1, .protocolFeatures])
        driver.chain([.init(offset: 0x20_0000, length: 12, isWritable: true), .init(offset: 0x21_0000, length: 1514, isWritable: true)], head: 0, &driver.toGuest)
        driver.chain([.init(offset: 0x22_0000, length: 100, isWritable: true)], head: 5, &driver.toGuest)
        #expect(driver.hasRoom)
        let frame = patterned(1000)
        #expect(driver.send(frame) == .sent)
        // Too long for what is there: it comes back empty.
        #expect(driver.send(frame) == .refused)
        driver.flush()
        let used = driver.used(&driver.toGuest)
        #expect(used.map(\.head) == [0, 5] && used.map(\.length) == [1012, 0])
        #expect(driver.bytes(12, at: 0x20_0000) == driver.encoded(VirtioNetHeader()))
        #expect(driver.bytes(12, at: 0x20_0000)[10] == 1)
        #expect(driver.bytes(1000, at: 0x21_0000) == frame)
        #expect(driver.send(frame) == .full && !driver.hasRoom)
    }

    /// Drivers of before virtio 1, as those of boot loaders, have a shorter header.
    @Test func oldDriversHaveAShortHeader() throws {
        let driver = try VhostDriver()
        driver.setUp([.protocolFeatures])
        driver.transmit(patterned(99), pieces: [10])
        #expect(driver.receive().map(\.frame) == [patterned(99)])
        driver.lend(1, length: 2000)
        #expect(driver.send(patterned(60)) == .sent)
        driver.flush()
        #expect(driver.used(&driver.toGuest).map(\.length) == [70])
        #expect(driver.bytes(60, at: 0x20_0000 + 10) == patterned(60))
    }

    /// What the driver has not agreed to is not left to it (lesson 43: iPXE).
    @Test func lesson43_offloadsAreWhatWasAgreed() throws {
        let all: VirtioFeatures = [.version1, .mergeableBuffers, .guestChecksum, .guestTCP4, .guestTCP6, .guestUDP4, .guestUDP6]
        for (features, size, expected) in [
            (all, 256, [.checksum, .tcpSegmentation, .udpSegmentation]), (all, 64, [.checksum]), (all.subtracting(.guestChecksum), 256, []),
            (all, 128, [.checksum, .tcpSegmentation, .udpSegmentation]),
            (all.subtracting(.guestTCP6), 256, [.checksum, .udpSegmentation]), (all.subtracting(.guestUDP4), 256, [.checksum, .tcpSegmentation]),
            ([.version1], 256, []), (all.subtracting(.mergeableBuffers), 32, [.checksum, .tcpSegmentation, .udpSegmentation]),
        ] as [(VirtioFeatures, Int, LinkOffloads)] {
            let driver = try VhostDriver()
            #expect(driver.offloads == [])
            driver.setUp(features, size: size)
            #expect(driver.offloads == expected, "\(features), \(size)")
        }
    }

    /// Indices run over, rings go round: more frames than an index can count, each way.
    @Test(arguments: [8, 256], [true, false])
    func indicesRunOver(_ size: Int, _ eventIndex: Bool) throws {
        let driver = try VhostDriver()
        driver.setUp(eventIndex ? [.version1, .mergeableBuffers, .eventIndex] : [.version1, .mergeableBuffers], size: size)
        let frame = patterned(60)
        var (received, sent) = (0, 0)
        for round in 0..<70_000 {
            driver.transmit(frame, head: round % size)
            received += driver.receive().count
            driver.lend(1, length: 128, first: round)
            if driver.send(frame) == .sent { sent += 1 }
            driver.flush()
            let back = driver.used(&driver.fromGuest), filled = driver.used(&driver.toGuest)
            guard back.count == 1, back[0].head == round % size, filled.count == 1, filled[0] == (round % size, 72) else {
                Issue.record("round \(round): \(back), \(filled)")
                return
            }
        }
        #expect(received == 70_000 && sent == 70_000)
    }

    // MARK: Who calls whom

    @Test func callsComeWhereTheyAreWanted() throws {
        let driver = try VhostDriver()
        driver.setUp()
        let event = driver.toGuest.available + 4 + 2 * 256
        driver.lend(10, length: 2000)
        // From the first one on.
        driver.store(UInt16(0), at: event)
        #expect(driver.send(patterned(60)) == .sent)
        #expect(driver.count(driver.toGuest.call) == 0)
        driver.flush()
        #expect(driver.count(driver.toGuest.call) == 1)
        // Not before the fifth.
        driver.store(UInt16(4), at: event)
        for _ in 1..<4 { #expect(driver.send(patterned(60)) == .sent) }
        driver.flush()
        #expect(driver.count(driver.toGuest.call) == 0)
        for _ in 4..<6 { #expect(driver.send(patterned(60)) == .sent) }
        driver.flush()
        driver.flush()
        #expect(driver.count(driver.toGuest.call) == 1)
        // A large one is told of at once.
        driver.store(UInt16(6), at: event)
        #expect(driver.send(patterned(20_000)) == .full)
        driver.lend(20, length: 2000, first: 10)
        #expect(driver.send(patterned(20_000)) == .sent)
        #expect(driver.count(driver.toGuest.call) == 1)
    }

    @Test func withoutEventIndexFlagsSayIt() throws {
        let driver = try VhostDriver()
        driver.setUp([.version1, .mergeableBuffers])
        driver.lend(4, length: 2000)
        driver.store(UInt16(1), at: driver.toGuest.available)
        #expect(driver.send(patterned(60)) == .sent)
        driver.flush()
        #expect(driver.count(driver.toGuest.call) == 0)
        driver.store(UInt16(0), at: driver.toGuest.available)
        #expect(driver.send(patterned(60)) == .sent)
        driver.flush()
        #expect(driver.count(driver.toGuest.call) == 1)
        // While we look, kicks are of no use; before we sleep, they are.
        driver.transmit(patterned(60))
        #expect(driver.receive().count == 1)
        #expect(driver.load(UInt16.self, at: driver.fromGuest.used) == 1)
        #expect(driver.prepareToWait())
        #expect(driver.load(UInt16.self, at: driver.fromGuest.used) == 0)
    }

    /// Nobody sleeps while there is something to do, and everybody asks to be woken up.
    @Test func kicksAreAskedForBeforeSleeping() throws {
        let driver = try VhostDriver()
        driver.setUp()
        let event = driver.fromGuest.used + 4 + 8 * 256
        for round in 0..<300 {
            driver.transmit(patterned(60), head: round % 256)
            #expect(driver.hasNews && !driver.prepareToWait())
            #expect(driver.takeNews() == .frames)
            #expect(driver.receive().count == 1)
            #expect(!driver.hasNews && driver.prepareToWait())
            #expect(driver.load(UInt16.self, at: event) == driver.fromGuest.nextAvailable)
        }
        // A kick wakes up whoever waits, each time, though the counter is never read.
        var events = try EventList(capacity: 8)
        for _ in 0..<3 {
            try events.wait(on: driver.epoll, nanoseconds: 0)
            while events.count > 0 { try events.wait(on: driver.epoll, nanoseconds: 0) }
            Descriptor(driver.fromGuest.kick).signal()
            try events.wait(on: driver.epoll, nanoseconds: 1_000_000_000)
            #expect(events.count == 1 && EventTag(bits: events[0].tag).index == MachineConnection.Part.first + 1)
        }
    }

    /// Who found no room is told when there is some; it has to be room for the largest frame.
    @Test func roomIsToldWhenItComes() throws {
        let driver = try VhostDriver()
        driver.setUp()
        #expect(!driver.hasRoom)
        let event = driver.toGuest.used + 4 + 8 * 256
        driver.lend(40, length: 1526)
        // Too little: it sleeps, and is woken up by the next buffer.
        #expect(driver.prepareToWait() && driver.takeNews() == [])
        #expect(driver.load(UInt16.self, at: event) == 40)
        #expect(driver.send(patterned(65_000)) == .full)
        driver.lend(3, length: 1526, first: 40)
        #expect(!driver.prepareToWait())
        #expect(driver.takeNews() == .room)
        #expect(driver.takeNews() == [] && !driver.hasNews)
        #expect(driver.hasRoom && driver.send(patterned(65_000)) == .sent)
    }

    /// A driver that takes no super-frames may have little room (OpenBSD's begins with 32 KiB): that is enough.
    @Test func littleRoomIsEnoughForSmallFrames() throws {
        let driver = try VhostDriver()
        driver.setUp([.version1, .mergeableBuffers, .protocolFeatures])
        driver.lend(16, length: 2048)
        #expect(driver.hasRoom)
    }

    /// What is left is less than the next frame: nobody stays awake for that.
    @Test func tooLittleRoomLetsSleep() throws {
        let driver = try VhostDriver()
        driver.setUp([.version1, .mergeableBuffers, .protocolFeatures])
        driver.lend(1, length: 1024)
        #expect(driver.hasRoom && driver.send(patterned(1514)) == .full)
        #expect(!driver.hasNews && driver.prepareToWait())
        driver.lend(1, length: 1024, first: 1)
        #expect(driver.hasNews && !driver.prepareToWait() && driver.takeNews() == .room)
        #expect(driver.send(patterned(1514)) == .sent)
    }
}
