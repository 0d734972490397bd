import Testing

@testable import Datapath

/// Slots that the machine's socket reads from are not written to before it has.
@Suite struct LentSlotsTests {
    @Test func slotsAreFreeOnceTheyAreRead() {
        var slots = LentSlots()
        for slot in 0..<LentSlots.count {
            #expect(slots.reserve(1) == slot)
            slots.wrote(1000)
            slots.lent(from: slot)
        }
        #expect(slots.isExhausted(1))
        slots.endRound()
        #expect(!slots.isExhausted(1))
        #expect(slots.reserve(1) == nil)
        slots.isUnread((LentSlots.count - 1) * 1000 + 1)
        #expect(slots.reserve(1) == nil)
        slots.isUnread((LentSlots.count - 1) * 1000)
        #expect(slots.reserve(1) == 0)
        #expect(slots.reserve(1) == nil)
    }

    @Test func whatWasNotLentIsHandedOutAgain() {
        var slots = LentSlots()
        #expect(slots.reserve(4) == 0)
        slots.wrote(10)
        slots.lent(from: 1)
        slots.endRound()
        #expect(slots.reserve(2) == 2)
        slots.endRound()
        #expect(slots.reserve(2) == 2)
    }

    @Test func slotsOfOneRequestAreBehindOneAnother() {
        var slots = LentSlots()
        #expect(slots.reserve(LentSlots.count - 2) == 0)
        slots.wrote(10)
        slots.lent(from: LentSlots.count - 3)
        slots.endRound()
        // The two at the end do not do.
        #expect(slots.reserve(4) == 0)
        #expect(slots.reserve(LentSlots.count - 7) == 4)
        #expect(slots.isExhausted(4))
    }

    /// A reader that had read more is not set back by an older figure.
    @Test func whatIsReadStaysRead() {
        var slots = LentSlots()
        #expect(slots.reserve(1) == 0)
        slots.wrote(500)
        slots.lent(from: 0)
        slots.isUnread(0)
        slots.isUnread(500)
        slots.endRound()
        for slot in 1..<LentSlots.count { #expect(slots.reserve(1) == slot) }
        slots.wrote(1)
        slots.lent(from: LentSlots.count - 1)
        slots.endRound()
        #expect(slots.reserve(1) == 0)
    }
}
