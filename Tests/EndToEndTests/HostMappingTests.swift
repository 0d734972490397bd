import Glibc
import Testing

/// Addresses that mean something else in the guest than on the host, and names.
@Suite struct HostMappingTests {
    /// Guest to the gateway's address is host loopback, and the server sees loopback.
    @Test(arguments: Family.allCases)
    func theGatewayIsHostLoopback(_ family: Family) throws {
        try withNetwork { network in
            try network.host.serveTests()
            let guest = try network.guest()
            #expect(try guest.client("ask", family.gateway, 4000, "whoami").check().text == family.loopback)
            #expect(try guest.client("udp-ask", family.gateway, 4000, "whoami").check().text == family.loopback)
            try guest.client("send", family.gateway, 4000, 4 << 20).check()
            try guest.client("receive", family.gateway, 4000, 4 << 20).check()
        }
    }

    /// Where every address can be bound to, as on hosts that take over those of others, none is the host's for that.
    @Test(arguments: Family.allCases)
    func lesson19_addressesThatAnybodyMayBindToStayWhoseTheyAre(_ family: Family) throws {
        try withNetwork { network in
            try network.host.sh("for ip in ipv4 ipv6; do echo 1 >/proc/sys/net/$ip/ip_nonlocal_bind || exit; done").check()
            try network.remote.serveTests()
            // At the host's loopback, which the gateway's address leads to.
            try network.host.serveTests(port: 4100)
            let guest = try network.guest(["--config-net", "-t", "8080:4000"])
            try guest.serveTests()
            #expect(try guest.client("ask", family.server, 4000, "whoami").check().text == family.hostAddress)
            #expect(try guest.client("ask", family.gateway, 4100, "whoami").check().text == family.loopback)
            #expect(try network.remote.client("ask", family.hostAddress, 8080, "whoami").check().text == family.server)
        }
    }

    @Test(arguments: Family.allCases, [["--no-map-gw"], ["--map-host-loopback", "none"]])
    func lesson39_hostLoopbackIsClosedWhereItIsNotAskedFor(_ family: Family, _ option: [String]) throws {
        try withNetwork { network in
            try network.host.serveTests()
            try network.remote.serveTests()
            let guest = try network.guest(["--config-net"] + option)
            // The gateway is then the router itself, which serves nothing.
            let answer = try guest.client("error", family.gateway, 4000).check().text
            #expect(answer.hasPrefix("ECONNREFUSED"), "\(answer)")
            #expect(try guest.client("udp-ask", family.gateway, 4000, "whoami").ending == .exited(1))
            #expect(try guest.client("ask", family.server, 4000, "whoami").check().text == family.hostAddress)
        }
    }

    @Test(arguments: [(Family.v4, "192.0.2.9"), (.v6, "2001:db8:9::9")])
    func mapHostLoopbackMovesItToTheGivenAddress(_ family: Family, _ address: String) throws {
        try withNetwork { network in
            try network.host.serveTests()
            let guest = try network.guest(["--config-net", "--map-host-loopback", address])
            #expect(try guest.client("ask", address, 4000, "whoami").check().text == family.loopback)
            #expect(try guest.client("udp-ask", address, 4000, "whoami").check().text == family.loopback)
            #expect(try guest.client("error", family.gateway, 4000).check().text.hasPrefix("ECONNREFUSED"))
        }
    }

    /// The guest has the host's own address, and reaches the host's by another one.
    @Test(arguments: [(Family.v4, "169.254.1.2"), (.v6, "2001:db8:9::2")])
    func mapGuestAddressIsTheHost(_ family: Family, _ address: String) throws {
        try withNetwork { network in
            try network.host.serveTests()
            let guest = try network.guest(["--config-net", "--no-map-gw", "--map-guest-addr", address])
            #expect(try guest.client("ask", address, 4000, "whoami").check().text == family.hostAddress)
            #expect(try guest.client("udp-ask", address, 4000, "whoami").check().text == family.hostAddress)
        }
    }

    /// A guest that has not taken the address that it was offered is not in the host's way there.
    @Test(arguments: [(Family.v4, "198.51.100.9/24"), (.v6, "2001:db8:1::9/64")])
    func aGuestWithAnAddressOfItsOwnReachesTheHostAtTheHosts(_ family: Family, _ own: String) throws {
        try withNetwork { network in
            try network.host.serveTests()
            let guest = try network.guest([])
            try guest.sh("ip link set wan0 up; ip addr add \(own) dev wan0 \(family == .v6 ? "nodad" : "")").check()
            #expect(try guest.client("ask", family.hostAddress, 4000, "contacted").check().text == family.hostAddress)
            #expect(try guest.client("udp-ask", family.hostAddress, 4000, "whoami").check().text == family.hostAddress)
        }
    }

