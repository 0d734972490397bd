import Testing
import Wire

@testable import Datapath
@testable import Linux

extension TCPScript {
    /// A connection whose first segment is missing, and whose second has come.
    static func withHole() throws -> TCPScript {
        var script = try TCPScript()
        script.open()
        script.guest("A", seq: 1461, ack: 1, count: 1460)
        _ = script.round()
        return script
    }

    /// All places for what is late belong to other connections.
    mutating func takeAllPlaces() {
        for number in 0..<(LatePieces.mostPlaces) {
            let port = UInt16(50_000 + number)
            open(port: port)
            guest("A", seq: 1461, ack: 1, count: 1460, port: port)
        }
        _ = answer()
    }

    /// Where the window ends that the guest was told last, counted from its SYN.
    func edge(_ segment: SeenSegment) -> Int {
        segment.header!.acknowledgment - SequenceNumber(guestStart) + segment.window << Int(TCPTranslator<ScriptedSockets>.offeredWindowScale)
    }
}

/// Lesson 60: what follows something that is missing.
@Suite struct TCPMissingTests {
    @Test func twoFramesInTheWrongOrderCostOneAnswer() throws {
        var script = try TCPScript()
        script.open()
        script.guest("A", seq: 1461, ack: 1, count: 1460)
        #expect(script.round() == ["A 1:0 ack 1"])
        script.guest("A", seq: 1, ack: 1, count: 1460)
        #expect(script.answer() == ["A 1:0 ack 2921"])
        #expect(script.tcp.sockets.all[0].taken == Array(Stream.fromGuest[0..<2920]))
        // In one batch they cost none.
        script.guest("A", seq: 4381, ack: 1, count: 100)
        script.guest("A", seq: 2921, ack: 1, count: 1460)
        #expect(script.answer() == ["A 1:0 ack 4481"])
    }

    /// Each segment of a long frame has its own answer, and the guest counts those without data only (RFC 5681, section 4.2).
    @Test func aLongFrameIsAnsweredBySegment() throws {
        var script = try TCPScript()
        script.open()
        script.arrive(100)
        script.guest("A", seq: 1461, ack: 1, count: 4 * 1460 + 1)
        #expect(script.round() == ["PA 1:100 ack 1"] + Array(repeating: "A 101:0 ack 1", count: 5))
        script.guest("A", seq: 1, ack: 101, count: 1460)
        #expect(script.answer() == ["A 101:0 ack 7302"])
    }

    /// Of what comes behind several holes all is kept, in whatever order.
    @Test func allOfItIsKept() throws {
        var script = try TCPScript()
        script.open()
        script.guest("A", seq: 7301, ack: 1, count: 1460)
        script.guest("A", seq: 1461, ack: 1, count: 1460)
        script.guest("A", seq: 2921, ack: 1, count: 1460)
        #expect(script.round().count == 3)
        script.guest("A", seq: 1, ack: 1, count: 1460)
        #expect(script.answer() == ["A 1:0 ack 4381"])
        // Nothing but what was missing has to come again.
        script.guest("A", seq: 4381, ack: 1, count: 2920)
        #expect(script.answer() == ["A 1:0 ack 8761"])
        #expect(script.tcp.sockets.all[0].taken == Array(Stream.fromGuest[0..<8760]))
        #expect(script.connection().latePlace == 0)
    }

    /// In one batch, much may come before what is missing.
    @Test func whatComesBeforeTheHoleTakesNoRoom() throws {
        var script = try TCPScript { $0.sendLimit = 1_000_000 }
        script.open()
        let before = 100 * 1460, behind = 80 * 1460
        for number in 0..<100 { script.guest("A", seq: 1 + 1460 * number, ack: 1, count: 1460) }
        for number in 1...80 { script.guest("A", seq: 1 + before + 1460 * number, ack: 1, count: 1460) }
        _ = script.round()
        script.guest("A", seq: 1 + before, ack: 1, count: 1460)
        #expect(script.answer().last == "A 1:0 ack \(1 + before + 1460 + behind)")
    }

    /// What comes far behind what is missing is kept, unless something comes that is needed so much earlier that there is no room for both.
    @Test(arguments: [nil, 1, 100]) func farBehindTheHole(_ nearer: Int?) throws {
        var script = try TCPScript { $0.sendLimit = 1_000_000 }
        script.open()
        script.tcp.table[0].windowEdge = script.connection().expected + 400_000
        let far = 150 * 1460
        script.guest("A", seq: 1 + far, ack: 1, count: 1460)
        if let nearer { script.guest("A", seq: 1 + 1460 * nearer, ack: 1, count: 1460) }
        _ = script.round()
        for number in 0..<150 where number != nearer { script.guest("A", seq: 1 + 1460 * number, ack: 1, count: 1460) }
        #expect(script.answer().last == "A 1:0 ack \(1 + far + (nearer == 1 ? 0 : 1460))")
    }

