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

    @Test(arguments: 0..<4) func randomTraffic(_ part: Int) throws {
        let environment = ProcessInfo.processInfo.environment
        if let one = environment["SIMULATION_SEED"].flatMap(UInt64.init) {
            guard part == 0 else { return }
            var simulation = try TCPSimulation(seed: one, traced: true)
            let failure = simulation.run()
            print((simulation.trace ?? []).joined(separator: "\n"))
            #expect(failure == nil)
            return
        }
        let count = environment["SIMULATION_SEEDS"].flatMap(UInt64.init) ?? 200
        let start = UInt64(part) * 1_000_000
        try TCPSimulationTests.run(start..<(start + (count + 3) / 4))
    }
}
