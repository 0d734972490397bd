import Testing
import Wire

@testable import Datapath
@testable import Linux

extension TCPScript {
    /// A connection whose guest has been promised 40 000 bytes, of which the socket takes `room`.
    static func nearlyFull(_ room: Int) throws -> TCPScript {
        var script = try TCPScript { $0.sendLimit = 40_000 }
        script.open()
        script.tcp.sockets.all[0].sendLimit = room
        return script
    }
}

/// Sockets that have no room for the guest's data.
@Suite struct TCPBlockedTests {
    @Test func partialSendIsRepairedAtOnce() throws {
        var script = try TCPScript.nearlyFull(2000)  // Less than was told.
        for start in [0, 1460, 2920] { script.guest("A", seq: 1 + start, ack: 1, count: 1460) }
        #expect(script.answer() == ["A 1:0 ack 2001"])
        #expect(script.port.counters[.tcpPartialSends] == 1)
        // More is not taken meanwhile, and each round says so.
        script.guest("A", seq: 4381, ack: 1, count: 1460)
        #expect(script.answer() == ["A 1:0 ack 2001"])
        script.tcp.sockets.all[0].sendLimit = 40_000
        script.tcp.sockets.drain(0, 1500)
        let sent = script.round()
        // All of it had been kept. The first opens the window, three equal ones follow.
        #expect(sent.count >= 4 && sent.allSatisfy { $0 == "A 1:0 ack 5841" })
        #expect(script.tcp.sockets.all[0].taken == Array(Stream.fromGuest[0..<5840]))
    }

    @Test func nothingTakenAtAll() throws {
        var script = try TCPScript.nearlyFull(0)
        script.guest("FPA", seq: 1, ack: 1, count: 1000)
        #expect(script.round() == ["A 1:0 ack 1"])
        #expect(!script.tcp.sockets.all[0].isFinished)
        script.tcp.sockets.all[0].sendLimit = 40_000
        script.tcp.sockets.drain(0)
        #expect(script.round() == ["A 1:0 ack 1002"])
        #expect(script.tcp.sockets.all[0].isFinished)
    }

    /// The FIN of what is kept, with its last segment or behind it, is not the guest's to repeat: its timeout may have doubled far.
    @Test(arguments: [true, false]) func theEndIsKeptAsWell(_ isAlone: Bool) throws {
        var script = try TCPScript.nearlyFull(1000)
        script.guest("PA", seq: 1, ack: 1, count: 1460)
        #expect(script.round() == ["A 1:0 ack 1001"])
        script.guest(isAlone ? "PA" : "FPA", seq: 1461, ack: 1, count: 500)
        if isAlone { script.guest("FA", seq: 1961, ack: 1) }
        // Nothing comes behind an end.
        script.guest("PA", seq: 1962, ack: 1, count: 10)
        #expect(script.round() == ["A 1:0 ack 1001"])
        script.tcp.sockets.drain(0, 900)
        #expect(script.round() == ["A 1:0 ack 1901"])
        script.tcp.sockets.all[0].sendLimit = 40_000
        script.tcp.sockets.drain(0)
        _ = script.round()
        #expect(script.connection().acknowledged - SequenceNumber(script.guestStart) == 1962)
        #expect(script.tcp.sockets.all[0].isFinished)
        #expect(script.tcp.sockets.all[0].taken == Array(Stream.fromGuest[0..<1960]))
    }

    /// An end that comes before what is missing of the data is none yet.
    @Test func anEndBehindAHoleIsNotKept() throws {
        var script = try TCPScript.nearlyFull(1000)
        script.guest("PA", seq: 1, ack: 1, count: 1460)
        _ = script.round()
        script.guest("FPA", seq: 2921, ack: 1, count: 500)
        _ = script.round()
        script.tcp.sockets.all[0].sendLimit = 40_000
        script.tcp.sockets.drain(0)
        _ = script.round()
        #expect(!script.tcp.sockets.all[0].isFinished)
        script.guest("PA", seq: 1461, ack: 1, count: 1460)
        script.guest("FPA", seq: 2921, ack: 1, count: 500)
        #expect(script.answer() == ["A 1:0 ack 3422"])
        #expect(script.tcp.sockets.all[0].isFinished)
    }

    /// A guest that gives up counts what was refused as sent; and what it knows of what was taken is what it was told.
    @Test(arguments: [1, 1001, 1461, 1462]) func aResetIsTheGuestsOwn(_ number: Int) throws {
        var script = try TCPScript {
            $0.sendLimit = 40_000
            $0.roundTrip = 50_000
        }
        script.open()
        script.tcp.sockets.all[0].sendLimit = 1000
        script.guest(number == 1462 ? "FPA" : "PA", seq: 1, ack: 1, count: 1460)
        _ = script.round()
        script.guest("R", seq: number)
        _ = script.round()
        script.expectEmpty()
    }

