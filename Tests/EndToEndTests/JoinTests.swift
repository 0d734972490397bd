import Glibc
import Testing

/// How an existing namespace is named.
enum Form: CaseIterable {
    /// rootlesskit: the process in it.
    case process
    /// rootlesskit: both files of /proc.
    case bothFiles
    /// buildah: the network file of /proc.
    case processFile
    /// podman: a file that the namespace is mounted on.
    case mountedFile
    /// The same by its name under /run/netns.
    case name
    /// Nix: an inherited descriptor.
    case descriptor
}

/// A namespace that exists before pasta.
struct Target {
    let host: Host
    let user: User
    let arguments: [String]
    /// Redirections that the shell makes for pasta.
    let redirections: String
    /// Of the process that holds it; nil where it is mounted.
    let holder: Child?
    let mounted: Host?

    init(_ network: Network, _ form: Form) throws {
        host = network.host
        switch form {
        case .process, .bothFiles, .processFile:
            user = form == .processFile ? .root : .ordinary
            let unshare = form == .processFile ? ["unshare", "--net"] : ["unshare", "--user", "--map-root-user", "--net"]
            let child = try host.start(unshare + ["--", "sleep", "infinity"], as: user)
            try require("the target") { ProcessTable.name(child.pid) == "sleep" }
            (holder, mounted, redirections) = (child, nil, "")
            arguments = switch form {
            case .process: ["\(child.pid)"]
            case .bothFiles: ["--userns=/proc/\(child.pid)/ns/user", "--netns=/proc/\(child.pid)/ns/net"]
            default: ["--netns", "/proc/\(child.pid)/ns/net"]
            }
        case .mountedFile, .name, .descriptor:
            let space = try network.addHost("guest")
            (user, holder, mounted) = (.root, nil, space)
            redirections = form == .descriptor ? "<" + space.path : ""
            arguments = ["--netns", form == .name ? space.name : form == .mountedFile ? space.path : "/proc/self/fd/0"]
        }
    }

    /// As podman does: output captured through a pipe until all its writers have closed it, while pasta goes on.
    func joinInBackground(_ options: [String], environment: [String: String] = [:]) throws -> Output {
        let words = ([Pasta.path] + options + arguments).map { "'\($0)'" }.joined(separator: " ")
        return try host.sh("out=$(\(words) 2>&1 \(redirections)); status=$?; echo \"$out\"; exit $status", as: user, environment: environment, seconds: 10)
    }

    /// In the foreground; returns when the interface is configured. `wrapper`: what runs pasta.
    func joinInForeground(_ options: [String] = [], wrapper: [String] = []) throws -> Child {
        let words = (wrapper + [Pasta.path, "--foreground", "--config-net"] + options + arguments).map { "'\($0)'" }.joined(separator: " ")
        let child = try host.start(["sh", "-c", "exec \(words) \(redirections)"], as: user)
        try require("addresses") { child.poll() != nil || addresses().contains("198.51.100.1/24") }
        if child.poll() != nil { throw Failure(child.wait().description) }
        return child
    }

    func run(_ command: [String]) throws -> Output {
        if let mounted { return try mounted.run(command) }
        let pid = holder.map { "\($0.pid)" } ?? ""
        let userNamespace = user == .ordinary ? ["--user", "--preserve-credentials"] : []
        return try host.network.run(["nsenter", "--target", pid, "--net"] + userNamespace + ["--"] + command)
    }

    var networkNamespace: String? { mounted?.namespaceFile ?? holder.flatMap { ProcessTable.networkNamespace($0.pid) } }

    func addresses() -> String { (try? run(["ip", "-o", "addr"]).out) ?? "" }

    /// Removes the namespace, as a container's end does.
    func remove() throws {
        if let mounted { try host.network.run(["ip", "netns", "del", mounted.name]).check() }
        holder?.send(SIGKILL)
        _ = holder?.wait(seconds: 5)
    }
}

