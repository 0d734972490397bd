import Glibc
import Linux
import Testing
import Wire

@testable import Datapath

/// What a tap may answer to a read. Something else plays it: a socket that keeps messages apart, each of which is a frame; or what can only fail.
@Suite struct TapLinkTests {
    private static let headerLength = 10

    private final class Round {
        var link: TapLink
        var batch: FrameBatch

        init(_ device: Descriptor) throws {
            let link = TapLink(Tap(descriptor: device, headerLength: TapLinkTests.headerLength, offloads: []))
            let size = link.batchSize
            let batch = try FrameBatch(capacity: size.frames, mostBytes: size.mostBytes)
            self.batch = batch
            self.link = link
        }

        /// The lengths of the frames of one batch, and whether the device is still there.
        func receive() -> (lengths: [Int], isOpen: Bool) {
            batch.removeAll()
            let isOpen = link.receive(into: &batch)
            var lengths: [Int] = []
            for index in 0..<batch.count { lengths.append(batch[index].length) }
            return (lengths, isOpen)
        }

        var unusable: Int { link.figures.unusableFrames }
    }

    /// The link's end and the guest's.
    private func pair() throws -> (Descriptor, Descriptor) {
        let (ours, theirs) = try DescriptorPassing.pair()
        try ours.setNonBlocking()
        return (ours, theirs)
    }

    private func send(_ frame: [UInt8], over guest: Descriptor) throws {
        let bytes = [UInt8](repeating: 0, count: TapLinkTests.headerLength) + frame
        _ = try unsafe guest.write(bytes.span.bytes)
    }

    @Test func framesComeUntilThereAreNoMore() throws {
        let (device, guest) = try pair()
        defer { device.close(); guest.close() }
        for length in [60, 1514, 15] { try send(patterned(length), over: guest) }
        let round = try Round(device)
        let first = round.receive()
        #expect(first.lengths == [60, 1514, 15] && first.isOpen)
        let second = round.receive()
        #expect(second.lengths.isEmpty && second.isOpen && round.unusable == 0)
    }

    /// EINVAL is what the kernel says of a frame that a virtio-net header cannot describe, and of reading from an epoll, at any time.
    @Test func lesson41_aReadThatFailsIsNotTheEnd() throws {
        let device = try Epoll().descriptor
        defer { device.close() }
        let round = try Round(device)
        for count in 1...3 {
            let result = round.receive()
            #expect(result.lengths.isEmpty && result.isOpen && round.unusable == count)
        }
    }

    /// A guest that sends nothing but what is no frame does not keep the link to itself.
    @Test func whatIsNoFrameHasItsShareOfABatch() throws {
        let (device, guest) = try pair()
        defer { device.close(); guest.close() }
        let round = try Round(device)
        let most = round.batch.capacity
        // Headers of Ethernet without anything behind them.
        for _ in 0..<most + 5 { try send(patterned(14), over: guest) }
        try send(patterned(60), over: guest)
        let first = round.receive()
        #expect(first.lengths.isEmpty && first.isOpen && round.unusable == most)
        let second = round.receive()
        #expect(second.lengths == [60] && second.isOpen && round.unusable == most + 5)
    }

    @Test func theDevicesEndIsTheGuestsEnd() throws {
        let (device, guest) = try pair()
        defer { device.close() }
        guest.close()
        let round = try Round(device)
        #expect(!round.receive().isOpen)
    }
}
