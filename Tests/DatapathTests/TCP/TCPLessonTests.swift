import Testing
import Wire

@testable import Datapath
@testable import Linux

/// What went wrong in other programs of this kind, by the numbers of the field guide: each must not happen here.
@Suite struct TCPLessonTests {
    /// An acknowledgement is owed until one has left.
    @Test func lesson01_owedAcknowledgementSurvivesOutputEvents() throws {
        var script = try TCPScript()
        script.open()
        script.guest("PA", seq: 1, ack: 1, count: 100)
        script.tcp.sockets.notify(0)
        script.port.link.refusals = 1
        #expect(script.answer() == ["A 1:0 ack 101"])
        #expect(script.pass(1000).isEmpty)
    }

    /// A full window of the guest, or data that only waits for its acknowledgement: nothing is read, no timer turns.
    @Test func lesson02_noBusyLoopWhileTheGuestIsSlow() throws {
        var script = try TCPScript()
        script.open(window: 2560)
        script.arrive(10_000)
        _ = script.round()
        let peeks = script.tcp.sockets.all[0].peeks
        for _ in 0..<10 {
            script.arrive(10)
            _ = script.round()
        }
        #expect(script.tcp.sockets.all[0].peeks == peeks)
        _ = script.pass(900)
        #expect(script.lastSteps < 10 && script.tcp.sockets.all[0].peeks == peeks)
    }

    @Test func lesson03_noBusyLoopBeforeTheHandshakeEnds() throws {
        var script = try TCPScript()
        script.tcp.openToGuest(script.tcp.sockets.accept(), key: TCPScript.key(), &script.port, now: script.now)
        _ = script.round()
        script.arrive(100)
        script.tcp.sockets.end(0)
        #expect(script.round().isEmpty)
        #expect(script.pass(900).isEmpty && script.lastSteps < 5 && script.tcp.sockets.all[0].peeks == 0)
        script.guest("SA", seq: 0, ack: 1, mss: 1460)
        #expect(script.round() == ["A 1:0 ack 1", "FPA 1:100 ack 1"])
    }

    @Test func lesson04_resetsOfSynsAcknowledgeAndSegmentsHaveACK() throws {
        var script = try TCPScript { $0.refusal = Errno(111) }
        script.guest("S", seq: 0)
        let sent = script.segments()
        let reset = try #require(sent.first?.header)
        #expect(reset.flags == [.rst, .ack] && reset.acknowledgment == SequenceNumber(1001) && reset.sequence.value == 0)
    }

    @Test func lesson05_pushOnTheLastOfABatch() throws {
        var script = try TCPScript(offloads: [])
        script.open()
        script.arrive(4000)
        #expect(script.round() == ["A 1:1460 ack 1", "A 1461:1460 ack 1", "PA 2921:1080 ack 1"])
    }

    @Test func lesson06_repeatedSynWhileConnecting() throws {
        var script = try TCPScript { $0.connectsAtOnce = false }
        script.guest("S", seq: 0)
        script.guest("S", seq: 0)
        #expect(script.round().isEmpty && script.tcp.sockets.all.count == 1)
        script.tcp.sockets.succeed(0)
        #expect(script.round() == ["SA 0:0 ack 1"])
        script.guest("S", seq: 0)
        #expect(script.round() == ["SA 0:0 ack 1"])
        // Another attempt from the same port gives the first one up.
        script.guestStart += 5000
        script.guest("S", seq: 0)
        #expect(script.tcp.sockets.all.count == 2 && script.tcp.sockets.all[0].isAborted)
    }

    @Test func lesson07_lostSynTowardsTheGuest() throws {
        var script = try TCPScript()
        script.tcp.openToGuest(script.tcp.sockets.accept(), key: TCPScript.key(), &script.port, now: script.now)
        #expect(script.round() == ["S 0:0"])
        #expect(script.pass(3000) == ["+1000 S 0:0", "+3000 S 0:0"])
        script.guest("SA", seq: 0, ack: 1)
        #expect(script.round() == ["A 1:0 ack 1"])
    }

