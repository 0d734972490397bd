import Testing

/// Guests that configure themselves: DHCP, router advertisements, DHCPv6.
@Suite struct GuestClientTests {
    private let names = [
        "--dhcp-dns", "-D", "192.0.2.53", "-D", "192.0.2.54", "-D", "2001:db8:9::53", "--dhcp-search", "-S", "one.example.test two.example.test",
    ]

    @Test func dhclientGetsAddressRouteMTUAndNames() throws {
        try withNetwork { network in
            try network.remote.serveTests()
            let guest = try network.guest(names + ["--mtu", "9000"])
            let lease = try guest.dhclient("-4")
            #expect(lease["ip_address"] == "198.51.100.1")
            #expect(lease["subnet_mask"] == "255.255.255.0")
            #expect(lease["routers"] == "198.51.100.254")
            #expect(lease["interface_mtu"] == "9000")
            #expect(lease["domain_name_servers"] == "192.0.2.53 192.0.2.54")
            #expect(lease["domain_search"] == "one.example.test. two.example.test.")
            #expect(try guest.client("ask", Family.v4.server, 4000, "whoami").check().text == "198.51.100.1")
        }
    }

    @Test func udhcpcGetsAddressRouteMTUAndNames() throws {
        try withNetwork { network in
            try network.remote.serveTests()
            let guest = try network.guest(names + ["--mtu", "9000"])
            let lease = try guest.udhcpc()
            #expect(lease["ip"] == "198.51.100.1")
            #expect(lease["subnet"] == "255.255.255.0")
            #expect(lease["router"] == "198.51.100.254")
            #expect(lease["mtu"] == "9000")
            #expect(lease["dns"] == "192.0.2.53 192.0.2.54")
            #expect(lease["search"] == "one.example.test two.example.test")
            #expect(lease["domain"] == "one.example.test")
            #expect(try guest.client("ask", Family.v4.server, 4000, "whoami").check().text == "198.51.100.1")
        }
    }

    /// pasta says nothing of names unless asked.
    @Test func dhcpWithoutOptionsGivesNoNames() throws {
        try withNetwork { network in
            let lease = try network.guest([]).udhcpc()
            #expect(lease["ip"] == "198.51.100.1" && lease["mtu"] == "65520", "\(lease)")
            #expect(lease["dns"] == nil && lease["search"] == nil && lease["domain"] == nil, "\(lease)")
        }
    }

    @Test func mtuZeroIsNotAdvertised() throws {
        try withNetwork { network in
            let lease = try network.guest(["--mtu", "0"]).udhcpc()
            #expect(lease["ip"] == "198.51.100.1" && lease["mtu"] == nil, "\(lease)")
        }
    }

    @Test func dhcpGivesTheAddressOfTheOptions() throws {
        try withNetwork { network in
            let lease = try network.guest(["-a", "192.0.2.10", "-n", "26", "-g", "192.0.2.1"]).udhcpc()
            #expect(lease["ip"] == "192.0.2.10" && lease["subnet"] == "255.255.255.192" && lease["router"] == "192.0.2.1", "\(lease)")
        }
    }

    /// A default route without a gateway, as a tunnel's: a router that stands in for one leads out.
    @Test func dhcpNamesARouterWhereTheHostsRouteHasNone() throws {
        try withNetwork { network in
            try network.remote.serveTests()
            // The router answers for who is behind it.
            try network.router.sh("echo 1 >/proc/sys/net/ipv4/conf/lan0/proxy_arp").check()
            try network.host.sh("ip route replace default dev wan0").check()
            let guest = try network.guest([])
            let lease = try guest.udhcpc(["-O", "staticroutes"])
            #expect(lease["ip"] == "198.51.100.1" && lease["router"] == "169.254.2.2" && lease["serverid"] == "169.254.2.2", "\(lease)")
            #expect(lease["staticroutes"] == "169.254.2.2/32 0.0.0.0 0.0.0.0/0 169.254.2.2", "\(lease)")
            #expect(try guest.client("ask", Family.v4.server, 4000, "whoami").check().text == "198.51.100.1")
        }
    }

