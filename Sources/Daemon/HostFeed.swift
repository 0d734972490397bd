internal import Datapath
internal import Linux
internal import Settings
internal import Setup
internal import Wire

/// What the host's kernel says of the hosts on the template interfaces' links, and of the host's own addresses that come and go.
///
/// The guest hears the former's own link-layer addresses, purely for show, since every frame of the guest comes to us whatever its destination. Flows that send from
/// an address that has gone choose another. Nothing here is fatal, and announcements that the kernel lost stay lost.
struct HostFeed: ~Copyable {
    /// Readable when something has changed.
    let descriptor: Descriptor
    private let listener: AnnouncementListener
    /// The interfaces that each family's addresses are those of; 0 without one.
    private let interfaces: (ipv4: Int32, ipv6: Int32)
    private var buffer: Mapping

    /// Listens, and tells `worker` what is known already. nil where the kernel does not let us.
    static func open<Work: Worker & ~Copyable>(_ network: Network, _ worker: inout Work, _ log: Log) -> HostFeed? {
        let interfaces = (ipv4: network.ipv4?.templateInterfaceIndex ?? 0, ipv6: network.ipv6?.templateInterfaceIndex ?? 0)
        do throws(Errno) {
            let feed = try HostFeed(interfaces)
            guard interfaces != (0, 0) else { return feed }
            var netlink = try NetlinkSocket()
            var count = 0
            for index in Set([interfaces.ipv4, interfaces.ipv6]) where index != 0 {
                for neighbour in try netlink.neighbours(index: index) where feed.isTemplate(neighbour.index, for: neighbour.address) {
                    worker.learn(neighbour: neighbour)
                    count += 1
                }
            }
            log.debug("Neighbours known to the host: ", count)
            return feed
        } catch {
            log.debug("No neighbours from the host: \(error.text)")
            return nil
        }
    }

    static var systemCalls: [SystemCall.Permission] { SystemCall.announcements }

    private init(_ interfaces: (ipv4: Int32, ipv6: Int32)) throws(Errno) {
        let buffer = try Mapping(byteCount: 16 << 10)
        // Before the table is read, so that no change is lost in between.
        listener = try AnnouncementListener()
        descriptor = listener.descriptor
        self.interfaces = interfaces
        self.buffer = buffer
    }

    /// Whether the addresses of this family are modelled on the interface of that index.
    private func isTemplate(_ index: Int32, for address: IPAddress) -> Bool { index == (address.isIPv4 ? interfaces.ipv4 : interfaces.ipv6) }

    /// Passes on what has changed. Allocates nothing. (recvmsg)
    mutating func read<Work: Worker & ~Copyable>(into worker: inout Work) {
        let listener = listener
        // Level-triggered: what a busy network has beyond this comes with the next round.
        for _ in 0..<16 {
            var bytes = buffer.mutableBytes
            let count = listener.receive(into: &bytes)
            if count == 0 { return }
            if count < 0 { continue }
            let received = buffer.bytes.extracting(0..<count)
            var offset = 0
            while let announcement = AnnouncementListener.next(in: received, at: &offset) {
                switch announcement {
                case .neighbour(let neighbour): if isTemplate(neighbour.index, for: neighbour.address) { worker.learn(neighbour: neighbour) }
                case .addressGone(let address): worker.abandon(address)
                case .addressCame(let address, let index): worker.note(address, isOnTemplate: isTemplate(index, for: address))
                }
            }
        }
    }
}
