import CLinux
import Testing

@testable import Linux

@Suite struct EpollTests {
    private static func refusal(of epoll: Epoll, _ other: Descriptor) -> Errno? {
        do throws(Errno) {
            try epoll.add(other, .input, tag: 0)
            return nil
        } catch {
            return error
        }
    }

    /// What can never be watched is told from what a limit, or a lack of memory, forbids.
    @Test func whoseFaultARefusalIs() throws {
        let epoll = try Epoll()
        defer { epoll.descriptor.close() }
        let file = try Descriptor.open("/proc/self/exe", O_RDONLY)
        defer { file.close() }
        let ofFile = try #require(Self.refusal(of: epoll, file))
        #expect(ofFile == Errno(EPERM) && ofFile.isFaultOfWatched)
        let ofItself = try #require(Self.refusal(of: epoll, epoll.descriptor))
        #expect(ofItself == Errno(EINVAL) && ofItself.isFaultOfWatched)
        for code in [ENOSPC, ENOMEM, EBADF] { #expect(!Errno(code).isFaultOfWatched) }
    }
}
