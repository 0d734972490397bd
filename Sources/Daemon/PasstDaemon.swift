internal import Datapath
internal import Linux
internal import Settings
internal import Setup
internal import Wire

/// One run of passt.
struct PasstDaemon: ProgramRun {
    let options: Options
    var log: Log
    let null: Descriptor
    var made = MadeSockets()

    mutating func run() throws(SetupError) -> Int32 {
        let signals = try QuitSignals.install(withCommand: false)
        // Before anything else that is open gets closed, wherever on the command line it was (lesson 46).
        let inherited: MachineSocket? = if let number = options.socketDescriptor { try .adopt(number, null: null) } else { nil }
        try StandardDescriptors.closeInherited(keeping: [null, signals.descriptor, inherited?.descriptor ?? .none] + StandardDescriptors.mentioned(in: options.writtenFiles))
        try Isolation.limitCapabilities()
        let identity = try UserIdentity.resolve(runAs: options.runAs)
        _ = OpenFileLimit.raise()

        try openLog()
        let network = try resolveNetwork().1.network
        let pidFile = try openPidFile()
        let capture = try openCapture()
        let control = try openControl()
        let listeners = try ListenerPlan(network: network).open(options.forwardRules)
        let machine = if let inherited { inherited } else { try MachineSocket.listen(at: options.socketPath) }
        made.note(machine.path)
        let repair = try openRepair(machine)
        for line in network.lease { log.info(line) }
        if let path = machine.path { log.info("Listening for a virtual machine on \(path)") }
        try identity?.drop(keeping: [])

        let isOneOff = options.oneOff
        guard options.vhostUser else {
            let worker = try make(capture) { () throws(Errno) in
                try PasstWorker(
                    machine.kind, listener: machine.listener, client: machine.client, isOneOff: isOneOff, network: network, capture: capture)
            }
            return try run(worker, machine, network, listeners, control, signals, pidFile)
        }
        guard machine.kind == .stream else { throw SetupError(.sockets, "Couldn't use the machine's socket with --vhost-user: it is not a stream") }
        let after: AfterMigration = options.exitsAfterMigration ? .exit : options.closesAfterMigration ? .close : .linger
        let worker = try make(capture) { () throws(Errno) in
            var worker = try VhostWorker(listener: machine.listener, client: machine.client, isOneOff: isOneOff, network: network, capture: capture)
            if let repair { try worker.allowMigration(repair, after) }
            return worker
        }
        return try run(worker, machine, network, listeners, control, signals, pidFile)
    }

    /// The socket of `--repair-path`. That of nobody's wish may be missing: then no connection moves.
    private mutating func openRepair(_ machine: MachineSocket) throws(SetupError) -> Descriptor? {
        guard options.vhostUser else { return nil }
        switch options.repairSocket {
        case .none: return nil
        case .at(let path): return try listen(forRepair: path)
        case .beside:
            guard let path = machine.path else { return nil }
            do throws(SetupError) {
                return try listen(forRepair: path + ".repair")
            } catch {
                log.warning("\(error.message): TCP connections will not move with the machine")
                return nil
            }
        }
    }

    private mutating func listen(forRepair path: String) throws(SetupError) -> Descriptor {
        let socket = try ControlSocket.listen(at: path, option: "--repair-path")
        made.note(path)
        return socket
    }

    /// The rest, with what carries the machine's frames.
    private mutating func run<Work: Worker & ~Copyable>(
        _ given: consuming Work, _ machine: MachineSocket, _ network: Network, _ listeners: [Listener],
        _ control: Descriptor?, _ signals: QuitSignals, _ pidFile: PidFile?
    ) throws(SetupError) -> Int32 {
        var worker = given
        var hostFeed = HostFeed.open(network, &worker, log)
        try listen(&worker, listeners)
        var server = try self.control(&worker, control, network, options.forwardRules, namespaceEphemeral: nil)
        if machine.awaitsSender { return try runWithSender(machine, &worker, &hostFeed, control, &server, signals, pidFile) }
        try hide()
        let readiness = options.foreground ? nil : try Daemonizer.fork(null: null, signals: signals, newPIDNamespace: true)
        // Only now: a descriptor of signals wakes up the process that began to watch it.
        try watchEvents(&worker, signals, hostFeed?.descriptor, control)
        try Isolation.close()
        try pidFile?.write(readiness?.processID ?? Process.identifier)
        let filter = try SeccompFilter(permissions(Work.systemCalls)).prepared()
        try tellReady(readiness)
        try filter.install()
        log.forwardingStarted()
        return runClosed(&worker, signals, &hostFeed, &server)
    }

    /// The same for a machine that has to be answered at its path: files are reachable until it has sent something. Nothing of that is looked at before.
    private mutating func runWithSender<Work: Worker & ~Copyable>(
        _ machine: MachineSocket, _ worker: inout Work, _ hostFeed: inout HostFeed?, _ control: Descriptor?,
        _ server: inout PortControlServer?, _ signals: QuitSignals, _ pidFile: PidFile?
    ) throws(SetupError) -> Int32 {
        _ = try Isolation.enterUserNamespace(log: log)
        let readiness = options.foreground ? nil : try Daemonizer.fork(null: null, signals: signals, newPIDNamespace: true)
        try watchEvents(&worker, signals, hostFeed?.descriptor, control)
        try pidFile?.write(readiness?.processID ?? Process.identifier)
        try tellReady(readiness)
        log.forwardingStarted()
        guard try machine.awaitSender(signals, log: log) else { return 0 }
        hideFiles()
        try Isolation.close()
        try SeccompFilter(permissions(Work.systemCalls)).prepared().install()
        log.info("Virtual machine connected")
        return runClosed(&worker, signals, &hostFeed, &server)
    }

    private func make<Work: Worker & ~Copyable>(_ capture: Descriptor?, _ worker: () throws(Errno) -> Work) throws(SetupError) -> Work {
        do throws(Errno) {
            return try worker()
        } catch {
            throw refusal(ofDataPath: error, capture)
        }
    }

    // MARK: What the filter lets through

    private func permissions(_ worker: [SystemCall.Permission]) -> [SystemCall.Permission] {
        var calls = worker + HostFeed.systemCalls + log.systemCalls + SystemCall.end
        if options.captureFile != nil { calls += PastaWorker.captureCalls }
        if options.controlPath != nil { calls += PortControlServer.systemCalls }
        if options.vhostUser, options.repairSocket != .none { calls += SystemCall.repair }
        return calls
    }

    /// All that a run with every option has: over a machine's socket,
    static var mostPermissions: [SystemCall.Permission] { mostPermissions(PasstWorker.systemCalls) }

    /// or over its memory, with connections that move.
    static var mostPermissionsOverMemory: [SystemCall.Permission] { mostPermissions(VhostWorker.systemCalls + SystemCall.repair) }

    private static func mostPermissions(_ worker: [SystemCall.Permission]) -> [SystemCall.Permission] {
        worker + PastaWorker.captureCalls + PortControlServer.systemCalls + HostFeed.systemCalls + Log.systemCalls(toFile: true, toSystemLog: true) + SystemCall.end
    }
}
