// qrap: QEMU before 7.2 cannot connect to a UNIX socket itself. This program does it in QEMU's place and
// then becomes QEMU, which finds the connection under a number that its command line names.
//
//     QEMUCommand   the command line that was given, and the one that QEMU gets: no system calls
//     Wrapper       looking for a passt that has no machine yet, and becoming QEMU

/// A command line for QEMU and the descriptor that it uses.
public struct QEMUCommand: Equatable, Sendable {
    /// The number that the connection gets.
    public var descriptor: Int32
    /// QEMU first.
    public var words: [String]
    /// It only asks QEMU what it is and what it can: there is nothing to connect.
    public var isQuestion: Bool

    public enum Problem: Error, Equatable {
        case noCommand
        case badDescriptor(String)
        /// QEMU was not named, and none of these is in PATH.
        case noQEMU([String])
    }

    static let usualDescriptor: Int32 = 5

    /// Reads `[FD] QEMU [ARGUMENT]...` or, without QEMU's name, `[ARGUMENT]...`. `isProgram` says whether a word can be run,
    /// `usual` lists what QEMU may be called here.
    public init(_ arguments: [String], usual: [String], isProgram: (String) -> Bool) throws(Problem) {
        var rest = arguments[...]
        var given: Int32?
        if let first = rest.first, Self.isNumber(first) {
            guard let number = Int32(first), (3...1023).contains(number) else { throw .badDescriptor(first) }
            given = number
            rest.removeFirst()
        }
        guard let first = rest.first else { throw .noCommand }
        // With a number before it, the word must be QEMU, whether it is there or not: the error is then the system's.
        if given != nil || (!first.hasPrefix("-") && isProgram(first)) {
            words = Array(rest)
        } else {
            guard let found = usual.first(where: isProgram) else { throw .noQEMU(usual) }
            words = [found] + rest
        }
        isQuestion = Self.isQuestion(words.dropFirst())
        let named = Self.socketDescriptors(words)
        descriptor = given ?? named.first ?? Self.usualDescriptor
        if !isQuestion && !named.contains(descriptor) { addInterface() }
    }

    private mutating func addInterface() {
        let base = words[0].split(separator: "/").last ?? ""
        // The one architecture of QEMU's whose virtual devices are on no PCI bus by default.
        let device = base.hasSuffix("s390x") ? "virtio-net-ccw" : "virtio-net-pci"
        words += ["-netdev", "socket,fd=\(descriptor),id=passt0", "-device", "\(device),netdev=passt0"]
    }

    private static func isNumber(_ word: String) -> Bool {
        !word.isEmpty && word.utf8.allSatisfy { (0x30...0x39).contains($0) }
    }

    /// The descriptors of all `-netdev socket,fd=N` and `-net socket,fd=N`.
    private static func socketDescriptors(_ words: [String]) -> [Int32] {
        values(of: ["netdev", "net"], in: words[...]).compactMap { value in
            let parts = value.split(separator: ",")
            guard parts.first == "socket" || parts.first == "type=socket" else { return nil }
            return parts.first { $0.hasPrefix("fd=") }.flatMap { Int32($0.dropFirst(3)) }
        }
    }

    /// Versions, lists, and the machine without devices with which libvirt asks for capabilities.
    private static func isQuestion(_ words: ArraySlice<String>) -> Bool {
        let questions = ["version", "help", "h"]
        if words.contains(where: { word in questions.contains { isOption(word, $0) } }) { return true }
        let machines = values(of: ["machine", "M"], in: words)
        if machines.contains(where: { ["none", "help", "?"].contains($0.split(separator: ",").first.map(String.init) ?? "") }) { return true }
        return values(of: ["cpu", "device", "accel", "netdev"], in: words).contains { $0 == "help" || $0 == "?" }
    }

    /// QEMU takes one dash or two.
    private static func isOption(_ word: String, _ name: String) -> Bool { word == "-" + name || word == "--" + name }

    private static func values(of names: [String], in words: ArraySlice<String>) -> [String] {
        zip(words, words.dropFirst()).filter { word, _ in names.contains { isOption(word, $0) } }.map(\.1)
    }
}