    /// The kernel lacked memory and said that the socket is full. Nothing is on its way, so nothing will tell that it is not.
    @Test func fullWithoutAnEvent() throws {
        var script = try TCPScript()
        script.open()
        script.tcp.sockets.sendErrors = [11]
        script.guest("PA", seq: 1, ack: 1, count: 1000)
        #expect(script.round() == ["A 1:0 ack 1"])
        script.tcp.sockets.all[0].awaitsRoom = true
        #expect(!script.pass(100).isEmpty)
        #expect(script.tcp.sockets.all[0].taken == Array(Stream.fromGuest[0..<1000]))
        #expect(script.connection().acknowledged - SequenceNumber(script.guestStart) == 1001)
    }

    /// The socket is nearly full, and looked at seldom: what fits is acknowledged in the usual time.
    @Test func anAcknowledgementDoesNotWaitForALookForRoom() throws {
        var script = try TCPScript { $0.sendLimit = 40_000 }
        script.open()
        var sent = 0
        while script.connection().windowEdge - script.connection().expected > 600 {
            let count = min(script.connection().windowEdge - script.connection().expected - 500, 1460)
            script.guest("A", seq: 1 + sent, ack: 1, count: count)
            sent += count
            _ = script.round() + script.pass(5)
        }
        _ = script.pass(5000)
        let found = script.tcp.table.find(TCPScript.key())
        let index = try #require(found)
        script.tcp.table[index].events.insert(.interactive)
        let due = script.connection().acknowledgeAt - script.now
        try #require(due > 100, "\(due)")
        script.guest("PA", seq: 1 + sent, ack: 1, count: 100)
        #expect((script.round() + script.pass(3)).contains { $0.hasSuffix("ack \(sent + 101)") })
    }

    @Test func windowFollowsTheSocketAndIsTold() throws {
        var script = try TCPScript { $0.sendLimit = 40_000 }
        script.open()
        var acknowledged = 1
        for _ in 0..<20 {
            script.guest("A", seq: acknowledged, ack: 1, count: 1460)
            acknowledged += 1460
            for segment in script.segments() {
                let edge = segment.header!.acknowledgment - SequenceNumber(script.guestStart) + segment.window << 8 - 1
                #expect(edge <= 40_000, "more than the socket takes")
            }
        }
        #expect(script.tcp.sockets.all[0].taken.count == 29_200)
        let known = script.connection().windowEdge - script.connection().expected
        #expect(known < 12_000)
        // The far end takes all: the guest hears of it without asking.
        script.tcp.sockets.drain(0)
        let told = script.pass(1000)
        #expect(told.count >= 1)
        #expect(script.connection().windowEdge - script.connection().expected >= 30_000)
    }

    /// The largest segment does not fit in the socket's buffer twice over: the window must reopen all the same.
    @Test func windowReopensWithLargeSegments() throws {
        var script = try TCPScript(mtu: 65520) { $0.sendLimit = 80_000 }
        script.open(mss: 65480)
        var position = 1
        for count in [65_000, 5000] {
            script.guest("A", seq: position, ack: 1, count: count)
            position += count
            _ = script.round()
        }
        let before = script.connection().windowEdge - script.connection().expected
        #expect(before < 1000)
        _ = script.pass(3)
        script.tcp.sockets.drain(0)
        _ = script.pass(100)
        #expect(script.connection().windowEdge - script.connection().expected >= 60_000)
    }

    /// A guest whose retransmission timeout has run out heeds no equal acknowledgements, only progress by a whole segment of its own; and it makes one segment of
    /// many when it sends again.
    @Test func lesson52_aGuestThatHasLostPatienceSeesProgress() throws {
        var script = try TCPScript(mtu: 65520) { $0.sendLimit = 40_000 }
        script.open(mss: 65480)
        script.tcp.sockets.all[0].sendLimit = 2000
        script.guest("A", seq: 1, ack: 1, count: 1990)
        _ = script.answer()
        for byte in 0..<20 { script.guest("PA", seq: 1991 + byte, ack: 1, count: 1) }
        #expect(script.answer() == ["A 1:0 ack 2001"])
        // Its timeout: the first segment that is not acknowledged, with all that follows it.
        script.guest("PA", seq: 2001, ack: 1, count: 30_000)
        #expect(script.answer() == ["A 1:0 ack 2001"])
        script.tcp.sockets.all[0].sendLimit = 40_000
        script.tcp.sockets.drain(0, 1500)
        #expect(script.round() == Array(repeating: "A 1:0 ack 32001", count: 4))
        #expect(script.tcp.sockets.all[0].taken == Array(Stream.fromGuest[0..<32_000]))
    }

