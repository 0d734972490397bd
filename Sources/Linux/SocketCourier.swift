// Sockets belong to the network namespace of the process that made them, wherever they are used. So a process in one
// namespace can have sockets of another: someone in there makes them and hands them out.
//
//     who uses sockets                                who makes them
//         SocketOrder   "32 sockets for TCP, IPv4"  -->
//                       <--  SocketAnswer, with the descriptors beside it
//
// Both ends are this program, forked, so a message is the value's own bytes. Neither end trusts what it reads: orders
// hold numbers only, and are asked for what they mean. Nothing here allocates.

internal import CLinux
public import Wire

/// What is wanted of the process in the other namespace.
public struct SocketOrder: Equatable, Sendable, BitwiseCopyable {
    public enum Kind: UInt32, Sendable {
        /// Sockets that are bound to nothing, `count` of them.
        case sockets = 1
        /// One that listens, or for datagrams is bound, at `address` and `port`.
        case listener = 2
    }

    private let kindNumber: UInt32
    private let protocolNumber: UInt32
    /// Comes back with the answer.
    public let number: UInt32
    public let count: UInt32
    private let high, low: UInt64
    private let portNumber: UInt32
    private let unused: UInt32

    /// Of `address`, `.sockets` takes the family only.
    public init(_ kind: Kind, isTCP: Bool, address: IPAddress, port: UInt16 = 0, count: Int = 1, number: UInt32) {
        kindNumber = kind.rawValue
        protocolNumber = isTCP ? 6 : 17
        self.number = number
        self.count = UInt32(clamping: count)
        (high, low) = (address.high, address.low)
        portNumber = UInt32(port)
        unused = 0
    }

    fileprivate init() { self.init(.sockets, isTCP: false, address: IPAddress(IPv4Address.any), count: 0, number: 0) }

    /// nil: none that is known.
    public var kind: Kind? { Kind(rawValue: kindNumber) }
    public var isTCP: Bool { protocolNumber == 6 }
    public var address: IPAddress { IPAddress(IPv6Address(high: high, low: low)) }
    public var port: UInt16 { UInt16(truncatingIfNeeded: portNumber) }
}

/// What became of an order.
public struct SocketAnswer: Equatable, Sendable, BitwiseCopyable {
    /// The order's.
    public let number: UInt32
    private let code: Int32

    fileprivate init(_ number: UInt32, _ code: Int32) {
        self.number = number
        self.code = code
    }

    public var error: Errno? { code == 0 ? nil : Errno(code) }
}

/// One end of the line between the two, which keeps messages apart (`DescriptorPassing.pair`).
@safe
public struct SocketCourier: ~Copyable {
    public enum Receipt: Equatable, Sendable {
        case answer(SocketAnswer)
        /// There is none yet.
        case nothing
        /// There will be none any more.
        case closed
    }

    /// Most sockets in one answer.
    public static var most: Int { 64 }

    public let channel: Descriptor
    private var numbers: FixedTable<Int32>
    /// Descriptors that came with the last answer, or that go with the next one.
    public private(set) var count = 0

    public init(_ channel: Descriptor) throws(Errno) {
        let numbers = try FixedTable<Int32>(count: DescriptorPassing.most)
        self.numbers = numbers
        self.channel = channel
    }

    /// Neither end waits for the other longer than this.
    public static func limitWaiting(_ channel: Descriptor, milliseconds: Int) throws(Errno) {
        var time = timeval(tv_sec: milliseconds / 1000, tv_usec: milliseconds % 1000 * 1000)
        let size = UInt32(MemoryLayout<timeval>.size)
        // SAFETY: the kernel reads the structure during each call.
        try Errno.check(unsafe linux_setsockopt(channel.number, SOL_SOCKET, SO_RCVTIMEO, &time, size))
        try Errno.check(unsafe linux_setsockopt(channel.number, SOL_SOCKET, SO_SNDTIMEO, &time, size))
    }

    /// Takes one of the received descriptors away, so that `closeAll` does not close it. The last one takes its place.
    public mutating func handOver(_ index: Int) -> Descriptor {
        precondition(index >= 0 && index < count)
        let descriptor = Descriptor(numbers[index])
        count -= 1
        numbers[index] = numbers[count]
        return descriptor
    }

    // MARK: The end that uses sockets

    /// (sendmsg)
    public mutating func send(_ order: SocketOrder, waits: Bool) -> Outcome {
        var order = order
        let size = MemoryLayout<SocketOrder>.size
        let flags = waits ? 0 : Int32(MSG_DONTWAIT)
        let table = unsafe pointer
        // SAFETY: the kernel reads the value's bytes during the call, and no descriptors.
        return Outcome(restarting { unsafe linux_send_descriptors(channel.number, &order, size, table, 0, flags) })
    }

