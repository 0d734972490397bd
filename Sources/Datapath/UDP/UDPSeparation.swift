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

/// The listener that a client has come by.
struct UDPOrigin: BitwiseCopyable {
    var socket = Descriptor.none
    /// Its index + 1; 0: none.
    var number: UInt32 = 0
    var port: UInt16 = 0
    /// Index of the only interface that it hears; 0: any.
    var interface: Int32 = 0

    init() {}

    init(_ listener: ListenerEntry, _ index: Int) {
        socket = listener.socket
        number = UInt32(truncatingIfNeeded: index + 1)
        port = listener.port
        interface = listener.interface
    }

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
            sharedCount -= 1
            separated[Int(flow.origin.number)] += 1
            claimPort(index)
        } catch {
            // One try each.
            table[index].flags.insert(.staysWithListener)
            if error.isLackOfDescriptors { lacksDescriptors = true }
        }
    }

    /// A listener that comes back finds the port in the hands of flows that may share it.
    mutating func claimPort(_ index: Int) {
        let flow = table[index]
        guard flow.origin.port == flow.key.guestPort else { return }
        table[index].flags.insert(.claimsPort)
        ports.claim(flow.key.guestPort, isIPv4: flow.remote.address.isIPv4)
    }

    private func openSeparate(_ index: Int, coalesces: Bool) throws(Errno) -> Descriptor {
        let flow = table[index]
        let tag = EventTag(.udp, index: index, generation: table.generation(of: index))
        let socket = try openBeside(Endpoint(flow.contacted, flow.origin.port), flow.remote, scope: flow.scope, coalesces: coalesces)
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
    func openBeside(_ local: Endpoint, _ client: Endpoint, scope: Int32, coalesces: Bool) throws(Errno) -> Descriptor {
        let socket = try Descriptor.socket(.datagram, for: client.address)
        do throws(Errno) {
            let isIPv4 = client.address.isIPv4
            if !isIPv4 { try socket.setIPv6Only() }
            try socket.setReportErrors(isIPv4: isIPv4)
            try socket.setMayFragment(isIPv4: isIPv4)
            if coalesces { try? socket.setCoalescing() }
            if translation.freebind { try socket.setFreebind(isIPv4: isIPv4) }
            try socket.setReuseAddress()
            try socket.bind(SocketAddress(local, scope: scope))
            _ = try socket.connect(SocketAddress(client, scope: scope))
            return socket
        } catch {
            socket.close()
            throw error
        }
    }
}
