import Testing
import Wire

@testable import Datapath
@testable import Linux

/// What a conversation costs in system calls. Connections are watched once, when they are made, and timers are no descriptors: of
/// `HostSockets`, only `setPeekOffset`, `setHyStart` and `limitTimeout` are setsockopts, `path` and `sendBuffer` are getsockopts.
@Suite struct TCPCostTests {
    @Test func nearRequestsAndResponses() throws {
        var script = try TCPScript()
        script.open()
        var (asked, answered) = (1, 1)
        func exchange(_ script: inout TCPScript) -> [String] {
            script.guest("PA", seq: asked, ack: answered, count: 100)
            asked += 100
            var sent = script.round()
            script.arrive(200)
            sent += script.round()
            answered += 200
            script.tcp.sockets.drain(0)
            script.move(to: script.now + 1)
            return sent
        }
        for _ in 0..<200 { _ = exchange(&script) }  // The window has been told by then.
        let before = script.tcp.sockets.calls
        for _ in 0..<100 {
            // One frame each way: the acknowledgement travels with the response.
            #expect(exchange(&script) == ["PA \(answered - 200):200 ack \(asked)"])
        }
        let calls = script.tcp.sockets.calls
        #expect(calls.send - before.send == 100)
        #expect(calls.peek - before.peek == 100)
        #expect(calls.discard - before.discard <= 100 / 16 + 1)
        #expect(calls.setPeekOffset == before.setPeekOffset && calls.path == before.path)
        #expect(calls.awaitRoom == before.awaitRoom)
        #expect(calls.sendBuffer - before.sendBuffer <= 2)
    }

    @Test func nearBulkFromTheGuest() throws {
        var script = try TCPScript { $0.sendLimit = 4 << 20 }
        script.open()
        var position = 1
        func burst(_ script: inout TCPScript) {
            for _ in 0..<2 {
                script.guest("A", seq: position, ack: 1, count: 5000)
                position += 5000
            }
            _ = script.round()
            script.tcp.sockets.drain(0)
            script.move(to: script.now + 1)
        }
        for _ in 0..<50 { burst(&script) }
        let before = script.tcp.sockets.calls
        for _ in 0..<100 { burst(&script) }
        let calls = script.tcp.sockets.calls
        #expect(calls.send - before.send == 100)
        #expect(calls.path == before.path && calls.setPeekOffset == before.setPeekOffset)
        // One megabyte of a buffer of four.
        #expect(calls.sendBuffer - before.sendBuffer <= 2)
        #expect(calls.all - before.all <= 102)
    }

    @Test func nearBulkToTheGuest() throws {
        var script = try TCPScript { $0.sendLimit = 4 << 20 }
        script.open(window: 65535, scale: 8)
        var acknowledged = 1
        func burst(_ script: inout TCPScript) {
            script.arrive(10_000)
            _ = script.round()
            acknowledged += 10_000
            script.guest("A", seq: 1, ack: acknowledged, window: 1000)
            _ = script.round()
            script.move(to: script.now + 1)
        }
        for _ in 0..<50 { burst(&script) }
        let before = script.tcp.sockets.calls
        for _ in 0..<100 { burst(&script) }
        let calls = script.tcp.sockets.calls
        #expect(calls.peek - before.peek == 100)
        // Data is dropped in steps of 64 KiB, or small answers after sixteen.
        #expect(calls.discard - before.discard <= 100)
        #expect(calls.all - before.all - (calls.peek - before.peek) - (calls.discard - before.discard) == 0)
    }

    /// On a far path, the response brings the acknowledgement of the request: one look per round trip.
    @Test func farRequestsAndResponses() throws {
        var script = try TCPScript { $0.roundTrip = 50_000 }
        script.open()
        var (asked, answered) = (1, 1)
        let before = script.tcp.sockets.calls
        for _ in 0..<20 {
            script.guest("PA", seq: asked, ack: answered, count: 100)
            asked += 100
            #expect(script.round().isEmpty)
            #expect(script.pass(50).isEmpty)
            script.tcp.sockets.drain(0)
            script.arrive(200)
            #expect(script.round() == ["PA \(answered):200 ack \(asked)"])
            answered += 200
        }
        let calls = script.tcp.sockets.calls
        #expect(calls.path - before.path + calls.sendBuffer - before.sendBuffer <= 20)
        #expect(calls.setPeekOffset <= 1)
    }

    /// A single piece of data is looked for when a round trip is over, not before.
    @Test func farDataWithoutAnswer() throws {
        var script = try TCPScript { $0.roundTrip = 50_000 }
        script.open()
        let before = script.tcp.sockets.calls
        script.guest("PA", seq: 1, ack: 1, count: 1000)
        #expect(script.round().isEmpty && script.pass(50).isEmpty)
        script.tcp.sockets.drain(0)
        #expect(script.pass(3) == ["+2 A 1:0 ack 1001"])
        #expect(script.tcp.sockets.calls.path - before.path == 1)
    }