    /// One segment is missing, and of what follows as much is kept as there is room for, wherever the batch began.
    @Test func theWholeRoomIsBehindTheHole() throws {
        var script = try TCPScript { $0.sendLimit = 1_000_000 }
        script.open()
        script.tcp.table[0].windowEdge = script.connection().expected + 400_000
        for number in 60..<200 { script.guest("A", seq: 1 + 1460 * number, ack: 1, count: 1460) }
        _ = script.round()
        for number in 0..<60 { script.guest("A", seq: 1 + 1460 * number, ack: 1, count: 1460) }
        #expect(script.answer().last == "A 1:0 ack \(1 + 1460 * 60 + LatePieces.room)")
    }

    /// Every second frame is late: as many holes as there may be, and one more.
    @Test func manyHoles() throws {
        var script = try TCPScript { $0.sendLimit = 300_000 }
        script.open()
        for number in 0...LatePieces.mostPieces { script.guest("A", seq: 1461 + 2920 * number, ack: 1, count: 1460) }
        _ = script.round()
        for number in 0..<LatePieces.mostPieces { script.guest("A", seq: 1 + 2920 * number, ack: 1, count: 1460) }
        let end = 2920 * LatePieces.mostPieces
        #expect(script.answer().last == "A 1:0 ack \(end + 1)")
        script.guest("FA", seq: end + 1, ack: 1, count: 2920)
        #expect(script.answer().last == "A 1:0 ack \(end + 2922)")
        #expect(script.tcp.sockets.all[0].taken == Array(Stream.fromGuest[0..<(end + 2920)]))
        #expect(script.tcp.sockets.all[0].isFinished)
    }

    /// The end comes before the middle, which the socket has no room for.
    @Test func theEndBehindTwoHoles() throws {
        var script = try TCPScript.nearlyFull(2000)
        script.guest("FA", seq: 2921, ack: 1, count: 100)
        script.guest("A", seq: 1461, ack: 1, count: 500)
        _ = script.round()
        script.guest("A", seq: 1, ack: 1, count: 1460)
        _ = script.round()
        script.tcp.sockets.all[0].sendLimit = 40_000
        script.tcp.sockets.drain(0)
        _ = script.round()
        #expect(!script.tcp.sockets.all[0].isFinished)
        script.guest("A", seq: 1961, ack: 1, count: 960)
        #expect(script.answer().last == "A 1:0 ack 3022")
        #expect(script.tcp.sockets.all[0].isFinished)
        #expect(script.tcp.sockets.all[0].taken == Array(Stream.fromGuest[0..<3020]))
    }

    /// The guest sends again more than what was missing, or less than all of it.
    @Test func whatIsKeptMayComeAgain() throws {
        var script = try TCPScript()
        script.open()
        script.guest("A", seq: 2001, ack: 1, count: 1000)
        _ = script.round()
        script.guest("A", seq: 1, ack: 1, count: 1000)
        #expect(script.answer() == ["A 1:0 ack 1001"])
        script.guest("A", seq: 1001, ack: 1, count: 1460)
        #expect(script.answer() == ["A 1:0 ack 3001"])
        script.guest("A", seq: 4001, ack: 1, count: 100)
        _ = script.round()
        script.guest("A", seq: 3001, ack: 1, count: 2000)
        #expect(script.answer() == ["A 1:0 ack 5001"])
        #expect(script.tcp.sockets.all[0].taken == Array(Stream.fromGuest[0..<5000]))
        #expect(script.connection().latePlace == 0)
    }

    @Test(arguments: [true, false]) func theEndIsKept(_ isAlone: Bool) throws {
        var script = try TCPScript()
        script.open()
        script.guest(isAlone ? "A" : "FA", seq: 1461, ack: 1, count: 100)
        if isAlone { script.guest("FA", seq: 1561, ack: 1) }
        _ = script.round()
        #expect(!script.tcp.sockets.all[0].isFinished)
        script.guest("A", seq: 1, ack: 1, count: 1460)
        #expect(script.answer() == ["A 1:0 ack 1562"])
        #expect(script.tcp.sockets.all[0].isFinished)
    }

