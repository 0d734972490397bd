import Testing

/// `--config-net`: the namespace is configured when the command starts.
@Suite struct ConfigNetTests {
    /// The very first thing that the command does is to use the network, both families.
    @Test(arguments: [User.root, .ordinary])
    func theNetworkIsUsableAtOnce(_ user: User) throws {
        try withNetwork { network in
            try network.remote.serveTests()
            for family in Family.allCases {
                let output = try network.host.run(
                    [Pasta.path, "--config-net", "--", "python3", Helpers.path("client.py"), "ask", family.server, "4000", "whoami"],
                    as: user)
                #expect(output.text == family.hostAddress, "\(output)")
            }
        }
    }

    @Test func addressesRoutesAndMTUAreThoseOfTheHost() throws {
        try withNetwork { network in
            try network.host.sh("ip route add 192.0.2.0/24 via 198.51.100.253; ip -6 route add 2001:db8:77::/48 via 2001:db8:1::fd dev wan0").check()
            let link = try network.guest().link()
            #expect(link.addresses.contains("198.51.100.1/24"), "\(link)")
            #expect(link.addresses.contains("2001:db8:1::1/64"), "\(link)")
            #expect(link.routes.contains { $0.hasPrefix("default via 198.51.100.254 dev wan0") }, "\(link)")
            #expect(link.routes.contains { $0.hasPrefix("default via 2001:db8:1::fe dev wan0") }, "\(link)")
            #expect(link.routes.contains { $0.hasPrefix("192.0.2.0/24 via 198.51.100.253") }, "\(link)")
            #expect(link.routes.contains { $0.hasPrefix("2001:db8:77::/48 via 2001:db8:1::fd") }, "\(link)")
            #expect(link.mtu == 65520 && link.name == "wan0", "\(link)")
            #expect(!link.tentative, "\(link)")
        }
    }

    /// Streams over the bypass move in larger pieces, where the kernel knows them; a namespace that others configure stays as it is.
    @Test func loopbackTakesLargePieces() throws {
        func limit(_ link: String) -> Substring? {
            let words = link.split(separator: " ")
            return words.firstIndex(of: "gso_max_size").map { words[$0 + 1] }
        }
        let show = ["ip", "-d", "-o", "link", "show", "lo"]
        try withNetwork { network in
            let usual = try #require(limit(network.host.run(show).check().text))
            let knows = try network.remote.sh("ip link set lo gso_max_size 262144").succeeded
            let cases: [(options: [String], isLarger: Bool)] = [(["--config-net"], true), (["--splice-only"], true), ([], false)]
            for (options, isLarger) in cases {
                let output = try network.host.run([Pasta.path] + options + ["--"] + show).check()
                #expect(limit(output.text) == (isLarger && knows ? "262144" : usual), "\(options): \(output)")
            }
        }
    }

    @Test func severalHostAddressesAreCopied() throws {
        try withNetwork { network in
            try network.host.sh("ip addr add 198.51.100.9/24 dev wan0; ip addr add 2001:db8:1::9/64 dev wan0 nodad").check()
            let link = try network.guest().link()
            for address in ["198.51.100.1/24", "198.51.100.9/24", "2001:db8:1::1/64", "2001:db8:1::9/64"] {
                #expect(link.addresses.contains(address), "\(link)")
            }
        }
    }

    @Test func optionsReplaceTheHostsConfiguration() throws {
        try withNetwork { network in
            let link = try network.guest([
                "--config-net", "-a", "192.0.2.10", "-n", "25", "-g", "192.0.2.1", "-a", "2001:db8:7::10", "-g", "2001:db8:7::1",
                "-m", "1400", "-I", "tap7", "--ns-mac-addr", "02:00:00:12:34:56",
            ]).link()
            #expect(link.name == "tap7" && link.mtu == 1400 && link.mac == "02:00:00:12:34:56", "\(link)")
            #expect(link.globalAddresses == ["192.0.2.10/25", "2001:db8:7::10/64"], "\(link)")
            #expect(link.routes.contains { $0.hasPrefix("default via 192.0.2.1 dev tap7") }, "\(link)")
            #expect(link.routes.contains { $0.hasPrefix("default via 2001:db8:7::1 dev tap7") }, "\(link)")
            #expect(!link.routes.contains { $0.contains("198.51.100") }, "\(link)")
        }
    }

