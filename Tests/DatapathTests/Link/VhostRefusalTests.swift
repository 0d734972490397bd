import Glibc
import Linux
import Testing
import Wire

@testable import Datapath

/// What the kernel refuses while a front-end sets up its device: no mistake of the front-end's, and told as what it is.
@Suite struct VhostRefusalTests {
    /// Memory of the guest, and the log of a machine that moves.
    @Test(arguments: [false, true])
    func memoryThatCannotBeMapped(_ isLog: Bool) throws {
        // More than there are addresses: ENOMEM, as with a limit.
        let byteCount = 1 << 55
        let file = unsafe memfd_create("huge", 0)
        defer { _ = close(file) }
        try #require(ftruncate(file, byteCount) == 0)
        let driver = try VhostDriver()
        let size = UInt64(byteCount)
        if isLog { driver.say(6, driver.number(size) + driver.number(UInt64(0)), [file]) } else { driver.say(5, driver.table(0, size, 0, 0), [file]) }
        #expect(driver.hasLostGuest && driver.figures.brokeProtocol == 0 && driver.regionCount == 0)
        #expect(driver.notice == .unmapped(Errno(ENOMEM)) && driver.notice == nil)
    }

    /// As where `fs.epoll.max_user_watches` is reached.
    @Test func aRingThatCannotBeWatched() throws {
        let driver = try VhostDriver()
        let agreed: VirtioFeatures = [.version1, .protocolFeatures]
        driver.say(3)
        driver.say(2, driver.number(agreed.rawValue))
        driver.say(5, driver.regions, [driver.file, driver.file])
        // Something is in the epoll's place that can do nothing, so that its answer is EBADF.
        let place = try Descriptor.open("/", O_PATH)
        defer { place.close() }
        try place.replace(driver.epoll.descriptor.number)
        driver.start(1)
        #expect(driver.hasLostGuest && driver.figures.brokeProtocol == 0)
        #expect(driver.notice == .unwatched(Errno(EBADF)) && driver.notice == nil)
    }

    /// A file that nobody could watch is a mistake.
    @Test func aFileIsNoCounter() throws {
        let driver = try VhostDriver()
        driver.say(12, driver.number(UInt64(0)), [driver.file])
        #expect(driver.hasLostGuest && driver.figures.brokeProtocol == 1 && driver.notice == .brokeProtocol(12))
    }
}
