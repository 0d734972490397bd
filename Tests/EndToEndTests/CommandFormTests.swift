import Testing

/// `pasta [OPTION]... [COMMAND] [ARG]...`
@Suite struct CommandFormTests {
    @Test(arguments: [User.root, .ordinary], [Int32(0), 1, 7, 255])
    func theStatusIsTheCommands(_ user: User, _ status: Int32) throws {
        try withNetwork { network in
            let output = try network.host.run([Pasta.path, "--config-net", "--", "sh", "-c", "exit \(status)"], as: user)
            #expect(output.ending == .exited(status), "\(output)")
        }
    }

    /// Some shells and window managers ignore the ends of their children, and so does what they start.
    @Test func lesson69_theStatusIsTheCommandsWhateverTheCallerIgnores() throws {
        try withNetwork { network in
            let caller = "import os, signal; signal.signal(signal.SIGCHLD, signal.SIG_IGN); os.execv('\(Pasta.path)', ['pasta', '--config-net', '--', 'sh', '-c', 'sleep 0.5; exit 3'])"
            let output = try network.host.run(["python3", "-c", caller], as: .ordinary, seconds: 10)
            #expect(output.ending == .exited(3), "\(output)")
        }
    }

    /// A program that its user may run but not read has files in /proc that are root's, as one that has capabilities of its own.
    @Test func aProgramThatMayNotBeReadStartsCommands() throws {
        try withNetwork { network in
            let copy = network.path("pasta")
            try network.host.run(["install", "-m", "0711", Pasta.path, copy]).check()
            try network.host.sh("chmod 711 \(network.path("."))").check()
            let output = try network.host.run([copy, "--config-net", "--", "sh", "-c", "exit 4"], as: .ordinary)
            #expect(output.ending == .exited(4), "\(output)")
        }
    }

    /// What an option names may be a descriptor of the caller's, as `>(...)` of a shell is.
    @Test func lesson46_descriptorsThatOptionsNameStayOpen() throws {
        try withNetwork { network in
            let capture = network.path("capture")
            try network.host.sh("exec 9>\(capture); exec \(Pasta.path) --config-net --pcap /dev/fd/9 -- true").check()
            #expect(try network.host.sh("wc -c <\(capture)").check().text != "0")
        }
    }

    @Test func argumentsArePassedUnchanged() throws {
        try withNetwork { network in
            let words = ["a", "b c", "", "--version", "-x", "$HOME", "'"]
            // With and without the separator: options end at the first word that is none.
            for separator in [["--"], []] {
                let output = try network.host.run([Pasta.path, "--config-net"] + separator + ["printf", "%s|"] + words, as: .ordinary)
                #expect(output.succeeded && output.out == words.joined(separator: "|") + "|", "\(output)")
            }
        }
    }

    /// Names of files are bytes, and not always UTF-8. Where they are our own, another file would be meant.
    @Test func bytesThatAreNoText() throws {
        try withNetwork { network in
            let command = try network.host.sh(
                "\(Pasta.path) --config-net -- sh -c 'printf %s \"$1\" | od -An -tx1' x \"$(printf 'caf\\351')\"", as: .ordinary).check()
            #expect(command.text == "63 61 66 e9", "\(command)")
            let option = try network.host.sh("\(Pasta.path) --pid \"$(printf '/tmp/caf\\351')\" -- true", as: .ordinary)
            #expect(option.ending == .exited(1) && option.err.contains("not UTF-8"), "\(option)")
        }
    }

    @Test func environmentDirectoryAndStandardStreamsAreTheCallers() throws {
        try withNetwork { network in
            let script = "cd /usr/lib && echo question | ANSWER=42 \(Pasta.path) --config-net -- sh -c 'read word; echo $word $ANSWER $(pwd); echo err >&2'"
            let output = try network.host.sh(script, as: .ordinary)
            #expect(output.out == "question 42 /usr/lib\n", "\(output)")
            #expect(output.errorLines.contains("err"), "\(output)")
        }
    }