    @Test func lesson08_keepAliveIsAnsweredAndIsNoDuplicate() throws {
        var script = try TCPScript()
        script.open()
        script.arrive(3000)
        _ = script.round()
        for _ in 0..<5 {
            script.guest("A", seq: 0, ack: 1, window: 511)
            #expect(script.round() == ["A 3001:0 ack 1"])
        }
        script.guest("A", seq: 0, ack: 1, count: 1, window: 400)  // With an old byte.
        #expect(script.round() == ["A 3001:0 ack 1"])
        #expect(script.connection().guestWindow == 400 << 7)
        #expect(script.port.counters[.tcpRetransmissionsToGuest] == 0)
    }

    /// Nor does it say anything about the window when it comes late: what was sent behind it has told of a larger one.
    @Test func anOvertakenSegmentMakesTheWindowNoSmaller() throws {
        var script = try TCPScript()
        script.open()
        script.guest("A", seq: 101, ack: 1, count: 100, window: 500)
        script.guest("A", seq: 1, ack: 1, count: 100, window: 1)
        _ = script.round()
        #expect(script.connection().guestWindow == 500 << 7)
        script.guest("A", seq: 1, ack: 1, count: 200, window: 0)
        _ = script.round()
        #expect(script.connection().guestWindow == 500 << 7)
        // In order it may shrink, and what comes late may open it.
        script.guest("A", seq: 201, ack: 1, window: 0)
        _ = script.round()
        #expect(script.connection().guestWindow == 0)
        script.guest("A", seq: 1, ack: 1, count: 200, window: 300)
        _ = script.round()
        #expect(script.connection().guestWindow == 300 << 7)
    }

    @Test func lesson09_zeroWindowIsProbed() throws {
        var script = try TCPScript()
        script.open()
        script.guest("A", seq: 1, ack: 1, window: 0)
        script.arrive(100)
        #expect(script.round().isEmpty)
        #expect(script.pass(3000) == ["+1000 PA 1:1 ack 1", "+3000 PA 1:1 ack 1"])
    }

    @Test func lesson10_windowTakenBack() throws {
        var script = try TCPScript()
        script.open()
        script.arrive(20_000)
        _ = script.round()
        script.guest("A", seq: 1, ack: 1, window: 10)
        script.arrive(20_000)
        #expect(script.round().isEmpty)
        #expect(script.pass(1000) == ["+1000 PA 1:1280 ack 1"])
        script.guest("A", seq: 1, ack: 1281, window: 20)
        let sent = script.segments()
        #expect(sent.reduce(0) { $0 + $1.payload.count } == 2560)
    }

