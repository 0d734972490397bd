import Glibc
import Linux
import Testing
import Wire

@testable import Datapath

@Suite struct UDPBatchTests {
    /// Which of the payloads (length, segment size) make messages, by counts of datagrams.
    static func messages(_ payloads: [(Int, Int)], limit: Int = 65535) -> [Int] {
        var result: [Int] = []
        var run = SegmentRun(limit: limit)
        for (length, segmentSize) in payloads {
            var left = length
            repeat {
                if let taken = run.take(length: left, segmentSize: segmentSize) {
                    left -= taken
                } else {
                    result.append(run.count)
                    run = SegmentRun(limit: limit)
                }
                if result.count > 10_000 { return [] }
            } while left > 0 || run.count == 0
        }
        return result + [run.count]
    }

    @Test func runs() {
        #expect(UDPBatchTests.messages([(100, 0), (100, 0), (100, 0)]) == [3])
        // A shorter one ends a message, a longer one begins a new one.
        #expect(UDPBatchTests.messages([(100, 0), (100, 0), (99, 0), (100, 0)]) == [3, 1])
        #expect(UDPBatchTests.messages([(100, 0), (101, 0)]) == [1, 1])
        // Empty ones are alone.
        #expect(UDPBatchTests.messages([(0, 0), (10, 0), (10, 0), (0, 0), (0, 0)]) == [1, 2, 1, 1])
        // 64 segments and 65507 bytes are the most.
        #expect(UDPBatchTests.messages(Array(repeating: (8, 0), count: 130)) == [64, 64, 2])
        #expect(UDPBatchTests.messages(Array(repeating: (30000, 0), count: 3)) == [2, 1])
        #expect(UDPBatchTests.messages([(65507, 0), (65507, 0)]) == [1, 1])
        // Super-datagrams, alone and joined.
        #expect(UDPBatchTests.messages([(1000, 100), (1000, 100), (50, 100), (100, 0)]) == [21, 1])
        #expect(UDPBatchTests.messages([(250, 100), (100, 0)]) == [3, 1])
        #expect(UDPBatchTests.messages([(100 * 100, 100)]) == [64, 36])
        #expect(UDPBatchTests.messages([(200, 100), (100, 50)]) == [2, 2])
        // What the kernel will not cut.
        #expect(UDPBatchTests.messages([(100, 0), (100, 0), (20, 0), (20, 0)], limit: 99) == [1, 1, 2])
        #expect(UDPBatchTests.messages([(250, 100)], limit: 0) == [1, 1, 1])
    }

    @Test func sendFailures() {
        #expect(UDPSendFailure(Errno(11), isSegmented: false, wasRetried: false) == .noRoom)
        #expect(UDPSendFailure(Errno(111), isSegmented: false, wasRetried: false) == .retry)
        #expect(UDPSendFailure(Errno(111), isSegmented: false, wasRetried: true) == .lost)
        #expect(UDPSendFailure(Errno(22), isSegmented: true, wasRetried: true) == .sendSingly)
        #expect(UDPSendFailure(Errno(22), isSegmented: false, wasRetried: true) == .lost)
        #expect(UDPSendFailure(Errno(101), isSegmented: true, wasRetried: true) == .unreachable(.network))
    }

    @Test func bursts() {
        #expect(UDPTranslator.nextBurst(asked: 2, got: 1) == 2)
        #expect(UDPTranslator.nextBurst(asked: 2, got: 2) == 4)
        #expect(UDPTranslator.nextBurst(asked: 8, got: 8) == 8)
        #expect(UDPTranslator.nextBurst(asked: 8, got: 3) == 4)
        #expect(UDPTranslator.nextBurst(asked: 8, got: 0) == 2)
    }

    @Test func boundariesAndOrderAreKept() throws {
        var host = try TestHost()
        let far = try FarEnd()
        let other = try FarEnd()
        var sent: [[UInt8]] = []
        for (index, size) in [700, 700, 700, 12, 700, 0, 701, 701, 700, 3, 3, 3, 3, 2].enumerated() {
            let payload = pattern(size, index)
            sent.append(payload)
            host.send(payload, from: 40100, to: far.seen)
            host.send([UInt8(index)], from: 40100, to: other.seen)
        }
        host.endRound()
        #expect(try far.receive(sent.count).map(\.payload) == sent)
        #expect(try other.receive(sent.count).map(\.payload) == (0..<sent.count).map { [UInt8($0)] })
        #expect(host.port.counters[.udpSendFailed] == 0 && host.port.counters[.udpDatagramsFromGuest] == UInt64(2 * sent.count))
    }

