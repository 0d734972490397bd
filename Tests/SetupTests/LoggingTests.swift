import CLinux
import Linux
import Testing

@testable import Setup

private func line(_ text: String) -> LineBuffer {
    var line = LineBuffer()
    line.append(text)
    return line
}

@Suite struct LoggingTests {
    @Test(arguments: [
        (0, 1, "0"), (7, 2, "07"), (-5, 1, "-5"), (123_456, 4, "123456"), (Int.max, 1, "9223372036854775807"), (Int.min, 1, "-9223372036854775808"),
    ])
    func numbers(_ number: Int, _ width: Int, _ expected: String) {
        var line = LineBuffer()
        line.append(number, width: width)
        #expect(line.text == expected)
    }

    @Test func overlongLineIsCutAndStillEnds() {
        var line = LineBuffer()
        for _ in 0..<2000 { line.append(UInt8(ascii: "x")) }
        line.end()
        #expect(line.count == 1024)
        #expect(line.text.hasSuffix("x\n"))
    }

    @Test func controlCharactersCannotForgeLines() {
        var line = line("name\nerror: \u{1b}[31m")
        line.clean()
        #expect(line.text == "name?error: ?[31m")
    }

    @Test(arguments: [
        (0, 1970, 1, 1, 0, 0, 0), (951_782_400, 2000, 2, 29, 0, 0, 0), (1_772_323_199, 2026, 2, 28, 23, 59, 59),
        (4_107_542_400, 2100, 3, 1, 0, 0, 0), (-1, 1969, 12, 31, 23, 59, 59),
    ])
    func calendar(_ seconds: Int, _ year: Int, _ month: Int, _ day: Int, _ hour: Int, _ minute: Int, _ second: Int) {
        let time = CivilTime(seconds: seconds)
        #expect([time.year, time.month, time.day, time.hour, time.minute, time.second] == [year, month, day, hour, minute, second])
    }

    @Test(arguments: [
        (3, 951_782_400, "<27>Feb 29 00:00:00 pasta[42]: text"),
        (6, 4, "<30>Jan  1 00:00:04 pasta[42]: text"),
    ])
    func systemLogLine(_ severity: Int, _ seconds: Int, _ expected: String) {
        var output = LineBuffer()
        SystemLog.format(severity: severity, time: CivilTime(seconds: seconds), program: "pasta", processID: 42, line("text"), into: &output)
        #expect(output.text == expected)
    }

    @Test func fileKeepsNewestLinesBelowItsHeader() throws {
        try withTemporaryDirectory { directory in
            let path = "\(directory)/log"
            let file = try LogFile(path: path, limit: 8192, header: "header")
            defer { file.descriptor.close() }
            var largest = 0
            for number in 0..<2000 {
                var entry = line("line \(number)")
                entry.end()
                file.write(entry)
                largest = max(largest, try file.descriptor.seekToEnd())
            }
            let lines = try text(of: path).split(separator: "\n")
            #expect(largest <= 8192)
            #expect(lines.first == "header")
            #expect(lines.last == "line 1999")
            // No line lost in between, none cut: the newer part was moved as it was.
            let numbers = lines.dropFirst().compactMap { Int($0.dropFirst(5)) }
            #expect(numbers.count == lines.count - 1)
            #expect(numbers == Array((2000 - numbers.count)..<2000))
            #expect(numbers.count > 200)
        }
    }

    @Test func fileThatExistsIsContinued() throws {
        try withTemporaryDirectory { directory in
            let path = "\(directory)/log"
            try write("before\n", to: path)
            var log = Log(program: "pasta")
            try log.open(debug: false, trace: false, quiet: true, file: path, size: 1 << 20)
            log.info("silent")
            log.warning("flows: ", 7, " of ", -1)
            log.answer("asked for", nil, ": ", 5)
            log.warning("String \(path.isEmpty)")
            let lines = try text(of: path).split(separator: "\n")
            #expect(lines.count == 4)
            #expect(lines.first == "before")
            #expect(lines.dropFirst().first?.hasSuffix(" warning: flows: 7 of -1") == true)
            // --quiet is for what nobody has asked for.
            #expect(lines.dropFirst(2).first?.hasSuffix(" asked for: 5") == true)
            #expect(lines.last?.hasSuffix(" warning: String false") == true)
        }
    }

