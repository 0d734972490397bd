import Settings
import Setup
import Testing
import Wire

// The command lines of programs that call pasta and passt today, word for word.

extension OptionsTests {
    @Test("Callers", arguments: callers)
    func caller(_ example: OptionsCase) throws { try example.check() }

    @Test("Callers that forward ports, or ask for what this build refuses in so many words", arguments: callersWithPorts)
    func callerWithPorts(_ example: OptionsCase) throws { try example.check() }

    /// Podman tries an option that older releases lack, and looks for these words and this status.
    @Test func podmanRecognizesAnOldRelease() throws {
        var result: ParseResult?
        let output = try capturingStandardError {
            result = try Options.parse(
                arguments: ["pasta", "--config-net", "--netns", "/run/netns/x", "--map-guest-address", "169.254.1.2"], program: .pasta)
        }
        #expect(output.contains("unrecognized option '--map-guest-addr"))
        #expect(result == .printed("", status: 1))
    }
}

private func v4(_ text: String) -> IPv4Address { IPv4Address(text)! }
private func v6(_ text: String) -> IPv6Address { IPv6Address(text)! }
private let noPorts: [PortOption] = [.init(.tcpIn, "none"), .init(.udpIn, "none"), .init(.tcpOut, "none"), .init(.udpOut, "none")]

@Sendable private func podman(_ options: inout Options) {
    options.configureNetwork = true
    options.noRA = true
    options.dnsForward4 = v4("169.254.1.1")
    options.portOptions = noPorts
    options.noMapGateway = true
    options.quiet = true
    options.mapGuestAddress4 = .address(v4("169.254.1.2"))
    options.netnsOnly = true
}

