internal import Linux
internal import Wire

/// The network device that a front-end sets up by its messages: the guest's memory, what was agreed upon, and one pair of rings.
struct VhostDevice: ~Copyable {
    /// A ring with the counters by which both sides call each other.
    struct Ring: BitwiseCopyable {
        var queue = VirtQueue()
        /// The driver has put something in.
        var kick = Descriptor.none
        /// We have given something back.
        var call = Descriptor.none
        /// We have found something impossible.
        var error = Descriptor.none
    }

    /// What comes of a message.
    enum Result {
        case done
        /// Answered with a number.
        case number(UInt64)
        case broken
        /// The kernel does not give what it takes, which is not the front-end's fault.
        case refused(GuestNotice)
    }

    var memory = GuestMemory()
    private(set) var features: VirtioFeatures = []
    private(set) var offloads: LinkOffloads = []
    /// What the guest receives by, and what it sends by.
    var toGuest = Ring()
    var fromGuest = Ring()
    private var epoll: Epoll?
    /// For requests of ours, of which there are none. Held open, as its other end is watched.
    private var backendRequests = Descriptor.none
    /// The front-end waits for its end, or begins to.
    private(set) var transfer: StateTransfer?
    private var hasTransferFailed = false

    static var offered: VirtioFeatures {
        [
            .checksum, .hostTCP4, .hostTCP6, .hostECN, .hostUDP, .guestChecksum, .guestTCP4, .guestTCP6, .guestECN, .guestUDP4, .guestUDP6,
            .mergeableBuffers, .log, .anyLayout, .indirect, .eventIndex, .protocolFeatures, .version1,
        ]
    }
    /// We never ask anything of the front-end. But User-Mode Linux before 6.9 gives its device an interrupt with that channel only, and has none without it.
    static var protocolFeatures: VhostUserFeatures { [.confirmation, .sharedLog, .announcement, .deviceState, .backendRequests] }
    /// Pairs of rings.
    static var queuePairs: UInt64 { 1 }
    /// Half of a ring must hold a super-frame in the smallest buffers that Linux' driver has, of 1536 bytes: it fills its ring anew only once half of it is
    /// used, and nothing uses it before there is room.
    static var smallestForSegmentation: Int { 128 }

    /// Length of the header before each frame: the short one is for drivers of before virtio 1 only.
    var headerLength: Int {
        features.isDisjoint(with: [.version1, .mergeableBuffers]) ? VirtioNetHeader.shortLength : VirtioNetHeader.length
    }

    mutating func watch(by epoll: Epoll) { self.epoll = epoll }

    /// The front-end has gone: nothing of the guest is held any more.
    mutating func reset() {
        for index in 0..<2 { release(index) }
        takeTransfer()?.pipe.close()
        hasTransferFailed = false
        backendRequests.close()
        backendRequests = .none
        memory.removeAll()
        memory.closeLog()
        memory.isLogging = false
        features = []
        offloads = []
    }

    private mutating func release(_ index: Int) {
        var ring = self[index]
        setKick(.none, &ring, index)
        ring.call.close()
        ring.error.close()
        self[index] = Ring()
    }

    /// 0: to the guest, 1: from it.
    private subscript(index: Int) -> Ring {
        get { index == 0 ? toGuest : fromGuest }
        set { if index == 0 { toGuest = newValue } else { fromGuest = newValue } }
    }

    /// Does what the front-end asks. The body is checked here, and so is each number in it.
    mutating func serve(_ header: VhostUserHeader, _ messages: inout VhostMessages) -> Result {
        guard let request = VhostUserRequest(rawValue: header.request) else { return .broken }
        let size = Int(header.size)
        switch request {
        case .getFeatures: return .number(VhostDevice.offered.rawValue)
        case .getProtocolFeatures: return .number(VhostDevice.protocolFeatures.rawValue)
        case .getQueueCount: return .number(VhostDevice.queuePairs)
        // There is one owner anyway, and the second of these is not used any more.
        case .setOwner, .resetOwner: return .done
        case .setFeatures: return size == 8 ? setFeatures(messages.buffer.bytes.nativeUInt64(at: VhostMessages.body)) : .broken
        case .setProtocolFeatures:
            guard size == 8 else { return .broken }
            let chosen = VhostUserFeatures(rawValue: messages.buffer.bytes.nativeUInt64(at: VhostMessages.body))
            return chosen.isSubset(of: VhostDevice.protocolFeatures) ? .done : .broken
        // Nobody but us is on the guest's link, so there is nobody to tell.
        case .sendRARP: return size == 8 ? .done : .broken
        case .setLogBase: return setLog(size, &messages)
        // To be called for pages that were noted; nobody waits for that.
        case .setLogDescriptor: return .done
        case .setBackendRequestDescriptor: return setBackendRequests(&messages)
        case .setMemoryTable: return setMemory(size, &messages)
        case .setDeviceStateDescriptor: return beginTransfer(size, &messages)
        case .checkDeviceState: return size == 0 ? .number(hasTransferFailed ? 1 : 0) : .broken
        case .setRingAddress: return size == VhostUserRingAddress.length ? setAddress(messages.buffer.bytes) : .broken
        case .setRingSize, .setRingBase, .getRingBase, .setRingEnable:
            guard size == VhostUserRingState.length, let state = VhostUserRingState(messages.buffer.bytes, at: VhostMessages.body), state.ring < 2 else {
                return .broken
            }
            return setState(request, state)
        case .setRingKick, .setRingCall, .setRingError:
            guard size == 8, let given = VhostUserRingDescriptor(messages.buffer.bytes, at: VhostMessages.body), given.ring < 2 else { return .broken }
            let descriptor = given.isMissing ? Descriptor.none : messages.descriptors.take(0)
            guard given.isMissing || descriptor.isOpen else { return .broken }
            return setDescriptor(request, Int(given.ring), descriptor)
        }
    }

