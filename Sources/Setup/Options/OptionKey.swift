// The command line. The grammar is getopt_long's (Linux/OptionScanner.swift); what it may find is one
// table, from which getopt's arrays and the help text are made, so that they cannot disagree.
//
//     OptionKey      every option there is, by group; raw values are the long names
//     OptionTable    what getopt and the reader need to know of each; shells' completions (Completion) are made from it as well
//     Options+Parse  the way from arguments to `Options`
//     OptionParser+  what each option does when it is met, one file per group
//     OptionParser+Vain   which options cannot have an effect beside the others
//     Options+Implied  what follows from the options together, before the host is known
//     OptionValue    texts to values, and what is wrong with them
//
// Options are looked at in order, and the first that is wrong, or that only prints, ends the search.

/// An option's identity. Groups are types of their own so that each switch over one is complete.
package enum OptionKey: Hashable, Sendable {
    case run(Run)
    case address(Address)
    case name(Name)
    case handler(Handler)
    case namespace(Namespace)
    case port(Port)
    case machine(Machine)

    package enum Run: String, CaseIterable, Sendable {
        case help, version, foreground, pid, quiet, debug, trace, stderr, pcap, stats, runas
        case logFile = "log-file"
        case logSize = "log-size"
        case chrootFallback = "chroot-fallback"
        case confPath = "conf-path"
    }

    package enum Address: String, CaseIterable, Sendable {
        case address, netmask, gateway, interface, outbound, mtu, freebind
        case ipv4Only = "ipv4-only"
        case ipv6Only = "ipv6-only"
        case macAddr = "mac-addr"
        case outboundIf4 = "outbound-if4"
        case outboundIf6 = "outbound-if6"
        case mapHostLoopback = "map-host-loopback"
        case noMapGw = "no-map-gw"
        case mapGuestAddr = "map-guest-addr"
    }

    package enum Name: String, CaseIterable, Sendable {
        case dns, search, hostname, fqdn
        case dnsForward = "dns-forward"
        case dnsHost = "dns-host"
        case dhcpDNS = "dhcp-dns"
        case dhcpSearch = "dhcp-search"
        case noDHCPDNS = "no-dhcp-dns"
        case noDHCPSearch = "no-dhcp-search"
    }

    package enum Handler: String, CaseIterable, Sendable {
        case noTCP = "no-tcp"
        case noUDP = "no-udp"
        case noICMP = "no-icmp"
        case noDHCP = "no-dhcp"
        case noDHCPv6 = "no-dhcpv6"
        case noNDP = "no-ndp"
        case noRA = "no-ra"
    }

    package enum Namespace: String, CaseIterable, Sendable {
        case netns, userns
        case netnsOnly = "netns-only"
        case noNetnsQuit = "no-netns-quit"
        case configNet = "config-net"
        case noCopyRoutes = "no-copy-routes"
        case noCopyAddrs = "no-copy-addrs"
        case nsIfname = "ns-ifname"
        case nsMacAddr = "ns-mac-addr"
    }

    package enum Port: String, CaseIterable, Sendable {
        case tcpPorts = "tcp-ports"
        case udpPorts = "udp-ports"
        case tcpNs = "tcp-ns"
        case udpNs = "udp-ns"
        case hostLoToNsLo = "host-lo-to-ns-lo"
        case noSplice = "no-splice"
        case spliceOnly = "splice-only"
    }

    package enum Machine: String, CaseIterable, Sendable {
        case socket, fd
        case oneOff = "one-off"
        case vhostUser = "vhost-user"
        case printCapabilities = "print-capabilities"
        case repairPath = "repair-path"
        case migrateExit = "migrate-exit"
        case migrateNoLinger = "migrate-no-linger"
    }

    /// Without the two dashes.
    package var longName: String {
        switch self {
        case .run(let key): key.rawValue
        case .address(let key): key.rawValue
        case .name(let key): key.rawValue
        case .handler(let key): key.rawValue
        case .namespace(let key): key.rawValue
        case .port(let key): key.rawValue
        case .machine(let key): key.rawValue
        }
    }

    static var all: [OptionKey] {
        Run.allCases.map(Self.run) + Address.allCases.map(Self.address) + Name.allCases.map(Self.name)
            + Handler.allCases.map(Self.handler) + Namespace.allCases.map(Self.namespace)
            + Port.allCases.map(Self.port) + Machine.allCases.map(Self.machine)
    }
}
