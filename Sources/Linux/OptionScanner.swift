internal import CLinux

/// A long option as `getopt_long` wants it.
public struct LongOption: Sendable {
    public let name: String
    public let takesValue: Bool
    /// What a hit is reported as; equal results are the same option under several names.
    public let result: Int32

    public init(name: String, takesValue: Bool, result: Int32) {
        self.name = name
        self.takesValue = takesValue
        self.result = result
    }
}

/// The C library's option grammar, called and not imitated: callers rely on its abbreviations and read its messages.
public enum OptionScanner {
    public enum Outcome: Equatable, Sendable {
        /// All options were read; `rest` is the index of the first argument that is none.
        case complete(rest: Int)
        /// The body said that it had enough.
        case stopped
        /// Not an option, or a value missing or too much. The library has printed a line on the standard error stream.
        case invalid
    }

    /// Calls `body` for each option of `arguments` in order, with its result and its value, until it returns false or throws.
    /// `short` is in getopt's notation. The library keeps its position in globals: not for two threads at a time.
    public static func run<Failure: Error>(
        _ arguments: [String], short: String, long: [LongOption], _ body: (Int32, String?) throws(Failure) -> Bool
    ) throws(Failure) -> Outcome {
        guard !arguments.isEmpty else { return .complete(rest: 0) }
        let words = CStrings(arguments)
        let names = CStrings(long.map(\.name) + [short])
        let table = UnsafeMutablePointer<option>.allocate(capacity: long.count + 1)
        defer { unsafe table.deallocate() }
        // SAFETY: the table has a place for each option and the zero behind the last; names outlive it.
        for (index, entry) in long.enumerated() {
            unsafe (table + index).initialize(to: option(
                name: names.base[index], has_arg: entry.takesValue ? 1 : 0, flag: nil, val: entry.result))
        }
        unsafe (table + long.count).initialize(to: option())

        guard let letters = unsafe names.base[long.count] else { return .invalid }
        linux_set_opterr(1)
        linux_set_optind(0)  // Zero, not one: this makes the library forget an earlier scan.
        while true {
            // SAFETY: both vectors end in a null pointer and live until the return; getopt writes into neither ('+' forbids reordering).
            let result = unsafe getopt_long(Int32(words.count), words.base, letters, table, nil)
            if result == -1 { return .complete(rest: Int(linux_get_optind())) }
            if result == 0x3f { return .invalid }
            var value: String?
            // SAFETY: optarg points into `words` or is null.
            if let text = unsafe linux_get_optarg() { value = unsafe String(cString: text) }
            guard try body(result, value) else { return .stopped }
        }
    }
}

/// Strings copied for C: a vector of pointers with a null behind the last one.
@safe
private struct CStrings: ~Copyable {
    let base: UnsafeMutablePointer<UnsafeMutablePointer<CChar>?>
    let count: Int

    init(_ strings: [String]) {
        count = strings.count
        unsafe base = .allocate(capacity: strings.count + 1)
        // SAFETY: one place per string and one more; strdup's copies are freed in deinit.
        for (index, string) in strings.enumerated() { unsafe (base + index).initialize(to: strdup(string)) }
        unsafe (base + count).initialize(to: nil)
    }

    deinit {
        // SAFETY: filled by init, and nobody else frees them.
        for index in 0..<count { unsafe free(base[index]) }
        unsafe base.deallocate()
    }
}