    /// No way out at all: an address, and who else is on the link.
    @Test func dhcpOfAHostWithoutAWayOutNamesNoRouter() throws {
        try withNetwork(.withoutDefaultRoute) { network in
            try network.router.serveTests()
            let guest = try network.guest([])
            let lease = try guest.udhcpc(["-O", "staticroutes"])
            #expect(lease["ip"] == "198.51.100.1" && lease["serverid"] == "198.51.100.2", "\(lease)")
            #expect(lease["router"] == nil && lease["staticroutes"] == nil, "\(lease)")
            #expect(try guest.client("ask", Family.v4.gateway, 4000, "whoami").check().text == "198.51.100.1")
        }
    }

    @Test func hostnameAndFQDNAreAdvertised() throws {
        try withNetwork { network in
            let lease = try network.guest(["--hostname", "guest", "--fqdn", "guest.example.test"]).udhcpc(["-O", "hostname", "-F", "asked"])
            #expect(lease["hostname"] == "guest", "\(lease)")
        }
    }

    @Test func noDHCPIsSilence() throws {
        try withNetwork { network in
            let guest = try network.guest(["--no-dhcp"])
            try guest.sh("ip link set wan0 up").check()
            let output = try guest.run(guest.udhcpcCommand() + ["-t", "2", "-T", "1"])
            #expect(output.ending == .exited(1) && contents(network.path("lease")).isEmpty, "\(output)")
        }
    }

    /// The kernel's own autoconfiguration: address of the prefix, default route, MTU.
    @Test func routerAdvertisementsConfigureTheKernel() throws {
        try withNetwork { network in
            try network.remote.serveTests()
            let guest = try network.guest(["--mtu", "1400"])
            try guest.sh("""
                echo 0 >/proc/sys/net/ipv6/conf/wan0/accept_dad
                echo 1 >/proc/sys/net/ipv6/conf/wan0/accept_ra
                ip link set wan0 up
                """).check()
            try require("an address of the prefix and a default route", within: 15) {
                guard let link = try? guest.link() else { return false }
                return link.globalAddresses.contains { $0.hasPrefix("2001:db8:1:") && $0.hasSuffix("/64") }
                    && link.routes.contains { $0.hasPrefix("default via fe80::") }
            }
            #expect(try guest.sh("cat /proc/sys/net/ipv6/conf/wan0/mtu").check().text == "1400")
            #expect(try guest.client("ask", Family.v6.server, 4000, "whoami").check().text == Family.v6.hostAddress)
            try guest.client("send", Family.v6.server, 4000, 1 << 20).check()
            try guest.client("receive", Family.v6.server, 4000, 1 << 20).check()
        }
    }

    @Test func noRAIsSilence() throws {
        try withNetwork { network in
            let guest = try network.guest(["--no-ra"])
            try guest.sh("echo 0 >/proc/sys/net/ipv6/conf/wan0/accept_dad; ip link set wan0 up").check()
            #expect(!eventually(within: 5) { (try? guest.link().routes.contains { $0.hasPrefix("default via fe80::") }) ?? true })
        }
    }

    @Test func dhclientGetsADHCPv6Address() throws {
        try withNetwork { network in
            try network.remote.serveTests()
            let guest = try network.guest(names)
            try guest.sh("""
                echo 0 >/proc/sys/net/ipv6/conf/wan0/accept_dad
                echo 1 >/proc/sys/net/ipv6/conf/wan0/accept_ra
                ip link set wan0 up
                """).check()
            try require("a link-local address and a default route") {
                guard let link = try? guest.link() else { return false }
                return link.routes.contains { $0.hasPrefix("default via fe80::") } && link.addresses.contains { $0.hasPrefix("fe80:") }
            }
            let lease = try guest.dhclient("-6")
            #expect(lease["ip6_address"] == "2001:db8:1::1", "\(lease)")
            #expect(lease["dhcp6_name_servers"] == "2001:db8:9::53", "\(lease)")
            #expect(lease["dhcp6_domain_search"] == "one.example.test. two.example.test.", "\(lease)")
            try require("the address to be there") { (try? guest.link().addresses.contains("2001:db8:1::1/128")) ?? false }
            #expect(try guest.client("ask", Family.v6.server, 4000, "whoami").check().text == Family.v6.hostAddress)
        }
    }