    /// There is place for two of the largest segments. What is behind them is not kept, nor what comes out of order.
    @Test func notMoreIsKeptThanThereIsPlaceFor() throws {
        var script = try TCPScript(mtu: 65520) { $0.sendLimit = 1 << 20 }
        script.open(mss: 65480)
        script.tcp.sockets.all[0].sendLimit = 1000
        for start in stride(from: 0, to: 240_000, by: 60_000) { script.guest("A", seq: 1 + start, ack: 1, count: 60_000) }
        _ = script.answer()
        script.guest("A", seq: 300_001, ack: 1, count: 60_000)
        _ = script.answer()
        script.tcp.sockets.all[0].sendLimit = 1 << 20
        script.tcp.sockets.drain(0)
        let asked = script.round()
        #expect(asked.count == 4 && asked.allSatisfy { $0 == "A 1:0 ack \(1001 + 1 << 17)" }, "\(asked)")
        script.guest("A", seq: 120_001, ack: 1, count: 60_000)
        _ = script.answer()
        #expect(script.tcp.sockets.all[0].taken == Array(Stream.fromGuest[0..<180_000]))
    }

    /// The list that collects the guest's frames is full, and so is the socket that it goes to. What comes behind it in the same batch must not overtake what was refused.
    @Test func whatFollowsAFullListIsKeptBehindIt() throws {
        var script = try TCPScript { $0.sendLimit = 1 << 20 }
        script.open()
        script.tcp.sockets.all[0].sendLimit = 20_000
        let count = script.tcp.pending.capacity + 44
        for number in 0..<count { script.guest("A", seq: 1 + 100 * number, ack: 1, count: 100) }
        #expect(script.round().last == "A 1:0 ack 20001")
        script.tcp.sockets.all[0].sendLimit = 1 << 20
        script.tcp.sockets.drain(0)
        #expect(script.round().last == "A 1:0 ack \(1 + 100 * count)")
        #expect(script.tcp.sockets.all[0].taken == Array(Stream.fromGuest[0..<(100 * count)]))
    }

    /// More full sockets than there are places: each of the others still gets its data, by what the guest sends again.
    @Test func withoutAPlaceTheGuestSendsAgain() throws {
        var script = try TCPScript(capacity: 128)
        let count = KeptData.most + 2
        for number in 0..<count {
            let port = TCPScript.guestPort + UInt16(number)
            script.open(port: port)
            script.tcp.sockets.all[number].sendLimit = 0
            script.guest("PA", seq: 1, ack: 1, count: 100, port: port)
            _ = script.round()
        }
        for number in 0..<count {
            script.tcp.sockets.all[number].sendLimit = 70_000
            script.tcp.sockets.drain(number)
        }
        _ = script.round()
        #expect(script.tcp.sockets.all.count { $0.taken.count == 100 } == KeptData.most)
        for number in 0..<count { script.guest("PA", seq: 1, ack: 1, count: 100, port: TCPScript.guestPort + UInt16(number)) }
        _ = script.round()
        #expect(script.tcp.sockets.all.allSatisfy { $0.taken == Array(Stream.fromGuest[0..<100]) })
        // And the places are free again.
        #expect((0..<count).allSatisfy { script.connection(TCPScript.guestPort + UInt16($0)).refusedPlace == 0 })
    }

    /// On a far path, what was kept is acknowledged a round trip later. Equal acknowledgements would come too late to tell of anything, and nothing is missing.
    @Test func aFarPathNeedsNoEqualAcknowledgements() throws {
        var script = try TCPScript { $0.sendLimit = 40_000; $0.roundTrip = 50_000 }
        script.open()
        script.tcp.sockets.all[0].sendLimit = 1000
        script.guest("PA", seq: 1, ack: 1, count: 1460)
        _ = script.round()
        script.tcp.sockets.all[0].sendLimit = 40_000
        script.tcp.sockets.drain(0)
        _ = script.round()
        script.tcp.sockets.drain(0)
        let told = script.pass(200)
        #expect(told.count { $0.hasSuffix("ack 1461") } == 1, "\(told)")
    }

    /// The socket takes what was kept a little at a time.
    @Test func whatWasKeptGoesOutInPieces() throws {
        var script = try TCPScript.nearlyFull(300)
        script.guest("PA", seq: 1, ack: 1, count: 1000)
        _ = script.answer()
        for end in [600, 900] {
            script.tcp.sockets.drain(0)
            #expect(script.round() == ["A 1:0 ack \(1 + end)"])
        }
        script.tcp.sockets.drain(0)
        #expect(script.round().count == 4)
        #expect(script.tcp.sockets.all[0].taken == Array(Stream.fromGuest[0..<1000]))
    }