private let callers: [OptionsCase] = [
    // podman
    .ok("pasta --config-net --dns-forward 169.254.1.1 -t none -u none -T none -U none --no-map-gw --quiet "
        + "--netns /run/user/1000/netns/netns-5a1c7e3e --map-guest-addr 169.254.1.2") {
        podman(&$0)
        $0.target = .path("/run/user/1000/netns/netns-5a1c7e3e")
    },
    // podman since 2026, where the user names neither address
    .ok("pasta --config-net --pid /run/user/1000/x/pasta.pid --dns-forward 169.254.1.1 -t none -u none -T none -U none --map-guest-addr 169.254.1.2 "
        + "--map-host-loopback 169.254.1.2 --no-map-gw --quiet --netns /run/user/1000/netns/netns-5a1c7e3e") {
        podman(&$0)
        $0.pidFile = "/run/user/1000/x/pasta.pid"
        $0.mapHostLoopback4 = .address(v4("169.254.1.2"))
        $0.target = .path("/run/user/1000/netns/netns-5a1c7e3e")
    },
    // podman, its second try
    .ok("pasta --config-net --dns-forward 169.254.1.1 -t none -u none -T none -U none --no-map-gw --quiet --netns /run/user/1000/netns/netns-5a1c7e3e") {
        podman(&$0)
        $0.target = .path("/run/user/1000/netns/netns-5a1c7e3e")
        $0.mapGuestAddress4 = .unset
    },
    // podman, rootless bridge
    .ok("pasta --config-net --pid /run/user/1000/networks/rootless-netns/rootless-netns-conn.pid --dns-forward 169.254.1.1 -t none -u none -T none -U none "
        + "--no-map-gw --quiet --netns /run/user/1000/networks/rootless-netns/rootless-netns --map-guest-addr 169.254.1.2") {
        podman(&$0)
        $0.pidFile = "/run/user/1000/networks/rootless-netns/rootless-netns-conn.pid"
        $0.target = .path("/run/user/1000/networks/rootless-netns/rootless-netns")
    },
    // podman's own tests
    .ok("pasta --config-net -I foo --ns-mac-addr 9a:dd:31:ea:92:98 --dns-forward 169.254.1.1 -t none -u none -T none -U none --no-map-gw --debug "
        + "--netns /run/netns/x --map-guest-addr 169.254.1.2") {
        podman(&$0)
        $0.quiet = false
        $0.debug = true
        $0.namespaceInterface = "foo"
        $0.namespaceMAC = MACAddress(0x9add_31ea_9298)
        $0.target = .path("/run/netns/x")
    },
    // buildah
    .ok("pasta --config-net --dns-forward 169.254.1.1 -t none -u none -T none -U none --no-map-gw --quiet --netns /proc/4711/ns/net --map-guest-addr 169.254.1.2") {
        podman(&$0)
        $0.target = .path("/proc/4711/ns/net")
    },
    // Nix and Lix
    .ok("pasta --quiet --foreground --config-net --gateway 169.254.1.1 --address 169.254.1.2 --netmask 16 --dns-forward 169.254.1.1 "
        + "--gateway 64:ff9b:1:4b8e:472e:a5c8:a9fe:0101 --address 64:ff9b:1:4b8e:472e:a5c8:a9fe:0102 --dns-forward 64:ff9b:1:4b8e:472e:a5c8:a9fe:0101 "
        + "--ns-ifname eth0 --no-netns-quit --netns /proc/self/fd/0 --userns /proc/self/fd/1", nix),
    .ok("pasta --quiet --foreground --config-net --gateway 169.254.1.1 --address 169.254.1.2 --netmask 16 --dns-forward 169.254.1.1 "
        + "--gateway 64:ff9b:1:4b8e:472e:a5c8:a9fe:0101 --address 64:ff9b:1:4b8e:472e:a5c8:a9fe:0102 --dns-forward 64:ff9b:1:4b8e:472e:a5c8:a9fe:0101 "
        + "--ns-ifname eth0 --no-netns-quit --netns /proc/self/fd/0") {
        nix(&$0)
        $0.userNamespace = nil
        $0.netnsOnly = true
    },
    // Agent sandboxes
    .ok("pasta -t none -u none -T none -U none --map-host-loopback none --no-netns-quit") {
        $0.portOptions = noPorts
        $0.mapHostLoopback4 = .none
        $0.mapHostLoopback6 = .none
        $0.noNetnsQuit = true
    },
    // libguestfs
    .ok("passt --one-off --socket /tmp/libguestfs/passt.sock --pid /tmp/libguestfs/passt.pid --address 169.254.2.15 --netmask 16 "
        + "--mac-addr 52:56:00:00:00:02 --gateway 169.254.2.2") {
        $0.oneOff = true
        $0.socketPath = "/tmp/libguestfs/passt.sock"
        $0.pidFile = "/tmp/libguestfs/passt.pid"
        $0.address4 = v4("169.254.2.15")
        $0.prefixLength4 = 16
        $0.gatewayMAC = MACAddress(0x5256_0000_0002)
        $0.gateway4 = v4("169.254.2.2")
    },
    // libvirt, without forwarded ports
    .ok("passt --one-off --socket /run/libvirt/qemu/passt/1-vm-net0.socket --pid /run/libvirt/qemu/passt/1-vm-net0-passt.pid --mtu 1500 --interface eth0 "
        + "--log-file /tmp/passt.log --hostname vm --fqdn vm.example.org --address 192.0.2.2 --netmask 24 --address 2001:db8::2") {
        $0.oneOff = true
        $0.socketPath = "/run/libvirt/qemu/passt/1-vm-net0.socket"
        $0.pidFile = "/run/libvirt/qemu/passt/1-vm-net0-passt.pid"
        $0.mtu = 1500
        $0.interface = "eth0"
        $0.logFile = "/tmp/passt.log"
        $0.hostname = "vm"
        $0.fqdn = "vm.example.org"
        $0.address4 = v4("192.0.2.2")
        $0.prefixLength4 = 24
        $0.address6 = v6("2001:db8::2")
    },
    // libvirt, <interface type='vhostuser'>
    .ok("passt --vhost-user --one-off --socket /run/libvirt/qemu/passt/1-vm-net0.socket --pid /run/libvirt/qemu/passt/1-vm-net0-passt.pid") {
        $0.vhostUser = true
        $0.oneOff = true
        $0.socketPath = "/run/libvirt/qemu/passt/1-vm-net0.socket"
        $0.pidFile = "/run/libvirt/qemu/passt/1-vm-net0-passt.pid"
    },
    // libkrun, muvm
    .ok("passt -q -f --fd 7") {
        $0.quiet = true
        $0.foreground = true
        $0.socketDescriptor = 7
        $0.oneOff = true
    },
    // QEMU
    .ok("passt --quiet --pid /tmp/passt-AB12.pid --fd 3") {
        $0.quiet = true
        $0.pidFile = "/tmp/passt-AB12.pid"
        $0.socketDescriptor = 3
        $0.oneOff = true
    },
]

