import Settings
import Testing
import Wire

@testable import Datapath

@Suite struct GuestIdentityTests {
    /// A container behind the guest, or a router, has addresses of its own.
    @Test(arguments: [true, false]) func lesson42_anAddressThatIsGivenIsNotOverridden(_ isFixed: Bool) {
        var network = TCPScript.network(mtu: 1500)
        network.ipv4?.isFixed = isFixed
        network.ipv6?.isFixed = isFixed
        var guest = GuestIdentity(network)
        let (own4, own6) = (guest.ipv4, guest.ipv6)
        let (other4, other6) = (IPv4Address("10.89.0.2")!, IPv6Address("2001:db8::77")!)
        guest.note(other4)
        guest.note(other6)
        guest.note(IPv6Address("fe80::77")!)
        #expect(guest.ipv4 == (isFixed ? own4 : other4) && guest.ipv6 == (isFixed ? own6 : other6))
        // What it makes itself, nobody can give it.
        #expect(guest.linkLocal == IPv6Address("fe80::77"))
    }
}
