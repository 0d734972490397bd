internal import Linux
internal import Wire

/// Where things lie in the slots of a `GuestPort`.
enum SlotLayout {
    static var count: Int { 8 }
    /// The most that a socket hands out in one piece has room, which is more than a frame of IPv6 carries: such a packet goes in parts.
    static var size: Int { (ip + IPv6Header.length + 65535 + 63) & ~63 }
    /// From a slot's start to its IP header.
    static var ip: Int { linkHeadroom + EthernetHeader.length }

    /// Parts of packets are copied to behind the slots. A packet in the smallest parts has room there.
    static var parts: Int { count * size }
    static var partsSize: Int { 2 * size }

    /// Slots for runs lie behind the others, each at the start of a page.
    static var runs: Int { (parts + partsSize + 4095) & ~4095 }
    /// 16 pages: as many as the kernel lends in one piece.
    static var runSize: Int { 65536 }

    /// In a run, from the end of one segment's payload to the start of the next one's: prefix and headers.
    static func gap(_ address: IPAddress) -> Int { StreamFraming.prefix + tcpPayload(address) - linkHeadroom }

    @_noAllocation @_noLocks
    static func ipHeaderLength(_ address: IPAddress) -> Int { address.isIPv4 ? IPv4Header.length : IPv6Header.length }

    /// The most that an IP packet carries. IPv4 counts its own header, IPv6 does not (RFC 8200, section 3).
    static func mostPayload(_ address: IPAddress) -> Int { address.isIPv4 ? 65535 - IPv4Header.length : 65535 }
}

/// The one way out to the guest: slots to build frames in, Ethernet and IP headers, and the counters.
///
/// A slot's layout, offsets from its start:
///
///     0         18           32                 32 + IP header      + L4 header
///     | for the | Ethernet   | IP, aligned      | TCP, UDP, ICMP    | payload, filled by the
///     | link    |            | to a slot        |                   | kernel straight from a socket
struct GuestPort<Link: GuestLink & ~Copyable>: ~Copyable {
    var link: Link
    var arena: Mapping
    var counters = Counters()
    var errorLimit = ErrorLimit()
    /// The guest's side; broadcast until it is known.
    var guestMAC: MACAddress
    /// Who else is there.
    var stations: GuestStations
    /// Our own.
    var gatewayMAC: MACAddress
    /// How large a packet may be.
    var mtu: GuestMTU
    /// Key of the flow labels.
    let seed: SipHash
    /// Set when the guest is gone.
    private(set) var isClosed = false
    private var nextSlot = 0
    /// Where the next part goes, from `SlotLayout.parts`.
    private var nextPart = 0
    private var segmentIdentification: UInt16 = 0
    /// Of all packets but TCP's, which may be cut behind the guest (RFC 6864, section 4.3).
    private var identification: UInt16 = 1
    /// The same of packets that go in parts, counted by themselves: among TCP's, the 16 bits of IPv4 would come again within milliseconds, while parts of an earlier
    /// packet still wait for the rest. The first one can be told by who knows the key only.
    var partsIdentification: UInt32

    /// `mtu`: what the guest was told; 0: nothing.
    init(link: consuming Link, guestMAC: MACAddress?, gatewayMAC: MACAddress, mtu: Int, seed: SipHash) throws(Errno) {
        let arena = try GuestPort.makeArena(link.offloads)
        let stations = try GuestStations(seed: seed)
        self.arena = arena
        self.stations = stations
        self.mtu = GuestMTU(told: mtu, isTaken: link.takesAnyLength)
        self.link = link
        self.guestMAC = guestMAC ?? .broadcast
        self.gatewayMAC = gatewayMAC
        self.seed = seed
        partsIdentification = UInt32(truncatingIfNeeded: seed.finalize(tail: 1, tailCount: 1))
    }

    /// What can be left to the link now: a machine's driver decides that, and may decide anew.
    var offloads: LinkOffloads { link.offloads }

    /// With runs, the memory is such that a link can lend it to its socket, if the kernel allows that.
    private static func makeArena(_ offloads: LinkOffloads) throws(Errno) -> Mapping {
        guard offloads.contains(.runs) else { return try Mapping(byteCount: SlotLayout.runs) }
        let byteCount = SlotLayout.runs + LentSlots.count * SlotLayout.runSize
        do throws(Errno) {
            return try Mapping(lendable: byteCount)
        } catch {
            return try Mapping(byteCount: byteCount)
        }
    }

    /// The start of the first of `count` slots for runs, `SlotLayout.runSize` apart; nil when the guest still reads from them.
    mutating func reserveRun(_ count: Int) -> Int? {
        guard let slot = link.reserveRun(count, &arena) else { return nil }
        return SlotLayout.runs + slot * SlotLayout.runSize
    }

    /// The start of the first of `count` slots, all behind one another; `count` is at most `SlotLayout.count`. What was sent before may be overwritten.
    mutating func reserve(_ count: Int = 1) -> Int {
        if nextSlot + count > SlotLayout.count { flush() }
        let slot = nextSlot * SlotLayout.size
        nextSlot += count
        return slot
    }