@Sendable private func nix(_ options: inout Options) {
    options.quiet = true
    options.foreground = true
    options.configureNetwork = true
    options.noRA = true
    options.gateway4 = v4("169.254.1.1")
    options.address4 = v4("169.254.1.2")
    options.prefixLength4 = 16
    options.dnsForward4 = v4("169.254.1.1")
    options.gateway6 = v6("64:ff9b:1:4b8e:472e:a5c8:a9fe:101")
    options.address6 = v6("64:ff9b:1:4b8e:472e:a5c8:a9fe:102")
    options.dnsForward6 = v6("64:ff9b:1:4b8e:472e:a5c8:a9fe:101")
    options.namespaceInterface = "eth0"
    options.noNetnsQuit = true
    options.target = .path("/proc/self/fd/0")
    options.userNamespace = "/proc/self/fd/1"
}

private let callersWithPorts: [OptionsCase] = [
    // podman
    .ok("pasta --config-net -t 127.0.0.1/8080-8080:80-80 -u ::1/80-80:80-80 --dns-forward 169.254.1.1 -T none -U none --no-map-gw --quiet "
        + "--netns /run/netns/x --map-guest-addr 169.254.1.2") {
        podman(&$0)
        $0.target = .path("/run/netns/x")
        $0.portOptions = [
            .init(.tcpIn, "127.0.0.1/8080-8080:80-80"), .init(.udpIn, "::1/80-80:80-80"), .init(.tcpOut, "none"), .init(.udpOut, "none"),
        ]
        $0.forwardRules = [
            ForwardRule(
                .tcpIn, 8080...8080, address: IPAddress(v4("127.0.0.1")), targetOffset: 80 - 8080, text: "127.0.0.1/8080-8080:80-80"),
            ForwardRule(.udpIn, 80...80, address: IPAddress(v6("::1")), text: "::1/80-80:80-80"),
        ]
    },
    // libvirt
    .ok("passt --one-off --socket /run/x.socket --pid /run/x.pid --tcp-ports %eth0/all --udp-ports 192.0.2.1/~53") {
        $0.oneOff = true
        $0.socketPath = "/run/x.socket"
        $0.pidFile = "/run/x.pid"
        $0.portOptions = [.init(.tcpIn, "%eth0/all"), .init(.udpIn, "192.0.2.1/~53")]
        let address = IPAddress(v4("192.0.2.1"))
        $0.forwardRules = [
            ForwardRule(.tcpIn, 1...65535, interface: "eth0", isBestEffort: true, text: "%eth0/all"),
            ForwardRule(.udpIn, 1...52, address: address, isBestEffort: true, text: "192.0.2.1/~53"),
            ForwardRule(.udpIn, 54...65535, address: address, isBestEffort: true, text: "192.0.2.1/~53"),
        ]
    },
    // libvirt, <interface type='vhostuser'>
    .ok("passt --vhost-user --one-off --socket /run/libvirt/qemu/passt/1-vm-net0.socket --pid /run/libvirt/qemu/passt/1-vm-net0-passt.pid") {
        $0.vhostUser = true
        $0.oneOff = true
        $0.socketPath = "/run/libvirt/qemu/passt/1-vm-net0.socket"
        $0.pidFile = "/run/libvirt/qemu/passt/1-vm-net0-passt.pid"
    },
    // libkrun, muvm
    .ok("passt -q -f --fd 7 -t all -u 127.0.0.1/5353-5353:53-53") {
        $0.quiet = true
        $0.foreground = true
        $0.socketDescriptor = 7
        $0.oneOff = true
        $0.portOptions = [.init(.tcpIn, "all"), .init(.udpIn, "127.0.0.1/5353-5353:53-53")]
        $0.forwardRules = [
            ForwardRule(.tcpIn, 1...65535, isBestEffort: true, text: "all"),
            ForwardRule(
                .udpIn, 5353...5353, address: IPAddress(v4("127.0.0.1")), targetOffset: 53 - 5353, text: "127.0.0.1/5353-5353:53-53"),
        ]
    },
    // Agent sandboxes
    .ok("pasta -q -f --splice-only -T 3128") {
        $0.quiet = true
        $0.foreground = true
        $0.spliceOnly = true
        $0.hostLoopbackToNamespaceLoopback = true
        $0.noICMP = true
        $0.noNDP = true
        $0.noRA = true
        $0.noDHCP = true
        $0.noDHCPv6 = true
        $0.portOptions = [.init(.tcpOut, "3128")]
        $0.forwardRules = [ForwardRule(.tcpOut, 3128...3128, text: "3128")]
    },
    // podman with its port controller
    .ok("pasta --config-net -c /run/user/1000/networks/rootless-netns/pasta.sock") {
        $0.configureNetwork = true
        $0.controlPath = "/run/user/1000/networks/rootless-netns/pasta.sock"
        $0.noRA = true
    },
]

