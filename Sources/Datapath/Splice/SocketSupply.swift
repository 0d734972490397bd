internal import Linux
internal import Wire

/// Ready sockets of the guest's namespace, where only its helper can make them (`SocketCourier`).
///
/// Some of each kind lie ready; when half are left, more are ordered, and they come while the rest is used. Only who finds none
/// waits: the first of a kind, and bursts that are faster than the helper.
struct SocketSupply: ~Copyable {
    private static var most: Int { SocketCourier.most }
    private static var kinds: Int { 4 }

    private var courier: SocketCourier
    private var ready: FixedTable<Descriptor>
    private var counts = InlineArray<4, Int>(repeating: 0)
    /// Orders that are under way, by number; 0: none.
    private var orders = InlineArray<4, UInt32>(repeating: 0)
    private var lastOrder: UInt32 = 0
    /// Sockets of one kind: fewer where descriptors are few.
    private let capacity: Int
    private(set) var isClosed = false
    /// An answer was waited for in vain. Nobody waits again before there is one: everything else stands still meanwhile.
    private var isSilent = false

    /// `channel` is ours from here on.
    init(_ channel: Descriptor) throws(Errno) {
        let courier = try SocketCourier(channel)
        let ready = try FixedTable<Descriptor>(count: SocketSupply.kinds * SocketSupply.most)
        self.courier = courier
        self.ready = ready
        capacity = max(2, min(SocketSupply.most, Int(clamping: OpenFileLimit.current / 64)))
    }

    /// Sockets that lie ready.
    var readyCount: Int { counts[0] + counts[1] + counts[2] + counts[3] }

    /// Becomes readable when sockets arrive.
    var channel: Descriptor { courier.channel }

    private static func kind(isTCP: Bool, isIPv4: Bool) -> Int { (isTCP ? 2 : 0) + (isIPv4 ? 1 : 0) }

    /// A socket that is bound to nothing; TCP_NODELAY and SO_OOBINLINE are set. ENOTCONN: the helper is gone. EAGAIN: it does not answer. Other errors are those
    /// of running out of something.
    mutating func take(isTCP: Bool, isIPv4: Bool) throws(Errno) -> Descriptor {
        let kind = SocketSupply.kind(isTCP: isTCP, isIPv4: isIPv4)
        while counts[kind] == 0 { try fetch(kind, isTCP, isIPv4) }
        counts[kind] -= 1
        let socket = ready[kind * SocketSupply.most + counts[kind]]
        if counts[kind] <= capacity / 2, orders[kind] == 0 { order(kind, isTCP, isIPv4, waits: false) }
        return socket
    }

    /// Makes sure that the next `take` of this kind succeeds. Errors are those of `take`.
    mutating func reserve(isTCP: Bool, isIPv4: Bool) throws(Errno) {
        let kind = SocketSupply.kind(isTCP: isTCP, isIPv4: isIPv4)
        while counts[kind] == 0 { try fetch(kind, isTCP, isIPv4) }
    }

    /// Takes in what has arrived.
    mutating func receive() {
        while case .answer(let answer) = next(waits: false) { store(answer) }
    }

    /// A socket that listens in the namespace, or receives datagrams, at an address and a port. Waits for the helper, some tens of microseconds.
    mutating func listener(isTCP: Bool, _ address: IPAddress, port: UInt16) throws(Errno) -> Descriptor {
        if isSilent { receive() }
        if isSilent { throw Errno(11) }  // EAGAIN
        let number = nextNumber()
        let order = SocketOrder(.listener, isTCP: isTCP, address: address, port: port, number: number)
        try check(courier.send(order, waits: true))
        while true {
            let answer = try awaitAnswer()
            guard answer.number == number else {
                store(answer)
                continue
            }
            if let error = answer.error { throw error }
            guard courier.count == 1 else {
                courier.closeAll()
                throw Errno(71)  // EPROTO
            }
            return courier.handOver(0)
        }
    }

    // MARK: Orders and answers

    private mutating func nextNumber() -> UInt32 {
        lastOrder &+= 1
        if lastOrder == 0 { lastOrder = 1 }
        return lastOrder
    }

    private mutating func order(_ kind: Int, _ isTCP: Bool, _ isIPv4: Bool, waits: Bool) {
        let family = isIPv4 ? IPAddress(IPv4Address.any) : IPAddress(IPv6Address.any)
        let number = nextNumber()
        let order = SocketOrder(.sockets, isTCP: isTCP, address: family, count: capacity - counts[kind], number: number)
        let outcome = courier.send(order, waits: waits)
        if outcome.succeeded { orders[kind] = number } else { noteEnd(outcome) }
    }

    /// Waits until there are sockets of a kind.
    private mutating func fetch(_ kind: Int, _ isTCP: Bool, _ isIPv4: Bool) throws(Errno) {
        if isSilent { receive() }
        if counts[kind] > 0 { return }
        if isClosed { throw Errno(107) }  // ENOTCONN
        if isSilent { throw Errno(11) }  // EAGAIN
        if orders[kind] == 0 { order(kind, isTCP, isIPv4, waits: true) }
        guard orders[kind] != 0 else { throw Errno(isClosed ? 107 : 11) }  // ENOTCONN, EAGAIN
        let answer = try awaitAnswer()
        let isOurs = answer.number == orders[kind]
        store(answer)
        if isOurs, counts[kind] == 0 { throw answer.error ?? Errno(24) }  // EMFILE
    }

    private mutating func awaitAnswer() throws(Errno) -> SocketAnswer {
        switch next(waits: true) {
        case .answer(let answer): return answer
        case .nothing: throw Errno(11)  // EAGAIN
        case .closed: throw Errno(107)  // ENOTCONN
        }
    }

    private mutating func next(waits: Bool) -> SocketCourier.Receipt {
        let receipt = courier.receiveAnswer(waits: waits)
        switch receipt {
        case .answer: isSilent = false
        case .nothing: if waits { isSilent = true }
        case .closed: isClosed = true
        }
        return receipt
    }

    /// Puts what came with an answer where it belongs; what nobody waits for any more is closed.
    private mutating func store(_ answer: SocketAnswer) {
        for kind in 0..<SocketSupply.kinds where orders[kind] != 0 && orders[kind] == answer.number {
            orders[kind] = 0
            while courier.count > 0, counts[kind] < SocketSupply.most {
                ready[kind * SocketSupply.most + counts[kind]] = courier.handOver(courier.count - 1)
                counts[kind] += 1
            }
        }
        courier.closeAll()
    }

    private mutating func check(_ outcome: Outcome) throws(Errno) {
        guard let error = outcome.error else { return }
        noteEnd(outcome)
        throw isClosed ? Errno(107) : error
    }

    private mutating func noteEnd(_ outcome: Outcome) {
        if outcome.raw == -32 || outcome.raw == -104 { isClosed = true }  // EPIPE, ECONNRESET
    }
}
