import Foundation
import Glibc
import Testing

/// Real guests: QEMU without any help of the processor boots Debian's kernel, and User-Mode Linux is a kernel that runs as a process, with a file system that is made here.
@Suite(.serialized) struct VirtualMachineTests {
    private static var guest: String {
        URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent().deletingLastPathComponent()
            .appendingPathComponent(".build/guest").path
    }

    /// What machine it is, and how it is connected.
    enum Link: CaseIterable {
        /// QEMU, frames over a stream.
        case stream
        /// QEMU, memory that is shared (vhost-user).
        case memory
        /// User-Mode Linux, a message for each frame (bess).
        case messages
        /// User-Mode Linux, memory that is shared.
        case ownMemory

        var isUserModeLinux: Bool { self == .messages || self == .ownMemory }

        func options(_ socket: String) -> [String] {
            switch self {
            case .stream: ["--socket", socket]
            case .memory, .ownMemory: ["--vhost-user", "--socket", socket]
            case .messages: ["--socket", "unixpacket://" + socket]
            }
        }

        func arguments(_ socket: String) -> [String] {
            switch self {
            case .messages: ["vec0:transport=bess,dst=\(socket)"]
            case .ownMemory: ["virtio_uml.device=\(socket):1"]
            case .stream: ["-netdev", "stream,id=n,addr.type=unix,addr.path=\(socket),server=off", "-device", "virtio-net-pci,netdev=n"]
            case .memory:
                // Without KVM, QEMU 7.2 crashes with the interrupt vectors that it has by default.
                [
                    "-object", "memory-backend-memfd,id=m,size=512M,share=on", "-machine", "memory-backend=m", "-chardev", "socket,id=c,path=\(socket)",
                    "-netdev", "vhost-user,id=n,chardev=c", "-device", "virtio-net-pci,netdev=n,vectors=0",
                ]
            }
        }
    }

    /// Boots a machine that runs `script` when it has its addresses, and then ends.
    private func boot(_ network: Network, _ link: [String], script: String, isUserModeLinux: Bool = false) throws -> Child {
        let image = network.path("image\(UUID().uuidString.prefix(4))")
        let text = try network.file("script", script)
        let kernel = isUserModeLinux ? Self.guest + "/user-mode" : Self.guest
        try network.run(["python3", Helpers.path("guest-image.py"), image, kernel, text]).check()
        guard !isUserModeLinux else {
            return try network.host.start(
                [kernel + "/linux", "mem=256M", "initrd=\(image)", "con=null", "con0=fd:0,fd:1", "quiet", "panic=-1", "uml_dir=\(network.directory)"] + link)
        }
        return try network.host.start([
            "qemu-system-x86_64", "-nodefaults", "-machine", "pc", "-accel", "tcg", "-m", "512", "-display", "none", "-serial", "stdio", "-no-reboot",
            "-kernel", Self.guest + "/vmlinuz", "-initrd", image, "-append", "console=ttyS0 quiet panic=-1",
        ] + link)
    }

    private func waitFor(_ text: String, _ machine: Child, seconds: Double = 120) throws {
        try require("\(text) from the machine: \(machine.standardOutput)", within: seconds) {
            machine.standardOutput.contains(text) || machine.poll() != nil
        }
        if !machine.standardOutput.contains(text) { throw Failure("the machine ended: \(machine.standardOutput)\(machine.standardError)") }
    }

