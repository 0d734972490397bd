import Foundation
import Testing

/// `swift build` and `Scripts/install`, as README says, and what is there afterwards.
@Suite struct InstallTests {
    private static let script = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
        .deletingLastPathComponent().appendingPathComponent("Scripts/install").path

    private func install(_ network: Network, _ words: [String] = [], prefix: String = "/usr") throws -> Output {
        try network.run([Self.script] + words, environment: ["DESTDIR": network.path("root"), "PREFIX": prefix])
    }

    /// Everything below a folder that is no folder itself.
    private func files(_ folder: String) -> Set<String> {
        let all = FileManager.default.enumerator(atPath: folder)?.compactMap { $0 as? String } ?? []
        return Set(all.filter { (try? FileManager.default.destinationOfSymbolicLink(atPath: "\(folder)/\($0)")) != nil || !isFolder("\(folder)/\($0)") })
    }

    private func isFolder(_ path: String) -> Bool {
        var isFolder: ObjCBool = false
        return unsafe FileManager.default.fileExists(atPath: path, isDirectory: &isFolder) && isFolder.boolValue
    }

    @Test func installedProgramsRun() throws {
        try withNetwork { network in
            try install(network).check()
            let bin = network.path("root/usr/bin")
            for (name, mode) in [("passt", "passt"), ("pasta", "pasta"), ("passt4netns", "pasta")] {
                let version = try network.run(["\(bin)/\(name)", "--version"]).check()
                #expect(version.lines.first?.hasPrefix("\(mode) ") == true && version.out.contains("swift-passt"), "\(version)")
                let help = try network.run(["\(bin)/\(name)", "--help"]).check()
                #expect(help.out.hasPrefix("Usage: \(mode) "), "\(help)")
            }
            for name in ["pesto", "passt-repair"] {
                #expect(try network.run(["\(bin)/\(name)", "--version"]).check().out.hasPrefix("\(name) "))
            }
            let help = try network.run(["\(bin)/qrap", "--help"]).check()
            #expect(help.out.hasPrefix("Usage: qrap "), "\(help)")
            let status = try network.host.run(["\(bin)/passt4netns", "--config-net", "--", "sh", "-c", "exit 7"], as: .ordinary)
            #expect(status.ending == .exited(7), "\(status)")
        }
    }

    @Test func everythingIsInItsPlace() throws {
        try withNetwork { network in
            try install(network).check()
            let found = files(network.path("root/usr"))
            let expected: Set = [
                "bin/passt", "bin/pasta", "bin/passt4netns", "bin/pesto", "bin/passt-repair", "bin/qrap", "share/man/man1/passt.1", "share/man/man1/pasta.1",
                "share/man/man1/passt-repair.1", "share/bash-completion/completions/passt-repair", "share/fish/vendor_completions.d/passt-repair.fish",
                "share/man/man1/passt4netns.1", "share/man/man1/pesto.1", "share/man/man1/qrap.1", "share/bash-completion/completions/passt",
                "share/bash-completion/completions/pasta", "share/bash-completion/completions/passt4netns", "share/bash-completion/completions/pesto", "share/bash-completion/completions/qrap",
                "share/zsh/site-functions/_passt", "share/fish/vendor_completions.d/pasta.fish", "share/fish/vendor_completions.d/passt.fish",
                "share/fish/vendor_completions.d/passt4netns.fish", "share/fish/vendor_completions.d/pesto.fish", "share/fish/vendor_completions.d/qrap.fish",
                "share/doc/swift-passt/LICENSE", "share/doc/swift-passt/README.md", "share/doc/swift-passt/INSTALLED",
                "share/doc/swift-passt/Documentation/Callers.md", "share/doc/swift-passt/apparmor/swift-passt",
                "share/doc/swift-passt/SECURITY.md", "share/doc/swift-passt/CONTRIBUTING.md",
                "share/doc/swift-passt/Documentation/chart.svg", "share/doc/swift-passt/systemd/pasta@.service",
            ]
            #expect(expected.isSubset(of: found), "missing: \(expected.subtracting(found))")
            let lines = contents(network.path("root/usr/share/doc/swift-passt/INSTALLED")).split(separator: "\n")
            let listed = Set(lines.map { String($0.drop { $0 != "/" }.dropFirst(5)) })
            #expect(listed == found, "\(listed.symmetricDifference(found))")
            // Links lead within the folder that they are in, wherever the whole is unpacked.
            #expect(try FileManager.default.destinationOfSymbolicLink(atPath: network.path("root/usr/bin/pasta")) == "passt")
        }
    }

