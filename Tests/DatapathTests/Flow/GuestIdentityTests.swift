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

    private static let offered = IPv6Address("2001:db8::2")!
    private static let own = IPv6Address("2001:db8::5054:ff:fe12:3456")!

    /// Until it has shown one, the address that it makes itself is where it is expected.
    @Test func theAddressThatItLooksFor() {
        var guest = GuestIdentity(TCPScript.network(mtu: 1500))
        // Of other networks it tells nothing.
        for text in ["2001:db8:0:1::2", "fe80::2", "fd00::2"] { guest.expect(IPv6Address(text)!) }
        #expect(guest.ipv6 == Self.offered)
        for address in [IPv6Address("2001:db8::99")!, Self.own] {
            guest.expect(address)
            #expect(guest.ipv6 == address)
        }
        // The one that it is offered is better, and one that it uses is best.
        guest.expect(Self.offered)
        guest.expect(Self.own)
        #expect(guest.ipv6 == Self.offered)
        guest.note(Self.own)
        guest.expect(Self.offered)
        #expect(guest.ipv6 == Self.own)
    }

    @Test func anAddressThatIsGivenStays() {
        var network = TCPScript.network(mtu: 1500)
        network.ipv6?.isFixed = true
        var guest = GuestIdentity(network)
        guest.expect(Self.own)
        #expect(guest.ipv6 == Self.offered)
        // Nothing is offered where it has only what it makes itself, and nothing is known without IPv6.
        network.ipv6?.isFixed = false
        network.ipv6?.address = nil
        guest = GuestIdentity(network)
        guest.expect(Self.own)
        #expect(guest.ipv6 == nil)
    }
}
