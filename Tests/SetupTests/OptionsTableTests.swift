import Settings
import Setup
import Testing
import Wire

extension OptionsTests {
    @Test("Good values", arguments: goodCases)
    func good(_ example: OptionsCase) throws { try example.check() }

    @Test("Bad values", arguments: badCases)
    func bad(_ example: OptionsCase) throws { try example.check() }

    @Test func tableIsLargeEnoughOnBothSides() {
        #expect(goodCases.count >= 50)
        #expect(badCases.count >= 50)
    }
}

private func v4(_ text: String) -> IPv4Address { IPv4Address(text)! }
private func v6(_ text: String) -> IPv6Address { IPv6Address(text)! }
private func address(_ text: String) -> IPAddress { IPAddress(text)! }
private func implyNoNDP(_ options: inout Options) {
    options.noNDP = true
    options.noRA = true
}

private let goodCases: [OptionsCase] = [
    .ok("pasta"),
    .ok("passt"),
    // Grammar: joined and separate values, abbreviations, grouped short options, the end of options.
    .ok("pasta --mtu 1500") { $0.mtu = 1500 },
    .ok("pasta --mtu=1500") { $0.mtu = 1500 },
    .ok("pasta -m1500") { $0.mtu = 1500 },
    .ok("pasta -m 1500") { $0.mtu = 1500 },
    .ok("pasta --mt 1500") { $0.mtu = 1500 },
    .ok("pasta --config") { $0.configureNetwork = true; $0.noRA = true },
    .ok("pasta -fq4") { $0.foreground = true; $0.quiet = true; $0.ipv4Only = true; implyNoNDP(&$0); $0.noDHCPv6 = true },
    .ok("pasta -f ls -l --bogus") { $0.foreground = true; $0.target = .command(["ls", "-l", "--bogus"]) },
    .ok("pasta -f -- -strange name") { $0.foreground = true; $0.target = .command(["-strange", "name"]) },
    .ok("pasta -- 17") { $0.target = .process(17) },
    .ok("pasta - x") { $0.target = .command(["-", "x"]) },
    .ok("pasta --mtu 9000 --mtu 1500") { $0.mtu = 1500 },
    // Running.
    .ok("pasta -d") { $0.debug = true },
    .ok("pasta --trace") { $0.debug = true; $0.trace = true },
    .ok("pasta -e") { $0.standardError = true; $0.warnings = ["--stderr will be dropped soon"] },
    .ok("pasta -l /tmp/log --log-size 4096") { $0.logFile = "/tmp/log"; $0.logSize = 4096 },
    .ok("pasta -P pid -p frames.pcap") { $0.pidFile = "pid"; $0.captureFile = "frames.pcap" },
    .ok("pasta --foreground --stats 1") { $0.foreground = true; $0.statisticsInterval = 1 },
    .ok("pasta --runas 1000") { $0.runAs = "1000" },
    .ok("pasta --runas 1000:100") { $0.runAs = "1000:100" },
    .ok("pasta --runas some_one:their.group") { $0.runAs = "some_one:their.group" },
    .ok("pasta --chroot-fallback") { $0.chrootFallback = true },
    // Addresses.
    .ok("pasta -a 192.0.2.7") { $0.address4 = v4("192.0.2.7") },
    .ok("pasta -a 192.0.2.7/24") { $0.address4 = v4("192.0.2.7"); $0.prefixLength4 = 24 },
    .ok("pasta -a 192.0.2.7 -n 24") { $0.address4 = v4("192.0.2.7"); $0.prefixLength4 = 24 },
    .ok("pasta -n 255.255.240.0 -a 192.0.2.7") { $0.address4 = v4("192.0.2.7"); $0.prefixLength4 = 20 },
    .ok("pasta -n 255.255.255.255") { $0.prefixLength4 = 32 },
    .ok("pasta -n 128.0.0.0") { $0.prefixLength4 = 1 },
    .ok("pasta -a 2001:db8::7/64 -n 24") { $0.address6 = v6("2001:db8::7"); $0.prefixLength4 = 24 },
    .ok("pasta -a 2001:DB8:0::7 -a 192.0.2.7") { $0.address6 = v6("2001:db8::7"); $0.address4 = v4("192.0.2.7") },
    .ok("pasta -a ::ffff:192.0.2.7/24") { $0.address4 = v4("192.0.2.7"); $0.prefixLength4 = 24 },
    .ok("pasta -a 192.0.2.255/31") { $0.address4 = v4("192.0.2.255"); $0.prefixLength4 = 31 },
    .ok("pasta -g 192.0.2.1 -g fe80::1") { $0.gateway4 = v4("192.0.2.1"); $0.gateway6 = v6("fe80::1") },
    .ok("pasta -o 192.0.2.5 -o 2001:db8::5") { $0.outbound4 = v4("192.0.2.5"); $0.outbound6 = v6("2001:db8::5") },
    .ok("pasta -o 127.0.0.2") { $0.outbound4 = v4("127.0.0.2") },
    .ok("pasta --outbound-if4 wan0 --outbound-if6 wan6") { $0.outboundInterface4 = "wan0"; $0.outboundInterface6 = "wan6" },
    .ok("pasta -i eth0.4094@up") { $0.interface = "eth0.4094@up" },
    .ok("pasta -I 123456789012345") { $0.namespaceInterface = "123456789012345" },
    .ok("pasta -M 52:56:00:00:00:02 --ns-mac-addr 02:00:00:00:00:01") {
        $0.gatewayMAC = MACAddress(0x5256_0000_0002)
        $0.namespaceMAC = MACAddress(0x0200_0000_0001)
    },
    .ok("pasta -m 0") { $0.mtu = 0 },
    .ok("pasta -m 65521") { $0.mtu = 65521 },
    .ok("pasta -m 1280") { $0.mtu = 1280 },
    .ok("pasta -m 68") { $0.mtu = 68; $0.warnings = ["--mtu 68: IPv6 needs 1280 and will not work"] },
    .ok("pasta -4 -m 576") { $0.mtu = 576; $0.ipv4Only = true; implyNoNDP(&$0); $0.noDHCPv6 = true },
    .ok("pasta --map-host-loopback 192.0.2.9 --map-host-loopback 2001:db8::9") {
        $0.mapHostLoopback4 = .address(v4("192.0.2.9"))
        $0.mapHostLoopback6 = .address(v6("2001:db8::9"))
    },
    .ok("pasta --map-host-loopback 192.0.2.9 --map-host-loopback none") { $0.mapHostLoopback4 = .none; $0.mapHostLoopback6 = .none },
    .ok("pasta --map-host-loopback none --map-host-loopback 192.0.2.9") {
        $0.mapHostLoopback4 = .address(v4("192.0.2.9"))
        $0.mapHostLoopback6 = .none
    },
    // The switch cancels the default only: an address that was named stays.
    .ok("pasta --no-map-gw --map-host-loopback 192.0.2.9") { $0.noMapGateway = true; $0.mapHostLoopback4 = .address(v4("192.0.2.9")) },
    .ok("pasta --map-guest-addr 169.254.1.2") { $0.mapGuestAddress4 = .address(v4("169.254.1.2")) },
    .ok("pasta --map-guest-addr none") { $0.mapGuestAddress4 = .none; $0.mapGuestAddress6 = .none },
    .ok("pasta --freebind") { $0.freebind = true },
    .ok("pasta -6") { $0.ipv6Only = true; $0.noDHCP = true },
    // Names.
    .ok("pasta -D 192.0.2.53 -D 2001:db8::53 --dhcp-dns") { $0.resolvers = .values([address("192.0.2.53"), address("2001:db8::53")]); $0.dhcpDNS = true },
    .ok("passt -D 127.0.0.1") { $0.resolvers = .values([address("127.0.0.1")]) },
    .ok("pasta -D none -D none") { $0.resolvers = .none },
    .ok("pasta --dns-forward 169.254.1.1 --dns-host 127.0.0.53") { $0.dnsForward4 = v4("169.254.1.1"); $0.dnsHost4 = v4("127.0.0.53") },
    .ok("passt -S example.org,sub.example.org. --search _tcp.example.net") {
        $0.searchDomains = .values(["example.org", "sub.example.org", "_tcp.example.net"])
    },
    .ok("pasta -S none") { $0.searchDomains = .none },
    .ok("pasta --dhcp-dns --dhcp-search") { $0.dhcpDNS = true; $0.dhcpSearch = true },
    .ok("passt --no-dhcp-dns --no-dhcp-search") { $0.dhcpDNS = false; $0.dhcpSearch = false },
    .ok("pasta -H box-1 --fqdn box-1.example.org.") { $0.hostname = "box-1"; $0.fqdn = "box-1.example.org" },
    .ok("pasta -H my_box") { $0.hostname = "my_box" },
    // Protocols.
    .ok("pasta --no-tcp --no-udp --no-dhcp --no-dhcpv6 --no-ra") {
        $0.noTCP = true; $0.noUDP = true; $0.noDHCP = true; $0.noDHCPv6 = true; $0.noRA = true
    },
    .ok("pasta --no-icmp") { $0.noICMP = true; implyNoNDP(&$0) },
    .ok("pasta --no-ndp") { implyNoNDP(&$0) },
    // The namespace.
    .ok("pasta 4711") { $0.target = .process(4711) },
    .ok("pasta 4711 argument") { $0.target = .command(["4711", "argument"]) },
    .ok("pasta --netns blue") { $0.target = .path("/run/netns/blue"); $0.netnsOnly = true },
    .ok("pasta --netns ./blue") { $0.target = .path("./blue"); $0.netnsOnly = true },
    .ok("pasta --netns /proc/9/ns/net --userns /proc/9/ns/user") { $0.target = .path("/proc/9/ns/net"); $0.userNamespace = "/proc/9/ns/user" },
    .ok("pasta --userns /proc/9/ns/user 9") { $0.target = .process(9); $0.userNamespace = "/proc/9/ns/user" },
    .ok("pasta --netns-only 9") { $0.target = .process(9); $0.netnsOnly = true },
    .ok("pasta --config-net --no-copy-routes --no-copy-addrs --no-netns-quit") {
        $0.configureNetwork = true; $0.noRA = true; $0.noCopyRoutes = true; $0.noCopyAddresses = true; $0.noNetnsQuit = true
    },
    // Ports.
    .ok("pasta -t none -u none -T none -U none") {
        $0.portOptions = [.init(.tcpIn, "none"), .init(.udpIn, "none"), .init(.tcpOut, "none"), .init(.udpOut, "none")]
    },
    .ok("pasta -t 8080 -u 53:5353 --tcp-ports=[::1]/22") {
        $0.portOptions = [.init(.tcpIn, "8080"), .init(.udpIn, "53:5353"), .init(.tcpIn, "[::1]/22")]
        $0.forwardRules = [
            ForwardRule(.tcpIn, 8080...8080, text: "8080"), ForwardRule(.udpIn, 53...53, targetOffset: 5300, text: "53:5353"),
            ForwardRule(.tcpIn, 22...22, address: IPAddress("::1"), text: "[::1]/22"),
        ]
    },
    .ok("pasta --udp-ns=none --tcp-ns=none") { $0.portOptions = [.init(.udpOut, "none"), .init(.tcpOut, "none")] },
    .ok("pasta --host-lo-to-ns-lo") { $0.hostLoopbackToNamespaceLoopback = true },
    .ok("pasta --no-splice") { $0.noSplice = true },
    // The virtual machine.
    .ok("passt -s /tmp/x.socket -1") { $0.socketPath = "/tmp/x.socket"; $0.oneOff = true },
    .ok("passt --socket-path /tmp/x.socket") { $0.socketPath = "/tmp/x.socket" },
    .ok("passt --socket /tmp/x.socket") { $0.socketPath = "/tmp/x.socket" },
    // A path may have 107 bytes, whatever stands before it.
    .ok("passt -s " + longestPath) { $0.socketPath = longestPath },
    .ok("passt -s unixgram://" + longestPath) { $0.socketPath = "unixgram://" + longestPath },
    .ok("passt -s unixpacket://" + longestPath) { $0.socketPath = "unixpacket://" + longestPath },
    .ok("passt --vhost-user --fd 4") { $0.vhostUser = true; $0.socketDescriptor = 4; $0.oneOff = true },
    .ok("pasta --vhost-user -f") { $0.program = .passt; $0.vhostUser = true; $0.foreground = true },
    .ok("bridge -q --vhost-user") { $0.program = .passt; $0.quiet = true; $0.vhostUser = true },
    .ok("passt --fd 0") { $0.socketDescriptor = 0; $0.oneOff = true },
]