    /// A standard error stream that holds no more than a pipe does, and the log that goes there, with whatever has to be awaited.
    private static func logIntoPipe() throws -> (log: Log, pipe: (reading: Descriptor, writing: Descriptor)) {
        let pipe = try Descriptor.pipe()
        try pipe.writing.replace(STDERR_FILENO)
        try pipe.reading.setNonBlocking()
        var log = Log(program: "pasta")
        try log.open(debug: true, trace: false, quiet: false, file: nil, size: 1 << 20)
        return (log, pipe)
    }

    /// The numbers at the ends of lines.
    private static func lastNumbers(_ bytes: [UInt8]) -> [Int] {
        String(decoding: bytes, as: UTF8.self).split(separator: "\n").compactMap { Int($0.split(separator: " ").last ?? "") }
    }

    /// Whoever does not read what is said stops nothing but that.
    @Test func linesThatNobodyReadsAreDropped() async {
        // The standard error stream is the process's; a write that waits ends by the alarm.
        await #expect(processExitsWith: .success) {
            let before = try Descriptor(STDERR_FILENO).duplicate()
            let (opened, pipe) = try LoggingTests.logIntoPipe()
            var log = opened
            alarm(20)
            log.forwardingStarted()
            for number in 0..<10_000 { log.warning("line ", number) }
            for number in 0..<10 { Log.print("counter", number, to: pipe.writing) }
            let first = LoggingTests.lastNumbers(try pipe.reading.readAll())
            // There is room again.
            log.warning("line ", 10_000)
            Log.print("counter", 10_001, to: pipe.writing)
            let second = LoggingTests.lastNumbers(try pipe.reading.readAll())
            try before.replace(STDERR_FILENO)
            // Whole lines, up to the first that found no room.
            try #require(first.count > 100 && first.count < 10_000 && first == Array(0..<first.count))
            try #require(second == [10_000, 10_001])
        }
    }

    /// The same for a log file that is a pipe, which is open for reading here, too, and so never lacks a reader.
    @Test func aPipeAsLogFileIsNotWaitedFor() async {
        await #expect(processExitsWith: .success) {
            try withTemporaryDirectory { directory in
                let path = "\(directory)/log"
                try #require(unsafe mkfifo(path, 0o600) == 0)
                var log = Log(program: "pasta")
                try log.open(debug: false, trace: false, quiet: false, file: path, size: 1 << 20)
                let reader = try Descriptor.open(path, O_RDONLY | O_NONBLOCK)
                alarm(20)
                log.forwardingStarted()
                for number in 0..<10_000 { log.warning("line ", number) }
                let first = LoggingTests.lastNumbers(try reader.readAll())
                log.warning("line ", 10_000)
                let second = LoggingTests.lastNumbers(try reader.readAll())
                try #require(first.count > 100 && first.count < 10_000 && first == Array(0..<first.count) && second == [10_000])
            }
        }
    }

    /// Before frames pass, whatever is said waits to be read: what ends a start must not be lost.
    @Test func untilThenLinesWait() async {
        await #expect(processExitsWith: .signal(SIGALRM)) {
            let (log, _) = try LoggingTests.logIntoPipe()
            alarm(1)
            for number in 0..<10_000 { log.warning("line ", number) }
        }
    }

    @Test func whatIsAskedForRoomIsPermitted() {
        let calls = SeccompFilter.calls(Log.systemCalls(toFile: false, toSystemLog: false)).map(\.name)
        #expect(calls.contains("poll") && calls.contains("write"))
    }

    @Test func fileThatCannotBeOpenedIsNamed() {
        var log = Log(program: "pasta")
        #expect(throws: SetupError(.process, "Couldn't open log file /nonexistent/log: No such file or directory")) {
            try log.open(debug: false, trace: false, quiet: false, file: "/nonexistent/log", size: 1 << 20)
        }
    }

    @Test(arguments: [
        (false, false, false, Log.Level.info), (true, false, false, .debug), (false, true, false, .trace), (false, false, true, .warning),
    ])
    func levels(_ debug: Bool, _ trace: Bool, _ quiet: Bool, _ expected: Log.Level) throws {
        var log = Log(program: "pasta")
        try log.open(debug: debug, trace: trace, quiet: quiet, file: nil, size: 1 << 20)
        #expect(log.level == expected)
        #expect(log.isEnabled(.error))
    }
}
