import Glibc
import Linux
import Testing
import Wire

@testable import Datapath

/// A frame per message, on both kinds of sockets that keep messages apart.
@Suite struct MachineMessagesTests {
    static let types = [Int32(SOCK_SEQPACKET.rawValue), Int32(SOCK_DGRAM.rawValue)]

    private func receive(_ pair: MachinePair) -> [UInt8]? {
        var buffer = [UInt8](repeating: 0, count: 70000)
        let count = unsafe recv(pair.machine, &buffer, buffer.count, Int32(MSG_DONTWAIT))
        return count > 0 ? Array(buffer[0..<count]) : nil
    }

    @Test(arguments: types)
    func framesPassBothWays(_ type: Int32) throws {
        let pair = try MachinePair(type: type)
        for length in [14, 60, 1514, 65549] {
            pair.write(patterned(length)[...])
            #expect(pair.receive().frames.map(\.count) == [length])
            #expect(pair.send(patterned(length)) == .sent)
            pair.flush()
            let isSame = receive(pair) == patterned(length)
            #expect(isSame, "\(length) bytes")
        }
    }

    /// vfkit begins with four bytes that are no frame.
    @Test(arguments: types)
    func greetingsAreSwallowed(_ type: Int32) throws {
        let pair = try MachinePair(type: type)
        pair.write(Array("VFKT".utf8)[...])
        let round = pair.receive()
        #expect(round.isOpen && round.frames.isEmpty)
        pair.write(patterned(60)[...])
        #expect(pair.receive().frames == [patterned(60)])
    }

    /// Descriptors beside a frame are not kept: a machine could use up all that we may have.
    @Test(arguments: types)
    func descriptorsBesideFramesAreClosed(_ type: Int32) throws {
        let pair = try MachinePair(type: type)
        let pipe = try Descriptor.pipe()
        defer { pipe.reading.close() }
        for _ in 0..<3 { try DescriptorPassing.send(DescriptorMessage(patterned(60), [pipe.writing]), over: Descriptor(pair.machine)) }
        pipe.writing.close()
        // They are on their way.
        #expect(!pipe.reading.hasHungUp)
        let round = pair.receive()
        #expect(round.isOpen && round.frames == [patterned(60), patterned(60), patterned(60)])
        // Nobody can write to it any more, so its end is what there is to read; a child of another test may have it open for a moment.
        #expect(pipe.reading.awaitInput(milliseconds: 5000))
    }

    /// The queue of a datagram socket is short: what was accepted comes all the same, in order.
    @Test(arguments: types)
    func lesson41_aFullQueueLosesNothing(_ type: Int32) throws {
        let pair = try MachinePair(type: type)
        var accepted: [[UInt8]] = []
        for number in 0..<10_000 {
            let frame = patterned(1514, seed: number)
            guard pair.send(frame) == .sent else { break }
            accepted.append(frame)
            pair.flush()
        }
        #expect(accepted.count > 5 && !pair.hasRoom)
        var got: [[UInt8]] = []
        while let frame = receive(pair) {
            got.append(frame)
            _ = pair.attend(.output)
        }
        let isWhole = got == accepted
        #expect(isWhole && pair.hasRoom)
    }

    @Test func theEndOfAConnectionIsTheGuestsEnd() throws {
        let pair = try MachinePair(type: Int32(SOCK_SEQPACKET.rawValue))
        _ = shutdown(pair.machine, Int32(SHUT_RDWR))
        #expect(!pair.receive().isOpen)
    }
}
