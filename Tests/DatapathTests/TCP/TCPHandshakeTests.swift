import Settings
import Testing
import Wire

@testable import Datapath
@testable import Linux

@Suite struct TCPHandshakeTests {
    @Test func guestOpens() throws {
        var script = try TCPScript()
        script.guest("S", seq: 0, mss: 1460, scale: 7)
        #expect(script.tcp.sockets.all[0].remote == Endpoint(TCPScript.remote, 80))
        script.runRound()
        script.runRound()
        let answer = try #require(script.port.link.seen.first?.header)
        #expect(answer.maximumSegmentSize == 1460 && answer.windowScale == 8)
        #expect(script.take() == ["SA 0:0 ack 1"])
        script.guest("A", seq: 1, ack: 1)
        #expect(script.round().isEmpty)
        #expect(script.connection().events.contains(.established))
        #expect(script.connection().retransmitAt == 0)
    }

    @Test func guestOpensWithDataInTheAcknowledgement() throws {
        var script = try TCPScript()
        script.guest("S", seq: 0, mss: 1460, scale: 7)
        _ = script.round()
        _ = script.round()
        script.guest("PA", seq: 1, ack: 1, count: 100)
        #expect(script.answer() == ["A 1:0 ack 101"])
        #expect(script.tcp.sockets.all[0].taken == Array(Stream.fromGuest[0..<100]))
    }

    @Test func hostOpens() throws {
        var script = try TCPScript()
        let socket = script.tcp.sockets.accept()
        script.tcp.openToGuest(socket, key: TCPScript.key(), &script.port, now: script.now)
        let syn = try #require(script.port.link.seen.first?.header)
        #expect(syn.maximumSegmentSize == 1460 && syn.windowScale == 8 && syn.acknowledgment.value == 0)
        #expect(script.round() == ["S 0:0"])
        script.guest("SA", seq: 0, ack: 1, mss: 1400, scale: 3)
        #expect(script.round() == ["A 1:0 ack 1"])
        #expect(script.connection().segmentSize == 1400)
        script.arrive(200)
        #expect(script.round() == ["PA 1:200 ack 1"])
    }

    @Test func refusalIsAResetWithTheRightNumbers() throws {
        var script = try TCPScript { $0.connectsAtOnce = false }
        script.guest("S", seq: 0)
        #expect(script.round().isEmpty)
        script.tcp.sockets.fail(0, Errno(111))
        #expect(script.round() == ["RA 0:0 ack 1"])
        script.expectEmpty()
    }

    /// Names are asked for where the host has no resolver.
    @Test func queriesAreRefusedWithoutAResolver() throws {
        var script = try TCPScript { $0.connectsAtOnce = false }
        var network = TCPScript.network(mtu: 1500)
        network.ipv4?.dnsForward = IPv4Address("192.0.2.53")!
        script.tcp.translation = AddressTranslation(network)
        for port in [53, 853, 54] as [UInt16] {
            let syn = TCPHeader(
                sourcePort: TCPScript.guestPort, destinationPort: port, sequence: SequenceNumber(script.guestStart), acknowledgment: SequenceNumber(0),
                flags: .syn, window: 65535)
            let key = FlowKey(guest: TCPScript.guest, guestPort: TCPScript.guestPort, remote: IPAddress(IPv4Address("192.0.2.53")!), remotePort: port)
            script.deliver(syn, [], key)
            // Other ports are those of somebody else.
            #expect(script.take() == (port == 54 ? [] : ["RA 0:0 ack 1"]))
        }
        #expect(script.port.counters[.droppedAddress] == 2 && script.tcp.sockets.all.count == 1)
    }

    @Test(arguments: [(101, 0), (113, 1), (110, 1), (13, 13)])
    func unreachableIsAnICMPError(_ code: Int, _ icmp: Int) throws {
        var script = try TCPScript { $0.connectsAtOnce = false }
        script.guest("S", seq: 0)
        script.tcp.sockets.fail(0, Errno(Int32(code)))
        #expect(script.round() == ["ICMP 3 \(icmp)"])
        script.expectEmpty()
    }