    private mutating func setBackendRequests(_ messages: inout VhostMessages) -> Result {
        backendRequests.close()
        backendRequests = messages.descriptors.take(0)
        return backendRequests.isOpen ? .done : .broken
    }

    // MARK: State

    /// The machine must stand still: what has left the rings is in the state.
    private mutating func beginTransfer(_ size: Int, _ messages: inout VhostMessages) -> Result {
        guard size == VhostUserTransfer.length, let wish = VhostUserTransfer(messages.buffer.bytes, at: VhostMessages.body), transfer == nil,
            !toGuest.queue.isStarted, !fromGuest.queue.isStarted
        else { return .broken }
        let pipe = messages.descriptors.take(0)
        guard pipe.isOpen else { return .broken }
        transfer = StateTransfer(isSaving: wish.isSaving, pipe: pipe)
        return .number(VhostUserTransfer.usesGivenDescriptor)
    }

    mutating func takeTransfer() -> StateTransfer? {
        defer { transfer = nil }
        return transfer
    }

    mutating func endTransfer(_ isDone: Bool) { hasTransferFailed = !isDone }

    // MARK: Features

    private mutating func setFeatures(_ number: UInt64) -> Result {
        let chosen = VirtioFeatures(rawValue: number)
        guard chosen.isSubset(of: VhostDevice.offered) else { return .broken }
        features = chosen
        memory.isLogging = chosen.contains(.log)
        if !memory.isLogging { logHasCome() }
        for index in 0..<2 {
            self[index].queue.hasEventIndex = chosen.contains(.eventIndex)
            // Front-ends that know nothing of enabling find everything enabled.
            if !chosen.contains(.protocolFeatures) { self[index].queue.isEnabled = true }
        }
        findOffloads()
        return .done
    }

    /// What can be left to the driver (lesson 43: nothing that it has not agreed to).
    private mutating func findOffloads() {
        offloads = []
        guard features.contains(.guestChecksum) else { return }
        offloads.insert(.checksum)
        let isLarge = toGuest.queue.size >= VhostDevice.smallestForSegmentation || !features.contains(.mergeableBuffers)
        if isLarge, features.isSuperset(of: [.guestTCP4, .guestTCP6]) { offloads.insert(.tcpSegmentation) }
        if isLarge, features.isSuperset(of: [.guestUDP4, .guestUDP6]) { offloads.insert(.udpSegmentation) }
    }

    // MARK: Memory

    /// | number of regions, 4 | padding, 4 | regions |   and a descriptor for each.
    private mutating func setMemory(_ size: Int, _ messages: inout VhostMessages) -> Result {
        guard size >= 8 else { return .broken }
        let count = Int(messages.buffer.bytes.nativeUInt32(at: VhostMessages.body))
        guard count <= GuestMemory.mostRegions, size >= 8 + count * VhostUserRegion.length, messages.descriptors.count == count else { return .broken }
        memory.removeAll()
        let mapped = map(count, &messages)
        if case .done = mapped, locate() { return .done }
        // Rather none than a part of it: where rings were, there is something else now.
        memory.removeAll()
        if case .done = mapped { return .broken }
        return mapped
    }

    private mutating func map(_ count: Int, _ messages: inout VhostMessages) -> Result {
        for index in 0..<count {
            let offset = VhostMessages.body + 8 + index * VhostUserRegion.length
            guard let region = VhostUserRegion(messages.buffer.bytes, at: offset) else { return .broken }
            let file = messages.descriptors.take(index)
            defer { file.close() }
            do throws(Errno) {
                try memory.add(
                    file, offset: region.fileOffset, byteCount: region.byteCount, guestAddress: region.guestAddress, userAddress: region.userAddress)
            } catch {
                return VhostDevice.result(ofMapping: error)
            }
        }
        return .done
    }

    /// Numbers that make no sense and files that cannot be mapped are the front-end's.
    private static func result(ofMapping error: Errno) -> Result { error.isLackOfResources ? .refused(.unmapped(error)) : .broken }

