import Glibc
import Linux
import Testing
import Wire

@testable import Datapath

/// What a front-end says, and what is answered.
@Suite struct VhostProtocolTests {
    @Test func questionsAreAnswered() throws {
        let driver = try VhostDriver()
        driver.say(1)
        #expect(driver.answer(to: 1) == driver.number(VhostDevice.offered.rawValue))
        driver.say(15)
        let bits: [UInt64] = [1, 2, 3, 5, 19]
        #expect(driver.answer(to: 15) == driver.number(bits.reduce(0) { $0 | 1 << $1 }))
        // Lesson 43: exactly as many as there are.
        driver.say(17)
        #expect(driver.answer(to: 17) == driver.number(UInt64(1)))
        driver.say(3)
        #expect(driver.answer(to: 3) == nil)
        // Any message may ask to be confirmed.
        driver.say(2, driver.number(UInt64(1 << 32)), flags: 1 | 8)
        #expect(driver.answer(to: 2) == driver.number(UInt64(0)))
        driver.say(5, driver.regions, [driver.file, driver.file], flags: 1 | 8)
        #expect(driver.answer(to: 5) == driver.number(UInt64(0)))
    }

    /// Each transfer is answered at once, and its end is asked for; nothing else is served before that.
    @Test func statesGoThroughPipes() throws {
        let driver = try VhostDriver()
        #expect(driver.say(42, driver.number(UInt64(0)), [driver.file]) == .transfer)
        #expect(driver.answer(to: 42) == driver.number(UInt64(0x100)))
        #expect(driver.say(43) == .transfer && driver.answer(to: 43) == nil)
        #expect(driver.endTransfer(true) == true)
        #expect(driver.attend().isEmpty && driver.answer(to: 43) == driver.number(UInt64(0)))
        #expect(driver.say(42, driver.number(UInt64(1)), [driver.file]) == .transfer)
        #expect(driver.answer(to: 42) != nil && driver.endTransfer(false) == false)
        #expect(driver.say(43).isEmpty && driver.answer(to: 43) == driver.number(UInt64(1)))
        // A front-end that goes in between leaves nothing open.
        #expect(driver.say(42, driver.number(UInt64(0)), [driver.file]) == .transfer)
        #expect(!driver.awaitAnother() && driver.endTransfer(true) == nil)
    }

    /// Nothing is ever asked of the front-end, but where there is a channel for it, its other end is watched: it stays open as long as the front-end is there.
    @Test func lesson82_theChannelForOurRequestsStaysOpen() throws {
        let driver = try VhostDriver()
        func offer() throws -> Descriptor {
            let pipe = try Descriptor.pipe()
            driver.say(21, [], [pipe.writing.number], flags: 1 | 8)
            #expect(driver.answer(to: 21) == driver.number(UInt64(0)))
            pipe.writing.close()
            return pipe.reading
        }
        let (first, second) = (try offer(), try offer())
        defer { for reading in [first, second] { reading.close() } }
        #expect(hasEnded(first) && !hasEnded(second))
        #expect(!driver.awaitAnother() && hasEnded(second))
        // Without one beside it, the message is none.
        let other = try VhostDriver()
        other.say(21)
        #expect(other.hasLostGuest && other.notice == .brokeProtocol(21))
    }

    /// Whether nobody can write to the pipe any more.
    private func hasEnded(_ reading: Descriptor) -> Bool {
        var poll = pollfd(fd: reading.number, events: Int16(POLLIN), revents: 0)
        return unsafe Glibc.poll(&poll, 1, 0) == 1 && poll.revents & Int16(POLLHUP) != 0
    }

    /// A driver is there once it can receive.
    @Test func theGuestArrivesWithItsRing() throws {
        let driver = try VhostDriver()
        #expect(driver.send(patterned(60)) == .refused && !driver.hasRoom)
        #expect(driver.setUp() == [.arrived, .room])
        #expect(!driver.hasLostGuest && driver.figures.guests == 1)
    }

    /// Memory may be told of anew while rings run.
    @Test func memoryMayChange() throws {
        let driver = try VhostDriver()
        driver.setUp()
        for _ in 0..<10 {
            driver.transmit(patterned(2000))
            driver.say(5, driver.regions, [driver.file, driver.file])
            #expect(driver.receive().map(\.frame) == [patterned(2000)])
        }
        #expect(!driver.hasLostGuest)
        // A ring that has no place any more.
        let half = UInt64(VhostDriver.half)
        driver.say(5, driver.table(VhostDriver.guest(VhostDriver.half), half, VhostDriver.user(VhostDriver.half), half), [driver.file])
        #expect(driver.hasLostGuest && driver.notice == .brokeProtocol(5))
        #expect(driver.receive().isEmpty && driver.send(patterned(60)) == .refused)
    }

