import Glibc
import Linux
import Testing
import Wire

@testable import Datapath

/// When rings are looked at: started, enabled, stopped, set up anew.
@Suite struct VhostRingTests {
    /// Front-ends that know nothing of enabling find rings enabled.
    @Test func withoutProtocolFeaturesRingsAreEnabled() throws {
        let driver = try VhostDriver()
        #expect(driver.setUp([.version1, .mergeableBuffers], isEnabled: false) == [.arrived, .room])
        driver.transmit(patterned(60))
        #expect(driver.receive().count == 1)
    }

    /// A ring that is started and not enabled: what comes is thrown away, and nothing goes.
    @Test func disabledRingsPassNothing() throws {
        let driver = try VhostDriver()
        #expect(driver.setUp(isEnabled: false) == [])
        driver.transmit(patterned(60))
        driver.kick()
        #expect(driver.takeNews() == .frames)
        #expect(driver.receive().isEmpty && driver.used(&driver.fromGuest).count == 1)
        driver.lend(50, length: 2000)
        #expect(!driver.hasRoom && driver.send(patterned(60)) == .refused && driver.prepareToWait())
        #expect(driver.say(18, driver.number(UInt32(0)) + driver.number(UInt32(1))) == [.arrived, .room])
        #expect(driver.hasRoom && driver.send(patterned(60)) == .sent)
        driver.say(18, driver.number(UInt32(0)) + driver.number(UInt32(0)))
        #expect(!driver.hasRoom)
    }

    /// User-Mode Linux disables a ring and takes its memory back, without a word more: only a kick says that it is still one.
    @Test(arguments: [true, false]) func aDisabledRingIsLookedAtAfterAKick(_ hasEventIndex: Bool) throws {
        let agreed: VirtioFeatures = [.version1, .mergeableBuffers, .protocolFeatures]
        let driver = try VhostDriver()
        driver.setUp(hasEventIndex ? agreed.union(.eventIndex) : agreed)
        driver.transmit(patterned(60))
        #expect(driver.receive().count == 1 && driver.used(&driver.fromGuest).count == 1)
        driver.transmit(patterned(60), head: 1)
        driver.say(18, driver.number(UInt32(1)) + driver.number(UInt32(0)))
        // What was in it by then is thrown away.
        #expect(driver.takeNews() == .frames && driver.receive().isEmpty && driver.used(&driver.fromGuest).count == 1)
        driver.transmit(patterned(60), head: 2)
        let before = driver.bytes(0x4000, at: 0)
        #expect(driver.takeNews() == [] && driver.prepareToWait() && driver.receive().isEmpty)
        #expect(driver.bytes(0x4000, at: 0) == before)
        driver.kick()
        #expect(driver.takeNews() == .frames && driver.receive().isEmpty && driver.used(&driver.fromGuest).count == 1)
        driver.transmit(patterned(60), head: 3)
        #expect(driver.takeNews() == [])
        driver.say(18, driver.number(UInt32(1)) + driver.number(UInt32(1)))
        #expect(driver.takeNews() == .frames && driver.receive().count == 1)
    }

