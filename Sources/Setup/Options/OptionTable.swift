internal import Linux
package import Settings

/// A set of the two programs.
package struct Programs: OptionSet, Sendable {
    package let rawValue: UInt8
    package static let pasta = Programs(rawValue: 1)
    package static let passt = Programs(rawValue: 2)
    package static let both: Programs = [.pasta, .passt]

    package init(rawValue: UInt8) { self.rawValue = rawValue }

    package func contains(_ program: Program) -> Bool {
        contains(program == .pasta ? Programs.pasta : .passt)
    }
}

/// What getopt, a reader and a shell's completion need to know of one option.
package struct OptionEntry: Sendable {
    package let key: OptionKey
    package let short: Character?
    /// What the help calls the value; nil for an option without one.
    package let argument: String?
    /// Who knows the option.
    package let programs: Programs
    /// Who knows it in other builds only.
    package let missing: Programs
    /// Sentences without line breaks.
    package let help: String

    init(
        _ key: OptionKey, short: Character? = nil, value argument: String? = nil,
        for programs: Programs = .both, missing: Programs = [], _ help: String
    ) {
        self.key = key
        self.short = short
        self.argument = argument
        self.programs = programs
        self.missing = missing
        self.help = help
    }

    /// As it is written in messages.
    package var name: String { "--" + key.longName }
}

/// A headline of the help text and the options under it.
package struct OptionGroup: Sendable {
    package let title: String
    package let entries: [OptionEntry]
}

/// All options of both programs. An option that is unknown to one of them is parsed all the same, so that the message can say so.
package enum OptionTable {
    package static let groups = [run, addresses, names, handlers, namespace, ports, machine]
    package static let entries = groups.flatMap(\.entries)
    /// Second names.
    package static let aliases = ["socket-path": OptionKey.machine(.socket)]

    /// getopt reports long options from here on, beyond every character.
    private static let base: Int32 = 256

    /// In getopt's notation; '+' ends the options at the first argument that is none.
    static var shortOptions: String {
        entries.reduce(into: "+") { text, entry in
            guard let short = entry.short else { return }
            text.append(short)
            if entry.argument != nil { text.append(":") }
        }
    }

    static var longOptions: [LongOption] {
        entries.enumerated().flatMap { index, entry in
            let names = [entry.key.longName] + aliases.filter { $0.value == entry.key }.map(\.key)
            return names.map { LongOption(name: $0, takesValue: entry.argument != nil, result: base + Int32(index)) }
        }
    }

    /// The entry that getopt found: a character, or a number from `longOptions`.
    static func entry(_ result: Int32) -> OptionEntry? {
        if result >= base {
            let index = Int(result - base)
            return index < entries.count ? entries[index] : nil
        }
        guard let code = UInt8(exactly: result) else { return nil }
        let short = Character(Unicode.Scalar(code))
        return entries.first { $0.short == short }
    }
}

extension OptionTable {
    static let run = OptionGroup(title: "Running", entries: [
        .init(.run(.help), short: "h", "Print this text and exit."),
        .init(.run(.version), "Print the version and exit."),
        .init(.run(.foreground), short: "f", "Stay in the foreground. Default: go to the background once everything is set up."),
        .init(.run(.pid), short: "P", value: "FILE", "Write the process number to FILE once everything is set up."),
        .init(.run(.quiet), short: "q", "Print warnings and errors only."),
        .init(.run(.debug), short: "d", "Print what happens. In the background, only --log-file shows it."),
        .init(.run(.trace), "The same as --debug. What happens to packets is recorded by --pcap and counted by --stats."),
        .init(.run(.stderr), short: "e", "Accepted for old callers, and without effect."),
        .init(.run(.logFile), short: "l", value: "FILE", "Write messages to FILE. Default: the standard error stream, then the system log."),
        .init(.run(.logSize), value: "BYTES", "Size at which the log file loses its oldest part. Default: 1048576."),
        .init(.run(.pcap), short: "p", value: "FILE", "Record all frames in FILE, in pcap format."),
        .init(.run(.stats), value: "SECONDS", "Print counters when they changed, at most this often. Needs --foreground before it."),
        .init(.run(.runas), value: "USER[:GROUP]", "Become this user if started as root; names or numbers. Default: nobody."),
        .init(.run(.chrootFallback), "Where the root directory cannot be replaced (an initial ramdisk), change it instead."),
        .init(.run(.confPath), short: "c", value: "PATH", "Make a UNIX socket by which pesto, started by the same user, changes forwarded ports while the program runs."),
    ])

