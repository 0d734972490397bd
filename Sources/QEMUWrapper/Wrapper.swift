internal import Linux

/// What `qrap` does.
public enum Wrapper {
    /// Where a passt without `--socket` listens.
    static let sockets = (1...64).map { "/tmp/passt_\($0).socket" }

    static let usage = """
        Usage: qrap [FD] QEMU [ARGUMENT]...
               qrap [ARGUMENT]...

        Connects to a passt that runs, and starts QEMU with the connection as file descriptor
        FD. For QEMU before 7.2, which cannot do that itself. Unless ARGUMENTs use FD already,
        these are added:

          -netdev socket,fd=FD,id=passt0 -device virtio-net-pci,netdev=passt0

        FD is 5 by default, or what "-netdev socket,fd=" says. The passt is the first one on
        /tmp/passt_1.socket to /tmp/passt_64.socket that has no machine yet. Without QEMU, it
        is qemu-system-ARCHITECTURE, qemu-kvm or kvm, the first of them in PATH.

        """

    /// Returns a status only where QEMU could not be started.
    public static func run(_ arguments: [String], architecture: String) -> Int32 {
        if ["-h", "--help"].contains(arguments.first ?? "") && arguments.count == 1 { return print(usage, on: 1, 0) }
        let usual = ["qemu-system-\(architecture)", "qemu-kvm", "/usr/libexec/qemu-kvm", "kvm"]
        let command: QEMUCommand
        do throws(QEMUCommand.Problem) {
            command = try QEMUCommand(arguments, usual: usual, isProgram: isProgram)
        } catch {
            return refuse(error)
        }
        if !command.isQuestion {
            guard let connection = connect() else { return 1 }
            do throws(Errno) {
                if connection.number == command.descriptor {
                    try connection.setCloseOnExec(false)
                } else {
                    try connection.replace(command.descriptor)
                    connection.close()
                }
            } catch {
                return fail("the connection cannot become descriptor \(command.descriptor): \(error.text)")
            }
        }
        let error = Process.execute(command.words)
        // As shells do.
        return fail("\(command.words[0]): \(error.text)", status: error == Errno(2) ? 127 : 126)
    }

    private static func refuse(_ problem: QEMUCommand.Problem) -> Int32 {
        switch problem {
        case .noCommand: print(usage, on: 2, 1)
        case .badDescriptor(let word): fail("descriptor \(word): a number between 3 and 1023 is needed")
        case .noQEMU(let names): fail("none of \(names.joined(separator: ", ")) found: name QEMU as the first argument")
        }
    }

    /// A connection to the first passt that keeps it: one that has a machine already closes it at once.
    private static func connect() -> Descriptor? {
        var isBusy = false
        for path in sockets {
            let connection: Descriptor
            do throws(Errno) { connection = try Descriptor.connect(toLocal: path) } catch {
                // Not there, or nobody listens any more. Anything else, such as a lack of permission, is worth telling.
                if error != Errno(2) && error != Errno(111) { _ = fail("\(path): \(error.text)") }
                continue
            }
            if !connection.endsWithin(milliseconds: 100) { return connection }
            connection.close()
            isBusy = true
        }
        let where_ = "\(sockets[0]) to \(sockets[sockets.count - 1])"
        _ = fail(isBusy ? "every passt on \(where_) has a machine already: start another one" : "no passt listens on \(where_): start passt first")
        return nil
    }

    /// A word with a slash is a path, any other is looked for in PATH.
    private static func isProgram(_ word: String) -> Bool {
        if word.utf8.contains(UInt8(ascii: "/")) { return Process.mayExecute(word) }
        let path = Process.environment("PATH") ?? "/usr/local/bin:/usr/bin:/bin"
        return path.split(separator: ":").contains { Process.mayExecute("\($0)/\(word)") }
    }

    private static func print(_ text: String, on descriptor: Int32, _ status: Int32) -> Int32 {
        try? Descriptor(descriptor).write(text)
        return status
    }

    private static func fail(_ message: String, status: Int32 = 1) -> Int32 {
        print("qrap: \(message)\n", on: 2, status)
    }
}