    /// Answered in any case: the front-end does not go on before.
    private mutating func setLog(_ size: Int, _ messages: inout VhostMessages) -> Result {
        guard size == VhostUserLog.length, let log = VhostUserLog(messages.buffer.bytes, at: VhostMessages.body) else { return .broken }
        let file = messages.descriptors.take(0)
        defer { file.close() }
        guard file.isOpen else { return .broken }
        do throws(Errno) {
            try memory.openLog(file, offset: log.fileOffset, byteCount: log.byteCount)
            logHasCome()
            return .number(0)
        } catch {
            return VhostDevice.result(ofMapping: error)
        }
    }

    private mutating func logHasCome() {
        toGuest.queue.awaitsLog = false
        fromGuest.queue.awaitsLog = false
    }

    /// Rings that run must still have their places.
    private mutating func locate() -> Bool {
        let (toIsThere, fromIsThere) = (toGuest.queue.locate(memory), fromGuest.queue.locate(memory))
        return (toIsThere || !toGuest.queue.isStarted) && (fromIsThere || !fromGuest.queue.isStarted)
    }

    // MARK: Rings

    private mutating func setAddress(_ bytes: borrowing RawSpan) -> Result {
        guard let address = VhostUserRingAddress(bytes, at: VhostMessages.body), address.ring < 2 else { return .broken }
        let index = Int(address.ring)
        var ring = self[index]
        defer { self[index] = ring }
        // The same ones may come again, for the log.
        if ring.queue.isStarted, !ring.queue.isEnabled, ring.queue.addresses != address { _ = stop(&ring, index) }
        let isThere = ring.queue.setAddresses(address, memory)
        return isThere || !ring.queue.isStarted ? .done : .broken
    }

    private mutating func setState(_ request: VhostUserRequest, _ state: VhostUserRingState) -> Result {
        let index = Int(state.ring)
        var ring = self[index]
        defer { self[index] = ring }
        // Some front-ends only disable a ring before they set it up anew.
        if request == .setRingSize || request == .setRingBase, ring.queue.isStarted, !ring.queue.isEnabled { _ = stop(&ring, index) }
        switch request {
        case .setRingSize:
            guard !ring.queue.isStarted, ring.queue.setSize(state.number) else { return .broken }
            self[index] = ring
            findOffloads()
        case .setRingBase:
            guard !ring.queue.isStarted else { return .broken }
            ring.queue.setBase(UInt16(truncatingIfNeeded: state.number))
        case .setRingEnable:
            ring.queue.isEnabled = state.number != 0
            ring.queue.isKicked = false
            // While the ring is still there. What is in it already is looked at once more.
            if ring.queue.isReadable, !ring.queue.isEnabled { ring.queue.awaitKick(&memory) }
        case .getRingBase: return .number(VhostUserRingState(ring: state.ring, number: UInt32(stop(&ring, index))).packed)
        default: return .broken
        }
        return .done
    }

    /// What was given back is the driver's to know, also without the round's end. Returns where to go on.
    private mutating func stop(_ ring: inout Ring, _ index: Int) -> UInt16 {
        publish(&ring)
        setKick(.none, &ring, index)
        let base = ring.queue.stop()
        // A front-end that starts its rings again has another log by then.
        if !self[1 - index].queue.isStarted { memory.closeLog() }
        return base
    }

    private mutating func publish(_ ring: inout Ring) {
        if ring.queue.isStarted, ring.queue.publish(&memory) { ring.call.signal() }
    }

    private mutating func setDescriptor(_ request: VhostUserRequest, _ index: Int, _ descriptor: Descriptor) -> Result {
        var ring = self[index]
        defer { self[index] = ring }
        switch request {
        case .setRingCall:
            ring.call.close()
            ring.call = descriptor
            // A call that went to the old counter may have been missed by whoever replaced it. One too many does no harm.
            if ring.queue.isStarted { ring.call.signal() }
        case .setRingError:
            ring.error.close()
            ring.error = descriptor
        default:
            publish(&ring)
            if let error = setKick(descriptor, &ring, index), !error.isFaultOfWatched { return .refused(.unwatched(error)) }
            // Nobody sits and polls; a ring has a place when it is started.
            guard ring.kick.isOpen, ring.queue.start(memory) else { return .broken }
            ring.queue.awaitsLog = memory.isLogging && !memory.hasLog
        }
        return .done
    }

    /// Edge-triggered: every kick is an event, without that the counter is ever read. Returns why it is not watched.
    @discardableResult
    private func setKick(_ descriptor: Descriptor, _ ring: inout Ring, _ index: Int) -> Errno? {
        if ring.kick.isOpen {
            // The front-end has the same counter open: closing ours does not end the watch.
            try? epoll?.remove(ring.kick)
            ring.kick.close()
        }
        ring.kick = .none
        guard descriptor.isOpen else { return nil }
        do throws(Errno) {
            try epoll?.add(descriptor, [.input, .edge], tag: EventTag(.link, index: MachineConnection.Part.first + index).bits)
            ring.kick = descriptor
            return nil
        } catch {
            descriptor.close()
            return error
        }
    }
}
