internal import Linux

/// One line being put together without allocating. What does not fit is cut off.
struct LineBuffer {
    private var storage = InlineArray<1024, UInt8>(repeating: 0)
    private(set) var count = 0

    mutating func append(_ byte: UInt8) {
        guard count < storage.count - 1 else { return }
        storage[count] = byte
        count += 1
    }

    mutating func append(_ text: StaticString) {
        text.withUTF8Buffer { utf8 in
            // SAFETY: the characters of a static string live for ever.
            for unsafe byte in unsafe utf8 { append(byte) }
        }
    }

    mutating func append(_ text: String) {
        for byte in text.utf8 { append(byte) }
    }

    mutating func append(_ other: borrowing LineBuffer) {
        for index in 0..<other.count { append(other.storage[index]) }
    }

    /// A decimal number, with zeros in front up to `width` digits.
    mutating func append(_ number: Int, width: Int = 1) {
        var digits = InlineArray<20, UInt8>(repeating: 0)
        var rest = number.magnitude
        var length = 0
        repeat {
            digits[length] = UInt8(truncatingIfNeeded: 48 + rest % 10)
            rest /= 10
            length += 1
        } while rest > 0
        if number < 0 { append(UInt8(ascii: "-")) }
        for _ in 0..<max(0, width - length) { append(UInt8(ascii: "0")) }
        while length > 0 {
            length -= 1
            append(digits[length])
        }
    }

    /// Ends the line; there is always room for that.
    mutating func end() {
        storage[count] = UInt8(ascii: "\n")
        count += 1
    }

    /// Control characters, which a guest may have put into a name, become question marks.
    mutating func clean() {
        for index in 0..<count where storage[index] < 32 || storage[index] == 127 { storage[index] = UInt8(ascii: "?") }
    }

    /// Hands the bytes to `body`.
    func withBytes<Result>(_ body: (borrowing RawSpan) -> Result) -> Result {
        let span = storage.span.extracting(0..<count)
        // SAFETY: bytes may be read as bytes.
        return body(unsafe span.bytes)
    }

    /// Writes the line; unless it `waits`, only where there is room for it now, and else it is dropped. A pipe that has room takes a line whole, which is
    /// shorter than PIPE_BUF (pipe(7)); a terminal that is stopped has none. A wait is left where somebody else writes to the same one and takes the room in
    /// between, or where the last room of a terminal that nobody reads is shorter than the line. (poll, write)
    func write(to descriptor: Descriptor, waits: Bool) {
        if !waits, !descriptor.awaitOutput(milliseconds: 0) { return }
        withBytes { _ = try? descriptor.write($0) }
    }

    var text: String {
        var bytes: [UInt8] = []
        for index in 0..<count { bytes.append(storage[index]) }
        return String(decoding: bytes, as: UTF8.self)
    }
}
