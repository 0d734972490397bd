internal import Linux
internal import Wire

// Where a flow's datagrams come from. connect(2) has chosen one of the host's addresses, and the socket keeps that for good, although a host changes its networks,
// and IPv6's temporary addresses last for a day. Without an address, IPv4 refuses to send, and IPv6 sends what no answer can come to. A flow that is in use would
// never end by that, so its socket is connected anew, and its next datagram leaves from where the host is now.

extension UDPTranslator {
    /// The host has lost `address`.
    mutating func abandon(_ address: IPAddress) {
        for index in 0..<table.highWater where table.isUsed(index) && table[index].remote.address.isIPv4 == address.isIPv4 && choosesSource(table[index]) {
            if table[index].socket.sends(from: address) { reconnect(index) }
        }
    }

    /// The host may have lost an address that flows send from: each chooses again.
    mutating func distrustSources() {
        for index in 0..<table.highWater where table.isUsed(index) && choosesSource(table[index]) { reconnect(index) }
    }

    /// The host's interface of index `interface` is gone. Flows that are bound to it can send nothing more, and their next datagrams make others.
    mutating func leave<Link: GuestLink & ~Copyable>(_ interface: Int32, _ port: inout GuestPort<Link>) {
        for index in 0..<table.highWater where table.isUsed(index) {
            let flow = table[index]
            guard flow.flags.isDisjoint(with: [.byListener, .inbound]) else { continue }
            if translation.family(of: flow.remote.address).needs(interface, towards: flow.remote.address) { close(index, &port) }
        }
    }

    /// The source is of nobody's choice but the kernel's.
    func choosesSource(_ flow: UDPFlow) -> Bool {
        flow.isConnected && flow.flags.isDisjoint(with: [.byListener, .inbound]) && translation.family(of: flow.remote.address).outboundAddress == nil
    }

    /// What a flow's socket is connected to.
    func peer(_ remote: Endpoint) -> SocketAddress {
        SocketAddress(remote, scope: translation.scope(of: remote.address))
    }

    mutating func reconnect(_ index: Int) {
        let remote = table[index].remote
        // Where there is no way now, the next datagram tries again: a socket that is not connected refuses it.
        try? table[index].socket.reconnect(
            to: peer(remote), over: translation.family(of: remote.address).outboundInterface(towards: remote.address))
        // A source that is not there looks like a message that cannot be cut.
        table[index].segmentLimit = .max
    }
}