    /// While data flows without a pause, looks are what the guest's round-trip time is made of: sixteen per round trip, and no number before
    /// the far end has acknowledged it.
    @Test func farBulk() throws {
        var script = try TCPScript { $0.roundTrip = 48_000; $0.sendLimit = 4 << 20 }
        script.open()
        var sent: [Int64] = []
        var latest = 0
        var delays: [Int64] = []
        let (start, before) = (script.now, script.tcp.sockets.calls)
        for millisecond in 0..<480 as Range<Int64> {
            script.move(to: start + millisecond)
            script.guest("A", seq: 1 + sent.count * 1000, ack: 1, count: 1000)
            sent.append(script.now)
            // The far end has acknowledged what was sent 48 ms ago.
            if millisecond >= 48 { script.tcp.sockets.drain(0, 1000) }
            for segment in script.segments() {
                let acknowledged = (segment.header!.acknowledgment - SequenceNumber(script.guestStart) - 1) / 1000
                #expect(acknowledged <= max(0, Int(millisecond) - 47))
                if acknowledged > latest { delays.append(script.now - sent[acknowledged - 1]) }
                latest = max(latest, acknowledged)
            }
        }
        #expect(delays.count > 80 && delays.allSatisfy { $0 <= 53 })
        let calls = script.tcp.sockets.calls
        #expect(calls.path - before.path <= 16 * 10)
        #expect(calls.sendBuffer - before.sendBuffer <= 4)
        #expect(script.tcp.sockets.calls.setPeekOffset == before.setPeekOffset)
    }

    /// What the path does not carry yet stays with the guest, whose round-trip time would tell of a queue in the socket instead. The path is full all the same.
    @Test func queueStaysWithTheGuest() throws {
        var script = try TCPScript { $0.roundTrip = 50_000; $0.sendLimit = 8 << 20 }
        script.open()
        script.tcp.sockets.all[0].carried = 250_000
        let start = script.now
        var (position, edge, worst) = (1, 30_000, 0)
        var sent: [Int] = []
        var acknowledged: [Int] = []
        for millisecond in 0..<380 as Range<Int64> {
            script.move(to: start + millisecond)
            while position + 1000 <= min(edge, Stream.length) {
                script.guest("A", seq: position, ack: 1, count: 1000)
                position += 1000
            }
            let socket = script.tcp.sockets.all[0]
            sent.append(socket.taken.count - socket.notSent)
            // The far end has what was sent 50 ms ago, and 5 kB of it per millisecond.
            if millisecond >= 50 { script.tcp.sockets.drain(0, min(sent[Int(millisecond) - 50] - socket.drained, 5000)) }
            acknowledged.append(script.tcp.sockets.all[0].drained)
            for segment in script.segments() {
                let header = segment.header!
                edge = max(edge, header.acknowledgment - SequenceNumber(script.guestStart) + Int(header.window) << Int(TCPTranslator<ScriptedSockets>.offeredWindowScale))
            }
            if millisecond >= 200 { worst = max(worst, script.tcp.sockets.all[0].notSent) }
        }
        #expect(worst > 0 && worst <= 62_500)
        #expect(acknowledged[379] - acknowledged[200] >= 175 * 5000)
    }

    /// A near path is not looked at while data flows, so nothing that each byte takes from may run out there: after four gigabytes it did.
    @Test func nearPathHasNoLimitThatRunsOut() throws {
        var script = try TCPScript { $0.sendLimit = 1 << 20 }
        script.open()
        for number in 0..<100 {
            script.guest("A", seq: 1 + 1000 * number, ack: 1, count: 1000)
            script.tcp.sockets.drain(0, 1000)
            _ = script.pass(1)
        }
        #expect(script.connection().expected - script.connection().initialFromGuest == 100_001)
        #expect(script.connection().pathRoom == .max)
    }

    /// A far end that is silent is asked less and less.
    @Test func silentFarEnd() throws {
        var script = try TCPScript { $0.roundTrip = 50_000 }
        script.open()
        script.guest("PA", seq: 1, ack: 1, count: 1000)
        _ = script.round()
        let before = script.tcp.sockets.calls
        #expect(script.pass(60_000).isEmpty)
        #expect(script.tcp.sockets.calls.path - before.path < 120)
        // And is heard again within an eighth of that, or a second.
        script.tcp.sockets.drain(0)
        #expect(script.pass(1100).count == 1)
    }

    /// A socket that takes no more is looked at less and less, and its event is what wakes.
    @Test func fullSocket() throws {
        var script = try TCPScript { $0.sendLimit = 40_000 }
        script.open()
        let room = script.connection().windowEdge - script.connection().expected
        script.guest("A", seq: 1, ack: 1, count: room)
        _ = script.round()
        _ = script.pass(5000)
        let before = script.tcp.sockets.calls
        _ = script.pass(60_000)
        #expect(script.lastSteps < 60)
        #expect(script.tcp.sockets.calls.all - before.all < 120)
        script.tcp.sockets.drain(0)
        #expect(script.round().count == 1)
    }

    /// Nor is one looked at each millisecond whose buffer is not so full that the kernel would tell of room, and whose far end reads nothing; and once it reads, the
    /// guest hears of it in less than the time that it stood still.
    @Test func halfFullSocket() throws {
        var script = try TCPScript(mtu: 65520) { $0.sendLimit = 80_000 }
        script.open(mss: 65480)
        script.guest("A", seq: 1, ack: 1, count: 20_000)
        _ = script.round()
        script.guest("A", seq: 20_001, ack: 1, count: 32_000)
        _ = script.round()
        _ = script.pass(1000)
        let before = script.tcp.sockets.calls
        #expect(script.pass(10_000).isEmpty)
        #expect(script.lastSteps < 100)
        #expect(script.tcp.sockets.calls.all - before.all < 200)
        script.tcp.sockets.drain(0)
        #expect(script.pass(300).count == 1)
    }
}
