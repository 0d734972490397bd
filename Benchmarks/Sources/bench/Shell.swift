internal import Foundation

/// A failure that ends one measurement or the whole run, in words.
struct BenchError: Error, CustomStringConvertible {
    let description: String
    init(_ description: String) { self.description = description }
}

/// Programs run to their end, or kept running.
enum Shell {
    struct Output {
        let status: Int32
        let text: String
        let errors: String
    }

    /// Runs a program found in PATH; what it printed. Killed after `timeout` seconds.
    static func run(_ words: [String], timeout: Double = 30) throws -> Output {
        let child = try Child(words, input: false)
        return child.finish(timeout: timeout)
    }

    /// As `run`, but anything except status 0 is an error.
    @discardableResult
    static func must(_ words: [String], timeout: Double = 30) throws -> String {
        let output = try run(words, timeout: timeout)
        if output.status != 0 { throw BenchError("\(words.joined(separator: " ")): \(output.errors)\(output.text)") }
        return output.text
    }

    /// Each line is a command of words without quoting.
    static func script(_ lines: String) throws {
        for line in lines.split(separator: "\n") { try must(line.split(separator: " ").map(String.init)) }
    }

    static func contents(_ path: String) -> String? {
        guard let data = FileManager.default.contents(atPath: path) else { return nil }
        return String(decoding: data, as: UTF8.self)
    }

    /// Monotonic seconds.
    static var now: Double { Double(DispatchTime.now().uptimeNanoseconds) / 1e9 }

    static func sleep(_ seconds: Double) { Thread.sleep(forTimeInterval: seconds) }

    /// Asks every 2 ms until `condition` holds; false after `timeout` seconds.
    static func wait(_ timeout: Double, until condition: () -> Bool) -> Bool {
        let end = now + timeout
        while !condition() {
            if now > end { return false }
            sleep(0.002)
        }
        return true
    }
}