    @Test(arguments: [User.root, .ordinary])
    func theCommandIsRootOfANamespaceOfItsOwn(_ user: User) throws {
        try withNetwork { network in
            let own = try network.host.sh("readlink /proc/self/ns/net /proc/self/ns/user", as: user).check().lines
            let output = try network.host.run(
                [Pasta.path, "--config-net", "--", "sh", "-c", "id -u; readlink /proc/self/ns/net /proc/self/ns/user; ip link add x type bridge"],
                as: user).check()
            #expect(output.lines.first == "0", "\(output)")
            #expect(Set(output.lines).isDisjoint(with: own), "\(output)")
        }
    }

    /// Root of a command's namespace is root outside only where that is asked for.
    @Test func runasZeroKeepsRoot() throws {
        try withNetwork { network in
            let output = try network.host.run([Pasta.path, "--runas", "0", "--config-net", "--", "cat", "/proc/self/uid_map"]).check()
            #expect(output.text.split(separator: " ") == ["0", "0", "1"], "\(output)")
        }
    }

    /// Programs that use select() must not see more descriptors than their caller allowed.
    @Test func theCommandHasTheCallersLimits() throws {
        try withNetwork { network in
            let output = try network.host.sh("ulimit -Sn 512; \(Pasta.path) --config-net -- sh -c 'ulimit -Sn'", as: .ordinary).check()
            #expect(output.text == "512", "\(output)")
        }
    }

    /// Whatever set-up lacks, one line says so, and the command that waits already does not stay.
    @Test(arguments: [5, 7, 9, 11])
    func setUpThatFailsHalfwayLeavesNothing(_ limit: Int) throws {
        try withNetwork { network in
            let output = try network.host.sh("ulimit -n \(limit); exec \(Pasta.path) --config-net -- echo ran", as: .ordinary)
            #expect(output.ending == .exited(1) && output.errorLines.count == 1 && output.out.isEmpty, "\(output)")
            #expect(eventually(within: 2) { network.pastas().isEmpty })
        }
    }

    /// The same for standard streams that are not there: no socket of pasta's gets their numbers.
    @Test func closedStandardStreamsDoNoHarm() throws {
        try withNetwork { network in
            let file = network.path("seen")
            let output = try network.host.sh(
                "\(Pasta.path) --config-net -- sh -c 'readlink /proc/self/fd/0 /proc/self/fd/2 >\(file)' <&- >&- 2>&-", as: .ordinary)
            #expect(output.succeeded && contents(file) == "/dev/null\n/dev/null\n", "\(output) \(contents(file))")
        }
    }

    @Test func withoutACommandItIsTheShell() throws {
        try withNetwork { network in
            let output = try network.host.sh("echo 'echo in the shell; exit 3' | SHELL=/bin/sh \(Pasta.path) --config-net", as: .ordinary)
            #expect(output.out == "in the shell\n" && output.ending == .exited(3), "\(output)")
        }
    }

    @Test func aCommandThatDoesNotExistIsAnError() throws {
        try withNetwork { network in
            let output = try network.host.run([Pasta.path, "--config-net", "--", "/no/such/command"], as: .ordinary)
            #expect(output.ending != .exited(0) && output.ending != nil, "\(output)")
            #expect(output.err.contains("/no/such/command"), "\(output)")
        }
    }

    @Test(arguments: [User.root, .ordinary])
    func aKilledCommandIsStatus128AndTheSignal(_ user: User) throws {
        try withNetwork { network in
            let guest = try network.guest(as: user)
            #expect(try guest.stop().ending == .exited(137))
        }
    }

    /// pasta dies, the command stays: its link is gone, and nothing of pasta is left.
    @Test func aKilledPastaTakesItsLinkAlong() throws {
        try withNetwork { network in
            let guest = try network.guest()
            guest.pasta.send(9)
            #expect(guest.pasta.wait(seconds: 5).ending == .signalled(9))
            #expect(eventually(within: 5) { network.pastas().isEmpty })
            #expect(eventually { !ProcessTable.exists(guest.pid) || (try? guest.run(["ip", "-o", "link"]).lines.count) == 1 })
        }
    }

    @Test func twentyPastasAtOnce() throws {
        try withNetwork { network in
            try network.remote.serveTests()
            let client = ["python3", Helpers.path("client.py"), "receive", Family.v4.server, "4000", "100000"]
            let all = try (0..<20).map { _ in try network.host.start([Pasta.path, "--config-net", "--"] + client, as: .ordinary) }
            for child in all {
                let output = child.wait(seconds: 60)
                #expect(output.text == "ok", "\(output)")
            }
        }
    }

}