/// `pasta [OPTION]... PID` and `--netns`: namespaces that somebody else made.
@Suite struct JoinTests {
    /// The parent returns at once with status 0, holding no pipe open, and by then everything is configured.
    @Test(arguments: Form.allCases)
    func theParentReturnsWhenTheNamespaceIsReady(_ form: Form) throws {
        try withNetwork { network in
            try network.remote.serveTests()
            let target = try Target(network, form)
            let pidFile = network.path("pid")
            try target.joinInBackground(["--config-net", "--pid", pidFile]).check()
            let pidText = contents(pidFile)
            let addresses = target.addresses()
            let pid = try #require(pid_t(pidText.dropLast()), "\(pidText)")
            #expect(pidText == "\(pid)\n")
            #expect(ProcessTable.exists(pid) && network.pastas().contains(pid))
            #expect(addresses.contains("198.51.100.1/24") && addresses.contains("2001:db8:1::1/64"), "\(addresses)")
            #expect(!addresses.split(separator: "\n").contains { $0.contains("tentative") && $0.contains("global") }, "\(addresses)")
            for family in Family.allCases {
                let output = try target.run(["python3", Helpers.path("client.py"), "ask", family.server, "4000", "whoami"])
                #expect(output.text == family.hostAddress, "\(output)")
            }
            // Nobody's child: it has left the session and the caller's directory.
            #expect(Glibc.kill(pid, SIGTERM) == 0)
            #expect(eventually(within: 5) { !ProcessTable.exists(pid) })
            #expect(eventually { target.addresses().contains("198.51.100.1") == false })
            try target.remove()
        }
    }

    /// The command line of podman, to the letter.
    @Test func podmansCommandLineIsAccepted() throws {
        try withNetwork { network in
            try network.remote.serveTests()
            try network.serveNames(on: network.remote)
            let target = try Target(network, .mountedFile)
            let output = try target.joinInBackground([
                "--config-net", "--dns-forward", "169.254.1.1", "-t", "none", "-u", "none", "-T", "none", "-U", "none", "--no-map-gw", "--quiet",
                "--map-guest-addr", "169.254.1.2",
            ]).check()
            #expect(output.text.isEmpty, "\(output)")
            #expect(target.addresses().contains("198.51.100.1/24"))
            let answer = try target.run(["dig", "+short", "+time=2", "@169.254.1.1", "host.example.test"])
            #expect(answer.text == "192.0.2.55", "\(answer)")
            try target.remove()
            #expect(eventually(within: 5) { network.pastas().isEmpty })
        }
    }

    @Test func rootlesskitsCommandLineIsAccepted() throws {
        try withNetwork { network in
            try network.remote.serveTests()
            for form in [Form.process, .bothFiles] {
                let target = try Target(network, form)
                let output = try target.joinInBackground([
                    "--stderr", "--ns-ifname=tap0", "--mtu=65520", "--config-net", "--address=10.0.2.100", "--netmask=24", "--gateway=10.0.2.2",
                    "--dns-forward=10.0.2.3", "--no-map-gw", "--ipv4-only", "--tcp-ports=none", "--udp-ports=none",
                ])
                #expect(output.succeeded, "\(output)")
                #expect(target.addresses().contains("10.0.2.100/24"))
                #expect(try target.run(["python3", Helpers.path("client.py"), "ask", Family.v4.server, "4000", "whoami"]).text == "198.51.100.1")
                try target.remove()
                #expect(eventually(within: 5) { network.pastas().isEmpty })
            }
        }
    }

    @Test func nixCommandLineIsAccepted() throws {
        try withNetwork { network in
            let target = try Target(network, .descriptor)
            let pasta = try target.joinInForeground([
                "--quiet", "--gateway", "198.51.100.254", "--address", "198.51.100.1", "--netmask", "24", "--dns-forward", "192.0.2.53",
                "--gateway", "2001:db8:1::fe", "--address", "2001:db8:1::1", "--dns-forward", "2001:db8:9::53", "--ns-ifname", "eth0", "--no-netns-quit",
            ])
            #expect(target.addresses().contains("eth0"))
            pasta.send(SIGTERM)
            #expect(pasta.wait(seconds: 5).ending == .exited(0))
        }
    }

    /// A caller's file, existing and empty, is filled; longer old content does not shine through.
    @Test(arguments: ["", "99999999999\nmore\n"])
    func thePIDFileIsReplaced(_ old: String) throws {
        try withNetwork { network in
            let target = try Target(network, .mountedFile)
            let file = try network.file("pid", old)
            let pasta = try target.joinInForeground(["--pid", file])
            #expect(eventually { contents(file) == "\(pasta.pid)\n" }, "\(contents(file))")
            pasta.send(SIGTERM)
            #expect(pasta.wait(seconds: 5).ending == .exited(0))
        }
    }

    @Test(arguments: [SIGTERM, SIGQUIT])
    func aSignalToEndIsSuccess(_ signal: Int32) throws {
        try withNetwork { network in
            let target = try Target(network, .mountedFile)
            let pasta = try target.joinInForeground()
            pasta.send(signal)
            let output = pasta.wait(seconds: 5)
            #expect(output.ending == .exited(0), "\(output)")
            #expect(eventually { (try? target.run(["ip", "-o", "link"]).lines.count) == 1 })
        }
    }

