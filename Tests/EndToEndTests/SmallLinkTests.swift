import Glibc
import Testing

/// Links that take less than the guest was told, or than its hosts suppose.
@Suite struct SmallLinkTests {
    /// A machine whose network card takes no frame of more than 1514 bytes. It is told so, or shows it by what it sends.
    @Test(arguments: Family.allCases, [true, false])
    func lesson61_aMachineThatTakesNoLongFrames(_ family: Family, _ isTold: Bool) throws {
        try withNetwork { network in
            try network.remote.serveTests()
            let socket = network.path("s")
            let passt = try network.passt(["-f", "--socket", socket, "-u", "8080:4000"] + (isTold ? ["--mtu", "1500"] : []))
            let machine = try Machine(network, "vm", socket: socket, control: "short")
            try machine.configure()
            if !isTold { try machine.host.run(["ip", "link", "set", "eth0", "mtu", "1500"]).check() }
            try machine.client("udp-sizes", family.server, 4000, 1452, 1472, 1473, 4000, 9000, 65000).check()
            for size in [1400, 3000, 20_000] {
                let output = try machine.host.run(["ping", family.flag, "-n", "-c", "3", "-i", "0.2", "-W", "3", "-s", "\(size)", family.server])
                #expect(output.out.contains("3 received"), "\(output)")
            }
            // And what others send first.
            try machine.serveTests()
            try network.remote.client("udp-sizes", family.hostAddress, 8080, 1452, 4000, 9000).check()
            passt.send(SIGTERM)
            _ = passt.wait()
        }
    }

    /// The guest is a router, and the link behind it takes less than the hosts at the ends suppose: it says so, and is heeded.
    @Test(arguments: Family.allCases)
    func lesson62_aSmallLinkBehindTheGuest(_ family: Family) throws {
        try withNetwork { network in
            try network.remote.serveTests()
            let target = try Target(network, .name)
            let pasta = try target.joinInForeground(["-t", "none", "-u", "none", "-T", "none", "-U", "none"])
            let last = try network.addHostsBehindGuest()
            #expect(try last.client("ask", family.server, 4000, "whoami").check().text == family.hostAddress)
            for what in ["receive", "duplex"] { try last.client(what, family.server, 4000, 4 << 20).check() }
            try last.client("udp-sizes", family.server, 4000, 1200, 4000).check()
            pasta.send(SIGTERM)
            _ = pasta.wait()
        }
    }
}
