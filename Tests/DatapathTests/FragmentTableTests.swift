import Testing
import Wire

@testable import Datapath
@testable import Linux

/// Packets in parts.
@Suite struct FragmentTableTests {
    private static let key = FragmentKey(
        source: IPAddress(IPv4Address("192.0.2.2")!), destination: IPAddress(IPv4Address("198.51.100.7")!), identification: 7, proto: .udp)

    /// A table, and what its fragments are parts of.
    private struct Lab: ~Copyable {
        var table: FragmentTable
        var batch: Mapping
        let packet: [UInt8]

        init(_ count: Int) throws {
            let table = try FragmentTable()
            var batch = try Mapping(byteCount: max(count, 1))
            packet = Array(Stream.fromGuest[0..<count])
            batch.put(packet[...], at: 0)
            self.table = table
            self.batch = batch
        }

        mutating func add(_ range: Range<Int>, of key: FragmentKey = FragmentTableTests.key, last: Bool? = nil, now: Int64 = 0) -> FragmentTable.Outcome {
            let fragment = Fragment(
                key: key, position: range.lowerBound, hasMore: !(last ?? (range.upperBound == packet.count)), offset: range.lowerBound, length: range.count,
                hopLimit: 64, typeOfService: 0)
            return table.add(fragment, in: batch, now: now)
        }

        func holds(_ slot: Int) -> Bool {
            let start = table.start(of: slot)
            return table[slot].length == packet.count && (0..<packet.count).allSatisfy { table.arena.bytes.uint8(at: start + $0) == packet[$0] }
        }
    }

    private static func other(_ identification: UInt32) -> FragmentKey {
        var other = key
        other.identification = identification
        return other
    }

    @Test func partsInAnyOrder() throws {
        for order in [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]] {
            var lab = try Lab(2001)
            let parts = [0..<800, 800..<1600, 1600..<2001]
            #expect(lab.add(parts[order[0]]) == .waits)
            #expect(lab.add(parts[order[1]]) == .waits)
            #expect(lab.add(parts[order[1]]) == .waits, "it came twice")
            #expect(lab.add(parts[order[2]]) == .whole(0))
            let isWhole = lab.holds(0)
            #expect(isWhole)
            lab.table.release(0)
            #expect(lab.add(parts[0]) == .waits, "the next one of this identification")
        }
    }

    /// By identification, addresses and protocol; the oldest gives way.
    @Test func packetsAreKeptApart() throws {
        var lab = try Lab(1600)
        for number in 0..<FragmentTable.slots { #expect(lab.add(0..<800, of: Self.other(UInt32(number)), now: Int64(number)) == .waits) }
        var foreign = Self.other(0)
        foreign.proto = .icmp
        #expect(lab.add(800..<1600, of: foreign, now: 20) == .waits)
        var lost = lab.table.takeLost()
        #expect(lost == 1)
        #expect(lab.add(800..<1600, of: Self.other(0), now: 21) == .waits, "that was the oldest")
        lost = lab.table.takeLost()
        #expect(lost == 1)
        #expect(lab.add(800..<1600, of: Self.other(2), now: 22) == .whole(2))
    }

    @Test func partsThatComeTooLate() throws {
        var lab = try Lab(1600)
        #expect(lab.add(0..<800) == .waits)
        #expect(lab.add(800..<1600, now: 30_000) == .waits)
        #expect(lab.add(0..<800, now: 59_999) == .whole(0))
    }

    /// A packet is waited for for as long as the first of its parts, and while none is there nothing is.
    @Test func whatDoesNotBecomeWhole() throws {
        var lab = try Lab(1600)
        var due = lab.table.nextWakeUp
        #expect(due == nil)
        _ = lab.add(0..<800, of: Self.other(1), now: 100)
        _ = lab.add(800..<1600, of: Self.other(2), now: 50)
        #expect(lab.add(800..<1600, of: Self.other(1), now: 200) == .whole(0))
        due = lab.table.nextWakeUp
        #expect(due == 30_050)
        lab.table.release(0)
        due = lab.table.nextWakeUp
        let early = lab.table.overdue(now: 30_049)
        let late = lab.table.overdue(now: 30_050)
        #expect(due == 30_050 && early == nil && late == 1)
        lab.table.giveUp(1)
        due = lab.table.nextWakeUp
        let lost = lab.table.takeLost()
        #expect(due == nil && lost == 1)
    }

    /// What overlaps, what disagrees about the end, what is too long, and what no sender makes.
    @Test func partsThatMakeNoSense() throws {
        var lab = try Lab(65_536)
        for (first, second) in [
            ((0..<800, false), (792..<1600, false)), ((800..<1600, false), (0..<808, false)), ((0..<800, true), (800..<1600, false)),
            ((0..<800, true), (800..<1600, true)), ((800..<1600, false), (0..<800, true)), ((0..<1600, true), (0..<800, true)),
            ((0..<1600, false), (8..<16, false)),
        ] as [((Range<Int>, Bool), (Range<Int>, Bool))] {
            // All but the last of these are refused with what was there; a part of what is there already adds nothing.
            _ = lab.add(first.0, last: first.1)
            let outcome = lab.add(second.0, last: second.1)
            #expect(outcome == .refused || outcome == .waits && second.0 == 8..<16)
            lab.table.removeAll()
        }
        for (range, last) in [(0..<0, true), (0..<9, false), (65_528..<65_536, true)] { #expect(lab.add(range, last: last) == .refused) }
        _ = lab.table.takeLost()
        #expect(lab.add(65_528..<65_535, last: true) == .waits)
    }

    /// Against a plain model: a packet is whole when all of its bytes are there, and only then.
    @Test func anythingInAnyOrder() throws {
        var random = SeededRandom(60)
        var lab = try Lab(65_535)
        for _ in 0..<300 {
            let count = 1 + random.below(65_535)
            let unit = 8 * (1 + random.below(2000))
            var parts = stride(from: 0, to: count, by: unit).map { $0..<min($0 + unit, count) }
            for index in parts.indices { parts.swapAt(index, random.below(parts.count)) }
            var outcome = FragmentTable.Outcome.waits
            for (index, part) in parts.enumerated() {
                outcome = lab.add(part, last: part.upperBound == count)
                if case .whole = outcome { #expect(index == parts.count - 1) }
            }
            guard case .whole(let slot) = outcome else {
                Issue.record("\(count) bytes in parts of \(unit) are not whole: \(outcome)")
                continue
            }
            let length = lab.table[slot].length
            let start = lab.table.start(of: slot)
            let isSame = (0..<count).allSatisfy { lab.table.arena.bytes.uint8(at: start + $0) == lab.packet[$0] }
            #expect(length == count && isSame)
            lab.table.release(slot)
        }
    }
}
