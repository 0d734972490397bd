import Testing

@testable import Datapath
@testable import Linux

/// A link without room that tells when it has some again: those that waited have their turn then, without a timer.
@Suite struct TCPLinkRoomTests {
    /// More often than the list has places, which it uses in a circle.
    @Test func aConnectionWaitsAgainAndAgain() throws {
        let capacity = 16
        var script = try TCPScript(capacity: capacity)
        script.open()
        for turn in 0..<(3 * capacity) {
            script.port.link.isStopped = true
            script.arrive(10)
            #expect(script.round().isEmpty)
            script.port.link.isStopped = false
            script.tcp.linkHasRoom(&script.port, now: script.now)
            let sent = script.round()
            try #require(sent == ["PA \(1 + 10 * turn):10 ack 1"])
            script.guest("A", seq: 1, ack: 11 + 10 * turn)
        }
    }

    /// Who has gone meanwhile is passed over.
    @Test func aConnectionEndsWhileItWaits() throws {
        var script = try TCPScript()
        for port in 1...2 as ClosedRange<UInt16> { script.open(port: port) }
        script.port.link.isStopped = true
        for socket in 0..<2 { script.arrive(10, socket) }
        #expect(script.round().isEmpty)
        script.guest("R", seq: 1, port: 1)
        #expect(script.tcp.table.count == 1)
        script.port.link.isStopped = false
        script.tcp.linkHasRoom(&script.port, now: script.now)
        #expect(script.round() == ["PA 1:10 ack 1"])
    }
}