    /// The socket has no room for what was kept, or fails.
    @Test func theSocketIsFullBehindTheHole() throws {
        var script = try TCPScript.nearlyFull(2000)
        script.guest("FA", seq: 1461, ack: 1, count: 1460)
        _ = script.round()
        script.guest("A", seq: 1, ack: 1, count: 1460)
        #expect(script.round() == ["A 1:0 ack 2001"])
        script.tcp.sockets.all[0].sendLimit = 40_000
        script.tcp.sockets.drain(0)
        #expect(script.round().first == "A 1:0 ack 2922")
        #expect(script.tcp.sockets.all[0].isFinished)
        #expect(script.tcp.sockets.all[0].taken == Array(Stream.fromGuest[0..<2920]))
    }

    /// What was missing does not fit itself: what was kept goes out behind the rest of it.
    @Test func theSocketIsFullBeforeTheHole() throws {
        var script = try TCPScript.nearlyFull(1000)
        script.guest("A", seq: 1461, ack: 1, count: 1460)
        _ = script.round()
        script.guest("A", seq: 1, ack: 1, count: 1460)
        #expect(script.round() == ["A 1:0 ack 1001"])
        script.tcp.sockets.all[0].sendLimit = 40_000
        script.tcp.sockets.drain(0)
        #expect(script.round().first == "A 1:0 ack 2921")
        #expect(script.tcp.sockets.all[0].taken == Array(Stream.fromGuest[0..<2920]))
    }

    @Test func aPeerThatIsGoneTakesNothing() throws {
        var script = try TCPScript.withHole()
        script.tcp.sockets.sendErrors = [nil, 32]
        script.guest("FA", seq: 1, ack: 1, count: 1460)
        #expect(script.answer().contains { $0.hasPrefix("RA") })
        script.expectEmpty()
    }

    /// The kernel lacked memory for what was kept: it is tried again.
    @Test func theKernelLacksMemory() throws {
        var script = try TCPScript.withHole()
        script.tcp.sockets.sendErrors = [nil, 105]
        script.guest("A", seq: 1, ack: 1, count: 1460)
        #expect(script.round() == ["A 1:0 ack 1461"])
        #expect(script.pass(100).contains { $0.hasSuffix("ack 2921") })
        #expect(script.tcp.sockets.all[0].taken == Array(Stream.fromGuest[0..<2920]))
    }

    /// Where nothing can be kept, the guest has room for what it sends again and for nothing new, until all of that is there.
    @Test func theWindowEndsWithWhatWasDropped() throws {
        var script = try TCPScript()
        script.takeAllPlaces()
        script.open()
        let before = script.connection().windowEdge - SequenceNumber(script.guestStart)
        for start in stride(from: 1461, through: 7301, by: 1460) { script.guest("A", seq: start, ack: 1, count: 1460) }
        let equal = script.segments()
        #expect(equal.count == 5 && equal.allSatisfy { script.edge($0) == before }, "the guest does not count others")
        script.guest("A", seq: 1, ack: 1, count: 1460)
        let partial = script.segments()
        try #require(partial.count == 1)
        #expect((8761..<(8761 + 256)).contains(script.edge(partial[0])))
        #expect(partial[0].header!.acknowledgment - SequenceNumber(script.guestStart) == 1461)
        script.guest("A", seq: 1461, ack: 1, count: 5 * 1460)
        let last = script.segments()
        try #require(!last.isEmpty)
        #expect(script.edge(last[0]) >= before + 5 * 1460)
        #expect(script.tcp.sockets.all.last!.taken == Array(Stream.fromGuest[0..<8760]))
    }

    /// A guest that has only changed the order of two has lost nothing, and goes on: what it sends then tells it that something is missing.
    @Test func twoSegmentsAreNoReasonForThat() throws {
        var script = try TCPScript()
        script.takeAllPlaces()
        script.open()
        let before = script.connection().windowEdge
        script.guest("A", seq: 1461, ack: 1, count: 1460)
        script.guest("A", seq: 1, ack: 1, count: 1460)
        #expect(script.answer().last == "A 1:0 ack 1461")
        #expect(script.connection().windowEdge >= before)
        // Once its timeout may have run out, it is one.
        script.move(to: script.now + 200)
        script.guest("A", seq: 4381, ack: 1, count: 1460)
        _ = script.round()
        script.guest("A", seq: 1461, ack: 1, count: 1460)
        _ = script.answer()
        #expect(script.connection().windowEdge < before)
    }

