import Testing
import Wire

@testable import Datapath
@testable import Linux

/// Somebody opens a connection to a guest whose link address nobody knows.
@Suite struct TCPSilentGuestTests {
    @Test func itIsSoughtAndTheSynRepeated() throws {
        var script = try TCPScript()
        let address = script.port.guestMAC
        script.port.guestMAC = .broadcast
        script.tcp.openToGuest(script.tcp.sockets.accept(), key: TCPScript.key(), &script.port, now: script.now)
        #expect(script.round() == ["S 0:0"])
        let isSought = script.tcp.sought != nil
        #expect(isSought)
        script.port.guestMAC = address
        script.tcp.guestWasFound(&script.port, now: script.now)
        #expect(script.round() == ["S 0:0"])
        // However often it was sent in vain.
        _ = script.pass(8000)
        script.tcp.guestWasFound(&script.port, now: script.now)
        #expect(script.round() == ["S 0:0"])
    }

    /// One that was started anew may have another address.
    @Test func itIsSoughtWhereItDoesNotAnswer() throws {
        var script = try TCPScript()
        script.tcp.openToGuest(script.tcp.sockets.accept(), key: TCPScript.key(), &script.port, now: script.now)
        _ = script.round()
        let wasSought = script.tcp.sought != nil
        #expect(!wasSought)
        #expect(script.pass(1000) == ["+1000 S 0:0"])
        let isSought = script.tcp.sought != nil
        #expect(isSought)
    }

    /// What the guest itself has opened is answered to where it came from.
    @Test func itsOwnConnectionsAreNoReason() throws {
        var script = try TCPScript()
        script.guest("S", seq: 0)
        _ = script.round()
        _ = script.pass(3000)
        let wasSought = script.tcp.sought != nil
        #expect(!wasSought)
    }
}