private let longestPath = "/" + String(repeating: "x", count: 106)

private let badCases: [OptionsCase] = [
    .bad("pasta --mtu abc", "--mtu 'abc': not a number"),
    .bad("pasta --mtu=", "--mtu '': not a number"),
    .bad("pasta -m +1500", "--mtu '+1500': not a number"),
    .bad("pasta -m 1500x", "--mtu '1500x': not a number"),
    .bad("pasta -m -1", "--mtu '-1': not a number"),
    .bad("pasta -m 99999999999999999999", "--mtu '99999999999999999999': not a number"),
    .bad("pasta -m 65522", "--mtu '65522': MTU 65522 too large (max 65521)"),
    .bad("pasta -m 67", "--mtu '67': MTU 67 too small (min 68, or 0 for none)"),
    .bad("pasta -a example.org", "--address 'example.org': not an IPv4 or IPv6 address"),
    .bad(["pasta", "-a", ""], "--address '': not an IPv4 or IPv6 address"),
    .bad("pasta -a 10.1", "--address '10.1': not an IPv4 or IPv6 address"),
    .bad("pasta -a 010.0.0.1", "--address '010.0.0.1': not an IPv4 or IPv6 address"),
    .bad("pasta -a fe80::1%eth0", "--address 'fe80::1%eth0': not an IPv4 or IPv6 address"),
    .bad("pasta -a 0.0.0.0", "--address '0.0.0.0': the unspecified address cannot be used here"),
    .bad("pasta -a ::", "--address '::': the unspecified address cannot be used here"),
    .bad("pasta -a 0.1.2.3", "--address '0.1.2.3': 0.0.0.0/8 cannot be used here"),
    .bad("pasta -a 127.0.0.1", "--address '127.0.0.1': a loopback address cannot be used here"),
    .bad("pasta -a ::1", "--address '::1': a loopback address cannot be used here"),
    .bad("pasta -a ::ffff:127.0.0.1", "--address '::ffff:127.0.0.1': a loopback address cannot be used here"),
    .bad("pasta -a ::192.0.2.1", "--address '::192.0.2.1': an IPv4-compatible IPv6 address cannot be used here"),
    .bad("pasta -a 224.0.0.1", "--address '224.0.0.1': a multicast address cannot be used here"),
    .bad("pasta -a ff02::1", "--address 'ff02::1': a multicast address cannot be used here"),
    .bad("pasta -a 255.255.255.255", "--address '255.255.255.255': the broadcast address cannot be used here"),
    .bad("pasta -a 192.0.2.255/24", "--address '192.0.2.255/24': the broadcast address of its /24 network cannot be used here"),
    .bad("pasta -n 24 -a 192.0.2.255", "--address '192.0.2.255': the broadcast address of its /24 network cannot be used here"),
    .bad("pasta -a 192.0.2.7/0", "--address '192.0.2.7/0': an IPv4 prefix length is between 1 and 32"),
    .bad("pasta -a 192.0.2.7/33", "--address '192.0.2.7/33': an IPv4 prefix length is between 1 and 32"),
    .bad("pasta -a 192.0.2.7/", "--address '192.0.2.7/': the prefix length is not a number"),
    .bad("pasta -a 192.0.2.7/24/8", "--address '192.0.2.7/24/8': the prefix length is not a number"),
    .bad("pasta -a 2001:db8::7/48", "--address '2001:db8::7/48': an IPv6 prefix length can only be 64"),
    .bad("pasta -a 192.0.2.7 -a 192.0.2.8", "--address '192.0.2.8': a second IPv4 address; only one can be given"),
    .bad("pasta -a 2001:db8::7 -a 2001:db8::8", "--address '2001:db8::8': a second IPv6 address; only one can be given"),
    .bad("pasta -a 192.0.2.7/24 -n 24", "--netmask '24': Redundant prefix length specification, as in --address '192.0.2.7/24'"),
    .bad("pasta -n 255.255.0.0 -a 192.0.2.7/24", "--netmask '255.255.0.0': Redundant prefix length specification, as in --address '192.0.2.7/24'"),
    .bad("pasta -n 0", "--netmask '0': not between 1 and 32"),
    .bad("pasta -n 33", "--netmask '33': not between 1 and 32"),
    .bad("pasta -n 255.0.255.0", "--netmask '255.0.255.0': not a mask of leading ones"),
    .bad("pasta -n 0.0.0.0", "--netmask '0.0.0.0': not a mask of leading ones"),
    .bad("pasta -n ffff::", "--netmask 'ffff::': neither a number of bits nor an IPv4 mask"),
    .bad("pasta -g 239.1.1.1", "--gateway '239.1.1.1': a multicast address cannot be used here"),
    .bad("pasta -g fe80::1 -g fe80::2", "--gateway 'fe80::2': a second IPv6 address; only one can be given"),
    .bad("pasta -o 0.0.0.0", "--outbound '0.0.0.0': the unspecified address cannot be used here"),
    .bad("pasta --outbound-if4 1234567890123456", "--outbound-if4 '1234567890123456': Invalid interface name, which has 1 to 15 bytes without '/', ':' and blanks"),
    .bad(["pasta", "-i", ""], "--interface '': Invalid interface name, which has 1 to 15 bytes without '/', ':' and blanks"),
    .bad("pasta -I a/b", "--ns-ifname 'a/b': Invalid interface name, which has 1 to 15 bytes without '/', ':' and blanks"),
    .bad("pasta -I ..", "--ns-ifname '..': Invalid interface name, which has 1 to 15 bytes without '/', ':' and blanks"),
    .bad(["pasta", "-I", "a b"], "--ns-ifname 'a b': Invalid interface name, which has 1 to 15 bytes without '/', ':' and blanks"),
    .bad("pasta -M 9a:55:9a:55:9a", "--mac-addr '9a:55:9a:55:9a': not a MAC address"),
    .bad("pasta -M 01:00:5e:00:00:01", "--mac-addr '01:00:5e:00:00:01': a multicast MAC address cannot be used here"),
    .bad("pasta -M ff:ff:ff:ff:ff:ff", "--mac-addr 'ff:ff:ff:ff:ff:ff': a multicast MAC address cannot be used here"),
    .bad("pasta --ns-mac-addr 00:00:00:00:00:00", "--ns-mac-addr '00:00:00:00:00:00': the zero MAC address cannot be used here"),
    .bad("pasta --map-host-loopback 127.0.0.1", "--map-host-loopback '127.0.0.1': a loopback address cannot be used here"),
    .bad("pasta --map-guest-addr NONE", "--map-guest-addr 'NONE': not an IPv4 or IPv6 address"),
    .bad("pasta -4 -6", "--ipv4-only and --ipv6-only exclude each other"),
    .bad(["pasta", "-P", ""], "--pid '': a path is needed"),
    .bad("pasta --log-file=", "--log-file '': a path is needed"),
    .bad(["pasta", "-p", ""], "--pcap '': a path is needed"),
    .bad("pasta --log-size 4095", "--log-size '4095': not between 4096 and 2147483647"),
    .bad("pasta --log-size 1M", "--log-size '1M': not a number"),
    .bad("pasta --stats 5", "--stats '5': Can't display statistics if not running in foreground, --foreground must come before"),
    .bad("pasta --stats 5 -f", "--stats '5': Can't display statistics if not running in foreground, --foreground must come before"),
    .bad("pasta -f --stats 0", "--stats '0': not between 1 and 86400"),
    .bad("pasta --quiet --trace", "--trace and --quiet exclude each other"),
    .bad("pasta -d -q", "--debug and --quiet exclude each other"),
    .bad("pasta --runas root:root:root", "--runas 'root:root:root': not of the form USER[:GROUP]"),
    .bad("pasta --runas 4294967295", "--runas '4294967295': not of the form USER[:GROUP]"),
    .bad("pasta --runas :100", "--runas ':100': not of the form USER[:GROUP]"),
    .ok("pasta -c /tmp/c.sock") { $0.controlPath = "/tmp/c.sock" },
    .bad("pasta --conf-path=", "--conf-path '': a path is needed"),
    .bad("pasta -t all -t auto", "--tcp-ports 'auto': 'all' and 'auto' exclude each other, as in --tcp-ports 'all'"),
    .bad("pasta -D localhost", "--dns 'localhost': not an IPv4 or IPv6 address"),
    .bad("pasta -D ::", "--dns '::': the unspecified address cannot be used here"),
    .bad("pasta -D none -D 192.0.2.53", "--dns '192.0.2.53': excluded by --dns none"),
    .bad("pasta -D 192.0.2.53 -D none", "--dns 'none': there are other values of --dns"),
    .bad("pasta --dns-forward 127.0.0.1", "--dns-forward '127.0.0.1': a loopback address cannot be used here"),
    .bad("pasta --dns-host ff02::1", "--dns-host 'ff02::1': a multicast address cannot be used here"),
    .bad("pasta -S example.org,-bad", "--search 'example.org,-bad': '-bad' is not a domain name"),
    .bad(["pasta", "-S", ""], "--search '': a domain name or 'none' is needed"),
    .bad("pasta -S none -S example.org", "--search 'example.org': excluded by --search none"),
    .bad("pasta -H dollar$", "--hostname 'dollar$': not a host name (letters, digits, hyphens and underscores, 63 per label, 253 in all)"),
    .bad("pasta --fqdn a..b", "--fqdn 'a..b': not a host name (letters, digits, hyphens and underscores, 63 per label, 253 in all)"),
    .bad(["pasta", "-H", "two\nlines"], "--hostname 'two\\xalines': not a host name (letters, digits, hyphens and underscores, 63 per label, 253 in all)"),
    .bad("pasta --netns=", "--netns '': a path or a name is needed"),
    .bad("pasta --netns ..", "--netns '..': not a namespace's name"),
    .bad("pasta --netns blue sh", "--netns 'blue': excludes a command or process number, here 'sh'"),
    .bad("pasta --netns blue 12", "--netns 'blue': excludes a command or process number, here '12'"),
    .bad("pasta --netns-only --userns /proc/9/ns/user 9", "--netns-only and --userns exclude each other"),
    .bad("pasta --userns /proc/9/ns/user true", "--userns '/proc/9/ns/user': only with --netns or a process number, a command gets a user namespace of its own"),
    .bad("pasta --userns=", "--userns '': a path is needed"),
    .bad("pasta 0", "PID '0': not a process number"),
    .bad("pasta 99999999999", "PID '99999999999': not a process number"),
    .bad(["pasta", ""], "COMMAND '': a program is needed"),
    .bad("pasta --no-copy-routes", "--no-copy-routes: only with --config-net"),
    .bad("pasta --no-copy-addrs", "--no-copy-addrs: only with --config-net"),
    .bad("pasta -t 8080-", "--tcp-ports '8080-': '8080-' is not a range of ports"),
    .bad("pasta --udp-ports=80 -u none", "--udp-ports 'none': there are other values of --udp-ports"),
    .bad("passt -t auto", "--tcp-ports 'auto': 'auto' is for namespaces, which passt has none of"),
    .bad("pasta -4 -t [::1]/80", "-t '[::1]/80': ::1 cannot be used with --ipv4-only"),
    .bad("pasta -u 80:192.0.2.1 -6", "-u '80:192.0.2.1': 192.0.2.1 cannot be used with --ipv6-only"),
    .bad("pasta --host-lo-to-ns-lo --no-splice", "--host-lo-to-ns-lo and --no-splice exclude each other"),
    .bad("pasta --splice-only --no-splice", "--no-splice and --splice-only exclude each other"),
    .bad("pasta --mtu 0 --vhost-user", "--vhost-user is an option of passt, not of pasta"),
    .bad("pasta --one-off", "--one-off is an option of passt, not of pasta"),
    .bad("pasta -s /tmp/x.socket", "--socket is an option of passt, not of pasta"),
    .bad("pasta --no-dhcp-dns", "--no-dhcp-dns is an option of passt, not of pasta"),
    .bad("pasta -F 3", "--fd is not available in this build of pasta"),
    .bad("passt --config-net", "--config-net is an option of pasta, not of passt"),
    .bad("passt command", "Extra argument 'command': passt takes options only"),
    .bad("passt --fd -1", "--fd '-1': not a number"),
    .bad(["passt", "-s", ""], "--socket '': a path is needed"),
    .bad("passt -s unixgram://", "--socket 'unixgram://': a path is needed"),
    .bad("passt --socket-path=unixpacket://", "--socket 'unixpacket://': a path is needed"),
    .bad("passt -s \(longestPath)x", "--socket '\(longestPath)x': a socket's path has 107 bytes at most"),
    .bad("passt -s unixgram://\(longestPath)x", "--socket 'unixgram://\(longestPath)x': a socket's path has 107 bytes at most"),
    .bad("pasta -c \(longestPath)x", "--conf-path '\(longestPath)x': a socket's path has 107 bytes at most"),
    .bad("passt --vhost-user -s unixgram:///tmp/s", "--vhost-user needs a stream socket: a path without unixgram:// or unixpacket://"),
    .bad("passt -s unixpacket:///tmp/s --vhost-user", "--vhost-user needs a stream socket: a path without unixgram:// or unixpacket://"),
    .bad("passt -s x -F 3", "--socket and --fd exclude each other"),
    // The first mistake of the line is the one that is told.
    .bad("pasta -m abc -a xyz --bogus", "--mtu 'abc': not a number"),
]
