import Testing
import Wire

@testable import Datapath

@Suite struct GuestStationsTests {
    private func address(_ number: Int) -> IPAddress { IPAddress(IPv6Address(high: 0x2001_0db8 << 32, low: UInt64(number))) }
    private func mac(_ number: Int) -> MACAddress { MACAddress(0x0200_0000_0000 + UInt64(number)) }
    private func stations() throws -> GuestStations { try GuestStations(seed: SipHash(key0: 1, key1: 2)) }

    @Test func theLastWordCounts() throws {
        var stations = try stations()
        let unknown = stations.find(address(1))
        let areSeveral = stations.areSeveral
        #expect(unknown == nil && !areSeveral)
        for number in 0..<50 { stations.note(address(number), at: mac(number)) }
        for number in 0..<50 where number % 2 == 0 { stations.note(address(number), at: mac(number + 100)) }
        let found = (0..<50).map { stations.find(address($0)) }
        #expect(found == (0..<50).map { mac($0 % 2 == 0 ? $0 + 100 : $0) })
        let (before, first) = (stations.note(address(1), at: mac(2)), stations.note(address(1000), at: mac(2)))
        #expect(before == mac(1) && first == nil)
    }

    @Test func oneThatMovesTakesAllAlong() throws {
        var stations = try stations()
        for number in 0..<50 { stations.note(address(number), at: mac(number % 2)) }
        stations.move(from: mac(0), to: mac(2))
        let found = (0..<50).map { stations.find(address($0)) }
        #expect(found == (0..<50).map { mac($0 % 2 == 0 ? 2 : 1) })
    }

    /// But not a question that comes again at once, unless the station was heard in between.
    @Test func questionsAreLeftToWhoIsThere() throws {
        var stations = try stations()
        func isLeft(_ asker: Int, at now: Int64, _ stations: inout GuestStations) -> Bool { stations.leavesQuestion(for: address(1), by: mac(asker), now: now) }
        let ofNobody = isLeft(2, at: 0, &stations)
        stations.note(address(1), at: mac(1))
        stations.note(address(2), at: mac(2))
        let byItself = isLeft(1, at: 0, &stations)
        #expect(!ofNobody && !byItself)
        let answers = [(2, 0), (2, 1000), (2, 2000), (2, 5000)].map { isLeft($0, at: $1, &stations) }
        #expect(answers == [true, false, false, true])
        // Several who ask in turn have no answer either.
        stations.note(address(1), at: mac(1))
        let inTurn = [(2, 5000), (3, 5100), (2, 5200), (3, 5300)].map { isLeft($0, at: $1, &stations) }
        #expect(inTurn == [true, true, false, false])
        stations.note(address(1), at: mac(1))
        let heard = isLeft(2, at: 5400, &stations)
        #expect(heard)
    }

    /// A guest may claim any number of addresses: the last one is always known, and what is found is true.
    @Test func manyTakeThePlacesOfOthers() throws {
        var stations = try stations()
        for number in 0..<100_000 {
            stations.note(address(number), at: mac(number))
            let last = stations.find(address(number))
            if last != mac(number) { Issue.record("\(number)") }
        }
        var known = 0
        for number in 0..<100_000 {
            guard let found = stations.find(address(number)) else { continue }
            known += 1
            if found != mac(number) { Issue.record("\(number)") }
        }
        #expect(known > GuestStations.capacity * 9 / 10 && known <= GuestStations.capacity)
        stations.forget()
        let (forgotten, areSeveral) = (stations.find(address(99_999)), stations.areSeveral)
        #expect(forgotten == nil && !areSeveral)
    }
}