    /// On a far path, what comes before the hole is acknowledged by the far end first. Equal acknowledgements of less would have the guest send that again.
    @Test func equalAcknowledgementsWaitForTheFarEnd() throws {
        var script = try TCPScript { $0.roundTrip = 20_000 }
        script.open()
        script.guest("A", seq: 1, ack: 1, count: 1460)
        script.guest("A", seq: 2921, ack: 1, count: 3 * 1460)
        #expect(script.round() == [])
        script.tcp.sockets.drain(0)
        let sent = script.pass(60).map { $0.split(separator: " ", maxSplits: 1).last! }
        #expect(sent == Array(repeating: "A 1:0 ack 1461", count: 4))
    }

    /// A guest that sends far beyond any window is answered, and nothing of that is kept or noted.
    @Test func farBeyondTheWindow() throws {
        var script = try TCPScript()
        script.open()
        let window = 65535 << Int(TCPTranslator<ScriptedSockets>.offeredWindowScale)
        script.guest("A", seq: 1, ack: 1)
        var header = TCPHeader(
            sourcePort: TCPScript.guestPort, destinationPort: 80, sequence: SequenceNumber(script.guestStart) + 2 + window,
            acknowledgment: script.connection().highest, flags: .ack, window: 500)
        header.payloadLength = 1000
        script.deliver(header, Stream.fromGuest[0..<1000], TCPScript.key())
        #expect(script.round() == ["A 1:0 ack 1"])
        #expect(!script.connection().hasHole && script.connection().latePlace == 0)
        // Half of all numbers away, and reaching over the other half.
        header.sequence = script.connection().expected + (Int(Int32.max) - 10)
        script.deliver(header, Stream.fromGuest[0..<1000], TCPScript.key())
        #expect(script.round() == ["A 1:0 ack 1"])
        #expect(!script.connection().hasHole && script.connection().latePlace == 0)
    }

    /// A guest asks with a new byte whether its window is still closed, and that is dropped. It must not wait for the next time that it asks.
    @Test func aByteThatAsksIsNoReasonToKeepTheWindowClosed() throws {
        var script = try TCPScript.nearlyFull(0)
        for _ in 0..<KeptData.most { #expect(script.tcp.kept.takePlace() != 0) }
        let found = script.tcp.table.find(TCPScript.key())
        let index = try #require(found)
        script.tcp.table[index].windowEdge = script.connection().expected
        script.guest("A", seq: 1, ack: 1, count: 1)
        let refused = script.segments()
        #expect(refused.allSatisfy { script.edge($0) > 1 })
        script.tcp.sockets.all[0].sendLimit = 40_000
        script.tcp.sockets.drain(0)
        _ = script.round()
        script.guest("A", seq: 1, ack: 1, count: 1)
        let opened = script.segments()
        #expect(opened.contains { script.edge($0) > 20_000 })
    }

    /// The guest gives up behind a window that was confined: it is asked, as within any other (RFC 5961, section 3).
    @Test func aResetBehindTheConfinedWindowIsAskedAbout() throws {
        var script = try TCPScript()
        script.takeAllPlaces()
        script.open()
        for start in stride(from: 1461, through: 7301, by: 1460) { script.guest("A", seq: start, ack: 1, count: 1460) }
        script.guest("A", seq: 1, ack: 1, count: 1460)
        _ = script.answer()
        script.guest("R", seq: 20_001)
        #expect(script.round() == ["A 1:0 ack 1461"])
    }

    /// The link has no room for the reset that ends it all: nothing is done any more with what came beside.
    @Test func theResetHasToWait() throws {
        var script = try TCPScript.withHole()
        script.tcp.sockets.sendErrors = [nil, 32]
        script.port.link.refusals = 1
        script.guest("FA", seq: 1, ack: 1, count: 1460)
        #expect(!script.tcp.sockets.all[0].isFinished && script.connection().latePlace == 0)
        #expect((script.round() + script.pass(3000)).contains { $0.contains("RA") })
        script.expectEmpty()
    }

    @Test func placesAreGivenBack() throws {
        var script = try TCPScript(capacity: 256)
        for turn in 0..<3 {
            for number in 0..<40 {
                let port = UInt16(50_000 + 100 * turn + number)
                script.open(port: port)
                script.guest("A", seq: 1461, ack: 1, count: 1460, port: port)
                _ = script.round()
                #expect((script.connection(port).latePlace != 0) == (number < LatePieces.mostPlaces))
            }
            for number in 0..<40 { script.guest("R", seq: 1, port: UInt16(50_000 + 100 * turn + number)) }
            _ = script.round()
        }
        script.expectEmpty()
    }
}