    /// A message that makes no sense ends the connection, with one line for the log.
    @Test func whatMakesNoSenseEndsTheConnection() throws {
        let one = UInt64(1)
        typealias Say = (VhostDriver) -> Void
        let cases: [(String, Say)] = [
            ("unknown", { $0.say(99) }), ("zero", { $0.say(0) }), ("another version", { $0.say(1, flags: 2) }),
            ("too long", { $0.say(3, [UInt8](repeating: 0, count: 513)) }), ("short features", { $0.say(2, [0, 0, 0, 0]) }),
            ("features not offered", { $0.say(2, $0.number(UInt64(1 << 34))) }), ("protocol features not offered", { $0.say(16, $0.number(UInt64(1 << 0))) }),
            ("empty table", { $0.say(5) }), ("table without descriptors", { $0.say(5, $0.regions) }), ("one descriptor of two", { $0.say(5, $0.regions, [$0.file]) }),
            ("too many descriptors", { $0.say(5, $0.regions, [$0.file, $0.file, $0.file]) }),
            ("more descriptors than any message has", { driver in driver.say(5, driver.regions, (0..<9).map { _ in driver.file }) }),
            ("more regions than there are", { $0.say(5, $0.number(UInt32(9)) + $0.number(UInt32(0))) }),
            ("a region beyond its file", { $0.say(5, $0.table(0, UInt64(VhostDriver.byteCount) + 1, 0, 0), [$0.file]) }),
            ("a region of nothing", { $0.say(5, $0.table(0, 0, 0, 0), [$0.file]) }),
            ("a region around the end", { $0.say(5, $0.table(.max, 4096, 0, 0), [$0.file]) }),
            ("a huge offset", { $0.say(5, $0.table(0, 4096, 0, .max - 4096), [$0.file]) }),
            ("a socket as memory", { $0.say(5, $0.table(0, 4096, 0, 0), [$0.frontEnd]) }),
            ("third ring", { $0.say(8, $0.number(UInt32(2)) + $0.number(UInt32(256))) }), ("odd size", { $0.say(8, $0.number(UInt32(0)) + $0.number(UInt32(100))) }),
            ("size of nothing", { $0.say(8, $0.number(UInt32(0)) + $0.number(UInt32(0))) }), ("huge size", { $0.say(8, $0.number(UInt32(0)) + $0.number(UInt32(65536))) }),
            ("ring without a place", { $0.say(9, [UInt8](repeating: 0, count: 40)); $0.say(12, $0.number(UInt64(0)), [$0.toGuest.kick]) }), ("short address", { $0.say(9, [UInt8](repeating: 0, count: 39)) }),
            ("kick of no ring", { $0.say(12, $0.number(UInt64(2)), [$0.file]) }), ("kick without descriptor", { $0.say(12, $0.number(UInt64(0))) }),
            ("state without a pipe", { $0.say(42, $0.number(UInt64(0))) }), ("state in a third direction", { $0.say(42, $0.number(UInt64(2)), [$0.file]) }),
            ("state of a machine that runs", { $0.say(42, $0.number(UInt64(1 << 32)), [$0.file]) }), ("a long question for a state", { $0.say(43, [0]) }),
            ("state while a ring runs", { $0.setUp(); $0.say(42, $0.number(UInt64(0)), [$0.file]) }),
            ("ring to be polled", { $0.say(12, $0.number(UInt64(0x100))) }), ("call without descriptor", { $0.say(13, $0.number(one)) }),
        ]
        for (name, say) in cases {
            let driver = try VhostDriver()
            say(driver)
            #expect(driver.hasLostGuest, "\(name)")
            let isTold = if case .brokeProtocol = driver.notice { true } else { false }
            #expect(isTold && driver.notice == nil && driver.figures.brokeProtocol == 1, "\(name)")
            #expect(!driver.awaitAnother())
            #expect(driver.notice == .left)
        }
        // What is missing on purpose is no mistake.
        let driver = try VhostDriver()
        for request in [13, 14] as [UInt32] { driver.say(request, driver.number(UInt64(0x100))) }
        driver.say(4)
        driver.say(7, [], [driver.file])
        driver.say(19, driver.number(UInt64(0x5254_0012_3456)))
        #expect(!driver.hasLostGuest)
    }

