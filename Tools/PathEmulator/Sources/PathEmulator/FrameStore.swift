internal import CPathEmulator

/// Slots for frames in address space that costs nothing until used. The slot freed last is handed out first, so that a short queue stays in the cache.
@safe struct FrameStore: ~Copyable {
    static let slotSize = 17 * 4096  // A super-frame of 64 KiB with its headers, in whole pages.
    private let base: UnsafeMutableRawPointer
    private let slots: Int
    private var free: [Int32]
    private(set) var available: Int

    /// - Parameter slots: frames that can be on their way at once.
    init(slots: Int) throws(EmulatorError) {
        guard let memory = unsafe path_reserve(slots * Self.slotSize) else { throw EmulatorError("no address space") }
        unsafe base = memory
        self.slots = slots
        free = (0..<Int32(slots)).reversed()
        available = slots
    }

    deinit {
        // SAFETY: the mapping is this value's own, and spans into it cannot outlive it.
        unsafe munmap(base, slots * Self.slotSize)
    }

    /// A slot nobody uses, nil when all are taken.
    mutating func take() -> Int32? {
        guard available > 0 else { return nil }
        available -= 1
        return free[available]
    }

    mutating func give(_ slot: Int32) {
        free[available] = slot
        available += 1
    }

    @_lifetime(borrow self)
    borrowing func bytes(_ slot: Int32, _ count: Int) -> RawSpan {
        // SAFETY: `address` checks the slot and the count is limited to its size; the mapping lives as long as self.
        let span = unsafe RawSpan(_unsafeStart: UnsafeRawPointer(address(slot)), byteCount: min(count, Self.slotSize))
        return unsafe _overrideLifetime(span, borrowing: self)
    }

    @_lifetime(&self)
    mutating func mutableBytes(_ slot: Int32, _ count: Int) -> MutableRawSpan {
        // SAFETY: as in `bytes`; `&self` makes it the only span.
        let span = unsafe MutableRawSpan(_unsafeStart: address(slot), byteCount: min(count, Self.slotSize))
        return unsafe _overrideLifetime(span, mutating: &self)
    }

    /// Copies `count` bytes at `offset` of `source` to `target` of another slot.
    mutating func copy(_ source: Int32, at offset: Int, to slot: Int32, at target: Int, count: Int) {
        precondition(offset >= 0 && target >= 0 && count >= 0 && max(offset, target) + count <= Self.slotSize && source != slot)
        // SAFETY: both ranges lie within their slots, and two slots do not overlap.
        unsafe memcpy(address(slot) + target, address(source) + offset, count)
    }

    /// Reads one frame; its length, 0 when there is none.
    mutating func read(_ device: TapDevice, into slot: Int32) -> Int {
        // SAFETY: the kernel writes at most the slot's size.
        max(0, unsafe path_read(device.number, address(slot), Self.slotSize))
    }

    /// Writes one frame. False if the device refused it.
    borrowing func write(_ slot: Int32, _ count: Int, to device: TapDevice) -> Bool {
        // SAFETY: the kernel reads inside the slot.
        unsafe path_write(device.number, address(slot), min(count, Self.slotSize)) == count
    }

    private borrowing func address(_ slot: Int32) -> UnsafeMutableRawPointer {
        precondition(slot >= 0 && Int(slot) < slots)
        return unsafe base + Int(slot) * Self.slotSize
    }
}
