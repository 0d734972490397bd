import Glibc
import Linux
import Setup
import Testing

/// A call as a filter sees it.
struct Call {
    var number: UInt32
    var architecture: UInt32
    var arguments: [UInt64] = []

    func word(_ offset: UInt32) -> UInt32 {
        switch offset {
        case 0: return number
        case 4: return architecture
        default:
            let argument = Int(offset - 16) / 8
            let value = argument < arguments.count ? arguments[argument] : 0
            return UInt32(truncatingIfNeeded: offset % 8 == 0 ? value : value >> 32)
        }
    }
}

/// Runs a program as the kernel would, for the few instructions that are used. nil: it does something that it must not.
func verdict(_ program: [FilterInstruction], _ call: Call) -> UInt32? {
    var accumulator: UInt32 = 0
    var at = 0
    while at < program.count {
        let instruction = program[at]
        at += 1
        switch instruction.code {
        case 0x20:  // ld [k]
            guard instruction.constant % 4 == 0, instruction.constant < 64 else { return nil }
            accumulator = call.word(instruction.constant)
        case 0x54: accumulator &= instruction.constant  // and #k
        case 0x15: at += Int(accumulator == instruction.constant ? instruction.ifTrue : instruction.ifFalse)  // jeq
        case 0x45: at += Int(accumulator & instruction.constant != 0 ? instruction.ifTrue : instruction.ifFalse)  // jset
        case 0x06: return instruction.constant  // ret
        default: return nil
        }
    }
    return nil
}

@Suite struct SeccompFilterTests {
    static let allow: UInt32 = 0x7fff_0000
    static let kill: UInt32 = 0x8000_0000
    static let everything =
        SystemCall.readiness + SystemCall.files + SystemCall.pieces + SystemCall.sockets + SystemCall.streams + SystemCall.datagramOptions
        + SystemCall.control(of: 42, from: 7, signals: [SIGKILL, SIGSTOP]) + SystemCall.end

    private func run(_ architecture: SystemCall.Architecture, _ number: UInt32, _ arguments: UInt64...) -> UInt32? {
        let program = SeccompFilter(Self.everything, on: architecture).program
        return verdict(program, Call(number: number, architecture: architecture.filterNumber, arguments: arguments))
    }

    @Test(arguments: SystemCall.Architecture.allCases)
    func everyNumberIsAllowedOrKilled(_ architecture: SystemCall.Architecture) {
        let program = SeccompFilter(Self.everything, on: architecture).program
        let plain = Self.everything.filter { $0.conditions.isEmpty }.map { $0.call.number(on: architecture) }
        for number: UInt32 in 0...1024 {
            let call = Call(number: number, architecture: architecture.filterNumber, arguments: [.max, .max, .max])
            #expect(verdict(program, call) == (plain.contains(number) ? Self.allow : Self.kill), "\(number)")
        }
    }

    @Test func anotherArchitectureIsKilled() {
        let program = SeccompFilter(Self.everything, on: .x86_64).program
        // AUDIT_ARCH_I386, aarch64 and AUDIT_ARCH_X86_64: number 3 is read() for the first, close() for the last.
        #expect(verdict(program, Call(number: 3, architecture: 0x4000_0003)) == Self.kill)
        #expect(verdict(program, Call(number: 3, architecture: 0xc000_00b7)) == Self.kill)
        #expect(verdict(program, Call(number: 3, architecture: 0xc000_003e)) == Self.allow)
    }

    @Test func x32IsKilled() {
        #expect(run(.x86_64, 0x4000_0000) == Self.kill)
        #expect(run(.x86_64, 0x4000_0003) == Self.kill)
        #expect(run(.x86_64, 3) == Self.allow)
    }

    @Test func onlySocketsOfTheTwoFamiliesComeIntoBeing() {
        let flags = UInt64(SOCK_NONBLOCK.rawValue | SOCK_CLOEXEC.rawValue)
        let stream = UInt64(SOCK_STREAM.rawValue), datagram = UInt64(SOCK_DGRAM.rawValue), raw = UInt64(SOCK_RAW.rawValue)
        #expect(run(.x86_64, 41, UInt64(AF_INET), stream | flags, 6) == Self.allow)
        #expect(run(.x86_64, 41, UInt64(AF_INET6), datagram | flags, 17) == Self.allow)
        #expect(run(.x86_64, 41, UInt64(AF_INET6), datagram, 58) == Self.allow)
        #expect(run(.aarch64, 198, UInt64(AF_INET), stream, 6) == Self.allow)
        #expect(run(.x86_64, 41, UInt64(AF_UNIX), stream, 0) == Self.kill)
        #expect(run(.x86_64, 41, UInt64(AF_NETLINK), datagram, 0) == Self.kill)
        #expect(run(.x86_64, 41, UInt64(AF_PACKET), datagram, 17) == Self.kill)
        #expect(run(.x86_64, 41, UInt64(AF_INET), raw, 6) == Self.kill)
        #expect(run(.x86_64, 41, UInt64(AF_INET), stream | 0x10_0000, 6) == Self.kill)
        #expect(run(.x86_64, 41, UInt64(AF_INET), stream, 132) == Self.kill)  // SCTP
        // An int is the low half of its register, as for the kernel.
        #expect(run(.x86_64, 41, 0xdead_0000_0000 | UInt64(AF_INET), stream, 6) == Self.allow)
    }

