// What is spoken on the socket of --conf-path, by which ports are added and removed while the program runs. Numbers are in network byte order.
//
//     program                                        client (pesto)
//         magic, version, sizes of names      -->
//         each table: head, its rules         -->
//         0                                   -->
//                                             <--    each table that is to be replaced: number, count, rules
//                                             <--    0
//         PortControlAnswer                   -->
//
// The program's tables are those of version 2 of this protocol; what is ours is the answer, behind everything that other clients wait for.

/// An interface's name in 16 bytes, filled up with zeros.
public struct InterfaceName: BitwiseCopyable, Equatable, Sendable {
    public static let byteCount = 16

    private let high, low: UInt64

    /// No name.
    public init() { (high, low) = (0, 0) }

    /// nil for a name that is empty or longer than 15 bytes, or has a zero in it.
    public init?(_ name: String) {
        guard (1..<InterfaceName.byteCount).contains(name.utf8.count), !name.utf8.contains(0) else { return nil }
        var words: (UInt64, UInt64) = (0, 0)
        for (index, byte) in name.utf8.enumerated() {
            InterfaceName.put(byte, at: index, in: &words)
        }
        (high, low) = words
    }

    /// Sixteen bytes at `offset`; nil where something stands behind the first zero, or there is none.
    init?(_ bytes: borrowing RawSpan, at offset: Int) {
        (high, low) = (bytes.uint64(at: offset), bytes.uint64(at: offset + 8))
        var hasEnded = false
        for index in 0..<InterfaceName.byteCount {
            if byte(index) == 0 { hasEnded = true } else if hasEnded { return nil }
        }
        if !hasEnded { return nil }
    }

    /// `count` bytes at `offset`, which must be there, or those before the first zero; nil for a name that is empty or too long.
    @_noAllocation @_noLocks
    public init?(_ bytes: borrowing RawSpan, at offset: Int, count: Int) {
        var words: (UInt64, UInt64) = (0, 0)
        var index = 0
        while index < count, bytes.uint8(at: offset + index) != 0 {
            if index == InterfaceName.byteCount - 1 { return nil }
            InterfaceName.put(bytes.uint8(at: offset + index), at: index, in: &words)
            index += 1
        }
        if index == 0 { return nil }
        (high, low) = words
    }

    @_noAllocation @_noLocks
    private static func put(_ byte: UInt8, at index: Int, in words: inout (UInt64, UInt64)) {
        let shifted = UInt64(byte) << UInt64(56 - 8 * (index % 8))
        if index < 8 { words.0 |= shifted } else { words.1 |= shifted }
    }

    public var isEmpty: Bool { high == 0 }

    public func byte(_ index: Int) -> UInt8 { UInt8(truncatingIfNeeded: (index < 8 ? high : low) >> UInt64(56 - 8 * (index % 8))) }

    public var text: String {
        String(decoding: (0..<InterfaceName.byteCount).map { byte($0) }.prefix { $0 != 0 }, as: UTF8.self)
    }

    func write(to bytes: inout MutableRawSpan, at offset: Int) {
        bytes.store(high, at: offset)
        bytes.store(low, at: offset + 8)
    }
}

/// Ports that lead to the other side, and are treated alike.
public struct PortControlRule: BitwiseCopyable, Equatable, Sendable {
    public struct Flags: OptionSet, BitwiseCopyable, Sendable {
        public let rawValue: UInt8
        public init(rawValue: UInt8) { self.rawValue = rawValue }
        /// Any address of both families; the address is then `::`.
        public static let anyAddress = Flags(rawValue: 1)
        /// Ports that cannot be bound are left out.
        public static let bestEffort = Flags(rawValue: 2)
        /// Only ports on which the other side listens.
        public static let scans = Flags(rawValue: 4)
        static let all: Flags = [.anyAddress, .bestEffort, .scans]
    }

