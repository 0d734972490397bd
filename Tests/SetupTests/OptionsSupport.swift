import CLinux
import Linux
import Settings
import Setup
import Testing

/// getopt keeps its position in globals: everything that parses a command line is in here, one test at a time.
@Suite("Command line", .serialized)
struct OptionsTests {}

/// A command line and what should come of it.
struct OptionsCase: Sendable, CustomTestStringConvertible {
    enum Outcome: Sendable {
        case options(@Sendable (inout Options) -> Void)
        case error(String)
    }

    let arguments: [String]
    let outcome: Outcome
    var testDescription: String { arguments.joined(separator: " ") }

    /// The options that differ from the defaults. Words are split at blanks.
    static func ok(_ line: String, _ change: @escaping @Sendable (inout Options) -> Void = { _ in }) -> OptionsCase {
        OptionsCase(arguments: line.split(separator: " ").map(String.init), outcome: .options(change))
    }

    /// The whole line that the user gets.
    static func bad(_ line: String, _ message: String) -> OptionsCase {
        OptionsCase(arguments: line.split(separator: " ").map(String.init), outcome: .error(message))
    }

    static func bad(_ words: [String], _ message: String) -> OptionsCase {
        OptionsCase(arguments: words, outcome: .error(message))
    }

    /// The program is the one that the first word names.
    func check() throws {
        let program = try Program(arguments: arguments)
        switch outcome {
        case .options(let change):
            var expected = Options()
            expected.program = program
            change(&expected)
            #expect(try Options.parse(arguments: arguments, program: program) == .run(expected))
        case .error(let message):
            let error = #expect(throws: SetupError.self) { try Options.parse(arguments: arguments, program: program) }
            #expect(error?.message == message)
            #expect(error?.stage == .options)
            #expect(error?.message.contains("\n") == false)
        }
    }
}

/// Runs `body` with the standard error stream going to a file, and returns what was written to it.
func capturingStandardError(_ body: () throws -> Void) throws -> String {
    let file = try Descriptor.open("/tmp", O_RDWR | O_TMPFILE, mode: 0o600)
    let saved = try Descriptor(2).duplicate()
    try file.replace(2)
    defer {
        try? saved.replace(2)
        saved.close()
        file.close()
    }
    try body()
    return String(decoding: try Descriptor.contents(of: "/proc/self/fd/\(file.number)"), as: UTF8.self)
}
