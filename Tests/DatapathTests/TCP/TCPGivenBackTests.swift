import Testing

@testable import Datapath
@testable import Linux

/// Places and turns are few. What a connection had of them is free once it is gone, and nothing of its own is left there.
@Suite struct TCPGivenBackTests {
    /// A full socket has refused data of a connection that the guest gives up then. Whoever has that place next begins with nothing.
    @Test func bytesOfAnotherConnectionAreNotSent() throws {
        var script = try TCPScript()
        script.open(port: 1)
        script.tcp.sockets.all[0].sendLimit = 0
        script.guest("PA", seq: 1, ack: 1, count: 1000, port: 1)
        _ = script.round()
        script.guest("R", seq: 1, port: 1)
        script.open(port: 2)
        script.tcp.sockets.all[1].sendLimit = 0
        script.guest("PA", seq: 1, ack: 1, count: 500, port: 2)
        _ = script.round()
        script.tcp.sockets.all[1].sendLimit = 70_000
        script.tcp.sockets.drain(1)
        #expect(script.round().last == "A 1:0 ack 501")
        #expect(script.tcp.sockets.all[1].taken == Array(Stream.fromGuest[0..<500]))
    }

    @Test func placesForWhatWasRefused() throws {
        var script = try TCPScript()
        for _ in 0..<(KeptData.most + 6) {
            let socket = script.open()
            script.tcp.sockets.all[socket].sendLimit = 0
            script.guest("PA", seq: 1, ack: 1, count: 100)
            _ = script.round()
            #expect(script.connection().refusedPlace != 0)
            script.guest("R", seq: 1)
        }
        let place = script.tcp.kept.takePlace()
        #expect(place != 0)
        script.expectEmpty()
    }

    /// Queues of which each byte takes a hundred of the kernel's memory, of far ends that reset.
    @Test func placesForWhatWasGathered() throws {
        var script = try TCPScript { $0.pieceCost = 100 }
        for _ in 0..<(KeptData.most + 6) {
            let socket = script.open()
            script.guest("A", seq: 1, ack: 1, window: 0)
            script.arrive(3000, socket)
            _ = script.round()
            script.guest("A", seq: 1, ack: 1, window: 511)
            #expect(script.round() == ["PA 1:3000 ack 1"])
            #expect(script.connection().gatheredPlace != 0)
            script.tcp.sockets.fail(socket, Errno(104))
            #expect(script.round() == ["RA 3001:0 ack 1"])
        }
        let place = script.tcp.gathered.takePlace()
        #expect(place != 0)
        script.expectEmpty()
    }

    /// The guest resets a download in the middle of its turn.
    @Test func theTurnOfADownload() throws {
        var script = try TCPScript()
        script.open()
        script.guest("A", seq: 1, ack: 1, window: 65535)
        script.arrive(1 << 20)
        // The first look finds out that it is one.
        for _ in 0..<2 { _ = script.round() }
        let isTaken = !script.tcp.turns.areFree
        #expect(isTaken)
        script.guest("R", seq: 1)
        let areFree = script.tcp.turns.areFree
        #expect(areFree)
        script.expectEmpty()
    }
}