    public static let byteCount = 16 + 16 + InterfaceName.byteCount + 2 + 2 + 2 + 1 + 1

    /// nil: any, of both families.
    public var address: IPAddress?
    /// nil: the guest's, or the host's loopback.
    public var targetAddress: IPAddress?
    public var interface = InterfaceName()
    public var first, last: UInt16
    /// Where `first` leads; the others follow in order.
    public var target: UInt16
    public var isTCP: Bool
    public var isBestEffort = false
    public var scans = false

    public init(isTCP: Bool, _ ports: ClosedRange<UInt16>, target: UInt16) {
        self.isTCP = isTCP
        first = ports.lowerBound
        last = ports.upperBound
        self.target = target
    }

    public var ports: ClosedRange<UInt16> { first...last }

    /// The port on the other side.
    public func target(of port: UInt16) -> UInt16 { target &+ (port &- first) }

    /// nil for what cannot be a rule.
    public init?(_ bytes: borrowing RawSpan, at offset: Int) {
        guard bytes.has(PortControlRule.byteCount, at: offset), let interface = InterfaceName(bytes, at: offset + 32) else { return nil }
        let address = IPAddress(bytes, at: offset)
        let targetAddress = IPAddress(bytes, at: offset + 16)
        let (first, last, target) = (bytes.uint16(at: offset + 48), bytes.uint16(at: offset + 50), bytes.uint16(at: offset + 52))
        let (protocolNumber, flags) = (bytes.uint8(at: offset + 54), Flags(rawValue: bytes.uint8(at: offset + 55)))
        guard first > 0, first <= last, target > 0, Int(target) + Int(last - first) <= Int(UInt16.max) else { return nil }
        guard protocolNumber == 6 || protocolNumber == 17, flags.isSubset(of: .all) else { return nil }
        let isAny = flags.contains(.anyAddress)
        if isAny && address != PortControlRule.none { return nil }
        let hasTarget = targetAddress != PortControlRule.none
        if hasTarget && !isAny && address.isIPv4 != targetAddress.isIPv4 { return nil }
        if hasTarget && (targetAddress.isAny || targetAddress.isMulticast) || address.isMulticast { return nil }
        // What is looked up has no other place to go to.
        if flags.contains(.scans) && (hasTarget || target != first) { return nil }
        self.init(isTCP: protocolNumber == 6, first...last, target: target)
        self.address = isAny ? nil : address
        self.targetAddress = hasTarget ? targetAddress : nil
        self.interface = interface
        isBestEffort = flags.contains(.bestEffort)
        scans = flags.contains(.scans)
    }

    /// Writes `byteCount` bytes at `offset`.
    public func write(to bytes: inout MutableRawSpan, at offset: Int) {
        (address ?? PortControlRule.none).write(to: &bytes, at: offset)
        (targetAddress ?? PortControlRule.none).write(to: &bytes, at: offset + 16)
        interface.write(to: &bytes, at: offset + 32)
        bytes.store(first, at: offset + 48)
        bytes.store(last, at: offset + 50)
        bytes.store(target, at: offset + 52)
        bytes.store(isTCP ? 6 : 17 as UInt8, at: offset + 54)
        var flags: Flags = address == nil ? .anyAddress : []
        if isBestEffort { flags.insert(.bestEffort) }
        if scans { flags.insert(.scans) }
        bytes.store(flags.rawValue, at: offset + 55)
    }

    private static var none: IPAddress { IPAddress(IPv6Address.any) }
}

extension IPAddress {
    fileprivate init(_ bytes: borrowing RawSpan, at offset: Int) {
        self.init(IPv6Address(high: bytes.uint64(at: offset), low: bytes.uint64(at: offset + 8)))
    }

    fileprivate func write(to bytes: inout MutableRawSpan, at offset: Int) {
        bytes.store(high, at: offset)
        bytes.store(low, at: offset + 8)
    }
}

