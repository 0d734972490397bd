import Testing
import Wire

@testable import Datapath

/// Which of the host's addresses is the host's.
@Suite struct HostAddressTests {
    private static let (a, b, c) = (
        IPAddress(IPv4Address("198.51.100.1")!), IPAddress(IPv4Address("198.51.100.2")!), IPAddress(IPv4Address("172.17.0.1")!)
    )

    @Test func theModelsCountsUntilItIsGone() {
        var host = HostAddress(Self.a)
        host.note(Self.c, isOnTemplate: false)
        host.note(Self.b, isOnTemplate: true)
        #expect(host.address == Self.a)
        host.forget(Self.a)
        #expect(host.address == Self.b)
        // An address that comes back is the next one.
        host.note(Self.a, isOnTemplate: true)
        host.forget(Self.b)
        #expect(host.address == Self.a)
        host.forget(Self.a)
        #expect(host.address == Self.c)
        host.forget(Self.c)
        #expect(host.address == nil)
    }

    /// The bridge of containers may have an address before the network has.
    @Test func theModelsComesFirst() {
        var host = HostAddress(nil)
        host.note(Self.c, isOnTemplate: false)
        #expect(host.address == Self.c)
        host.note(Self.a, isOnTemplate: true)
        #expect(host.address == Self.a)
        host.forget(Self.a)
        #expect(host.address == Self.c)
        host.note(Self.b, isOnTemplate: true)
        #expect(host.address == Self.b)
    }

    @Test func whatIsNotInUseIsForgottenToo() {
        var host = HostAddress(Self.a)
        host.note(Self.b, isOnTemplate: true)
        host.forget(Self.b)
        host.forget(Self.c)
        #expect(host.address == Self.a)
        host.forget(Self.a)
        #expect(host.address == nil)
    }

    /// A guest without an address of IPv6 has `::`, which Linux takes for loopback.
    @Test func noAddressIsNone() {
        #expect(HostAddress(IPAddress(IPv6Address.any)).address == nil)
    }

    /// Not only the next one is known.
    @Test func manyComeAndGo() {
        var host = HostAddress(nil)
        let addresses = (1...8).map { IPAddress(IPv4Address(0xc633_6400 + UInt32($0))) }
        for (number, address) in addresses.enumerated() { host.note(address, isOnTemplate: number % 2 == 1) }
        #expect(host.address == addresses[1])
        host.note(Self.c, isOnTemplate: true)
        for (gone, next) in [(1, 7), (7, 5), (5, 3), (0, 3), (3, 2), (2, 4), (4, 6)] {
            host.forget(addresses[gone])
            #expect(host.address == addresses[next], "\(gone)")
        }
        host.forget(addresses[6])
        #expect(host.address == nil)
        host.note(Self.c, isOnTemplate: false)
        #expect(host.address == Self.c)
    }
}
