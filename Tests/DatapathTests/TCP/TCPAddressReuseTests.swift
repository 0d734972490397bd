import Testing
import Wire

@testable import Datapath
@testable import Linux

/// A client of the host's opens a connection from the address and port of its last one, which the guest's side still knows.
@Suite struct TCPAddressReuseTests {
    private static func open(_ script: inout TCPScript) throws {
        script.tcp.openToGuest(script.tcp.sockets.accept(), key: TCPScript.key(), &script.port, now: script.now)
        #expect(script.round() == ["S 0:0"])
        script.guest("SA", seq: 0, ack: 1, mss: 1460, scale: 7)
        #expect(script.round() == ["A 1:0 ack 1"])
    }

    private static func openAnother(_ script: inout TCPScript) {
        script.tcp.openToGuest(script.tcp.sockets.accept(), key: TCPScript.key(), &script.port, now: script.now)
    }

    /// The acknowledgement of our FIN is lost, or late.
    @Test func theLastAcknowledgementIsMissing() throws {
        var script = try TCPScript()
        try TCPAddressReuseTests.open(&script)
        script.guest("FA", seq: 1, ack: 1)
        _ = script.round()
        script.tcp.sockets.end(0)
        #expect(script.round() == ["FA 1:0 ack 2"])
        TCPAddressReuseTests.openAnother(&script)
        #expect(script.segments().map(\.header?.flags) == [.syn])
        #expect(script.tcp.sockets.all[0].closes == 1 && !script.tcp.sockets.all[0].isAborted)
        #expect(script.tcp.sockets.all[1].closes == 0)
        #expect(script.tcp.table.count == 1)
    }

    /// The client has aborted it, and its next connection is accepted before we look at that.
    @Test func theFailureIsNotHeardOfYet() throws {
        var script = try TCPScript()
        try TCPAddressReuseTests.open(&script)
        script.tcp.sockets.fail(0, Errno(104))
        TCPAddressReuseTests.openAnother(&script)
        #expect(script.segments().map(\.header?.flags) == [[.rst, .ack], .syn])
        #expect(script.tcp.sockets.all[0].closes == 1 && script.tcp.sockets.all[1].closes == 0)
        #expect(script.tcp.table.count == 1)
    }

    /// The guest has still to be told that the last one is gone.
    @Test func theResetIsStillOwed() throws {
        var script = try TCPScript()
        try TCPAddressReuseTests.open(&script)
        script.port.link.refusals = 1
        script.tcp.sockets.fail(0, Errno(104))
        #expect(script.round().isEmpty)
        TCPAddressReuseTests.openAnother(&script)
        #expect(script.segments().map(\.header?.flags) == [.syn])
        #expect(script.tcp.table.count == 1)
    }

    /// The host has several addresses that lead here, and so there may be two connections that the guest could not tell apart.
    @Test func theOneThatLivesStays() throws {
        var script = try TCPScript()
        try TCPAddressReuseTests.open(&script)
        TCPAddressReuseTests.openAnother(&script)
        #expect(script.round().isEmpty)
        #expect(script.tcp.sockets.all[0].closes == 0 && script.tcp.sockets.all[1].isAborted)
        #expect(script.port.counters[.tcpAddressInUse] == 1)
    }

    /// Its client is done, and the guest has not got all of it.
    @Test func whatIsOwedIsNotLost() throws {
        var script = try TCPScript()
        try TCPAddressReuseTests.open(&script)
        script.arrive(1000)
        script.guest("FA", seq: 1, ack: 1)
        script.tcp.sockets.end(0)
        _ = script.round()
        TCPAddressReuseTests.openAnother(&script)
        #expect(script.tcp.sockets.all[0].closes == 0 && script.tcp.sockets.all[1].isAborted)
        script.guest("A", seq: 2, ack: 1002)
        _ = script.round()
        script.expectEmpty()
    }
}
