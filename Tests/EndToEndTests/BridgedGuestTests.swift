import Glibc
import Testing

/// Others behind the guest's link, each with a link address of its own.
@Suite struct BridgedGuestTests {
    /// A machine and one that is bridged behind it talk to the outside at the same time: neither gets what is for the other.
    @Test(arguments: Family.allCases)
    func lesson66_twoBehindOneLink(_ family: Family) throws {
        try withNetwork { network in
            try network.remote.serveTests()
            let socket = network.path("s")
            let passt = try network.passt(["-f", "--socket", socket, "--mtu", "1500"])
            let machine = try Machine(network, "vm", socket: socket)
            let last = try network.addHost("last")
            try network.run(["sh", "-eu", Helpers.path("bridged.sh"), network.name]).check()
            try machine.host.sh("ip link set eth0 master br0; sysctl -q net.ipv6.conf.eth0.disable_ipv6=1").check()
            try machine.host.run(["udhcpc", "-f", "-q", "-n", "-t", "5", "-T", "1", "-i", "br0", "-s", Helpers.path("udhcpc-script")]).check()
            let host = machine.host
            try require("an address by SLAAC") {
                (try? host.run(["ip", "-6", "addr", "show", "dev", "br0", "scope", "global"]))?.out.contains("inet6") == true
            }
            let words = ["python3", Helpers.path("client.py")]
            for what in ["receive", "duplex", "send"] {
                let transfers = try [host, last].map { try $0.start(words + [what, family.server, "4000", "\(4 << 20)"]) }
                for transfer in transfers { try transfer.wait(seconds: 30).check() }
            }
            for _ in 0..<3 {
                for place in [host, last] { try place.client("udp-sizes", family.server, 4000, 100, 3000).check() }
            }
            passt.send(SIGTERM)
            _ = passt.wait()
        }
    }
}
