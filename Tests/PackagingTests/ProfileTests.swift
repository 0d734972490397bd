import Foundation
import Testing

/// Examples under `Packaging` for AppArmor, SELinux and systemd, judged by the tools that read them. Whether they permit enough is not told by that.
@Suite struct ProfileTests {
    private func withDirectory(_ body: (URL) throws -> Void) throws {
        let directory = FileManager.default.temporaryDirectory.appendingPathComponent(UUID().uuidString)
        try FileManager.default.createDirectory(at: directory, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(at: directory) }
        try body(directory)
    }

    @Test func appArmor() throws {
        try withDirectory { directory in
            var text = try Package.text("Packaging/apparmor/swift-passt")
            // All folders that README and Scripts/install name.
            #expect(text.contains("/usr/{,local/}bin/passt") && text.contains("@{HOME}/.local/bin/passt"))
            // The rule that it is about came with version 4.
            if try run(["apparmor_parser", "--version"]).text.contains("version 3.") {
                for (line, older) in [("abi <abi/4.0>,\n", "abi <abi/3.0>,\n"), ("  userns,\n", "")] {
                    #expect(text.contains(line))
                    text = text.replacingOccurrences(of: line, with: older)
                }
            }
            let file = directory.appendingPathComponent("swift-passt")
            try text.write(to: file, atomically: true, encoding: .utf8)
            let output = try run(["apparmor_parser", "--skip-kernel-load", "--skip-cache", file.path])
            #expect(output.status == 0, "\(output)")
            try text.replacingOccurrences(of: "flags=", with: "flag=").write(to: file, atomically: true, encoding: .utf8)
            #expect(try run(["apparmor_parser", "--skip-kernel-load", "--skip-cache", file.path]).status != 0)
        }
    }

    @Test func seLinux() throws {
        try withDirectory { directory in
            let source = Package.path("Packaging/selinux/swift_passt.te")
            let output = try run(["checkmodule", "-M", "-m", "-o", directory.appendingPathComponent("swift_passt.mod").path, source])
            #expect(output.status == 0, "\(output)")
            let types = try Package.text("Packaging/selinux/swift_passt.te")
            // Which kind of namespace a file stands for is asked (ioctl_ns(2)).
            #expect(types.contains("allow pasta_t nsfs_t : file { read open getattr ioctl };"))
            for line in try Package.text("Packaging/selinux/swift_passt.fc").split(separator: "\n") {
                let type = try #require(line.split(separator: ":").dropLast().last, "\(line)")
                #expect(types.contains("\ntype \(type);\n"), "\(line)")
            }
        }
    }

    @Test func systemd() throws {
        try withDirectory { directory in
            let unit = directory.appendingPathComponent("pasta@name.service")
            let text = try Package.text("Packaging/systemd/pasta@.service")
            #expect(text.contains("ExecStart=/usr/bin/pasta "))
            try text.replacingOccurrences(of: "=/usr/bin/pasta ", with: "=/bin/true ").write(to: unit, atomically: true, encoding: .utf8)
            let output = try run(["systemd-analyze", "verify", "--man=no", unit.path])
            #expect(output.status == 0 && output.text == "", "\(output)")
        }
    }
}
