public import Linux
public import Wire

/// A data path as the rest of the program sees it. Each program has its own, compiled for its link.
public protocol Worker: ~Copyable {
    /// Ends `run` with `.external(number)` whenever `descriptor` is readable.
    func watch(_ descriptor: Descriptor, number: Int) throws(Errno)

    /// Notes a host's link-layer address, or that it is not valid any more. Allocates nothing.
    mutating func learn(neighbour: Neighbour)

    mutating func forget(neighbour address: IPAddress)

    /// Takes over a listening or datagram socket: what comes in there goes to the guest's `targetPort`, at `targetAddress` or at whatever
    /// address the guest has. ENOSPC when there are too many.
    mutating func listen(
        on socket: Descriptor, isTCP: Bool, port: UInt16, targetPort: UInt16, targetAddress: IPAddress?, hasIPv4: Bool, hasIPv6: Bool
    ) throws(Errno)

    /// Forwards until something happens that is not the data path's. `deadline`: nanoseconds of the monotonic clock.
    mutating func run(until deadline: Int64?) throws(Errno) -> Wake

    /// Calls `print` with the name and value of each counter that is not zero.
    func forEachCounter(_ print: (StaticString, UInt64) -> Void)
}

extension LocalServices {
    mutating func learn(_ neighbour: Neighbour) {
        if neighbour.isValid, let mac = neighbour.mac {
            neighbours.update(neighbour.address, mac)
        } else {
            neighbours.remove(neighbour.address)
        }
    }
}

extension Forwarder where Link: ~Copyable, Sockets: ~Copyable {
    func forEachCounter(_ print: (StaticString, UInt64) -> Void) {
        for counter in Counter.allCases where port.counters[counter] != 0 { print(counter.label, port.counters[counter]) }
        let figures = port.link.figures
        Self.print(figures.batchesFromGuest, "batches from guest", print)
        Self.print(figures.batchesToGuest, "batches to guest", print)
        Self.print(figures.segmentsToGuest, "segments cut for guest", print)
        Self.print(figures.stops, "pauses of guest", print)
        Self.print(figures.guests, "guests", print)
        Self.print(figures.turnedAway, "guests turned away", print)
    }

    private static func print(_ value: Int, _ label: StaticString, _ print: (StaticString, UInt64) -> Void) {
        if value != 0 { print(label, UInt64(truncatingIfNeeded: value)) }
    }
}