    /// Twice is the same as once, what an earlier version left goes, and what is not ours stays.
    @Test func removingLeavesNothingOfOurs() throws {
        try withNetwork { network in
            try install(network).check()
            let list = network.path("root/usr/share/doc/swift-passt/INSTALLED")
            let first = contents(list)
            let old = try network.file("root/usr/bin/of-an-earlier-version", "")
            try (first + "/usr/bin/of-an-earlier-version\n").write(toFile: list, atomically: false, encoding: .utf8)
            try install(network).check()
            #expect(contents(list) == first && !FileManager.default.fileExists(atPath: old))
            let other = try network.file("root/usr/share/man/man1/other.1", "")
            try install(network, ["--uninstall"]).check()
            #expect(files(network.path("root")) == ["usr/share/man/man1/other.1"], "\(other)")
            #expect(!isFolder(network.path("root/usr/bin")) && !isFolder(network.path("root/usr/share/doc")))
            let again = try install(network, ["--uninstall"])
            #expect(again.ending == .exited(1) && again.err.contains("nothing was installed"), "\(again)")
        }
    }

    /// What a distribution's package or somebody's own hands have put there is not replaced, and hence not removed. Nothing else is installed then.
    @Test func whatIsThereAlreadyStays() throws {
        try withNetwork { network in
            // As the script spells it.
            let prefix = network.path("usr").replacingOccurrences(of: "//", with: "/")
            let install = { (words: [String]) in try network.run([Self.script] + words, environment: ["DESTDIR": "", "PREFIX": prefix]) }
            for name in ["bin/passt", "bin/pasta", "bin/qrap", "share/man/man1/passt.1"] {
                let path = "\(prefix)/\(name)"
                let folder = URL(fileURLWithPath: path).deletingLastPathComponent().path
                try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
                if name == "bin/pasta" {
                    // A link counts, wherever it leads.
                    try FileManager.default.createSymbolicLink(atPath: path, withDestinationPath: "gone")
                } else {
                    _ = try network.file("usr/" + name, "theirs")
                }
                let refused = try install([])
                #expect(refused.ending == .exited(1) && refused.errorLines.count == 1 && refused.out.isEmpty, "\(refused)")
                #expect(refused.err.contains("\(path) is there already") && refused.err.contains("such as /usr/local, or remove first"), "\(refused)")
                #expect(files(prefix) == [name] && (name == "bin/pasta" || contents(path) == "theirs"))
                #expect(try install(["--uninstall"]).ending == .exited(1))
                #expect(files(prefix) == [name])
                try FileManager.default.removeItem(atPath: path)
            }
            for _ in 0..<2 { try install([]).check() }
            _ = try network.file("usr/bin/other", "theirs")
            try install(["--uninstall"]).check()
            #expect(files(prefix) == ["bin/other"])
        }
    }

    /// A distribution's package has replaced ours since: then it is theirs, and so is a link that leads to it.
    @Test func whatWasReplacedSinceStays() throws {
        try withNetwork { network in
            // As the script spells it.
            let prefix = network.path("usr").replacingOccurrences(of: "//", with: "/")
            let install = { (words: [String]) in try network.run([Self.script] + words, environment: ["DESTDIR": "//", "PREFIX": prefix]) }
            try install([]).check()
            try FileManager.default.removeItem(atPath: "\(prefix)/bin/passt")
            _ = try network.file("usr/bin/passt", "theirs")
            try FileManager.default.removeItem(atPath: "\(prefix)/share/man/man1/passt4netns.1")
            try FileManager.default.createSymbolicLink(atPath: "\(prefix)/share/man/man1/passt4netns.1", withDestinationPath: "passt.1")
            let before = files(prefix)
            let refused = try install([])
            #expect(refused.ending == .exited(1) && refused.errorLines.count == 1 && refused.out.isEmpty, "\(refused)")
            #expect(refused.err.contains("is there already, not as this script put it there") && refused.err.contains("--uninstall removes"), "\(refused)")
            #expect(files(prefix) == before && contents("\(prefix)/bin/passt") == "theirs")
            let removed = try install(["--uninstall"]).check()
            let left: Set = ["bin/passt", "bin/pasta", "bin/passt4netns", "share/man/man1/passt4netns.1"]
            #expect(removed.errorLines.count == left.count && removed.err.contains("left \(prefix)/bin/passt: "), "\(removed)")
            #expect(files(prefix) == left && contents("\(prefix)/bin/passt") == "theirs")
        }
    }

