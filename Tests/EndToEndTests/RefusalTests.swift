import Foundation
import Testing

/// A command line that cannot be carried out, and what must be named in the one line that says so.
struct Refusal: CustomTestStringConvertible {
    let arguments: [String]
    let named: [String]

    init(_ arguments: String..., named: [String]? = nil) {
        self.arguments = arguments
        self.named = named ?? arguments
    }

    var testDescription: String { arguments.joined(separator: " ") }
}

/// What is refused: status 1, one line on standard error, the command not run, nothing left.
@Suite struct RefusalTests {
    @Test(arguments: [
        Refusal("--mtu", "many"), Refusal("--mtu", "-1"), Refusal("--mtu", "65536"), Refusal("--mtu", "15x"),
        Refusal("--address", "300.1.1.1"), Refusal("--address", "nonsense"), Refusal("--address", "192.0.2.1/33"),
        Refusal("--address", "127.0.0.1"), Refusal("--address", "0.0.0.0"), Refusal("--address", "224.0.0.1"),
        Refusal("--address", "::"), Refusal("--address", "::1"), Refusal("--address", "ff02::1"), Refusal("--address", "2001:db8::1::2"),
        Refusal("--netmask", "33"), Refusal("--netmask", "255.0.255.0"), Refusal("--netmask", "x"),
        Refusal("--gateway", "nonsense"), Refusal("--gateway", "0.0.0.0"), Refusal("--gateway", "127.0.0.1"), Refusal("--gateway", "ff02::1"),
        Refusal("--mac-addr", "02:00:00:00:00"), Refusal("--mac-addr", "02:00:00:00:00:zz"), Refusal("--ns-mac-addr", "nonsense"),
        Refusal("--interface", "nosuch0"), Refusal("--outbound-if4", "nosuch0"), Refusal("--outbound-if6", "nosuch0"),
        Refusal("--outbound", "nonsense"), Refusal("--dns", "nonsense"), Refusal("--dns-forward", "nonsense"), Refusal("--dns-host", "nonsense"),
        Refusal("--map-host-loopback", "nonsense"), Refusal("--map-guest-addr", "nonsense"),
        Refusal("--ns-ifname", "sixteencharacter"), Refusal("--ns-ifname", "a/b"), Refusal("--ns-ifname", ""),
        Refusal("--log-size", "large"), Refusal("--stats", "often"), Refusal("--runas", "no-such-user"),
        Refusal("--log-file", "/no/such/folder/log", named: ["/no/such/folder/log"]),
        Refusal("--pid", "/no/such/folder/pid", named: ["/no/such/folder/pid"]),
        Refusal("--pcap", "/no/such/folder/capture", named: ["/no/such/folder/capture"]),
        Refusal("--pcap", "/dev/full", named: ["Couldn't write capture file /dev/full for option --pcap: No space left on device"]),
        Refusal("--netns", "/no/such/netns", named: ["/no/such/netns"]), Refusal("--netns", "no-such-name", named: ["no-such-name"]),
        Refusal("--netns", "/etc/passwd", named: ["/etc/passwd"]), Refusal("--userns", "/no/such/userns", named: ["/no/such/userns"]),
        Refusal("-4", "-6", named: []), Refusal("--quiet", "--debug", named: []), Refusal("--no-copy-routes", named: ["--no-copy-routes"]),
        Refusal("--stats", "1", named: ["statistics if not running in foreground"]),
        Refusal("-a", "192.0.2.1", "-a", "192.0.2.2", named: ["192.0.2.2"]), Refusal("-g", "192.0.2.1", "-g", "192.0.2.2", named: ["192.0.2.2"]),
        Refusal("-a", "192.0.2.1/24", "-n", "24", named: ["Redundant prefix length specification"]),
    ])
    func aBadOptionIsNamedAndNothingHappens(_ refusal: Refusal) throws {
        try withNetwork { network in
            let command = refusal.arguments.contains("--netns") ? [] : ["--", "echo", "ran"]
            let output = try network.host.run([Pasta.path] + refusal.arguments + command, as: .ordinary)
            #expect(output.ending == .exited(1), "\(output)")
            #expect(output.errorLines.count == 1 && output.out.isEmpty, "\(output)")
            for word in refusal.named where !word.isEmpty { #expect(output.err.contains(word), "\(output)") }
        }
    }

    /// podman looks for these words, and tries again without the option.
    @Test(arguments: [
        ("--foo", "unrecognized option '--foo'"), ("--mtu", "option '--mtu' requires an argument"), ("-Z", "invalid option -- 'Z'"),
        ("--config-net=1", "option '--config-net' doesn't allow an argument"), ("--dns-", "option '--dns-' is ambiguous"),
    ])
    func anUnknownOptionIsReportedInTheWordsOfTheCLibrary(_ option: String, _ text: String) throws {
        try withNetwork { network in
            let output = try network.host.run([Pasta.path, option], as: .ordinary)
            #expect(output.ending == .exited(1) && output.err.contains(text) && output.out.isEmpty, "\(output)")
        }
    }

    @Test func optionsHaveTheSpellingsOfTheCLibrary() throws {
        try withNetwork { network in
            for options in [["--mtu=1400"], ["--mtu", "1400"], ["--mt", "1400"], ["-m", "1400"], ["-m1400"], ["-qm1400"]] {
                let output = try network.host.run(
                    [Pasta.path] + options + ["--config-net", "--no-map-g", "--", "ip", "-o", "link", "show", "wan0"], as: .ordinary)
                #expect(output.succeeded && output.out.contains("mtu 1400 "), "\(output)")
            }
        }
    }

    @Test(arguments: [["--version"], ["--help"], ["-h"], ["--host-lo-to-ns-lo", "--version"], ["--config-net", "--help"]])
    func versionAndHelpGoToStandardOutput(_ arguments: [String]) throws {
        try withNetwork { network in
            let output = try network.host.run([Pasta.path] + arguments, as: .ordinary)
            #expect(output.succeeded && output.err.isEmpty && output.lines.count >= 1, "\(output)")
            if arguments.last == "--version" { #expect(output.out.hasPrefix("pasta "), "\(output)") }
        }
    }

    @Test(arguments: ["0", "99999999", "-1", "4294967297"])
    func aProcessThatDoesNotExistIsRefused(_ pid: String) throws {
        try withNetwork { network in
            let output = try network.host.run([Pasta.path, "--config-net", "--", pid], as: .ordinary)
            #expect(output.ending != .exited(0) && output.ending != nil && output.err.contains(pid), "\(output)")
        }
    }

    @Test func aNamespaceOfSomebodyElseIsRefused() throws {
        try withNetwork { network in
            let other = try network.addHost("other")
            let output = try network.host.run([Pasta.path, "--config-net", "--netns", other.path], as: .ordinary)
            #expect(output.ending == .exited(1) && output.errorLines.count == 1, "\(output)")
        }
    }

    /// A process that is in the host's own network, or has not come as far as to leave it: root would configure the host, and others would be told of rights.
    @Test(arguments: [User.root, .ordinary])
    func theHostsOwnNetworkIsRefused(_ user: User) throws {
        try withNetwork { network in
            let process = try network.host.start(["sleep", "infinity"], as: user)
            try require("the process") { ProcessTable.name(process.pid) == "sleep" }
            let before = try network.host.run(["ip", "-o", "addr"]).check().out
            let file = "/proc/\(process.pid)/ns/net"
            for (words, text) in [
                (["\(process.pid)"], "Process \(process.pid) has no network namespace of its own: it is in the one that pasta is in, and has not made one (yet)"),
                (["--userns", "/proc/self/ns/user", "\(process.pid)"], "has not made one (yet)"),
                (["--netns", file], file + " is the network namespace that pasta is in already"),
                (["--netns", network.host.path], network.host.path + " is the network namespace that pasta is in already"),
            ] {
                let output = try network.host.run([Pasta.path, "--config-net", "--ns-ifname", "tap7"] + words, as: user)
                #expect(output.ending == .exited(1) && output.errorLines.count == 1 && output.err.contains(text), "\(output)")
            }
            #expect(try network.host.run(["ip", "-o", "addr"]).check().out == before)
        }
    }

    @Test func withoutTheTunDeviceOneLineSaysSo() throws {
        try withNetwork { network in
            let become = "nsenter --user=\(try network.ordinaryUserNamespace()) --preserve-credentials --"
            let hide = "mount -t tmpfs none /dev/net && exec \(become) \(Pasta.path) --config-net -- echo ran"
            let output = try network.host.run(["unshare", "--mount", "sh", "-c", hide])
            #expect(output.ending == .exited(1) && output.errorLines.count == 1 && output.out.isEmpty, "\(output)")
            #expect(output.err.contains("/dev/net/tun"), "\(output)")
        }
    }

    /// The runtime would abort without it, whatever is asked for.
    @Test func withoutProcOneLineSaysSo() throws {
        try withNetwork { network in
            for path in [Pasta.path, try Passt.path(network), try Passt.repairPath(network)] {
                let output = try network.run(["unshare", "--mount", "sh", "-c", "mount -t tmpfs none /proc && exec \(path) --version"])
                #expect(output.ending == .exited(1) && output.out.isEmpty, "\(output)")
                #expect(output.err == "/proc is needed, and not mounted here: mount -t proc proc /proc\n", "\(output)")
            }
        }
    }

    @Test func withoutUserNamespacesOneLineSaysSo() throws {
        try withNetwork { network in
            let forbid = "echo 0 >/proc/sys/user/max_user_namespaces && exec \(Pasta.path) --config-net -- echo ran"
            let output = try network.host.run(["unshare", "--user", "--map-root-user", "sh", "-c", forbid])
            #expect(output.ending == .exited(1) && output.errorLines.count == 1 && output.out.isEmpty, "\(output)")
            #expect(output.err.contains("namespace"), "\(output)")
        }
    }

    /// Sockets that options name go again, whether set-up fails before the file system is hidden or after.
    @Test(arguments: [
        (["-t", "80"], "for option '-t 80'"), (["--pid", "/dev/full"], "Couldn't write PID file for option --pid /dev/full: No space left on device"),
        (["--pcap", "/dev/full"], "Couldn't write capture file /dev/full for option --pcap: No space left on device"),
    ] as [([String], String)], [[], ["-f"]])
    func aStartThatFailsLeavesNoSockets(_ cause: ([String], String), _ options: [String]) throws {
        try withNetwork { network in
            let (socket, control) = (network.path("s"), network.path("c"))
            let target = try Target(network, .process)
            let passt = [try Passt.path(network), "--vhost-user", "--socket", socket]
            for words in [passt, [Pasta.path] + target.arguments, [Pasta.path]] {
                // Options come before a process number and a command.
                var line = [words[0], "--conf-path", control]
                line += cause.0 + options
                line += words.dropFirst()
                if words == [Pasta.path] { line += ["--", "true"] }
                let output = try network.host.run(line, as: .ordinary)
                #expect(output.ending == .exited(1) && output.err.contains(cause.1), "\(output)")
                for path in [control, socket, socket + ".repair"] {
                    #expect(!FileManager.default.fileExists(atPath: path), "\(path) of \(line)")
                }
            }
            #expect(eventually(within: 2) { network.pastas().isEmpty })
        }
    }

    @Test func anInterfaceNameThatIsTakenIsRefused() throws {
        try withNetwork { network in
            let target = try Target(network, .mountedFile)
            try target.run(["ip", "link", "add", "taken0", "type", "bridge"]).check()
            let output = try target.joinInBackground(["--config-net", "--ns-ifname", "taken0"])
            let words = "Interface taken0 exists in the namespace already: choose another name with --ns-ifname"
            #expect(output.ending == .exited(1) && output.out.contains(words), "\(output)")
        }
    }
}
