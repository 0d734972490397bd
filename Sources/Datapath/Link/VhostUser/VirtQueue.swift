internal import Linux
internal import Wire

/// A ring of a virtio device, split into its three parts (virtio 1.2, section 2.7), and how far we are in it.
///
///     descriptors   buffers of the guest
///     available     | flags | index | heads of chains, from the driver to us       | used event |
///     used          | flags | index | heads and lengths, from us back to the driver | available event |
///
/// Indices run on and are cut to the ring's size, a power of two. Each side says beyond which index it wants to be called (`eventIndex`), or whether at all.
/// Whatever is found in the memory is the guest's word: an index too far ahead breaks the ring, which rests until it is started anew.
struct VirtQueue: BitwiseCopyable {
    private struct Parts: BitwiseCopyable {
        let descriptors, available, used: GuestMemory.Place
    }

    static var largest: Int { 32768 }
    /// In `used.flags`: do not kick. In `available.flags`: do not call.
    private static var beQuiet: UInt16 { 1 }

    private(set) var size = 0
    /// By the front-end's addresses.
    private(set) var addresses: VhostUserRingAddress?
    private var parts: Parts?
    /// The next head to take, and how far the driver was when we last looked.
    private(set) var nextAvailable: UInt16 = 0
    private var seenAvailable: UInt16 = 0
    /// The next head to give back, and how many the driver knows of.
    private var nextUsed: UInt16 = 0
    private var published: UInt16 = 0
    var hasEventIndex = false
    /// Frames may pass. Apart from whether it is started.
    var isEnabled = false
    /// A kick has come for a ring that is only disabled. Without one, its memory may have become something else: drivers take it back then.
    var isKicked = false
    private(set) var isStarted = false
    private(set) var isBroken = false
    /// Started while pages are to be noted, before the log has come: what was written now would be forgotten.
    var awaitsLog = false
    private var isQuiet = false

    /// What is in it may be looked at.
    var isReadable: Bool { isStarted && !isBroken && !awaitsLog && parts != nil }
    var isRunning: Bool { isReadable && isEnabled }
    /// Whether the driver's frames are to be looked for.
    var isWatched: Bool { isReadable && (isEnabled || isKicked) }

    // MARK: Set up by the front-end

    /// False for a size that no ring can have.
    mutating func setSize(_ size: UInt32) -> Bool {
        guard size > 0, size <= VirtQueue.largest, size & (size &- 1) == 0 else { return false }
        self.size = Int(size)
        return true
    }

    mutating func setAddresses(_ addresses: VhostUserRingAddress, _ memory: borrowing GuestMemory) -> Bool {
        self.addresses = addresses
        return locate(memory)
    }

    mutating func setBase(_ index: UInt16) { nextAvailable = index }

    /// Finds the parts anew, after a change of memory. False where one is not there any more; without addresses there is nothing to find.
    mutating func locate(_ memory: borrowing GuestMemory) -> Bool {
        parts = nil
        guard let addresses else { return true }
        guard size > 0, let descriptors = memory.place(ofUser: addresses.descriptors, size * DescriptorChain.entry, alignment: 16),
            let available = memory.place(ofUser: addresses.available, 6 + 2 * size, alignment: 2),
            let used = memory.place(ofUser: addresses.used, 6 + 8 * size, alignment: 4)
        else { return false }
        parts = Parts(descriptors: descriptors, available: available, used: used)
        return true
    }

    /// False without a place.
    mutating func start(_ memory: borrowing GuestMemory) -> Bool {
        guard locate(memory), let parts else { return false }
        nextUsed = memory.load16(parts.used + 2)
        published = nextUsed
        // All that was taken has been given back, in order, so this is where to go on. Whoever connects again may say where the driver is instead (Cloud Hypervisor): all buffers
        // up to there would never be seen, and the driver, which waits for them, puts in no others.
        nextAvailable = nextUsed
        seenAvailable = nextAvailable
        isStarted = true
        isBroken = false
        isQuiet = memory.load16(parts.used) & VirtQueue.beQuiet != 0
        return true
    }

