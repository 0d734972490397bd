import CLinux
import Testing
import Wire

@testable import Linux

@Suite struct ReconnectTests {
    /// The kernel forgets the interface that a socket is bound to when it is connected to nobody.
    @Test(arguments: [IPAddress(IPv4Address.loopback), IPAddress(IPv6Address.loopback)])
    func lesson65_theInterfaceStays(_ loopback: IPAddress) throws {
        let remote = SocketAddress(Endpoint(loopback, 9))
        let socket = try Descriptor.socket(.datagram, for: loopback)
        defer { socket.close() }
        try socket.bindToInterface(index: 1)  // lo
        _ = try socket.connect(remote)
        try socket.reconnect(to: remote, over: 1)
        #expect(try socket.get(SOL_SOCKET, SO_BINDTOIFINDEX) == 1)
        #expect(socket.sends(from: loopback))
        try socket.reconnect(to: remote, over: nil)
        #expect(try socket.get(SOL_SOCKET, SO_BINDTOIFINDEX) == 0)
    }

    /// Without the interface, nobody is connected to, and nothing leaves by another.
    @Test func nothingLeavesWithoutTheInterface() throws {
        let remote = SocketAddress(Endpoint(IPAddress(IPv4Address.loopback), 9))
        let socket = try Descriptor.socket(.datagram, for: IPAddress(IPv4Address.loopback))
        defer { socket.close() }
        _ = try socket.connect(remote)
        #expect(throws: Errno(EINVAL)) { try socket.reconnect(to: remote, over: -1) }
        let datagram: [UInt8] = [1]
        // SAFETY: bytes may be read as bytes.
        let outcome = socket.send(unsafe datagram.span.bytes)
        #expect(outcome.error == Errno(EDESTADDRREQ))
    }
}