    @Test(arguments: Family.allCases)
    func theRemoteServerSeesTheHostsAddress(_ family: Family) throws {
        try withNetwork { network in
            try network.remote.serveTests()
            let own = family == .v4 ? ["-a", "192.0.2.7", "-g", "192.0.2.1"] : ["-a", "2001:db8:7::7", "-g", "2001:db8:7::1"]
            let guest = try network.guest(["--config-net"] + own)
            #expect(try guest.client("ask", family.server, 4000, "whoami").check().text == family.hostAddress)
            #expect(try guest.client("udp-ask", family.server, 4000, "whoami").check().text == family.hostAddress)
        }
    }

    @Test(arguments: Family.allCases)
    func outboundBindsToTheGivenAddress(_ family: Family) throws {
        try withNetwork { network in
            let second = family == .v4 ? "198.51.100.9" : "2001:db8:1::9"
            try network.host.run(["ip", "addr", "add", second + (family == .v4 ? "/24" : "/64"), "dev", "wan0"]).check()
            try network.remote.serveTests()
            let guest = try network.guest(["--config-net", "--outbound", second])
            #expect(try guest.client("ask", family.server, 4000, "whoami").check().text == second)
            #expect(try guest.client("udp-ask", family.server, 4000, "whoami").check().text == second)
        }
    }

    /// UDP, TCP, and answers too large for UDP.
    @Test(arguments: Family.allCases)
    func digAsksARemoteResolver(_ family: Family) throws {
        try withNetwork { network in
            try network.serveNames(on: network.remote)
            let guest = try network.guest()
            for transport in ["+notcp", "+tcp"] {
                let output = try guest.run(["dig", "+short", "+time=2", "+tries=2", transport, "@\(family.server)", "host.example.test"])
                #expect(output.text == "192.0.2.55", "\(output)")
            }
        }
    }

    /// The host moves to another network: it is found by the same name as before, and its old address is somebody else's.
    @Test(arguments: [(Family.v4, "169.254.1.2", "198.51.100.9", 24), (.v6, "fd00:1::2", "2001:db8:1::9", 64)])
    func mapGuestAddrFollowsTheHost(_ family: Family, _ mapped: String, _ address: String, _ length: Int) throws {
        try withNetwork { network in
            try network.host.serveTests()
            let guest = try network.guest(["--config-net", "--map-guest-addr", mapped])
            for what in ["ask", "udp-ask"] { try guest.client(what, mapped, 4000, "whoami").check() }
            let nodad = family == .v6 ? "nodad" : ""
            // First the new one, as network managers do it; the kernel takes secondary addresses of the same network with the first.
            try network.host.sh("ip addr add \(address)/\(length) dev wan0 \(nodad); ip addr del \(family.hostAddress)/\(length) dev wan0; ip addr replace \(address)/\(length) dev wan0 \(nodad)").check()
            try require("the host at its new address") { (try? guest.client("ask", mapped, 4000, "contacted"))?.text == address }
            try guest.client("udp-ask", mapped, 4000, "whoami").check()
            // None at all: nothing leaves for whoever has it now.
            try network.host.sh("ip addr del \(address)/\(length) dev wan0").check()
            try require("nobody") { (try? guest.client("udp-error", mapped, 4999))?.text == "timeout" }
        }
    }

    /// More happens than the kernel keeps for who does not read: what has changed is asked for.
    @Test(arguments: [(Family.v4, "169.254.1.2", "198.51.100.9", 24), (.v6, "fd00:1::2", "2001:db8:1::9", 64)])
    func mapGuestAddrIsRightBehindLostAnnouncements(_ family: Family, _ mapped: String, _ address: String, _ length: Int) throws {
        try withNetwork { network in
            try network.host.serveTests()
            let guest = try network.guest(["--config-net", "--map-guest-addr", mapped])
            try guest.client("ask", mapped, 4000, "contacted").check()
            guest.pasta.send(SIGSTOP)
            let nodad = family == .v6 ? "nodad" : ""
            try network.host.sh(
                "for n in $(seq 1000); do echo addr add 203.0.113.1/32 dev lo; echo addr del 203.0.113.1/32 dev lo; done | ip -batch -; "
                    + "ip addr add \(address)/\(length) dev wan0 \(nodad); ip addr del \(family.hostAddress)/\(length) dev wan0; ip addr replace \(address)/\(length) dev wan0 \(nodad)"
            ).check()
            guest.pasta.send(SIGCONT)
            try require("the host at its new address") { (try? guest.client("ask", mapped, 4000, "contacted"))?.text == address }
        }
    }