    /// From here on its memory is not touched; its addresses are forgotten (lesson 43). Returns where to go on.
    mutating func stop() -> UInt16 {
        isStarted = false
        isBroken = false
        isKicked = false
        awaitsLog = false
        addresses = nil
        parts = nil
        return nextAvailable
    }

    mutating func breakDown() { isBroken = true }

    // MARK: From the driver

    func isEmpty(_ memory: borrowing GuestMemory) -> Bool {
        guard let parts else { return true }
        return nextAvailable == seenAvailable && memory.load16(parts.available + 2) == nextAvailable
    }

    /// The next chain, which is ours until `give`. nil when there is none, or the ring is broken.
    mutating func take(_ memory: borrowing GuestMemory) -> (head: UInt16, chain: DescriptorChain)? {
        guard let parts, !isBroken else { return nil }
        if nextAvailable == seenAvailable {
            seenAvailable = memory.load16(parts.available + 2)
            if nextAvailable == seenAvailable { return nil }
            guard Int(seenAvailable &- nextAvailable) <= size else {
                isBroken = true
                return nil
            }
        }
        let head = memory.load16(parts.available + (4 &+ 2 &* (Int(nextAvailable) & (size &- 1))))
        guard Int(head) < size else {
            isBroken = true
            return nil
        }
        nextAvailable &+= 1
        return (head, DescriptorChain(parts.descriptors, count: size, head: Int(head)))
    }

    /// Whether chains with room for `byteCount` bytes are waiting, in no more than `limit` buffers. The ring stays as it is.
    func holds(_ byteCount: Int, limit: Int, _ memory: borrowing GuestMemory) -> Bool {
        var look = self
        var room = 0
        var left = limit
        while room < byteCount {
            guard var (_, chain) = look.take(memory) else { return look.isBroken }
            walk: while true {
                switch chain.step(memory) {
                case .buffer(let buffer):
                    if left == 0 { return false }
                    left -= 1
                    room &+= buffer.length
                case .end: break walk
                // Who takes it finds that out.
                case .broken: return true
                }
            }
        }
        return true
    }

    // MARK: Back to the driver

    /// Gives a chain back with `length` bytes in it; the driver learns of it by `publish`.
    mutating func give(_ head: UInt16, length: Int, _ memory: inout GuestMemory) {
        guard let parts else { return }
        let entry = parts.used + (4 &+ 8 &* (Int(nextUsed) & (size &- 1)))
        memory.store32(UInt32(head), entry)
        memory.store32(UInt32(truncatingIfNeeded: length), entry + 4)
        nextUsed &+= 1
    }

    /// Tells the driver what was given back. True when it wants to be called for that.
    mutating func publish(_ memory: inout GuestMemory) -> Bool {
        guard let parts, nextUsed != published else { return false }
        memory.store16(nextUsed, parts.used + 2)
        let before = published
        published = nextUsed
        GuestMemory.fence()
        guard hasEventIndex else { return memory.load16(parts.available) & VirtQueue.beQuiet == 0 }
        // Section 2.7.10: whether the index of the event was passed.
        let event = memory.load16(parts.available + (4 &+ 2 &* size))
        return nextUsed &- event &- 1 < nextUsed &- before
    }

    // MARK: Kicks

    /// From now on the driver kicks when it puts something in. False when it has just done so, and may not have seen the wish.
    mutating func askForKicks(_ memory: inout GuestMemory) -> Bool {
        guard let parts else { return true }
        let index = memory.load16(parts.available + 2)
        if hasEventIndex {
            memory.store16(index, parts.used + (4 &+ 8 &* size))
        } else if isQuiet {
            isQuiet = false
            memory.store16(0, parts.used)
        }
        GuestMemory.fence()
        return memory.load16(parts.available + 2) == index
    }

    /// For a ring that is only disabled: from here on it is looked at after a kick, or for what has come by now.
    mutating func awaitKick(_ memory: inout GuestMemory) {
        _ = askForKicks(&memory)
        isKicked = !isEmpty(memory)
    }

    /// We look anyway. With an index of events, passing it was the last kick.
    mutating func stopKicks(_ memory: inout GuestMemory) {
        guard let parts, !hasEventIndex, !isQuiet else { return }
        isQuiet = true
        memory.store16(VirtQueue.beQuiet, parts.used)
    }
}