    @Test func equalSizesLeaveAsOneMessage() throws {
        var host = try TestHost()
        try #require(host.udp.canSegment == true)
        let far = try FarEnd()
        try far.socket.setCoalescing()
        for index in 0..<10 { host.send(pattern(1000, index), from: 40101, to: far.seen) }
        host.send(pattern(10), from: 40101, to: far.seen)
        host.endRound()
        let expected = (0..<10).flatMap { pattern(1000, $0) } + pattern(10)
        #expect(try far.receive(1).map(\.payload) == [expected])
    }

    @Test func superDatagramsOfTheGuest() throws {
        var host = try TestHost()
        let far = try FarEnd()
        let payload = pattern(100 * 99 + 7)
        host.send(payload, from: 40102, to: far.seen, segmentSize: 100)
        host.send(payload, from: 40102, to: far.seen, segmentSize: 1)
        host.endRound()
        let received = try far.receive(100)
        #expect(received.map(\.payload.count) == Array(repeating: 100, count: 99) + [7])
        #expect(received.flatMap(\.payload) == payload)
        #expect(host.port.counters[.droppedMalformed] == 1)
    }

    /// Where the kernel does not cut, everything still arrives.
    @Test func nothingIsLostWithoutSegmentation() throws {
        var host = try TestHost()
        host.udp.canSegment = false
        let far = try FarEnd()
        try far.socket.setCoalescing()
        for index in 0..<5 { host.send(pattern(500, index), from: 40103, to: far.seen) }
        host.send(pattern(350), from: 40103, to: far.seen, segmentSize: 100)
        host.endRound()
        #expect(try far.receive(9).map(\.payload.count) == [500, 500, 500, 500, 500, 100, 100, 100, 50])
    }

    /// Segments beyond the MTU are refused by the kernel (loopback has 65536): they go singly, in fragments.
    @Test func segmentsBeyondTheMTUGoSingly() throws {
        var host = try TestHost()
        let far = try FarEnd()
        // A path with a smaller MTU than loopback's needs privilege; the kernel's refusal is what `segmentLimit` keeps.
        host.send(pattern(10), from: 40104, to: far.seen)
        host.endRound()
        let index = 0
        host.udp.table[index].segmentLimit = 99
        try far.socket.setCoalescing()
        for _ in 0..<3 { host.send(pattern(100), from: 40104, to: far.seen) }
        for _ in 0..<3 { host.send(pattern(99), from: 40104, to: far.seen) }
        host.endRound()
        #expect(try far.receive(5).map(\.payload.count) == [10, 100, 100, 100, 297])
    }

    private static func liteSocket() throws -> Descriptor {
        let kind = Int32(SOCK_DGRAM.rawValue | SOCK_NONBLOCK.rawValue | SOCK_CLOEXEC.rawValue)
        return Descriptor(try Errno.check(Glibc.socket(AF_INET, kind, 136)))  // IPPROTO_UDPLITE
    }

    /// What the kernel does not cut on the way of one flow, it cuts on others' all the same. The error of IPsec (EIO) is that of UDP-Lite, too, which needs no
    /// privilege; a kernel that knows none any more has nothing to try this with.
    @Test func anEncryptedFlowGoesSinglyAndOthersTogether() throws {
        guard let sender = try? Self.liteSocket() else { return }
        let receiver = try Self.liteSocket()
        defer { receiver.close() }
        try receiver.bind(SocketAddress(Endpoint(IPAddress(IPv4Address.loopback), 0)))
        _ = try sender.connect(try receiver.localAddress())
        var host = try TestHost()
        try #require(host.udp.canSegment == true)
        let far = try FarEnd()
        try far.socket.setCoalescing()
        host.send([1], from: 40106, to: far.seen)
        host.endRound()
        let index = 0
        host.udp.table[index].socket.close()
        host.udp.table[index].socket = sender
        for number in 0..<3 { host.send(pattern(100, number), from: 40106, to: far.seen) }
        host.endRound()
        #expect(receiver.receiveSome().bytes == (0..<3).flatMap { pattern(100, $0) })
        let limit = host.udp.table[index].segmentLimit
        #expect(limit == 0 && host.port.counters[.udpSendFailed] == 0)
        for number in 0..<3 { host.send(pattern(100, number), from: 40107, to: far.seen) }
        host.endRound()
        #expect(try far.receive(2).map(\.payload.count) == [1, 300])
    }

