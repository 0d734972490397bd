import Foundation

/// Files of the package.
enum Package {
    static let root = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent().deletingLastPathComponent()

    static func path(_ name: String) -> String { root.appendingPathComponent(name).path }

    static func text(_ name: String) throws -> String {
        try String(contentsOf: root.appendingPathComponent(name), encoding: .utf8)
    }
}

/// What a program printed, and its status.
struct ToolOutput: CustomStringConvertible {
    let status: Int32
    let text: String
    var lines: [String] { text.split(separator: "\n").map(String.init) }
    var description: String { "status \(status):\n\(text)" }
}

/// Runs a program of PATH to its end, both its streams in one text. A program that is not there is an error.
func run(_ words: [String], environment: [String: String] = [:]) throws -> ToolOutput {
    let process = Process()
    let pipe = Pipe()
    process.executableURL = URL(fileURLWithPath: "/usr/bin/env")
    // Nothing here may take long.
    process.arguments = ["timeout", "30"] + words
    process.environment = ProcessInfo.processInfo.environment.merging(environment) { $1 }
    process.standardInput = FileHandle.nullDevice
    process.standardOutput = pipe
    process.standardError = pipe
    try process.run()
    let data = pipe.fileHandleForReading.readDataToEndOfFile()
    process.waitUntilExit()
    return ToolOutput(status: process.terminationStatus, text: String(decoding: data, as: UTF8.self))
}