    @Test(arguments: Form.allCases)
    func lesson45_pastaEndsWithItsNamespace(_ form: Form) throws {
        try withNetwork { network in
            let target = try Target(network, form)
            try target.joinInBackground(["--config-net"]).check()
            #expect(network.daemons().count == 1)
            try target.remove()
            // An inherited descriptor has no file that could be seen to go.
            if form == .descriptor { return network.endPastas() }
            #expect(eventually(within: 5) { network.pastas().isEmpty })
        }
    }

    /// Where the user's watches are used up, somebody looks from time to time.
    @Test func lesson45_theEndIsNoticedWithoutInotify() throws {
        try withNetwork { network in
            let target = try Target(network, .mountedFile)
            let pasta = try target.joinInForeground(wrapper: ["python3", Helpers.path("refuse.py"), "inotify"])
            try target.remove()
            let output = pasta.wait(seconds: 5)
            #expect(output.ending == .exited(0), "\(output)")
        }
    }

    /// As a service under systemd's groups of calls (pasta@.service). Told at once, or to a caller that has gone: the program would be lost.
    @Test func lesson72_servicesMayFilterCallsThemselves() throws {
        try withNetwork { network in
            let target = try Target(network, .mountedFile)
            let pasta = try target.joinInForeground(wrapper: ["python3", Helpers.path("refuse.py"), "seccomp"])
            try target.remove()
            let output = pasta.wait(seconds: 5)
            #expect(output.ending == .exited(0), "\(output)")
        }
    }

    /// Callers that are root of the namespaces already keep their user namespace.
    @Test func netnsOnlyStaysInTheCallersUserNamespace() throws {
        try withNetwork { network in
            let target = try Target(network, .mountedFile)
            try target.joinInBackground(["--config-net", "--netns-only"]).check()
            #expect(target.addresses().contains("198.51.100.1/24"))
            try target.remove()
            #expect(eventually(within: 5) { network.pastas().isEmpty })
        }
    }

    @Test func noNetnsQuitStays() throws {
        try withNetwork { network in
            let target = try Target(network, .mountedFile)
            let pasta = try target.joinInForeground(["--no-netns-quit"])
            try target.remove()
            #expect(!eventually(within: 3) { pasta.poll() != nil })
            pasta.send(SIGTERM)
            #expect(pasta.wait(seconds: 5).ending == .exited(0))
        }
    }

    @Test func aKilledPastaCanBeReplaced() throws {
        try withNetwork { network in
            try network.remote.serveTests()
            let target = try Target(network, .mountedFile)
            for _ in 0..<3 {
                let pasta = try target.joinInForeground()
                #expect(try target.run(["python3", Helpers.path("client.py"), "ask", Family.v4.server, "4000", "whoami"]).text == "198.51.100.1")
                pasta.send(SIGKILL)
                #expect(pasta.wait(seconds: 5).ending == .signalled(SIGKILL))
                try require("the link to go") { !target.addresses().contains("198.51.100.1") }
            }
        }
    }

    /// The daemon keeps nothing of its caller: no stream, no directory, no terminal.
    @Test func theDaemonHoldsNothingOfItsCaller() throws {
        try withNetwork { network in
            let target = try Target(network, .mountedFile)
            try target.joinInBackground(["--config-net"]).check()
            let pid = try #require(network.daemons().first)
            let streams = try network.run(["sh", "-c", "readlink /proc/\(pid)/fd/0 /proc/\(pid)/fd/1 /proc/\(pid)/fd/2"])
            #expect(streams.lines == ["/dev/null", "/dev/null", "/dev/null"] || streams.lines == ["/null", "/null", "/null"], "\(streams)")
            // It sees an empty file system: nothing to find there for whoever takes it over.
            let files = try network.run(["ls", "-A", "/proc/\(pid)/root/"])
            #expect(files.succeeded && files.out.isEmpty, "\(files)")
            let status = contents("/proc/\(pid)/status")
            for line in ["NoNewPrivs:\t1", "Seccomp:\t2"] { #expect(status.contains(line), "\(status)") }
            #expect(status.contains("CapEff:\t0000000000000000"), "\(status)")
            try target.remove()
        }
    }
}

extension Network {
    /// Ends every pasta of this network.
    func endPastas() {
        for pid in pastas() { _ = Glibc.kill(pid, SIGTERM) }
        _ = eventually(within: 5) { pastas().isEmpty }
    }
}
