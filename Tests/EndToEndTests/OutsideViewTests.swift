import Foundation
import Glibc
import Testing

/// What /proc shows of a running pasta or passt, for every way in which it is called: no rights, no files, namespaces of its own, no descriptor that it
/// has no use for.
@Suite struct OutsideViewTests {
    enum Invocation: CaseIterable, CustomTestStringConvertible {
        /// A command, by an ordinary user; by the root of a user namespace, as in a container; and by one who stays root there.
        case user, root, runasRoot
        /// A command in the user namespace that we are in.
        case netnsOnly
        /// Namespaces of others, in the foreground.
        case process, bothFiles, processFile, mountedFile, name, descriptor
        /// The same in the background.
        case processInBackground, fileInBackground, netnsOnlyInBackground
        /// passt, by an ordinary user, and by the root of a user namespace.
        case passt, passtOfRoot, passtInBackground
        /// The same with a machine's memory.
        case passtOverMemory

        var testDescription: String { "\(self)" }
    }

    @Test(arguments: Invocation.allCases)
    func nothingIsLeft(_ invocation: Invocation) throws {
        try withNetwork { network in
            let run = try start(invocation, network)
            try require("the filter") { field(run.pid, "Seccomp") == "2" }
            expectNoRights(run.pid)
            expectNoFiles(run.pid)
            try expectOwnNamespaces(run.pid, network, isDetached: run.isDetached)
            expectFewDescriptors(run.pid)
            var other: pid_t?
            if let namespace = run.namespace { other = try helper(in: namespace) }
            let isPasst = invocation == .passt || invocation == .passtOverMemory || invocation == .passtOfRoot || invocation == .passtInBackground
            #expect((other == nil) == isPasst)
            #expect(kill(run.pid, SIGTERM) == 0)
            #expect(eventually(within: 5) { !ProcessTable.exists(run.pid) && !(other.map { ProcessTable.exists($0) } ?? false) })
        }
    }

    /// The process in the guest's network that makes sockets has nothing else, either.
    private func helper(in namespace: String) throws -> pid_t {
        let found = ProcessTable.all().filter { ProcessTable.networkNamespace($0) == namespace && ProcessTable.name($0).hasPrefix("pas") }
        #expect(found.count == 1)
        let pid = try #require(found.first)
        // It closes itself in beside the rest of the start.
        try require("the helper's filter") { field(pid, "Seccomp") == "2" }
        expectNoRights(pid, but: "0000000000000400")
        expectNoFiles(pid)
        // A service manager that ends what is in a group of processes, as one where podman has left this, does not wait for its last resort.
        let blocked = field(pid, "SigBlk").flatMap { UInt64($0, radix: 16) } ?? .max
        #expect(blocked & 1 << UInt64(SIGTERM - 1) == 0, "\(blocked)")
        for kind in ["mnt", "ipc", "uts"] {
            let own = Self.namespace("\(pid)", kind)
            #expect(own != nil && own != Self.namespace("self", kind), "\(kind)")
        }
        let folder = "/proc/\(pid)/fd"
        let targets = try FileManager.default.contentsOfDirectory(atPath: folder).map { try FileManager.default.destinationOfSymbolicLink(atPath: "\(folder)/\($0)") }
        #expect(targets.count == 4 && targets.count { $0.hasSuffix("/null") } == 3 && targets.count { $0.hasPrefix("socket:[") } == 1, "\(targets)")
        return pid
    }

    private struct Run {
        let pid: pid_t
        let isDetached: Bool
        /// The guest's network; passt has none to do with.
        let namespace: String?
    }