    /// A link that has no room for the last acknowledgements gets them a little later.
    @Test func acknowledgementsThatTheLinkRefusesAreRepeated() throws {
        var script = try TCPScript.nearlyFull(300)
        script.guest("PA", seq: 1, ack: 1, count: 1000)
        _ = script.answer()
        script.tcp.sockets.all[0].sendLimit = 40_000
        script.tcp.sockets.drain(0)
        script.port.link.refusals = 2
        #expect((script.round() + script.pass(100)).count == 4)
    }

    /// A full socket fails: the guest is told, whether or not it has all of the far end's data already.
    @Test(arguments: [true, false]) func aFullSocketFails(_ hasEnd: Bool) throws {
        var script = try TCPScript()
        script.open()
        if hasEnd {
            script.tcp.sockets.end(0)
            #expect(script.round() == ["FA 1:0 ack 1"])
            script.guest("A", seq: 1, ack: 2)
            _ = script.round()
        }
        script.tcp.sockets.all[0].sendLimit = 0
        script.guest("PA", seq: 1, ack: hasEnd ? 2 : 1, count: 100)
        _ = script.round()
        script.tcp.sockets.sendErrors = [32]
        script.tcp.sockets.all[0].sendLimit = 70_000
        script.tcp.sockets.drain(0)
        #expect(script.round() == ["RA \(hasEnd ? 2 : 1):0 ack 1"])
        script.expectEmpty()
    }

    /// The far end makes room after the buffer was found full and before the kernel could note that somebody waits, of which no event tells (lesson 57); or after
    /// the queue was measured and before it was asked for what it has acknowledged, so that a full queue seems to hold hardly any data (lesson 58).
    /// The guest's stack goes on with whole segments only, where the window was once larger than one.
    @Test(arguments: [(Draining.beforeAwaitRoom, 400_000), (.beforePath, 4 << 20)])
    func lesson57_58_roomThatComesBetweenTwoCallsIsSeen(_ draining: Draining, _ limit: Int) throws {
        var script = try TCPScript(mtu: 65520) { $0.sendLimit = limit }
        script.open(mss: 65480)
        script.tcp.sockets.all[0].drains = draining
        var position = 1
        while position < Stream.length - 3 * 65480 {
            // What the guest has read is rounded by its scale.
            let connection = script.connection()
            let window = (connection.windowEdge - connection.acknowledged) & ~255 - (connection.expected - connection.acknowledged)
            try #require(window >= 65480 || position == 1, "stands still after \(position) bytes")
            for _ in 0..<max(min(window / 65480, 3), 1) {
                script.guest("PA", seq: position, ack: 1, count: min(window, 65480))
                position += min(window, 65480)
            }
            _ = script.round()
        }
        #expect(!script.tcp.sockets.all[0].awaitsRoom)
    }

    /// Lesson 59: for lack of memory, the kernel has made the buffer smaller than a segment. The guest sends nothing less than one before its persist timer expires.
    @Test func lesson59_aBufferBelowASegmentIsFedWithWholeOnes() throws {
        var script = try TCPScript(mtu: 65520) { $0.sendLimit = 400_000 }
        script.open(mss: 65480)
        var position = 1
        for number in 0..<16 {
            if number == 3 { script.tcp.sockets.all[0].sendLimit = 5000 }
            var milliseconds = 0
            var window: Int { script.connection().windowEdge - (SequenceNumber(script.guestStart) + position) }
            while window < 65480, number > 0, milliseconds < 100 {
                script.tcp.sockets.drain(0)
                _ = script.round() + script.pass(1)
                milliseconds += 1
            }
            try #require(milliseconds < 100, "stands still after \(position) bytes")
            script.guest("PA", seq: position, ack: 1, count: min(window, 65480))
            position += min(window, 65480)
            _ = script.round()
        }
        #expect(position > 15 * 65480)
    }

    /// Buffers that hold a sixth of what they seem to, since each byte has a header of its own: the guest fills them, and nothing is refused.
    @Test(arguments: [1500, 65520]) func aBufferThatHoldsLittleIsNotPromised(_ mtu: Int) throws {
        var script = try TCPScript(mtu: mtu) {
            $0.sendLimit = 4 << 20
            $0.bookkeeping = 6
        }
        script.open(mss: UInt16(mtu - 40))
        var position = 1
        for _ in 0..<3 {
            while position < Stream.length - 20_000 {
                let room = script.connection().windowEdge - script.connection().expected
                if room < 7000 { break }
                script.guest("PA", seq: position, ack: 1, count: 7000)
                position += 7000
                _ = script.round()
            }
            // Full, and an event will tell when it is no longer.
            let socket = script.tcp.sockets.all[0]
            #expect(socket.awaitsRoom && socket.queued * 6 > 2 << 20)
            script.tcp.sockets.drain(0)
            _ = script.round()
        }
        #expect(script.port.counters[.tcpPartialSends] == 0)
        #expect(position > 1_000_000)
    }
}
