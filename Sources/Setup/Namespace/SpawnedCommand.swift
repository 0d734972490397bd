internal import CLinux
public import Linux

/// The command in its namespaces, from the waiting child to the status it ends with.
public struct SpawnedCommand: Sendable {
    /// As seen from here; inside it is 1.
    public let processID: Int32
    public let namespace: TargetNamespace
    private let channel: HelperChannel
    /// This process, which stays in the foreground.
    private let own = Process.identifier
    /// Its /proc/PID/status, which tells what it does about signals.
    private let status: Descriptor?
    private let hasTerminal: Bool

    init(processID: Int32, namespace: TargetNamespace, channel: HelperChannel) {
        self.processID = processID
        self.namespace = namespace
        self.channel = channel
        status = try? Descriptor.open("/proc/\(processID)/status", O_RDONLY)
        hasTerminal = Descriptor(STDIN_FILENO).isTerminal
    }

    /// The network is ready: the command may start. That it cannot is reported like the end of any command.
    public func release() {
        try? channel.send([1])
        channel.socket.close()
    }

    /// Gives up before `release`: the child that waits ends without ever becoming the command. The end of the channel makes it, since a signal need not reach
    /// it: started as root, we have no right over the user that it is (CAP_KILL).
    public func abandon() {
        channel.end()
        try? Process.signal(processID, SIGKILL)
        _ = waitForEnd()
    }

    /// To be called on SIGCHLD. The status to exit with, as a shell would have it, once the command has ended.
    /// If the command was stopped at the terminal, so are we, as one job, until both are continued. Allocates nothing. (wait4, kill)
    public func ended() -> Int32? {
        while let change = try? Process.changed(processID) {
            if let status = change.exitStatus { return status }
            if hasTerminal {
                try? Process.signal(own, SIGSTOP)
                try? Process.signal(processID, SIGCONT)
            }
        }
        return nil
    }

    /// The terminal's suspend key, pressed for both of us: process 1 of a namespace never stops by default. (kill)
    public func suspend() {
        try? Process.signal(hasTerminal ? processID : own, SIGSTOP)
    }

    /// The terminal's interrupt key, pressed for both of us, or a signal that a process has sent: that is handed on, as the command may not have got it.
    /// A command that cares gets on with it. One that does not would end anywhere else, but not as process 1, so it is ended here: then this returns the
    /// status to exit with. (pread64, kill)
    public func interrupt(_ isOfProcess: Bool) -> Int32? {
        if let status, SpawnedCommand.handles(SIGINT, status) {
            if isOfProcess { try? Process.signal(processID, SIGINT) }
            return nil
        }
        try? Process.signal(processID, SIGKILL)
        return 128 + SIGINT
    }

    /// Whether the process has a handler for the signal or ignores it.
    private static func handles(_ signal: Int32, _ status: Descriptor) -> Bool {
        var storage = InlineArray<4096, UInt8>(repeating: 0)
        var span = storage.mutableSpan
        // SAFETY: every bit pattern is a byte.
        var bytes = unsafe span.mutableBytes
        guard let count = try? status.read(into: &bytes, at: 0) else { return false }
        let text = storage.span.extracting(0..<count)
        let set = mask("\nSigIgn:", text) | mask("\nSigCgt:", text)
        return set & 1 << UInt64(signal - 1) != 0
    }

    /// The hexadecimal number behind a label.
    static func mask(_ label: StaticString, _ text: Span<UInt8>) -> UInt64 {
        let length = label.utf8CodeUnitCount
        var start = 0
        while start + length <= text.count {
            var same = true
            label.withUTF8Buffer { expected in
                // SAFETY: both indexes are below the counts, checked just above.
                for index in 0..<length where unsafe expected[index] != text[start + index] { same = false }
            }
            if same { break }
            start += 1
        }
        var value: UInt64 = 0
        var index = start + length
        while index < text.count, text[index] == UInt8(ascii: "\t") || text[index] == UInt8(ascii: " ") { index += 1 }
        while index < text.count {
            switch text[index] {
            case 48...57: value = value << 4 | UInt64(text[index] - 48)
            case 97...102: value = value << 4 | UInt64(text[index] - 87)
            default: return value
            }
            index += 1
        }
        return value
    }
}

extension SpawnedCommand {
    /// Waits until the command has ended; the status to exit with.
    public func waitForEnd() -> Int32 {
        while true {
            guard let change = try? Process.wait(for: processID) else { return 1 }
            if let status = change.exitStatus { return status }
        }
    }
}

extension SpawnedCommand {
    public var systemCalls: [SystemCall.Permission] { SpawnedCommand.systemCalls(command: processID, own: own) }

    /// No signal reaches any other process.
    public static func systemCalls(command: Int32, own: Int32) -> [SystemCall.Permission] {
        SystemCall.control(of: command, from: own, signals: [SIGSTOP, SIGCONT, SIGKILL, SIGINT]) + SystemCall.reading
    }
}
