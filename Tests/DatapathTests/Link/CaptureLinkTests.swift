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

    /// One of 134 bytes.
    private static func makeFrame(_ arena: inout Mapping) -> Frame {
        var bytes = arena.mutableBytes
        EthernetHeader(destination: MACAddress(1), source: MACAddress(2), type: .ipv4).write(to: &bytes, at: 64)
        IPv4Header(source: IPv4Address(1), destination: IPv4Address(2), proto: .udp, payloadLength: 100).write(to: &bytes, at: 78)
        return Frame(offset: 64, length: 134, offload: VirtioNetHeader())
    }

    @Test func whatIsRefusedIsNotThere() throws {
        let file = try Pipe()
        var arena = try Mapping(byteCount: 4096)
        var inner = SegmentLink(offloads: TCPScript.allOffloads)
        inner.refusals = 2
        var link = CaptureLink(inner, capture: try CaptureFile(Descriptor(file.ends[1])))
        #expect(file.read().count == 24)
        let frame = CaptureLinkTests.makeFrame(&arena)
        var verdicts: [LinkVerdict] = []
        for _ in 0..<3 { verdicts.append(link.send(frame, in: &arena)) }
        #expect(verdicts == [.full, .full, .sent])
        #expect(file.read().count == 16 + 134)
    }

    /// A pipe whose reader pauses: half a record is finished before anything else is written, and what comes meanwhile is missing.
    @Test func aReaderThatPausesGetsWholeRecords() throws {
        let file = try Pipe(capacity: 8192)
        let arena = try Mapping(byteCount: 9000)
        var capture = try CaptureFile(Descriptor(file.ends[1]))
        capture.write(arena, offset: 0, length: 9000)
        for _ in 0..<3 { capture.write(arena, offset: 0, length: 200) }
        let (notice, another) = (capture.takeNotice(), capture.takeNotice())
        #expect(notice == .captureLacksFrames(Errno(11)) && another == nil)
        var bytes = file.read()
        #expect((1000..<9000).contains(bytes.count))
        capture.write(arena, offset: 0, length: 100)
        bytes += file.read()
        #expect(bytes.count == 24 + 16 + 9000 + 16 + 100)
        capture.write(arena, offset: 0, length: 100)
        #expect(file.read().count == 116)
    }

    /// Who reads it has gone in the middle of a record.
    @Test func nothingFollowsHalfARecord() throws {
        Signals.ignore(13)  // SIGPIPE
        let file = try Pipe(capacity: 8192)
        let arena = try Mapping(byteCount: 9000)
        var capture = try CaptureFile(Descriptor(file.ends[1]))
        capture.write(arena, offset: 0, length: 9000)
        let (good, bad) = (Descriptor(dup(file.ends[1])), try CaptureLinkTests.orphan())
        defer { good.close(); bad.close() }
        try bad.replace(file.ends[1])
        capture.write(arena, offset: 0, length: 100)
        let notice = capture.takeNotice()
        #expect(notice == .captureEnded(Errno(32)))
        try good.replace(file.ends[1])
        _ = file.read()
        capture.write(arena, offset: 0, length: 100)
        #expect(file.read().isEmpty)
    }

    private static func orphan() throws -> Descriptor {
        let pipe = try Descriptor.pipe()
        pipe.reading.close()
        return pipe.writing
    }

    /// A disk that is full, and a pipe that nobody reads any more: that is told once, with its reason, and not found out with each frame.
    @Test(arguments: [28, 32] as [Int32])  // ENOSPC, EPIPE
    func whatCannotBeWrittenEndsTheCapture(_ code: Int32) throws {
        // The end by a signal, were it not ignored.
        Signals.ignore(13)  // SIGPIPE
        let file = try Pipe()
        var arena = try Mapping(byteCount: 4096)
        let frame = CaptureLinkTests.makeFrame(&arena)
        var link = CaptureLink(SegmentLink(offloads: TCPScript.allOffloads), capture: try CaptureFile(Descriptor(file.ends[1])))
        #expect(file.read().count == 24)
        let good = Descriptor(dup(file.ends[1]))
        let bad = try code == 28 ? Descriptor.open("/dev/full", O_WRONLY) : CaptureLinkTests.orphan()
        defer { good.close(); bad.close() }
        try bad.replace(file.ends[1])
        let first = link.send(frame, in: &arena)
        let notice = link.takeNotice()
        #expect(first == .sent && notice == .captureEnded(Errno(code)))
        // Whatever becomes of it.
        try good.replace(file.ends[1])
        let second = link.send(frame, in: &arena)
        let more = link.takeNotice()
        #expect(second == .sent && more == nil && file.read().isEmpty)
    }

    /// What could not be written at all leaves the file as it was.
    @Test func aRecordMayBeMissing() throws {
        let file = try Pipe(capacity: 4096)
        let arena = try Mapping(byteCount: 4096)
        var capture = try CaptureFile(Descriptor(file.ends[1]))
        capture.write(arena, offset: 0, length: 4096 - 24 - 16)
        capture.write(arena, offset: 0, length: 100)
        capture.write(arena, offset: 0, length: 100)
        let (notice, another) = (capture.takeNotice(), capture.takeNotice())
        #expect(notice == .captureLacksFrames(Errno(11)) && another == nil)
        #expect(file.read().count == 4096)
        capture.write(arena, offset: 0, length: 100)
        #expect(file.read().count == 116)
    }
}