    static let addresses = OptionGroup(title: "Addresses and routes", entries: [
        .init(.address(.address), short: "a", value: "ADDR[/LEN]", "The guest's address, once for each of IPv4 and IPv6. For IPv6, LEN can only be 64. Default: the host's."),
        .init(.address(.netmask), short: "n", value: "MASK", "The guest's IPv4 prefix, as a number of bits or as a mask. Default: the host's, else that of the address class."),
        .init(.address(.gateway), short: "g", value: "ADDR", "The guest's router, once for each of IPv4 and IPv6. Default: the host's."),
        .init(.address(.macAddr), short: "M", value: "MAC", "Our own link address. Default: 9a:55:9a:55:9a:55."),
        .init(.address(.mtu), short: "m", value: "BYTES", "The MTU that the guest is given, up to \(Options.maximumMTU); 0 gives it none. Default: 65520."),
        .init(.address(.interface), short: "i", value: "NAME", "The host interface from which addresses and routes are taken. Default: that of --outbound-if4 or --outbound-if6, else that of the default route."),
        .init(.address(.outbound), short: "o", value: "ADDR", "The host address that connections to the outside come from. Default: as routed."),
        .init(.address(.outboundIf4), value: "NAME", "The host interface that IPv4 leaves by. Default: as routed."),
        .init(.address(.outboundIf6), value: "NAME", "The host interface that IPv6 leaves by. Default: as routed."),
        .init(.address(.mapHostLoopback), value: "ADDR", "The guest reaches the host's loopback at ADDR, and sees the host's loopback as ADDR; 'none' for nowhere. The last one of each of IPv4 and IPv6 counts. Default: the gateway's address."),
        .init(.address(.noMapGw), "The gateway's address does not lead to the host's loopback."),
        .init(.address(.mapGuestAddr), value: "ADDR", "The guest reaches the host's own external address at ADDR, since it usually has the same one itself; 'none' for nowhere. The last one of each of IPv4 and IPv6 counts. Default: none."),
        .init(.address(.ipv4Only), short: "4", "No IPv6 for the guest."),
        .init(.address(.ipv6Only), short: "6", "No IPv4 for the guest."),
        .init(.address(.freebind), "Listen on addresses that the host does not have yet."),
    ])

    static let names = OptionGroup(title: "Names", entries: [
        .init(.name(.dns), short: "D", value: "ADDR", "A resolver for the guest, as often as needed; 'none' for no resolver. Default: those of /etc/resolv.conf, for pasta with --dhcp-dns only."),
        .init(.name(.dnsForward), value: "ADDR", "Queries that the guest sends to ADDR go to --dns-host. Once for each of IPv4 and IPv6. Default: none."),
        .init(.name(.dnsHost), value: "ADDR", "Where --dns-forward leads. Default: the first resolver of /etc/resolv.conf."),
        .init(.name(.search), short: "S", value: "LIST", "Search domains for the guest, with commas between them; 'none' for none. Default: those of /etc/resolv.conf, for pasta with --dhcp-search only."),
        .init(.name(.dhcpDNS), for: .pasta, "Tell the guest its resolvers by DHCP, DHCPv6 and NDP. Default: do not."),
        .init(.name(.dhcpSearch), for: .pasta, "Tell the guest its search domains in the same way. Default: do not."),
        .init(.name(.noDHCPDNS), for: .passt, "Do not tell the guest any resolvers by DHCP, DHCPv6 and NDP."),
        .init(.name(.noDHCPSearch), for: .passt, "Do not tell the guest any search domains in the same way."),
        .init(.name(.hostname), short: "H", value: "NAME", "The guest's host name, given out by DHCP."),
        .init(.name(.fqdn), value: "NAME", "The guest's full name, given out by DHCP and DHCPv6."),
    ])

    static let handlers = OptionGroup(title: "Protocols", entries: [
        .init(.handler(.noTCP), "No TCP."),
        .init(.handler(.noUDP), "No UDP."),
        .init(.handler(.noICMP), "No ping, nor anything else of ICMP. Implies --no-ndp."),
        .init(.handler(.noDHCP), "Answer no DHCP."),
        .init(.handler(.noDHCPv6), "Answer no DHCPv6."),
        .init(.handler(.noNDP), "Answer no IPv6 neighbour discovery. Implies --no-ra."),
        .init(.handler(.noRA), "Send no router advertisements. Implied by pasta's --config-net."),
    ])

