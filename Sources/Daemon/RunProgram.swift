internal import Linux
internal import Settings
internal import Setup

/// What both programs do: the name they are called by decides which one it is.
public func runProgram(arguments: [String]) -> Int32 {
    let log = Log(program: "pasta")
    do throws(SetupError) {
        let null = try StandardDescriptors.populate()
        let program = try Program(calledAs: arguments.first ?? "")
        switch try Options.parse(arguments: arguments, program: program) {
        case .printed(let text, let status):
            try? Descriptor(1).write(text)
            return status
        case .run(let options):
            if program == .passt {
                throw SetupError(.options, "This build connects namespaces only, not virtual machines: call it as pasta")
            }
            var daemon = PastaDaemon(options: options, log: log, null: null)
            do throws(SetupError) { return try daemon.run() } catch {
                // Wherever this run's lines go by now.
                daemon.log.error(error.message)
                return 1
            }
        }
    } catch {
        try? Descriptor(2).write(error.message + "\n")
        return 1
    }
}
