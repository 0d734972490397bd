import Datapath
import Glibc
import Linux
import Settings
import Setup
import Testing

@testable import Daemon

/// What happens to the guest's link, as the user is told.
@Suite struct GuestNoticeTests {
    private struct Teller: ProgramRun {
        let options: Options
        var log: Log
        var made = MadeSockets()

        mutating func run() throws(SetupError) -> Int32 { 0 }
    }

    /// The line without its time.
    private func line(of notice: GuestNotice) throws -> Substring {
        let path = "/tmp/notices-\(getpid())-\(UInt64.random(in: 0 ... .max))"
        defer { unsafe unlink(path) }
        var options = Options()
        options.captureFile = "/tmp/frames"
        var teller = Teller(options: options, log: Log(program: "passt"))
        try teller.log.open(debug: false, trace: false, quiet: false, file: path, size: 1 << 20)
        teller.tell(notice)
        let text = String(decoding: try Descriptor.contents(of: path), as: UTF8.self)
        let lines = text.split(separator: "\n")
        // Behind the file's first line, which is the program's.
        try #require(lines.count == 2)
        return lines[1].dropFirst("2026-01-31 12:00:00 ".utf8.count)
    }

    @Test(arguments: [
        (
            .unwatched(Errno(28)),
            "warning: Virtual machine's connection is closed: the kernel watches no more for this user, raise fs.epoll.max_user_watches with sysctl"
        ),
        (.unwatched(Errno(12)), "warning: Virtual machine's connection is closed: the kernel has no memory to watch it"),
        (.unwatched(Errno(9)), "warning: Virtual machine's connection is closed: the kernel does not watch it, error 9"),
        (
            .unmapped(Errno(12)),
            "warning: Virtual machine's connection is closed: its memory cannot be mapped, see 'ulimit -v', vm.max_map_count and the container's limit of memory"
        ),
        (.unmapped(Errno(23)), "warning: Virtual machine's connection is closed: its memory cannot be mapped, error 23"),
    ] as [(GuestNotice, String)])
    func refusal(_ notice: GuestNotice, _ expected: String) throws {
        #expect(try line(of: notice) == expected)
    }

    @Test(arguments: [
        (.captureEnded(Errno(28)), "warning: Nothing more is written to capture file /tmp/frames: no space is left on its disk"),
        (
            .captureEnded(Errno(27)),
            "warning: Nothing more is written to capture file /tmp/frames: it may not grow on, see 'ulimit -f' and LimitFSIZE= of systemd"
        ),
        (.captureEnded(Errno(32)), "warning: Nothing more is written to capture file /tmp/frames: nobody reads it any more"),
        (.captureEnded(Errno(122)), "warning: Nothing more is written to capture file /tmp/frames: the disk quota is used up"),
        (.captureEnded(Errno(5)), "warning: Nothing more is written to capture file /tmp/frames: error 5"),
        (.captureLacksFrames(Errno(11)), "warning: Frames are missing in capture file /tmp/frames: whoever reads it is too slow"),
        (.captureLacksFrames(Errno(12)), "warning: Frames are missing in capture file /tmp/frames: error 12"),
    ] as [(GuestNotice, String)])
    func capture(_ notice: GuestNotice, _ expected: String) throws {
        #expect(try line(of: notice) == expected)
    }
}
