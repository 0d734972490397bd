import CLinux
import Testing
import Wire

@testable import Linux

@Suite struct RepairModeTests {
    /// With the right to it, as `Scripts/test` gives it in a namespace of its own, or without.
    @Test func theKernelTakesWhatIsSet() throws {
        let socket = try Descriptor.socket(.stream, for: IPAddress(IPv4Address.loopback))
        defer { socket.close() }
        guard try Credentials.capabilities().contains(.networkAdministration) else {
            #expect(throws: Errno(EPERM)) { try socket.setRepairMode(.on) }
            return
        }
        for mode in [RepairMode.on, .off, .on, .offWithoutProbe] {
            try socket.setRepairMode(mode)
            // IPPROTO_TCP, TCP_REPAIR
            #expect(try socket.get(6, 19) == (mode == .on ? 1 : 0))
        }
    }

    @Test func kindsOfFiles() throws {
        #expect(try FileKind.of("/proc") == .directory)
        #expect(try FileKind.of("/proc/self") == .directory)  // By a link.
        #expect(try FileKind.of("/proc/self/status") == .other)
        #expect(throws: Errno(ENOENT)) { try FileKind.of("/proc/self/absent") }
        #expect(throws: Errno(ENOTDIR)) { try FileKind.of("/proc/self/status/absent") }
    }
}