    /// A stopped ring says how far it was; its memory is not touched, its address is forgotten (lesson 43), and nobody is called.
    @Test func lesson43_aStoppedRingIsLeftAlone() throws {
        let driver = try VhostDriver()
        driver.setUp()
        driver.lend(5, length: 2000)
        for _ in 0..<3 { #expect(driver.send(patterned(60)) == .sent) }
        driver.flush()
        driver.say(11, driver.number(UInt32(0)) + driver.number(UInt32(0)))
        #expect(driver.answer(to: 11) == driver.number(UInt32(0)) + driver.number(UInt32(3)))
        let before = driver.bytes(0x4000, at: 0)
        #expect(driver.send(patterned(60)) == .refused && !driver.hasRoom && driver.prepareToWait())
        driver.flush()
        #expect(driver.bytes(0x4000, at: 0) == before)
        #expect(!driver.hasLostGuest)
        // Without addresses it cannot be started.
        driver.say(12, driver.number(UInt64(0)), [driver.toGuest.kick])
        #expect(driver.hasLostGuest && driver.notice == .brokeProtocol(12))
    }

    /// Where it was, it goes on.
    @Test func aRingGoesOnWhereItWas() throws {
        let driver = try VhostDriver()
        driver.setUp()
        driver.say(11, driver.number(UInt32(1)) + driver.number(UInt32(0)))
        #expect(driver.answer(to: 11) != nil)
        driver.start(1, base: 0xfffe)
        for number in 0..<5 {
            driver.transmit(patterned(60 + number), head: number)
            #expect(driver.receive().map(\.frame.count) == [60 + number])
            #expect(driver.used(&driver.fromGuest).map(\.head) == [number])
        }
        driver.say(11, driver.number(UInt32(1)) + driver.number(UInt32(0)))
        #expect(driver.answer(to: 11) == driver.number(UInt32(1)) + driver.number(UInt32(3)))
    }

    /// Cloud Hypervisor, when it connects again, says where the driver is and not where we were. Buffers that wait in the ring would never be found, and the driver waits for them.
    @Test func aRingGoesOnWhereItWasWhateverIsSaid() throws {
        let driver = try VhostDriver()
        driver.setUp()
        driver.lend(50, length: 2000)
        for _ in 0..<3 { #expect(driver.send(patterned(60)) == .sent) }
        driver.flush()
        #expect(driver.used(&driver.toGuest).map(\.head) == [0, 1, 2])
        for ring in [0, 1] {
            driver.say(11, driver.number(UInt32(ring)) + driver.number(UInt32(0)))
            #expect(driver.answer(to: 11) != nil)
        }
        driver.transmit(patterned(70))
        driver.announce(1, base: 1)
        driver.announce(0, base: 50)
        #expect(driver.receive().map(\.frame) == [patterned(70)])
        #expect(driver.used(&driver.fromGuest).count == 1)
        let hasRoom = driver.link.hasRoom
        #expect(hasRoom && driver.send(patterned(60)) == .sent)
        driver.flush()
        #expect(driver.used(&driver.toGuest).map(\.head) == [3])
    }

    /// A size or base cannot change under a running ring.
    @Test func runningRingsKeepTheirSize() throws {
        for request in [8, 10] as [UInt32] {
            let driver = try VhostDriver()
            driver.setUp()
            driver.say(request, driver.number(UInt32(1)) + driver.number(UInt32(128)))
            #expect(driver.hasLostGuest && driver.notice == .brokeProtocol(request))
        }
    }

    /// Some front-ends only disable a ring, and set it up anew.
    @Test func disabledRingsMayBeSetUpAnew() throws {
        for request in [8, 9, 10] as [UInt32] {
            let driver = try VhostDriver()
            driver.setUp()
            driver.transmit(patterned(60))
            #expect(driver.receive().count == 1)
            driver.say(18, driver.number(UInt32(1)) + driver.number(UInt32(0)))
            if request == 9 { driver.say(9, driver.number(UInt64(1)) + [UInt8](repeating: 0, count: 32)) } else { driver.say(request, driver.number(UInt32(1)) + driver.number(UInt32(64))) }
            driver.start(1, size: 64)
            driver.say(18, driver.number(UInt32(1)) + driver.number(UInt32(1)))
            driver.transmit(patterned(70), head: 5)
            #expect(driver.receive().map(\.frame.count) == [70] && driver.used(&driver.fromGuest).map(\.head) == [5], "\(request)")
            #expect(!driver.hasLostGuest)
        }
    }

    /// Not every front-end says where a ring is after it has said where it begins.
    @Test func addressesMayComeFirst() throws {
        let driver = try VhostDriver()
        driver.setUp(isEnabled: false)
        for ring in [1, 0] { driver.say(11, driver.number(UInt32(ring)) + driver.number(UInt32(0))) }
        driver.start(1, addressFirst: true)
        driver.start(0, addressFirst: true)
        #expect(!driver.hasLostGuest)
        for ring in [1, 0] { driver.say(18, driver.number(UInt32(ring)) + driver.number(UInt32(1))) }
        driver.transmit(patterned(60))
        driver.lend(1, length: 2000)
        #expect(driver.receive().count == 1 && driver.send(patterned(60)) == .sent)
    }

    /// For the log, a front-end says again where a ring is, also while it is disabled: nothing changes.
    @Test func theSameAddressStopsNothing() throws {
        let driver = try VhostDriver()
        driver.setUp()
        for isEnabled in [0, 1] as [UInt32] {
            driver.say(18, driver.number(UInt32(1)) + driver.number(isEnabled))
            let ring = driver.fromGuest
            driver.say(9, driver.number(UInt32(1)) + driver.number(UInt32(1)) + [ring.descriptors, ring.used, ring.available, 0].flatMap { driver.number(VhostDriver.user($0)) })
        }
        driver.transmit(patterned(60))
        #expect(!driver.hasLostGuest && driver.receive().count == 1)
    }

    /// A ring that is started while a machine moves waits for the log: what was written before would be forgotten.
    @Test func startedRingsWaitForTheirLog() throws {
        let driver = try VhostDriver()
        let agreed: VirtioFeatures = [.version1, .mergeableBuffers, .protocolFeatures, .log]
        #expect(driver.setUp(agreed) == [])
        driver.transmit(patterned(60))
        driver.lend(50, length: 2000)
        #expect(!driver.hasNews && driver.receive().count == 0 && driver.send(patterned(60)) == .refused && !driver.hasRoom && driver.prepareToWait())
        var log = driver.startLog()
        #expect(driver.takeNews() == [.frames, .room] && driver.receive().count == 1 && driver.send(patterned(60)) == .sent)
        driver.flush()
        #expect(driver.takeLog(log) == [driver.toGuest.used / 4096, driver.fromGuest.used / 4096, 0x200])
        // Both stopped, the log is given up.
        for ring in [0, 1] { driver.say(11, driver.number(UInt32(ring)) + driver.number(UInt32(0))) }
        for ring in [0, 1] { driver.start(ring) }
        driver.transmit(patterned(60))
        #expect(!driver.hasNews && driver.receive().count == 0)
        _ = close(log)
        log = driver.startLog()
        defer { _ = close(log) }
        #expect(driver.receive().count == 1 && driver.takeLog(log) == [driver.fromGuest.used / 4096])
        // Nobody wants it any more.
        for ring in [0, 1] { driver.say(11, driver.number(UInt32(ring)) + driver.number(UInt32(0))) }
        for ring in [0, 1] { driver.start(ring) }
        driver.transmit(patterned(60))
        #expect(driver.receive().count == 0)
        driver.say(2, driver.number(agreed.subtracting(.log).rawValue))
        #expect(driver.receive().count == 1)
    }

    /// Who replaces the counter of calls may have looked at the old one before the last call came: one more cannot be missed.
    @Test func aNewCounterIsCalledAtOnce() throws {
        let driver = try VhostDriver()
        driver.setUp()
        #expect(driver.count(driver.toGuest.call) == 0)
        driver.say(13, driver.number(UInt64(0)), [driver.toGuest.error])
        #expect(driver.count(driver.toGuest.error) == 1)
        driver.say(13, driver.number(UInt64(0x100)))
        driver.say(13, driver.number(UInt64(0)), [driver.toGuest.call])
        #expect(driver.count(driver.toGuest.call) == 1)
    }

    /// What was given back before a ring is stopped is not lost with the round's end.
    @Test(arguments: [true, false]) func whatWasGivenBackIsTold(_ stops: Bool) throws {
        let driver = try VhostDriver()
        driver.setUp()
        driver.lend(4, length: 2000)
        #expect(driver.send(patterned(60)) == .sent && driver.send(patterned(60)) == .sent)
        #expect(driver.used(&driver.toGuest).isEmpty)
        if stops {
            driver.say(11, driver.number(UInt32(0)) + driver.number(UInt32(0)))
            #expect(driver.answer(to: 11) == driver.number(UInt32(0)) + driver.number(UInt32(2)))
        } else {
            driver.say(12, driver.number(UInt64(0)), [driver.toGuest.kick])
        }
        #expect(driver.used(&driver.toGuest).map(\.head) == [0, 1])
        #expect(driver.count(driver.toGuest.call) == 1)
    }

    /// Flags in the memory outlive a stop; whoever starts again believes them and not what it remembers.
    @Test func aRingThatWasQuietIsAskedAgain() throws {
        let driver = try VhostDriver()
        driver.setUp([.version1, .mergeableBuffers])
        driver.transmit(patterned(60))
        #expect(driver.receive().count == 1 && driver.load(UInt16.self, at: driver.fromGuest.used) == 1)
        driver.say(11, driver.number(UInt32(1)) + driver.number(UInt32(0)))
        driver.start(1, base: 1)
        #expect(driver.load(UInt16.self, at: driver.fromGuest.used) == 1)
        #expect(driver.prepareToWait())
        #expect(driver.load(UInt16.self, at: driver.fromGuest.used) == 0)
    }
}
