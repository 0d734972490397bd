import CLinux
import Settings
import Wire

@testable import Datapath
@testable import Linux
@testable import Setup

func fuzzTCP(_ input: [UInt8]) {
    // SAFETY: bytes may be read as bytes.
    let bytes = unsafe input.span.bytes
    guard let first = input.first else { return }
    guard let header = TCPHeader(bytes, at: Int(first & 7), end: input.count) else { return }
    precondition(header.payloadLength >= 0 && header.payloadOffset + header.payloadLength == input.count)
}

/// Words separated by zeros.
func fuzzOptions(_ input: [UInt8]) {
    let words = input.split(separator: 0, omittingEmptySubsequences: false).prefix(16).map { String(decoding: $0, as: UTF8.self) }
    for program in [Program.pasta, .passt] { _ = try? Options.parse(arguments: ["pasta"] + words, program: program) }
}

/// One value. What it is taken apart to lies within the ports that there are, and keeps away from what it excludes.
func fuzzPorts(_ input: [UInt8]) {
    let text = String(decoding: input.prefix(512), as: UTF8.self)
    guard let spec = try? PortSpec(text) else { return }
    for kind in [PortOption.Kind.tcpIn, .udpOut] {
        guard let rules = try? spec.rules(kind, text: text) else { continue }
        for rule in rules {
            precondition(rule.first >= 1 && rule.first <= rule.last)
            precondition((1...65535).contains(Int(rule.first) + rule.targetOffset) && (1...65535).contains(Int(rule.last) + rule.targetOffset))
            precondition(!spec.exclusions.contains { $0.overlaps(rule.ports) })
        }
    }
}

func fuzzResolver(_ input: [UInt8]) {
    let file = ResolvConf(input)
    precondition(file.nameservers.count <= ResolvConf.maximumNameservers && file.searchDomains.count <= ResolvConf.maximumDomains)
}

/// A forwarder as a virtual machine's program has it.
func fuzzForwarder<Link: GuestLink & ~Copyable>(_ link: consuming Link) -> Forwarder<Link, KernelSockets> {
    let (epoll, network) = (try! Epoll(), fuzzNetwork())
    return try! Forwarder(
        link: link, sockets: KernelSockets(epoll: epoll, retries: network.retries), epoll: epoll, network: network, flows: 64, descriptors: 1024,
        now: monotonicNanoseconds() / 1_000_000)
}

/// Two ends of a local connection that never wait.
func fuzzSocketPair(_ kind: __socket_type = SOCK_STREAM) -> (ours: Descriptor, theirs: Descriptor) {
    var pair: [Int32] = [-1, -1]
    // SAFETY: the array has the two elements that are written.
    precondition(unsafe linux_socketpair(AF_UNIX, Int32(kind.rawValue) | Int32(SOCK_NONBLOCK.rawValue), 0, &pair) == 0)
    return (Descriptor(pair[0]), Descriptor(pair[1]))
}

/// A guest on a link that has everything.
func fuzzNetwork() -> Network {
    var network = Network(gatewayMAC: Network.defaultGatewayMAC, routerLinkLocal: IPv6Address("fe80::1")!, mtu: 65520)
    var ipv4 = Network.Family(address: IPv4Address("192.0.2.2")!, prefixLength: 24, gateway: IPv4Address("192.0.2.1")!)
    ipv4.mapHostLoopback = ipv4.gateway
    ipv4.resolvers = [IPv4Address("192.0.2.53")!]
    ipv4.mapGuestAddress = IPv4Address("192.0.2.77")!
    network.ipv4 = ipv4
    var ipv6 = Network.Family(address: IPv6Address("2001:db8::2")!, prefixLength: 64, gateway: IPv6Address("2001:db8::1")!)
    ipv6.mapHostLoopback = ipv6.gateway
    ipv6.resolvers = [IPv6Address("2001:db8::53")!]
    network.ipv6 = ipv6
    network.advertiseResolvers = true
    network.advertiseSearch = true
    network.searchDomains = ["example.org", "a.test"]
    network.hostname = "box"
    network.fqdn = "box.example.org"
    return network
}

struct LocalTarget {
    private let services = LocalServices(fuzzNetwork())

    /// Every service sees every frame.
    func run(_ input: [UInt8]) {
        // SAFETY: bytes may be read and written as bytes.
        let frame = unsafe input.span.bytes
        var storage = [UInt8](repeating: 0, count: LocalServices.maximumReply)
        var span = storage.mutableSpan
        var reply = unsafe span.mutableBytes
        let lengths = [
            services.arp(frame, into: &reply), services.neighbourSolicitation(frame, into: &reply),
            services.routerSolicitation(frame, into: &reply), services.dhcp(frame, into: &reply), services.dhcpv6(frame, into: &reply),
        ]
        precondition(lengths.allSatisfy { $0 == nil || (14...LocalServices.maximumReply).contains($0!) })
    }
}
