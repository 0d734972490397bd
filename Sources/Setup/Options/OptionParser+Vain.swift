internal import Settings
internal import Wire

/// Options beside others that leave them nothing to do. They are warned of and not refused: callers write what they always write.
private struct VainOptions {
    let keys: [OptionKey]
    let isVain: Bool
    let reason: String

    init(_ keys: OptionKey..., when isVain: Bool, _ reason: String) {
        self.keys = keys
        self.isVain = isVain
        self.reason = reason
    }
}

extension OptionParser {
    /// One line for each option that was given and cannot have an effect. What is `none` asks for nothing, and is left out.
    func vainOptions() -> [String] {
        var asking = given.filter { $0.option.value != "none" }
        var warnings: [String] = []
        for entry in bySpliceOnly + byFamily + byOthers where entry.isVain {
            for key in entry.keys {
                guard let option = asking.first(where: { $0.key == key })?.option else { continue }
                warnings.append("\(option.name) has no effect \(entry.reason)")
                // One reason is enough.
                asking.removeAll { $0.key == key }
            }
        }
        return warnings + vainAddresses(asking)
    }

    /// Addresses of a family that is off. Not --dns-host: where a family has no resolver of its own, that of the other one is asked.
    private func vainAddresses(_ asking: [(key: OptionKey, option: GivenOption)]) -> [String] {
        let keys: [OptionKey] = [
            .address(.address), .address(.gateway), .address(.outbound), .address(.mapHostLoopback), .address(.mapGuestAddr), .name(.dns), .name(.dnsForward),
        ]
        var warnings: [String] = []
        for (key, option) in asking where keys.contains(key) {
            guard let address = IPAddress(option.value.prefix { $0 != "/" }), address.isIPv4 ? options.ipv6Only : options.ipv4Only else { continue }
            warnings.append("\(option.name) \(option.value) has no effect with --\(address.isIPv4 ? "ipv6" : "ipv4")-only")
        }
        return warnings
    }

    private var byFamily: [VainOptions] {
        [
            VainOptions(.address(.netmask), .address(.outboundIf4), when: options.ipv6Only, "with --ipv6-only"),
            VainOptions(.address(.outboundIf6), when: options.ipv4Only, "with --ipv4-only"),
        ]
    }

    private var byOthers: [VainOptions] {
        let isPasta = options.program == .pasta
        let tellsResolvers = options.dhcpDNS ?? !isPasta
        let tellsSearch = options.dhcpSearch ?? !isPasta
        let forwards = options.dnsForward4 != nil || options.dnsForward6 != nil
        let hasDHCP = !options.noDHCP && !options.ipv6Only
        let hasDHCPv6 = !options.noDHCPv6 && !options.ipv4Only
        return [
            VainOptions(.name(.dns), when: !tellsResolvers, isPasta ? "without --dhcp-dns" : "with --no-dhcp-dns"),
            VainOptions(.name(.search), when: !tellsSearch, isPasta ? "without --dhcp-search" : "with --no-dhcp-search"),
            VainOptions(.name(.dnsHost), when: !forwards && !tellsResolvers, isPasta ? "without --dns-forward or --dhcp-dns" : "without --dns-forward"),
            VainOptions(.name(.hostname), when: !hasDHCP, options.noDHCP ? "with --no-dhcp" : "with --ipv6-only"),
            VainOptions(.name(.fqdn), when: !hasDHCP && !hasDHCPv6, "without DHCP and DHCPv6"),
            VainOptions(.run(.logSize), when: options.logFile == nil, "without --log-file"),
            VainOptions(.machine(.repairPath), .machine(.migrateExit), .machine(.migrateNoLinger), when: !options.vhostUser, "without --vhost-user"),
            VainOptions(.port(.tcpPorts), .port(.tcpNs), when: options.noTCP, "with --no-tcp"),
            VainOptions(.port(.udpPorts), .port(.udpNs), when: options.noUDP, "with --no-udp"),
        ]
    }

    /// All that is about an interface, where there is none.
    private var bySpliceOnly: [VainOptions] {
        let reason = "with --splice-only"
        return [
            VainOptions(
                .address(.address), .address(.netmask), .address(.gateway), .address(.macAddr), .address(.mtu), .address(.interface), .address(.outbound),
                .address(.outboundIf4), .address(.outboundIf6), .address(.mapHostLoopback), .address(.mapGuestAddr), when: options.spliceOnly, reason),
            VainOptions(
                .name(.dns), .name(.dnsForward), .name(.dnsHost), .name(.search), .name(.hostname), .name(.fqdn), when: options.spliceOnly, reason),
            VainOptions(.namespace(.nsIfname), .namespace(.nsMacAddr), .run(.pcap), when: options.spliceOnly, reason),
        ]
    }
}