    /// While the machine moves, every page that we write to is noted, by the guest's address, and no other.
    @Test func whatIsWrittenIsNoted() throws {
        let driver = try VhostDriver()
        let agreed: VirtioFeatures = [.version1, .mergeableBuffers, .protocolFeatures, .eventIndex]
        driver.setUp(agreed)
        let log = driver.startLog()
        defer { _ = close(log) }
        #expect(driver.answer(to: 6) == driver.number(UInt64(0)))
        // Five bytes before a page's end: two pages, the second in the other region.
        driver.chain([.init(offset: VhostDriver.half - 5, length: 5, isWritable: true), .init(offset: 0x28_0000, length: 3000, isWritable: true)], head: 0, &driver.toGuest)
        driver.lend(10, length: 2000, first: 1)
        // Nobody has asked for it yet.
        #expect(driver.send(patterned(60)) == .sent)
        driver.flush()
        #expect(driver.takeLog(log) == [])
        driver.say(2, driver.number(agreed.union(.log).rawValue))
        let (usedToGuest, usedFromGuest) = (driver.toGuest.used / 4096, driver.fromGuest.used / 4096)
        #expect(driver.send(patterned(3000)) == .sent)
        driver.flush()
        // Two buffers, each at the start of a page, and the ring's end.
        #expect(driver.takeLog(log) == [0x200 + 1, 0x200 + 2, usedToGuest])
        driver.transmit(patterned(60))
        #expect(driver.receive().count == 1)
        #expect(driver.takeLog(log) == [usedFromGuest])
        _ = driver.prepareToWait()
        #expect(driver.takeLog(log) == [usedFromGuest])
        // A frame across a page's end.
        driver.chain([.init(offset: 0x2f_fff0, length: 2000, isWritable: true)], head: 20, &driver.toGuest)
        for _ in 0..<8 { #expect(driver.send(patterned(60)) == .sent) }
        _ = driver.takeLog(log)
        #expect(driver.send(patterned(60)) == .sent)
        #expect(driver.takeLog(log) == [0x2ff, 0x300, usedToGuest])
        // A log that is shorter than the memory is not written beyond.
        driver.say(6, driver.number(UInt64(8)) + driver.number(UInt64(4096)), [log])
        #expect(driver.answer(to: 6) == driver.number(UInt64(0)))
        driver.transmit(patterned(60))
        #expect(driver.receive().count == 1 && driver.takeLog(log) == [])
        driver.say(2, driver.number(agreed.rawValue))
        #expect(!driver.hasLostGuest)
        for body in [driver.number(UInt64(0)) + driver.number(UInt64(0)), driver.number(UInt64(1) << 40) + driver.number(UInt64(0)), driver.number(UInt64(8))] {
            let other = try VhostDriver()
            other.say(6, body, [log])
            #expect(other.hasLostGuest && other.notice == .brokeProtocol(6))
        }
    }

    /// Messages may come in any pieces, and several at once.
    @Test func messagesComeInPieces() throws {
        let driver = try VhostDriver()
        let stream = driver.message(3) + driver.message(2, driver.number(UInt64(1 << 32))) + driver.message(1) + driver.message(8, driver.number(UInt32(1)) + driver.number(UInt32(512)))
        for cut in 1..<stream.count {
            for part in [Array(stream[..<cut]), Array(stream[cut...])] {
                #expect(unsafe write(driver.frontEnd, part, part.count) == part.count)
                #expect(driver.attend() == [])
            }
            #expect(driver.answer(to: 1) == driver.number(VhostDevice.offered.rawValue))
            #expect(driver.queue(1).size == 512)
        }
        #expect(!driver.hasLostGuest)
    }

    /// When the front-end goes, nothing of the guest stays: no descriptor, no memory.
    @Test(arguments: [true, false]) func nothingStays(_ goes: Bool) throws {
        let driver = try VhostDriver()
        driver.setUp()
        // Pipes, as their other ends tell when they are closed.
        var ends: [Int32] = []
        for request in [12, 13, 14] as [UInt32] {
            for _ in 0..<2 {
                let pipe = try Descriptor.pipe()
                driver.say(request, driver.number(UInt64(0)), [pipe.writing.number])
                pipe.writing.close()
                ends.append(pipe.reading.number)
            }
        }
        // What was given first has been replaced.
        #expect(ends.map(isClosed) == [true, false, true, false, true, false])
        #expect(driver.mappings == 3 && driver.regionCount == 2)
        if goes {
            _ = shutdown(driver.frontEnd, Int32(SHUT_WR))
            #expect(driver.attend() == [])
        } else {
            // Descriptors beside a message that takes none.
            let pipe = try Descriptor.pipe()
            driver.say(99, [], [pipe.writing.number, pipe.writing.number])
            pipe.writing.close()
            ends.append(pipe.reading.number)
        }
        #expect(driver.hasLostGuest)
        #expect(!driver.hasNews && driver.takeNews() == [])
        #expect(!driver.awaitAnother())
        #expect(ends.allSatisfy(isClosed))
        // The driver's own.
        #expect(driver.mappings == 1 && driver.regionCount == 0)
        for end in ends { _ = close(end) }
    }

    /// Whether nobody can write to a pipe any more.
    private func isClosed(_ reading: Int32) -> Bool {
        var entry = pollfd(fd: reading, events: Int16(POLLIN), revents: 0)
        return unsafe poll(&entry, 1, 0) == 1 && entry.revents & Int16(POLLHUP) != 0
    }
}
