import CLinux
import Testing

@testable import Linux

@Suite struct FileTests {
    @Test func descriptorsArriveWithTheirMessage() throws {
        let (one, other) = try DescriptorPassing.pair()
        defer { other.close() }
        let pipe = try Descriptor.pipe()
        try DescriptorPassing.send(DescriptorMessage([1, 2, 3], [pipe.reading]), over: one)
        try DescriptorPassing.send(DescriptorMessage([4]), over: one)
        one.close()
        pipe.reading.close()
        let first = try #require(try DescriptorPassing.receive(over: other))
        #expect(first.bytes == [1, 2, 3])
        try pipe.writing.write([9])
        pipe.writing.close()
        #expect(try first.descriptors.first?.readAll() == [9])
        first.descriptors.first?.close()
        #expect(try DescriptorPassing.receive(over: other) == DescriptorMessage([4]))
        #expect(try DescriptorPassing.receive(over: other) == nil)
    }

    @Test func messageThatDoesNotFitIsAnError() throws {
        let (one, other) = try DescriptorPassing.pair()
        defer { one.close(); other.close() }
        try DescriptorPassing.send(DescriptorMessage([1, 2, 3]), over: one)
        #expect(throws: Errno(EMFILE)) { try DescriptorPassing.receive(over: other, limit: 2) }
        #expect(throws: Errno(EINVAL)) {
            try DescriptorPassing.send(DescriptorMessage([1], [Descriptor](repeating: one, count: 254)), over: other)
        }
    }

    @Test func namespaceKinds() throws {
        let network = try Descriptor.open("/proc/self/ns/net", O_RDONLY)
        defer { network.close() }
        #expect(try Namespaces.kind(of: network) == .network)
        let null = try Descriptor.open("/dev/null", O_RDONLY)
        defer { null.close() }
        #expect(throws: Errno(ENOTTY)) { try Namespaces.kind(of: null) }
        #expect(try network.isInProcfs() == false)
    }

    @Test func timerFiresAgain() throws {
        let timer = try Timer.repeating(every: 1_000_000)
        defer { timer.close() }
        #expect(Timer.expirations(of: try Timer.repeating(every: 3_600_000_000_000)) == 0)
        let start = Timer.now
        while Timer.now - start < 5_000_000 {}
        #expect(Timer.expirations(of: timer) >= 4)
    }

    @Test func signalSets() {
        let set = SignalSet(SIGTERM, SIGRTMIN_first, 64, 65, 0)
        #expect([SIGTERM, SIGRTMIN_first, 64, 65, 0, SIGINT].map { set.contains($0) } == [true, true, true, false, false, false])
    }

    @Test func datagramSocketNeedsAShortPath() {
        #expect(throws: Errno(ENAMETOOLONG)) { try DatagramSocket.connect(to: String(repeating: "x", count: 108)) }
        #expect(throws: Errno(ENOENT)) { try DatagramSocket.connect(to: "/nonexistent/log") }
    }
}

/// The kernel's first real-time signal; the C library keeps the first two for itself.
private let SIGRTMIN_first: Int32 = 32
