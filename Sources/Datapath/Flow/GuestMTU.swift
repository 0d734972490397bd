internal import Wire

/// How large a packet to the guest may be: datagrams and echo replies that are larger go in parts (`GuestPort+Parts`). TCP keeps to the segment size of each
/// connection's SYN.
///
/// At first that is what a namespace was told, whose kernel takes longer frames as well. But a machine may not have asked, or its network card may take no more
/// than 1500 bytes, and drops all that is longer: at first, 1500 is what every Ethernet takes (RFC 894). What an interface takes shows in three ways: in the largest
/// segment that its SYNs ask for, in the parts that it cuts its own packets to, and in packets that it sends whole. The fourth are errors of routers behind it.
///
/// The smallest counts that was shown lately, by whatever host behind the guest: too small costs some headers, too large loses datagrams. Something larger counts
/// only when nothing as small was shown for a while, since a guest may have one connection through a tunnel, but also begin small and be told more
/// later, as a machine does that boots from the network. Nothing that has gone by makes it larger, only something larger that is shown.
struct GuestMTU: BitwiseCopyable {
    /// Less is not believed: what every host of IPv4 can take (RFC 791, section 3.2), and every link of IPv6 (RFC 8200, section 5).
    static var least4: Int { 576 }
    static var least6: Int { 1280 }
    /// Of who shows nothing: Ethernet's.
    private static var usual: Int { 1500 }
    /// Milliseconds for which something larger does not count.
    private static var patience: Int64 { 60_000 }
    /// The same behind an error of a router: not less than five minutes, better ten (RFC 8201, section 4).
    private static var longPatience: Int64 { 600_000 }

    /// What the guest was told by DHCP and router advertisements, or has in a namespace; 0: nothing.
    private let told: Int
    /// Whether what was told can be relied on before the guest shows anything.
    private let isTaken: Bool
    private(set) var value: Int
    /// From when on something larger counts, in milliseconds of the worker's clock.
    private var until = Int64.min

    init(told: Int, isTaken: Bool) {
        self.told = told
        self.isTaken = isTaken
        value = told == 0 ? GuestMTU.usual : isTaken ? told : min(told, GuestMTU.usual)
    }

    /// Another guest may be another kind of machine.
    mutating func forget() { self = GuestMTU(told: told, isTaken: isTaken) }

    /// Bytes of the largest packet of a family, with its headers.
    @_noAllocation @_noLocks
    func packet(isIPv4: Bool) -> Int { max(value, isIPv4 ? GuestMTU.least4 : GuestMTU.least6) }

    /// The same without the IP header.
    @_noAllocation @_noLocks
    func payload(to guest: IPAddress) -> Int { packet(isIPv4: guest.isIPv4) - SlotLayout.ipHeaderLength(guest) }

    // MARK: What the guest shows

    /// A segment of `guest` with SYN. The size in it leaves room for headers without options, whatever is used later (RFC 6691). Any program may ask for a small one,
    /// and any host behind the guest: less than what network cards take counts for that connection only.
    mutating func learn(fromSyn header: TCPHeader, of guest: IPAddress, now: Int64) {
        guard let size = header.maximumSegmentSize else { return }
        let packet = Int(size) + SlotLayout.ipHeaderLength(guest) + TCPHeader.length
        note(max(packet, GuestMTU.usual), lasting: GuestMTU.patience, now: now)
    }

    /// The guest has cut a packet, and the largest part has `size` bytes with its headers. As all parts but the last are multiples of eight, up to seven more would
    /// have fitted.
    mutating func learn(fromPart size: Int, now: Int64) {
        let agrees = size <= value && value < size + 8
        note(agrees ? value : size, lasting: GuestMTU.patience, now: now)
    }

    /// The guest has sent `size` bytes in one piece. It takes no less, but maybe more, which the next one may show.
    mutating func learn(fromWhole size: Int, now: Int64) {
        if size > max(value, GuestMTU.usual) { note(size, lasting: 0, now: now) }
    }

    /// A router behind the guest has dropped a packet of IPv6, since its next link takes `size` bytes only. The figure is one for both families, so IPv4 is cut to that
    /// as well, but to no less than any link of IPv6 takes: a router between the families may name less.
    mutating func learn(fromRouter size: Int, now: Int64) {
        let size = max(size, GuestMTU.least6)
        if size < value { note(size, lasting: GuestMTU.longPatience, now: now) }
    }

    private mutating func note(_ size: Int, lasting time: Int64, now: Int64) {
        let size = min(max(size, GuestMTU.least4), told == 0 ? 65535 : told)
        guard size <= value || now >= until else { return }
        value = size
        until = max(until, now + time)
    }
}
