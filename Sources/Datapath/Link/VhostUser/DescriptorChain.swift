internal import Linux

/// A piece of the guest's memory that a driver lends us, by the guest's addresses.
struct GuestBuffer: BitwiseCopyable {
    var address: UInt64 = 0
    var length = 0
    /// We may write to it and not read; else the other way round.
    var isWritable = false
}

/// The buffers that a driver has put into a ring as one (virtio 1.2, section 2.7.5). The driver may change them meanwhile: each descriptor is looked at once, and what it
/// says is believed only within the table's bounds.
///
///     table   | address, length, flags, next | ... |        flags: 1 there is a next one, 2 writable,
///     head ----^                        |                          4 a table of its own, in the buffer
///              ^------------------------+
struct DescriptorChain: BitwiseCopyable {
    static var entry: Int { 16 }
    private static var hasNext: UInt16 { 1 }
    private static var isWritable: UInt16 { 2 }
    private static var isTable: UInt16 { 4 }
    /// Descriptors of a chain: drivers make them for one frame, which has no more pieces.
    private static var longest: Int { 1024 }

    enum Step {
        case buffer(GuestBuffer)
        case end
        /// It leads nowhere, or in a circle.
        case broken
    }

    private var table: GuestMemory.Place
    private var count: Int
    private var next: Int
    /// How many more there can be: a circle is longer than its table.
    private var left: Int
    private var isEnd = false
    private var isIndirect = false

    init(_ table: GuestMemory.Place, count: Int, head: Int) {
        self.table = table
        self.count = count
        next = head
        left = min(count, DescriptorChain.longest)
    }

    mutating func step(_ memory: borrowing GuestMemory) -> Step {
        if isEnd { return .end }
        guard left > 0, next < count else { return .broken }
        left &-= 1
        let place = table + next &* DescriptorChain.entry
        let address = memory.load64(place)
        let rest = memory.load64(place + 8)
        let length = Int(UInt32(truncatingIfNeeded: rest)), flags = UInt16(truncatingIfNeeded: rest >> 32)
        if flags & DescriptorChain.isTable != 0 { return enter(address, length, flags, memory) }
        isEnd = flags & DescriptorChain.hasNext == 0
        next = Int(rest >> 48)
        return .buffer(GuestBuffer(address: address, length: length, isWritable: flags & DescriptorChain.isWritable != 0))
    }

    /// The rest of the chain is a table of its own, which has no further ones.
    private mutating func enter(_ address: UInt64, _ length: Int, _ flags: UInt16, _ memory: borrowing GuestMemory) -> Step {
        guard !isIndirect, flags & DescriptorChain.hasNext == 0, length > 0, length % DescriptorChain.entry == 0,
            length / DescriptorChain.entry <= DescriptorChain.longest, let place = memory.place(ofGuest: address, length, alignment: 8)
        else { return .broken }
        isIndirect = true
        table = place
        count = length / DescriptorChain.entry
        left = count
        next = 0
        return step(memory)
    }
}
