internal import Linux
internal import Wire

// How a client of a forwarded port comes to a socket of its own.
//
//      listener  0.0.0.0:53                     a client's first datagrams, and the guest's first answer
//      flow      198.51.100.1:53 > client:1234  the rest, once either side goes on
//
// A socket of its own is bound to the very address that the client has contacted (lesson 31), and connected to the client: it hears of errors, has a hop
// limit and a type of service for itself, and takes many datagrams in one call. But the kernel keeps all of them in one list, by their port: with ten
// thousand, each bind and each datagram of somebody new is 100 microseconds of searching. Who asks once and is answered once needs none of it, and who is
// somebody else with each datagram takes nothing but an entry in the table (lesson 56).
//
// Where a port may not be bound a second time, as one below 1024 without the right to it, the listener speaks for its clients for good.
//
// Between its bind and its connect, a flow's socket may be given datagrams of other clients: those are treated as if they had come to the listener
// (lesson 32).

/// How a client has come to us.
struct UDPOrigin: BitwiseCopyable {
    /// The listener's; none for what a socket of the guest's own has taken.
    var socket = Descriptor.none
    /// Its index + 1; 0: none.
    var number: UInt32 = 0
    /// Index of the only interface that it hears; 0: any.
    var interface: Int32 = 0
    /// The interface by which a link-local client is reached; 0 for others.
    var scope: Int32 = 0
    /// Our end that the client has contacted.
    var local = Endpoint(IPAddress(IPv4Address.any), 0)

    var isListener: Bool { @_noAllocation @_noLocks get { number != 0 } }
}

extension UDPTranslator {
    /// Clients of one listener that have sockets of their own. A search among as many takes two microseconds.
    static var mostSeparated: UInt32 { 256 }
    /// So many datagrams without an answer are a stream of one direction.
    static var mostArrivals: UInt8 { 8 }

    /// A client has sent something.
    mutating func noteArrival<Link: GuestLink & ~Copyable>(_ index: Int, _ port: inout GuestPort<Link>) {
        guard table[index].flags.contains(.byListener) else { return }
        if table[index].arrivals < UDPTranslator.mostArrivals { table[index].arrivals += 1 }
        if table[index].flags.contains(.answered) || table[index].arrivals == UDPTranslator.mostArrivals { separate(index, &port) }
    }

    /// Gives a flow a socket of its own, where there is room for one.
    mutating func separate<Link: GuestLink & ~Copyable>(_ index: Int, _ port: inout GuestPort<Link>) {
        let flow = table[index]
        guard !flow.flags.contains(.staysWithListener), separated[Int(flow.origin.number)] < UDPTranslator.mostSeparated else { return }
        do throws(Errno) {
            let socket = try openSeparate(index, coalesces: port.offloads.contains(.udpSegmentation))
            forgetUse(index)
            table[index].socket = socket
            table[index].flags.remove(.byListener)
            noteUse(index)
            separated[Int(flow.origin.number)] += 1
            // A listener that comes back finds the port in the hands of flows that may share it.
            if flow.origin.local.port == flow.key.guestPort {
                table[index].flags.insert(.claimsPort)
                ports.claim(flow.key.guestPort, isIPv4: flow.remote.address.isIPv4)
            }
        } catch {
            // One try each.
            table[index].flags.insert(.staysWithListener)
            if error.isLackOfDescriptors { lacksDescriptors = true }
        }
    }

    private func openSeparate(_ index: Int, coalesces: Bool) throws(Errno) -> Descriptor {
        let flow = table[index]
        let tag = EventTag(.udp, index: index, generation: table.generation(of: index))
        let socket = try openBeside(flow.origin, flow.remote, coalesces: coalesces)
        do throws(Errno) {
            if flow.origin.interface > 0 { try socket.bindToInterface(index: flow.origin.interface) }
            try epoll.add(socket, .input, tag: tag.bits)
            return socket
        } catch {
            socket.close()
            throw error
        }
    }

    /// A socket bound to what a client has contacted, and connected to the client.
    func openBeside(_ origin: UDPOrigin, _ client: Endpoint, coalesces: Bool) throws(Errno) -> Descriptor {
        let socket = try Descriptor.socket(.datagram, for: client.address)
        do throws(Errno) {
            let isIPv4 = client.address.isIPv4
            if !isIPv4 { try socket.setIPv6Only() }
            try socket.setReportErrors(isIPv4: isIPv4)
            try socket.setMayFragment(isIPv4: isIPv4)
            if coalesces { try? socket.setCoalescing() }
            if translation.freebind { try socket.setFreebind(isIPv4: isIPv4) }
            try socket.setReuseAddress()
            try sharing.share(origin.local.port) { () throws(Errno) in try socket.bind(SocketAddress(origin.local, scope: origin.scope)) }
            _ = try socket.connect(SocketAddress(client, scope: origin.scope))
            return socket
        } catch {
            socket.close()
            throw error
        }
    }
}
