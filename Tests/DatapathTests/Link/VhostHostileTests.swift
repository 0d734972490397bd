import Linux
import Testing
import Wire

@testable import Datapath

/// Guests whose drivers lie. Nothing of it goes beyond the ring that it is in.
@Suite struct VhostHostileTests {
    typealias Change = @Sendable (VhostDriver) -> Void

    /// Each puts something impossible into the ring from the guest, with a good frame at descriptor 0 that would come first in the chain.
    static let impossible: [(String, Change)] = [
        ("index too far ahead", { $0.store(UInt16(258), at: $0.fromGuest.available + 2) }),
        ("index behind", { $0.store(UInt16(0xffff), at: $0.fromGuest.available + 2) }),
        ("head outside", { $0.offer(256, &$0.fromGuest) }),
        ("head far outside", { $0.offer(0xffff, &$0.fromGuest) }),
        ("circle", { $0.describe(VhostDriver.guest(0x10_0000), 10, 1, 3, at: $0.fromGuest.descriptors + 48); $0.offer(3, &$0.fromGuest) }),
        ("circle of nothing", { $0.describe(0, 0, 1, 3, at: $0.fromGuest.descriptors + 48); $0.offer(3, &$0.fromGuest) }),
        ("next outside", { $0.describe(VhostDriver.guest(0x10_0000), 10, 1, 256, at: $0.fromGuest.descriptors + 48); $0.offer(3, &$0.fromGuest) }),
        ("address outside", { $0.describe(0, 100, 0, 0, at: $0.fromGuest.descriptors + 48); $0.offer(3, &$0.fromGuest) }),
        ("address beyond", { $0.describe(.max, 100, 0, 0, at: $0.fromGuest.descriptors + 48); $0.offer(3, &$0.fromGuest) }),
        ("end outside", {
            let end = VhostDriver.guestBase + UInt64(VhostDriver.byteCount)
            $0.describe(end - 50, 100, 0, 0, at: $0.fromGuest.descriptors + 48)
            $0.offer(3, &$0.fromGuest)
        }),
        ("writable", { $0.describe(VhostDriver.guest(0x10_0000), 100, 2, 0, at: $0.fromGuest.descriptors + 48); $0.offer(3, &$0.fromGuest) }),
        ("table of nothing", { $0.describe(VhostDriver.guest(0x8000), 0, 4, 0, at: $0.fromGuest.descriptors + 48); $0.offer(3, &$0.fromGuest) }),
        ("table of odd length", { $0.describe(VhostDriver.guest(0x8000), 17, 4, 0, at: $0.fromGuest.descriptors + 48); $0.offer(3, &$0.fromGuest) }),
        ("table that goes on", { $0.describe(VhostDriver.guest(0x8000), 16, 5, 0, at: $0.fromGuest.descriptors + 48); $0.offer(3, &$0.fromGuest) }),
        ("table outside", { $0.describe(77, 16, 4, 0, at: $0.fromGuest.descriptors + 48); $0.offer(3, &$0.fromGuest) }),
        ("table at an odd address", { $0.describe(VhostDriver.guest(0x8001), 16, 4, 0, at: $0.fromGuest.descriptors + 48); $0.offer(3, &$0.fromGuest) }),
        ("huge table", { $0.describe(VhostDriver.guest(0x8000), 16 * 1025, 4, 0, at: $0.fromGuest.descriptors + 48); $0.offer(3, &$0.fromGuest) }),
        ("table in a table", {
            $0.describe(VhostDriver.guest(0x9000), 16, 4, 0, at: 0x8000)
            $0.describe(VhostDriver.guest(0x8000), 16, 4, 0, at: $0.fromGuest.descriptors + 48)
            $0.offer(3, &$0.fromGuest)
        }),
        ("table with a circle", {
            $0.describe(VhostDriver.guest(0x10_0000), 1, 1, 0, at: 0x8000)
            $0.describe(VhostDriver.guest(0x8000), 16, 4, 0, at: $0.fromGuest.descriptors + 48)
            $0.offer(3, &$0.fromGuest)
        }),
    ]

    @Test(arguments: impossible.indices)
    func lesson43_theRingRestsUntilItIsStartedAnew(_ which: Int) throws {
        let (name, change) = Self.impossible[which]
        let driver = try VhostDriver()
        driver.setUp()
        driver.transmit(patterned(100))
        #expect(driver.receive().count == 1, "\(name)")
        change(driver)
        #expect(driver.receive().count == 0, "\(name)")
        #expect(driver.notice == .brokeRing && driver.notice == nil, "\(name)")
        #expect(driver.count(driver.fromGuest.error) == 1, "\(name)")
        // Nothing more is looked at, and nobody is kept awake by it.
        driver.transmit(patterned(100))
        #expect(!driver.hasNews && driver.prepareToWait() && driver.receive().isEmpty, "\(name)")
        #expect(driver.figures.brokeRing == 1, "\(name)")
        // The other ring goes on.
        driver.lend(1, length: 2000)
        #expect(driver.send(patterned(60)) == .sent, "\(name)")
        // A driver that begins anew is served.
        driver.say(11, driver.number(UInt32(1)) + driver.number(UInt32(0)))
        #expect(driver.answer(to: 11) != nil)
        driver.start(1)
        driver.transmit(patterned(100))
        #expect(driver.receive().map(\.frame) == [patterned(100)], "\(name)")
        // And if it does the same again, that is counted, and not said again.
        change(driver)
        #expect(driver.receive().count == 0, "\(name)")
        #expect(driver.notice == nil && driver.figures.brokeRing == 2, "\(name)")
    }