    @Test func onlyListedOptionsAreSet() {
        #expect(run(.x86_64, 54, 5, UInt64(SOL_SOCKET), UInt64(SO_LINGER)) == Self.allow)
        #expect(run(.x86_64, 54, 5, 6, UInt64(TCP_NODELAY)) == Self.allow)
        #expect(run(.x86_64, 54, 5, 6, UInt64(TCP_USER_TIMEOUT)) == Self.allow)
        #expect(run(.x86_64, 54, 5, 6, 44) == Self.allow)  // TCP_RTO_MAX_MS
        #expect(run(.x86_64, 54, 5, 6, 45) == Self.kill)
        #expect(run(.x86_64, 54, 5, 0, UInt64(IP_TTL)) == Self.allow)
        #expect(run(.x86_64, 54, 5, UInt64(SOL_SOCKET), UInt64(SO_ATTACH_FILTER)) == Self.kill)
        #expect(run(.x86_64, 54, 5, UInt64(SOL_SOCKET), UInt64(TCP_NODELAY)) == Self.kill)
        #expect(run(.x86_64, 54, 5, 0, 64) == Self.kill)  // IPT_SO_SET_REPLACE
        #expect(run(.x86_64, 54, 5, 6, 31) == Self.kill)  // TCP_ULP
    }

    @Test func signalsReachTheCommandOnly() {
        #expect(run(.x86_64, 62, 42, UInt64(SIGKILL)) == Self.allow)
        #expect(run(.x86_64, 62, 7, UInt64(SIGSTOP)) == Self.allow)
        #expect(run(.x86_64, 62, 42, UInt64(SIGTERM)) == Self.kill)
        #expect(run(.x86_64, 62, 1, UInt64(SIGKILL)) == Self.kill)
        #expect(run(.x86_64, 62, UInt64(bitPattern: -1), UInt64(SIGKILL)) == Self.kill)
        #expect(run(.x86_64, 61, 42) == Self.allow)
        #expect(run(.x86_64, 61, UInt64(bitPattern: -1)) == Self.kill)
    }

    /// The kernel's word for it: in a child of its own, since there is no way back.
    /// A wait that a stop has interrupted is gone on with by the kernel, as a call of its own that the filter sees as well.
    @Test func lesson70_aStopWithinAWaitIsNoOffence() throws {
        let filter = SeccompFilter(Self.everything + SystemCall.polling)
        let (reader, writer) = try Descriptor.pipe()
        defer { reader.close(); writer.close() }
        _ = reader.awaitInput(milliseconds: 0)
        let child = try Process.fork()
        if child == 0 {
            guard (try? Process.forbidNewPrivileges()) != nil, (try? filter.install()) != nil else { Process.exit(2) }
            _ = reader.awaitInput(milliseconds: 600)
            Process.exit(0)
        }
        usleep(200_000)
        #expect(Glibc.kill(child, SIGSTOP) == 0)
        usleep(50_000)
        #expect(Glibc.kill(child, SIGCONT) == 0)
        #expect(try Process.wait(for: child) == .exited(0))
    }

    @Test(arguments: [true, false]) func theKernelTakesTheProgram(_ allowed: Bool) throws {
        let filter = SeccompFilter(allowed ? Self.everything + SystemCall.lookingUp : Self.everything)
        let directory = try Descriptor.open("/", O_RDONLY)
        defer { directory.close() }
        let name = "tmp".utf8CString.map { $0 }
        // Once beforehand: what a first call allocates is not what is tested.
        #expect((try? directory.identity(of: name, follow: true)) != nil)
        let child = try Process.fork()
        if child == 0 {
            guard (try? Process.forbidNewPrivileges()) != nil, (try? filter.install()) != nil else { Process.exit(2) }
            Process.exit((try? directory.identity(of: name, follow: true)) == nil ? 3 : 0)
        }
        #expect(try Process.wait(for: child) == (allowed ? .exited(0) : .killed(signal: SIGSYS)))
    }
}
