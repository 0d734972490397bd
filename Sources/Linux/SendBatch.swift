internal import CLinux
public import Wire

/// Datagrams to be sent by one call. First payloads are noted where they lie, then messages are made of them, in any order;
/// consecutive datagrams of one size can be one message that the kernel cuts (UDP_SEGMENT, Linux 4.18).
@safe
public struct SendBatch: ~Copyable {
    /// A control message with the size to cut to.
    private struct SegmentControl: BitwiseCopyable {
        var length: UInt
        var level: Int32
        var type: Int32
        var size: UInt16
        var padding: (UInt16, UInt32) = (0, 0)
    }

    /// A control message with the address to send from: `struct in_pktinfo` or `in6_pktinfo`.
    private struct SourceControl: BitwiseCopyable {
        var length: UInt
        var level: Int32
        var type: Int32
        var words: (UInt32, UInt32, UInt32, UInt32, UInt32)
        var padding: UInt32 = 0
    }

    private var payloads: FixedTable<MessagePiece>
    public private(set) var payloadCount = 0
    private var headers: FixedTable<MessageHeader>
    private var vectors: FixedTable<MessagePiece>
    private var controls: FixedTable<SegmentControl>
    private var name: FixedTable<SocketAddress>
    private var source: FixedTable<SourceControl>
    /// Messages so far.
    public private(set) var count = 0
    private var vectorCount = 0

    /// Room for `payloads` noted payloads and `messages` messages.
    public init(payloads: Int, messages: Int) throws(Errno) {
        let noted = try FixedTable<MessagePiece>(count: payloads)
        let headers = try FixedTable<MessageHeader>(count: messages)
        // A message that ends within a payload makes one piece more.
        let vectors = try FixedTable<MessagePiece>(count: payloads + messages)
        let controls = try FixedTable<SegmentControl>(count: messages)
        let name = try FixedTable<SocketAddress>(count: 1)
        let source = try FixedTable<SourceControl>(count: 1)
        self.payloads = noted
        self.headers = headers
        self.vectors = vectors
        self.controls = controls
        self.name = name
        self.source = source
    }

    public var hasRoomForPayload: Bool { payloadCount < payloads.count }
    public var isFull: Bool { count == headers.count || vectorCount == vectors.count }

    /// Notes `length` bytes at `offset` of `mapping`, which must stay in place until `forgetPayloads`: the payload's number.
    /// Precondition: `hasRoomForPayload`. A range outside of the mapping traps.
    public mutating func note(_ mapping: borrowing Mapping, offset: Int, length: Int) -> Int {
        precondition(mapping.holds(length, at: offset))
        // SAFETY: the range was just checked against the mapping.
        unsafe payloads[payloadCount] = MessagePiece(address: UInt(bitPattern: mapping.base + offset), length: UInt(length))
        payloadCount += 1
        return payloadCount - 1
    }

    public mutating func forgetPayloads() {
        payloadCount = 0
        removeMessages()
    }

    public mutating func removeMessages() {
        count = 0
        vectorCount = 0
    }

    /// Begins a message without pieces, which is an empty datagram. Precondition: not `isFull`.
    public mutating func beginMessage() {
        headers[count] = MessageHeader()
        headers[count].vectors = vectors.address(of: vectorCount)
        count += 1
    }

    /// Adds `length` bytes from `offset` on of a noted payload to the last message. False when there is no room; a range
    /// outside of the payload traps.
    public mutating func append(_ payload: Int, from offset: Int, length: Int) -> Bool {
        precondition(count > 0 && payload < payloadCount && offset >= 0 && length >= 0)
        let whole = payloads[payload]
        precondition(offset + length <= Int(bitPattern: whole.length))
        guard vectorCount < vectors.count else { return false }
        vectors[vectorCount] = MessagePiece(address: whole.address + UInt(offset), length: UInt(length))
        vectorCount += 1
        headers[count - 1].vectorCount += 1
        return true
    }

    /// The kernel cuts the last message into datagrams of `size` bytes, the last of which may be shorter.
    public mutating func segmentMessage(size: Int) {
        precondition(count > 0)
        let index = count - 1
        controls[index] = SegmentControl(
            length: UInt(16 + MemoryLayout<UInt16>.size), level: Int32(IPPROTO_UDP), type: UDP_SEGMENT,
            size: UInt16(truncatingIfNeeded: size))
        headers[index].control = controls.address(of: index)
        headers[index].controlLength = UInt(MemoryLayout<SegmentControl>.stride)
    }

    /// What message `index` is cut to, 0 for one that is not.
    public func segmentSize(_ index: Int) -> Int {
        precondition(index >= 0 && index < count)
        return headers[index].control == controls.address(of: index) ? Int(controls[index].size) : 0
    }

    /// Sends the messages from `first` on, to `destination` or to where the socket is connected: how many the kernel took. An error is that of
    /// message `first`, or one that an earlier datagram met on its way and that the socket has kept. With `source`, messages that are not cut leave from
    /// that address.
    public mutating func send(
        on socket: Descriptor, from first: Int = 0, to destination: SocketAddress? = nil, source: IPAddress? = nil
    ) -> Outcome {
        precondition(first >= 0 && first < count)
        if let source { setSource(source, from: first) }
        if let destination {
            name[0] = destination
            for index in first..<count {
                headers[index].name = name.address(of: 0)
                headers[index].nameLength = destination.length
            }
        }
        let start = unsafe headers.pointer(at: first)
        let number = UInt32(truncatingIfNeeded: count - first)
        // SAFETY: the headers from `first` to `count` point into this value's tables and to payloads that the caller keeps in place.
        let result = restarting { unsafe linux_sendmmsg(socket.number, start, number, Int32(MSG_DONTWAIT | MSG_NOSIGNAL)) }
        return Outcome(Int(result))
    }

    private mutating func setSource(_ address: IPAddress, from first: Int) {
        if let ipv4 = address.ipv4 {
            source[0] = SourceControl(
                length: 16 + 12, level: Int32(IPPROTO_IP), type: IP_PKTINFO, words: (0, ipv4.bits.bigEndian, 0, 0, 0))
        } else {
            let (high, low) = (address.high.bigEndian, address.low.bigEndian)
            source[0] = SourceControl(
                length: 16 + 20, level: Int32(IPPROTO_IPV6), type: IPV6_PKTINFO,
                words: (
                    UInt32(truncatingIfNeeded: high), UInt32(truncatingIfNeeded: high >> 32), UInt32(truncatingIfNeeded: low),
                    UInt32(truncatingIfNeeded: low >> 32), 0
                ))
        }
        // CMSG_SPACE: whole machine words.
        let space = (source[0].length + 7) & ~7
        for index in first..<count where headers[index].controlLength == 0 {
            headers[index].control = source.address(of: 0)
            headers[index].controlLength = space
        }
    }
}