    private func start(_ invocation: Invocation, _ network: Network) throws -> Run {
        func foreground(_ form: Form, _ options: [String] = []) throws -> Run {
            let target = try Target(network, form)
            return Run(pid: try target.joinInForeground(options).pid, isDetached: false, namespace: target.networkNamespace)
        }
        func background(_ form: Form, _ options: [String] = []) throws -> Run {
            let file = network.path("pid")
            let target = try Target(network, form)
            try target.joinInBackground(["--config-net", "--pid", file] + options).check()
            return Run(pid: try #require(pid_t(contents(file).dropLast())), isDetached: true, namespace: target.networkNamespace)
        }
        func command(_ user: User, _ options: [String] = []) throws -> Run {
            let guest = try network.guest(["--config-net"] + options, automatic: true, as: user)
            return Run(pid: guest.pasta.pid, isDetached: false, namespace: ProcessTable.networkNamespace(guest.pid))
        }
        func passt(_ user: User) throws -> Run {
            let pid = try network.passt(["-f", "--socket", network.path("s"), "-t", "8080", "-u", "8080"], as: user).pid
            return Run(pid: pid, isDetached: false, namespace: nil)
        }
        return switch invocation {
        case .user: try command(.ordinary)
        case .root: try command(.root)
        case .runasRoot: try command(.root, ["--runas", "0"])
        case .netnsOnly: try command(.root, ["--netns-only"])
        case .process: try foreground(.process)
        case .bothFiles: try foreground(.bothFiles)
        case .processFile: try foreground(.processFile)
        case .mountedFile: try foreground(.mountedFile)
        case .name: try foreground(.name)
        case .descriptor: try foreground(.descriptor)
        case .processInBackground: try background(.process)
        case .fileInBackground: try background(.mountedFile)
        case .netnsOnlyInBackground: try background(.mountedFile, ["--netns-only"])
        case .passt: try passt(.ordinary)
        case .passtOfRoot: try passt(.root)
        case .passtOverMemory:
            try { () throws -> Run in
                let pid = try network.passt(["-f", "--vhost-user", "--socket", network.path("s"), "-t", "8080", "-u", "8080"]).pid
                try Machine(network, "vm", socket: network.path("s"), kind: "memory").configure()
                return Run(pid: pid, isDetached: false, namespace: nil)
            }()
        case .passtInBackground:
            try { () throws -> Run in
                let file = network.path("pid")
                _ = try network.passt(["--socket", network.path("s"), "--pid", file])
                return Run(pid: try #require(pid_t(contents(file).dropLast())), isDetached: true, namespace: nil)
            }()
        }
    }

    private func field(_ pid: pid_t, _ name: String) -> String? {
        let line = contents("/proc/\(pid)/status").split(separator: "\n").first { $0.hasPrefix(name + ":") }
        return line.map { $0.dropFirst(name.count + 1).trimmingCharacters(in: .whitespaces) }
    }

    private func expectNoRights(_ pid: pid_t, but right: String = "0000000000000000") {
        for set in ["CapInh", "CapAmb"] { #expect(field(pid, set) == "0000000000000000", "\(set)") }
        for set in ["CapPrm", "CapEff"] { #expect(field(pid, set) == right, "\(set)") }
        #expect(field(pid, "NoNewPrivs") == "1" && field(pid, "Seccomp") == "2" && field(pid, "Threads") == "1")
        #expect(field(pid, "TracerPid") == "0")
    }

    /// The root directory is empty, cannot be written, and nothing else is mounted.
    private func expectNoFiles(_ pid: pid_t) {
        let files = FileManager.default
        #expect((try? files.contentsOfDirectory(atPath: "/proc/\(pid)/root/")) == [])
        #expect((try? files.contentsOfDirectory(atPath: "/proc/\(pid)/cwd/")) == [])
        let mounts = contents("/proc/\(pid)/mountinfo").split(separator: "\n")
        #expect(mounts.count == 1 && mounts[0].contains(" / / ro,nosuid,nodev,noexec") && mounts[0].contains(" tmpfs "), "\(mounts)")
        #expect(!files.createFile(atPath: "/proc/\(pid)/root/file", contents: nil))
    }

    private func expectOwnNamespaces(_ pid: pid_t, _ network: Network, isDetached: Bool) throws {
        for kind in ["user", "mnt", "ipc", "uts"] {
            let own = Self.namespace("\(pid)", kind)
            #expect(own != nil && own != Self.namespace("self", kind), "\(kind)")
        }
        let processes = Self.namespace("\(pid)", "pid")
        #expect(processes != nil && (processes != Self.namespace("self", "pid")) == isDetached)
        // In the host's network it stays; the guest's it has never entered.
        #expect(Self.namespace("\(pid)", "net") == network.host.namespaceFile)
    }

    private static func namespace(_ of: String, _ kind: String) -> String? {
        try? FileManager.default.destinationOfSymbolicLink(atPath: "/proc/\(of)/ns/\(kind)")
    }

    /// Sockets, the loop's own, the tap, memory that is lent, what shows the namespace's end, and what the caller put on the standard ones.
    private func expectFewDescriptors(_ pid: pid_t) {
        let folder = "/proc/\(pid)/fd"
        let numbers = ((try? FileManager.default.contentsOfDirectory(atPath: folder)) ?? []).compactMap { Int($0) }
        #expect(numbers.count >= 5 && numbers.count <= 24, "\(numbers.count)")
        for number in numbers {
            let target = (try? FileManager.default.destinationOfSymbolicLink(atPath: "\(folder)/\(number)")) ?? "?"
            let isKnown = [
                "socket:[", "anon_inode:[eventpoll]", "anon_inode:[signalfd]", "anon_inode:[timerfd]", "anon_inode:inotify", "anon_inode:[pidfd]", "pipe:[",
                "anon_inode:[eventfd]",  // passt --vhost-user: what both sides call each other by
                "/memfd:frames",  // passt: what it lends to the machine (`LentMemory`)
            ].contains { target.hasPrefix($0) }
            let isDevice = target.hasSuffix("/null") || target.hasSuffix("/net/tun")
            // Where the end of the namespace, or the state of the command, can be seen. Nothing can be opened there: no call for that is left.
            let isWatched = target == "/run/netns" || target.hasPrefix("/proc/") && ["/ns", "/status"].contains { target.hasSuffix($0) }
            #expect(isKnown || isDevice || isWatched || (0...2).contains(number), "\(number): \(target)")
        }
        for standard in 0...2 { #expect(numbers.contains(standard)) }
    }
}
