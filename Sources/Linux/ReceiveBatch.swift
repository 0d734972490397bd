internal import CLinux
public import Wire

/// Datagrams to be received by one call, each into a piece of a mapping.
@safe
public struct ReceiveBatch: ~Copyable {
    private static var controlSize: Int { 128 }

    private var headers: FixedTable<MessageHeader>
    private var vectors: FixedTable<MessagePiece>
    private var names: FixedTable<SocketAddress>
    private var controls: Mapping
    /// Bytes for each datagram's control messages.
    private let controlLength: Int
    /// Pieces to fill.
    public private(set) var count = 0
    public let capacity: Int

    /// Without `takesControls`, the kernel keeps what would come beside the bytes to itself: descriptors that a peer sends (SCM_RIGHTS) are closed, where
    /// otherwise they would stay open here, and nobody would know of them.
    public init(capacity: Int, takesControls: Bool = true) throws(Errno) {
        let controlLength = takesControls ? ReceiveBatch.controlSize : 0
        let headers = try FixedTable<MessageHeader>(count: capacity)
        let vectors = try FixedTable<MessagePiece>(count: capacity)
        let names = try FixedTable<SocketAddress>(count: capacity)
        let controls = try Mapping(byteCount: capacity * controlLength)
        self.headers = headers
        self.vectors = vectors
        self.names = names
        self.controls = controls
        self.controlLength = controlLength
        self.capacity = capacity
    }

    public mutating func removeAll() { count = 0 }

    /// Adds room for one datagram: `length` bytes at `offset` of `mapping`, which must stay in place until `receive` returns.
    /// Precondition: fewer than `capacity` so far; a range outside of the mapping traps.
    public mutating func append(_ mapping: borrowing Mapping, offset: Int, length: Int) {
        precondition(mapping.holds(length, at: offset))
        // SAFETY: the range was just checked against the mapping.
        unsafe vectors[count] = MessagePiece(address: UInt(bitPattern: mapping.base + offset), length: UInt(length))
        count += 1
    }

    /// Receives up to `count` datagrams: how many there were. An error may be one that an earlier datagram met on its way.
    public mutating func receive(on socket: Descriptor) -> Outcome {
        if count == 0 { return Outcome(0) }
        for index in 0..<count {
            var header = MessageHeader()
            header.name = names.address(of: index)
            header.nameLength = SocketAddress.capacity
            header.vectors = vectors.address(of: index)
            header.vectorCount = 1
            if controlLength > 0 {
                // SAFETY: each message has `controlLength` bytes of the mapping for itself.
                unsafe header.control = UInt(bitPattern: controls.base + index * controlLength)
                header.controlLength = UInt(controlLength)
            }
            headers[index] = header
        }
        let start = unsafe headers.pointer(at: 0)
        let number = UInt32(truncatingIfNeeded: count)
        // SAFETY: the headers point into this value's tables and to pieces that the caller keeps in place.
        return Outcome(Int(restarting { unsafe linux_recvmmsg(socket.number, start, number, Int32(MSG_DONTWAIT)) }))
    }

    // MARK: What was received

    /// Bytes in the piece.
    public func length(_ index: Int) -> Int { Int(headers[index].length) }

    /// The datagram was longer than its piece.
    public func isTruncated(_ index: Int) -> Bool { headers[index].flags & Int32(MSG_TRUNC) != 0 }

    public func source(_ index: Int) -> Endpoint? { names[index].endpoint }

    /// The interface that a link-local source is reached by; 0 for other sources.
    public func sourceScope(_ index: Int) -> Int32 { Int32(truncatingIfNeeded: names[index].scope) }

    /// The size of each datagram of several that arrived as one (UDP_GRO, Linux 5.0), the last of which may be shorter; 0 for a single one.
    public func segmentSize(_ index: Int) -> Int {
        var size: Int32 = 0
        return control(index, Int32(IPPROTO_UDP), UDP_GRO, into: &size) ? Int(max(size, 0)) : 0
    }

    /// The address that the datagram was sent to, and whether it is one of our own, not that of a group; nil unless asked for
    /// with `setPacketInformation`.
    public func destination(_ index: Int) -> (address: IPAddress, isOwn: Bool)? {
        var information = in_pktinfo()
        if control(index, Int32(IPPROTO_IP), IP_PKTINFO, into: &information) {
            let address = IPv4Address(UInt32(bigEndian: information.ipi_addr.s_addr))
            // For groups and broadcast, the kernel names the local address beside the one in the header.
            return (IPAddress(address), information.ipi_addr.s_addr == information.ipi_spec_dst.s_addr)
        }
        var words = IPv6PacketInformation()
        guard control(index, Int32(IPPROTO_IPV6), IPV6_PKTINFO, into: &words) else { return nil }
        let address = IPAddress(IPv6Address(high: UInt64(bigEndian: words.high), low: UInt64(bigEndian: words.low)))
        return (address, !address.isMulticast)
    }

    /// `struct in6_pktinfo`
    private struct IPv6PacketInformation: BitwiseCopyable {
        var high: UInt64 = 0
        var low: UInt64 = 0
        var interface: UInt32 = 0
    }

    private func control<Value: BitwiseCopyable>(_ index: Int, _ level: Int32, _ type: Int32, into value: inout Value) -> Bool {
        let header = unsafe headers.pointer(at: index)
        // SAFETY: the header's control messages lie in `controls`, as long as the kernel said; no more than the value's size is copied.
        let length = unsafe linux_cmsg_get(&header.pointee.msg_hdr, level, type, &value, MemoryLayout<Value>.size)
        return length >= MemoryLayout<Value>.size
    }
}
