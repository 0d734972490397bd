// PathEmulator: a network path of chosen quality between two namespaces, for kernels without netem.
//
//     TapDevice > Direction (Decisions, SuperFrame, FrameStore, ReleaseQueue) > TapDevice
//
// A frame is read from one tap straight into a slot of the store, gets a release time, and is written
// to the other tap when that time has come. Both taps carry virtio-net headers, so a frame may be a
// super-frame of up to 64 KiB that stands for many packets of the wire. Loss, reordering and duplication are
// decided for each packet of the wire; a super-frame is cut only around the packets that are not treated like
// their neighbours. The decision for packet n of a direction depends on the seed and n alone.

/// What a path does to packets in one direction. Times in nanoseconds, shares from 0 to 1.
public struct Conditions: Equatable, Sendable {
    /// Time on the way, after the queue.
    public var delay: Int64 = 0
    /// Bits per second, counted over whole Ethernet frames without preamble and FCS; 0 is unlimited.
    public var rate: Int64 = 0
    /// What may wait for a limited rate; what comes on top is dropped. 0 is unlimited.
    public var queueBytes: Int64 = 0
    public var queuePackets: Int64 = 0
    public var loss = 0.0
    /// Share of packets that are held back, and for how long, so that later ones overtake them.
    public var reordering = 0.0
    public var hold: Int64 = 1_000_000
    public var duplication = 0.0
    /// From when to when, counted from the start of the emulator, nothing passes.
    public var cuts: [Range<Int64>] = []
    /// Nothing passes until this is taken back.
    public var isCut = false

    public init() {}

    /// Whether single packets of a super-frame may fare differently.
    public var disturbs: Bool { loss > 0 || reordering > 0 || duplication > 0 }

    /// Applies one word such as `delay=25ms`. Returns false if it means nothing.
    ///
    ///     delay=25ms  rate=1gbit  queue=1mb|1000p  loss=1%  reorder=5%  hold=2ms  duplicate=0.1%
    ///     cut=10s+5s (from 10 s on, for 5 s)  cut=on  cut=off  clear
    public mutating func apply(_ word: Substring) -> Bool {
        if word == "clear" {
            self = Conditions()
            return true
        }
        guard let equals = word.firstIndex(of: "=") else { return false }
        let value = word[word.index(after: equals)...]
        switch word[..<equals] {
        case "delay": return Self.set(&delay, Self.time(value))
        case "rate": return Self.set(&rate, Self.rate(value))
        case "hold": return Self.set(&hold, Self.time(value))
        case "loss": return Self.set(&loss, Self.share(value))
        case "reorder": return Self.set(&reordering, Self.share(value))
        case "duplicate": return Self.set(&duplication, Self.share(value))
        case "queue": return applyQueue(value)
        case "cut": return applyCut(value)
        default: return false
        }
    }

    private mutating func applyQueue(_ value: Substring) -> Bool {
        if let packets = Self.number(value, ["p": 1]) {
            (queuePackets, queueBytes) = (Int64(packets), 0)
            return true
        }
        guard let bytes = Self.number(value, ["b": 1, "kb": 1e3, "mb": 1e6]) else { return false }
        (queuePackets, queueBytes) = (0, Int64(bytes))
        return true
    }

    private mutating func applyCut(_ value: Substring) -> Bool {
        if value == "on" || value == "off" {
            isCut = value == "on"
            return true
        }
        guard let plus = value.firstIndex(of: "+"),
              let start = Self.time(value[..<plus]),
              let length = Self.time(value[value.index(after: plus)...]) else { return false }
        cuts.append(start..<(start + length))
        return true
    }

    private static func set<Value>(_ place: inout Value, _ value: Value?) -> Bool {
        guard let value else { return false }
        place = value
        return true
    }

    static func time(_ text: Substring) -> Int64? {
        number(text, ["ns": 1, "us": 1e3, "ms": 1e6, "s": 1e9]).map { Int64($0) }
    }

    static func rate(_ text: Substring) -> Int64? {
        number(text, ["kbit": 1e3, "mbit": 1e6, "gbit": 1e9]).map { Int64($0) }
    }

    static func share(_ text: Substring) -> Double? {
        guard let share = number(text, ["%": 0.01]), share <= 1 else { return nil }
        return share
    }

    /// A number of at most 10^15 with one of the units; a plain 0 needs none.
    private static func number(_ text: Substring, _ units: [Substring: Double]) -> Double? {
        let digits = text.prefix { $0.isNumber || $0 == "." }
        guard let value = Double(digits), value >= 0 else { return nil }
        let unit = text[digits.endIndex...]
        if unit.isEmpty { return value == 0 ? 0 : nil }
        guard let factor = units[unit], value * factor <= 1e15 else { return nil }
        return value * factor
    }
}