    /// The next answer, whose descriptors are ours from here on: `count` of them. EMFILE: they had no room here. (recvmsg)
    public mutating func receiveAnswer(waits: Bool) -> Receipt {
        var answer = SocketAnswer(0, 0)
        let size = MemoryLayout<SocketAnswer>.size
        let flags = waits ? 0 : Int32(MSG_DONTWAIT)
        let table = unsafe pointer
        var found = 0
        var complete: Int32 = 1
        // SAFETY: every bit pattern is an answer; the table has room for the kernel's most, and the counts are written during the call.
        let length = restarting {
            unsafe linux_receive_descriptors(channel.number, &answer, size, table, &found, &complete, flags)
        }
        count = found
        if length == -Int(EAGAIN) { return .nothing }
        guard length == size, complete != 0 else {
            closeAll()
            return length > 0 ? .answer(SocketAnswer(answer.number, EMFILE)) : .closed
        }
        return .answer(answer)
    }

    // MARK: The end that makes them

    /// Waits for the next order; nil when there will be none. (recvmsg)
    public mutating func receiveOrder() -> SocketOrder? {
        while true {
            var order = SocketOrder()
            let size = MemoryLayout<SocketOrder>.size
            let table = unsafe pointer
            var found = 0
            var complete: Int32 = 1
            // SAFETY: every bit pattern is an order; otherwise as in `receiveAnswer`.
            let length = restarting {
                unsafe linux_receive_descriptors(channel.number, &order, size, table, &found, &complete, 0)
            }
            count = found
            closeAll()
            if length <= 0 { return nil }
            if length == size { return order }
        }
    }

    /// Puts a socket beside the answer. Precondition: fewer than `most` so far.
    public mutating func enclose(_ socket: Descriptor) {
        precondition(count < SocketCourier.most)
        numbers[count] = socket.number
        count += 1
    }

    /// Answers, and lets go of what goes with it. Where the kernel cannot pass that on, for lack of memory or since too many descriptors of this user are under way
    /// (ETOOMANYREFS), its error is the answer. False when nobody listens any more. (sendmsg, close)
    public mutating func answer(_ order: SocketOrder, _ error: Errno?) -> Bool {
        var result = send(SocketAnswer(order.number, error?.code ?? 0), enclosed: count)
        closeAll()
        for _ in 0..<SocketCourier.mostTries where result < 0 && !SocketCourier.isEnd(result) {
            result = send(SocketAnswer(order.number, Int32(truncatingIfNeeded: -result)), enclosed: 0)
        }
        return result > 0
    }

    /// What cannot even be told of then, will hardly ever be.
    private static var mostTries: Int { 100 }

    private static func isEnd(_ result: Int) -> Bool {
        result == -Int(EPIPE) || result == -Int(ECONNRESET) || result == -Int(ENOTCONN)
    }

    private func send(_ answer: SocketAnswer, enclosed: Int) -> Int {
        var answer = answer
        let size = MemoryLayout<SocketAnswer>.size
        let table = unsafe pointer
        // SAFETY: the kernel reads the value's bytes and the first `enclosed` numbers during the call.
        return restarting { unsafe linux_send_descriptors(channel.number, &answer, size, table, enclosed, 0) }
    }

    public mutating func closeAll() {
        for index in 0..<count { Descriptor(numbers[index]).close() }
        count = 0
    }

    private var pointer: UnsafeMutablePointer<Int32> {
        // SAFETY: a table of this very type; who gets the pointer uses it during one call.
        unsafe numbers.start.assumingMemoryBound(to: Int32.self)
    }
}

extension SystemCall {
    /// What the end that makes sockets needs, for as long as it runs.
    public static var socketMaking: [Permission] {
        let flags = Int32(SOCK_NONBLOCK.rawValue | SOCK_CLOEXEC.rawValue)
        let kinds = [Int32(SOCK_STREAM.rawValue), Int32(SOCK_DGRAM.rawValue)]
        return [
            Permission(.recvmsg), Permission(.sendmsg),
            Permission(
                .socket, Condition(0, [AF_INET, AF_INET6]), Condition(1, kinds, ignoring: flags),
                Condition(2, [Int32(IPPROTO_TCP), Int32(IPPROTO_UDP)])),
            .setting(SOL_SOCKET, SO_REUSEADDR, SO_OOBINLINE),
            .setting(Int32(IPPROTO_TCP), TCP_NODELAY),
            .setting(Int32(IPPROTO_IP), IP_PKTINFO, IP_MULTICAST_ALL),
            .setting(Int32(IPPROTO_IPV6), IPV6_RECVPKTINFO, IPV6_V6ONLY, LinuxOption.ipv6MulticastAll),
            Permission(.bind), Permission(.listen), Permission(.close), Permission(.exitGroup),
        ]
    }
}
