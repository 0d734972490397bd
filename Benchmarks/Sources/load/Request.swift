/// What a client asks of the server in the first 32 bytes of a connection, least significant byte first.
struct Request: Equatable {
    enum Job: UInt8 {
        case sink = 1, source, echo, echoOnce, checkedSink, checkedSource, report
    }

    static let size = 32
    private static let magic: UInt32 = 0x6461_6f6c

    var job: Job
    /// Congestion control by number in `names`; 0 leaves the system's default.
    var congestion: UInt8 = 0
    /// Bytes of a message that is echoed.
    var messageSize: UInt32 = 1
    /// Nanoseconds for a source, bytes for a checked source.
    var amount: UInt64 = 0
    /// Names the job in a later report.
    var id: UInt64 = 0

    static let names = ["", "cubic", "bbr", "reno"]

    init(_ job: Job) { self.job = job }

    /// Nil unless `bytes` is a request of this program.
    init?(_ bytes: [UInt8], count: Int) {
        guard count >= Self.size, bytes.count >= Self.size else { return nil }
        func number(_ range: Range<Int>) -> UInt64 { range.reversed().reduce(0) { $0 << 8 | UInt64(bytes[$1]) } }
        guard number(0..<4) == UInt64(Self.magic), let job = Job(rawValue: bytes[4]), bytes[5] < Self.names.count else { return nil }
        self.job = job
        congestion = bytes[5]
        messageSize = max(1, min(65536, UInt32(truncatingIfNeeded: number(8..<12))))
        amount = number(16..<24)
        id = number(24..<32)
    }

    var bytes: [UInt8] {
        var bytes = [UInt8](repeating: 0, count: Self.size)
        func put(_ value: UInt64, _ range: Range<Int>) {
            for (shift, place) in range.enumerated() { bytes[place] = UInt8(truncatingIfNeeded: value >> (8 * UInt64(shift))) }
        }
        put(UInt64(Self.magic), 0..<4)
        bytes[4] = job.rawValue
        bytes[5] = congestion
        put(UInt64(messageSize), 8..<12)
        put(amount, 16..<24)
        put(id, 24..<32)
        return bytes
    }
}