    @Test func unreachableAtOnce() throws {
        var script = try TCPScript { $0.refusal = Errno(101) }
        script.guest("S", seq: 0)
        #expect(script.round() == ["ICMP 3 0"])
        #expect(script.tcp.table.count == 0)
        script.tcp.sockets.refusal = Errno(24)  // EMFILE: no word in ICMP
        script.guest("S", seq: 0)
        #expect(script.round() == ["RA 0:0 ack 1"])
        script.expectEmpty()
    }

    @Test func connectionLostBeforeItWasSeenIsARefusal() throws {
        var script = try TCPScript { $0.connectsAtOnce = false }
        script.guest("S", seq: 0)
        script.tcp.sockets.succeed(0)
        script.arrive(100)
        script.tcp.sockets.fail(0, Errno(104))
        #expect(script.round() == ["RA 0:0 ack 1"])
        script.expectEmpty()
    }

    @Test func errorWithoutAWordIsARefusal() throws {
        var script = try TCPScript { $0.connectsAtOnce = false }
        script.guest("S", seq: 0)
        let found = script.tcp.table.find(TCPScript.key())
        let index = try #require(found)
        script.tcp.fromHost(index, [.hangUp, .output], &script.port, now: script.now)
        #expect(script.take() == ["RA 0:0 ack 1"])
    }

    @Test func tableFullIsAReset() throws {
        var script = try TCPScript(capacity: 2)
        for port in 1...2 as ClosedRange<UInt16> {
            script.guest("S", seq: 0, port: port)
            _ = script.round()
            script.guest("A", seq: 1, ack: 1, port: port)
        }
        script.guest("S", seq: 0, port: 3)
        #expect(script.take() == ["RA 0:0 ack 1"])
        #expect(script.tcp.table.count == 2)
        #expect(script.port.counters[.tcpTableFull] == 1)
        let socket = script.tcp.sockets.accept()
        script.tcp.openToGuest(socket, key: TCPScript.key(9), &script.port, now: script.now)
        #expect(script.tcp.sockets.all[2].isAborted)
    }

    /// Connections that are not open yet, the oldest first, whatever they wait for.
    @Test func inAFullTableTheOldestHalfOpenGivesWay() throws {
        var script = try TCPScript(capacity: 2) { $0.connectsAtOnce = false }
        for port in 1...3 as ClosedRange<UInt16> { script.guest("S", seq: 0, port: port) }
        #expect(script.take() == ["RA 0:0 ack 1"] && script.tcp.sockets.all[0].isAborted)
        #expect(script.port.counters[.tcpGaveWay] == 1 && script.port.counters[.tcpTableFull] == 0)
        // One of others' gets the place of one of the guest's, which are more.
        script.tcp.openToGuest(script.tcp.sockets.accept(), key: TCPScript.key(9), &script.port, now: script.now)
        #expect(script.tcp.sockets.all[1].isAborted && !script.tcp.sockets.all[2].isAborted)
        #expect(script.tcp.table.count == 2 && script.tcp.halfOpenIn.count == 1 && script.tcp.halfOpenOut.count == 1)
    }

    /// The kernel has no descriptor for another one: the oldest gives up its own.
    @Test func withoutADescriptorTheOldestHalfOpenGivesWay() throws {
        var script = try TCPScript { $0.connectsAtOnce = false }
        script.guest("S", seq: 0, port: 1)
        script.tcp.sockets.refusal = Errno(24)  // EMFILE
        script.tcp.sockets.refusals = 1
        script.guest("S", seq: 0, port: 2)
        #expect(script.take() == ["RA 0:0 ack 1"] && script.tcp.sockets.all[0].isAborted)
        #expect(script.port.counters[.tcpGaveWay] == 1 && script.port.counters[.tcpSocketFailed] == 0)
        try #require(script.tcp.sockets.all.count == 2 && script.tcp.table.count == 1)
        script.tcp.sockets.succeed(1)
        #expect(script.round() == ["SA 0:0 ack 1"])
    }

    @Test func halfOpenConnectionsAreLimited() throws {
        var script = try TCPScript(capacity: 256)
        for port in 1...40 as ClosedRange<UInt16> { script.guest("S", seq: 0, port: port) }
        #expect(script.tcp.table.count == 16 && script.port.counters[.tcpGaveWay] == 24)
        for port in 1...40 as ClosedRange<UInt16> {
            script.tcp.openToGuest(script.tcp.sockets.accept(), key: TCPScript.key(1000 + port), &script.port, now: script.now)
        }
        #expect(script.tcp.table.count == 32 && script.port.counters[.tcpGaveWay] == 48)
        #expect(script.tcp.sockets.all.count { $0.isAborted } == 48)
    }

