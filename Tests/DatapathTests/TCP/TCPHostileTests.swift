import Testing
import Wire

@testable import Datapath
@testable import Linux

/// Guests that send whatever they like while their peers reset: nothing of it may end the program.
@Suite struct TCPHostileTests {
    /// The data finds the connection reset, and what follows in the same batch finds none.
    @Test(arguments: ["S", "SA", "R", "FA", "A"], [true, false]) func whatFollowsDataThatEndedTheConnection(_ flags: String, _ linkTakes: Bool) throws {
        var script = try TCPScript()
        script.open()
        script.tcp.sockets.fail(0, Errno(104))
        script.port.link.isStopped = !linkTakes
        script.guest("A", seq: 1, ack: 1, count: 100)
        script.guest(flags, seq: 101, ack: 1, count: flags == "A" ? 100 : 0)
        _ = script.round()
        #expect(script.tcp.sockets.all[0].closes == 1)
        // A new start is one, whatever there was before.
        #expect(script.tcp.sockets.all.count == (flags == "S" ? 2 : 1))
        script.port.link.isStopped = false
        _ = script.pass(60_000)
        if flags == "S" { script.guest("R", seq: 102, ack: 1) }
        _ = script.pass(60_000)
        #expect(script.tcp.sockets.faults == [])
    }

    /// A list that is full has no say in what becomes of a connection that is being worked on.
    @Test func moreConnectionsInABatchThanTheListHolds() throws {
        let count = TCPTranslator<ScriptedSockets>.touchedCapacity + 100
        var script = try TCPScript(capacity: 1024)
        for number in 0..<count { script.open(port: 1000 + UInt16(number)) }
        for number in 0..<count where number % 5 == 0 { script.tcp.sockets.fail(number, Errno(104)) }
        for number in 0..<count { script.guest("A", seq: 1, ack: 1, count: 100, port: 1000 + UInt16(number)) }
        let answers = script.answer()
        #expect(answers.count { $0 == "A 1:0 ack 101" } == count - (count + 4) / 5)
        #expect(answers.count { $0.hasPrefix("R") } == (count + 4) / 5)
        #expect(script.tcp.table.count == count - (count + 4) / 5)
    }

    @Test(arguments: 0..<40 as Range<UInt64>) func anythingInAnyOrder(_ seed: UInt64) throws {
        var random = SeededRandom(seed)
        var script = try TCPScript(capacity: 24) { sockets in
            sockets.random = SeededRandom(seed + 1)
            sockets.trouble = random.pick([0, 20, 200])
            sockets.connectsAtOnce = random.below(2) == 0
        }
        for step in 0..<1500 {
            script.happen(&random)
            if random.below(step % 200 < 100 ? 4 : 40) == 0 { _ = script.round() }
            if random.below(50) == 0 { _ = script.pass(Int64(random.pick([1, 50, 3000, 100_000]))) }
        }
        // Every connection ends: the host's side closes, and the guest, asked, knows of none.
        script.port.link.isStopped = false
        script.tcp.sockets.sendErrors = []
        for socket in script.tcp.sockets.all.indices { script.tcp.sockets.fail(socket, Errno(104)) }
        for _ in 0..<40 { _ = script.pass(60_000) }
        #expect(script.tcp.table.count == 0)
        #expect(script.tcp.sockets.all.allSatisfy { $0.closes == 1 })
    }
}

extension TCPScript {
    /// One thing that a guest, its link, the far end or the kernel may do.
    fileprivate mutating func happen(_ random: inout SeededRandom) {
        let port = UInt16(1 + random.below(32))
        let connection = tcp.table.find(TCPScript.key(port)).map { tcp.table[$0] }
        let socket = random.below(max(tcp.sockets.all.count, 1))
        switch random.below(20) {
        case 0 where socket < tcp.sockets.all.count: tcp.sockets.fail(socket, Errno(random.pick([104, 32, 110, 113])))
        case 1 where socket < tcp.sockets.all.count: tcp.sockets.end(socket)
        case 2 where socket < tcp.sockets.all.count && tcp.sockets.all[socket].arrived.count < Stream.length / 2: arrive(1 + random.below(3000), socket)
        case 3: self.port.link.isStopped.toggle()
        case 4: self.port.link.refusals = random.below(4)
        case 5: tcp.sockets.sendErrors = (0..<random.below(4)).map { _ in random.pick([nil, 104, 32, 11, 12]) }
        case 6 where socket < tcp.sockets.all.count: tcp.sockets.succeed(socket)
        case 7 where tcp.table.count < 20:
            tcp.openToGuest(tcp.sockets.accept(), key: TCPScript.key(port), &self.port, now: now)
        default: sendAnything(from: port, connection, &random)
        }
    }

    private mutating func sendAnything(from port: UInt16, _ connection: TCPConnection?, _ random: inout SeededRandom) {
        let near = [0, 0, 0, 0, 1, -1, 100, 1460, -1460, 65535, 1 << 20, -(1 << 30)]
        let flags: [TCPFlags] = [[.ack], [.ack], [.ack, .psh], [.syn], [.syn, .ack], [.fin, .ack], [.rst], [.rst, .ack], [], [.syn, .fin], [.fin, .syn, .ack]]
        var header = TCPHeader(
            sourcePort: port, destinationPort: 80, sequence: (connection?.expected ?? SequenceNumber(7000)) + random.pick(near),
            acknowledgment: (connection?.highest ?? SequenceNumber(0)) + random.pick(near), flags: connection == nil && random.below(2) == 0 ? .syn : random.pick(flags),
            window: UInt16(random.pick([0, 1, 100, 65535])), maximumSegmentSize: random.pick([nil, 0, 88, 1460, 65535]),
            windowScale: random.pick([nil, 0, 7, 14, 255]))
        let count = random.pick([0, 0, 1, 100, 1460, 40_000])
        header.payloadLength = count
        deliver(header, Stream.fromGuest[0..<count], TCPScript.key(port))
    }
}