    @Test(arguments: [("-n", "255.255.240.0", "192.0.2.10/20"), ("-n", "20", "192.0.2.10/20"), ("--netmask", "32", "192.0.2.10/32")])
    func aNetmaskHasTwoSpellings(_ option: String, _ mask: String, _ expected: String) throws {
        try withNetwork { network in
            let link = try network.guest(["--config-net", "-a", "192.0.2.10", option, mask]).link()
            #expect(link.addresses.contains(expected), "\(link)")
        }
    }

    @Test func anAddressMayCarryItsPrefixLength() throws {
        try withNetwork { network in
            let link = try network.guest(["--config-net", "-a", "192.0.2.10/26", "-g", "192.0.2.1"]).link()
            #expect(link.addresses.contains("192.0.2.10/26"), "\(link)")
        }
    }

    @Test(arguments: ["-4", "-6"])
    func oneFamilyOnly(_ option: String) throws {
        try withNetwork { network in
            try network.remote.serveTests()
            let guest = try network.guest(["--config-net", option])
            let link = try guest.link()
            let (on, off) = option == "-4" ? (Family.v4, Family.v6) : (Family.v6, Family.v4)
            #expect(link.globalAddresses.count == 1 && link.globalAddresses[0].hasPrefix(on.hostAddress), "\(link)")
            #expect(try guest.client("ask", on.server, 4000, "whoami").check().text == on.hostAddress)
            #expect(try guest.client("ask", off.server, 4000, "whoami", seconds: 3).succeeded == false)
        }
    }

    @Test func aHostWithoutIPv6GivesIPv4() throws {
        try withNetwork(.withoutIPv6) { network in
            try network.remote.serveTests()
            let guest = try network.guest()
            #expect(try guest.link().globalAddresses == ["198.51.100.1/24"])
            #expect(try guest.client("ask", Family.v4.server, 4000, "whoami").check().text == Family.v4.hostAddress)
        }
    }

    @Test func ipv6OnlyOnAHostWithoutItIsAnError() throws {
        try withNetwork(.withoutIPv6) { network in
            let output = try network.host.run([Pasta.path, "-6", "--config-net", "--", "true"], as: .ordinary)
            #expect(output.ending == .exited(1) && output.errorLines.count == 1, "\(output)")
        }
    }

    /// Lesson 48: no default route is in order; the link's network is reached.
    @Test func lesson48_aHostWithoutDefaultRouteStillReachesItsLink() throws {
        try withNetwork(.withoutDefaultRoute) { network in
            try network.router.serveTests()
            let guest = try network.guest()
            let link = try guest.link()
            #expect(link.addresses.contains("198.51.100.1/24"), "\(link)")
            #expect(try guest.client("ask", "198.51.100.254", 4000, "whoami").check().text == Family.v4.hostAddress)
        }
    }

    /// No usable interface at all: link-local addresses, and the host's loopback can be reached.
    @Test func localModeWithoutAnyInterface() throws {
        try withNetwork(.withoutInterface) { network in
            try network.host.serveTests()
            let guest = try network.guest()
            let link = try guest.link()
            #expect(link.name == "tap0", "\(link)")
            #expect(link.globalAddresses.contains { $0.hasPrefix("169.254.2.1/") }, "\(link)")
            #expect(link.routes.contains { $0.hasPrefix("default via 169.254.2.2 dev tap0") }, "\(link)")
            #expect(try guest.client("ask", "169.254.2.2", 4000, "whoami").check().text == "127.0.0.1")
        }
    }