    @Test func lesson11_noSillyWindows() throws {
        var script = try TCPScript(mtu: 65520) { $0.sendLimit = 300_000 }
        script.open(mss: 65480)
        var position = 1
        for _ in 0..<4 {
            script.guest("A", seq: position, ack: 1, count: 32_000)
            position += 32_000
            _ = script.answer()
        }
        // What is left is less than a segment. Room that comes a little at a time is told when it is worth it.
        let used = script.tcp.sockets.all[0].sendLimit - script.tcp.sockets.all[0].queued
        script.tcp.sockets.all[0].sendLimit -= used
        var edge = script.connection().windowEdge
        for _ in 0..<100 {
            script.tcp.sockets.drain(0, 1000)
            _ = script.pass(5)
            let new = script.connection().windowEdge
            if new > edge { #expect(new - script.connection().expected >= 32_000) }
            edge = new
        }
        #expect(script.connection().windowEdge - script.connection().expected >= 32_000)
    }

    @Test func lesson12_windowIsFreeSpace() throws {
        var script = try TCPScript { $0.sendLimit = 60_000 }
        script.open()
        var position = 1
        for _ in 0..<30 {
            let room = script.connection().windowEdge - script.connection().expected
            if room < 1460 { break }
            script.guest("A", seq: position, ack: 1, count: 1460)
            position += 1460
            _ = script.answer()
        }
        // A guest that keeps to the window never meets a full socket.
        #expect(script.port.counters[.tcpPartialSends] == 0)
        #expect(script.tcp.sockets.all[0].taken.count > 20_000)
    }

    /// What the kernel tunes is left to it: the translator has no call that would set a size (see `HostSockets`), and what the buffer has
    /// grown to is told to the guest as it uses it.
    @Test func lesson13_growingBuffersAreFollowed() throws {
        var script = try TCPScript { $0.sendLimit = 40_000 }
        script.open()
        var position = 1
        for round in 1...40 {
            script.tcp.sockets.all[0].sendLimit = 40_000 * round
            if position + 40_000 * round > Stream.length { break }
            // All that the guest may send: as much as the buffer takes.
            let start = position
            while true {
                let room = script.connection().windowEdge - script.connection().expected
                if room < 1460 { break }
                script.guest("A", seq: position, ack: 1, count: min(20_000, room))
                position += min(20_000, room)
                _ = script.round()
            }
            #expect(position - start >= 40_000 * round * 3 / 4)
            #expect(script.port.counters[.tcpPartialSends] == 0)
            script.tcp.sockets.drain(0)
            _ = script.pass(60)
        }
    }

    @Test func lesson14_bulkIsAcknowledgedAtOnce() throws {
        var script = try TCPScript { $0.sendLimit = 1 << 20 }
        script.open()
        for start in stride(from: 0, to: 29_200, by: 2920) {
            script.guest("A", seq: 1 + start, ack: 1, count: 1460)
            script.guest("A", seq: 1461 + start, ack: 1, count: 1460)
            #expect(script.round() == ["A 1:0 ack \(2921 + start)"])
        }
    }

    @Test func lesson15_onlyWhatWasTakenIsAcknowledged() throws {
        var script = try TCPScript()
        script.open()
        script.tcp.sockets.all[0].sendLimit = 1000
        script.guest("A", seq: 1, ack: 1, count: 1460)
        #expect(script.round() == ["A 1:0 ack 1001"])
        script.tcp.sockets.all[0].sendLimit = 70_000
        script.tcp.sockets.drain(0)
        // The first opens the window; the guest's stack takes three equal ones behind it for a loss. What was refused had been kept.
        #expect(script.round() == Array(repeating: "A 1:0 ack 1461", count: 4))
        #expect(script.tcp.sockets.all[0].taken == Array(Stream.fromGuest[0..<1460]))
    }

    @Test(arguments: [true, false]) func lesson16_fastRetransmitLosesNothing(_ hasPeekOffset: Bool) throws {
        var script = try TCPScript(offloads: []) { $0.hasPeekOffset = hasPeekOffset }
        script.open()
        script.arrive(8000)
        _ = script.round()
        for _ in 0..<3 { script.guest("A", seq: 1, ack: 1, window: 511) }
        let again = script.segments()
        #expect(again.map(\.payload) == [Array(Stream.toGuest[0..<1460])])
        // New data goes on where it had stopped, once all has come that was in flight: a guest that keeps nothing behind what is missing would not tell of its loss.
        script.arrive(1000)
        #expect(script.segments().isEmpty)
        script.guest("A", seq: 1, ack: 8001, window: 511)
        #expect(script.segments().map(\.payload) == [Array(Stream.toGuest[8000..<9000])])
    }

    @Test func lesson17_refusedFramesDoNotCountAsSent() throws {
        var script = try TCPScript(offloads: [])
        script.open()
        script.arrive(4000)
        script.port.link.refusals = 2
        _ = script.round()
        #expect(script.connection().highest == script.connection().unacknowledged)
        // They were not lost either: no timeout has to pass, and nothing counts as sent again.
        let sent = script.pass(900).filter { !$0.hasSuffix("A 1:0 ack 1") }
        #expect(sent.map { $0.split(separator: " ", maxSplits: 1)[1] } == ["A 1:1460 ack 1", "A 1461:1460 ack 1", "PA 2921:1080 ack 1"])
        #expect(sent.allSatisfy { $0.hasPrefix("+1 ") || $0.hasPrefix("+2 ") || $0.hasPrefix("+3 ") })
        #expect(script.port.counters[.tcpRetransmissionsToGuest] == 0 && script.connection().retransmissions == 0)
    }

    @Test func lesson18_bareAcknowledgementBeforeData() throws {
        var script = try TCPScript()
        script.tcp.openToGuest(script.tcp.sockets.accept(), key: TCPScript.key(), &script.port, now: script.now)
        script.arrive(10)
        _ = script.round()
        script.guest("SA", seq: 0, ack: 1, mss: 1460)
        #expect(script.round() == ["A 1:0 ack 1", "PA 1:10 ack 1"])
    }

    /// No address is inferred from what can be bound: the translation says all.
    @Test func lesson19_addressesComeFromTheTranslation() throws {
        var script = try TCPScript()
        let loopback = FlowKey(guest: TCPScript.guest, guestPort: 1, remote: IPAddress(IPv4Address("127.0.0.1")!), remotePort: 80)
        let header = TCPHeader(
            sourcePort: 1, destinationPort: 80, sequence: SequenceNumber(1), acknowledgment: SequenceNumber(0), flags: .syn, window: 100)
        script.deliver(header, [], loopback)
        #expect(script.tcp.sockets.all.isEmpty && script.port.counters[.droppedAddress] == 1)
    }

    @Test func lesson20_halfClosedConnectionsGoOn() throws {
        var script = try TCPScript()
        script.open()
        script.guest("FA", seq: 1, ack: 1)
        _ = script.answer()
        for round in 0..<5 {
            script.arrive(1000)
            #expect(script.round() == ["PA \(1 + round * 1000):1000 ack 2"])
            #expect(script.pass(1000) == ["+1000 PA \(1 + round * 1000):1000 ack 2"])
            script.guest("A", seq: 2, ack: 1001 + round * 1000)
            #expect(script.round().isEmpty)
        }
        script.tcp.sockets.end(0)
        #expect(script.round() == ["FA 5001:0 ack 2"])
        #expect(script.tcp.table.count == 1)
        script.guest("A", seq: 2, ack: 5002)
        _ = script.round()
        script.expectEmpty()
    }

    @Test func lesson21_finWaitsForDataAndIsRepeated() throws {
        var script = try TCPScript()
        script.open(window: 2560)
        script.arrive(5000)
        script.tcp.sockets.end(0)
        script.guest("PA", seq: 1, ack: 1, count: 50, window: 20)
        let first = script.segments()
        #expect(!first.contains { $0.flags.contains(.fin) })
        script.guest("A", seq: 51, ack: 2561, window: 500)
        let rest = script.segments()
        // With it goes the acknowledgement of all that was received.
        #expect(rest.last!.flags.contains(.fin) && rest.last!.header!.acknowledgment - SequenceNumber(script.guestStart) == 51)
        #expect(script.pass(1000).last!.contains("2561:"))
    }

    @Test func lesson22_finWithAnotherNumberIsNoEnd() throws {
        var script = try TCPScript()
        script.open()
        script.guest("FA", seq: 500, ack: 1)
        #expect(script.round() == ["A 1:0 ack 1"])
        #expect(!script.tcp.sockets.all[0].isFinished)
        script.guest("FPA", seq: 1, ack: 1, count: 499)
        #expect(script.answer() == ["A 1:0 ack 501"])
        #expect(script.tcp.sockets.all[0].isFinished)
        script.guest("PA", seq: 501, ack: 1, count: 100)
        #expect(script.answer() == ["A 1:0 ack 501"])
        #expect(script.tcp.sockets.all[0].taken.count == 499)
    }

    /// Data and FIN of one batch: what is collected is sent before the FIN's number is compared.
    @Test func lesson23_pendingDataIsFlushedFirst() throws {
        var script = try TCPScript()
        script.open()
        script.guest("A", seq: 1, ack: 1, count: 1000)
        script.guest("A", seq: 1001, ack: 1, count: 1000)
        script.guest("FA", seq: 2001, ack: 1)
        #expect(script.round() == ["A 1:0 ack 2002"])
        #expect(script.tcp.sockets.all[0].taken.count == 2000 && script.tcp.sockets.all[0].isFinished)
    }

    @Test func lesson24_unknownFlowsAndAbortsAreResets() throws {
        var script = try TCPScript()
        script.guest("A", seq: 1, ack: 0)
        #expect(script.round() == ["R 0:0"])
        script.open()
        script.guest("RA", seq: 1, ack: 1)
        _ = script.round()
        #expect(script.tcp.sockets.all[0].isAborted)
        script.open(port: 7)
        script.tcp.sockets.fail(1, Errno(104))
        #expect(script.round() == ["RA 1:0 ack 1"])
        script.expectEmpty()
    }

    @Test func lesson25_endAndNewStartInOneBatch() throws {
        for flags in ["R", "RA", "FA"] {
            var script = try TCPScript()
            script.open()
            if flags == "FA" {
                script.tcp.sockets.end(0)
                _ = script.round()
            }
            script.guest(flags, seq: 1, ack: flags == "FA" ? 2 : 1)
            script.guestStart += 70_000
            script.guest("S", seq: 0, mss: 1460)
            _ = script.round()
            #expect(script.tcp.sockets.all.count == 2 && script.tcp.sockets.all[0].closes == 1)
            script.guest("A", seq: 1, ack: 1)
            _ = script.answer()
            #expect(script.connection().events.contains(.established))
        }
    }

    @Test func lesson26_everyEndClosesOnce() throws {
        var script = try TCPScript()
        for port in 1...6 as ClosedRange<UInt16> { script.open(port: port) }
        script.guest("R", seq: 1, port: 1)
        script.guest("R", seq: 1, port: 1)
        script.tcp.sockets.fail(1, Errno(104))
        script.tcp.sockets.all[2].error = Errno(32)
        script.guest("A", seq: 1, ack: 1, count: 10, port: 3)
        script.guest("FA", seq: 1, ack: 1, port: 4)
        script.tcp.sockets.end(3)
        script.guest("RA", seq: 1, ack: 1, port: 5)
        script.tcp.sockets.fail(4, Errno(104))
        script.guest("S", seq: 900, port: 6)
        script.guest("R", seq: 1, port: 6)
        _ = script.round()
        script.guest("A", seq: 2, ack: 2, port: 4)
        _ = script.round()
        script.expectEmpty()
        // Late events of closed sockets find nothing.
        for index in 0..<6 { script.tcp.sockets.notify(index) }
        #expect(script.round().isEmpty)
    }

    /// Soon after it has asked for its address: whatever it has forgotten is asked about, what it was heard of since is not.
    @Test func lesson27_guestThatAsksForItsAddressIsAsked() throws {
        var script = try TCPScript()
        script.open(port: 1)
        script.open(port: 2)
        _ = script.pass(5000)
        script.tcp.guestMayHaveRestarted(now: script.now)
        #expect(script.pass(900).isEmpty)
        script.guest("A", seq: 1, ack: 1, port: 2)
        let asked = script.pass(2500)
        #expect(asked.count == 1 && asked[0].hasSuffix("A 0:0 ack 1"))
        script.guest("R", seq: 1, port: 1)
        _ = script.round()
        #expect(script.tcp.table.count == 1)
        // Without an answer again a few times, and then as rarely as usual.
        script.tcp.guestMayHaveRestarted(now: script.now + 20_000)
        #expect(script.pass(200_000).count == 6)
        #expect(script.tcp.table.count == 1)
    }

    @Test func lesson27_guestThatRebootedIsFoundOut() throws {
        var script = try TCPScript()
        script.open()
        let asked = script.pass(7_300_000)
        #expect(asked.count == 1 && asked[0].hasSuffix("A 0:0 ack 1"))
        // It knows nothing of the connection.
        script.guest("R", seq: 1)
        _ = script.round()
        script.expectEmpty()
    }
}