    /// The same for buffers in which something is to be written.
    @Test func theRingToTheGuestRestsToo() throws {
        let changes: [Change] = [
            { $0.describe(VhostDriver.guest(0x10_0000), 2000, 0, 0, at: $0.toGuest.descriptors + 48); $0.offer(3, &$0.toGuest) },  // not writable
            { $0.describe(0, 2000, 2, 0, at: $0.toGuest.descriptors + 48); $0.offer(3, &$0.toGuest) },
            { $0.describe(.max - 10, 2000, 2, 0, at: $0.toGuest.descriptors + 48); $0.offer(3, &$0.toGuest) },
            { $0.describe(VhostDriver.guest(0x10_0000), 10, 3, 3, at: $0.toGuest.descriptors + 48); $0.offer(3, &$0.toGuest) },  // a circle
            { $0.store(UInt16(1000), at: $0.toGuest.available + 2) },
            { $0.offer(300, &$0.toGuest) },
        ]
        for (number, change) in changes.enumerated() {
            let driver = try VhostDriver()
            driver.setUp()
            change(driver)
            // Whether there is room is not asked for ever.
            _ = driver.hasRoom
            _ = driver.takeNews()
            #expect(driver.send(patterned(60)) == .refused, "\(number)")
            #expect(driver.notice == .brokeRing, "\(number)")
            #expect(driver.count(driver.toGuest.error) == 1)
            #expect(!driver.hasRoom && !driver.hasNews && driver.prepareToWait(), "\(number)")
            #expect(driver.send(patterned(60)) == .refused)
            driver.flush()
            #expect(driver.used(&driver.toGuest).isEmpty, "\(number)")
            driver.transmit(patterned(100))
            #expect(driver.receive().count == 1)
        }
    }

    /// Chains of many buffers with nothing in them: no more of them is looked at than a frame can have, neither to find room nor to take frames.
    @Test func longChainsOfNothingAreShortWork() throws {
        let driver = try VhostDriver()
        driver.setUp()
        for ring in 0..<2 {
            var ring = ring == 0 ? driver.toGuest : driver.fromGuest
            // 256 chains through all 256 descriptors, or tables of 1024.
            for entry in 0..<1024 {
                driver.describe(VhostDriver.guest(0x10_0000), 0, (entry < 1023 ? 1 : 0) | (ring.index == 0 ? 2 : 0), entry + 1, at: 0x1_0000 + 16 * entry)
            }
            for head in 0..<256 { driver.describe(VhostDriver.guest(0x1_0000), 16 * 1024, 4, 0, at: ring.descriptors + 16 * head) }
            for head in 0..<256 { driver.offer(head, &ring) }
            if ring.index == 0 {
                #expect(!driver.hasRoom && !driver.hasNews && driver.prepareToWait())
                #expect(driver.send(patterned(60)) == .refused)
            } else {
                #expect(driver.receive().count == 0)
                // As many as a batch has frames, and the rest in the next rounds.
                let capacity = driver.batch.capacity
                #expect(driver.used(&ring).count == capacity && driver.hasNews)
            }
        }
    }

    /// Buffers of a byte: the largest frames never fit, small ones do, and nothing is stuck.
    @Test func tinyBuffersHurtTheirDriverOnly() throws {
        let driver = try VhostDriver()
        driver.setUp()
        driver.lend(200, length: 1)
        #expect(driver.send(patterned(65_000)) == .full)
        #expect(driver.send(patterned(60)) == .sent)
        driver.flush()
        #expect(driver.used(&driver.toGuest).count == 72)
    }

    /// Whatever is in the rings, and whatever changes in them, also by what is received into them: nothing traps, and each round ends.
    @Test func randomRings() throws {
        var random = SystemRandomNumberGenerator()
        let frame = patterned(3000)
        for _ in 0..<100 {
            let seed = UInt64.random(in: .min ... .max, using: &random)
            var generator = LocalRandom(state: seed)
            let driver = try VhostDriver()
            let features: VirtioFeatures = Bool.random(using: &generator) ? [.version1, .mergeableBuffers, .eventIndex] : [.version1]
            driver.setUp(features, size: 16)
            for _ in 0..<40 {
                for _ in 0..<8 {
                    let ring = Bool.random(using: &generator) ? driver.toGuest : driver.fromGuest
                    let flags = UInt16.random(in: 0...7, using: &generator)
                    let address = Bool.random(using: &generator) ? VhostDriver.guest(Int.random(in: 0..<VhostDriver.byteCount, using: &generator)) & ~7
                        : UInt64.random(in: .min ... .max, using: &generator)
                    let length = Bool.random(using: &generator) ? 16 * Int.random(in: 0..<300, using: &generator) : Int(UInt32.random(in: 0 ... .max, using: &generator))
                    let entry = ring.descriptors + 16 * Int.random(in: 0..<16, using: &generator)
                    driver.describe(address, length, flags, Int.random(in: 0..<17, using: &generator), at: entry)
                }
                driver.offer(Int.random(in: 0..<16, using: &generator), &driver.fromGuest)
                driver.offer(Int.random(in: 0..<16, using: &generator), &driver.toGuest)
                _ = driver.receive()
                _ = driver.hasRoom
                _ = driver.send(Array(frame.prefix(Int.random(in: 60..<3000, using: &generator))))
                driver.flush()
                _ = driver.takeNews()
                _ = driver.prepareToWait()
                for ring in 0..<2 where driver.queue(ring).isBroken {
                    driver.say(11, driver.number(UInt32(ring)) + driver.number(UInt32(0)))
                    driver.start(ring, size: 16)
                }
            }
        }
    }
}
