internal import Linux
internal import Wire

// TFTP (RFC 1350, section 4): who is asked at port 69 answers from a port that it takes for this transfer, and both sides go on with that one.
//
//      guest:p  --request-->  server:69    a flow whose socket is bound to p, but not connected
//      guest:p  <--DATA 1---  server:q     by that socket, from whichever port of the server's: the guest sees q
//      guest:p  --ACK 1---->  server:q     an ordinary flow: its socket is bound to p, too, and connected to q
//      guest:p  <--DATA 2---  server:q     by this one: of all that are bound to p, the kernel prefers the one that is connected to the sender
//
// What comes from q before the second socket is there waits in the queue of the first one, and is passed on from there whenever that is read. What comes between the
// second one's bind and its connect is in its own queue, and from its remote by the time that it is read (lesson 32). To the guest, all of it is from q.
//
// Where p is somebody else's on the host, both sockets have another port, as all flows of p (`PortSubstitutes`).

extension UDPTranslator {
    private static var requestPort: UInt16 { 69 }

    /// Whether the answer may come from another port. From port 69 of its own, the guest might speak to itself: such a flow is as any other.
    func beginsTransfer(_ datagram: GuestDatagram) -> Bool {
        datagram.key.remotePort == UDPTranslator.requestPort && datagram.key.guestPort != UDPTranslator.requestPort && !datagram.isForMany
    }

    /// A transfer flow's key with the sender's port; nil for who was not asked.
    func transferKey(from source: Endpoint, _ flow: UDPFlow) -> FlowKey? {
        guard source.address == flow.remote.address else { return nil }
        var key = flow.key
        key.remotePort = source.port
        return key
    }
}
