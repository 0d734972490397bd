import Foundation
import Testing

@testable import Datapath

/// Random traffic over a bad link. `Scripts/simulate` runs many more seeds than the ordinary tests do.
@Suite struct TCPSimulationTests {
    /// Runs the seeds and tells of the first few that fail.
    private static func run(_ seeds: Range<UInt64>) throws {
        var failures = 0
        for seed in seeds {
            var simulation = try TCPSimulation(seed: seed)
            if let failure = simulation.run() {
                Issue.record("\(failure)")
                failures += 1
                if failures == 20 { break }
            }
        }
    }

    @Test(arguments: 0..<14) func randomTraffic(_ part: Int) throws {
        let environment = ProcessInfo.processInfo.environment
        if let one = environment["SIMULATION_SEED"].flatMap(UInt64.init) {
            guard part == 0 else { return }
            var simulation = try TCPSimulation(seed: one, traced: true)
            let failure = simulation.run()
            print((simulation.trace ?? []).joined(separator: "\n"))
            #expect(failure == nil)
            return
        }
        let count = environment["SIMULATION_SEEDS"].flatMap(UInt64.init) ?? 400
        let start = UInt64(part) * 1_000_000
        try TCPSimulationTests.run(start..<(start + (count + 9) / 10))
    }

    /// Seeds that have failed, by what was wrong.
    enum Past {
        static let inTheTranslator: [(cause: String, seeds: [UInt64])] = [
            ("a refused frame was repaired by the retransmission timer, and its back-off", [4, 36, 44, 78, 98, 1_000_030, 1_000_041]),
            ("the same, and the connection was given up", [3_000_001, 3_000_008, 3_000_024, 2_000_044, 3_000_051]),
            ("a refused SYN counted as a try", [45, 1_000_016, 3_000_022, 4_000_034, 4_000_050]),
            ("a refused window probe was the last", [1_000_052, 2_000_054, 3_000_053, 3_000_095, 5_000_027, 5_000_079, 7_000_081]),
            ("a refused answer to a SYN within the connection was not repeated", [7_000_072]),
            ("a FIN that came again after the end was answered by a reset", [3_000_022, 4_000_089]),
            ("a late copy of the SYN ended a connection that waited for the far end", [4_000_007]),
            ("without a peek offset, a reset behind data in flight was never seen", [6_000_015, 7_000_063, 7_000_067, 7_000_073]),
            ("the far end owed the acknowledgement of a FIN alone, and was asked a second later", [0, 64, 70, 2_000_076, 7_000_005]),
            ("a buffer that had become smaller than a segment was fed at the pace of the guest's persist timer", [12_004_217]),
            ("one lost or late frame led to timeouts, one after the other", [13_000_053, 13_000_149, 13_000_488, 13_001_153]),
            ("of what came behind several holes, only the first piece was kept", [13_002_965]),
            ("an end was taken twice where the kernel lacked memory for what had been kept before it", [10_000_919]),
            ("whatever was sent put off the look for room that was due", [10_002_994]),
            ("acknowledgements behind a window probe lay outside the window", [9_000_276, 9_000_291, 9_000_480, 9_001_044]),
        ]
        static let inTheModel: [(cause: String, seeds: [UInt64])] = [
            ("a far end that had nothing to do woke up all the time", [4_000_038, 57, 5_000_014]),
            ("a socket's last event was waited for by nobody", [1_000_125, 2_000_168]),
            ("guests that a full table had refused were expected to arrive", [5_000_192, 6_000_191]),
            ("what gave way counted as open because its SYN had arrived", [4_000_143, 4_000_179, 5_000_148, 6_001_157, 7_000_254, 7_000_465]),
            ("steps were counted, and not what they were for: a lost reset is noticed by keep-alive, two hours later", [562, 3_001_015, 5_000_191]),
            ("a reset out of order turned a guest that opens in circles", [4_000_071, 4_000_148]),
            ("the loss of a reset behind a lost peek offset was not expected", [5_000_776, 7_000_408]),
            ("a socket that refuses three times by chance was not given the time", [7_000_922]),
            ("a guest that aborts and starts anew within a batch was not given the time", [7_000_987]),
            ("two of the slowest repetitions in a row were not expected to be lost", [7_000_525]),
            ("a link that nobody used was full again all the time, and refused each repetition of a guest's", [9_000_282, 11_005_647]),
            ("all SYNs to a guest were lost", [7_002_398]),
            ("whatever told a guest of the end was lost for a minute", [6_004_705]),
            ("not to be made to fail again", [2_000_008]),
        ]
    }

    @Test(arguments: Past.inTheTranslator.map(\.cause)) func onceWrongInTheTranslator(_ cause: String) throws {
        for seed in Past.inTheTranslator.first(where: { $0.cause == cause })?.seeds ?? [] { try TCPSimulationTests.run(seed..<(seed + 1)) }
    }

    @Test(arguments: Past.inTheModel.map(\.cause)) func onceWrongInTheModel(_ cause: String) throws {
        for seed in Past.inTheModel.first(where: { $0.cause == cause })?.seeds ?? [] { try TCPSimulationTests.run(seed..<(seed + 1)) }
    }
}
