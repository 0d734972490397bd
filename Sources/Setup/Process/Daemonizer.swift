internal import CLinux
public import Linux

/// The background process's line to the one the caller waits for.
public struct Readiness: Sendable {
    private let socket: Descriptor
    private let null: Descriptor
    /// The number of this process as the caller sees it, whatever PID namespace this process is in.
    public let processID: Int32

    fileprivate init(socket: Descriptor, null: Descriptor, processID: Int32) {
        self.socket = socket
        self.null = null
        self.processID = processID
    }

    /// Lets go of the caller: its files first, so that nobody waits for the end of our output, then the parent exits with 0.
    /// Nothing may fail after this.
    public func ready() throws(SetupError) {
        do throws(Errno) {
            for number: Int32 in 0...2 { try null.replace(number) }
            if null.number > 2 { null.close() }
            try socket.write([1])
            socket.close()
        } catch {
            throw SetupError(.process, "Couldn't go to the background", error)
        }
    }
}

/// Going to the background. The process forks when everything is set up; the parent stays until the child is ready, so that
/// the caller sees either status 0 and a daemon that works, or status 1 and a reason on standard error.
public enum Daemonizer {
    /// Returns in the child only. With `newPIDNamespace` the child is alone with its own children in a PID namespace, where
    /// that is permitted. If the child ends before it is ready, having said why, the parent exits with 1; if it cannot have said anything, the parent does.
    public static func fork(null: Descriptor, signals: QuitSignals?, newPIDNamespace: Bool) throws(SetupError) -> Readiness {
        do throws(Errno) {
            let (ours, theirs) = try DescriptorPassing.pair()
            if newPIDNamespace { try? Namespaces.unshare(.pid) }
            let child = try Process.fork()
            if child != 0 {
                theirs.close()
                signals?.restore()
                attend(child, over: ours)
            }
            ours.close()
            guard let message = try DescriptorPassing.receive(over: theirs, limit: 16), let number = decode(message.bytes) else {
                Process.exit(1)
            }
            try Process.newSession()
            try Process.changeDirectory(to: "/")
            return Readiness(socket: theirs, null: null, processID: number)
        } catch {
            throw SetupError(.process, "Couldn't go to the background", error, hint: error.hintOfFork)
        }
    }

    /// What the parent does for the rest of its life. Only the parent knows the child's number from outside.
    private static func attend(_ child: Int32, over socket: Descriptor) -> Never {
        try? DescriptorPassing.send(DescriptorMessage(encode(child)), over: socket)
        if let message = try? DescriptorPassing.receive(over: socket, limit: 16), message.bytes == [1] { Process.exit(0) }
        if let status = try? Process.wait(for: child), let words = complaint(status) { try? Descriptor(STDERR_FILENO).write(words + "\n") }
        Process.exit(1)
    }

    /// What to say of a child that has ended before it was ready; nil where it has said why itself, which is status 1.
    static func complaint(_ status: ChildStatus) -> String? {
        if status == .exited(1) { return nil }
        return status.ending.map { "Couldn't go to the background: the process ended \($0)" }
    }

    private static func encode(_ number: Int32) -> [UInt8] {
        (0..<4).map { UInt8(truncatingIfNeeded: number >> (8 * $0)) }
    }

    private static func decode(_ bytes: [UInt8]) -> Int32? {
        guard bytes.count == 4 else { return nil }
        return bytes.reversed().reduce(0) { $0 << 8 | Int32($1) }
    }
}
