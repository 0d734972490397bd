import Testing

@testable import Datapath
@testable import Linux

/// The window that ends with what was dropped (`confinedEdge`), where the guest's frames have changed their order. See `TCPMissingTests` for the usual case.
@Suite struct TCPConfinedWindowTests {
    /// What was dropped first lies behind all that was dropped later.
    @Test func theFurthestComesFirst() throws {
        var script = try TCPScript()
        script.takeAllPlaces()
        script.open()
        for start in [7301, 1461, 2921] { script.guest("A", seq: start, ack: 1, count: 1460) }
        #expect(script.round() == Array(repeating: "A 1:0 ack 1", count: 3))
        script.guest("A", seq: 1, ack: 1, count: 1460)
        let partial = script.segments()
        try #require(partial.count == 1)
        #expect((8761..<(8761 + 256)).contains(script.edge(partial[0])))
    }
}