    @Test func aNamedInterfaceIsTheTemplate() throws {
        try withNetwork { network in
            try network.host.sh("ip link add other0 type veth peer name other1; ip link set other0 up; ip link set other1 up; ip addr add 192.0.2.77/25 dev other0").check()
            let link = try network.guest(["--config-net", "-i", "other0"]).link()
            #expect(link.name == "other0" && link.addresses.contains("192.0.2.77/25"), "\(link)")
            #expect(!link.addresses.contains("198.51.100.1/24"), "\(link)")
        }
    }

    @Test func withoutConfigNetTheInterfaceIsThereAndEmpty() throws {
        try withNetwork { network in
            let link = try network.guest([]).link()
            #expect(link.name == "wan0" && link.globalAddresses.isEmpty, "\(link)")
        }
    }

    /// Routes may be many: more than one message of the kernel, as on routers.
    @Test func aLargeRoutingTableIsCopied() throws {
        try withNetwork { network in
            try network.host.sh("for i in $(seq 1 250); do echo route add 10.0.$i.0/24 via 198.51.100.254; done | ip -batch -").check()
            let link = try network.guest().link()
            #expect(link.routes.filter { $0.hasPrefix("10.0.") }.count == 250)
        }
    }

    /// Multipath, on-link gateways, and a preferred source of an address that the guest also gets.
    @Test func lesson48_unusualRoutesAreCopiedOrLeftOutButNeverFatal() throws {
        try withNetwork { network in
            try network.host.sh("""
                set -e
                ip route add 192.0.2.0/25 nexthop via 198.51.100.253 weight 1 nexthop via 198.51.100.252 weight 2
                ip route add 192.0.2.128/25 via 10.9.9.9 dev wan0 onlink
                ip route add 203.0.113.128/25 via 198.51.100.254 src 198.51.100.1 metric 7
                ip route add unreachable 10.1.0.0/16
                ip -6 route add 2001:db8:66::/48 nexthop via 2001:db8:1::fc dev wan0 nexthop via 2001:db8:1::fb dev wan0
                """).check()
            try network.remote.serveTests()
            let guest = try network.guest()
            let link = try guest.link()
            // Of several routers, the first one.
            for route in [
                "192.0.2.0/25 via 198.51.100.253", "192.0.2.128/25 via 10.9.9.9", "203.0.113.128/25 via 198.51.100.254",
                "2001:db8:66::/48 via 2001:db8:1::fc",
            ] { #expect(link.routes.contains { $0.hasPrefix(route + " ") }, "\(route): \(link)") }
            #expect(try guest.client("ask", Family.v4.server, 4000, "whoami").check().text == Family.v4.hostAddress)
        }
    }
}

/// What `ip` says of the guest's interface.
struct Link: CustomStringConvertible {
    var name = ""
    var mtu = 0
    var mac = ""
    var addresses: [String] = []
    var routes: [String] = []
    var tentative = false

    /// Without IPv6 link-local ones.
    var globalAddresses: [String] { addresses.filter { !$0.hasPrefix("fe80:") } }
    var description: String { "\(name) mtu \(mtu) \(mac) \(addresses)\n\(routes.joined(separator: "\n"))" }
}

extension Guest {
    func link() throws -> Link {
        var link = Link()
        let words = { (line: String) in line.split(separator: " ").map(String.init) }
        for line in try run(["ip", "-o", "link"]).check().lines.map(words) where line.count > 4 && line[1] != "lo:" {
            link.name = String(line[1].dropLast().split(separator: "@")[0])
            link.mtu = line.firstIndex(of: "mtu").flatMap { Int(line[$0 + 1]) } ?? 0
            link.mac = line.firstIndex(of: "link/ether").map { line[$0 + 1] } ?? ""
        }
        for line in try run(["ip", "-o", "addr", "show", "dev", link.name]).check().lines.map(words) {
            link.addresses.append(line[3])
            link.tentative = link.tentative || (line.contains("tentative") && line.contains("global"))
        }
        link.routes = try run(["ip", "-4", "route"]).check().lines + run(["ip", "-6", "route"]).check().lines
        return link
    }
}