    /// With an address that is none of the host's, the guest still finds the host, and not whoever has that address.
    @Test(arguments: [(Family.v4, "169.254.1.2", "10.0.2.7"), (.v6, "fd00:1::2", "fd00:7::7")])
    func mapGuestAddrIsTheHostWhateverTheGuestHas(_ family: Family, _ mapped: String, _ own: String) throws {
        try withNetwork { network in
            try network.host.serveTests()
            let guest = try network.guest(["--config-net", "-a", own, "-g", family == .v4 ? "10.0.2.1" : "fd00:7::1", "--map-guest-addr", mapped])
            #expect(try guest.client("ask", mapped, 4000, "contacted").check().text == family.hostAddress)
            #expect(try guest.client("udp-ask", mapped, 4000, "whoami").check().text == family.hostAddress)
        }
    }

    /// Not even to its loopback, which is what Linux makes of no address.
    @Test(arguments: [(Family.v4, "192.0.2.99"), (.v6, "fd00:1::2")])
    func mapGuestAddrLeadsNowhereOnAHostWithoutAddress(_ family: Family, _ mapped: String) throws {
        try withNetwork(.withoutInterface) { network in
            try network.host.serveTests()
            let guest = try network.guest(["--no-map-gw", "--map-guest-addr", mapped])
            try guest.run(["sh", "-c", "ip addr add fd00:1::1/64 dev tap0 nodad; ip addr add 192.0.2.98/24 dev tap0; ip link set tap0 up"]).check()
            #expect(try !guest.client("ask", mapped, 4000, "contacted", seconds: 2).succeeded)
            #expect(try !guest.client("udp-ask", mapped, 4000, "whoami", seconds: 2).succeeded)
        }
    }

    /// A tunnel that is made anew has its old name, and another number, which is what sockets are bound to.
    @Test(arguments: Family.allCases, [["--outbound-if4", "wan0", "--outbound-if6", "wan0"], []])
    func anInterfaceThatIsMadeAnewIsFoundAgain(_ family: Family, _ options: [String]) throws {
        try withNetwork { network in
            try network.remote.serveTests()
            let guest = try network.guest(["--config-net"] + options)
            try guest.client("udp-ask", family.server, 4000, "whoami").check()
            // Its number must be another.
            try network.host.sh("ip link del wan0; ip link add spare0 type veth peer name spare1").check()
            try network.run(["sh", "-eu", Helpers.path("wan.sh"), network.name, "\(Shape.complete)"]).check()
            try guest.client("ask", family.server, 4000, "whoami").check()
            try guest.client("udp-ask", family.server, 4000, "whoami").check()
            try guest.run(["ping", "-n", "-c", "1", "-W", "2", family.server]).check()
            // What every host of a link is asked.
            let sniffer = try network.router.start(["python3", Helpers.path("sniff-udp.py"), "lan0", "5353"])
            try require("the sniffer to listen") { sniffer.standardOutput.contains("ready") }
            let group = family == .v4 ? "224.0.0.251" : "ff02::fb%wan0"
            try require("\(group) on the link") {
                _ = try? guest.run(["python3", Helpers.path("send-to-all.py"), group, "5353"])
                return sniffer.standardOutput.contains(family == .v4 ? "224.0.0.251" : "ff02::fb")
            }
        }
    }

    /// Queries to the forwarded address are asked by the host: here of a resolver on its loopback.
    @Test(arguments: [(Family.v4, "192.0.2.53"), (.v6, "2001:db8:9::53")])
    func dnsForwardIsAnsweredByTheDNSHost(_ family: Family, _ address: String) throws {
        try withNetwork { network in
            try network.serveNames(on: network.host)
            let guest = try network.guest(["--config-net", "--no-map-gw", "--dns-forward", address, "--dns-host", family.loopback])
            for transport in ["+notcp", "+tcp"] {
                let output = try guest.run(["dig", "+short", "+time=2", "+tries=2", transport, "@\(address)", "host.example.test"])
                #expect(output.text == "192.0.2.55", "\(output)")
            }
            // Only DNS is forwarded.
            #expect(try guest.client("error", address, 4000).check().text.hasPrefix("none") == false)
        }
    }

    /// Without --dns-host the resolver of the family in resolv.conf answers.
    @Test(arguments: [(Family.v4, "192.0.2.53"), (.v6, "2001:db8:9::53")])
    func dnsForwardUsesTheHostsResolver(_ family: Family, _ address: String) throws {
        try withNetwork { network in
            try network.serveNames(on: network.remote)
            let guest = try network.guest(["--config-net", "--dns-forward", address])
            let output = try guest.run(["dig", "+short", "+time=2", "+tries=2", "@\(address)", "host.example.test"])
            #expect(output.text == "192.0.2.55", "\(output)")
        }
    }

