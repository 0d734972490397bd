public import Linux

/// The system-call filter: which calls the rest of the run may make. Any other ends the process at once (SIGSYS).
///
///      other architecture?   kill     the numbers below would mean other calls
///      x32 number?           kill     the same kernel, called in another way
///      number = first call   its conditions hold? allow : kill
///      number = second call  ...
///      kill
///
/// Calls stand in the order in which they are given. The kernel notes which calls pass whatever their arguments are (Linux 5.11), and
/// does not run the program for these.
public struct SeccompFilter: Sendable {
    public let program: [FilterInstruction]

    private static let x32Bit: UInt32 = 0x4000_0000

    public init(_ permissions: [SystemCall.Permission], on architecture: SystemCall.Architecture = .current) {
        var program: [FilterInstruction] = [
            .load(SystemCallData.architecture), .equal(architecture.filterNumber, then: 1), .kill,
            .load(SystemCallData.number), .has(SeccompFilter.x32Bit, else: 1), .kill,
        ]
        for call in SeccompFilter.calls(permissions) {
            let block = SeccompFilter.block(permissions.filter { $0.call == call })
            program.append(.equal(call.number(on: architecture), else: block.count))
            program += block
        }
        self.program = program + [.kill]
    }

    /// Each call once, in the order of their first appearance.
    public static func calls(_ permissions: [SystemCall.Permission]) -> [SystemCall] {
        var calls: [SystemCall] = []
        for permission in permissions where !calls.contains(permission.call) { calls.append(permission.call) }
        return calls
    }

    /// What is done once the number is known. It ends with a verdict, so the accumulator is its own.
    private static func block(_ alternatives: [SystemCall.Permission]) -> [FilterInstruction] {
        if alternatives.contains(where: { $0.conditions.isEmpty }) { return [.allow] }
        var block: [FilterInstruction] = []
        for alternative in alternatives { block += check(alternative.conditions) }
        return block + [.kill]
    }

    /// Allows if all hold, and goes on behind if not.
    private static func check(_ conditions: [SystemCall.Condition]) -> [FilterInstruction] {
        var code: [FilterInstruction] = [.allow]
        // From the last to the first, since a failure jumps over all that follows.
        for condition in conditions.reversed() {
            var test: [FilterInstruction] = [.load(SystemCallData.argument(condition.argument))]
            if condition.ignored != 0 { test.append(.and(~condition.ignored)) }
            for (index, value) in condition.values.enumerated() {
                let rest = condition.values.count - 1 - index
                test.append(.equal(value, then: rest, else: rest == 0 ? code.count : 0))
            }
            code = test + code
        }
        return code
    }

    /// All that may fail of `install`, for as long as the caller can still be told: whether the kernel has filters, and memory for
    /// what may yet allocate. None can be taken from the kernel afterwards: no call that maps memory is on any list.
    public func prepared() throws(SetupError) -> SeccompFilter {
        do throws(Errno) {
            try SystemCallFilter.checkAvailable()
            try Heap.reserve(byteCount: SeccompFilter.heapReserve)
            return self
        } catch {
            throw SetupError(.isolation, "Couldn't prepare the system-call filter", error, hint: error.hintOfFilter ?? error.hintOfMemory)
        }
    }

    /// Closes for good.
    public func install() throws(SetupError) {
        do throws(Errno) {
            try SystemCallFilter.install(program)
        } catch {
            throw SetupError(.isolation, "Couldn't install the system-call filter", error)
        }
    }

    /// The loop allocates nothing itself. This is for what it runs rarely: the runtime's tables of generic types, texts of errors.
    private static let heapReserve = 1 << 20
}