    /// Any address of the link is answered for by ARP, but not the guest's own, which it probes for first.
    @Test func arpAnswersForTheLinkButNotForTheGuest() throws {
        try withNetwork { network in
            let guest = try network.guest()
            _ = try guest.run(["ping", "-c", "1", "-W", "1", "198.51.100.254"])
            let neighbours = try guest.run(["ip", "neigh"]).check()
            #expect(neighbours.lines.contains { $0.hasPrefix("198.51.100.254") && $0.contains("lladdr") }, "\(neighbours)")
            #expect(try guest.run(["python3", Helpers.path("arp-probe.py"), "wan0", "198.51.100.1"]).check().text == "nobody")
            #expect(try guest.run(["python3", Helpers.path("arp-probe.py"), "wan0", "198.51.100.254"]).check().text == "somebody")
        }
    }

    /// A host of the link has its own hardware address in the guest too, known before or learned later, until it goes.
    @Test func hostsOfTheLinkKeepTheirHardwareAddresses() throws {
        try withNetwork { network in
            let table = { (guest: Guest) in try guest.sh("ip neigh flush all; ping -c 1 -W 1 198.51.100.7 >/dev/null; ip neigh show 198.51.100.7").text }
            try network.host.sh("ip neigh add 198.51.100.7 lladdr 02:00:00:00:00:07 dev wan0 nud permanent").check()
            let guest = try network.guest(["--config-net", "--no-map-gw"])
            #expect(try table(guest).contains("02:00:00:00:00:07"))
            try network.host.sh("ip neigh replace 198.51.100.7 lladdr 02:00:00:00:00:77 dev wan0 nud permanent").check()
            #expect(eventually { (try? table(guest).contains("02:00:00:00:00:77")) ?? false })
            try network.host.sh("ip neigh del 198.51.100.7 dev wan0").check()
            #expect(eventually { (try? table(guest).contains("9a:55:9a:55:9a:55")) ?? false })
        }
    }

    @Test func theRoutersHardwareAddressCanBeChosen() throws {
        try withNetwork { network in
            let guest = try network.guest(["--config-net", "-M", "02:aa:bb:cc:dd:ee"])
            for (family, address) in [(Family.v4, "198.51.100.254"), (.v6, "2001:db8:1::fe")] {
                _ = try guest.run(["ping", "-c", "1", "-W", "1", address])
                let neighbours = try guest.run(["ip", family.flag, "neigh"]).check()
                #expect(neighbours.lines.contains { $0.hasPrefix(address) && $0.contains("02:aa:bb:cc:dd:ee") }, "\(neighbours)")
            }
        }
    }
}

extension Guest {
    /// Runs it once; what it was given, by the names that it passes to its script.
    func dhclient(_ family: String) throws -> [String: String] {
        let lease = network.path("lease")
        try run(
            ["dhclient", family, "-1", "-v", "-sf", Helpers.path("dhclient-script"), "-lf", network.path("leases"), "-pf", network.path("dhclient.pid"),
             "-cf", Helpers.path("dhclient.conf"), "-e", "LEASE=\(lease)", "wan0"], seconds: 40).check()
        return values(contents(lease), dropping: "new_")
    }

    func udhcpcCommand() -> [String] {
        ["env", "LEASE=\(network.path("lease"))", "udhcpc", "-i", "wan0", "-f", "-n", "-q", "-s", Helpers.path("udhcpc-script"), "-O", "search", "-O", "mtu"]
    }

    func udhcpc(_ more: [String] = []) throws -> [String: String] {
        try sh("ip link set wan0 up").check()
        try run(udhcpcCommand() + ["-t", "5", "-T", "1"] + more, seconds: 30).check()
        return values(contents(network.path("lease")), dropping: "")
    }

    private func values(_ text: String, dropping prefix: String) -> [String: String] {
        var values: [String: String] = [:]
        for line in text.split(separator: "\n") where line.hasPrefix(prefix) {
            let parts = line.dropFirst(prefix.count).split(separator: "=", maxSplits: 1).map(String.init)
            if parts.count == 2 { values[parts[0]] = parts[1] }
        }
        return values
    }
}