    /// Everything a guest does: addresses by three protocols, names, both ways, both families, checksums of what passed; its power is cut in the
    /// middle of a transfer, and it comes back.
    @Test(arguments: Link.allCases) func aRealGuestHasTheHostsNetwork(_ link: Link) throws {
        try withNetwork { network in
            try network.remote.serveTests()
            // At the host's loopback, which the gateway's address leads to.
            for (port, family) in zip([4100, 4101], Family.allCases) { try network.host.serveTests(port: port, address: family.loopback) }
            let socket = network.path("s")
            let passt = try network.passt(["-f", "-t", "8080:4000", "-u", "8080:4000", "--mtu", "1500"] + link.options(socket))
            let script = """
                set -e
                ip -6 addr show dev eth0 | grep 2001:db8:1::1/128
                echo "guest: of its own making: $(ip -6 addr show dev eth0 | grep -o '2001:db8:1:[0-9a-f:]*/64')"
                for server in \(Family.v4.server) \(Family.v6.server); do
                    ping -c 3 -W 3 $server | grep -E 'transmitted'
                    echo "guest: seen as $(python3 client.py ask $server 4000 whoami)"
                    python3 client.py send $server 4000 67108864
                    python3 client.py receive $server 4000 67108864
                    python3 client.py duplex $server 4000 4194304
                    python3 client.py udp-sizes $server 4000 0 1 17 1400 1473 9000
                    python3 client.py udp-flows $server 4000 20
                    echo "guest: refused: $(python3 client.py error $server 4999)"
                done
                for gateway in "\(Family.v4.gateway) 4100" "\(Family.v6.gateway) 4101"; do
                    echo "guest: loopback by TCP: $(python3 client.py ask $gateway whoami)"
                    echo "guest: loopback by UDP: $(python3 client.py udp-ask $gateway whoami)"
                    python3 client.py duplex $gateway 1048576
                done
                echo "guest: all passed"
                python3 server.py 4000
                """
            let machine = try boot(network, link.arguments(socket), script: script, isUserModeLinux: link.isUserModeLinux)
            try waitFor("guest: all passed", machine, seconds: 240)
            let log = machine.standardOutput
            for line in [
                "guest: lease 198.51.100.1/24 router 198.51.100.254 mtu 1500 dns 203.0.113.2 search example.test corp.example.test",
                "guest: seen as 198.51.100.1", "guest: seen as 2001:db8:1::1", "guest: refused: ECONNREFUSED",
                "guest: DHCPv6 2001:db8:1::1 dns 2001:db8:2::2 search example.test. corp.example.test.", "guest: of its own making: 2001:db8:1:",
                "guest: loopback by TCP: 127.0.0.1", "guest: loopback by TCP: ::1", "guest: loopback by UDP: 127.0.0.1", "guest: loopback by UDP: ::1",
            ] { #expect(log.contains(line), "\(log)") }
            #expect(log.components(separatedBy: "3 packets transmitted, 3 packets received").count == 3, "\(log)")
            try waitFor("ready", machine)

            for family in Family.allCases {
                #expect(try network.remote.client("ask", family.hostAddress, 8080, "whoami", seconds: 60).check().text == family.server)
                #expect(try network.remote.client("udp-ask", family.hostAddress, 8080, "whoami").check().text == family.server)
                for size in [0, 1, 17, 1400, 1452, 1473, 9000] { try network.remote.client("udp-sizes", family.hostAddress, 8080, size).check() }
                try network.remote.client("udp-flows", family.hostAddress, 8080, 20).check()
                try network.remote.client("send", family.hostAddress, 8080, 64 << 20, seconds: 120).check()
                try network.remote.client("receive", family.hostAddress, 8080, 64 << 20, seconds: 120).check()
            }
            // It reads nothing for two seconds: any amount could have passed by then.
            let transfer = try network.remote.start(["python3", Helpers.path("client.py"), "late", Family.v4.hostAddress, "8080", "\(64 << 20)", "2"])
            try network.remote.awaitConnections(1)
            usleep(500_000)
            machine.kill()
            #expect(transfer.wait(seconds: 10).err.contains("ECONNRESET"))

            let again = try boot(
                network, link.arguments(socket), script: "python3 client.py duplex \(Family.v4.server) 4000 1048576", isUserModeLinux: link.isUserModeLinux)
            try waitFor("guest: status 0", again)
            #expect(again.wait(seconds: 20).ending == .exited(0))
            #expect(passt.poll() == nil)
            passt.send(SIGTERM)
            #expect(passt.wait().ending == .exited(0))
        }
    }

    /// Datagrams that lie in the guest's memory as passt has written them, until the guest is told to look at them: whether each is as it was sent. They are large, since of
    /// all buffers but a frame's first one the guest's kernel leaves the pages untouched.
    private static let holdDatagrams = """
        import select, socket, struct
        held, told = socket.socket(socket.AF_INET, socket.SOCK_DGRAM), socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        held.bind(("", 4100)), told.bind(("", 4101))
        print("guest: holding", flush=True)
        told.recv(100)
        good = bad = 0
        while select.select([held], [], [], 0)[0]:
            data = held.recv(30000)
            if data == data[:4] * 5000: good += 1
            else: bad += 1
        print(f"guest: {good} good, {bad} bad", flush=True)
        """
    private static let sendDatagrams = """
        import socket, struct, time
        sender = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        sender.connect(("\(Family.v4.hostAddress)", 8080))
        for number in range(20):
            sender.send(struct.pack("!I", number + 1) * 5000)
            time.sleep(0.1)
        """

    /// A guest moves to another QEMU with another passt while it receives: whatever passt has written to its memory meanwhile must move, too.
    /// The guest changes memory all the time, so that the migration goes on; its network is quiet, so that buffers were copied when data comes into them.
    @Test func aGuestWithSharedMemoryMoves() throws {
        try withNetwork { network in
            try network.remote.serveTests()
            let (from, to, way) = (network.path("from"), network.path("to"), network.path("way"))
            _ = try network.passt(["-f", "--vhost-user", "--socket", from, "-t", "8080:4000", "-u", "8080:4100"])
            let target = try network.passt(["-f", "--vhost-user", "--socket", to, "-t", "8081:4000", "-u", "8081:4101"])
            let script = """
                cat >/tmp/hold.py <<'END'
                \(Self.holdDatagrams.replacingOccurrences(of: "\n", with: "\n                "))
                END
                sed -i 's/^                //' /tmp/hold.py
                python3 server.py 4000 &
                python3 -c 'while True: x = b"change" * (2 << 20)' &
                python3 /tmp/hold.py
                kill $!
                for i in 1 2 3; do python3 client.py receive \(Family.v4.server) 4000 8388608 && python3 client.py send \(Family.v6.server) 4000 8388608; done
                echo "guest: all passed"
                sleep 100
                """
            func monitor(_ name: String) -> [String] { ["-monitor", "unix:\(network.path(name)),server=on,wait=off"] }
            let source = try boot(network, Link.memory.arguments(from) + monitor("m1"), script: script)
            let destination = try boot(network, Link.memory.arguments(to) + monitor("m2") + ["-incoming", "unix:" + way], script: script)
            try waitFor("guest: holding", source)
            func say(_ command: String) throws -> String {
                try network.host.sh("echo '\(command)' | socat -t1 - UNIX-CONNECT:\(network.path("m1"))", seconds: 20).out
            }
            // It cannot end as long as no more than this may be left at the end, and the guest has changed more.
            _ = try say("migrate_set_parameter downtime-limit 1")
            _ = try say("migrate_set_parameter max-bandwidth 80M")
            #expect(try !say("migrate -d unix:\(way)").contains("rror"))
            // All has been copied once: from here on, only what is noted is copied again.
            try require("the second round", within: 60) {
                let rounds = (try? say("info migrate"))?.components(separatedBy: "dirty sync count: ").dropFirst().first?.prefix { $0.isNumber } ?? ""
                return (Int(rounds) ?? 0) >= 2 || destination.poll() != nil
            }
            _ = try say("migrate_set_parameter max-bandwidth 5M")
            try network.remote.run(["python3", "-c", Self.sendDatagrams.replacingOccurrences(of: "\n        ", with: "\n")]).check()
            #expect(try say("info migrate").contains("Migration status: active"))
            _ = try say("migrate_set_parameter downtime-limit 1000")
            _ = try say("migrate_set_parameter max-bandwidth 1G")
            try require("the migration's end", within: 60) {
                (try? say("info migrate"))?.contains("Migration status: completed") == true || destination.poll() != nil
            }
            source.kill()
            try network.remote.sh("echo now | socat -u - UDP4:\(Family.v4.hostAddress):8081").check()
            try waitFor("guest: all passed", destination)
            #expect(destination.standardOutput.contains(" good, 0 bad") && !destination.standardOutput.contains(": 0 good"), "\(destination.standardOutput)")
            for family in Family.allCases {
                #expect(try network.remote.client("ask", family.hostAddress, 8081, "whoami", seconds: 60).check().text == family.server)
            }
            #expect(!target.standardError.contains("impossible"), "\(target.standardError)")
            destination.kill()
        }
    }

    /// As `pair.py` says it: with a status, or by a signal.
    private static func passtHasEnded(_ pair: Child) -> Bool { pair.standardOutput.firstMatch(of: /\sA -?\d+\s/) != nil }

    /// Inherited sockets, of both kinds that QEMU has.
    @Test(arguments: [("stream", "stream,id=n,addr.type=fd,addr.str={fd}"), ("dgram", "dgram,id=n,local.type=fd,local.str={fd}")])
    func aGuestOverAnInheritedSocket(_ kind: String, _ netdev: String) throws {
        try withNetwork { network in
            try network.remote.serveTests()
            let image = network.path("image")
            let script = try network.file("script", "python3 client.py duplex \(Family.v6.server) 4000 4194304 && python3 client.py send \(Family.v4.server) 4000 4194304")
            try network.run(["python3", Helpers.path("guest-image.py"), image, Self.guest, script]).check()
            let pair = try network.host.start([
                "python3", Helpers.path("pair.py"), kind, "5", try Passt.path(network), "-f", "-q", "--fd", "5", "--mtu", "1500", "-t", "8080:4000", "--",
                "qemu-system-x86_64", "-nodefaults", "-machine", "pc", "-accel", "tcg", "-m", "512", "-display", "none", "-serial", "stdio", "-no-reboot",
                "-kernel", Self.guest + "/vmlinuz", "-initrd", image, "-append", "console=ttyS0 quiet panic=-1",
                "-netdev", netdev, "-device", "virtio-net-pci,netdev=n",
            ])
            try require("the guest's work", within: 120) {
                pair.standardOutput.firstMatch(of: /guest: status \d+\s/) != nil || Self.passtHasEnded(pair) || pair.poll() != nil
            }
            #expect(pair.standardOutput.contains("guest: status 0"), "\(pair.standardOutput)\(pair.standardError)")
            // Datagrams know no end: the next one for the machine finds nobody.
            try require("the end of passt") {
                if kind == "dgram" { _ = try? network.remote.client("error", Family.v4.hostAddress, 8080) }
                return Self.passtHasEnded(pair) || pair.poll() != nil
            }
            #expect(pair.standardOutput.contains("A 0") && !pair.standardOutput.contains("A -"), "\(pair.standardOutput)\(pair.standardError)")
            pair.kill()
        }
    }
}
