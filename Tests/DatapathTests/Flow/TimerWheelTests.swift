import Testing

@testable import Datapath

@Suite struct TimerWheelTests {
    @Test(arguments: [0, 63, 64, 4095, 4096, 1 << 18, (1 << 24) - 1, 1 << 32] as [Int64])
    func expiresAtTheMillisecond(_ start: Int64) throws {
        for delay in [0, 1, 63, 64, 65, 127, 128, 4095, 4096, 4097, 262_143, 262_144, 7_200_000, 16_777_215, 16_777_216, 50_000_000] as [Int64] {
            var wheel = try TimerWheel(capacity: 4, now: start)
            wheel.set(2, at: start + delay)
            var now = start
            var steps = 0
            while let wake = wheel.nextWakeUp, steps < 1000 {
                #expect(wake <= start + delay && wake >= now)
                now = max(wake, now)
                steps += 1
                if let id = wheel.expire(at: now) {
                    #expect(id == 2 && now == start + delay)
                    break
                }
            }
            #expect(steps < 20, "\(delay)")
            #expect(wheel.nextWakeUp == nil && wheel.deadline(2) == nil)
        }
    }

    @Test func deadlinesOfThePastAreDueNow() throws {
        var wheel = try TimerWheel(capacity: 2, now: 1000)
        wheel.set(0, at: -5)
        wheel.set(1, at: 999)
        #expect(wheel.nextWakeUp == 1000)
        #expect(Set([wheel.expire(at: 1000), wheel.expire(at: 1000)]) == [0, 1])
        #expect(wheel.expire(at: 1000) == nil)
    }

    @Test func setNoLaterKeepsTheEarlier() throws {
        var wheel = try TimerWheel(capacity: 1, now: 0)
        wheel.setNoLater(0, than: 500)
        wheel.setNoLater(0, than: 600)
        #expect(wheel.deadline(0) == 500)
        wheel.setNoLater(0, than: 400)
        #expect(wheel.deadline(0) == 400)
        wheel.set(0, at: 900)
        #expect(wheel.expire(at: 899) == nil && wheel.expire(at: 900) == 0)
    }

    /// Against a list that is searched from end to end. Time moves in steps of all sizes, sometimes past many deadlines.
    @Test(arguments: 0..<40) func behavesAsAList(_ seed: UInt64) throws {
        var random = SeededRandom(seed)
        var now = Int64(random.below(1 << 34))
        let capacity = 50
        var wheel = try TimerWheel(capacity: capacity, now: now)
        var model = [Int64?](repeating: nil, count: capacity)
        for _ in 0..<2000 {
            let id = random.below(capacity)
            switch random.below(10) {
            case 0...4:
                let due = now + Int64(random.below(1 << (1 + random.below(26)))) - 3
                wheel.set(id, at: due)
                model[id] = due
            case 5:
                let due = now + Int64(random.below(10_000))
                wheel.setNoLater(id, than: due)
                if model[id] == nil || model[id]! > due { model[id] = due }
            case 6:
                wheel.cancel(id)
                model[id] = nil
            default:
                let next = model.compactMap { $0 }.min()
                #expect((next == nil) == (wheel.nextWakeUp == nil))
                if let wake = wheel.nextWakeUp, let next { #expect(wake <= max(next, now)) }
                now += Int64(random.below(1 << random.below(24)))
                if random.below(4) == 0, let wake = wheel.nextWakeUp { now = max(now, wake) }
                var last = Int64.min
                while let id = wheel.expire(at: now) {
                    let due = try #require(model[id])
                    #expect(due <= now && due >= min(last, now - 1 << 25))
                    last = due
                    model[id] = nil
                }
                #expect(!model.contains { $0 != nil && $0! <= now })
            }
            #expect(wheel.deadline(id) == model[id])
        }
    }
}