    /// A place for a frame of `length` bytes, with what a link needs before it, that is none of the slots: what lies in those stays.
    mutating func reservePart(_ length: Int) -> Int {
        let size = (linkHeadroom + max(length, EthernetHeader.minimumFrame) + 63) & ~63
        if nextPart + size > SlotLayout.partsSize {
            // Slots that are filled and not sent yet are still needed.
            link.flush(&arena)
            nextPart = 0
        }
        let place = SlotLayout.parts + nextPart
        nextPart += size
        return place
    }

    /// The guest is gone: nothing more is sent.
    mutating func close() { isClosed = true }

    /// Another guest may have another address.
    mutating func forgetGuest() {
        guestMAC = .broadcast
        stations.forget()
        mtu.forget()
        // Who still holds the socket of the last one must not see what the next one is sent.
        arena.discardPages()
    }

    /// Ends a round.
    mutating func flush() {
        link.flush(&arena)
        nextSlot = 0
        nextPart = 0
    }

    /// Where a packet to this address goes on the guest's link.
    func linkAddress(of destination: IPAddress) -> MACAddress {
        if destination.isMulticast { return destination.ipv4.map { MACAddress.multicast($0) } ?? MACAddress.multicast(destination.ipv6) }
        return stations.find(destination) ?? guestMAC
    }

    /// Writes Ethernet and IP headers into the slot; returns where the L4 header starts. `datagrams`: as many packets are made of it by whoever cuts it.
    mutating func writeHeaders(
        slot: Int, source: IPAddress, destination: IPAddress, proto: IPProtocol, payloadLength: Int, datagrams: Int = 1,
        flowLabel: UInt32 = 0, hopLimit: UInt8 = 64, typeOfService: UInt8 = 0
    ) -> Int {
        let mac = linkAddress(of: destination)
        let (identification, gatewayMAC) = (identify(proto, datagrams), gatewayMAC)
        var bytes = arena.mutableBytes
        let ip = slot + SlotLayout.ip
        guard let source4 = source.ipv4, let destination4 = destination.ipv4 else {
            EthernetHeader(destination: mac, source: gatewayMAC, type: .ipv6).write(to: &bytes, at: slot + linkHeadroom)
            IPv6Header(
                source: source.ipv6, destination: destination.ipv6, nextHeader: proto, payloadLength: payloadLength,
                hopLimit: hopLimit, trafficClass: typeOfService, flowLabel: flowLabel
            ).write(to: &bytes, at: ip)
            return ip + IPv6Header.length
        }
        EthernetHeader(destination: mac, source: gatewayMAC, type: .ipv4).write(to: &bytes, at: slot + linkHeadroom)
        IPv4Header(
            source: source4, destination: destination4, proto: proto, payloadLength: payloadLength,
            timeToLive: hopLimit, typeOfService: typeOfService, identification: identification,
            // A datagram may have come in fragments, and whoever the guest passes it on to may need them again. TCP follows the guest's MSS.
            dontFragment: proto == .tcp
        ).write(to: &bytes, at: ip)
        return ip + IPv4Header.length
    }

    /// The identification of a packet, or of the first of several, which those behind it are counted from.
    private mutating func identify(_ proto: IPProtocol, _ count: Int) -> UInt16 {
        if proto == .tcp {
            segmentIdentification &+= 1
            return segmentIdentification
        }
        defer { identification &+= UInt16(truncatingIfNeeded: count) }
        return identification
    }

    /// Sends the frame that was built in `slot` and ends at `end`. True when the link took it.
    mutating func send(slot: Int, end: Int, offload: VirtioNetHeader, gap: Int = 0) -> Bool {
        let offset = slot + linkHeadroom
        var frame = Frame(offset: offset, length: end - offset, offload: offload, gap: UInt16(truncatingIfNeeded: gap))
        if frame.length < EthernetHeader.minimumFrame {
            var bytes = arena.mutableBytes
            for position in end..<(offset + EthernetHeader.minimumFrame) { bytes.store(UInt8(0), at: position) }
            frame.length = EthernetHeader.minimumFrame
        }
        guard offload.segmentation == .none || offloads.contains(offload.segmentation == .udp ? .udpSegmentation : .tcpSegmentation) else {
            // Made for a driver that could do more than the one that is there now.
            counters.add(.framesRefusedByGuest)
            return false
        }
        if offload.flags.contains(.needsChecksum), !offloads.contains(.checksum) {
            var bytes = arena.mutableBytes
            _ = Checksum.complete(
                in: &bytes, start: offset + Int(offload.checksumStart), fieldOffset: Int(offload.checksumOffset), end: end)
            frame.offload = VirtioNetHeader()
        }
        switch link.send(frame, in: &arena) {
        case .sent:
            counters.add(.framesToGuest)
            counters.add(.bytesToGuest, frame.length)
            return true
        case .closed:
            isClosed = true
            return false
        case .full, .refused:
            counters.add(.framesRefusedByGuest)
            return false
        }
    }
}
