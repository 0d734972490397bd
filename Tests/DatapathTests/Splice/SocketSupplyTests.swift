import Foundation
import Linux
import Testing
import Wire

@testable import Datapath

/// The other end of a supply: a thread that makes sockets in this very namespace, as the helper does in another.
final class Maker: @unchecked Sendable {
    private let ours: Descriptor
    private let lock = NSLock()
    private var seen: [SocketOrder] = []
    private var failure: Errno?

    /// `failing`: what all orders come to.
    init(failing: Errno? = nil) throws {
        let (ours, theirs) = try DescriptorPassing.pair()
        self.ours = ours
        failure = failing
        try SocketCourier.limitWaiting(ours, milliseconds: 2000)
        Thread.detachNewThread { [self] in serve(theirs) }
    }

    var channel: Descriptor { ours }
    var orders: [SocketOrder] { lock.withLock { seen } }

    private func serve(_ channel: Descriptor) {
        guard var courier = try? SocketCourier(channel) else { return }
        defer { channel.close() }
        while let order = courier.receiveOrder() {
            lock.withLock { seen.append(order) }
            var error = failure
            if error == nil {
                do throws(Errno) {
                    for _ in 0..<Int(order.count) {
                        let socket = try Descriptor.socket(order.isTCP ? .stream : .datagram, for: order.address)
                        courier.enclose(socket)
                        if order.kind == .listener {
                            try socket.bind(SocketAddress(Endpoint(order.address, order.port)))
                            if order.isTCP { try socket.listen() }
                        }
                    }
                } catch let problem {
                    error = problem
                    courier.closeAll()
                }
            }
            if !courier.answer(order, error) { return }
        }
    }
}

@Suite struct SocketSupplyTests {
    @Test(arguments: [(true, true), (true, false), (false, true), (false, false)])
    func socketsAreOfTheKindAskedFor(_ isTCP: Bool, _ isIPv4: Bool) throws {
        let maker = try Maker()
        defer { maker.channel.close() }
        var supply = try SocketSupply(maker.channel)
        var taken: [Descriptor] = []
        for _ in 0..<300 { taken.append(try supply.take(isTCP: isTCP, isIPv4: isIPv4)) }
        #expect(Set(taken).count == 300)
        let address = isIPv4 ? IPAddress(IPv4Address.loopback) : IPAddress(IPv6Address.loopback)
        for socket in taken {
            try socket.bind(SocketAddress(Endpoint(address, 0)))
            let listens = (try? socket.listen()) != nil
            #expect(listens == isTCP)
        }
        // Many at a time, and again before none is left.
        #expect(maker.orders.count < 40)
        #expect(maker.orders.allSatisfy { $0.kind == .sockets && $0.isTCP == isTCP && $0.address.isIPv4 == isIPv4 })
        for socket in taken { socket.close() }
    }

    /// An answer to an earlier order may come first, and its sockets are kept.
    @Test func listenersComeBetweenOtherAnswers() throws {
        let maker = try Maker()
        defer { maker.channel.close() }
        var supply = try SocketSupply(maker.channel)
        var first = try supply.take(isTCP: true, isIPv4: true)
        let loopback = IPAddress(IPv4Address.loopback)
        for _ in 0..<50 {
            first.close()
            first = try supply.take(isTCP: true, isIPv4: true)
            let listener = try supply.listener(isTCP: true, loopback, port: 0)
            let place = try listener.localAddress()
            #expect(place.endpoint?.address == loopback)
            #expect(throws: Errno(98)) {  // EADDRINUSE
                try supply.listener(isTCP: true, loopback, port: place.endpoint?.port ?? 0)
            }
            listener.close()
        }
        first.close()
    }

    @Test func failuresAreThoseOfTheMaker() throws {
        let maker = try Maker(failing: Errno(23))  // ENFILE
        defer { maker.channel.close() }
        var supply = try SocketSupply(maker.channel)
        for _ in 0..<3 { #expect(throws: Errno(23)) { try supply.take(isTCP: true, isIPv4: true) } }
    }

    /// One wait is enough for a maker that stands still; it is asked again as soon as it has answered.
    @Test func aMakerThatIsSilentIsNotWaitedForTwice() throws {
        let (ours, theirs) = try DescriptorPassing.pair()
        defer { ours.close() }
        try SocketCourier.limitWaiting(ours, milliseconds: 200)
        var supply = try SocketSupply(ours)
        let clock = ContinuousClock()
        let time = clock.measure {
            for _ in 0..<20 { #expect(throws: Errno(11)) { try supply.take(isTCP: true, isIPv4: true) } }
            #expect(throws: Errno(11)) { try supply.listener(isTCP: true, IPAddress(IPv4Address.loopback), port: 0) }
        }
        // One wait takes 200 ms, twenty would take four seconds.
        #expect(time < .seconds(2))
        var courier = try SocketCourier(theirs)
        let first = courier.receiveOrder()
        let order = try #require(first)
        for _ in 0..<order.count { courier.enclose(try Descriptor.socket(.stream, for: order.address)) }
        let isThere = courier.answer(order, nil)
        #expect(isThere)
        for _ in 0..<order.count { try supply.take(isTCP: true, isIPv4: true).close() }
        theirs.close()
    }

    /// What the kernel does not pass on is told as its error, and the maker goes on.
    @Test func socketsThatCannotBePassedOn() throws {
        let (ours, theirs) = try DescriptorPassing.pair()
        defer { ours.close() }
        try SocketCourier.limitWaiting(ours, milliseconds: 1000)
        var maker = try SocketCourier(theirs)
        var user = try SocketCourier(ours)
        let order = SocketOrder(.sockets, isTCP: true, address: IPAddress(IPv4Address.any), number: 7)
        maker.enclose(Descriptor(1_000_000))  // EBADF
        let goesOn = maker.answer(order, nil)
        #expect(goesOn)
        guard case .answer(let answer) = user.receiveAnswer(waits: true) else { throw Errno(71) }
        #expect(answer.number == 7 && answer.error == Errno(9))
        let (count, left) = (user.count, maker.count)
        #expect(count == 0 && left == 0)
        theirs.close()
    }

    @Test func aMakerThatIsGoneIsToldAtOnce() throws {
        let (ours, theirs) = try DescriptorPassing.pair()
        defer { ours.close() }
        var supply = try SocketSupply(ours)
        theirs.close()
        #expect(throws: Errno(107)) { try supply.take(isTCP: false, isIPv4: true) }  // ENOTCONN
        #expect(throws: Errno(107)) { try supply.listener(isTCP: true, IPAddress(IPv4Address.loopback), port: 1) }
        let isClosed = supply.isClosed
        #expect(isClosed)
    }
}
