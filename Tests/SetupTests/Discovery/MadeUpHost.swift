import Linux
import Settings
import Setup
import Wire

func ip(_ text: String) -> IPAddress {
    guard let address = IPAddress(text) else { fatalError("\(text) is no address") }
    return address
}

func link(_ index: Int32, _ name: String, up: Bool = true, loopback: Bool = false) -> Link {
    Link(index: index, name: name, flags: (up ? 0x41 : 0) | (loopback ? 8 : 0), mtu: 1500, mac: MACAddress(0x0200_5e10_0000 | UInt64(index)), type: 1)
}

/// `198.51.100.7/24` on an interface.
func own(
    _ index: Int32, _ text: String, _ flags: InterfaceAddress.Flags = [], scope: UInt8 = 0, peer: String? = nil
) -> InterfaceAddress {
    let parts = text.split(separator: "/")
    let address = ip(String(parts[0]))
    var result = InterfaceAddress(
        index: index, family: address.isIPv4 ? .ipv4 : .ipv6, address: address, prefixLength: Int(parts[1]) ?? 0, scope: scope, flags: flags)
    result.peer = peer.map(ip)
    return result
}

/// `default` or `10.0.0.0/8` through an interface, with what the test is about set by `change`.
func route(
    _ text: String, _ family: IPFamily = .ipv4, dev index: Int32, via gateway: String? = nil, metric: UInt32 = 0, proto: UInt8 = 4,
    _ change: (inout Route) -> Void = { _ in }
) -> Route {
    let parts = text.split(separator: "/")
    var result = Route(family: family, hops: [NextHop(index: index, gateway: gateway.map(ip))])
    if parts.count == 2 {
        result.destination = ip(String(parts[0]))
        result.prefixLength = Int(parts[1]) ?? 0
        result.family = ip(String(parts[0])).isIPv4 ? .ipv4 : .ipv6
    }
    result.metric = metric
    result.proto = proto
    change(&result)
    return result
}

/// A host with `lo` and two Ethernets, 2 and 3. eth0 has one address and a default route of each family.
func plainHost() -> HostFacts {
    HostFacts(
        links: [link(1, "lo", loopback: true), link(2, "eth0"), link(3, "eth1")],
        addresses: [
            own(1, "127.0.0.1/8", scope: 254), own(2, "198.51.100.7/24"),
            own(1, "::1/128", scope: 254), own(2, "2001:db8:1::7/64"), own(2, "fe80::7/64", scope: 253),
        ],
        routes: [
            route("default", dev: 2, via: "198.51.100.1"),
            route("198.51.100.0/24", dev: 2, proto: 2) { $0.scope = 253; $0.preferredSource = ip("198.51.100.7") },
            route("fe80::/64", dev: 2, metric: 256, proto: 2),
            route("fe80::/64", dev: 3, metric: 256, proto: 2),
            route("2001:db8:1::/64", dev: 2, metric: 256, proto: 2),
            route("default", .ipv6, dev: 2, via: "fe80::1", metric: 1024, proto: 9) { $0.expires = 180_000 },
        ])
}

func emptyHost() -> HostFacts {
    HostFacts(
        links: [link(1, "lo", loopback: true)], addresses: [own(1, "127.0.0.1/8", scope: 254), own(1, "::1/128", scope: 254)], routes: [])
}

func options(_ change: (inout Options) -> Void = { _ in }) -> Options {
    var options = Options()
    change(&options)
    return options
}
