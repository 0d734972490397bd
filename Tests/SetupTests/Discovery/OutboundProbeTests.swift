import CLinux
import Linux
import Settings
import Testing
import Wire

@testable import Setup

/// Sockets are bound to loopback only, or to what is not there.
@Suite struct OutboundProbeTests {
    private func network(_ change: (inout Network.Family<IPv4Address>) -> Void) -> Network {
        var network = Network(gatewayMAC: Network.defaultGatewayMAC, routerLinkLocal: .any, mtu: 1500)
        var family = Network.Family(address: IPv4Address.loopback, prefixLength: 8, gateway: nil)
        change(&family)
        network.ipv4 = family
        return network
    }

    @Test func anAddressThatTheHostLacksIsWarnedOf() throws {
        var lacking = network { $0.outboundAddress = IPv4Address("192.0.2.99") }
        #expect(try OutboundProbe.run(lacking) == ["--outbound 192.0.2.99: the host has no such address, so nothing can leave until it has"])
        lacking.freebind = true
        #expect(try OutboundProbe.run(lacking).isEmpty)
        #expect(try OutboundProbe.run(network { $0.outboundAddress = .loopback }).isEmpty)
        #expect(try OutboundProbe.run(network { _ in }).isEmpty)
    }

    /// There is no interface below zero, which the kernel does look at. That there is one of a number it does not.
    @Test func anInterfaceThatSocketsCannotBeBoundToIsAnError() throws {
        func bound(to index: Int32) -> Network {
            network {
                $0.outboundInterface = "wan0"
                $0.outboundInterfaceIndex = index
            }
        }
        #expect(try OutboundProbe.run(bound(to: Link.loopbackIndex)).isEmpty)
        #expect(throws: SetupError(.discovery, "Couldn't bind a socket to interface wan0 for option --outbound-if4: Invalid argument")) {
            try OutboundProbe.run(bound(to: -1))
        }
    }

    @Test func oldKernelsAreTold() {
        #expect(OutboundProbe.hint(Errno(EPERM)) == "which takes root's rights before Linux 5.7, --outbound with an address of the interface does without")
        #expect(OutboundProbe.hint(Errno(ENOPROTOOPT)) == "which takes Linux 5.1, --outbound with an address of the interface does without")
        #expect(OutboundProbe.hint(Errno(ENODEV)) == nil)
    }
}
