import Testing
import Wire

@testable import Datapath
@testable import Linux

@Suite struct FlowTableTests {
    struct Entry: FlowEntry {
        let key: FlowKey
        var value: Int
    }

    private static func key(_ number: Int) -> FlowKey {
        FlowKey(
            guest: number % 2 == 0 ? IPAddress(IPv4Address(0xc000_0202)) : IPAddress(IPv6Address("2001:db8::2")!), guestPort: UInt16(number),
            remote: IPAddress(IPv4Address(0xc633_6407)), remotePort: 80)
    }

    @Test func fullAndEmptyAgain() throws {
        for capacity in [1, 2, 3, 7, 64] {
            var table = try FlowTable<Entry>(capacity: capacity, seed: SipHash(key0: 1, key1: 2))
            for round in 0..<3 {
                for number in 0..<capacity { #expect(table.insert(Entry(key: FlowTableTests.key(number), value: round)) != nil) }
                #expect(table.insert(Entry(key: FlowTableTests.key(capacity), value: 0)) == nil)
                #expect(table.count == capacity && table.find(FlowTableTests.key(capacity)) == nil)
                for number in 0..<capacity {
                    let found = table.find(FlowTableTests.key(number))
                    table.remove(try #require(found))
                }
                #expect(table.count == 0)
            }
        }
    }

    @Test func generationsTellLaterUsersApart() throws {
        var table = try FlowTable<Entry>(capacity: 1, seed: SipHash(key0: 1, key1: 2))
        var seen: Set<UInt16> = []
        for number in 0..<300 {
            let inserted = table.insert(Entry(key: FlowTableTests.key(number), value: 0))
            let index = try #require(inserted)
            let generation = table.generation(of: index)
            #expect(seen.insert(generation).inserted)
            #expect(table.isCurrent(index, generation: generation) == true)
            table.remove(index)
            #expect(table.isCurrent(index, generation: generation) == false)
        }
        for index in [-1, 1, 1 << 40] { #expect(table.isCurrent(index, generation: 0) == false) }
    }

    /// Against a dictionary, with a table so full that probes collide and removals have gaps to close.
    @Test(arguments: 0..<20) func behavesAsADictionary(_ seed: UInt64) throws {
        var random = SeededRandom(seed)
        let capacity = random.pick([1, 2, 5, 16, 33, 64])
        var table = try FlowTable<Entry>(capacity: capacity, seed: SipHash(key0: seed, key1: 7))
        var model: [Int: (index: Int, value: Int)] = [:]
        for step in 0..<4000 {
            let number = random.below(capacity * 2)
            if let entry = model[number] {
                #expect(table.find(FlowTableTests.key(number)) == entry.index)
                #expect(table[entry.index].value == entry.value && table[entry.index].key == FlowTableTests.key(number))
                if random.below(2) == 0 {
                    table.remove(entry.index)
                    model[number] = nil
                } else {
                    table[entry.index].value = step
                    model[number]!.value = step
                }
            } else {
                #expect(table.find(FlowTableTests.key(number)) == nil)
                let index = table.insert(Entry(key: FlowTableTests.key(number), value: step))
                #expect((index == nil) == (model.count == capacity))
                if let index { model[number] = (index, step) }
            }
            #expect(table.count == model.count)
        }
        for (number, entry) in model { #expect(table.find(FlowTableTests.key(number)) == entry.index) }
    }
}
