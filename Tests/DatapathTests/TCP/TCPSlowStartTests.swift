import Testing
import Wire

@testable import Datapath
@testable import Linux

/// Whose slow start counts: the guest's, where the path is far and much is sent.
@Suite struct TCPSlowStartTests {
    /// The guest sends `bytes` more, and the far end has them a round trip later.
    private func upload(_ bytes: Int, from position: inout Int, _ script: inout TCPScript) {
        let end = position + bytes
        while position < end {
            for _ in 0..<4 {
                script.guest("A", seq: position, ack: 1, count: 1000)
                position += 1000
            }
            _ = script.round()
            _ = script.pass(25)
            script.tcp.sockets.drain(0)
            _ = script.pass(5)
        }
    }

    @Test func theSocketWaitsForALossUntilSlowStartIsOver() throws {
        var script = try TCPScript { $0.roundTrip = 20_000; $0.sendLimit = 4 << 20; $0.slowStartEnds = 60_000 }
        script.open()
        var position = 1
        upload(12_000, from: &position, &script)
        #expect(script.tcp.sockets.calls.setHyStart == 0, "an initial window is no reason")
        upload(20_000, from: &position, &script)
        #expect(script.tcp.sockets.calls.setHyStart == 1 && !script.tcp.sockets.all[0].hasHyStart)
        upload(36_000, from: &position, &script)
        #expect(script.tcp.sockets.all[0].isRepairing)
        #expect(script.tcp.sockets.calls.setHyStart == 1, "what was lost may turn out not to be")
        upload(60_000, from: &position, &script)
        #expect(script.tcp.sockets.calls.setHyStart == 2 && script.tcp.sockets.all[0].hasHyStart)
        #expect(script.tcp.sockets.faults.isEmpty)
    }

    /// One that only seemed lost: the kernel takes its decision back, and slow start goes on (RFC 5682, RFC 2883).
    @Test func slowStartThatGoesOn() throws {
        var script = try TCPScript { $0.roundTrip = 20_000; $0.sendLimit = 4 << 20; $0.slowStartEnds = 40_000 }
        script.open()
        var position = 1
        upload(44_000, from: &position, &script)
        #expect(script.tcp.sockets.all[0].isRepairing)
        script.tcp.sockets.all[0].slowStartEnds = .max
        upload(60_000, from: &position, &script)
        #expect(script.tcp.sockets.calls.setHyStart == 1 && !script.tcp.sockets.all[0].hasHyStart)
    }

    @Test func nearPathsAreLeftAlone() throws {
        var script = try TCPScript { $0.roundTrip = 900; $0.sendLimit = 4 << 20 }
        script.open()
        var position = 1
        upload(80_000, from: &position, &script)
        #expect(script.tcp.sockets.calls.setHyStart == 0)
    }

    /// BBR and others, and kernels that would not give CUBIC back: asked once.
    @Test func otherCongestionControlsAreLeftAlone() throws {
        var script = try TCPScript { $0.roundTrip = 20_000; $0.sendLimit = 4 << 20; $0.hasCubic = false }
        script.open()
        var position = 1
        upload(80_000, from: &position, &script)
        #expect(script.tcp.sockets.calls.setHyStart == 1)
    }

    /// A connection whose slow start was over when it was first looked at.
    @Test func slowStartThatIsOverAlready() throws {
        var script = try TCPScript { $0.roundTrip = 20_000; $0.sendLimit = 4 << 20; $0.slowStartEnds = 0 }
        script.open()
        var position = 1
        upload(80_000, from: &position, &script)
        #expect(script.tcp.sockets.calls.setHyStart == 0)
    }

    // MARK: The kernel

    private func socket(_ control: CongestionControl?) throws -> Descriptor {
        let socket = try Descriptor.socket(.stream, for: IPAddress(IPv4Address.any))
        if let control { try socket.setCongestionControl(control) }
        return socket
    }

    @Test func theKernelChangesToNewRenoAndBack() throws {
        var sockets = KernelSockets(epoll: try Epoll(), retries: 15)
        let cubic = try socket(.cubic)
        defer { cubic.close() }
        #expect(cubic.congestionControl() == .cubic)
        let (hasLeft, hasReturned) = (sockets.setHyStart(false, on: cubic), cubic.congestionControl() == .reno && sockets.setHyStart(true, on: cubic))
        #expect(hasLeft && hasReturned && cubic.congestionControl() == .cubic)
        let reno = try socket(.reno)
        defer { reno.close() }
        let isRefused = !sockets.setHyStart(false, on: reno)
        #expect(isRefused && reno.congestionControl() == .reno)
        #expect(reno.tcpPath().map { !$0.hasLeftSlowStart && $0.congestionWindow == 10 && !$0.isRepairing } == true)
        sockets.epoll.descriptor.close()
    }
}