    /// Two events once had the same bit: an open connection of others' then counted as one that the link had refused, and later as one of the guest's.
    @Test func whoOpenedIsKnownToTheEnd() throws {
        var script = try TCPScript()
        script.tcp.openToGuest(script.tcp.sockets.accept(), key: TCPScript.key(), &script.port, now: script.now)
        _ = script.round()
        script.guest("SA", seq: 0, ack: 1, mss: 1460)
        script.arrive(10)
        #expect(script.round() == ["A 1:0 ack 1", "PA 1:10 ack 1"])
        #expect(script.connection().refusals == 0 && script.tcp.inboundCount == 1)
        script.guest("A", seq: 1, ack: 11)
        #expect(script.pass(100).isEmpty && script.lastSteps <= 2)
        script.open(port: 40001)
        script.port.link.refusals = 1
        script.guest("PA", seq: 1, ack: 1, count: 5, port: 40001)
        _ = script.pass(100)
        #expect(script.tcp.inboundCount == 1)
        script.guest("RA", seq: 6, ack: 1, port: 40001)
        #expect(script.tcp.inboundCount == 1)
        script.guest("RA", seq: 1, ack: 11)
        #expect(script.tcp.inboundCount == 0)
        script.expectEmpty()
    }

    @Test func refusedAdoptionLeavesNothing() throws {
        var script = try TCPScript { $0.adoptionRefusal = Errno(12) }
        let socket = script.tcp.sockets.accept()
        script.tcp.openToGuest(socket, key: TCPScript.key(), &script.port, now: script.now)
        #expect(script.round().isEmpty)
        script.expectEmpty()
    }

