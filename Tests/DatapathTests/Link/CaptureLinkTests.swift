import Glibc
import Linux
import Testing
import Wire

@testable import Datapath

/// What is written to a capture file, and what is not.
@Suite struct CaptureLinkTests {
    /// A file that takes only so much until it is read: a pipe.
    private final class Pipe {
        let ends: [Int32]

        init(capacity: Int32 = 65536) throws {
            var ends: [Int32] = [-1, -1]
            #expect(unsafe pipe2(&ends, Int32(O_NONBLOCK)) == 0)
            #expect(fcntl(ends[1], 1031, capacity) >= 0)  // F_SETPIPE_SZ
            self.ends = ends
        }

        deinit {
            close(ends[0])
            close(ends[1])
        }

        func read() -> [UInt8] {
            var bytes = [UInt8](repeating: 0, count: 1 << 20)
            let count = unsafe Glibc.read(ends[0], &bytes, bytes.count)
            return Array(bytes.prefix(max(count, 0)))
        }
    }

    @Test func whatIsRefusedIsNotThere() throws {
        let file = try Pipe()
        var arena = try Mapping(byteCount: 4096)
        var inner = SegmentLink(offloads: TCPScript.allOffloads)
        inner.refusals = 2
        var link = CaptureLink(inner, capture: try CaptureFile(Descriptor(file.ends[1])))
        #expect(file.read().count == 24)
        var bytes = arena.mutableBytes
        EthernetHeader(destination: MACAddress(1), source: MACAddress(2), type: .ipv4).write(to: &bytes, at: 64)
        IPv4Header(source: IPv4Address(1), destination: IPv4Address(2), proto: .udp, payloadLength: 100).write(to: &bytes, at: 78)
        var verdicts: [LinkVerdict] = []
        for _ in 0..<3 { verdicts.append(link.send(Frame(offset: 64, length: 134, offload: VirtioNetHeader()), in: &arena)) }
        #expect(verdicts == [.full, .full, .sent])
        #expect(file.read().count == 16 + 134)
    }

    /// A disk that was full for a moment: what is written whole stays readable.
    @Test func nothingFollowsHalfARecord() throws {
        let file = try Pipe(capacity: 8192)
        let arena = try Mapping(byteCount: 9000)
        var capture = try CaptureFile(Descriptor(file.ends[1]))
        capture.write(arena, offset: 0, length: 9000)
        #expect((1000..<9000).contains(file.read().count))
        capture.write(arena, offset: 0, length: 100)
        #expect(file.read().isEmpty)
    }

    /// What could not be written at all leaves the file as it was.
    @Test func aRecordMayBeMissing() throws {
        let file = try Pipe(capacity: 4096)
        let arena = try Mapping(byteCount: 4096)
        var capture = try CaptureFile(Descriptor(file.ends[1]))
        capture.write(arena, offset: 0, length: 4096 - 24 - 16)
        capture.write(arena, offset: 0, length: 100)
        #expect(file.read().count == 4096)
        capture.write(arena, offset: 0, length: 100)
        #expect(file.read().count == 116)
    }
}
