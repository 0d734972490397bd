internal import Linux
internal import Settings
internal import Setup

/// What both programs do: the name they are called by decides which one it is.
public func runProgram(arguments: [String]) -> Int32 {
    do throws(SetupError) {
        let null = try StandardDescriptors.populate()
        let program = try Program(arguments: arguments)
        switch try Options.parse(arguments: arguments, program: program) {
        case .printed(let text, let status):
            try? Descriptor(1).write(text)
            return status
        case .run(let options):
            switch program {
            case .pasta:
                var daemon = PastaDaemon(options: options, log: Log(program: "pasta"), null: null)
                return run(&daemon)
            case .passt:
                var daemon = PasstDaemon(options: options, log: Log(program: "passt"), null: null)
                return run(&daemon)
            }
        }
    } catch {
        try? Descriptor(2).write(error.message + "\n")
        return 1
    }
}

private func run(_ daemon: inout some ProgramRun) -> Int32 {
    do throws(SetupError) { return try daemon.run() } catch {
        // Wherever this run's lines go by now.
        daemon.log.error(error.message)
        daemon.made.remove()
        return 1
    }
}
