/// An ARP packet for IPv4 over Ethernet (RFC 826), the only kind there is on this link.
public struct ARPPacket: Equatable, Sendable, BitwiseCopyable {
    public struct Operation: Equatable, Sendable, BitwiseCopyable {
        public var number: UInt16
        @inlinable @_noAllocation @_noLocks
        public init(_ number: UInt16) { self.number = number }
        @inlinable @_noAllocation @_noLocks
        public static func == (a: Operation, b: Operation) -> Bool { a.number == b.number }
        @inlinable public static var request: Operation { Operation(1) }
        @inlinable public static var reply: Operation { Operation(2) }
    }

    public var operation: Operation
    public var senderMAC: MACAddress
    public var sender: IPv4Address
    public var targetMAC: MACAddress
    public var target: IPv4Address

    @inlinable public static var length: Int { 28 }

    @inlinable @_noAllocation @_noLocks
    public init(
        _ operation: Operation, senderMAC: MACAddress, sender: IPv4Address, targetMAC: MACAddress, target: IPv4Address
    ) {
        self.operation = operation
        self.senderMAC = senderMAC
        self.sender = sender
        self.targetMAC = targetMAC
        self.target = target
    }

    /// Nil for anything but IPv4 over Ethernet.
    @inlinable @_noAllocation @_noLocks
    public init?(_ bytes: borrowing RawSpan, at offset: Int) {
        guard bytes.has(ARPPacket.length, at: offset) else { return nil }
        // Hardware type 1 and protocol 0x0800; lengths 6 and 4.
        guard bytes.uint32(at: offset) == 0x0001_0800, bytes.uint16(at: offset + 4) == 0x0604 else { return nil }
        operation = Operation(bytes.uint16(at: offset + 6))
        senderMAC = MACAddress(bytes, at: offset + 8)
        sender = IPv4Address(bytes.uint32(at: offset + 14))
        targetMAC = MACAddress(bytes, at: offset + 18)
        target = IPv4Address(bytes.uint32(at: offset + 24))
    }

    @inlinable @_noAllocation @_noLocks
    public func write(to bytes: inout MutableRawSpan, at offset: Int) {
        bytes.store(UInt32(0x0001_0800), at: offset)
        bytes.store(UInt16(0x0604), at: offset + 4)
        bytes.store(operation.number, at: offset + 6)
        senderMAC.write(to: &bytes, at: offset + 8)
        bytes.store(sender.bits, at: offset + 14)
        targetMAC.write(to: &bytes, at: offset + 18)
        bytes.store(target.bits, at: offset + 24)
    }
}
