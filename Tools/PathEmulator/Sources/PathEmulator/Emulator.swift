internal import CPathEmulator

/// The path between two taps, with its event loop and control channel.
public struct Emulator: ~Copyable {
    private var forward: Direction
    private var backward: Direction

    /// - Parameters:
    ///   - a, b: the two ends, see `TapDevice`.
    ///   - seed: decides every loss, hold and duplicate.
    ///   - slots: frames that can be on their way in one direction.
    public init(a: String, b: String, seed: UInt64, slots: Int = 32768) throws(EmulatorError) {
        let (first, second) = (try TapDevice(a), try TapDevice(b))
        let start = path_now()
        let there = try Direction(from: first, to: second, seed: seed, start: start, slots: slots)
        let back = try Direction(from: second, to: first, seed: ~seed, start: start, slots: slots)
        forward = there
        backward = back
    }

    /// Applies words such as `delay=25ms`, `ab:loss=1%` (only from a to b) or `ba:cut=on`. Returns the first word that means nothing.
    public mutating func apply(_ words: [Substring]) -> Substring? {
        var (there, back) = (forward.conditions, backward.conditions)
        for word in words {
            let understood = if word.hasPrefix("ab:") { there.apply(word.dropFirst(3)) }
                else if word.hasPrefix("ba:") { back.apply(word.dropFirst(3)) }
                else { there.apply(word) && back.apply(word) }
            if !understood { return word }
        }
        forward.change(there)
        backward.change(back)
        return nil
    }

    public var statistics: String {
        "{\"ab\":\(forward.counters.json),\"ba\":\(backward.counters.json)}"
    }

    /// Runs until SIGTERM or SIGINT, or until a pipe on standard input ends. Each line there is applied like `apply`, or is
    /// `stats`; the answer is one line on standard output.
    public mutating func run() {
        path_exact_timers()
        let signals = path_signals()
        var control: Int32 = 0
        Self.say("ready")
        while true {
            let now = path_now()
            let more = forward.receive(budget: 64, now: now)
            let moreBack = backward.receive(budget: 64, now: now)
            let later = path_now()
            forward.release(now: later)
            backward.release(now: later)
            let ready = path_wait(forward.source.number, backward.source.number, control, signals, more || moreBack ? 0 : timeout())
            if ready > 0, ready & 8 != 0 { break }
            if ready > 0, ready & 4 != 0, !answer() {
                if path_is_pipe(control) != 0 { break }
                control = -1
            }
        }
        Self.say(statistics)
    }

    private func timeout() -> Int64 {
        let nearest = min(forward.nextRelease ?? .max, backward.nextRelease ?? .max)
        return nearest == .max ? -1 : max(0, nearest - path_now())
    }

    /// Answers the lines on standard input. False at its end.
    private mutating func answer() -> Bool {
        var chunk = [UInt8](repeating: 0, count: 4096)
        // SAFETY: the kernel writes at most the array's count.
        let count = unsafe path_read(0, &chunk, chunk.count)
        guard count > 0 else { return false }
        for line in String(decoding: chunk[0..<count], as: UTF8.self).split(separator: "\n") {
            if line == "stats" {
                Self.say(statistics)
            } else if let wrong = apply(line.split(separator: " ")) {
                Self.say("error: \(wrong)")
            } else {
                Self.say("ok")
            }
        }
        return true
    }

    private static func say(_ line: String) {
        var text = line + "\n"
        // SAFETY: the bytes are valid during the call; whoever does not read may miss them.
        text.withUTF8 { _ = unsafe path_write(1, $0.baseAddress, $0.count) }
    }
}