    /// Lists of earlier versions have no checksums, and spell folders as PREFIX did.
    @Test func anOldListIsUnderstood() throws {
        try withNetwork { network in
            let prefix = network.path("usr")
            let install = { (words: [String], prefix: String) in
                try network.run([Self.script] + words, environment: ["DESTDIR": "", "PREFIX": prefix])
            }
            try install([], prefix).check()
            let list = "\(prefix)/share/doc/swift-passt/INSTALLED"
            let now = contents(list)
            let paths = now.split(separator: "\n").map { String($0.drop { $0 != "/" }.dropFirst(prefix.utf8.count)) }
            let old = paths.map { "\(prefix)/\($0)\n" }.joined()
            try old.write(toFile: list, atomically: false, encoding: .utf8)
            _ = try network.file("usr/bin/qrap", "of an earlier version")
            try install([], prefix + "//").check()
            #expect(contents(list) == now)
            try old.write(toFile: list, atomically: false, encoding: .utf8)
            try install(["--uninstall"], prefix + "/").check()
            #expect(files(prefix).isEmpty)
        }
    }

    @Test func aBadPrefixIsRefused() throws {
        try withNetwork { network in
            let output = try install(network, prefix: "usr")
            #expect(output.ending == .exited(1) && output.errorLines.count == 1, "\(output)")
            #expect(files(network.path("root")).isEmpty)
        }
    }

    /// Nobody's regular expressions came in by an innocent `contains(_:)` of two strings: they are a megabyte of machine code.
    @Test(arguments: ["pasta", "pesto", "passt-repair", "qrap"])
    func programsAreNotLargerThanTheyMustBe(_ program: String) throws {
        try withNetwork { network in
            try install(network).check()
            let bytes = try Data(contentsOf: URL(fileURLWithPath: network.path("root/usr/bin/\(program)")))
            #expect(bytes.range(of: Data("Anchor.startOfLine".utf8)) == nil)
        }
    }

    /// What README promises to newcomers, as far as it needs no virtual machine.
    @Test func theDemonstrationShowsWhatItSays() throws {
        try withNetwork { network in
            let demo = URL(fileURLWithPath: Self.script).deletingLastPathComponent().appendingPathComponent("demo").path
            let output = try network.run([demo, "pasta"], seconds: 60).check()
            for text in [
                "2 packets transmitted, 2 received", "This is the remote host's page.", "This is a page of the host's loopback.",
                "Connection refused", "This is the container's page.", "::ffff:198.51.100.254 - -", "is gone.", "Nothing is left of it.",
            ] {
                #expect(output.out.contains(text), "\(text): \(output)")
            }
            let words = try network.run([demo, "everything"])
            #expect(words.ending == .exited(1) && words.errorLines.count == 1, "\(words)")
        }
    }

    // MARK: qrap

    @Test func qrapConnectsWhatItStarts() throws {
        try withNetwork { network in
            try install(network).check()
            let output = try network.run(["unshare", "--mount", "sh", Helpers.path("qrap.sh"), network.path("root/usr/bin")]).check()
            #expect(output.lines == [
                "no passt:", "qrap: no passt listens on /tmp/passt_1.socket to /tmp/passt_64.socket: start passt first", "status 1",
                "usual:", "arguments: -m 64 -netdev socket,fd=5,id=passt0 -device virtio-net-pci,netdev=passt0", "answer: HELLO",
                "named:", "arguments: -netdev socket,id=n,fd=9", "answer: HELLO",
                "statuses:", "status 42", "qrap: absent: No such file or directory", "status 127", "qrap: /etc/passwd: Permission denied", "status 126",
            ], "\(output)")
            // Nothing but the connection and the standard streams; the list's own makes one more.
            #expect(contents(network.path("root/usr/bin/open")).split(separator: " ") == ["0", "1", "2", "3", "9"])
        }
    }
}