/// The beginning of what the program says.
public enum PortControl {
    private static var magic: UInt64 { 0x6261_7369_6c3a_7300 }  // "basil:s" and a zero
    public static let version: UInt32 = 2
    static let nameByteCount = 128
    public static let helloByteCount = 20
    /// Most rules of a table.
    public static let mostRules = 255
    /// What a client is told first: `helloByteCount`, each table's head and rules, and the zero behind them.
    public static let mostHelloBytes = helloByteCount
        + PortTableName.allCases.count * (PortTableHead.byteCount + mostRules * PortControlRule.byteCount) + 1
    /// What a client may send: each table's number, count and rules, and the zero behind them.
    public static let mostRequestBytes = PortTableName.allCases.count * (5 + mostRules * PortControlRule.byteCount) + 1

    /// Writes `helloByteCount` bytes at the start.
    public static func writeHello(to bytes: inout MutableRawSpan) {
        bytes.store(magic, at: 0)
        bytes.store(version, at: 8)
        bytes.store(UInt32(nameByteCount), at: 12)
        bytes.store(UInt32(InterfaceName.byteCount), at: 16)
    }

    /// How far a client's request has come.
    public enum Request: Equatable, Sendable {
        case incomplete
        case complete
        /// It will never be one.
        case impossible
    }

    /// Looks at the first `count` bytes of a request.
    public static func state(ofRequest bytes: borrowing RawSpan, count: Int) -> Request {
        var offset = 0
        while true {
            guard offset < count else { return offset >= mostRequestBytes ? .impossible : .incomplete }
            if bytes.uint8(at: offset) == 0 { return offset + 1 == count ? .complete : .impossible }
            guard offset + 5 <= count else { return .incomplete }
            let rules = bytes.uint32(at: offset + 1)
            guard rules <= UInt32(mostRules) else { return .impossible }
            offset += 5 + Int(rules) * PortControlRule.byteCount
        }
    }

    /// nil: this is something else. Otherwise whether it is the version that is spoken here.
    public static func isOwnVersion(_ bytes: borrowing RawSpan) -> Bool? {
        guard bytes.has(helloByteCount, at: 0), bytes.uint64(at: 0) == magic else { return nil }
        return bytes.uint32(at: 8) == version && bytes.uint32(at: 12) == UInt32(nameByteCount)
            && bytes.uint32(at: 16) == UInt32(InterfaceName.byteCount)
    }
}

/// The tables that there are.
public enum PortTableName: UInt8, CaseIterable, BitwiseCopyable, Sendable {
    /// Ports of the host that lead to the guest (-t, -u).
    case host = 1
    /// Ports of the namespace's loopback that lead to the host (-T, -U).
    case splice = 2

    public var text: StaticString { self == .host ? "HOST" : "SPLICE" }
}

/// What stands before a table's rules.
public struct PortTableHead: Equatable, Sendable {
    public struct Capabilities: OptionSet, Sendable {
        public let rawValue: UInt32
        public init(rawValue: UInt32) { self.rawValue = rawValue }
        public static let ipv4 = Capabilities(rawValue: 1)
        public static let ipv6 = Capabilities(rawValue: 2)
        public static let tcp = Capabilities(rawValue: 4)
        public static let udp = Capabilities(rawValue: 8)
        public static let scans = Capabilities(rawValue: 16)
        public static let interfaces = Capabilities(rawValue: 32)
        /// Ours: there is an answer to each request.
        public static let answers = Capabilities(rawValue: 1 << 30)
        /// Ours: what comes from the host's loopback arrives at the namespace's loopback.
        public static let endsAtLoopback = Capabilities(rawValue: 1 << 31)
    }

    public static let byteCount = 1 + PortControl.nameByteCount + 4 + 4

    public var number: UInt8
    public var name: String
    public var capabilities: Capabilities
    public var count: Int

