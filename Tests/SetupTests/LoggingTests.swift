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
