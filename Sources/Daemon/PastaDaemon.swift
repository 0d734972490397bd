// Daemon: the story of one run, to be read from top to bottom:
//
//     parse > discover > isolate > open > daemonize > lock down > run
//
// What each step does is written in Setup; what the run itself does, in Datapath. Here is only their order, and why
// it is this one: whatever needs the caller's files or rights comes before what takes them away, and whatever may
// fail comes before the caller is told that all is well.

internal import Datapath
internal import Linux
internal import Settings
internal import Setup
internal import Wire

/// One run of pasta.
struct PastaDaemon: ProgramRun {
    let options: Options
    var log: Log
    let null: Descriptor

    private var command: [String]? {
        if case .command(let words) = options.target { return words }
        return nil
    }

    private var staysInForeground: Bool { options.foreground || command != nil }

    /// Returns the exit status once everything has ended.
    mutating func run() throws(SetupError) -> Int32 {
        let signals = try QuitSignals.install(withCommand: command != nil)
        let mentioned = [targetPath, options.userNamespace]
        try StandardDescriptors.closeInherited(keeping: [null] + [signals.descriptor] + StandardDescriptors.mentioned(in: mentioned))
        try Isolation.limitCapabilities()
        let identity = try UserIdentity.resolve(runAs: options.runAs)
        let files = OpenFileLimit.raise()

        try openLog()
        let (network, plan, interface) = try discover()
        let pidFile = try openPidFile()
        let capture = try openCapture()
        let rules = options.effectiveForwardRules
        let listeners = try ListenerPlan(network: network).open(rules)
        // The command must not be root outside of its namespace; a namespace of others is entered with all rights that we have.
        if command != nil, let identity { try identity.drop(keeping: rights(toSpawnAs: identity)) }

        let spawned: SpawnedCommand? = if let command {
            try NamespaceSpawner.spawn(command: command, netnsOnly: options.netnsOnly, signals: signals, files: files, log: log)
        } else {
            nil
        }
        let target = if let spawned {
            spawned.namespace
        } else {
            try TargetNamespace.open(options.target, userNamespace: options.userNamespace, netnsOnly: options.netnsOnly)
        }
        do throws(SetupError) {
            let watch = options.noNetnsQuit ? nil : try NamespaceWatch(target)
            let opened = try GuestTap.open(named: interface, in: target, plan: plan, log: log)
            var network = network
            network.guestMAC = network.guestMAC ?? opened.mac
            let sockets = try openSockets(in: target, network, options.forwardRules)
            let namespacePorts = try namespacePorts(in: target, rules, diagnostics: sockets?.diagnostics)
            target.close()
            if command == nil { try identity?.drop(keeping: []) }
            var worker = try makeWorker(opened.tap, network, capture)
            var neighbours = NeighbourFeed.open(network, &worker, log)
            try connect(&worker, sockets)
            try listen(&worker, listeners + (sockets?.listeners ?? []))
            try watchPorts(&worker, rules, network, namespace: namespacePorts, host: hostPorts(rules))
            try hide()
            let readiness = staysInForeground
                ? nil : try Daemonizer.fork(null: null, signals: signals, newPIDNamespace: true)
            // Only now: a descriptor of signals wakes up the process that began to watch it.
            try watchEvents(&worker, signals, neighbours?.descriptor, namespace: watch?.descriptor)
            try Isolation.close()
            try pidFile?.write(readiness?.processID ?? Process.identifier)
            let filter = try SeccompFilter(permissions(watch, spawned)).prepared()
            if let readiness {
                log.wentToBackground(processID: readiness.processID)
                try readiness.ready()
            }
            try filter.install()
            if let spawned {
                spawned.release()
                log.commandStarted()
            }
            return runClosed(&worker, signals, watch, &neighbours, spawned)
        } catch {
            spawned?.abandon()
            throw error
        }
    }

    /// Without a user namespace of its own, a command's namespaces take the rights that we have; and root may only be mapped into one
    /// by who has this right (user_namespaces(7)).
    private func rights(toSpawnAs identity: UserIdentity) -> Capabilities {
        if options.netnsOnly { return Isolation.setUp }
        return identity.user == 0 ? [.setFileCapabilities] : []
    }

    private var targetPath: String? {
        if case .path(let path) = options.target { return path }
        return nil
    }

    /// What the host looks like, and what the guest is to look like.
    private func discover() throws(SetupError) -> (Network, NamespacePlan, String?) {
        let (host, resolved) = try resolveNetwork()
        let interface = options.spliceOnly ? nil : resolved.namespaceInterface
        let plan = NamespacePlan(options: options, host: host, network: resolved.network, interface: interface)
        return (resolved.network, plan, interface)
    }

    private func makeWorker(_ tap: Tap, _ network: Network, _ capture: Descriptor?) throws(SetupError) -> PastaWorker {
        do throws(Errno) {
            return try PastaWorker(tap: tap, network: network, capture: capture)
        } catch {
            throw SetupError(.sockets, "Couldn't set up the data path", error)
        }
    }

    /// Sockets of the namespace, where anything could need them.
    private func openSockets(
        in target: TargetNamespace, _ network: Network, _ rules: [ForwardRule]
    ) throws(SetupError) -> NamespaceSockets? {
        guard rules.contains(where: { !$0.kind.isInbound || !options.noSplice }) else { return nil }
        return try NamespaceSockets.open(in: target, network: network, rules: rules, null: null)
    }

    private func connect(_ worker: inout PastaWorker, _ sockets: NamespaceSockets?) throws(SetupError) {
        guard let sockets else { return }
        do throws(Errno) { try worker.connectNamespace(sockets.channel) } catch {
            throw SetupError(.sockets, "Couldn't watch the channel to the namespace", error)
        }
    }
}
