// load: makes and measures traffic. One program is both ends: a server, which does what the first
// bytes of each connection ask for, and clients, which print one line of JSON each.
//
//     main > Server (epoll: echoes, reports) > Jobs (a thread per bulk stream)
//          > BulkClient | TransactionClient | DatagramClient
//
// Nothing allocates between the first and the last byte of a measurement. Rates are counted by whoever receives.

/// `name=value` words behind the mode.
struct Arguments {
    private var values: [Substring: Substring] = [:]

    init?(_ words: ArraySlice<String>) {
        for word in words {
            guard let equals = word.firstIndex(of: "=") else { return nil }
            values[word[..<equals]] = word[word.index(after: equals)...]
        }
    }

    func text(_ name: String, _ fallback: String = "") -> String { values[Substring(name)].map(String.init) ?? fallback }
    func integer(_ name: String, _ fallback: Int) -> Int { values[Substring(name)].flatMap { Int($0) } ?? fallback }
    func seconds(_ fallback: Double) -> Int64 { Int64((values["seconds"].flatMap { Double($0) } ?? fallback) * 1e9) }
}

/// One line of JSON, in the order the fields are added.
struct Line {
    private var text = ""

    mutating func add(_ name: String, _ value: some FixedWidthInteger) { field(name, String(value)) }
    mutating func add(_ name: String, _ value: Bool) { field(name, value ? "true" : "false") }
    mutating func add(_ name: String, quoted value: String) { field(name, "\"\(value)\"") }
    mutating func add(_ name: String, raw value: String) { field(name, value) }
    mutating func add(_ name: String, _ values: [Int]) {
        field(name, "[" + values.map { String($0) }.joined(separator: ",") + "]")
    }

    /// With so many decimals that no figure is lost, and no exponent.
    mutating func add(_ name: String, _ value: Double) {
        field(name, value.isFinite ? String((value * 10_000).rounded() / 10_000) : "null")
    }

    private mutating func field(_ name: String, _ value: String) {
        text += (text.isEmpty ? "" : ",") + "\"\(name)\":\(value)"
    }

    var json: String { "{\(text)}" }
}
