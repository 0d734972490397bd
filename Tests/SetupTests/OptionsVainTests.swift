import Settings
import Setup
import Testing

/// Options that can have no effect beside the others: warned of, not refused.
extension OptionsTests {
    private func warnings(_ line: String) throws -> [String] {
        let arguments = line.split(separator: " ").map(String.init)
        guard case .run(let options) = try Options.parse(arguments: arguments, program: try Program(arguments: arguments)) else { return ["nothing to run"] }
        return options.warnings
    }

    @Test("Without effect", arguments: [
        ("pasta -4 -a 2001:db8::7 -a 192.0.2.7", ["--address 2001:db8::7 has no effect with --ipv4-only"]),
        ("pasta -6 --address 192.0.2.7/24", ["--address 192.0.2.7/24 has no effect with --ipv6-only"]),
        ("pasta -6 -g 192.0.2.1 -g fe80::1", ["--gateway 192.0.2.1 has no effect with --ipv6-only"]),
        ("pasta -4 -o 2001:db8::5", ["--outbound 2001:db8::5 has no effect with --ipv4-only"]),
        ("pasta -6 -n 24", ["--netmask has no effect with --ipv6-only"]),
        ("pasta -6 --outbound-if4 eth0", ["--outbound-if4 has no effect with --ipv6-only"]),
        ("pasta -4 --outbound-if6 eth0", ["--outbound-if6 has no effect with --ipv4-only"]),
        ("passt -4 -D 2001:db8::53", ["--dns 2001:db8::53 has no effect with --ipv4-only"]),
        ("pasta -6 --dns-forward 169.254.1.1", ["--dns-forward 169.254.1.1 has no effect with --ipv6-only"]),
        ("pasta -4 --map-host-loopback 2001:db8::9", ["--map-host-loopback 2001:db8::9 has no effect with --ipv4-only"]),
        ("pasta -6 --map-guest-addr 169.254.1.2", ["--map-guest-addr 169.254.1.2 has no effect with --ipv6-only"]),
        ("pasta -D 192.0.2.53", ["--dns has no effect without --dhcp-dns"]),
        ("passt -D 192.0.2.53 --no-dhcp-dns", ["--dns has no effect with --no-dhcp-dns"]),
        ("pasta -S example.org", ["--search has no effect without --dhcp-search"]),
        ("passt --search example.org --no-dhcp-search", ["--search has no effect with --no-dhcp-search"]),
        ("pasta --dns-host 127.0.0.53", ["--dns-host has no effect without --dns-forward or --dhcp-dns"]),
        ("pasta --log-size 4096", ["--log-size has no effect without --log-file"]),
        ("passt --repair-path /tmp/r --migrate-exit --migrate-no-linger", [
            "--repair-path has no effect without --vhost-user", "--migrate-exit has no effect without --vhost-user",
            "--migrate-no-linger has no effect without --vhost-user",
        ]),
        ("pasta -H box --no-dhcp", ["--hostname has no effect with --no-dhcp"]),
        ("pasta -H box -6", ["--hostname has no effect with --ipv6-only"]),
        ("pasta --fqdn box.example.org --no-dhcp --no-dhcpv6", ["--fqdn has no effect without DHCP and DHCPv6"]),
        ("pasta -t 80 -T 80:81 --no-tcp", ["--tcp-ports has no effect with --no-tcp", "--tcp-ns has no effect with --no-tcp"]),
        ("pasta -u auto -U 53 --no-udp", ["--udp-ports has no effect with --no-udp", "--udp-ns has no effect with --no-udp"]),
        ("pasta --splice-only --config-net -a 192.0.2.7 -D 192.0.2.53 -p x.pcap", [
            "--address has no effect with --splice-only", "--dns has no effect with --splice-only",
            "--pcap has no effect with --splice-only",
        ]),
        ("pasta --splice-only -n 24 -g 192.0.2.1 -m 1500 -i eth0 -o 192.0.2.7 -I x --ns-mac-addr 02:00:00:00:00:01", [
            "--netmask has no effect with --splice-only", "--gateway has no effect with --splice-only", "--mtu has no effect with --splice-only",
            "--interface has no effect with --splice-only", "--outbound has no effect with --splice-only",
            "--ns-ifname has no effect with --splice-only", "--ns-mac-addr has no effect with --splice-only",
        ]),
    ] as [(String, [String])])
    func vain(_ line: String, _ expected: [String]) throws {
        #expect(try warnings(line) == expected)
    }