    /// A host whose resolvers are all of the other family, by UDP and TCP; what it does not answer is said in the guest's own family.
    @Test(arguments: [(Family.v6, "192.0.2.53"), (.v4, "2001:db8:9::53")])
    func dnsForwardAsksAResolverOfTheOtherFamily(_ resolver: Family, _ address: String) throws {
        try withNetwork { network in
            let guest = try network.guest(["--config-net", "--dns-forward", address], resolvConf: "nameserver \(resolver.server)\n")
            let refused = try guest.client("udp-error", address, 53)
            #expect(refused.text == "ECONNREFUSED", "\(refused)")
            try network.serveNames(on: network.remote)
            for transport in ["+notcp", "+tcp"] {
                let output = try guest.run(["dig", "+short", "+time=2", "+tries=2", transport, "@\(address)", "host.example.test"])
                #expect(output.text == "192.0.2.55", "\(output)")
            }
        }
    }

    /// Home routers name themselves so.
    @Test func dnsForwardAsksAResolverByItsLinkLocalAddress() throws {
        try withNetwork { network in
            try network.serveNames(on: network.router)
            let listing = try network.router.run(["ip", "-6", "-o", "addr", "show", "dev", "lan0", "scope", "link"]).check().out
            let address = try #require(listing.split(separator: " ").first { $0.hasPrefix("fe80:") }?.split(separator: "/").first)
            let guest = try network.guest(["--config-net", "--dns-forward", "192.0.2.53"], resolvConf: "nameserver \(address)%wan0\n")
            let output = try guest.run(["dig", "+short", "+time=2", "+tries=2", "@192.0.2.53", "host.example.test"])
            #expect(output.text == "192.0.2.55", "\(output)")
        }
    }

    /// systemd-resolved listens on a loopback address of its own, which is what a command in the namespace reads in resolv.conf, too.
    @Test(arguments: [true, false]) func aResolverOnLoopbackIsFoundInTheNamespace(_ isShown: Bool) throws {
        try withNetwork { network in
            try network.serveNames(on: network.host, at: "127.0.0.53")
            let guest = try network.guest(automatic: isShown, resolvConf: "nameserver 127.0.0.53\noptions edns0 trust-ad\n")
            for transport in ["+notcp", "+tcp"] {
                let output = try guest.run(["dig", "+short", "+time=2", "+tries=1", transport, "@127.0.0.53", "host.example.test"])
                #expect((output.text == "192.0.2.55") == isShown, "\(output)")
            }
        }
    }

    /// Where the gateway is itself the host's resolver, names are asked there and not at host loopback.
    @Test func lesson49_aGatewayThatIsAResolverStaysTheResolver() throws {
        try withNetwork { network in
            try network.serveNames(on: network.router)
            let guest = try network.guest(resolvConf: "nameserver 198.51.100.254\n")
            let output = try guest.run(["dig", "+short", "+time=2", "+tries=2", "@198.51.100.254", "host.example.test"])
            #expect(output.text == "192.0.2.55", "\(output)")
        }
    }

    @Test(arguments: [("--no-tcp", false, true, true), ("--no-udp", true, false, true), ("--no-icmp", true, true, false)])
    func aProtocolThatIsOffDoesNotPass(_ option: String, _ tcp: Bool, _ udp: Bool, _ icmp: Bool) throws {
        try withNetwork { network in
            try network.remote.serveTests()
            let guest = try network.guest(["--config-net", option])
            let server = Family.v4.server
            #expect(try guest.run(["ping", "-n", "-c", "1", "-W", "1", server]).succeeded == icmp)
            #expect(try guest.client("ask", server, 4000, "whoami", seconds: tcp ? 20 : 2).succeeded == tcp)
            #expect(try guest.client("udp-ask", server, 4000, "whoami", seconds: udp ? 20 : 2).succeeded == udp)
        }
    }
}

extension Network {
    /// A DNS server that knows host.example.test.
    static let nameServer = [
        "dnsmasq", "--no-daemon", "--conf-file=/dev/null", "--no-resolv", "--no-hosts", "--pid-file=", "--address=/host.example.test/192.0.2.55",
    ]

    func serveNames(on host: Host, at address: String? = nil) throws {
        try host.serve(Network.nameServer + (address.map { ["--bind-interfaces", "--listen-address=\($0)"] } ?? []), port: 53)
    }
}