    /// What stands behind the number, a byte that is not zero. nil for a head that cannot be.
    public init?(number: UInt8, _ bytes: borrowing RawSpan) {
        guard bytes.has(PortTableHead.byteCount - 1, at: 0) else { return nil }
        self.number = number
        var name: [UInt8] = []
        for index in 0..<PortControl.nameByteCount {
            let byte = bytes.uint8(at: index)
            if byte == 0 { break }
            name.append(byte)
        }
        self.name = String(decoding: name, as: UTF8.self)
        capabilities = Capabilities(rawValue: bytes.uint32(at: 128))
        let count = bytes.uint32(at: 132)
        guard number != 0, name.count < PortControl.nameByteCount, count <= UInt32(PortControl.mostRules) else { return nil }
        self.count = Int(count)
    }

    /// Writes `byteCount` bytes at `offset`. Allocates nothing.
    public static func write(
        _ name: PortTableName, _ capabilities: Capabilities, count: Int, to bytes: inout MutableRawSpan, at offset: Int
    ) {
        bytes.store(name.rawValue, at: offset)
        // Both names are letters of ASCII, up to eight.
        let letters: UInt64 = name == .host ? 0x484f_5354_0000_0000 : 0x5350_4c49_4345_0000
        bytes.store(letters, at: offset + 1)
        for position in stride(from: 8, to: PortControl.nameByteCount, by: 8) { bytes.store(0 as UInt64, at: offset + 1 + position) }
        bytes.store(capabilities.rawValue, at: offset + 129)
        bytes.store(UInt32(truncatingIfNeeded: count), at: offset + 133)
    }
}

/// What became of a request.
public struct PortControlAnswer: Equatable, BitwiseCopyable, Sendable {
    public enum Outcome: UInt8, BitwiseCopyable, Sendable {
        case done
        /// What was sent cannot be understood.
        case unreadable
        /// It took too long to arrive.
        case late
        /// A port could not be opened: then everything is as before.
        case failed
        /// None of the ports of a table that may be left out could be opened.
        case nothingBound
        /// An interface that the host does not have.
        case noInterface
        /// Too many rules that follow the other side's listeners.
        case tooMany
        /// As `failed`, and something from before could not be had back: somebody else was faster.
        case lost
    }

    public static let byteCount = 16

    public var outcome: Outcome
    public var table: PortTableName?
    public var isTCP = true
    public var port: UInt16 = 0
    /// A number of errno.
    public var code: Int32 = 0
    /// The rule in its table, where those that may be left out stand behind the others.
    public var rule: UInt32 = 0

    public init(_ outcome: Outcome, table: PortTableName? = nil, isTCP: Bool = true, port: UInt16 = 0, code: Int32 = 0, rule: Int = 0) {
        self.outcome = outcome
        self.table = table
        self.isTCP = isTCP
        self.port = port
        self.code = code
        self.rule = UInt32(truncatingIfNeeded: rule)
    }

    public init?(_ bytes: borrowing RawSpan) {
        guard bytes.has(PortControlAnswer.byteCount, at: 0), let outcome = Outcome(rawValue: bytes.uint8(at: 0)) else { return nil }
        self.init(
            outcome, table: PortTableName(rawValue: bytes.uint8(at: 1)), isTCP: bytes.uint8(at: 2) == 6, port: bytes.uint16(at: 4),
            code: Int32(bitPattern: bytes.uint32(at: 8)), rule: Int(bytes.uint32(at: 12)))
    }

    /// Writes `byteCount` bytes at the start.
    public func write(to bytes: inout MutableRawSpan) {
        bytes.store(outcome.rawValue, at: 0)
        bytes.store(table?.rawValue ?? 0, at: 1)
        bytes.store(isTCP ? 6 : 17 as UInt8, at: 2)
        bytes.store(0 as UInt8, at: 3)
        bytes.store(port, at: 4)
        bytes.store(0 as UInt16, at: 6)
        bytes.store(UInt32(bitPattern: code), at: 8)
        bytes.store(rule, at: 12)
    }
}
