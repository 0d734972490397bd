internal import Datapath
internal import Linux
internal import Settings
internal import Setup
internal import Wire

/// What the host's kernel says of the hosts on the template interfaces' links, and of the host's own addresses and interfaces that come and go.
///
/// The guest hears the former's own link-layer addresses, purely for show, since every frame of the guest comes to us whatever its destination. Flows that send from
/// an address that has gone choose another. An interface that was made anew, as a tunnel's is, has the name that it had, and another index, which is what sockets are
/// bound to. Nothing here is fatal. Where the kernel had no room for an announcement, everything is asked for again.
struct HostFeed: ~Copyable {
    /// Readable when something has changed.
    let descriptor: Descriptor
    private var question: RepeatedQuestion
    private var interfaces: FollowedInterfaces
    private var buffer: Mapping

    /// Listens, and tells `worker` what is known already. nil where the kernel does not let us.
    static func open<Work: Worker & ~Copyable>(_ network: Network, _ worker: inout Work, _ log: Log) -> HostFeed? {
        let feed: HostFeed
        do throws(Errno) {
            feed = try HostFeed(network)
        } catch {
            log.debug("No news of the host's network: \(error.text)")
            return nil
        }
        do throws(Errno) {
            try feed.tellKnown(network, &worker, log)
        } catch {
            log.debug("Not all of the host's network is known: \(error.text)")
        }
        return feed
    }

    private func tellKnown<Work: Worker & ~Copyable>(_ network: Network, _ worker: inout Work, _ log: Log) throws(Errno) {
        let mapsHost = network.ipv4?.mapGuestAddress != nil || network.ipv6?.mapGuestAddress != nil
        guard mapsHost || interfaces.haveTemplate else { return }
        var netlink = try NetlinkSocket()
        if mapsHost {
            for address in try netlink.addresses() where address.isForOthers {
                worker.note(address.address, isOnTemplate: interfaces.isTemplate(address.index, for: address.address))
            }
        }
        var count = 0
        for index in interfaces.templates {
            for neighbour in try netlink.neighbours(index: index) where interfaces.isTemplate(neighbour.index, for: neighbour.address) {
                worker.learn(neighbour: neighbour)
                count += 1
            }
        }
        log.debug("Neighbours known to the host: ", count)
    }

    static var systemCalls: [SystemCall.Permission] { SystemCall.announcements }

    private init(_ network: Network) throws(Errno) {
        let buffer = try Mapping(byteCount: 16 << 10)
        // Before the table is read, so that no change is lost in between.
        let listener = try AnnouncementListener()
        descriptor = listener.descriptor
        question = RepeatedQuestion(listener: listener)
        interfaces = FollowedInterfaces(network)
        self.buffer = buffer
    }

    /// Passes on what has changed. Allocates nothing. (recvmsg, sendmsg)
    mutating func read<Work: Worker & ~Copyable>(into worker: inout Work) {
        // While the span of `buffer` is in use, nothing else of this may be changed.
        var (interfaces, question) = (interfaces, question)
        defer { (self.interfaces, self.question) = (interfaces, question) }
        // Level-triggered: what a busy network has beyond this comes with the next round.
        for _ in 0..<16 {
            var bytes = buffer.mutableBytes
            let count = question.listener.receive(into: &bytes)
            if count == 0 {
                // Not before all is read: until then, more may get lost.
                question.begin()
                return
            }
            if count < 0 {
                question.isBehind = true
                continue
            }
            let received = buffer.bytes.extracting(0..<count)
            var offset = 0
            while let announcement = AnnouncementListener.next(in: received, at: &offset) {
                switch announcement {
                case .neighbour(let neighbour): if interfaces.isTemplate(neighbour.index, for: neighbour.address) { worker.learn(neighbour: neighbour) }
                case .addressGone(let address): worker.abandon(address)
                case .addressCame(let address, let index):
                    question.forgetAddresses(&worker)
                    worker.note(address, isOnTemplate: interfaces.isTemplate(index, for: address))
                case .linkCame(let name, let index): while let old = interfaces.change(name, to: index) { worker.renumber(old, to: index) }
                case .endOfList(let isComplete): question.goOn(isComplete, &worker)
                }
            }
        }
    }
}

/// Everything is asked for once more where announcements were lost: links, then addresses, then neighbours, since the kernel answers one question at a time.
private struct RepeatedQuestion {
    let listener: AnnouncementListener
    private var asked: AnnouncementListener.List?
    /// What the host has lost is in no list: once the first address is told, or there is none, those from before are forgotten.
    private var hasForgotten = false
    /// Announcements were lost since this was begun last.
    var isBehind = false

    init(listener: AnnouncementListener) { self.listener = listener }

    mutating func begin() {
        guard isBehind, asked == nil else { return }
        (isBehind, hasForgotten) = (false, false)
        ask(for: .links)
    }

    /// A list has ended. Where the kernel refuses the rest of it, what is known has to do until announcements are lost again.
    mutating func goOn<Work: Worker & ~Copyable>(_ isComplete: Bool, _ worker: inout Work) {
        switch asked {
        case .links where isComplete: ask(for: .addresses)
        case .addresses where isComplete:
            forgetAddresses(&worker)
            worker.distrustSources()
            ask(for: .neighbours)
        default: asked = nil
        }
    }

    /// To be called before an address is noted.
    mutating func forgetAddresses<Work: Worker & ~Copyable>(_ worker: inout Work) {
        guard asked == .addresses, !hasForgotten else { return }
        hasForgotten = true
        worker.forgetAddresses()
    }

    private mutating func ask(for list: AnnouncementListener.List) { asked = listener.ask(for: list) ? list : nil }
}

/// The host's interfaces that each family's addresses are those of, and that its sockets are bound to.
private struct FollowedInterfaces {
    private struct Interface {
        let name: InterfaceName?
        /// 0 without one.
        var index: Int32

        init(_ name: String?, _ index: Int32?) {
            self.name = name.flatMap { InterfaceName($0) }
            self.index = index ?? 0
        }

        mutating func change(_ name: InterfaceName, to new: Int32) -> Int32? {
            guard name == self.name, index != new else { return nil }
            defer { index = new }
            return index
        }
    }

    private var template4, template6, outbound4, outbound6: Interface

    init(_ network: Network) {
        template4 = Interface(network.ipv4?.templateInterface, network.ipv4?.templateInterfaceIndex)
        template6 = Interface(network.ipv6?.templateInterface, network.ipv6?.templateInterfaceIndex)
        outbound4 = Interface(network.ipv4?.outboundInterface, network.ipv4?.outboundInterfaceIndex)
        outbound6 = Interface(network.ipv6?.outboundInterface, network.ipv6?.outboundInterfaceIndex)
    }

    var templates: Set<Int32> { Set([template4.index, template6.index].filter { $0 != 0 }) }
    var haveTemplate: Bool { template4.index != 0 || template6.index != 0 }

    /// Whether the addresses of this family are modelled on the interface of that index.
    func isTemplate(_ index: Int32, for address: IPAddress) -> Bool { index == (address.isIPv4 ? template4.index : template6.index) }

    /// There is an interface called `name`, with the index `new`: what one of these was until now; nil when all of that name know.
    mutating func change(_ name: InterfaceName, to new: Int32) -> Int32? {
        template4.change(name, to: new) ?? template6.change(name, to: new) ?? outbound4.change(name, to: new) ?? outbound6.change(name, to: new)
    }
}