    static let namespace = OptionGroup(title: "The namespace", entries: [
        .init(.namespace(.netns), value: "PATH|NAME", for: .pasta, "Join this network namespace; a NAME is one of /run/netns."),
        .init(.namespace(.userns), value: "PATH", for: .pasta, "The user namespace to join before it."),
        .init(.namespace(.netnsOnly), for: .pasta, "Join or create no user namespace. Implied by --netns without --userns."),
        .init(.namespace(.noNetnsQuit), for: .pasta, "Keep running when the file of --netns is deleted; with a PID, when the process has ended."),
        .init(.namespace(.configNet), for: .pasta, "Set up the namespace's interface, addresses and routes. Default: leave that to the namespace."),
        .init(.namespace(.noCopyRoutes), for: .pasta, "With --config-net: only a default route. Default: all routes of the host's interface."),
        .init(.namespace(.noCopyAddrs), for: .pasta, "With --config-net: only one address for each of IPv4 and IPv6. Default: all addresses of the host's interface."),
        .init(.namespace(.nsIfname), short: "I", value: "NAME", for: .pasta, "The interface's name in the namespace. Default: the host interface's, else tap0."),
        .init(.namespace(.nsMacAddr), value: "MAC", for: .pasta, "The interface's link address. Default: random."),
    ])

    static let ports = OptionGroup(title: "Ports", entries: [
        .init(.port(.tcpPorts), short: "t", value: "SPEC", "TCP ports of the host that lead to the guest: 'none', 'all', 'auto' (pasta: those on which somebody listens in the namespace, looked up each second) or a list of ports and ranges such as 22,8080:80,8000-8010,~8005, where : is followed by the port in the guest and ~ stands before what is left out. ADDR/ or %IFACE/ or both before the list restrict it to an address or an interface. Everybody who can reach the host's port reaches the guest. May be repeated. Default: auto for pasta, none for passt."),
        .init(.port(.udpPorts), short: "u", value: "SPEC", "UDP ports of the host that lead to the guest, in the same way; 'auto' adds the TCP ports on which somebody listens. Default: auto for pasta, none for passt."),
        .init(.port(.tcpNs), short: "T", value: "SPEC", for: .pasta, "TCP ports of the namespace's loopback that lead to the host's loopback, in the same way: services that listen there become reachable in the namespace. An address before the list is the namespace's, one behind : is whatever the host can reach. 'auto' shows all of them, also those that have no password because nobody else was expected there; --no-map-gw does not change that, 'none' does. Default: auto."),
        .init(.port(.udpNs), short: "U", value: "SPEC", for: .pasta, "UDP ports of the namespace's loopback that lead to the host's loopback, in the same way. Default: auto."),
        .init(.port(.hostLoToNsLo), for: .pasta, "What comes from the host's loopback arrives at the namespace's loopback. Default: at its external address."),
        .init(.port(.noSplice), for: .pasta, "Connections between loopback addresses take no shortcut."),
        .init(.port(.spliceOnly), for: .pasta, "No interface at all, only connections between loopback addresses, by -t, -u, -T and -U. Implies --host-lo-to-ns-lo."),
    ])

    static let machine = OptionGroup(title: "The virtual machine", entries: [
        .init(.machine(.socket), short: "s", value: "PATH", for: .passt, "The UNIX socket to listen on. Default: the first free one of /tmp/passt_1.socket to /tmp/passt_64.socket."),
        .init(.machine(.fd), short: "F", value: "NUMBER", missing: .pasta, "An inherited, connected socket to use. Implies --one-off."),
        .init(.machine(.oneOff), short: "1", for: .passt, "Exit when the machine disconnects. Default: wait for the next one."),
        .init(.machine(.vhostUser), for: .passt, "Serve a machine that shares its memory, by vhost-user. Its monitor connects to the socket as the front-end; only one that speaks vhost-user can. If it is among the first options, the program is passt under any name."),
        .init(.machine(.printCapabilities), for: .passt, "Print what kind of device the vhost-user back-end is, and exit."),
        .init(.machine(.repairPath), value: "PATH|none", for: .passt, "With --vhost-user: the socket that passt-repair connects to, so that TCP connections move along when the machine is migrated. Default: the machine's path and .repair behind it."),
        .init(.machine(.migrateExit), for: .passt, "Exit when the machine has been migrated away. Default: keep its connections, standing still, until another machine comes."),
        .init(.machine(.migrateNoLinger), for: .passt, "Close its connections then."),
    ])
}