    @Test func synOfTheHostIsRetriedAndGivenUp() throws {
        var script = try TCPScript()
        script.tcp.openToGuest(script.tcp.sockets.accept(), key: TCPScript.key(), &script.port, now: script.now)
        #expect(script.round() == ["S 0:0"])
        #expect(
            script.pass(200_000) == ["+1000 S 0:0", "+3000 S 0:0", "+7000 S 0:0", "+15000 S 0:0", "+31000 S 0:0", "+63000 S 0:0"])
        #expect(script.tcp.sockets.all[0].isAborted)
        script.expectEmpty()
    }

    /// A guest that was slow to answer, or whose link address was not known yet, has lost nothing since.
    @Test func repeatedSynsDoNotSlowTheDataDown() throws {
        var script = try TCPScript()
        script.tcp.openToGuest(script.tcp.sockets.accept(), key: TCPScript.key(), &script.port, now: script.now)
        #expect(script.round() == ["S 0:0"])
        #expect(script.pass(3000) == ["+1000 S 0:0", "+3000 S 0:0"])
        script.guest("SA", seq: 0, ack: 1, mss: 1460)
        #expect(script.round() == ["A 1:0 ack 1"])
        script.arrive(5000)
        #expect(script.round() == ["PA 1:5000 ack 1"])
        #expect(script.pass(1000) == ["+1000 PA 1:1460 ack 1"])
    }

    @Test func synAckIsRetriedAndGivenUp() throws {
        var script = try TCPScript()
        script.guest("S", seq: 0)
        #expect(script.round() == ["SA 0:0 ack 1"])
        #expect(script.pass(7000) == ["+1000 SA 0:0 ack 1", "+3000 SA 0:0 ack 1", "+7000 SA 0:0 ack 1"])
        _ = script.pass(200_000)
        script.expectEmpty()
    }

    @Test func simultaneousOpen() throws {
        var script = try TCPScript()
        script.tcp.openToGuest(script.tcp.sockets.accept(), key: TCPScript.key(), &script.port, now: script.now)
        #expect(script.round() == ["S 0:0"])
        script.guest("S", seq: 0, mss: 1460, scale: 7)
        #expect(script.round() == ["SA 0:0 ack 1"])
        script.guest("SA", seq: 0, ack: 1, mss: 1460, scale: 7)
        #expect(script.round() == ["A 1:0 ack 1"])
        script.guest("PA", seq: 1, ack: 1, count: 10)
        #expect(script.answer() == ["A 1:0 ack 11"])
        #expect(script.tcp.sockets.all.count == 1)
    }

    @Test func answerToAnotherSynIsReset() throws {
        var script = try TCPScript()
        script.tcp.openToGuest(script.tcp.sockets.accept(), key: TCPScript.key(), &script.port, now: script.now)
        _ = script.round()
        script.guest("SA", seq: 0, ack: 77)
        #expect(script.round() == ["R 77:0"])
        // An old connection of the guest is asked about before it gives way.
        script.guest("A", seq: 500, ack: 900)
        // With that it gives way: the next SYN is right behind, once.
        #expect(script.round() == ["R 900:0", "S 0:0"])
        #expect(script.tcp.table.count == 1)
        script.guest("A", seq: 500, ack: 900)
        #expect(script.round() == ["R 900:0"])
        #expect(script.pass(1900).isEmpty)
    }

    @Test func resetInTheHandshake() throws {
        var script = try TCPScript()
        script.tcp.openToGuest(script.tcp.sockets.accept(), key: TCPScript.key(), &script.port, now: script.now)
        _ = script.round()
        script.guest("R", seq: 0)
        script.guest("RA", seq: 0, ack: 2)
        #expect(script.round().isEmpty && script.tcp.table.count == 1)
        script.guest("RA", seq: 0, ack: 1)
        #expect(script.round().isEmpty)
        #expect(script.tcp.sockets.all[0].isAborted)
        script.expectEmpty()
        // The guest takes its own SYN back.
        script.guest("S", seq: 0)
        _ = script.round()
        script.guest("R", seq: 1)
        #expect(script.round().isEmpty)
        script.expectEmpty()
    }

    @Test func segmentSizesAreClamped() throws {
        for (mss, expected) in [(nil, 536), (0, 88), (87, 88), (1460, 1460), (65535, 65495)] as [(UInt16?, UInt16)] {
            var script = try TCPScript(mtu: 65520)
            script.guest("S", seq: 0, mss: mss)
            _ = script.round()
            #expect(script.connection().segmentSize == expected)
        }
    }

    @Test func withoutWindowScale() throws {
        var script = try TCPScript { $0.sendLimit = 4 << 20 }
        script.guest("S", seq: 0, window: 1000, mss: 1460)
        script.runRound()
        let answer = try #require(script.port.link.seen.first?.header)
        #expect(answer.windowScale == nil && answer.window >= 16_384)
        _ = script.take()
        script.guest("A", seq: 1, ack: 1, window: 1000)
        #expect(script.round().isEmpty)
        // Windows of neither side are scaled, and nothing more can be told than 65535: no needless acknowledgements.
        script.arrive(3000)
        #expect(script.round() == ["PA 1:1000 ack 1"])
        script.guest("A", seq: 1, ack: 1001, window: 1000)
        let segments = script.segments()
        #expect(segments.map(\.payload.count) == [1000])
        #expect(segments.allSatisfy { $0.window >= 16_384 })
    }

    @Test func scaledWindowOfTheGuest() throws {
        var script = try TCPScript()
        script.guest("S", seq: 0, window: 500, mss: 1460, scale: 2)
        _ = script.round()
        script.guest("A", seq: 1, ack: 1, window: 500)
        script.arrive(5000)
        // 500 << 2, in one frame that the link cuts.
        script.runRound()
        let seen = script.takeSegments()
        #expect(seen.map(\.payload.count).reduce(0, +) == 2000)
        #expect(seen.allSatisfy { $0.payload.count <= 1460 || $0.segmentSize == 1460 })
    }

    @Test func unknownFlowsAreReset() throws {
        var script = try TCPScript()
        script.guest("PA", seq: 5, ack: 0, count: 3)  // No start known: the acknowledgement is 0.
        #expect(script.round() == ["R 0:0"])
        script.guest("F", seq: 5, count: 3)
        #expect(script.round() == ["RA 0:0 ack 9"])
        script.guest("RA", seq: 5)
        script.guest("R", seq: 5)
        #expect(script.round().isEmpty)
        #expect(script.tcp.sockets.all.isEmpty)
    }
}