    @Test func moreThanABatchHolds() throws {
        var host = try TestHost()
        let far = try FarEnd()
        // As few packets, or the far end's queue would be what is tested.
        try far.socket.setCoalescing()
        let payloads = (0..<300).map { index in [UInt8(truncatingIfNeeded: index), UInt8(truncatingIfNeeded: index >> 8)] }
        for payload in payloads { host.send(payload, from: 40105, to: far.seen) }
        host.endRound()
        let received = try far.receive(5).flatMap(\.payload)
        #expect(received == Array(payloads.joined()))
    }

    // MARK: Towards the guest

    @Test func coalescedDatagramsAreOneFrame() throws {
        var host = try TestHost()
        let far = try FarEnd()
        host.send([1], from: 40110, to: far.seen)
        host.endRound()
        let source = try #require(try far.receive(1).first).source
        let payload = pattern(20 * 1200 + 300)
        try far.send(payload, to: source, segmentSize: 1200)
        try host.run(untilFrames: 1)
        #expect(host.frames.count == 1)
        let frame = try #require(host.frames.first)
        #expect(frame.udpPayload == payload)
        #expect(frame.offload.segmentation == .udp && frame.offload.segmentSize == 1200 && frame.offload.flags == .needsChecksum)
        #expect(frame.offload.headerLength == 42)
    }

    @Test func withoutSegmentationTheGuestGetsSingleDatagrams() throws {
        var host = try TestHost(offloads: .checksum)
        let far = try FarEnd()
        host.send([1], from: 40111, to: far.seen)
        host.endRound()
        let source = try #require(try far.receive(1).first).source
        let payload = pattern(20 * 1200 + 300)
        try far.send(payload, to: source, segmentSize: 1200)
        try host.run(untilFrames: 21)
        #expect(host.frames.map(\.udpPayload.count) == Array(repeating: 1200, count: 20) + [300])
        #expect(host.frames.flatMap(\.udpPayload) == payload)
        #expect(host.frames.allSatisfy { $0.offload.segmentation == .none })
    }

    /// What waits in the socket, datagram by datagram, goes to the guest in as few frames as its sizes allow, cut where it was.
    @Test(arguments: [IPAddress(IPv4Address.loopback), IPAddress(IPv6Address.loopback)])
    func equalDatagramsGoTogether(_ address: IPAddress) throws {
        var host = try TestHost()
        let far = try FarEnd(address)
        host.send([1], from: 40114, to: far.seen)
        host.endRound()
        let source = try #require(try far.receive(1).first).source
        let sizes = [1400, 1400, 1400, 1400, 700, 1400, 0, 5, 5, 6, 6, 6, 6, 2, 33000, 33000, 1]
        for (index, size) in sizes.enumerated() { try far.send(pattern(size, index), to: source) }
        try host.run(untilFrames: sizes.count, limit: 300)
        for frame in host.frames {
            #expect(frame.offload.segmentation == .none || frame.udpPayload.count > Int(frame.offload.segmentSize))
            #expect(frame.bytes.count <= largestFrame && frame.offload.flags == .needsChecksum)
        }
        #expect(host.frames.flatMap(\.udpDatagrams) == sizes.enumerated().map { pattern($1, $0) })
        // Two at first, then four, then eight at a time.
        #expect(host.frames.count <= 11, "\(host.frames.map(\.udpPayload.count))")
        #expect(host.port.counters[.udpDatagramsToGuest] == UInt64(sizes.count))
    }

    @Test func oneFlowDoesNotStarveAnother() throws {
        var host = try TestHost(offloads: .checksum)
        let busy = try FarEnd()
        let calm = try FarEnd()
        host.send([1], from: 40112, to: busy.seen)
        host.send([1], from: 40113, to: calm.seen)
        host.endRound()
        let busySource = try #require(try busy.receive(1).first).source
        let calmSource = try #require(try calm.receive(1).first).source
        for index in 0..<100 { try busy.send([UInt8(index)], to: busySource) }
        try calm.send([200], to: calmSource)
        try host.run(untilFrames: 101)
        #expect(host.frames.count == 101)
        let position = try #require(host.frames.firstIndex { $0.udpPayload == [200] })
        #expect(position <= 32)
    }
}