    /// What has an effect, or asks for nothing.
    @Test("With an effect", arguments: [
        "pasta -4 -a 192.0.2.7 -n 24 -g 192.0.2.1 -o 192.0.2.5 --outbound-if4 eth0 --map-host-loopback 192.0.2.9 --map-guest-addr 192.0.2.8",
        "pasta -6 -a 2001:db8::7 -g fe80::1 --outbound-if6 eth0", "pasta -4 --map-host-loopback none --map-guest-addr none", "pasta -D none -S none",
        "pasta -D 192.0.2.53 -S example.org --dhcp-dns --dhcp-search", "passt -D 192.0.2.53 -S example.org --dns-host 127.0.0.53",
        // The other family's resolver is asked where there is none of this one.
        "pasta -6 --dns-forward 2001:db8::1 --dns-host 127.0.0.53",
        "pasta --fqdn box.example.org --no-dhcp", "pasta --fqdn box.example.org -6", "pasta -t none -T none --no-tcp -u none -U none --no-udp",
        "passt --vhost-user --repair-path none --migrate-exit", "passt --repair-path none", "pasta --splice-only -T 3128 --map-host-loopback none",
        "pasta -l /tmp/log --log-size 4096",
    ])
    func notVain(_ line: String) throws {
        #expect(try warnings(line).isEmpty)
    }

    /// What programs write every time is no reason to say anything: podman and rootlesskit show what is said. All but --stderr, which has always been warned of.
    @Test("What callers write", arguments: callerLines)
    func callersAreNotWarned(_ line: String) throws {
        #expect(try warnings(line).isEmpty)
    }
}

private let callerLines: [String] = [
    "pasta --config-net --dns-forward 169.254.1.1 -t none -u none -T none -U none --no-map-gw --quiet --netns /run/netns/x --map-guest-addr 169.254.1.2",
    "pasta --config-net --pid /tmp/p --dns-forward 169.254.1.1 -t none -u none -T none -U none --no-map-gw --quiet --netns /run/netns/x "
        + "--map-guest-addr 169.254.1.2 -c /tmp/c.sock",
    "pasta --config-net -t 127.0.0.1/8080-8080:80-80 -u ::1/80-80:80-80 --dns-forward 169.254.1.1 -T none -U none --no-map-gw --quiet --netns /run/netns/x "
        + "--map-guest-addr 169.254.1.2",
    "pasta --config-net -a 10.0.2.0 -n 24 -g 10.0.2.2 --dns-forward 10.0.2.3 -m 1500 --no-ndp --no-dhcpv6 --no-dhcp -t none -u none -T none -U none "
        + "--no-map-gw --quiet --netns /run/netns/x --map-guest-addr 169.254.1.2",
    "pasta --config-net -I foo --ns-mac-addr 9a:dd:31:ea:92:98 --dns-forward 169.254.1.1 -t none -u none -T none -U none --no-map-gw --debug "
        + "--netns /run/netns/x --map-guest-addr 169.254.1.2",
    "pasta --config-net --dns-forward 169.254.1.1 -t none -u none -T none -U none --no-map-gw --quiet --netns /proc/4711/ns/net --map-guest-addr 169.254.1.2",
    "pasta --ns-ifname=tap0 --mtu=65520 --config-net --address=10.0.2.100 --netmask=24 --gateway=10.0.2.2 --dns-forward=10.0.2.3 --no-map-gw --ipv4-only "
        + "--tcp-ports=auto --udp-ports=auto --host-lo-to-ns-lo 4711",
    "pasta --ns-ifname=tap0 --mtu=65520 --config-net --address=10.0.2.100 --netmask=24 --gateway=10.0.2.2 --dns-forward=10.0.2.3 --no-map-gw --ipv4-only "
        + "--tcp-ports=none --udp-ports=none --conf-path=/tmp/c.sock --userns=/proc/4711/ns/user --netns=/run/netns/x",
    "pasta --quiet --foreground --config-net --gateway 169.254.1.1 --address 169.254.1.2 --netmask 16 --dns-forward 169.254.1.1 --gateway 64:ff9b:1::1 "
        + "--address 64:ff9b:1::2 --dns-forward 64:ff9b:1::1 --ns-ifname eth0 --no-netns-quit --netns /proc/self/fd/0 --userns /proc/self/fd/1",
    "pasta -t none -u none -T none -U none --map-host-loopback none --no-netns-quit", "pasta -q -f --splice-only -T 3128",
    "passt --one-off --socket /tmp/s --pid /tmp/p --mtu 1500 --interface eth0 --log-file /tmp/l --hostname vm --fqdn vm.example.org --address 192.0.2.2 "
        + "--netmask 24 --address 2001:db8::2 --tcp-ports %eth0/all --udp-ports 192.0.2.1/~53",
    "passt --vhost-user --one-off --socket /tmp/s --pid /tmp/p",
    "passt --one-off --socket /tmp/s --pid /tmp/p --address 169.254.2.15 --netmask 16 --mac-addr 52:56:00:00:00:02 --gateway 169.254.2.2",
    "passt --quiet --pid /tmp/p --fd 3", "passt -q -f --fd 7 -t all -u 127.0.0.1/5353-5353:53-53",
]
