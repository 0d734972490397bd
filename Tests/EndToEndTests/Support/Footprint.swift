import Foundation
import Glibc
import Testing

/// What a running program takes of the machine.
struct Footprint {
    /// Most memory that any attack may make resident, in KiB: all tables full are about 60 MiB.
    static let most = 96 << 10

    let program: Child

    /// KiB.
    var memory: Int { status("VmRSS") }
    /// Without files and shared pages, which come and go with the kernel's own needs.
    var ownMemory: Int { status("RssAnon") }

    private func status(_ name: String) -> Int {
        let line = contents("/proc/\(program.pid)/status").split(separator: "\n").first { $0.hasPrefix(name + ":") }
        return line.flatMap { $0.split(whereSeparator: { $0 == " " || $0 == "\t" }).dropFirst().first }.flatMap { Int($0) } ?? .max
    }

    /// Of user and system, in hundredths of a second.
    var ticks: Int {
        let fields = contents("/proc/\(program.pid)/stat").split(separator: ")").last?.split(separator: " ") ?? []
        guard fields.count > 13, let user = Int(fields[11]), let system = Int(fields[12]) else { return .max }
        return user + system
    }

    var descriptors: Int {
        (try? FileManager.default.contentsOfDirectory(atPath: "/proc/\(program.pid)/fd").count) ?? .max
    }

    /// Memory is bounded, and a guest that says nothing costs nothing: at most a fifth of a processor over half a second, soon.
    func expectCalm() {
        #expect(program.poll() == nil, "\(program.standardError)")
        let memory = memory
        #expect(memory < Footprint.most, "\(memory) KiB")
        #expect(eventually(within: 20) {
            let start = ticks
            usleep(500_000)
            let end = ticks
            return end != .max && end - start <= 10
        }, "it does not come to rest")
    }

    /// The last value that `--stats` printed.
    func counter(_ label: String) -> Int {
        let lines = program.standardOutput.split(separator: "\n").filter { $0.hasPrefix(label + ": ") }
        return lines.last.flatMap { Int($0.split(whereSeparator: { $0 == " " || $0 == ":" }).last ?? "") } ?? 0
    }
}