extension OptionsTests {
    /// rootlesskit with its port drivers, by process number and by path.
    @Test("rootlesskit", arguments: ["none", "auto"], [["4711"], ["--userns=/proc/4711/ns/user", "--netns=/run/user/1000/netns/x"]])
    func rootlesskit(_ ports: String, _ target: [String]) throws {
        let line = "pasta --stderr --ns-ifname=tap0 --mtu=65520 --config-net --address=10.0.2.100 --netmask=24 --gateway=10.0.2.2 "
            + "--dns-forward=10.0.2.3 --no-map-gw --ipv4-only --tcp-ports=\(ports) --udp-ports=\(ports) --host-lo-to-ns-lo"
        var expected = Options()
        expected.standardError = true
        expected.warnings = ["--stderr will be dropped soon"]
        expected.namespaceInterface = "tap0"
        expected.mtu = 65520
        expected.configureNetwork = true
        expected.address4 = v4("10.0.2.100")
        expected.prefixLength4 = 24
        expected.gateway4 = v4("10.0.2.2")
        expected.dnsForward4 = v4("10.0.2.3")
        expected.noMapGateway = true
        expected.ipv4Only = true
        expected.noRA = true
        expected.noNDP = true
        expected.noDHCPv6 = true
        expected.portOptions = [.init(.tcpIn, ports), .init(.udpIn, ports)]
        let kinds: [PortOption.Kind] = [.tcpIn, .udpIn]
        if ports == "auto" {
            expected.forwardRules = kinds.map { ForwardRule($0, 1...65535, isBestEffort: true, scans: true, text: "auto") }
        }
        expected.hostLoopbackToNamespaceLoopback = true
        if target.count == 1 {
            expected.target = .process(4711)
        } else {
            expected.target = .path("/run/user/1000/netns/x")
            expected.userNamespace = "/proc/4711/ns/user"
        }
        let arguments = line.split(separator: " ").map(String.init) + target
        #expect(try Options.parse(arguments: arguments, program: .pasta) == .run(expected))
    }
}
