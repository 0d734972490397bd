// Logging: one value that says where lines go, and how a line is put together. Where they go follows the life of a run:
//
//                                   standard error              system log         --log-file
//     options are being parsed      everything                  -                  -
//     setting up                    yes (with file: errors)     yes                yes
//     command started               no                          yes                yes
//     in the background             no                          yes                yes
//     with --debug                  always, with the time       never              yes
//
// The system log is never used beside a file. Everything is opened before the process closes itself in, and
// logging allocates nothing, except for what a caller spends on making a String. Once frames pass, nothing here
// waits: a line for which a pipe, a terminal or the system log has no room is dropped.

internal import CLinux
public import Linux

/// Where lines for people go. Copies write to the same places; `let` is enough once the process runs.
public struct Log: Sendable {
    public enum Level: Int, Comparable, Sendable {
        case error, warning, info, debug, trace
        public static func < (a: Level, b: Level) -> Bool { a.rawValue < b.rawValue }

        /// RFC 3164 section 4.1.1: error 3, warning 4, informational 6, debug 7.
        var severity: Int {
            switch self {
            case .error: 3
            case .warning: 4
            case .info: 6
            case .debug, .trace: 7
            }
        }
    }

    public private(set) var level = Level.info
    private var program: String
    private var processID: Int32
    private var started: Int64
    private var systemLog: SystemLog?
    private var file: LogFile?
    /// The least important level that goes to standard error; nil: none.
    private var standardError: Level? = .trace
    private var timestamps = false
    /// Whether a line waits for whoever reads it.
    private var waits = true

    /// For the time while options are being parsed.
    public init(program: String) {
        self.program = program
        processID = Process.identifier
        started = Timer.now
    }

    /// Opens what the options ask for. Call it once they are parsed, and before the file system is hidden.
    public mutating func open(debug: Bool, trace: Bool, quiet: Bool, file path: String?, size: Int) throws(SetupError) {
        level = trace ? .trace : debug ? .debug : quiet ? .warning : .info
        timestamps = level >= .debug
        if let path {
            do throws(Errno) {
                file = try LogFile(path: path, limit: size, header: header())
            } catch {
                throw SetupError(.process, "Couldn't open log file \(path)", error)
            }
            standardError = timestamps ? .trace : .error
        } else if !timestamps {
            systemLog = SystemLog(program: program)
        }
    }

    private func header() -> String {
        let time = CivilTime(seconds: Int(Timer.realTime / 1_000_000_000))
        var line = LineBuffer()
        line.append(program)
        line.append(", process ")
        line.append(Int(processID))
        line.append(", started ")
        Log.append(time, to: &line)
        line.append(" UTC")
        return line.text
    }

    /// The command runs and has the terminal for itself: standard error only with --debug.
    public mutating func commandStarted() {
        if !timestamps { standardError = nil }
    }

    /// This process runs in the background and has no standard error any more. `processID` is its number as others see it.
    public mutating func wentToBackground(processID: Int32) {
        standardError = nil
        self.processID = processID
    }

    /// From here on a line that cannot be written at once is dropped, whatever its level: one thread does everything, and a full pipe or a stopped
    /// terminal (Ctrl-S) that it waited for would stop all of the guest's traffic. Until then lines wait, so that what ends a start is heard.
    public mutating func forwardingStarted() { waits = false }

    public func isEnabled(_ level: Level) -> Bool { level <= self.level }

    private func put(_ level: Level, _ text: inout LineBuffer) {
        text.clean()
        if let standardError, level <= standardError {
            var line = LineBuffer()
            if timestamps { appendElapsed(to: &line) }
            line.append(text)
            line.end()
            line.write(to: Descriptor(STDERR_FILENO), waits: waits)
        }
        if let file {
            var line = LineBuffer()
            Log.append(CivilTime(seconds: Int(Timer.realTime / 1_000_000_000)), to: &line)
            line.append(level == .error ? " error: " : level == .warning ? " warning: " : " ")
            line.append(text)
            line.end()
            file.write(line, waits: waits)
        } else if let systemLog {
            systemLog.write(severity: level.severity, processID: processID, text)
        }
    }

    /// `2026-01-31 12:00:00`.
    private static func append(_ time: CivilTime, to line: inout LineBuffer) {
        line.append(time.year, width: 4)
        line.append(UInt8(ascii: "-"))
        line.append(time.month, width: 2)
        line.append(UInt8(ascii: "-"))
        line.append(time.day, width: 2)
        line.append(UInt8(ascii: " "))
        line.append(time.hour, width: 2)
        line.append(UInt8(ascii: ":"))
        line.append(time.minute, width: 2)
        line.append(UInt8(ascii: ":"))
        line.append(time.second, width: 2)
    }

    /// Seconds since the start, to the tenth of a millisecond.
    private func appendElapsed(to line: inout LineBuffer) {
        let elapsed = Int(Timer.now - started) / 100_000
        line.append(elapsed / 10_000)
        line.append(UInt8(ascii: "."))
        line.append(elapsed % 10_000, width: 4)
        line.append(": ")
    }
}

extension Log {
    /// Writes pieces of fixed text with numbers between them; allocates nothing.
    public func write(
        _ level: Level, _ text: StaticString, _ first: Int? = nil, _ second: StaticString = "", _ number: Int? = nil, _ third: StaticString = ""
    ) {
        guard level <= self.level else { return }
        compose(level, text, first, second, number, third)
    }

    /// Likewise what somebody has just asked for, as by a signal: it is informational, and --quiet does not silence it.
    public func answer(
        _ text: StaticString, _ first: Int? = nil, _ second: StaticString = "", _ number: Int? = nil, _ third: StaticString = ""
    ) {
        compose(.info, text, first, second, number, third)
    }

    private func compose(_ level: Level, _ text: StaticString, _ first: Int?, _ second: StaticString, _ number: Int?, _ third: StaticString) {
        var line = LineBuffer()
        line.append(text)
        if let first { line.append(first) }
        line.append(second)
        if let number { line.append(number) }
        line.append(third)
        put(level, &line)
    }

    /// The same around the name of a file, which is there already; allocates nothing.
    public func write(_ level: Level, _ text: StaticString, name: String, _ second: StaticString, _ number: Int? = nil) {
        guard level <= self.level else { return }
        var line = LineBuffer()
        line.append(text)
        line.append(name)
        line.append(second)
        if let number { line.append(number) }
        put(level, &line)
    }

    /// For set-up, where making strings is fine. A line feed separates lines.
    public func write(_ level: Level, text: String) {
        guard level <= self.level else { return }
        for piece in text.split(separator: "\n") {
            var line = LineBuffer()
            for byte in piece.utf8 { line.append(byte) }
            put(level, &line)
        }
    }
}

extension Log {
    /// Writes one line, `label: number`, for those who asked for it on standard output; if they do not read it, it is dropped. Allocates nothing.
    /// (poll, write)
    public static func print(_ label: StaticString, _ number: Int?, to descriptor: Descriptor) {
        var line = LineBuffer()
        line.append(label)
        if let number {
            line.append(": ")
            line.append(number)
        }
        line.end()
        line.write(to: descriptor, waits: false)
    }

    /// What writing a line may call.
    public var systemCalls: [SystemCall.Permission] { Log.systemCalls(toFile: file != nil, toSystemLog: systemLog != nil) }

    public static func systemCalls(toFile: Bool, toSystemLog: Bool) -> [SystemCall.Permission] {
        let always = SystemCall.files + SystemCall.polling + SystemCall.clock
        return always + (toFile ? SystemCall.rewriting : []) + (toSystemLog ? SystemCall.messages : [])
    }
}
