import Wire

/// Bytes from text such as "45 00 0014 # version, length": hexadecimal digits, blanks, comments to the line's end.
func hex(_ text: String) -> [UInt8] {
    var bytes: [UInt8] = []
    for line in text.split(separator: "\n") {
        let digits = line.prefix { $0 != "#" }.filter { !$0.isWhitespace }.map { UInt8($0.hexDigitValue!) }
        precondition(digits.count % 2 == 0, "odd number of digits in \(line)")
        for index in stride(from: 0, to: digits.count, by: 2) { bytes.append(digits[index] << 4 | digits[index + 1]) }
    }
    return bytes
}

extension [UInt8] {
    /// Runs `body` with a span over the bytes.
    func parse<Result>(_ body: (borrowing RawSpan) throws -> Result) rethrows -> Result {
        // SAFETY: the span lives inside the call only.
        try unsafe withUnsafeBytes { try unsafe body($0.bytes) }
    }

    /// `count` bytes of 0xee, then changed by `body`.
    static func written(_ count: Int, _ body: (inout MutableRawSpan) -> Void) -> [UInt8] {
        var bytes = [UInt8](repeating: 0xee, count: count)
        bytes.change(body)
        return bytes
    }

    mutating func change(_ body: (inout MutableRawSpan) -> Void) {
        // SAFETY: the span lives inside the call only.
        unsafe withUnsafeMutableBytes { buffer in
            var span = unsafe MutableRawSpan(_unsafeBytes: buffer)
            body(&span)
        }
    }
}

/// A small generator with a seed, so that random tests can be repeated.
struct Seeded: RandomNumberGenerator {
    var state: UInt64
    mutating func next() -> UInt64 {
        state &+= 0x9e37_79b9_7f4a_7c15
        var z = state
        z = (z ^ z >> 30) &* 0xbf58_476d_1ce4_e5b9
        z = (z ^ z >> 27) &* 0x94d0_49bb_1331_11eb
        return z ^ z >> 31
    }
}
